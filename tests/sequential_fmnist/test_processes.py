"""Two processes that train one network together, with the variables that torchrun gives them, by gloo on the CPU."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys

import pytest
from support import environment, records

from sequential_fmnist import checkpoint, train

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("torchrun")]

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

*runs, fetched = json.loads(sys.argv[1])
for argv in runs:
    # One write each: two processes print side by side.
    print(f"status {train.main(argv)}\\n", end="", flush=True)
    os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
distributed.init_process_group("gloo")
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    command = [sys.executable, "-c", RUNS, json.dumps([*runs, str(folder / "fetched")])]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen(command, env=environment(RANK=rank, LOCAL_RANK=rank, **common), **pipes)
        for rank in "01"
    ]
    try:
        ended = [process.communicate(timeout=600) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], ended
    return ["".join(texts) for texts in zip(*ended, strict=True)]


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
