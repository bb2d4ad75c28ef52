from __future__ import annotations

import dataclasses
import json
import re
import shutil
from itertools import combinations

import nbformat
import numpy as np
import pytest
from scipy import stats
from support import ROOT
from support_ablation import LEVELS, summary
from support_notebooks import Run, chapter, committed, prose, runner

from experiments import grid
from experiments.results import write_json
from sequential_fmnist.networks import NETWORKS, make_network
from snn_tutorial.exercises.chapter_07 import EXERCISES

pytestmark = pytest.mark.xdist_group("chapter_07")

RESULTS = ROOT / "results"


def load(name):
    return json.loads((RESULTS / name).read_text())


@pytest.fixture(scope="module")
def made_up():
    return summary()


@pytest.fixture(scope="module")
def run(tmp_path_factory, made_up) -> Run:
    """The chapter on a made-up ablation, whose outcome the tests know."""
    folder, path = tmp_path_factory.mktemp("chapter"), chapter("07")
    evidence = folder / "evidence"
    write_json(evidence / "ablation.json", made_up)
    for name in ("published.json", "learned_tau.json"):
        shutil.copy(RESULTS / name, evidence / name)
    parameters = (
        runner["QUICK"][path.stem] | runner["folders"](path, folder) | {"evidence_dir": str(evidence)}
    )
    runner["execute"](path, folder / path.name, parameters, with_solutions=True)
    return Run(nbformat.read(folder / path.name, as_version=4), folder)


def test_finds_the_planted_outcome(run):
    verdicts = run.result("chapter_07.json")["verdicts"]
    for recipe in ("the text's listing, 64 epochs", "the text's listing, 90 epochs", "stable recipe"):
        for kind in ("stateful-synapse", "feedback"):
            found = verdicts[f"{kind} over plain, {recipe}"]
            assert found["decided"]
            assert found["gain"][0] == pytest.approx(100 * (LEVELS[kind] - LEVELS["plain"]), abs=0.5)
    assert not verdicts["feedback over plain with 86 hidden neurons, stable recipe"]["decided"]
    lost = run.result("chapter_07.json")["lost_in_points"]
    assert lost["plain"] == pytest.approx(56, abs=1)
    assert abs(lost["stateful-synapse"]) < 1
    assert abs(lost["feedback"]) < 1


def test_recorded_intervals_are_those_of_scipy(run, made_up):
    values = {(c["name"], c["kind"]): c["values"] for c in made_up["groups"]["size"]}
    d = 100 * np.subtract(values["stable", "feedback"], values["stable", "plain"])
    low, high = stats.t.interval(0.95, len(d) - 1, loc=d.mean(), scale=stats.sem(d))
    found = run.result("chapter_07.json")["verdicts"]["feedback over plain, stable recipe"]["gain"]
    assert found == pytest.approx([d.mean(), low, high])


def test_sorts_what_held_from_what_did_not(run):
    assert "13 of 16 comparisons with the plain network held\n" in run.printed()
    (text,) = (
        output["data"]["text/markdown"]
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "Did not hold:" in output.get("data", {}).get("text/markdown", "")
    )
    held, _, rest = text.partition("Did not hold:")
    assert held.count("| a gain |") == 13
    assert "feedback over plain, stable recipe" in held
    assert rest.count("| undecided |") == rest.count("86 hidden neurons") == 3


def test_says_what_is_not_run_yet(run, made_up):
    missing = [name for name, group in made_up["groups"].items() if not group]
    assert f"not run yet: {', '.join(missing) or 'nothing'}" in run.printed()


def test_intervals_of_three_seeds_are_those_of_scipy(run, made_up):
    ten = {c["kind"]: c["values"] for c in made_up["groups"]["reproduction"] if c["name"] == "64 epochs"}
    for kind in NETWORKS:
        a = 100 * np.array(ten[kind][:3])
        low, high = stats.t.interval(0.95, 2, loc=np.mean(a), scale=stats.sem(a))
        assert f"{kind:16} {np.mean(a):.1f} % [{low:.1f}, {high:.1f}], 3 seeds" in run.printed()


def test_read_out_over_all_steps_does_not_see_the_order_of_spikes(run):
    lines = [line for line in run.printed().splitlines() if "shuffling the spikes" in line]
    all_steps, last_steps = (float(line.rpartition(" ")[2]) for line in lines)
    assert all_steps < 1e-5
    assert last_steps > 0.01


