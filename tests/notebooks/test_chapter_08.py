"""Chapter 08, run with a short training, and its exercises."""

from __future__ import annotations

import json
import re

from support import ROOT
from support_notebooks import Run

FAIR = json.loads((ROOT / "results" / "fair.json").read_text())


def tables(run: Run) -> str:
    outputs = [output for cell in run.notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("data", {}).get("text/markdown", "") for output in outputs)


def test_shares_in_the_table_are_those_of_the_runs(run):
    case = next(
        c for c in FAIR["groups"]["fair-recall"] if (c["name"], c["kind"], c["at"]) == ("blind", "plain", 50)
    )
    reached = sum(value >= 0.95 for value in case["values"])
    (row,) = re.findall(
        r"^\| plain \| \*\*(\d+) of 20\*\*", tables(run).partition("| blind | D = 50")[2], re.M
    )[:1]
    assert int(row) == reached


def test_contrasts_are_the_six_that_were_named(result):
    assert set(result["live"]) == {"tutorial", "blind"}
    found = result["contrasts"].values()
    assert [(*c["b"][1::2], c["b"][2], c["a"][2]) for c in found] == [
        ("tutorial", 200, "stateful synapse", "plain"),
        ("blind", 500, "stateful synapse", "plain"),
        ("informed", 500, "stateful synapse", "plain"),
        ("informed", 50, "feedback", "plain"),
        ("informed", 200, "feedback", "plain"),
        ("informed", 500, "feedback through SynapseFilter", "feedback"),
    ]
