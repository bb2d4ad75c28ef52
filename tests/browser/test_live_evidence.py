"""Views of the runs in a browser: what is shown, switched and said is what the summaries say."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from support import ROOT
from support_live import live

from experiments.evidence import interval
from snn_tutorial.live.evidence import control_explorer, task_explorer

pytestmark = pytest.mark.xdist_group("browser_live")


@pytest.fixture(scope="module")
def ablation():
    return json.loads((ROOT / "results" / "ablation.json").read_text())


@pytest.fixture(scope="module")
def long():
    return json.loads((ROOT / "results" / "long.json").read_text())


def options(view, label: str) -> list[str]:
    return view.control(label).locator("option").all_inner_texts()


def check(shown: list[dict[str, Any]], cases: list[Mapping[str, Any]], is_error: bool = False) -> None:
    """Compare cases that are shown with those of a summary, in per cent if they are not errors."""
    scale, digits = (1, 4) if is_error else (100, 1)
    rounding = 6e-7 if is_error else 0.006
    assert len(shown) == len(cases)
    for one, case in zip(shown, cases, strict=True):
        assert one["at"] == case["at"]
        assert one["values"] == pytest.approx([scale * value for value in case["values"]], abs=rounding)
        ends = ("low", "high") if len(case["values"]) >= 3 else ()
        for name in ("mean", *ends):
            assert one[name] == pytest.approx(scale * case["accuracy"][name], abs=rounding)
        assert one["text"] == interval(case["accuracy"], scale, digits)


def test_every_control_shows_its_runs_and_the_networks_that_are_on(browser, tmp_path, ablation):
    with live(browser, control_explorer(ablation), tmp_path) as view:
        for name, cases in ablation["groups"].items():
            question = ablation["questions"][name].splitlines()[0]
            title = name.replace("_", " ")
            view.set("control", f"{title}: {question}")
            assert view.numbers()["group"] == title
            check(view.numbers()["cases"], cases)
            assert view.said().startswith(question)
            kinds = list(dict.fromkeys(case["kind"] for case in cases))
            assert view.figure.locator("input").count() == len(kinds)
            for kind in kinds:
                before = view.picture()
                view.set(kind, False)
                assert view.picture() != before
                check(view.numbers()["cases"], [case for case in cases if case["kind"] != kind])
                view.set(kind, True)
                assert view.picture() == before


def test_every_task_shows_its_runs_and_the_networks_that_are_on(browser, tmp_path, long):
    with live(browser, task_explorer(long), tmp_path) as view:
        names = options(view, "task")
        # What was searched for longer is of several tasks.
        groups = {name: cases for name, cases in long["groups"].items() if not name.startswith("long-tuned")}
        assert len(names) == len(groups)
        for title, (name, cases) in zip(names, groups.items(), strict=True):
            view.set("task", title)
            is_error = name == "long-adding"
            check(view.numbers()["cases"], cases, is_error)
            kinds = list(dict.fromkeys(case["kind"] for case in cases))  # some groups lack networks
            kept = kinds[::3]
            none = view.figure.get_by_role("button", name="none")
            if len(kinds) == 1:  # nothing to choose from
                assert none.count() == 0
                continue
            none.click()
            assert view.said() == "No network is switched on."
            for kind in kept:
                view.set(kind, True)
            check(view.numbers()["cases"], [case for case in cases if case["kind"] in kept], is_error)
            view.figure.get_by_role("button", name="all").click()
            assert len(view.numbers()["cases"]) == len(cases)


def test_sentence_says_the_means_of_what_is_shown(browser, tmp_path, ablation):
    def text(case: Mapping[str, Any]) -> str:
        return f"{interval(case['accuracy'])} %"

    with live(browser, control_explorer(ablation), tmp_path) as view:
        delay = {(case["kind"], case["at"]): text(case) for case in ablation["groups"]["delay"]}
        for kind in ("plain", "stateful-synapse", "feedback"):
            ends = [f"{delay[kind, at]} at {at}" for at in (0, 56)]
            assert f"{kind} {', '.join(ends)}" in view.said()
        view.set("feedback", False)
        view.set("plain", False)
        every = [f"{delay[k, at]} at {at}" for k, at in delay if k == "stateful-synapse"]
        assert f"intervals: stateful-synapse {', '.join(every)}." in view.said()
        view.set("control", next(one for one in options(view, "control") if one.startswith("size: ")))
        view.set("feedback", True)
        assert "plain" not in view.said()
        for case in ablation["groups"]["size"]:
            assert (f"{text(case)} ({case['name']})" in view.said()) == (case["kind"] != "plain")


def test_sentence_of_many_networks_says_the_far_end_of_each(browser, tmp_path, long):
    """Of some networks the runs with the longest delays may be missing."""
    cases = [
        case
        for case in long["groups"]["long-noisy-recall"]
        if (case["kind"], case["at"]) != ("feedback", 500)
    ]
    far = {case["kind"]: case for case in sorted(cases, key=lambda case: case["at"])}
    with live(browser, task_explorer(long | {"groups": {"long-noisy-recall": cases}}), tmp_path) as view:
        said = view.said().rstrip(".").split(": ")[-1].split("; ")
        assert sorted(said) == sorted(
            f"{kind} {interval(case['accuracy'])} % at {case['at']}" for kind, case in far.items()
        )


def test_table_holds_every_number(browser, tmp_path, ablation):
    with live(browser, control_explorer(ablation, "search"), tmp_path) as view:
        view.figure.locator("summary").click()
        rows = view.figure.locator("tbody tr")
        assert rows.count() == len(ablation["groups"]["search"])
        for row, case in zip(rows.all_inner_texts(), ablation["groups"]["search"], strict=True):
            assert row.split("\t") == [case["kind"], case["name"], interval(case["accuracy"]), "1"]
        view.set("plain", False)
        assert "plain" not in rows.all_inner_texts()[0]


def test_errors_and_tasks_without_a_distance_are_drawn_too(browser, tmp_path, long):
    """The runs of these tasks may not be there yet, so that others take their place."""
    errors, single = [], []
    for case in copy.deepcopy(long["groups"]["long-noisy-recall"]):
        case["values"] = [(1 - value) / 6 for value in case["values"]]
        mean, low, high = ((1 - case["accuracy"][name]) / 6 for name in ("mean", "high", "low"))
        case["accuracy"] |= {"mean": mean, "low": low, "high": high}
        errors.append(case)
        if case["at"] == 100:
            single.append(case | {"at": None})
    made_up = long | {"groups": {"long-adding": errors, "long-permuted": single}}
    with live(browser, task_explorer(made_up), tmp_path) as view:
        at_end = next(case for case in errors if (case["kind"], case["at"]) == ("plain", 500))
        assert f"plain {interval(at_end['accuracy'], 1, 4)} at 500" in view.said()
        first = view.picture()
        view.set("task", options(view, "task")[1])
        assert view.picture() != first
        assert len(view.numbers()["cases"]) == len(single)


def test_switches_work_by_touch_and_keep_their_place(browser, tmp_path, ablation):
    small = {"width": 390, "height": 800}
    with live(browser, control_explorer(ablation), tmp_path, viewport=small, has_touch=True) as view:
        view.control("plain").locator("xpath=..").tap()
        assert {view.figure.evaluate("(f, k) => f.view.numbers().cases[k].network", k) for k in range(12)} == {
            1, 2,
        }  # fmt: skip
        view.set("control", next(one for one in options(view, "control") if one.startswith("order: ")))
        assert not view.control("plain").is_checked()
        assert "plain" not in view.said()
        view.set("control", next(one for one in options(view, "control") if one.startswith("gated: ")))
        assert view.figure.locator("input").count() == 2
