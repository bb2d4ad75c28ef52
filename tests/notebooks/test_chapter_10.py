from __future__ import annotations

import json
import re

import pytest
from support import ROOT
from support_notebooks import committed

from snn_exchange import DIFFERENCES


def test_spikes_are_equal_wherever_the_network_runs(run, result):
    assert result["chances"] == 28 * result["images"] * 32
    assert 0.1 < result["spikes"] / result["chances"] < 0.9
    assert result["differing"] == {"round_trip": 0, "numpy": 0, "snntorch": 0}
    accuracy = result["accuracy"]
    assert {accuracy[name] for name in ("after", "numpy", "snntorch")} == {accuracy["before"]}
    assert accuracy["read with our note"] == accuracy["synapse filter"] > accuracy["leaky integrator"] + 0.1
    printed = " ".join(run.printed().split())
    assert "W_y is the cycle's weight: True" in printed
    assert "W_x is in the first layer: True" in printed
    assert f"sy1: NIR cannot express it exactly: {DIFFERENCES['synapse-filter']}" in printed


def test_first_difference_names_the_change(result):
    apart, right = result["apart_percent"], result["right_percent"]
    exact, ties, late, soft = apart
    assert apart[exact] == 0 < apart[ties] < 5 < min(apart[late], apart[soft])
    lost = {name: before - after for name, (before, after) in right.items()}
    assert lost[soft] > 40 > 15 > lost[late] > 0
    first = committed("10")
    said = [output for cell in first.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("r != 1 not supported" in output["data"].get("text/html", "") for output in said)


def test_simulator_with_both_changes_does_what_spyx_does(result):
    rows = json.loads((ROOT / "results" / "exchange.json").read_text())["rows"]
    (spyx,) = (
        row for row in rows if (row["peer"], row["network"], row["dialect"]) == ("spyx", "plain", "nir")
    )
    assert result["like_spyx"]["differing"] == spyx["differing"]
    assert result["like_spyx"]["accuracy"] == [spyx["accuracy_ours"], spyx["accuracy_theirs"]]


def test_training_restores_most_of_the_accuracy(full):
    before, first, *_, last = full["trained"]
    assert before < 0.55
    assert 0.75 < first < last < 0.81


def test_solutions(run):
    printed = run.printed()
    assert int(re.search(r"1/16: .* in step 0 for (\d+)% of these", printed)[1]) > 95
    assert int(re.search(r"(\d+) biases are exactly 1", printed)[1]) > 0
    soft, hard = re.search(r"([\d,]+) spikes with the soft reset, ([\d,]+)", printed).groups()
    assert int(hard.replace(",", "")) / int(soft.replace(",", "")) == pytest.approx(0.75, abs=0.03)