def test_current_left_after_silent_steps_by_hand(run):
    assert "tau   2:   50.00% after 1,    0.78% after 7," in run.printed()  # 1/2 and 1/128


def test_live_runs_cover_every_network_and_both_delays(run):
    live = run.result("chapter_07.json")["live"]
    assert set(live) == {f"{kind}, delay {n}" for kind in NETWORKS for n in (0, 28)}
    assert min(live[f"{kind}, delay 0"] for kind in NETWORKS) > 0.2  # chance is 0.1


def test_solutions_are_right(run):
    assert re.findall(r"Exercise (\S+): right\. ", run.printed()) == list(EXERCISES)


def test_pairs_share_what_numpy_says(run, made_up):
    ten = {c["kind"]: c["values"] for c in made_up["groups"]["reproduction"] if c["name"] == "64 epochs"}
    expected = np.corrcoef(ten["plain"], ten["feedback"])[0, 1]
    assert run.result("chapter_07.json")["pairing"]["feedback"] == pytest.approx(expected)


class TestWhatTheTextSays:
    """Outcomes that stand in words, not in printed lines."""

    def test_sizes(self):
        size = {name: sum(p.numel() for p in make_network(name).parameters()) for name in NETWORKS}
        larger = sum(p.numel() for p in make_network("plain", hidden=86).parameters())
        assert size["feedback"] / size["plain"] == pytest.approx(2.7, abs=0.05)
        assert size["stateful-synapse"] == size["plain"] + 1
        assert larger == pytest.approx(size["feedback"], rel=0.01)

    def test_published_train_and_test_accuracy_lie_close_at_64_epochs(self):
        run = load("published.json")["runs"]["64 epochs"]
        for kind in NETWORKS:
            assert abs(run["train_accuracy"][kind] - run["right"][kind] / run["images"]) < 0.01

    def test_interval_of_two_runs_is_13_times_their_distance(self):
        low, high = stats.t.interval(0.95, 1, loc=0.5, scale=stats.sem([0, 1]))
        assert high - low == pytest.approx(13, abs=0.5)

    def test_no_run_of_the_stable_recipe_collapsed(self):
        size = load("ablation.json")["groups"].get("size")
        if not size:
            pytest.skip("the group size is not complete")
        stable = [case for case in size if case["name"].startswith("stable")]
        for case in stable:
            assert case["failed"] == 0
            assert min(case["values"]) > case["accuracy"]["mean"] - 0.05

    def test_the_best_recipe_is_the_best_finalist(self):
        means = {
            (c["kind"], c["name"]): c["accuracy"]["mean"]
            for c in load("ablation.json")["groups"]["finalists"]
        }
        made = grid.cases(["best", "finalists"])
        for case in made["best"]:
            mine = [c for c in made["finalists"] if c.kind == case.kind]
            winner = max(mine, key=lambda c: means[c.kind, c.name]).spec
            assert case.spec.network == winner.network
            as_long = dataclasses.replace(case.spec.training, epochs=winner.training.epochs)
            assert as_long == winner.training

    def test_the_committed_page_shows_the_committed_summary(self):
        lines = (RESULTS / "ablation_runs.jsonl").read_text().splitlines()
        runs = {record["key"] for record in map(json.loads, lines) if "key" in record}
        assert load("chapter_07.json")["runs"] == load("ablation.json")["runs"] == len(runs)

    def test_pairing_gains_nothing(self):
        assert all(abs(shared) < 0.2 for shared in load("chapter_07.json")["pairing"].values())

    def test_solution_of_exercise_2(self, text):
        ten = {
            c["kind"]: c["values"]
            for c in load("ablation.json")["groups"]["reproduction"]
            if c["name"] == "64 epochs"
        }
        gain = np.subtract(ten["feedback"], ten["plain"])
        above = sum(gain[list(trio)].mean() > 0 for trio in combinations(range(10), 3))
        assert f"{above} of the 120 trios" in text

    def test_what_the_text_says_of_sizes_and_orders(self, text):
        verdicts = load("chapter_07.json")["verdicts"]
        high = verdicts["feedback over plain with 86 hidden neurons, stable recipe"]["gain"][2]
        assert f"at most {high:.1f} points" in text
        best = verdicts["feedback over plain with 86 hidden neurons, best recipe"]["gain"][0]
        assert f"and {best:.1f} points." in text

    @pytest.fixture
    def text(self):
        return prose(committed("07"))
