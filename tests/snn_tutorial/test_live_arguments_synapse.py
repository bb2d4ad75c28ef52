from __future__ import annotations

import math

import pytest
import torch

import snn_tutorial.live.synapse
from snn_tutorial.live.synapse import rise, synapse_explorer


def test_figure_without_a_script_shows_the_given_train(monkeypatch):
    drawn = []
    draw = snn_tutorial.live.synapse.traces

    def traces(train, both, title):
        drawn.append((train, both["synapse filter"].tolist(), title))
        return draw(train, both, title)

    monkeypatch.setattr(snn_tutorial.live.synapse, "traces", traces)
    synapse_explorer(torch.tensor([1.0, 0, 0]), tau=2)
    assert drawn == [([1, 0, 0], [1, 0.5, 0.25], r"$\tau$ = 2 steps")]


@pytest.mark.parametrize("s", [[], [0, 2], [0.5], [-1], [[0, 1]], 1, [math.nan], torch.zeros(2, 2)])
def test_train_must_hold_one_spike_or_none_for_each_step(s):
    with pytest.raises(ValueError, match="synapse_explorer: s "):
        synapse_explorer(s)


@pytest.mark.parametrize("s", ["0101", [0, "1"], None])
def test_train_must_be_made_of_numbers(s):
    with pytest.raises(TypeError, match="synapse_explorer: s "):
        synapse_explorer(s)


@pytest.mark.parametrize(
    ("tau", "error"),
    [(1.0, ValueError), (50.5, ValueError), (math.nan, ValueError), ("5", TypeError), (None, TypeError)],
)
def test_tau_must_be_on_the_slider(tau, error):
    with pytest.raises(error, match="synapse_explorer: tau "):
        synapse_explorer([0, 1], tau)


@pytest.mark.parametrize(("tau", "expected"), [(1.1, 1.05), (2, 1.5), (3, 2), (10, 2), (50, 2)])
def test_rise_is_below_the_decay(tau, expected):
    assert rise(tau) == pytest.approx(expected)
