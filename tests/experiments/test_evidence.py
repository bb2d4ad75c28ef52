"""What is said of runs: statistics by hand, planted differences that are found and no others, published figures."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from scipy import stats
from support import ROOT
from support_ablation import LEVELS, summary

from experiments.evidence import answers, best_table, case_table, cases, interval, reproduced, verdict_table
from experiments.grid import GROUPS
from experiments.results import Store
from experiments.statistics import Estimate, compare, estimate, further_run, holm, share
from sequential_fmnist.networks import NETWORKS

PUBLISHED = json.loads((ROOT / "results" / "published.json").read_text())


@pytest.fixture(scope="module")
def made_up():
    return summary()


def test_estimate_by_hand():
    # Mean 2, standard deviation 1, t = 4.302653 for 2 degrees of freedom.
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    assert estimate([0.75]) == Estimate(0.75, None, None, 1)
    assert estimate([0.5, 0.5]) == Estimate(0.5, 0.5, 0.5, 2)
    with pytest.raises(ValueError, match="values is empty"):
        estimate([])


def test_share_by_hand():
    """Of ten of ten runs: the lower end is the p for which p^10 is 0.025."""
    found = share([0.95] * 10, 0.95)
    assert (found.mean, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025**0.1, abs=1e-6)
    assert share([0.94, 0.95], 0.95).mean == 0.5


def test_prediction_interval_by_hand():
    low, high, p = further_run([1.0, 2.0, 3.0], 2.0)
    assert (low + high) / 2 == pytest.approx(2)
    assert high - 2 == pytest.approx(4.302653 * math.sqrt(4 / 3), abs=1e-5)
    assert p == pytest.approx(1)
    assert further_run([1.0, 2.0, 3.0], high)[2] == pytest.approx(0.05)


def test_compare_by_hand():
    a, b = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]
    found = compare(a, b)
    assert found.gain.mean == pytest.approx(0.4)
    assert found.p == pytest.approx(2 / math.comb(8, 4))  # all of b above all of a: 2 of 70 orders
    assert found.gain.low == pytest.approx(0.4 - stats.t.ppf(0.975, 6) * math.sqrt(1 / 60 / 2), abs=1e-6)
    assert compare(b, a).gain.mean == pytest.approx(-0.4)
    assert compare([0.5, 0.5], [0.5, 0.5]).p == 1
    with pytest.raises(ValueError, match="got 2 and 1"):
        compare([0.5, 0.6], [0.5])


def test_holm_by_hand():
    """Smallest first: 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not fall below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []


def test_planted_differences_are_found_and_no_others(made_up):
    found = made_up["comparisons"]
    gain = found["feedback over plain, the listing, 64 epochs"]
    assert gain["decided"]
    assert gain["gain"]["low"] < LEVELS["feedback"] - LEVELS["plain"] < gain["gain"]["high"]
    assert not found["feedback over plain with 86 hidden neurons, stable recipe"]["decided"]
    assert not found["learned over frozen tau"]["decided"]


def test_interval_needs_three_runs():
    of_ten = {"mean": 0.725, "low": 0.72, "high": 0.73, "n": 10}
    assert interval(of_ten) == "72.5 [72.0, 73.0]"
    assert interval(of_ten | {"n": 2}) == "72.5"
    assert interval({"mean": 1234.4, "low": 1200, "high": 1300, "n": 5}, 1, 0) == "1,234 [1,200, 1,300]"


def test_tables(made_up):
    rows = case_table([dict(case, failed=1) for case in cases(made_up, "gated")]).splitlines()
    assert rows[2].startswith("| stable | gru | 1,020 | 8")
    assert rows[2].endswith("|  | 10, 1 not finite |")
    assert len(best_table(made_up).splitlines()) == 2 + 7
    each = {"gain": {"mean": 0.02, "low": 0.015, "high": 0.025}, "p_holm": 1e-5, "decided": True}
    found = {"b over a": each, "c over a": each | {"decided": False, "p_holm": 0.2}}
    assert verdict_table(answers({"comparisons": found}, "over")).splitlines()[2:] == [
        "| b over a | +2.0 [+1.5, +2.5] | < 0.001 | a gain |",
        "| c over a | +2.0 [+1.5, +2.5] | 0.200 | undecided |",
    ]


def test_the_listing_fits_the_published_90_epochs_and_not_the_64():
    committed = json.loads((ROOT / "results" / "ablation.json").read_text())
    fits = {
        (epochs, cut.split(",")[0]): all(low <= value <= high for value, low, high, _ in kinds.values())
        for epochs in (64, 90)
        for cut, kinds in reproduced(committed, PUBLISHED, epochs).items()
    }
    assert fits == {
        (64, "cut nowhere"): True,
        (64, "cut in feedback's hidden layer"): True,
        (64, "cut everywhere"): False,
        (90, "cut nowhere"): False,
        (90, "cut in feedback's hidden layer"): False,
        (90, "cut everywhere"): True,
    }


def test_feedback_of_64_epochs_falls_and_ends_unlike_ours_with_the_same_cut():
    records = Store(ROOT / "results" / "ablation_runs.jsonl").records()
    falls, ends = {}, {}
    for case in GROUPS["reset"]():
        if case.kind == "feedback" and case.name.startswith("64 epochs"):
            curves = [records[spec.key()]["curve"] for spec in case.runs()]
            cut = case.name.removeprefix("64 epochs, ")
            falls[cut] = [max(a - b for a, b in pairwise(curve)) for curve in curves]
            ends[cut] = [curve[-1] for curve in curves]
    run = PUBLISHED["runs"]["64 epochs"]
    assert max(falls["cut nowhere"]) < 0.025 < run["largest_fall"]["feedback"]
    assert run["largest_fall"]["feedback"] < 0.12 < min(falls["cut in the hidden layer"])
    assert max(ends["cut in the hidden layer"]) < run["right"]["feedback"] / run["images"]


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
