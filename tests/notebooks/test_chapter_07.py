"""Chapter 07 on a made-up ablation, whose outcome the tests know, and its exercises."""

from __future__ import annotations

import json
import re
import shutil

import nbformat
import pytest
from support import ROOT
from support_ablation import summary
from support_notebooks import QUICK, Run, chapter, runner

from sequential_fmnist.experiments.results import write_json
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_tutorial.exercises.chapter_07 import EXERCISES

RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder, path = tmp_path_factory.mktemp("chapter"), chapter("07")
    evidence = folder / "evidence"
    write_json(evidence / "ablation.json", summary())
    shutil.copy(RESULTS / "where.json", evidence)
    parameters = QUICK[path.stem] | runner["folders"](path, folder) | {"evidence_dir": str(evidence)}
    runner["execute"](path, folder / path.name, parameters, with_solutions=True)
    return Run(nbformat.read(folder / path.name, as_version=4), folder)


def test_finds_the_planted_outcome(result):
    lost = result["lost_in_points"]
    assert lost["plain"] == pytest.approx(49, abs=1)
    assert abs(lost["stateful-synapse"]) < 1
    assert abs(lost["feedback"]) < 1


def test_live_runs_cover_every_network_and_both_delays(result):
    live = result["live"]
    assert set(live) == {f"{kind}, delay {n}" for kind in TUTORIAL_NETWORKS for n in (0, 28)}
    assert min(live[f"{kind}, delay 0"] for kind in TUTORIAL_NETWORKS) > 0.2  # chance is 0.1


def test_solutions_are_right(run):
    assert re.findall(r"Exercise (\S+): right\. ", run.printed()) == list(EXERCISES)


def test_the_committed_page_shows_the_committed_summary():
    shown = json.loads((RESULTS / "chapter_07.json").read_text())
    for name, runs in (("ablation", "runs"), ("where", "controls")):
        assert shown[runs] == json.loads((RESULTS / f"{name}.json").read_text())["runs"]
