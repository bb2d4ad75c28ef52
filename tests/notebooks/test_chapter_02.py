from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from support_notebooks import Run, definitions, prose, quick_run

from snn_core.layer import SynapseFilter
from snn_tutorial.exercises.chapter_02 import EXERCISES
from snn_tutorial.plot.synapses import currents

pytestmark = pytest.mark.xdist_group("chapter_02")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("02", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def result(run) -> dict:
    return run.result("chapter_02.json")


class TestDefinitions:
    def test_both_filters_equal_those_of_the_package(self):
        built = definitions("02", "synapse_current", "low_pass")
        s = torch.bernoulli(torch.full((50, 3), 0.4, dtype=torch.float64))
        module = SynapseFilter(tau=4.0).double().forward_sequence(s)
        torch.testing.assert_close(built["synapse_current"](s, 4.0), module, rtol=0, atol=1e-12)
        for name, function in (("synapse filter", "synapse_current"), ("low-pass", "low_pass")):
            expected = currents(s[:, 0].tolist(), 4.0)[name]
            np.testing.assert_allclose(built[function](s[:, :1], 4.0)[:, 0], expected, rtol=0, atol=1e-12)

    def test_learned_tau_is_the_one_with_the_smallest_loss(self):
        """Against a search without any gradient, for a target that no tau fits exactly."""
        (learn_tau,) = definitions("02", "learn_tau").values()
        s = torch.bernoulli(torch.full((60, 4), 0.2))
        target = SynapseFilter(tau=6.0).forward_sequence(s) + 0.1 * torch.randn(60, 4)

        def loss(tau: float) -> float:
            return (SynapseFilter(tau=tau).forward_sequence(s) - target).square().mean().item()

        synapse = SynapseFilter(tau=2.0, learnable=True)
        losses, taus = learn_tau(
            synapse, torch.optim.Adam(synapse.parameters(), lr=0.1), s, target, steps=300
        )
        best = minimize_scalar(loss, bounds=(1.1, 50), method="bounded").x
        assert synapse.tau.item() == pytest.approx(best, rel=2e-3)
        assert (taus[0], len(losses)) == (2.0, 300)


def test_worked_by_hand(run, result):
    assert result["by_hand"] == [1, 0.5, 0.25, 1.25, 2.25, 1.125]
    assert "t = 4   s[t] = 1   I[t] = 2.25" in run.printed()
    assert "largest difference below 1e-12: True" in run.printed()


def test_superposition_fails_for_the_synapse_filter_only(result):
    """At tau = 2, spikes at 1 and 4, and at 2 and 5. Alone: 1/16 + 1/2 and 1/8 + 1. Together: ((1 + 1)/2 + 1) + 1."""
    assert result["superposition_at_5"]["synapse filter"] == [3, 1.875]
    together, alone = result["superposition_at_5"]["low-pass"]
    assert together == alone == 1 / 16 + 1 / 8 + 1 / 2 + 1


def test_gap_is_narrowest_for_regular_spikes_and_widest_for_bursts(run, result):
    """In theory at tau = 10: from one period to the next the current after it is the same."""
    gap = {kind: synapse - low for kind, (synapse, low) in result["mean_by_train"].items()}
    assert gap["regular"] < gap["random"] < gap["in bursts"]
    assert "regular spikes, 1.42, wider for random ones, 1.66 in this sample and 1.67 in theory" in prose(
        run.notebook
    )
    assert "for bursts, 1.96." in prose(run.notebook)
    assert gap == pytest.approx({"regular": 1.42, "random": 1.66, "in bursts": 1.96}, abs=0.005)
    in_theory = 10 * (1 / 3) / (2 / 3) - 10 / 3
    assert in_theory == pytest.approx(1.67, abs=0.005)
    after = 1 / (1 - 0.9**2)  # a spike adds 1 to what two silent steps left of the last one
    assert after * (1 + 0.9 + 0.81) / 3 - 10 / 3 == pytest.approx(gap["regular"], abs=1e-4)
    assert [low for _, low in result["mean_by_train"].values()] == pytest.approx([10 / 3] * 3, rel=0.01)


def test_each_spike_widens_the_gap_and_each_silent_step_narrows_it():
    both = currents([int(t % 3 == 0) for t in range(20)], tau=10)
    wider = np.diff(both["synapse filter"] - both["low-pass"])[2:]  # from the second spike, in step 3, on
    assert [change > 0 for change in wider] == [t % 3 == 0 for t in range(3, 20)]


def test_one_interval_of_twelve_misses(run, result):
    p = np.array(result["p"])
    derived = {"synapse filter": 10 * p / (1 - p), "low-pass": 10 * p}
    misses = [
        (name, prob)
        for name, measured in result["mean_current"].items()
        for prob, mean, half, true in zip(
            p, measured["mean"], measured["half_width"], derived[name], strict=True
        )
        if abs(mean - true) > half
    ]
    assert misses == [("synapse filter", 0.8)]
    assert "Here one of the twelve does, that of the synapse filter at $p = 0.8$." in prose(run.notebook)


def test_current_falls_to_the_fraction_that_the_text_names(run):
    """Not by it: (1 - 1/tau) is what a silent step leaves, and 1 - (1 - p)/tau what a step leaves of the distance."""
    said = prose(run.notebook)
    assert "Each silent step leaves the fraction $1 - 1/\\tau$ of the current." in said
    assert "the distance to the mean falls to the fraction $1 - (1-p)/\\tau$ of what it was" in said
    assert "shrinks by" not in said
    silent = currents([1, 0], tau=5)["synapse filter"]
    assert silent[1] / silent[0] == pytest.approx(1 - 1 / 5)
    mean = p = 0.8
    settled = 10 * p / (1 - p)
    for _ in range(3):
        distance = settled - mean
        mean = mean - (1 - p) / 10 * mean + p
        assert (settled - mean) / distance == pytest.approx(1 - (1 - p) / 10)


def test_half_life_is_shorter_than_tau_ln_2_and_nears_it(result):
    ratio = [n / (tau * math.log(2)) for tau, n in zip((2, 5, 20, 100), result["half_life"], strict=True)]
    assert ratio == sorted(ratio)
    assert ratio[-1] < 1


@pytest.mark.parametrize("name", ["synapse filter", "low-pass"])
def test_simulated_means_are_the_derived_ones(result, name):
    p, measured = np.array(result["p"]), result["mean_current"][name]
    expected = 10 * p / (1 - p) if name == "synapse filter" else 10 * p
    standard_error = np.array(measured["half_width"]) / 1.96
    assert (np.abs(measured["mean"] - expected) < 4 * standard_error).all()
    assert (standard_error < 0.02 * expected).all()  # so that the check above can fail


def test_confidence_interval_is_that_of_the_known_spread(result):
    """The low-pass sums independent spikes: Var[I] = p (1 - p) / (1 - (1 - 1/tau)^2)."""
    p = np.array(result["p"])
    spread = np.sqrt(p * (1 - p) / (1 - 0.9**2))
    expected = 1.96 * spread / np.sqrt(result["trains"])
    np.testing.assert_allclose(result["mean_current"]["low-pass"]["half_width"], expected, rtol=0.06)


def test_half_life_halves_the_current(result):
    for tau, steps in zip((2, 5, 20, 100), result["half_life"], strict=True):
        assert (1 - 1 / tau) ** steps == pytest.approx(0.5)
    assert result["half_life"][0] == pytest.approx(1)


def test_what_the_text_says_about_28_steps_holds():
    left = {tau: currents([1, *[0] * 28], tau)["synapse filter"][-1] for tau in (2, 100)}
    assert left[2] < 1e-8  # "long gone"
    assert left[100] == pytest.approx(0.75, abs=0.01)  # "three quarters of them are still there"


def test_half_life_is_what_the_module_needs_in_silence(result):
    synapse = SynapseFilter(tau=20.0)
    s = torch.zeros(40, 1)
    s[0] = 1
    silent = int((synapse.forward_sequence(s)[:, 0] > 0.5).sum())  # step of the spike included
    assert silent == math.ceil(result["half_life"][2])


class TestConvolution:
    def test_background_follows_from_the_bias(self, result):
        conv = result["conv"]
        run = currents([conv["bias"]] * 64, tau=100)["synapse filter"]
        assert conv["background"] == pytest.approx(run[-1], rel=1e-4)
        assert abs(conv["background"]) > 1

    def test_its_input_leaves_the_range_of_spikes(self, run, result):
        assert result["conv"]["x_max"] > 1
        assert "the factor stays between 0.97 and 1.01" in prose(run.notebook)
        low, high = map(float, re.search(r"factor from ([\d.]+) to ([\d.]+)", run.printed()).groups())
        assert 0 < low < 0.99  # below 1 - 1/tau, but mild
        assert 1 < high < 1.05
        assert 0.97 < low < high < 1.01

    def test_synapse_filter_gives_more_than_a_low_pass(self, run):
        found = re.search(r"largest current ([\d.]+), with a low-pass ([\d.]+)", run.printed())
        synapse, low_pass = map(float, found.groups())
        assert synapse > 1.2 * low_pass

    def test_order_of_filter_and_weights_matters_for_the_synapse_filter_only(self, result):
        assert result["conv"]["order_gap"]["synapse filter"] > 0.05
        assert result["conv"]["order_gap"]["synapse filter"] == pytest.approx(
            1 / 5, abs=0.005
        )  # "by a fifth"
        assert result["conv"]["order_gap"]["low-pass"] < 1e-5


@pytest.mark.parametrize("x", [-1.0, 0.5, 0.9])
def test_constant_input_settles_where_the_text_says(x):
    assert currents([x] * 20_000, tau=100)["synapse filter"][-1] == pytest.approx(100 * x / (1 - x))


def test_table_of_factors_holds():
    """Beyond the borders of the text: a change of sign below 1 - tau, growth below 1 - 2 tau and above 1."""
    walk = {x: currents([x] * 400, tau=3)["synapse filter"] for x in (-6.0, -4.0, -3.0, 1.2)}
    size = {x: np.abs(np.diff(current)) for x, current in walk.items()}
    assert (np.sign(np.diff(walk[-3.0])[:20]) == np.resize([1, -1], 20)).all()
    assert size[-4.0][-1] < size[-4.0][0]
    assert size[-6.0][50] > 1e3 * size[-6.0][0]
    assert size[1.2][-1] > 1e3 * size[1.2][0]


class TestLearning:
    def test_finds_the_hidden_tau(self, run, result):
        assert result["tau_found"] == pytest.approx(12, abs=1e-3)
        assert "step  0   tau  2.0000" in run.printed()
        assert "step 59   tau 12.0000" in run.printed()

    def test_finds_one_tau_for_each_channel(self, result):
        assert result["taus_found"] == pytest.approx([1.5, 3, 8, 20, 50], rel=1e-3)

    def test_a_shared_tau_ends_in_between_and_fits_none(self, result):
        assert 8 < result["shared_tau"]["tau"] < 20
        assert result["shared_tau"]["loss"] > 1

    def test_gradients_differ_by_more_than_an_order_of_magnitude(self, run):
        found = re.search(r"gradient of the loss in each w: \[(.*)\]", run.printed())
        gradients = np.abs([float(g) for g in found[1].split(",")])
        assert gradients.max() > 10 * gradients.min()

    def test_tau_stays_above_one(self, run):
        shown = [float(tau) for tau in re.findall(r"w = .*tau = +([\d.]+)", run.printed())]
        assert shown == pytest.approx([1 + math.exp(5), 1 + math.e, 2, 1 + math.exp(-5)], abs=1e-3)


def test_state_sits_where_the_picture_has_it(run, result):
    assert result["states"] == {
        "0.y": [4, 32],
        "0.sub_module.v": [4, 32],
        "1.out_i": [4, 32],
        "3.v": [4, 10],
    }
    assert "state out_i has shape [4, 32], input needs [5, 32]: call reset_net(net)" in run.printed()
    assert "states after reset_net: []" in run.printed()


class TestSolutions:
    def test_at_one_half_the_mean_is_tau(self, run):
        mean = float(re.search(r"mean at p = 0.5: ([\d.]+)", run.printed())[1])
        assert mean == pytest.approx(10, abs=0.3)

    def test_low_pass_of_the_same_mean_forgets_half_as_fast(self, run):
        found = {
            name: (float(before), float(after))
            for name, before, after in re.findall(
                r"(synapse filter|low-pass) +mean before the silence ([\d.]+), after it ([\d.]+)",
                run.printed(),
            )
        }
        assert found["synapse filter"][0] == pytest.approx(10, abs=0.3)
        assert found["low-pass"][0] == pytest.approx(10, abs=0.3)
        for name, tau in (("synapse filter", 10), ("low-pass", 20)):
            before, after = found[name]
            assert after / before == pytest.approx((1 - 1 / tau) ** 20, abs=0.01)
            assert f"{100 * (1 - 1 / tau) ** 20:.0f} %" in prose(run.notebook)

    def test_too_large_steps_throw_tau_back_to_one(self, run):
        first = re.search(r"tau in the first steps: \[(.*)\]", run.printed())[1].split(",")
        assert max(map(float, first)) > 12  # "overshoots the valley"
        assert min(map(float, first)) < 1.2  # "close to 1"
        last, gradient = re.search(r"tau in the end: ([\d.]+), gradient in w (\S+)", run.printed()).groups()
        assert float(last) < 1.01
        assert abs(float(gradient)) < 0.01

    def test_answers_are_right(self, run):
        numbers = [number for number in EXERCISES if f"Exercise {number}: right." in run.solved(number)]
        assert numbers == list(EXERCISES)
