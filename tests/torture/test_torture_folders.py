"""One run at a time writes into a folder, never mixed with another; a killed run keeps nobody out."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch
from support import records, visible
from support_kills import CLI, Command, Strike, assert_same_run, command_line, draw, scalars, wait_for

from sequential_fmnist.checkpoint import load_checkpoint
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.files import InUseError, atomic_write, hold, remove_leftovers
from sequential_fmnist.training import fit

pytestmark = pytest.mark.nightly

SEED = 21
posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork as in POSIX")


@pytest.fixture
def command() -> Command:
    return command_line()


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The folder of a run that was alone."""
    folder = tmp_path_factory.mktemp("alone")
    calls = folder / "calls.json"
    assert command_line()([*CLI, "--output-dir", folder / "run"], folder / "output", calls=calls) == 0
    return folder / "run"


def state(pid: int) -> str:
    """Return how Linux says that a process is, T for stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@posix
def test_a_second_run_is_refused_and_the_first_undisturbed(command, alone, torture, tmp_path):
    """The first run stands still at a moment drawn by chance while others try to get in."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("/proc is missing")
    count, random_, moments = torture.count(fast=2, full=30), random.Random(SEED), Counter()
    calls = dict.fromkeys(("a step",), 60) | {"a flush to the disk": 12, "a file replaced": 12}
    for case in range(count):
        folder, output = tmp_path / f"run {case}", tmp_path / f"output {case}"
        argv = [*CLI, "--output-dir", folder]
        strike = draw(random_, calls)
        moments[strike.point] += 1
        first = command.start(argv, output, strike=Strike(strike.point, strike.nth, (signal.SIGSTOP,)))
        wait_for(lambda first=first: state(first.pid) == "T", first)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for more in (["--overwrite"], ["--resume"]):
            said = tmp_path / f"refused {case}"
            assert command([*argv, *more], said) == 1, (SEED, case, strike)
            (line,) = re.findall(r"^python -m sequential_fmnist: error: .*$", said.read_text(), re.MULTILINE)
            assert f"is in use by process {first.pid} on " in line
            assert "Traceback" not in said.read_text()
            said.unlink()
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        os.kill(first.pid, signal.SIGCONT)
        first.join()
        assert first.exitcode == 0, output.read_text()
        assert_same_run(folder, alone)
    torture.figure(
        item=1,
        what="two more runs started into the folder of a run: both refused, the first undisturbed",
        runs=count,
        refused=2 * count,
        moments=dict(moments),
        differences=0,
        seed=SEED,
    )


@posix
def test_of_runs_that_start_together_one_wins(command, alone, torture, tmp_path):
    rounds, together, statuses = torture.count(fast=1, full=15), 4, Counter()
    for turn in range(rounds):
        folder = tmp_path / f"run {turn}"
        argv = [*CLI, "--output-dir", folder]
        runs = [command.start(argv, tmp_path / f"output {turn} {i}") for i in range(together)]
        for run in runs:
            run.join()
        ends = sorted(run.exitcode for run in runs)
        # 1: another run held the folder. 2: its run had ended already.
        assert ends[0] == 0, turn
        assert all(end in (1, 2) for end in ends[1:]), (turn, ends)
        statuses.update(map(str, ends))
        assert_same_run(folder, alone)
    torture.figure(
        item=1,
        what="four runs started into one new folder at once: one trains, the others are refused",
        rounds=rounds,
        exit_statuses=dict(statuses),
        differences=0,
    )


@posix
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_keeps_nobody_out(command, alone, tmp_path, workers):
    """Not even while the loader's workers, which hold what the killed process had open, have not noticed yet."""
    output, folder = tmp_path / "output", tmp_path / "run"
    argv = [*CLI, "--output-dir", folder, "--workers", workers]
    assert command(argv, output, strike=Strike("a step", 14)) == -signal.SIGKILL
    assert (folder / ".holder").exists()
    assert command([*CLI, "--output-dir", folder, "--resume"], output) == 0, output.read_text()
    assert records(folder) == records(alone)
    assert not (folder / ".holder").exists()


