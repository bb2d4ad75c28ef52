from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from support import ROOT
from support_ablation import LEVELS, summary

from experiments.evidence import (
    Verdict,
    best_table,
    case_table,
    cases,
    conclusions,
    holm,
    interval,
    lost,
    reproduced_table,
    verdict_table,
    verdicts,
)
from experiments.networks import PIXEL_MEAN, PIXEL_STD, NetworkSpec, build
from experiments.statistics import compare
from sequential_fmnist.networks import NETWORKS

PUBLISHED = json.loads((ROOT / "results" / "published.json").read_text())


@pytest.fixture(scope="module")
def made_up():
    return summary()


def test_holm_by_hand():
    """Smallest first: 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not fall below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []


def answer(gain, p=0.001, p_wilcoxon=0.002):
    return Verdict("b over a", gain, 10, p, p_wilcoxon)


def test_verdict_says_gain_loss_or_nothing():
    assert str(answer((2, 1.5, 2.5))) == "b over a: +2.0 points [+1.5, +2.5], 10 seeds, p = 0.001: a gain"
    assert str(answer((-2, -2.5, -1.5), p=1e-5)).endswith("p < 0.001: a loss")
    undecided = answer((-0.01, -0.5, 0.5), p=0.8, p_wilcoxon=0.7)
    assert str(undecided).startswith("b over a: +0.0 points [-0.5, +0.5]")
    assert str(undecided).endswith("p = 0.800: undecided")


def test_both_tests_have_to_agree():
    assert answer((2, 1.5, 2.5)).decided
    torn = answer((2, 1.5, 2.5), p_wilcoxon=0.06)
    assert not torn.decided
    assert "p = 0.001 (by Wilcoxon's test = 0.060): undecided" in str(torn)
    assert not answer((2, 1.5, 2.5), p=0.06).decided


def test_planted_differences_are_found_and_no_others(made_up):
    found = verdicts(made_up)
    gain = found["feedback over plain, the text's listing, 90 epochs"]
    assert gain.decided
    low, high = gain.gain[1:]
    assert low < 100 * (LEVELS["feedback"] - LEVELS["plain"]) < high
    assert not found["feedback over plain with 86 hidden neurons, stable recipe"].decided
    assert not found["learned over frozen tau"].decided


def test_a_mean_pulled_down_by_collapses_is_not_called_a_loss():
    """Two of ten runs far down: the mean says worse, most pairs say better, so nothing is decided."""
    made = summary()
    a = [
        case["values"]
        for case in cases(made, "size")
        if (case["name"], case["kind"]) == ("tutorial", "plain")
    ]
    b = [value + 0.01 for value in a[0][:8]] + [0.27, 0.3]
    found = dataclasses.asdict(compare(a[0], b))
    verdict = verdicts({"comparisons": {"b over a": found}})["b over a"]
    assert verdict.gain[0] < -5
    assert not verdict.decided


def test_interval_needs_three_runs():
    estimate = {"mean": 0.725, "low": 0.72, "high": 0.73, "n": 10}
    assert interval(estimate) == "72.5 [72.0, 73.0]"
    assert interval(estimate | {"n": 2}) == "72.5"
    assert interval(estimate | {"low": None, "high": None, "n": 1}) == "72.5"
    assert interval({"mean": 1234.4, "low": 1200, "high": 1300, "n": 5}, 1, 0) == "1,234 [1,200, 1,300]"


def test_lost_by_hand():
    def at(kind, n, mean):
        return {"kind": kind, "at": n, "accuracy": {"mean": mean}}

    group = [
        at("plain", 14, 0.60),
        at("plain", 0, 0.72),
        at("plain", 28, 0.71),
        at("gru", 0, 0.5),
        at("gru", 7, 0.6),
    ]
    assert lost(group) == {"plain": pytest.approx(1), "gru": pytest.approx(-10)}


def test_reproduced_table_shows_published_and_found(made_up):
    rows = reproduced_table(made_up, PUBLISHED).splitlines()
    assert len(rows) == 2 + len(NETWORKS)
    assert rows[0] == "| network | published | cut nowhere | cut in the hidden layer | cut everywhere |"
    assert rows[2].startswith("| plain | 70.5 % | 7")
    assert rows[2].count("[") == 3
    long = reproduced_table(made_up, PUBLISHED, epochs=90).splitlines()
    assert long[2].startswith("| plain | 77.4 % | 7")
    assert "[" not in long[2]
    empty = reproduced_table({"groups": {}, "comparisons": {}}, PUBLISHED).splitlines()
    assert empty[4] == "| feedback | 76.9 % |  |  |  |"


def test_tables_of_cases_and_verdicts(made_up):
    rows = case_table([dict(case, failed=1) for case in cases(made_up, "gated")]).splitlines()
    assert rows[2].startswith("| stable | gru | 8")
    assert rows[2].endswith("] % | 10, 1 not finite |")
    rows = verdict_table([answer((2, 1.5, 2.5)), answer((-2, -2.5, -1.5), p=1e-5)]).splitlines()
    assert rows[2:] == [
        "| b over a | +2.0 [+1.5, +2.5] | 0.001 | a gain |",
        "| b over a | -2.0 [-2.5, -1.5] | < 0.001 | a loss |",
    ]


def test_ten_conclusions(made_up):
    taus = {"delays": {columns: {"tau": [3.0, 2.0]} for columns in ("0", "56")}}
    found = conclusions(made_up, PUBLISHED, taus)
    assert len(found) == 10
    assert "published are 70.5, 75.6 and 76.9 %." in found[0]
    assert "tau, 2 at the start, grows to 2.0 to 3.0 time steps without a delay" in found[7]


class TestCommittedConclusions:
    """What the words of the conclusions say holds for the committed runs."""

    @pytest.fixture
    def committed(self):
        return json.loads((ROOT / "results" / "ablation.json").read_text())

    @pytest.fixture
    def mean(self, committed):
        return {
            (group, case["name"], case["kind"]): 100 * case["accuracy"]["mean"]
            for group, members in committed["groups"].items()
            for case in members
        }

    @pytest.mark.parametrize("kind", NETWORKS)
    def test_published_figures_lie_within_the_runs_or_close(self, committed, kind):
        run = PUBLISHED["runs"]["64 epochs"]
        name = "64 epochs, cut nowhere"
        (case,) = (c for c in cases(committed, "reset") if (c["name"], c["kind"]) == (name, kind))
        theirs = run["right"][kind] / run["images"]
        assert min(case["values"]) <= theirs <= max(case["values"])

    def test_cut_everywhere_feedback_collapses_and_clipping_cures_it(self, committed, mean):
        found = verdicts(committed)["clipped over not, cut everywhere, feedback, 64 epochs"]
        assert found.gain[0] > 5
        cut, clipped = (
            next(
                c["values"] for c in cases(committed, "reset") if (c["name"], c["kind"]) == (name, "feedback")
            )
            for name in ("64 epochs, cut everywhere", "64 epochs, cut everywhere, gradient norm at most 1")
        )
        assert min(cut) < 0.6 < 0.75 < min(clipped)

    def test_gains_and_losses(self, committed):
        answers = verdicts(committed)
        for question in (
            "stateful-synapse over plain, gradient through the reset, 64 epochs",
            "feedback over plain, gradient through the reset, 64 epochs",
            "feedback over plain, stable recipe",
            "feedback over plain with 86 hidden neurons, best recipe",
            "GRU over the best feedback network",
            "learned over frozen recurrent weights",
        ):
            assert answers[question].word == "a gain", question
        assert answers["stateful-synapse over plain, stable recipe"].word == "a loss"
        by_size = answers["feedback over plain with 86 hidden neurons, stable recipe"]
        assert by_size.word == "undecided"
        # Most of the gain is size.
        assert by_size.gain[0] < answers["feedback over plain, stable recipe"].gain[0] / 2

    def test_order_of_memory(self, committed, mean):
        last = [mean["last_steps", "last 1", kind] for kind in ("plain", "feedback", "stateful-synapse")]
        assert last == sorted(last)
        points = lost(cases(committed, "delay"))
        assert min(points, key=points.get) == "stateful-synapse"
        taus = json.loads((ROOT / "results" / "learned_tau.json").read_text())["delays"]
        assert min(taus["56"]["tau"]) > max(taus["0"]["tau"]) > 2

    def test_order_of_columns_hardly_matters(self, mean):
        for kind in NETWORKS:
            assert abs(mean["order", "permuted columns", kind] - mean["order", "columns", kind]) < 1.2

    def test_the_loop_is_cheaper_in_spikes(self, committed):
        loop, wide = (case["spikes"]["mean"] for case in cases(committed, "refined"))
        assert 0.5 < loop / wide < 0.6


def test_best_table_shows_recipes_and_controls(made_up):
    rows = best_table(made_up).splitlines()
    assert rows[2].startswith("| plain | best recipe | 1,032 | 71.8 [")
    assert rows[2].endswith(" % | 104 [102, 107] |")  # 100 to 109 spikes, one more for each seed
    assert any(row.startswith("| gru | ") and row.endswith("| none: not spiking |") for row in rows)
    assert len(best_table({"groups": {}}).splitlines()) == 2


@pytest.mark.parametrize("name", PUBLISHED["runs"])
def test_published_figures_are_numbers_of_images(name):
    """What the files logged is the recorded number of right images, of those images and not of the others."""
    run = PUBLISHED["runs"][name]
    other = {10_000: 60_000, 60_000: 10_000}[run["images"]]
    for kind in NETWORKS:
        assert run["logged_percent"][kind] == pytest.approx(
            100 * run["right"][kind] / run["images"], abs=1e-5
        )
    if name == "90 epochs":
        fractions = [percent / 100 * other % 1 for percent in run["logged_percent"].values()]
        assert all(0.1 < fraction < 0.9 for fraction in fractions)
    assert run["measured_on"] == {10_000: "test images", 60_000: "training images"}[run["images"]]


def test_standardised_pixels(embedded):
    train, _ = embedded
    pixels = train.images.float() / 255
    assert pixels.mean().item() == pytest.approx(PIXEL_MEAN, abs=0.005)
    assert pixels.std().item() == pytest.approx(PIXEL_STD, abs=0.005)
    images = pixels[:8]
    nets = []
    for spec in (NetworkSpec(), NetworkSpec(standardised=True)):
        torch.manual_seed(0)
        nets.append(build(spec))
    plain, standardised = (net.hidden_spikes(x) for net, x in zip(nets, (images, images), strict=True))
    assert not torch.equal(plain, standardised)
    torch.manual_seed(0)
    by_hand = build(NetworkSpec()).hidden_spikes((images - PIXEL_MEAN) / PIXEL_STD)
    assert torch.equal(by_hand, standardised)
