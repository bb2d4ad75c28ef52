"""The cost of a long run: all libraries train the same networks on the same task, and a tiny run writes the file."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import re

import numpy as np
import pytest
import torch
import update_docs
from support import require

from benchmarks import driver, long_run
from benchmarks.command import parser_of
from benchmarks.long import CLASSES, KINDS, PEERS, WINDOW, Batches, weights_of, worker
from experiments.long.networks import hidden_for, parameters_of
from experiments.long.tasks import Pixels

every_kind = pytest.mark.parametrize("kind", KINDS)
BATCH = 8


@pytest.fixture(autouse=True)
def threads():
    """Sessions set the number of threads of their process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def nets():
    return long_run.networks()


@pytest.fixture
def path(few, nets, tmp_path):
    path = tmp_path / "inputs.npz"
    long_run.write_inputs(path, few[0], nets, long_run.QUICK)
    return path


@pytest.fixture
def inputs(path):
    return dict(np.load(path))


def session(name, kind, inputs):
    if name == "spikingjelly":
        require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    return importlib.import_module(f"benchmarks.long.{PEERS[name].module}").session(kind, BATCH, inputs)


@every_kind
def test_networks_are_those_of_the_long_tasks(kind, nets):
    net = nets[kind]
    assert net.spec.kind == kind and net.spec.membrane == 5 and net.spec.detach_reset
    assert net.spec.hidden == hidden_for(kind, 1, CLASSES, 3338)
    assert 3200 < parameters_of(net) <= 3338
    assert net.window == WINDOW == Pixels.window


