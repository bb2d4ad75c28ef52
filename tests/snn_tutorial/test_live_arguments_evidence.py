"""What the views of the runs get: every group that there is, whatever its name, with a look for each network."""

from __future__ import annotations

import json
import re
from typing import Any

import matplotlib.pyplot as plt
import pytest
from support import ROOT
from support_ablation import summary

from experiments.evidence import interval
from snn_tutorial.live import evidence


@pytest.fixture
def given(monkeypatch) -> list[dict[str, Any]]:
    """What views get, in place of the views."""
    found: list[dict[str, Any]] = []

    def take(name: str, data: dict[str, Any], figure: plt.Figure, alt: str) -> str:
        found.append(data)
        plt.close(figure)
        return "a view"

    monkeypatch.setattr(evidence, "view", take)
    return found


@pytest.fixture(scope="module")
def ablation():
    return summary()


def case(kind: str, at: int | None, *values: float, **more: Any) -> dict[str, Any]:
    mean = sum(values) / len(values)
    accuracy = {"mean": mean, "low": min(values), "high": max(values), "n": len(values)}
    return {"name": "as it is", "kind": kind, "at": at, "values": list(values), "accuracy": accuracy} | more


def long(**groups: list[dict[str, Any]]) -> dict[str, Any]:
    tasks = {
        "noisy-recall": {"chance": 0.125, "optimum": 1.0},
        "adding": {"chance": 1 / 6, "optimum": 0.0},
        "pixels": {"chance": 0.1, "optimum": 1.0},
        "tides": {"chance": 0.5, "optimum": 1.0},
    }
    return {"groups": {f"long-{name}": group for name, group in groups.items()}, "tasks": tasks}


def test_control_has_every_group_that_was_run_with_its_question(ablation, given):
    evidence.control_explorer(ablation)
    groups = {group["name"]: group for group in given[0]["groups"]}
    run = {name: members for name, members in ablation["groups"].items() if members}
    assert list(groups) == [name.replace("_", " ") for name in run]
    assert groups["size"]["question"] == "Is it the loop, or the number of parameters?"
    assert given[0]["groups"][given[0]["first"]]["name"] == "delay"
    assert {name for name, group in groups.items() if group["axis"]} == {"last steps", "delay", "hidden"}
    assert groups["search"]["score"] == "validation accuracy (%)"
    for name, members in run.items():
        for drawn, member in zip(groups[name.replace("_", " ")]["cases"], members, strict=True):
            assert given[0]["networks"][drawn["network"]]["name"] == member["kind"]
            assert drawn["values"] == pytest.approx([100 * value for value in member["values"]], abs=0.006)
            assert drawn["text"] == interval(member["accuracy"])
            assert (drawn["low"] is None) == (len(member["values"]) < 3)


def test_starts_with_what_there_is(ablation, given):
    evidence.control_explorer(ablation | {"groups": {"best": [], "order": ablation["groups"]["order"]}})
    evidence.task_explorer(long(pixels=[case("plain", None, 0.5)], adding=[]))
    assert [data["first"] for data in given] == [0, 0]
    assert [[group["name"] for group in data["groups"]] for data in given] == [["order"], ["pixel by pixel"]]


@pytest.mark.parametrize("explorer", [evidence.control_explorer, evidence.task_explorer])
def test_names_the_summary_that_has_no_group(explorer):
    with pytest.raises(ValueError, match="summary has no group"):
        explorer({"groups": {"best": []}})


def test_tasks_are_drawn_by_what_they_are(given):
    evidence.task_explorer(
        long(
            **{
                "noisy-recall": [case("plain", at, 0.5, 0.6, 0.7) for at in (20, 50)],
                "adding": [case("GRU", 50, 0.012345678, 0.02)],
                "pixels-16000": [case("plain", None, 0.5), case("LSTM", None, 0.75)],
                "tides": [case("a new network", 7, 0.5)],
            }
        )
    )
    recall, adding, pixels, tides = given[0]["groups"]
    assert (recall["unit"], recall["axis"], recall["chance"], recall["hasLogY"]) == (
        "%", "delay (time steps)", 12.5, False,
    )  # fmt: skip
    assert (adding["unit"], adding["axis"], adding["chance"], adding["hasLogY"]) == (
        "", "length (time steps)", 0.1667, True,
    )  # fmt: skip
    assert adding["cases"][0]["values"] == [0.012346, 0.02]
    assert adding["cases"][0]["text"] == "0.0162"
    assert (pixels["name"], pixels["axis"]) == ("pixel by pixel, 16,000 parameters", None)
    assert [one["name"] for one in pixels["cases"]] == ["plain", "LSTM"]
    assert (tides["name"], tides["question"]) == ("tides", "")
    assert [one["name"] for one in given[0]["networks"]] == ["plain", "GRU", "LSTM", "a new network"]


def test_sixteen_networks_look_different_and_known_ones_have_their_colour(given):
    summary = json.loads((ROOT / "results" / "long.json").read_text())
    kinds = [f"new {k}" for k in range(2)]
    summary["groups"] |= {"long-more": [case(kind, 20, 0.5) for kind in kinds]}
    summary["tasks"] |= {"more": {"chance": 0.5, "optimum": 1.0}}
    evidence.task_explorer(summary)
    looks = {one["name"]: (one["color"], one["dashed"]) for one in given[0]["networks"]}
    assert len(set(looks.values())) == len(looks) == 16
    assert looks["feedback"] == (2, False)
    assert looks["stateful synapse"] == (1, False)


def test_colours_are_those_of_the_page():
    source = (ROOT / "snn_tutorial" / "live" / "js" / "chart.js").read_text()
    light = re.findall(r"#\w{6}", re.search(r"const LIGHT = \[(.*?)\]", source).group(1))
    for name, colour in zip(evidence._COLOURS, light, strict=True):
        if name not in ("black", "yellow"):  # these two are changed, to be seen on either page
            assert evidence.OKABE_ITO[name] == colour
