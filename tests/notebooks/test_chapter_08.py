"""Chapter 08, run with a short training, and its exercises."""

from __future__ import annotations

import json
import re

import pytest
from support import ROOT
from support_notebooks import Run, quick_run

from experiments.fair.plan import DISTANCES, NETWORKS, STARTS
from snn_tutorial.exercises.chapter_08 import EXERCISES

pytestmark = pytest.mark.xdist_group("chapter_08")

FAIR = json.loads((ROOT / "results" / "fair.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("08", tmp_path_factory.mktemp("chapter"))


def tables(run: Run) -> str:
    outputs = [output for cell in run.notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("data", {}).get("text/markdown", "") for output in outputs)


def test_each_start_has_a_table_with_every_network(run):
    text = tables(run)
    for task, starts in STARTS.items():
        for start in starts if f"fair-{task}" in FAIR["groups"] else ():
            head = f"| {start} | {' | '.join(f'D = {at}' for at in DISTANCES[task])} |"
            assert head in text
            rows = text.partition(head)[2].strip().splitlines()[1 : 1 + len(NETWORKS[task])]
            assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(NETWORKS[task])


def test_shares_in_the_table_are_those_of_the_runs(run):
    case = next(
        c for c in FAIR["groups"]["fair-recall"] if (c["name"], c["kind"], c["at"]) == ("blind", "plain", 50)
    )
    reached = sum(value >= 0.95 for value in case["values"])
    (row,) = re.findall(
        r"^\| plain \| \*\*(\d+) of 20\*\*", tables(run).partition("| blind | D = 50")[2], re.M
    )[:1]
    assert int(row) == reached


def test_contrasts_are_the_six_that_were_named(run):
    found = run.result("chapter_08.json")["contrasts"]
    assert [(c["start"], c["at"], c["kind"], c["over"]) for c in found] == [
        ("tutorial", 200, "stateful synapse", "plain"),
        ("blind", 500, "stateful synapse", "plain"),
        ("informed", 500, "stateful synapse", "plain"),
        ("informed", 50, "feedback", "plain"),
        ("informed", 200, "feedback", "plain"),
        ("informed", 500, "feedback through SynapseFilter", "feedback"),
    ]


def test_trains_here(run):
    assert set(run.result("chapter_08.json")["live"]) == {"tutorial", "blind"}


def test_solutions_are_right(run):
    assert re.findall(r"Exercise (\S+): right\. ", run.printed()) == list(EXERCISES)
