from __future__ import annotations

import pytest
import torch

from snn_tutorial.exercises import exercise


def test_what_the_resets_discard_adds_up(run):
    assert "hard reset: input 5 = 4 spikes + 0 left in the membrane + 1 discarded" in run.printed()
    assert "soft reset: input 5 = 5 spikes + 0 left in the membrane + 0 discarded" in run.printed()


def test_one_pulse_is_kept_as_one_bit(run):
    assert "x[0] = 1.5: 1,000 spikes" in run.printed()
    assert "x[0] = 0.9:     0 spikes" in run.printed()


def test_one_call_gives_the_same(run):
    assert f"s {[1.0] * 8}\nv {[0.5] * 8}\n" in run.printed()


def test_state_between_batches(run):
    printed = run.printed()
    assert "ValueError: LinearRecurrentContainer: state y has shape [10, 8]" in printed
    lines = printed[printed.index("nothing:") :].splitlines()[:8]
    assert lines[2].endswith("Trying to backward through the graph a second time")
    assert [line.split()[-1] for line in (*lines[4:6], *lines[7:])] == ["cleared", "cleared", "kept"]


def test_formula_counts_the_spikes_of_the_simulation(run):
    pairs = [line.split() for line in run.solved("01.5").splitlines()[:4]]
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
    assert named in exercise("01.5").reply(answer)[1]


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
