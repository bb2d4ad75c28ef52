from __future__ import annotations

import pytest
import torch

from snn_tutorial.exercises import exercise


def test_soft_reset_fires_once_more_and_loses_nothing(run, result):
    assert result["differences_by_hand"] == 0
    assert "hard: input 4.75 = 3 spikes + 0.75 left in the membrane + 1.00 discarded" in run.printed()
    assert "soft: input 4.75 = 4 spikes + 0.75 left in the membrane + 0.00 discarded" in run.printed()


def test_one_pulse_is_kept_as_one_bit(result):
    assert result["fired"] == {"1.5": 1000, "0.9": 0}


def test_folded_table_is_what_the_neuron_does(run, result):
    kept = result["kept"]
    assert [kept[name][1] for name in "xihsv"] == [0, 1, 1.5, 1, 0.5]
    assert all(kept[name][2] == kept[name][1] for name in "xihsv")


def test_hard_reset_keeps_firing_and_a_higher_threshold_ends_it(result):
    assert [sum(train) for train in result["spikes"].values()] == [8, 2, 4]


def test_pulse_in_a_ring_is_lost_stays_or_explodes(result):
    lost, stays, explodes, weakest = result["rings"].values()
    assert (sum(lost), {*stays}) == (1, {1})
    assert explodes[0] == 1
    assert explodes[-1] == 5  # all neurons fire
    assert weakest[-1] == 0


def test_one_call_gives_the_same(run):
    assert f"s {[1.0] * 8}\nv {[0.5] * 8}\n" in run.printed()


def test_state_between_batches(run):
    printed = run.printed()
    assert "ValueError: LinearRecurrentContainer: state y has shape [10, 8]" in printed
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


@pytest.mark.parametrize(
    ("recurrence", "named"),
    [
        ([[1, 0, 0], [0.5, 0, 0], [0, 0.5, 0]], "right"),
        ([[1, 0, 0], [0.5, 0, 0], [0.25, 0, 0]], "right"),
        ([[1, 0.5, 0], [0, 0, 0.5], [0, 0, 0]], "row k says"),
        ([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]], "must hear itself"),
        ([[1, 0, 0], [0.5, 0, 0], [0, 1, 0]], "Neuron 2 counts"),
    ],
)
def test_mistakes_with_the_clock_are_named(recurrence, named):
    w = torch.cat([torch.eye(3), torch.tensor(recurrence)], dim=1)
    assert named in exercise("01.3").reply(w)[1]