@posix
def test_a_killed_run_leaves_no_process_behind(command, tmp_path):
    """Neither workers nor the server that started them."""
    argv = [*CLI, "--output-dir", tmp_path / "run", "--workers", 2]
    process = command.start(argv, tmp_path / "output")
    running = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while len(others := running.children(recursive=True)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(others) >= 3, (tmp_path / "output").read_text()
    process.kill()
    process.join()
    assert psutil.wait_procs(others, timeout=30)[1] == []


def start_together(
    command: Command, argv: list[object], folder: Path, strikes: dict[int, Strike]
) -> list[tuple[int, str]]:
    """Run two processes as torchrun starts them and return exit status and output of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if sys.platform.startswith("linux"):
        shared["GLOO_SOCKET_IFNAME"] = "lo"
    outputs = [folder / f"output of {rank}" for rank in range(2)]
    processes = [
        command.start(
            argv,
            output,
            strike=strikes.get(rank),
            environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, output in enumerate(outputs)
    ]
    for process in processes:
        process.join()
    # Some releases of gloo say who is connected.
    said = [re.sub(r"^\[Gloo\] .*\n", "", output.read_text(), flags=re.MULTILINE) for output in outputs]
    for output in outputs:
        output.unlink()
    return [(process.exitcode, text) for process, text in zip(processes, said, strict=True)]


@posix
def test_processes_that_train_together(command, tmp_path):
    """Refused together, stopped together by a signal to either, and only the first writes and speaks."""
    argv = [*CLI, "--output-dir", tmp_path / "run"]
    with hold(tmp_path / "run"):
        (first, said), other = start_together(command, argv, tmp_path, {})
    assert first == 1
    assert said.count(f"is in use by process {os.getpid()} on ") == 1
    assert other == (1, "")
    assert visible(tmp_path / "run") == []

    strikes = {1: Strike("a step", 14, (signal.SIGTERM,))}
    (first, said), other = start_together(command, argv, tmp_path, strikes)
    assert (first, other) == (143, (143, "")), said
    assert len(records(tmp_path / "run")) == 2
    (line,) = re.findall(r"^stopped; resume with: (.*)$", said, re.MULTILINE)
    words = shlex.split(line)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "sequential_fmnist"]
    assert words[:7] == [sys.executable, *launcher]

    (first, said), other = start_together(command, words[7:], tmp_path, {})
    assert (first, other) == (0, (0, "")), said
    assert start_together(command, [*CLI, "--output-dir", tmp_path / "whole"], tmp_path, {})[0][0] == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")


class Refused(threading.Thread):
    """Tries to hold a folder and keeps whether it was refused."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder, self.refused = folder, False

    def run(self) -> None:
        try:
            with hold(self.folder):
                pass
        except InUseError:
            self.refused = True


def test_threads_are_kept_out_too_and_an_error_lets_go(few, tmp_path):
    errors = []

    def second() -> None:
        try:
            fit(TrainingConfig(epochs=1), *few, output_dir=tmp_path)
        except InUseError as error:
            errors.append(str(error))

    def log(line: str) -> None:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(TrainingConfig(epochs=1), *few, output_dir=tmp_path, log=log)
    (error,) = errors
    assert f"{tmp_path} is in use by process {os.getpid()} on " in error
    assert "wait for that run, stop it, or write to another folder" in error
    third = Refused(tmp_path)
    third.start()
    third.join()
    assert not third.refused


def test_a_folder_is_one_folder_by_any_name(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with hold("run"):
        for name in (tmp_path / "run", tmp_path / "link", "./run/../run"):
            thread = Refused(name)
            thread.start()
            thread.join()
            assert thread.refused, name


def test_leftovers_of_killed_writes_go_and_nothing_else(few, tmp_path):
    files = ("config.json", "latest.pt", "best.pt", "metrics.jsonl")
    left = [tmp_path / f".{name}.a1b2c3d4.part" for name in files]
    others = [
        tmp_path / name for name in ("latest.pt.part", ".notes.part", ".other.pt.a1b2c3d4.part", "my.pt")
    ]
    for path in (*left, *others):
        path.write_bytes(b"half")
    fit(TrainingConfig(epochs=1), *few, output_dir=tmp_path)
    assert [path for path in left if path.exists()] == []
    assert [path.read_bytes() for path in others] == [b"half"] * 4


def test_leftovers_of_a_name_with_wildcards(tmp_path):
    (tmp_path / ".a.x.part").write_bytes(b"")
    (tmp_path / ".*.x.part").write_bytes(b"")
    remove_leftovers(tmp_path / "*")
    assert [path.name for path in tmp_path.iterdir()] == [".a.x.part"]


# Runs one after another in a folder


def test_a_new_run_takes_nothing_over_even_if_it_is_stopped_at_once(few, tmp_path):
    fit(TrainingConfig(epochs=2, seed=1), *few, output_dir=tmp_path, tensorboard=True)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(TrainingConfig(epochs=2), *few, output_dir=tmp_path, tensorboard=True, log=stop)
    assert visible(tmp_path) == ["config.json", "tb"]
    assert scalars(tmp_path) == {}


def test_a_new_run_without_a_log_leaves_none_of_an_earlier_one(few, tmp_path):
    fit(TrainingConfig(epochs=1), *few, output_dir=tmp_path, tensorboard=True)
    fit(TrainingConfig(epochs=1), *few, output_dir=tmp_path)
    assert list((tmp_path / "tb").iterdir()) == []


def test_a_run_in_the_folder_is_kept_if_asked(few, tmp_path):
    fit(TrainingConfig(epochs=1), *few, output_dir=tmp_path)
    before = (tmp_path / "latest.pt").read_bytes()
    with pytest.raises(ValueError, match="already holds a run"):
        fit(TrainingConfig(epochs=2), *few, output_dir=tmp_path, overwrite=False)
    assert (tmp_path / "latest.pt").read_bytes() == before


def test_resume_from_elsewhere_does_not_replace_a_run_unasked(command, alone, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "latest.pt").write_bytes(b"another run")
    argv = [*CLI[:2], "--epochs", "6", "--output-dir", tmp_path / "run", "--resume", alone / "latest.pt"]
    assert command(argv, tmp_path / "output") == 2
    assert "run already holds a run: add --resume " in (tmp_path / "output").read_text()
    assert (tmp_path / "run" / "latest.pt").read_bytes() == b"another run"


def test_resume_into_a_new_folder_takes_the_whole_history_along(few, tmp_path):
    config = TrainingConfig(epochs=3)
    fit(config, *few, output_dir=tmp_path / "a", stop=lambda: True)
    latest = tmp_path / "a" / "latest.pt"
    fit(config, *few, output_dir=tmp_path / "b", resume=latest, tensorboard=True)
    fit(config, *few, output_dir=tmp_path / "whole", tensorboard=True)
    assert_same_run(tmp_path / "b", tmp_path / "whole")


def test_what_a_kill_left_behind_the_checkpoint_is_put_right(few, tmp_path):
    """As after a kill between the checkpoint and the rest, of an epoch that was the best, and the last one."""
    config = TrainingConfig(epochs=2, batch_size=20)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, history = fit(config, *few, output_dir=whole, tensorboard=True)
    assert history[1]["test_accuracy"] > history[0]["test_accuracy"]
    fit(config, *few, output_dir=parts, tensorboard=True, stop=lambda: True)
    for name in ("previous.pt", "latest.pt"):  # in the order in which they are written
        (parts / name).write_bytes((whole / name).read_bytes())
    assert load_checkpoint(parts / "best.pt")["epoch"] == 1
    fit(config, *few, output_dir=parts, tensorboard=True, resume=True)
    assert_same_run(parts, whole)


def test_a_log_that_is_damaged_is_written_anew(few, tmp_path):
    config = TrainingConfig(epochs=2)
    fit(config, *few, output_dir=tmp_path, tensorboard=True)
    expected = scalars(tmp_path)
    (log,) = (tmp_path / "tb").iterdir()
    data = bytearray(log.read_bytes())
    for place in range(100, len(data), 50):
        data[place] ^= 0xFF
    log.write_bytes(data)
    fit(config, *few, output_dir=tmp_path, tensorboard=True, resume=True)
    assert scalars(tmp_path) == expected


def test_missing_checkpoint_says_what_to_do(few, tmp_path):
    with pytest.raises(ValueError, match=r"does not exist .* start anew without --resume"):
        fit(TrainingConfig(), *few, resume=tmp_path / "latest.pt")


def test_atomic_write_and_checkpoints_work_while_held(tmp_path):
    with hold(tmp_path), atomic_write(tmp_path / "file") as file:
        torch.save({}, file)
    assert visible(tmp_path) == ["file"]
