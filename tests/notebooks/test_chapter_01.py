from __future__ import annotations

import pytest
import torch
from support_networks import if_step
from support_notebooks import definitions

from snn_core.surrogate import Sigmoid
from snn_tutorial.exercises import exercise


@pytest.mark.parametrize("v_reset", [None, 0.0, -0.5])
def test_neuron_by_hand_equals_the_package(v_reset):
    by_hand = definitions("01", "if_by_hand")["if_by_hand"]
    x, v = torch.rand(2, 500) * 2
    expected = if_step(
        x, v, v_threshold=1.25, v_reset=v_reset, surrogate_function=Sigmoid(), detach_reset=False
    )
    for mine, theirs in zip(by_hand(x, v, 1.25, v_reset), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_soft_reset_fires_once_more_and_loses_nothing(run, result):
    assert result["differences_by_hand"] == 0
    assert "hard: input 4.75 = 3 spikes + 0.75 left in the membrane + 1.00 discarded" in run.printed()
    assert "soft: input 4.75 = 4 spikes + 0.75 left in the membrane + 0.00 discarded" in run.printed()


def test_demo_prints_what_the_tutorial_prints(run):
    expected = [f"{t} x[t]={1.5 if t == 0 else 0.0}, s[t]=1.0\n" for t in range(8)]
    assert "".join(expected) in run.printed()
    assert "v_threshold=1.0, v_reset=None, detach_reset=False" in run.printed()


def test_worked_table_is_what_the_neuron_does(run, result):
    (text,) = (cell.source for cell in run.notebook.cells if "| t | x[t] " in cell.source)
    rows = [row.strip("|").split("|") for row in text.splitlines() if row.startswith("|")][2:]
    kept = result["kept"]
    y, v = [0.0, *kept["s"]], [0.0, *kept["v"]]
    for t, row in enumerate(rows):
        recorded = [t, kept["x"][t], y[t], kept["i"][t], v[t], kept["h"][t], kept["s"][t], kept["v"][t]]
        assert [float(entry) for entry in row] == recorded
    assert len(rows) == 3


def test_hard_reset_keeps_firing_and_a_weak_input_never_starts(result):
    assert [sum(train) for train in result["spikes"].values()] == [8, 8, 0]


def test_one_call_and_a_linear_recurrence_with_identities_give_the_same(run):
    assert "equal spikes: True" in run.printed()
    assert f"s {[1.0] * 8}\nv {[0.5] * 8}\n" in run.printed()


def test_state_between_batches(run):
    printed = run.printed()
    assert "ValueError: LinearRecurrentContainer: state y has shape [10, 8], input needs [3, 8]" in printed
    lines = printed[printed.index("nothing:") :].splitlines()[:8]
    assert lines[2].endswith("Trying to backward through the graph a second time")
    assert [line.split()[-1] for line in (*lines[4:6], *lines[7:])] == ["cleared", "cleared", "kept"]


def test_formula_counts_the_spikes_of_the_simulation(run):
    pairs = [line.split() for line in run.solved("01.4").splitlines()[:4]]
    assert [(pair[2], pair[-1]) for pair in pairs] == [(n, n) for n in ("8", "2", "4", "0")]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda a, theta: max((a - theta) // (theta - 1), -1) + 1, "right"),
        (lambda a, theta: (a - theta) // (theta - 1) + 1, "Return 0"),
        (lambda a, theta: a // theta, "ignores the feedback"),
        (lambda a, theta: max((a - theta) // (theta - 1), 0), "one is missing"),
    ],
)
def test_mistakes_with_the_number_of_spikes_are_named(answer, named):
    assert named in exercise("01.4").reply(answer)[1]
