"""Two processes that train one network together, as ``torchrun`` starts them, with gloo on the CPU."""

from __future__ import annotations

import json
import re

import pytest
from support import records
from support_torchrun import finished, torchrun

from sequential_fmnist import checkpoint, train

pytestmark = pytest.mark.xdist_group("torchrun")

ARGV = [
    "--source", "embedded", "--model", "stateful-synapse", "-b", "50", "--opt", "adam", "--lr", "0.01",
    "--cosa-tmax", "4",
]  # fmt: skip
#: Runs of the command line one after the other, and then a block that one process enters before the other.
RUNS = """
import json, os, sys, time
from pathlib import Path
from torch import distributed
from sequential_fmnist import train
from sequential_fmnist.checkpoint import first_process_first

def begin(backend):
    # The store of torchrun's agent holds what the run before left there: each gets names of its own.
    store = distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    init(backend, store=distributed.PrefixStore(f"run {number}", store), rank=rank, world_size=size)

init, distributed.init_process_group = distributed.init_process_group, begin
*runs, fetched = json.loads(sys.argv[1])
for number, argv in enumerate(runs):
    # One write each: two processes print side by side.
    print(f"status {train.main(argv)}\\n", end="", flush=True)
number = "last"
begin("gloo")
with first_process_first():
    print(f"fetched {Path(fetched).exists()}\\n", end="", flush=True)
    time.sleep(0.3)
    Path(fetched).touch()
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def said(folder):
    """What the two processes print, and their errors; the runs are in ``folder``."""
    latest = str(folder / "parts" / "latest.pt")
    runs = [
        [*ARGV, "--epochs", "4", "--output-dir", str(folder / "two")],
        [*ARGV, "--epochs", "2", "--output-dir", str(folder / "parts")],
        ["--source", "embedded", "--epochs", "4", "--resume", latest],
        ["--data-path", str(folder / "nowhere")],
    ]
    (folder / "runs.py").write_text(RUNS)
    status, output, errors = finished(
        torchrun(folder / "runs.py", json.dumps([*runs, str(folder / "fetched")]))
    )
    assert status == 0, errors
    return output, errors


def test_two_processes_train_as_one_does_within_noise(folder, said):
    assert train.main([*ARGV, "--epochs", "4", "--output-dir", str(folder / "one")]) == 0
    one, two = (records(folder / name)[-1] for name in ("one", "two"))
    assert one["test_accuracy"] > 0.6
    # Two proportions of 1,000 images: three standard errors of their difference.
    assert abs(one["test_accuracy"] - two["test_accuracy"]) < 3 * (2 * 0.25 / 1000) ** 0.5
    assert abs(one["train_loss"] - two["train_loss"]) < 0.1 * one["train_loss"]
    states = [checkpoint.load(folder / name / "latest.pt") for name in ("one", "two")]
    assert [state["optimizer"]["state"][0]["step"].item() for state in states] == [4 * 120] * 2
    assert states[1]["config"]["processes"] == 2


def test_resumed_in_two_processes_and_refused_in_one(folder, said, capsys):
    assert records(folder / "parts") == records(folder / "two")
    latest = str(folder / "parts" / "latest.pt")
    assert train.main(["--source", "embedded", "--epochs", "5", "--resume", latest]) == 1
    assert "it was made with processes=2, not processes=1" in capsys.readouterr().err


def test_what_is_said_is_said_once_and_data_are_fetched_once(said):
    output, errors = said
    assert output.count("epoch 1/4") == 1
    assert sorted(re.findall(r"status (\d)\n", output)) == [*"0" * 6, *"1" * 2]
    assert errors.count("No such file or directory. data_path must be") == 1
    assert sorted(re.findall(r"fetched (\w+)\n", output)) == ["False", "True"]
