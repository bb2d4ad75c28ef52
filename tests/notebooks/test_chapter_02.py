from __future__ import annotations

import math
from itertools import accumulate

import pytest

from snn_tutorial.exercises import exercise


def test_burst_adds_one_for_each_spike_in_the_synapse_filter_only(result):
    low_pass = list(accumulate([0] + [1] * 5 + [0] * 6, lambda i, spike: 0.8 * i + spike))
    assert result["burst"]["low-pass"] == pytest.approx(low_pass)
    assert result["burst"]["synapse filter"] == pytest.approx(
        [0, 1, 2, 3, 4, *(5 * 0.8**k for k in range(7))]
    )
    assert result["by_hand"] == [1, 0.5, 0.25, 1.25, 2.25, 1.125]


def test_half_life_halves_the_current(result):
    for tau, steps in zip((2, 5, 20, 100), result["half_life"], strict=True):
        assert (1 - 1 / tau) ** steps == pytest.approx(0.5)


def test_memory_turns_noise_into_a_picture(result):
    spikes, *filtered = result["likeness"].values()
    assert spikes < 0.3
    assert filtered == sorted(filtered)
    assert filtered[-1] > 0.8


def test_background_follows_from_the_bias(result):
    corner, expected = result["background"]
    assert corner == pytest.approx(expected, rel=1e-3)
    lowest, highest = result["factor"]
    assert 0.96 < lowest < 0.99
    assert 1 < highest < 1.02


def test_hidden_tau_is_found_and_states_sit_where_the_text_says(run, result):
    assert result["tau_found"] == pytest.approx(12, abs=1e-3)
    assert result["states"] == {"Conv2d": [432, 12544], "SynapseFilter": [320, 32]}
    assert "after reset_net: {}" in run.printed()


def test_solutions_are_right(run):
    assert (1 - 1 / (1 + math.exp(-exercise("02.3").right))) ** 10 == pytest.approx(0.5)
    for line in run.solved("02.4").splitlines()[:3]:
        simulated, derived = float(line.split()[4].strip(",")), float(line.split()[-1])
        assert simulated == pytest.approx(derived, rel=0.03)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda tau, p: tau / (1 / p - 1), "right"),
        (lambda tau, p: tau * p, "this is the low-pass"),
        (lambda tau, p: p / (1 - p), "It depends on tau"),
    ],
)
def test_mistakes_with_the_mean_are_named(answer, named):
    assert named in exercise("02.4").reply(answer)[1]
