"""Two processes that train one network together, as ``torchrun`` starts them, with gloo on the CPU."""

from __future__ import annotations

import pytest
from support import records
from support_torchrun import finished, torchrun

from sequential_fmnist import checkpoint, train

pytestmark = pytest.mark.xdist_group("torchrun")

ARGV = [
    "--source", "embedded", "--model", "stateful-synapse", "--epochs", "4", "-b", "50", "--opt", "adam", "--lr", "0.01"
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders of a run in one process and of one in two."""
    folder = tmp_path_factory.mktemp("runs")
    assert train.main([*ARGV, "--output-dir", str(folder / "one")]) == 0
    status, output, errors = finished(
        torchrun("-m", "sequential_fmnist", *ARGV, "--output-dir", folder / "two")
    )
    assert status == 0, errors
    assert output.count("epoch 4/4") == output.count("training split") == 1
    return folder / "one", folder / "two"


def test_accuracy_is_that_of_one_process_within_noise(folders):
    one, two = (records(folder)[-1] for folder in folders)
    assert one["test_accuracy"] > 0.6
    # Two proportions of 1,000 images: three standard errors of their difference.
    assert abs(one["test_accuracy"] - two["test_accuracy"]) < 3 * (2 * 0.25 / 1000) ** 0.5
    assert abs(one["train_loss"] - two["train_loss"]) < 0.1 * one["train_loss"]


def test_each_step_is_taken_together_and_sees_every_image(folders):
    one, two = (checkpoint.load(folder / "latest.pt") for folder in folders)
    steps = [state["optimizer"]["state"][0]["step"].item() for state in (one, two)]
    assert steps == [4 * 120] * 2
    assert two["config"]["processes"] == 2


def test_resumed_in_two_processes_and_refused_in_one(folders, tmp_path, capsys):
    _, two = folders
    parts = [*ARGV, "--cosa-tmax", "4", "--output-dir", tmp_path / "parts"]
    parts[parts.index("--epochs") + 1] = "2"
    assert finished(torchrun("-m", "sequential_fmnist", *parts))[0] == 0
    latest = str(tmp_path / "parts" / "latest.pt")
    status, _, errors = finished(
        torchrun("-m", "sequential_fmnist", "--source", "embedded", "--epochs", "4", "--resume", latest)
    )
    assert status == 0, errors
    assert records(tmp_path / "parts") == records(two)
    assert train.main(["--source", "embedded", "--epochs", "5", "--resume", latest]) == 1
    assert "it was made with processes=2, not processes=1" in capsys.readouterr().err


def test_what_cannot_be_used_is_said_once(tmp_path):
    status, _, errors = finished(torchrun("-m", "sequential_fmnist", "--data-path", tmp_path / "nowhere"))
    assert status == 1
    assert errors.count("No such file or directory. data_path must be") == 1


FETCH = """
import sys, time
from pathlib import Path
from torch import distributed
from sequential_fmnist.checkpoint import first_process_first
distributed.init_process_group("gloo")
with first_process_first():
    is_there = Path(sys.argv[1]).exists()
    time.sleep(0.3)
    Path(sys.argv[1]).touch()
print(is_there, flush=True)
distributed.destroy_process_group()
"""


def test_data_are_fetched_once(tmp_path):
    (tmp_path / "fetch.py").write_text(FETCH)
    status, output, errors = finished(torchrun(tmp_path / "fetch.py", tmp_path / "data"))
    assert status == 0, errors
    assert sorted(output.split()) == ["False", "True"]
