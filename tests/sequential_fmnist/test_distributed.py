"""Training shared out among processes: what one process gets is what two get together, over gloo on this machine."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import support_distributed
import torch
from support import records, visible
from support_torchrun import finished, torchrun

from sequential_fmnist import train
from sequential_fmnist.batches import batches, on_device
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.distributed import ALONE, Ranks, join
from sequential_fmnist.networks import NETWORKS, NetworkSpec, build, make_network
from sequential_fmnist.training import Trainer, fit

pytestmark = pytest.mark.xdist_group("distributed")

# Of 513 images, since with some other sizes one potential lies so near the threshold that rounding decides on a spike.
CLI = ["--source", "embedded", "--epochs", "1", "--hidden", "128", "-b", "513", "--tb"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Results of support_distributed.py with two processes and with one, and of two runs of the command line."""
    folder = tmp_path_factory.mktemp("distributed")
    started = {
        "script": torchrun(support_distributed.__file__, folder),
        "command": torchrun("-m", "sequential_fmnist", *CLI, "--output-dir", folder / "two"),
        "refused": torchrun("-m", "sequential_fmnist", *CLI[:-2], "1", "--output-dir", folder / "refused"),
    }
    support_distributed.main(folder)
    assert train.main([*CLI, "--output-dir", str(folder / "one")]) == 0
    for name, process in started.items():
        code, output, errors = finished(process)
        assert (code == 0) is (name != "refused"), errors
        (folder / f"{name}.out").write_text(output)
        (folder / f"{name}.err").write_text(errors)
    return folder


