"""The benchmark measures what it says: not how fast anything is, which only a quiet machine can tell."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import sysconfig
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from support import ROOT, require
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import driver, throughput
from benchmarks.config import BASE, MODELS, Config, grid
from benchmarks.inputs import initial_weights, write_inputs
from benchmarks.peers import PEERS, Inputs, Session, limit, torch_compile
from sequential_fmnist.networks import make_network
from snn_core.functional import reset_net
from snn_core.kernels.cpu import steps

HERE = [name for name, peer in PEERS.items() if peer.environment == "project" and peer.trains]
every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture
def inputs(few) -> Inputs:
    train, _ = few
    weights = {f"{m}/32/{name}": w for m in MODELS for name, w in initial_weights(m, 32).items()}
    return {"images": train.images[:, 0].numpy(), "labels": train.labels.numpy()} | weights


@pytest.fixture
def process(few, tmp_path) -> driver.Process:
    write_inputs(tmp_path / "inputs.npz", few[0], [BASE])
    with driver.Process(
        "snn_core", Path(sys.executable), tmp_path / "inputs.npz", tmp_path / "log"
    ) as process:
        yield process


def session(name: str, config: Config, inputs: Inputs) -> Session:
    if name == "spikingjelly":
        require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    peer = PEERS[name]
    # What dynamo and autograd make of the loop, without inductor's minute in the C++ compiler.
    variant = "aot_eager" if name == "torch-compile" else peer.variant
    return importlib.import_module(f"benchmarks.peers.{peer.module}").session(variant, config, inputs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
@every_model
@pytest.mark.parametrize("name", HERE)
def test_every_library_trains_from_the_same_weights(name, model, inputs):
    trained = session(name, Config(model, batch=100), inputs)
    losses = [trained.steps(1) for _ in range(30)]
    ours = session("snn_core", Config(model, batch=100), inputs)
    assert losses[0] == pytest.approx(ours.steps(1), rel=1e-5)
    assert losses[-1] < 0.95 * losses[0]
    assert 0 < trained.firing_rate() < 1


@pytest.mark.parametrize("name", [name for name in HERE if PEERS[name].takes_any_size])
def test_an_epoch_ends_with_what_is_left_of_the_images(name, inputs):
    assert 0 < session(name, Config("feedback", batch=150), inputs).epoch() < 1


def test_longer_sequences_read_the_columns_again(inputs):
    short, long = (session("snn_core", Config("plain", batch=5, T=T), inputs)._x for T in (28, 84))
    assert long.shape == (5, 1, 28, 84)
    assert torch.equal(long[..., 56:], short)
    assert torch.equal((short * 255).round().to(torch.uint8)[:, 0], torch.from_numpy(inputs["images"][:5]))


@every_model
def test_steps_of_one_call_are_those_of_one_kernel_and_the_others_are_not(model, inputs, monkeypatch):
    called = []

    def take_steps(*arguments):
        called.extend(arguments[-1])  # one index of a batch for each step
        return original(*arguments)

    original = steps.take_steps
    monkeypatch.setattr(steps, "take_steps", take_steps)
    for name in ("snn_core", "snn_core-torch", "snn_core-train-steps"):
        assert not called
        session(name, Config(model, batch=5), inputs).steps(2)
    assert len(called) == 2


@every_model
def test_matrix_products_are_those_of_the_network(model):
    config = Config(model, batch=3, T=28, hidden=5)
    net = make_network(model, hidden=5, backend="torch")
    with FlopCounterMode(display=False) as counter:
        net(torch.rand(3, 1, 28, 28)).sum().backward()
    reset_net(net)
    assert limit.products_flops(config) == counter.get_total_flops()


@every_model
def test_a_large_scan_keeps_less_than_the_loop(model, inputs):
    """What a small one keeps of each step is at most ``launch.MOST_KEPT``."""
    scan, loop = (
        session(name, Config(model, batch=1000), inputs).saved_bytes()
        for name in ("snn_core", "snn_core-torch")
    )
    assert scan < 0.1 * loop


def test_halves_of_the_recurrent_weights_are_the_whole():
    weights = initial_weights("feedback", 8)
    halves = [weights["rc_x.weight"], weights["rc_y.weight"]]
    assert np.array_equal(np.concatenate(halves, axis=1), weights["rc.weight"])
    assert np.array_equal(weights["fc1.weight"], initial_weights("feedback", 8)["fc1.weight"])


def test_summary_and_ratio_by_hand():
    assert driver.summary([4.0, 1.0, 2.0, 3.0, 5.0]) == {"median": 3, "q1": 2, "q3": 4, "n": 5}
    assert driver.summary([7.0]) == {"median": 7, "q1": 7, "q3": 7, "n": 1}
    # Round by round 2, 3 and 10; the median of the times alone would say 3 / 1.
    assert driver.ratio([2.0, 3.0, 20.0], [1.0, 1.0, 2.0]) == 3
    assert driver.ratio([6.0], [2.0, 1.0, 1.0]) == 3  # sat out after the first round
    assert throughput.exponent([1, 2, 8], [3, 12, 192]) == pytest.approx(2)


def test_a_block_of_the_limit_by_hand(inputs):
    timed = session("limit", BASE, inputs)
    a, b = (block.reshape(limit.BLOCK, limit.BLOCK).astype(float) for block in (timed._a, timed._b))
    timed._out[:] = 0
    limit.add_products(timed._a, timed._b, timed._out, 3)
    assert np.allclose(timed._out.reshape(a.shape), 3 * a @ b, atol=1e-4)
    flops = limit.products_flops(BASE)
    assert timed._blocks * limit.BLOCK_FLOPS * torch.get_num_threads() == pytest.approx(flops)


def test_a_core_is_busy_until_it_is_no_longer_asked_for():
    others = set(psutil.Process().children())  # multiprocessing's helper, where an earlier test left one
    with driver.busy_core():
        (child,) = set(psutil.Process().children()) - others
        before = child.cpu_times().user
        deadline = time.monotonic() + 60
        while child.cpu_times().user < before + 0.05:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not child.is_running()


def test_libraries_take_turns_until_their_time_is_up():
    order = []

    def turn(name):
        return lambda: order.append(name) or float(len(order))

    assert driver.rounds({"a": turn("a"), "b": turn("b")}, count=2) == {"a": [1, 3], "b": [2, 4]}
    assert order == ["a", "b", "a", "b"]
    assert driver.rounds({"a": lambda: 5.0}, count=3, budget=1e-12) == {"a": [5]}


def test_grid_varies_one_quantity_at_a_time():
    configs = grid()
    assert configs[:3] == [replace(BASE, model=model) for model in MODELS]
    assert len(configs) == 6 * len(MODELS) + 1
    assert len(set(configs)) == len(configs)
    assert {config.T for config in configs} == {28, 784}
    assert {config.hidden for config in configs} == {32, 128, 512, 1024}


@pytest.mark.parametrize("wrong", [{"model": "lif"}, {"T": 30}, {"batch": 0}, {"hidden": 0}])
def test_config_refuses(wrong):
    with pytest.raises(ValueError, match="must be"):
        Config(**wrong)


def test_a_worker_that_fails_gives_one_clear_error(process):
    with pytest.raises(driver.WorkerError, match=r"^snn_core: KeyError"):
        process.ask("steps", config=BASE, count=1)  # never prepared
    assert "snn-core" in process.ask("about")["versions"]  # and goes on
    with pytest.raises(
        driver.WorkerError, match=r"^snn_core: KeyError: .*no initial weights for fc1\.weight"
    ):
        process.ask("prepare", config=replace(BASE, hidden=31), check_steps=1)


def test_a_dead_network_is_not_timed(process, few):
    silent = dict(np.load(process.inputs))
    np.savez(process.inputs, **{k: v if k in ("images", "labels") else 0 * v for k, v in silent.items()})
    with pytest.raises(driver.WorkerError, match="the network is dead"):
        process.ask("prepare", config=BASE, check_steps=1)


def test_a_worker_that_dies_says_so(process):
    process.ask("about")
    process._process.kill()
    with pytest.raises(driver.WorkerError, match=r"^snn_core: the worker ended with exit code -9"):
        process.ask("about")


def test_a_missing_environment_is_one_line(tmp_path, capsys):
    argv = ["--quick", "--source", "embedded", "--libraries", "spyx", "--envs", str(tmp_path)]
    assert throughput.main([*argv, "--out", str(tmp_path / "out.json")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert re.fullmatch(r"error: spyx: .*python is missing: run `make bench`.*", line)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.nightly
def test_quick_run_writes_a_well_formed_file(tmp_path):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    out = tmp_path / "out.json"
    assert throughput.main(["--quick", "--source", "embedded", "--out", str(out)]) == 0
    results = json.loads(out.read_text())
    assert results["is_subset"]
    assert results["provenance"]["processor"]
    assert 0 <= results["cpu_share_of_others"] <= 1
    assert results["is_provisional"]
    assert list(results["libraries"]) == list(throughput.QUICK.libraries)
    assert [entry["config"]["model"] for entry in results["busy"]] == ["feedback"]
    for entry in results["steps"] + results["busy"]:
        for name, measured in entry["libraries"].items():
            assert 0 < measured["ms"]["q1"] <= measured["ms"]["median"] <= measured["ms"]["q3"]
            assert measured["ratio"] > 0
            if name != "limit":
                assert measured["loss_decreases"]
                assert 0 < measured["hidden_spikes_per_step"] < 1
                assert measured["first_loss"] == pytest.approx(
                    entry["libraries"]["snn_core"]["first_loss"], rel=1e-5
                )
    assert {entry["config"]["model"] for entry in results["steps"]} == set(MODELS)
    trained = set(throughput.QUICK.libraries) - {"limit"}
    assert set(results["epochs"][0]["libraries"]) == trained
    assert [(each["model"], each["quantity"]) for each in results["growth"]] == [("feedback", "T")]
    assert all(len(each["ms"]) == len(each["sizes"]) for each in results["growth"])
    for entry in results["memory"]:
        assert set(entry["saved_bytes"]) == set(entry["peak_bytes"]) == set(throughput.MEMORY)
        assert min(entry["peak_bytes"].values()) > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
@pytest.mark.nightly
@every_model
def test_inductor_trains_from_the_same_weights(model, inputs):
    require(Path(sysconfig.get_paths()["include"], "Python.h").exists(), "Python's headers")
    compiled = torch_compile.session("inductor", Config(model, batch=100), inputs)
    ours = session("snn_core", Config(model, batch=100), inputs)
    assert [compiled.steps(1) for _ in range(3)] == pytest.approx([ours.steps(1) for _ in range(3)], rel=1e-4)


def test_requirements_of_the_other_libraries_have_bounds():
    for path in (ROOT / "benchmarks" / "requirements").iterdir():
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert [line for line in lines if not re.fullmatch(r"[\w-]+>=[\d.]+,<[\d.]+", line)] == []


def test_feedback_network_of_spikingjelly_ends_where_ours_does():
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    from benchmarks.peer_seeds import last_accuracy

    ours, theirs = (last_accuracy(library, 0, 1, "embedded") for library in ("snn_core", "spikingjelly"))
    assert ours == theirs > 20
