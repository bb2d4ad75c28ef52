"""Chapter 08: what it recorded and says, against the package and the table of the tests."""

from __future__ import annotations

import json

import nir
import numpy as np
import pytest
import torch
from support import ROOT
from support_notebooks import Run, definitions, quick_run

from sequential_fmnist.networks import columns_as_sequence
from sequential_fmnist.pretrained import load
from snn_exchange import DIFFERENCES, ExchangeWarning, from_nir, to_nir

pytestmark = pytest.mark.xdist_group("chapter_08")

#: Spikes that may hang on the last digit, where another program adds in another order.
ROUNDING = 9


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("08", tmp_path_factory.mktemp("chapter_08"))


@pytest.fixture(scope="module")
def result(run) -> dict:
    return run.result("chapter_08.json")


def test_spikes_are_equal_wherever_the_network_runs(result):
    assert result["chances"] == 28 * result["images"] * 32
    assert 0.1 < result["spikes"] / result["chances"] < 0.9
    assert result["differing"]["round_trip"] == 0
    for elsewhere in ("numpy", "snntorch"):
        assert result["differing"][elsewhere] <= ROUNDING
        assert result["accuracy"][elsewhere] == pytest.approx(result["accuracy"]["before"], abs=0.01)
    assert result["accuracy"]["after"] == result["accuracy"]["before"] > 0.75
    assert result["program_equal"] is True


def test_leaky_integrator_costs_accuracy_and_the_note_does_not(result):
    accuracy = result["accuracy"]
    assert accuracy["read with our note"] == accuracy["synapse filter"] > 0.75
    assert accuracy["leaky integrator"] < accuracy["synapse filter"] - 0.1


def test_what_is_printed(run):
    printed = run.printed()
    assert "sn1 -> sn1_recurrent" in printed
    assert "v_threshold  [0.99999994]" in printed
    assert "W_y is the cycle's weight: True" in printed
    assert "W_x is in the first layer: True" in printed
    assert "3,338 parameters, 2,282 numbers in the graph" in printed
    assert "AssertionError: r != 1 not supported" in printed
    assert "kept in a step: [1.]" in printed
    assert f"sy1: NIR cannot say it exactly: {DIFFERENCES['synapse-filter']}" in printed
    assert f"ExchangeWarning - not exact in NIR: sy1: {DIFFERENCES['synapse-filter']}" in printed
    assert "fc.0.weight, fc.0.bias, fc.1.rc.weight" in printed
    assert "FeedBackNet True" in printed
    assert "every image gets the same answer: True" in printed
    assert "node 'fc2' takes 30 features, what comes before gives 32" in printed


def test_solutions(run):
    """Fewer spikes with the hard reset, hardly any at the threshold itself, and a time step that does not fit."""
    lines = run.printed().splitlines()
    (soft,) = (line for line in lines if "spikes with the soft reset" in line)
    with_soft, with_hard = (int(word.replace(",", "")) for word in soft.split() if word[0].isdigit())
    assert with_soft > with_hard > 0
    (ties,) = (line for line in lines if line.endswith(" spikes differ"))
    assert int(ties.split()[0]) < 100
    assert any("sn1" in line and "is dt=0.0001 the length of its time step?" in line for line in lines)


def test_table_is_that_of_the_tests(run):
    shown = [
        output["data"]["text/markdown"]
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    ]
    rows = json.loads((ROOT / "results" / "exchange.json").read_text())["rows"]
    assert len(shown) == 1
    assert len(shown[0].splitlines()) == len(rows) + 2


@pytest.mark.parametrize("model", ["plain", "stateful-synapse", "feedback"])
def test_simulator_equals_the_package(model, few):
    """The chapter's twenty lines give what from_nir gives, in every node, in double precision."""
    simulate = definitions("08", "simulate", "step")["simulate"]
    net = load(model)[0].double()
    with pytest.warns(ExchangeWarning) if model == "stateful-synapse" else torch.no_grad():
        graph = to_nir(net, allow=DIFFERENCES)
    for node in graph.nodes.values():
        node.metadata.clear()  # as a reader who does not know our notes
    x_seq = columns_as_sequence(few[1].images[:20].double() / 255)
    record = simulate(graph, x_seq.numpy())
    layers = from_nir(graph)
    with torch.no_grad():
        spikes = layers[:2](x_seq)
        output = layers[2:](spikes)
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(record["sn1"], spikes.numpy())
    np.testing.assert_allclose(record["output"], output.numpy(), atol=1e-9)


def test_simulator_by_hand():
    """One neuron whose spike comes back with weight 1: 1.5 now, then 1 in each step, and it fires each time."""
    simulate = definitions("08", "simulate", "step")["simulate"]
    one = np.ones(1, np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "neuron": nir.IF(r=1e4 * one, v_threshold=0.9 * one, v_reset=0 * one),
        "back": nir.Linear(np.ones((1, 1), np.float32)),
        "output": nir.Output({"output": np.array([1])}),
    }
    edges = [("input", "neuron"), ("neuron", "back"), ("back", "neuron"), ("neuron", "output")]
    x_seq = np.float32([1.5, 0, 0, -1, 0]).reshape(5, 1, 1)
    record = simulate(nir.NIRGraph(nodes, edges, type_check=False), x_seq)
    assert record["output"].flatten().tolist() == [1, 1, 1, 0, 0]
