from __future__ import annotations

import json
import warnings

import matplotlib.pyplot as plt
import nir
import numpy as np
import pytest
from support import ROOT

from sequential_fmnist.networks import NETWORKS, make_network
from snn_exchange import DIFFERENCES, to_nir
from snn_tutorial.plot.exchange import graph_step, leak_and_filter, nir_graph, peers_table


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def graph_of(model: str) -> nir.NIRGraph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_nir(make_network(model, hidden=5), allow=DIFFERENCES)


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("model", NETWORKS)
def test_every_node_is_drawn_with_its_type_and_size(model):
    graph = graph_of(model)
    told = words(nir_graph(graph))
    for name, node in graph.nodes.items():
        assert type(node).__name__ in told
        assert name.replace("_recurrent", "\nrecurrent") in told
    assert "5 x 28\n+ bias" in told
    assert ("5 x 5" in told) == ("one step\nlater" in told) == (model == "feedback")
    assert "5\nneurons" in told


def test_nodes_do_not_overlap():
    figure = nir_graph(graph_of("feedback"))
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches if hasattr(patch, "get_boxstyle")]
    boxes = [box for box in boxes if box.width > 20 and box.height > 20]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_branching_graph_is_refused():
    graph = graph_of("plain")
    graph.edges.append(("fc1", "fc2"))
    with pytest.raises(ValueError, match="must be a chain; after 'fc1'"):
        nir_graph(graph)


def test_step_says_what_each_node_gives():
    graph = graph_of("feedback")
    record = {name: np.zeros((28, 5)) for name in graph.nodes}
    record["sn1"][9, :2] = 1
    record["fc2"][9] = [-1.25, 0, 0, 0, 2]
    record["input"][9] = 0.5
    image = np.random.default_rng(0).random((28, 28))
    told = words(graph_step(graph, record, 9, image))
    assert "2 of 5\nfire" in told
    assert "-1.2 to\n2.0" in told
    assert "mean\n0.50" in told
    assert "0 of 5\nfire" in words(graph_step(graph, record, 8, image))


def test_curves_of_leak_and_filter():
    currents = {"a": np.array([0.0, 1, 2]), "b": np.array([0.0, 1, 1.5])}
    top, bottom = leak_and_filter(np.array([0, 1, 1]), currents).axes
    for line, (label, current) in zip(bottom.lines, currents.items(), strict=True):
        assert line.get_label() == label
        np.testing.assert_array_equal(line.get_ydata(), current)
    assert bottom.lines[0].get_linestyle() != bottom.lines[1].get_linestyle()
    assert [segment[0][0] for segment in top.collections[0].get_segments()] == [1, 2]


def test_table_by_hand():
    same = {"peer": "spyx", "version": "1.0.0", "network": "plain"}
    numbers = {"chances": 2000, "accuracy_ours": 0.5, "accuracy_theirs": 0.25}
    rows = [
        same
        | numbers
        | {
            "direction": "to",
            "dialect": "spyx",
            "outcome": "different",
            "differing": 100,
            "differing_soft_and_late": 3,
        },
        same | numbers | {"direction": "to", "dialect": "nir", "outcome": "equal", "differing": 0},
        same
        | {"direction": "to", "dialect": "nir", "outcome": "refused", "why": "A | `b`", "peer": "snntorch"},
    ]
    lines = peers_table(rows).splitlines()
    assert lines[2].startswith(
        "| Spyx 1.0.0 | ours: plain, dialect spyx | 100 of 2,000 | 50.0%, 25.0% | soft reset"
    )
    assert lines[2].endswith("; if ours do so too, 3 differ |")
    assert lines[3].startswith("| Spyx 1.0.0 | ours: plain | 0 of 2,000 | 50.0%, 25.0% |")
    assert lines[4] == "| snnTorch 1.0.0 | ours: plain | refused |  | `A / 'b'` |"


def test_table_of_the_stored_results_has_a_reason_for_every_difference():
    rows = json.loads((ROOT / "results" / "exchange.json").read_text())["rows"]
    lines = peers_table(rows).splitlines()[2:]
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        assert line.count("|") == 6
        assert (line.split("|")[5].strip() == "") == (row["outcome"] == "equal"), line
