"""The table of cells: every layer is the same in all environments that have it, and a tiny run writes the file."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from benchmark_tables import large_layers_section
from support import require

from benchmarks import driver, large_layers
from benchmarks.cells import LARGE, ours
from benchmarks.cells import __main__ as cells
from benchmarks.cells.ours import CELLS, ROWS
from benchmarks.cells.torch_layer import Fed, InLoop, TorchLayer
from snn_core.functional import explain

KINDS = ("neuron", "synapse", "feedback")


def arrays(row: cells.Row, T: int = 12, N: int = 3, H: int = 32) -> tuple[np.ndarray, np.ndarray]:
    random, shape = np.random.default_rng(0), (T, N, *row.shape(H))
    x = random.normal(0.5, 1.0, shape)
    return (x > 0.9 if row.kind == "synapse" else x).astype(np.float32), random.normal(size=shape).astype(
        np.float32
    )


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_one_layer_fused_and_in_the_loop(name):
    row = ROWS[name]
    assert row.kind in KINDS
    x = torch.from_numpy(arrays(row)[0])
    fused, loop = (CELLS[name](32, backend) for backend in ("auto", "torch"))
    (decision,) = explain(fused, x)
    assert decision.fused
    (decision,) = explain(loop, x)
    assert not decision.fused
    loop.load_state_dict(fused.state_dict())
    seen = fused(x)
    torch.testing.assert_close(seen, loop(x))
    assert seen.shape == x.shape and seen.mean() > 0


def test_shapes_of_samples():
    assert cells.Row(None, "neuron").shape(128) == [128]
    assert cells.Row(None, "feedback", side=4).shape(128) == [8, 4, 4]


@pytest.mark.parametrize("name", ["IF", "LIF", "parametric LIF", "synapse filter", "element-wise", LARGE])
def test_layers_of_spikingjelly_give_what_ours_give(name):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    theirs, ours = (
        importlib.import_module(f"benchmarks.cells.{module}") for module in ("spikingjelly", "ours")
    )
    sequences = arrays(ROWS.get(name, ROWS["LIF"]))
    found = [
        library.session(lambda library=library: library.CELLS[name](32, "auto"), *sequences).steps(1)
        for library in (ours, theirs)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5) and found[0] != 0


def test_every_layer_of_spikingjelly_runs():
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    library = importlib.import_module("benchmarks.cells.spikingjelly")
    sequences = arrays(ROWS["IF"])
    means = {
        name: library.session(lambda name=name: library.CELLS[name](32, "auto"), *sequences).steps(1)
        for name in library.CELLS
    }
    assert all(abs(mean) > 0 for mean in means.values())


def test_loops_of_other_libraries_by_hand():
    """A cell that adds up its inputs: 1, 2, 3 alone; with its output fed back 1, 3, 7."""

    def add(x, total):
        total = x if total is None else total + x
        return total, total

    x = torch.ones(3, 2, 1)
    assert InLoop(add)(x)[:, 0, 0].tolist() == [1, 2, 3]
    assert InLoop(add, torch.nn.Identity())(x)[:, 0, 0].tolist() == [1, 3, 7]
    layer = Fed(add, 1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0)
    assert layer(x)[:, 0, 0].tolist() == [2, 6, 14]


def test_a_step_gives_gradients_to_input_and_parameters_once():
    made = []

    def make():
        made.append(torch.nn.Linear(4, 4))
        return made[0]

    x, gradient = (np.ones((2, 3, 4), np.float32) for _ in range(2))
    session = TorchLayer(make, x, gradient)
    session.steps(3)
    assert made[0].weight.grad.tolist() == [[6.0] * 4] * 4  # of one step, not of three
    torch.testing.assert_close(session._x.grad[0, 0], made[0].weight.sum(0).detach())


def test_a_tiny_run_writes_a_well_formed_file(tmp_path):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    out = tmp_path / "cells.json"
    assert cells.main(["--quick", "--libraries", "spikingjelly", "--out", str(out)]) == 0
    results = json.loads(out.read_text())
    assert results["is_provisional"] and results["provenance"]["torch_threads"]
    assert results["size"] == {"T": 8, "N": 4, "H": 32}
    assert list(results["libraries"]) == ["snn_core", "snn_core-torch", "spikingjelly"]
    assert [entry["name"] for entry in results["cells"]] == list(ROWS)
    for entry in results["cells"]:
        assert {"snn_core", "snn_core-torch"} <= entry["libraries"].keys()
        for measured in entry["libraries"].values():
            assert 0 < measured["ms"]["q1"] <= measured["ms"]["median"] <= measured["ms"]["q3"]
            assert measured["ratio"] > 0
        assert entry["libraries"]["snn_core"]["ratio"] == 1
    assert "spikingjelly" in results["cells"][0]["libraries"]


def test_a_layer_whose_outputs_are_added_up_gives_gradients_to_parameters_alone():
    session = ours.session(partial(CELLS[LARGE], 32, "auto"), arrays(ROWS["LIF"])[0], None)
    session.steps(2)
    assert session._x.grad is None
    linear = session._layer.linear
    y = session._layer(session._x)
    (gradient,) = torch.autograd.grad(y.sum(), linear.weight)
    torch.testing.assert_close(linear.weight.grad, gradient)
    assert gradient.abs().max() > 0


def test_a_tiny_run_of_large_layers_writes_a_well_formed_file_and_its_table(tmp_path):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    out = tmp_path / "large_layers.json"
    assert large_layers.main(["--quick", "--libraries", "spikingjelly", "--out", str(out)]) == 0
    results = json.loads(out.read_text())
    assert results["is_provisional"] and results["provenance"]["torch_threads"]
    assert [entry["n"] for entry in results["sizes"]] == list(large_layers.QUICK.rounds)
    for entry in results["sizes"]:
        assert list(entry["libraries"]) == ["snn_core", "snn_core-torch", "spikingjelly"]
        assert all(measured["ms"]["n"] == 2 for measured in entry["libraries"].values())
        assert entry["libraries"]["snn_core"]["ratio"] == 1
    text = large_layers_section(results)
    assert re.search(r"\| 32 \| \d+\.\d\d ms \| \d+\.\d\d ms \(\d+\.\d+x\) \|", text)
    assert "batch 4 and T = 20" in text


def test_a_missing_environment_is_one_line(tmp_path, capsys):
    argv = ["--quick", "--libraries", "spyx", "--envs", str(tmp_path), "--out", str(tmp_path / "out.json")]
    assert cells.main(argv) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert re.fullmatch(r"error: spyx: .*python is missing: run `make bench`.*", line)
    assert not (tmp_path / "out.json").exists()


class Told:
    """A worker whose layers give what it is told."""

    def __init__(self, mean: float) -> None:
        self.mean = mean

    def ask(self, do: str, **_: object) -> dict[str, float]:
        return {"mean_output": self.mean, "seconds": 1.0}


def test_fused_and_loop_that_differ_are_not_timed():
    with pytest.raises(driver.WorkerError, match=r"^IF: the mean output is 0\.5 fused and 0\.4 in the loop"):
        cells.time_row({cells.OURS: Told(0.5), cells.LOOP: Told(0.4)}, "IF", ROWS["IF"], cells.QUICK)


def test_a_dead_layer_is_not_timed(tmp_path):
    from benchmarks.cells import worker

    cells.write_inputs(tmp_path / "inputs.npz", cells.QUICK)
    silent = {name: 0 * array for name, array in np.load(tmp_path / "inputs.npz").items()}
    np.savez(tmp_path / "inputs.npz", **silent)
    made = worker.CellWorker("snn_core", str(tmp_path / "inputs.npz"))
    with pytest.raises(RuntimeError, match="IF: the layer is dead"):
        made.prepare("IF", "IF", [32], "currents", "gradient")