@every_kind
def test_spikingjelly_gives_our_outputs_and_trains_as_ours(kind, inputs):
    ours, theirs = (session(name, kind, inputs) for name in ("snn_core", "spikingjelly"))
    assert parameters_of(ours.net) == parameters_of(theirs.net)
    assert theirs.firing_rate() == pytest.approx(ours.firing_rate(), rel=1e-3)
    expected, labels = ours.outputs()
    found, same_labels = theirs.outputs()
    assert found.shape == (BATCH, CLASSES) and np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(labels, same_labels)
    assert worker._loss(found, labels, BATCH) == pytest.approx(math.log(CLASSES), abs=0.1)
    losses = [[each.steps(1) for _ in range(3)] for each in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert len(set(losses[0])) == 3  # weights change, and batches


@pytest.mark.nightly
@every_kind
def test_every_worker_does_the_same_task(kind, path, tmp_path):
    environments = parser_of("long_run", "about", ()).get_default("envs")
    losses = {}
    for name, peer in PEERS.items():
        python = driver.python_of(peer, environments)
        require(python.exists(), f"{python}, which `make bench` builds")
        with driver.Process(name, python, path, tmp_path / name, "benchmarks.long.worker") as process:
            losses[name] = process.ask("prepare", config=kind, kind=kind, batch=BATCH)["first_loss"]
            assert process.ask("steps", config=kind, count=1)["seconds"] > 0
            assert process.ask("finish", config=kind)["last_loss"] > 0
    long_run.check_losses(kind, losses)
    assert losses["spyx"] == pytest.approx(losses["snn_core"], abs=0.1)


def test_spikingjelly_takes_the_faster_number_of_threads(inputs):
    tuned = session("spikingjelly", "feedback", inputs)
    tuned.tune()
    assert tuned.threads == torch.get_num_threads() in (1, 2)
    assert math.isfinite(tuned.steps(1))


def test_batches_by_hand():
    """Four images of two pixels: each comes once in two batches, pixel by pixel."""
    inputs = {"pixels": np.arange(0, 40, 5, np.uint8).reshape(4, 2), "labels": np.arange(4)}
    batches = Batches(inputs, 2)
    seen = []
    for _ in range(2):
        x_seq, labels = next(batches)
        assert x_seq.shape == (2, 2, 1) and x_seq.dtype == np.float32 and x_seq.flags.c_contiguous
        assert np.array_equal(x_seq[:, :, 0], inputs["pixels"][labels].T / np.float32(255))
        seen += labels.tolist()
    assert sorted(seen) == [0, 1, 2, 3]
    assert weights_of({"a/b": np.ones(1), "pixels": np.ones(1)}, "a").keys() == {"b"}


def test_batches_are_those_of_our_task(few, inputs):
    x_seq, labels = next(Batches(inputs, BATCH))
    images = few[0].images.flatten(1)
    index = next(Batches(inputs | {"labels": np.arange(len(images))}, BATCH))[1]
    expected = Pixels._batch(images[index], few[0].labels[index])
    assert np.array_equal(x_seq, expected.x_seq.numpy()[: long_run.QUICK.T])
    assert np.array_equal(labels, expected.target.numpy())


def test_time_of_a_run_by_hand():
    assert long_run.run_seconds(16.0, 64) == pytest.approx(300)  # 18,750 steps


def test_halves_of_the_recurrent_weights_are_the_whole(nets):
    weights = long_run.initial_weights(nets["feedback"])
    halves = [weights["rc_x.weight"], weights["rc_y.weight"]]
    assert np.array_equal(np.concatenate(halves, axis=1), weights["rc.weight"])
    assert weights.keys() == {
        *("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "rc.weight", "rc.bias"),
        *("rc_x.weight", "rc_x.bias", "rc_y.weight"),
    }
    assert "w" in long_run.initial_weights(nets["stateful synapse"])


def test_what_is_not_the_network_is_not_timed(path, monkeypatch):
    # The worker would keep this process to two cores.
    monkeypatch.setattr(worker.os, "sched_setaffinity", lambda *_: None)
    made = worker.LongWorker("snn_core", str(path))
    assert made.prepare("a", "plain", BATCH)["threads"] == 2
    silent = {name: 0 * values for name, values in np.load(path).items()}
    made._inputs = silent
    with pytest.raises(RuntimeError, match=r"^b: not the network: .* the firing rate 0\.0"):
        made.prepare("b", "plain", BATCH)
    with pytest.raises(RuntimeError, match=r"^the outputs have the shape \(2, 9\), not \(2, 10\)"):
        worker._loss(np.zeros((2, 9)), np.zeros(2, int), 2)
    assert worker._loss(np.zeros((2, 10)), np.zeros(2, int), 2) == pytest.approx(math.log(10))
    with pytest.raises(
        driver.WorkerError, match=r"^spikingjelly: plain: the first loss is 2\.4, ours is 2\.3"
    ):
        long_run.check_losses("plain", {"snn_core": 2.3, "spikingjelly": 2.4})


def test_a_tiny_run_writes_a_well_formed_file_and_its_table(tmp_path):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    out = tmp_path / "long_cost.json"
    argv = ["--quick", "--source", "embedded", "--libraries", "spikingjelly", "--out", str(out)]
    assert long_run.main(argv) == 0
    results = json.loads(out.read_text())
    assert results["is_provisional"] and results["provenance"]["torch_threads"] == 2
    assert results["task"] == {"T": 56, "epochs": 20, "images": 60_000, "window": 28}
    assert list(results["libraries"]) == ["snn_core", "spikingjelly"]
    assert [(entry["network"], entry["batch"]) for entry in results["runs"]] == [(kind, 8) for kind in KINDS]
    for entry in results["runs"]:
        for measured in entry["libraries"].values():
            assert 0 < measured["ms"]["q1"] <= measured["ms"]["median"] <= measured["ms"]["q3"]
            assert measured["run_seconds"] == pytest.approx(150 * measured["ms"]["median"])
            assert measured["ratio"] > 0 and measured["threads"] in (1, 2)
        assert entry["libraries"]["snn_core"]["ratio"] == 1
    text = update_docs.long_cost_section(results)
    assert re.search(r"\| feedback \| 3,229 \| 8 \| \d+\.\d min \| \d+\.\d min \(\d+\.\d+x\) \|", text)
    assert "Time of 20 epochs over 60,000 images, T = 56" in text


def test_table_says_what_takes_too_long():
    measured = {"ms": {"median": 20.0}, "run_seconds": 375.0, "ratio": 1.0}
    slow = {"network": "plain", "parameters": 3334, "batch": 64, "libraries": {"snn_core": measured}}
    fast = slow | {"batch": 256, "libraries": {"snn_core": measured | {"run_seconds": 299.0}}}
    results = {
        "is_provisional": False,
        "date": "2026-11-26",
        "task": {"T": 784, "epochs": 20, "images": 60_000, "window": 28},
        "provenance": {"processor": "any", "torch": "2"},
        "libraries": {"snn_core": {"label": "snn_core", "versions": {"snn-core": "1"}, "notes": {}}},
        "runs": [slow, fast],
    }
    text = " ".join(update_docs.long_cost_section(results).split())
    assert "| plain | 3,334 | 64 | 6.2 min |" in text
    assert "Ours takes longer than 5 minutes for plain with batch 64." in text
    text = " ".join(update_docs.long_cost_section(results | {"runs": [fast]}).split())
    assert "Ours takes at most 5 minutes for each." in text


def test_a_missing_environment_is_one_line(tmp_path, capsys):
    argv = ["--quick", "--source", "embedded", "--libraries", "spyx", "--envs", str(tmp_path)]
    assert long_run.main([*argv, "--out", str(tmp_path / "out.json")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert re.fullmatch(r"error: spyx: .*python is missing: run `make bench`.*", line)
    assert not (tmp_path / "out.json").exists()
