"""What a run leaves behind: killed at any moment, resumed with other options, damaged, or on a full disk."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support import count, environment, records

from sequential_fmnist import checkpoint, train
from sequential_fmnist.checkpoint import CheckpointError
from sequential_fmnist.data import Images
from sequential_fmnist.networks import PlainNet, make_network
from sequential_fmnist.train import TrainingConfig, fit
from sequential_fmnist.variants import NetworkSpec

CLI = ("--source", "embedded", "--epochs", "4", "-b", "500", "--tb")


def same(one, other) -> bool:
    """Say whether two states are the same bit for bit, at any depth."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def interrupted(config, data, folder, epochs) -> Path:
    """Run until some epochs are saved and the next one has been trained, and return the checkpoint."""
    lines = []

    def stop(line):
        lines.append(line)
        if len([one for one in lines if one.startswith("epoch")]) == epochs + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(make_network("feedback"), *data, config, output_dir=folder, log=stop)
    assert len(records(folder)) == epochs
    return folder / "latest.pt"


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"opt": "adam", "lrs": "step", "amp": True},
        {"lrs": "none", "workers": 1},
        {"skip_overflow": True, "drop_last": True},
        {"fused": True, "opt": "adam"},
    ],
)
def test_resume_is_exact_to_the_bit(few, tmp_path, recipe):
    config = TrainingConfig(epochs=4, batch_size=64, step_size=1, **recipe)
    torch.manual_seed(0)
    fit(make_network("feedback"), *few, config, output_dir=tmp_path / "whole")
    torch.manual_seed(0)
    latest = interrupted(config, few, tmp_path / "parts", epochs=2)
    fit(make_network("feedback"), *few, config, output_dir=tmp_path / "parts", resume=latest)
    whole, parts = (checkpoint.load(tmp_path / name / "latest.pt") for name in ("whole", "parts"))
    assert same(whole, parts)
    for name in ("metrics.jsonl", "config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert same(*(checkpoint.load(tmp_path / name / "best.pt") for name in ("whole", "parts")))


def test_random_numbers_of_python_numpy_and_torch_go_on(few, tmp_path):
    class Noisy(torch.nn.Module):
        """A network that draws from all three."""

        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(784, 10)

        def forward(self, images):
            noise = random.random() + np.random.random() + torch.rand(())
            return self.fc(images.flatten(1)) + noise * self.training

    config = TrainingConfig(epochs=3, batch_size=64, cosa_tmax=3)
    for folder, parts in (("whole", [3]), ("parts", [1, 3])):
        for epochs in parts:
            torch.manual_seed(0)
            latest = tmp_path / folder / "latest.pt" if epochs > parts[0] else None
            part = dataclasses.replace(config, epochs=epochs)
            fit(Noisy(), *few, part, output_dir=tmp_path / folder, resume=latest)
    assert records(tmp_path / "whole") == records(tmp_path / "parts")


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "sequential_fmnist", *CLI, "--output-dir", str(folder), *more]
    return subprocess.Popen(
        argv,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A shell that runs tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(folder: Path) -> int:
    """Resume the run in a folder, or begin it, and return the exit status at its end."""
    latest = folder / "latest.pt"
    process = start(folder, *(["--resume", str(latest)] if latest.exists() else []))
    process.communicate()
    return process.returncode


def result(folder: Path):
    files = [(folder / name).read_bytes() for name in ("metrics.jsonl", "config.json")]
    return files, *(checkpoint.load(folder / name) for name in ("latest.pt", "best.pt"))


def test_killed_again_and_again_and_resumed_is_the_run_undisturbed(tmp_path):
    assert finish(tmp_path / "whole") == 0
    expected, seed = result(tmp_path / "whole"), 1
    generator, folder = random.Random(seed), tmp_path / "killed"
    kills = count(fast=1, full=50)
    for _ in range(kills):
        latest = folder / "latest.pt"
        (folder / "config.json").unlink(missing_ok=True)  # is written when the run begins
        process = start(folder, *(["--resume", str(latest)] if latest.exists() else []))
        while process.poll() is None and not (folder / "config.json").exists():
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for name in ("latest.pt", "best.pt"):
            if (folder / name).exists():
                checkpoint.load(folder / name)
        if latest.exists() and checkpoint.load(latest)["epoch"] == 4:
            assert same(result(folder), expected)
            shutil.rmtree(folder)
    if folder.exists():
        assert finish(folder) == 0
        assert same(result(folder), expected)


def test_ctrl_c_prints_the_command_that_resumes(tmp_path):
    folder = tmp_path / "a run"
    process = start(folder, "--epochs", "5000")
    while not (folder / "latest.pt").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    *_, said, command = errors.decode().splitlines()
    assert said.endswith("stopped; this command resumes the run:")
    assert command.startswith("python -m sequential_fmnist --source embedded")
    assert command.endswith(f"--resume '{folder}/latest.pt'")
    assert "Traceback" not in errors.decode()


# Options that are given again


@pytest.fixture
def run(few, monkeypatch, tmp_path):
    """Run the command line on a few images in a folder, and return its exit status."""
    data = {True: few[0], False: few[1]}
    monkeypatch.setattr(train, "SequentialFashionMNIST", lambda train, **options: data[train])
    return lambda *argv: train.main([*argv, "--output-dir", str(tmp_path / "run")])


@pytest.mark.parametrize("kind", [TrainingConfig, NetworkSpec, Images])
def test_other_options_are_refused_in_a_line_that_names_both_values(few, run, tmp_path, capsys, kind):
    assert run("--epochs", "1") == 0
    latest = tmp_path / "run" / "latest.pt"
    about = {**vars(NetworkSpec()), "order": "column", "standardise": False}
    for field in dataclasses.fields(kind):
        before = field.default
        if isinstance(before, str):
            value = next((word for word in field.metadata["allowed"] or () if word != before), before)
        else:
            value = not before if isinstance(before, bool) else (before or 0) + 1
        if field.name in {
            "epochs",
            "device",
            "workers",
            "data_path",
            "source",
            "cache",
        }:  # how long, and where
            continue
        ours, others = ({field.name: value}, {}) if kind is TrainingConfig else ({}, {field.name: value})
        config, message = (
            TrainingConfig(**{"epochs": 2} | ours),
            f"{field.name}={before}, not {field.name}={value}$",
        )
        with pytest.raises(CheckpointError, match=f"made with {message}"):
            fit(PlainNet(), *few, config, resume=latest, about=about | others)
    capsys.readouterr()
    assert run("--epochs", "2", "--resume", str(latest), "--lr", "0.9") == 1
    error = capsys.readouterr().err
    assert "it was made with lr=0.1, not lr=0.9\n" in error and error.count("\n") == 1
    assert len(records(tmp_path / "run")) == 1


def test_what_is_not_given_again_is_the_checkpoints(run, tmp_path):
    given = "--epochs 1 --lr 0.03 --model feedback --hidden 5 --cosa-tmax 3"
    assert run(*given.split()) == 0
    assert run("--epochs", "3", "--resume", str(tmp_path / "run" / "latest.pt")) == 0
    config = checkpoint.load(tmp_path / "run" / "latest.pt")["config"]
    assert (config["lr"], config["model"], config["hidden"]) == (0.03, "feedback", 5)


def test_fused_steps_and_the_loop_are_not_mixed_in_one_run(few, run, tmp_path, capsys):
    assert run("--epochs", "1", "--fused") == 0
    latest = tmp_path / "run" / "latest.pt"
    assert run("--epochs", "2", "--resume", str(latest)) == 0
    assert checkpoint.load(latest)["config"]["fused"]
    with pytest.raises(CheckpointError, match=r"made with fused=True, not fused=False$"):
        fit(PlainNet(), *few, TrainingConfig(epochs=3), resume=latest, about=vars(NetworkSpec()))
    state = checkpoint.load(latest)
    del state["config"]["fused"]  # as before there was a choice
    checkpoint.save(tmp_path / "old.pt", state)
    for number, flags in enumerate(([], ["--fused"])):
        more = ["--output-dir", str(tmp_path / f"new{number}")]
        assert train.main(["--epochs", "3", "--resume", str(tmp_path / "old.pt"), *flags, *more]) == 0


def test_a_start_epoch_is_not_ignored(run, tmp_path, capsys):
    assert run("--epochs", "1") == 0
    with pytest.raises(SystemExit, match="2"):
        run("--epochs", "3", "--resume", str(tmp_path / "run" / "latest.pt"), "--start-epoch", "2")
    assert "start_epoch is the checkpoint's: give --resume without" in capsys.readouterr().err


def test_more_epochs_and_workers_may_be_given_and_config_says_from_when(run, tmp_path):
    assert run("--epochs", "2") == 0
    latest = str(tmp_path / "run" / "latest.pt")
    assert run("--epochs", "4", "-j", "1", "--resume", latest) == 0
    done = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [(one["from_epoch"], one["epochs"], one["workers"]) for one in done] == [(0, 2, 0), (2, 4, 1)]
    # The cosine is that of the new length, in all epochs that are left.
    lrs = [record["lr"] for record in records(tmp_path / "run")]
    assert lrs == pytest.approx([0.1, 0.05, 0.05, 0.0146447], abs=1e-7)
    assert run("--epochs", "4", "--resume", latest) == 1


def test_other_images_and_other_folders(few, run, tmp_path, capsys):
    assert run("--epochs", "1") == 0
    latest = tmp_path / "run" / "latest.pt"
    config = TrainingConfig(epochs=2)
    with pytest.raises(CheckpointError, match="made with samples=200, not samples=100"):
        fit(PlainNet(), few[1], few[1], config, resume=latest)
    fit(PlainNet(), *few, config, resume=latest, output_dir=tmp_path / "other")
    assert len(records(tmp_path / "run")) == 1
    assert len(records(tmp_path / "other")) == 2


# Damaged and hostile files


def test_every_damage_of_a_checkpoint_is_one_line(few, tmp_path, capsys):
    fit(PlainNet(hidden=4), *few, TrainingConfig(epochs=1), output_dir=tmp_path)
    path = tmp_path / "latest.pt"
    good, expected, seed = path.read_bytes(), checkpoint.load(path), 3
    generator, refused = random.Random(seed), 0
    for number in range(count(fast=60, full=5000)):
        damaged = bytearray(good)
        if number % 3 == 0:
            del damaged[generator.randrange(len(good)) :]
        else:
            damaged[generator.randrange(len(good))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            assert same(checkpoint.load(path), expected)  # a bit between the records, which changes nothing
        except CheckpointError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 40
    path.write_bytes(good[:-100])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        train.main(["--resume", str(path)])
    assert capsys.readouterr().err.startswith(f"error: checkpoint {path} cannot be used: ")


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_hostile_pickles_are_refused_and_not_executed(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "rng": Hostile()}, "bad.pt")
    with pytest.raises(CheckpointError, match=r"^checkpoint bad\.pt cannot be used: "):
        fit(PlainNet(), *few, resume="bad.pt")
    assert not Path("executed").exists()


@pytest.mark.parametrize("lacks", ["config", "model", "optimizer", "options", "rng", "epoch"])
def test_checkpoint_that_lacks_something_is_refused(few, tmp_path, lacks):
    fit(PlainNet(), *few, TrainingConfig(epochs=1), output_dir=tmp_path)
    state = checkpoint.load(tmp_path / "latest.pt")
    del state[lacks]
    checkpoint.save(tmp_path / "other.pt", state)
    with pytest.raises(CheckpointError, match=f"it has no '{lacks}'"):
        fit(PlainNet(), *few, TrainingConfig(epochs=2), resume=tmp_path / "other.pt")


def test_missing_checkpoint_and_folder_in_its_place(few, tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        fit(PlainNet(), *few, resume=tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="Is a directory"):
        fit(PlainNet(), *few, resume=tmp_path)


# Disks and folders


@pytest.fixture
def small_files():
    """Let no file grow beyond 4 kB, as on a full disk; Python ignores the signal that would end the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_is_one_line_and_leaves_what_was_there(run, few, tmp_path, capsys, request):
    assert run("--epochs", "1") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    request.getfixturevalue("small_files")
    capsys.readouterr()
    assert run("--epochs", "2", "--resume", str(tmp_path / "run" / "latest.pt")) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: cannot write {tmp_path}/run/") and error.endswith(": File too large")
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert after.keys() == before.keys()
    assert after["latest.pt"] == before["latest.pt"] and after["best.pt"] == before["best.pt"]


def test_folder_that_cannot_be_written_is_one_line(run, tmp_path, capsys):
    (tmp_path / "run").write_text("a file where a folder would have to be")
    assert run("--epochs", "1") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {tmp_path}/run") and error.count("\n") == 1


def test_training_that_is_not_finite_is_one_line_and_keeps_the_last_epoch(run, tmp_path, capsys, monkeypatch):
    assert run("--epochs", "1") == 0
    latest = tmp_path / "run" / "latest.pt"
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.utils, "get_total_norm", lambda *given: torch.tensor(torch.inf))
        assert run("--epochs", "2", "--resume", str(latest)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: epoch 2: the loss, a weight or what sgd keeps")
    assert checkpoint.load(latest)["epoch"] == 1
    assert run("--epochs", "2", "--resume", str(latest)) == 0
