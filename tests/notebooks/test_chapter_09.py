"""Chapter 09: what it recorded and says, against the files of the runs."""

from __future__ import annotations

import json
import re

import pytest
from support import ROOT
from support_notebooks import Run, committed, prose, quick_run

from experiments.long import evidence
from experiments.long.networks import GATED, KINDS
from snn_tutorial.exercises.chapter_09 import EXERCISES

pytestmark = pytest.mark.xdist_group("chapter_09")


def load(name: str) -> dict:
    return json.loads((ROOT / "results" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("09", tmp_path_factory.mktemp("chapter_09"))


@pytest.fixture(scope="module")
def summary() -> dict:
    return load("long")


@pytest.fixture(scope="module")
def inside() -> dict:
    return load("long_inside")


def test_says_how_many_runs_there_are_and_what_is_missing(run, summary):
    assert f"{summary['runs']:,} runs, {summary['hours']:.1f} hours" in run.printed()
    assert "not run yet:" in run.printed()


def test_sentences_are_those_of_the_files(run, summary, inside):
    result = run.result("chapter_09.json")
    assert result["aims"] == evidence.aims(summary)
    assert result["conclusions"] == evidence.conclusions(summary, inside)
    assert load("chapter_09")["conclusions"] == evidence.conclusions(summary, inside)
    for name in ("recall", "noisy-recall"):
        assert result["farthest"][name] == evidence.farthest(evidence.group_of(summary, name))


def test_networks_that_are_trained_here_learn_what_the_runs_say(run):
    live = run.result("chapter_09.json")["live"]
    assert live["stateful synapse"] > 0.95
    assert live["plain"] < 0.6


def test_phase_is_kept_without_noise_only(run):
    fires = {
        (noise, name): [int(step) for step in steps.split()]
        for noise, name, steps in re.findall(
            r"noise (\S+), (with\S* the cue) +fires at ([\d ]+)", run.printed()
        )
    }
    assert len(fires) == 4
    without, with_ = fires["0.0", "without the cue"], fires["0.0", "with the cue"]
    shifts = {(a - b) % 10 for a, b in zip(without, with_, strict=False)}
    assert 0 not in shifts


def test_solutions_are_right(run):
    assert re.findall(r"Exercise (\S+): right\.", run.printed()) == list(EXERCISES)


class TestWhatTheTextSays:
    """Outcomes that stand in words, not in printed lines."""

    @pytest.fixture(scope="class")
    def text(self) -> str:
        return prose(committed("09"))

    @pytest.fixture(scope="class")
    def noisy(self, summary) -> dict:
        return evidence.farthest(evidence.group_of(summary, "noisy-recall"))

    def test_every_network_is_in_every_figure(self, summary, inside):
        assert inside["networks"].keys() == {*KINDS, *GATED}
        for name in ("recall", "noisy-recall"):
            assert {case["kind"] for case in evidence.group_of(summary, name)} == {*KINDS, *GATED}

    def test_ten_seeds_or_five(self, summary):
        for name, group in summary["groups"].items():
            least = 5 if "pixels" in name or "permuted" in name else 10
            assert all(len(case["values"]) >= least for case in group)