@pytest.fixture(scope="module")
def one_and_two(folder):
    """What the script got in one process, and in the first and the second of two."""
    return tuple(torch.load(folder / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1"))


RUNS = [f"{model}, {recipe}" for model in NETWORKS for recipe in support_distributed.RECIPES]


@pytest.mark.parametrize("name", [*RUNS, "one image in the last batch", "weights of the first"])
def test_two_processes_train_what_one_trains(one_and_two, name):
    one, first, second = (found[name] for found in one_and_two)
    for key, weight in one["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key]), key
        # Norms, since Adam makes as much of the smallest gradients as of the others.
        assert (first["weights"][key] - weight).norm() < 1e-7 * weight.norm(), key
    assert first["history"] == second["history"]
    for ours, theirs in zip(first["history"], one["history"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_evaluation_is_shared_out(one_and_two):
    one, first, second = (found["evaluate"] for found in one_and_two)
    assert first == second
    assert first == pytest.approx(one, rel=1e-6)


def test_what_cannot_be_shared_out_is_refused_by_all(one_and_two):
    _, first, second = one_and_two
    assert first["refusals"] == second["refusals"]
    assert first["refusals"]["batch size"].startswith(
        "batch_size must be at least the number of processes, 2"
    )
    assert "data of different sizes" in first["refusals"]["sizes"]
    assert "batch normalisation" in first["refusals"]["batch norm"]


def test_command_line_in_fp32_ends_with_the_same_weights_within_rounding(folder):
    one, two = (torch.load(folder / name / "latest.pt", weights_only=True) for name in ("one", "two"))
    assert one["config"] == two["config"]
    assert torch.equal(one["sampler"], two["sampler"])
    for name, weight in one["model"].items():
        assert (two["model"][name] - weight).norm() < 1e-5 * weight.norm(), name
    assert len(records(folder / "two")) == 1
    assert records(folder / "two")[0] == pytest.approx(records(folder / "one")[0], rel=1e-5)


def test_only_the_first_process_writes_and_prints(folder):
    for name in ("one", "two"):
        assert visible(folder / name) == ["best.pt", "config.json", "latest.pt", "metrics.jsonl", "tb"]
        assert len(list((folder / name / "tb").iterdir())) == 1
    output = (folder / "command.out").read_text()
    for line in (
        "training split: 6,000 images",
        "test split: 1,000 images",
        "epoch   1/1",
        "checkpoints and",
    ):
        assert output.count(line) == 1
    assert "Traceback" not in (folder / "command.err").read_text()


def test_a_run_of_two_processes_goes_on_in_one(folder, tmp_path):
    argv = ["--source", "embedded", "--epochs", "2", "--hidden", "128", "-b", "257", "--cosa-tmax", "1"]
    resumed = ["--resume", str(folder / "two" / "latest.pt"), "--output-dir", str(tmp_path / "resumed")]
    assert train.main([*argv, *resumed]) == 0
    assert [record["epoch"] for record in records(tmp_path / "resumed")] == [0, 1]


def test_a_batch_smaller_than_the_number_of_processes_is_one_line(folder):
    errors = (folder / "refused.err").read_text()
    assert errors.count("python -m sequential_fmnist: error: ") == 1
    assert "batch_size must be at least the number of processes, 2, got 1" in errors
    assert not (folder / "refused").exists()


# Without other processes


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("images", [7, 20, 1])
def test_shares_are_all_images_and_nearly_alike(size, images):
    batch = torch.randperm(images)
    shares = [Ranks(rank, size).share(batch) for rank in range(size)]
    assert torch.equal(torch.cat(shares), batch)
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_all_processes_are_the_batches_of_one(few, workers):
    data = on_device(few[0], "cpu", workers)
    indices = torch.randperm(50)[:22]  # batches of 10, 10 and 2
    cpu = torch.device("cpu")
    whole = list(batches(data, indices, 10, cpu, workers))
    shares = [list(batches(data, indices, 10, cpu, workers, Ranks(rank, 3))) for rank in range(3)]
    assert [len(labels) for _, labels in shares[2]] == [3, 3, 0]
    assert len(whole) == 3
    for step, (images, labels) in enumerate(whole):
        assert torch.equal(torch.cat([share[step][0] for share in shares]), images)
        assert torch.equal(torch.cat([share[step][1] for share in shares]), labels)


class Recorded(Ranks):
    """One of three processes whose sums are worked out here: the others hold 2 images with gradients of 4."""

    def sum(self, values):
        return values + 2 * torch.tensor([4.0] * (len(values) - 1) + [1.0])


def test_gradients_are_averaged_over_images_by_hand():
    weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(2))]
    weights[0].grad = torch.full((2, 3), 1.0)  # and none for the other: no image of this share reached it
    Recorded(0, 3).average_gradients(weights, 6)
    # (6 * 1 + 2 * 4) / 8 and (6 * 0 + 2 * 4) / 8
    assert torch.equal(weights[0].grad, torch.full((2, 3), 1.75))
    assert torch.equal(weights[1].grad, torch.full((2,), 1.0))
    Ranks().average_gradients(weights, 6)
    assert torch.equal(weights[0].grad, torch.full((2, 3), 1.75))


def test_alone_changes_nothing():
    values = torch.tensor([1.0, 2.0])
    assert ALONE.sum(values) is values
    assert ALONE.share(values) is not None
    assert torch.equal(ALONE.share(values), values)
    assert [ALONE.any(flag) for flag in (True, False)] == [True, False]
    assert ALONE.first


def test_join_without_torchrun_is_alone():
    with join("cpu") as ranks:
        assert ranks == ALONE
        assert not torch.distributed.is_initialized()


def test_settings_that_need_one_process_are_refused_before_anything_is_exchanged(few):
    two = Ranks(0, 2)
    with pytest.raises(ValueError, match="batch_size must be at least the number of processes, 2, got 1"):
        fit(TrainingConfig(batch_size=1), *few, ranks=two)
    with pytest.raises(ValueError, match=r"batch normalisation .* 1 process, not 2"):
        Trainer(TrainingConfig(), net=build(NetworkSpec(batch_norm=True)), ranks=two)
    one = copy.copy(few[0])
    one.images, one.labels = one.images[:1], one.labels[:1]
    with pytest.raises(ValueError, match="1 images are too few for 2 processes"):
        fit(TrainingConfig(), one, few[1], ranks=two)
    graphed = dataclasses.replace(TrainingConfig(device="cuda"), cuda_graph=True)
    with pytest.raises(ValueError, match="cuda_graph works with 1 process, got 2"):
        Trainer(graphed, net=make_network("plain"), ranks=two)


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [("cuda:1", 2, "device must be 'cuda', got 'cuda:1'"), ("cuda", 1, "--nproc-per-node 1")],
)
def test_each_process_needs_a_gpu_of_its_own(monkeypatch, device, gpus, message):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ValueError, match=message), join(device):
        pass


def test_variables_that_are_missing_are_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(SystemExit) as exit_:
        train.main(["--source", "embedded", "--output-dir", str(tmp_path / "run")])
    assert exit_.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "RANK" in errors


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_bad_arguments_are_said_by_one_process(monkeypatch, capsys, rank, lines):
    monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(SystemExit) as exit_:
        train.main(["--epochs", "0"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == lines
