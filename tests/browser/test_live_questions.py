"""Questions on a page: an answer opens once one was given, and a field checks as the notebook does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pytest
from IPython.display import HTML
from support import ROOT
from support_live import LiveView, in_node, live
from support_notebooks import course

from snn_tutorial.exercises import Between, Exercise, check, exercise
from snn_tutorial.live import predict, started

pytestmark = pytest.mark.xdist_group("browser_live")

CURVES = {"plain": [80.0, 70.0, 68.0], "stateful-synapse": [79.0, 78.0, 77.0]}
ENDS = {"ends": (0, 100), "labels": ("blank columns", "accuracy (%)")}
QUESTIONS: dict[str, Callable[[], HTML]] = {
    "choice": lambda: predict.choice(["none", "some"], "some", "*Some* of $x$.", (plt.figure(), "a line")),
    "guess": lambda: predict.guess(34.56, (0, 60), "It is.", unit="%", first=10),
    "sketch": lambda: predict.sketch("stateful-synapse", CURVES, [0, 7, 28], "It stays.", **ENDS),
}


def field(asked: Exercise, number: str = "01.9") -> HTML:
    return started("field", {"number": number, **asked.typed()}, '<span class="snn-static"></span>')


def test_answer_opens_once_one_was_given_and_closes_with_a_new_start(browser, tmp_path):
    asked = {
        ("choice", "some"): "Right: some.",
        ("choice", "none"): 'You chose "none". It is "some".',
        ("guess", "show the answer"): "You guessed 10 %. It is 34.6 %.",
        (
            "sketch",
            "show the answer",
        ): "Your curve and that of stateful-synapse are 28.0 points apart on average.",
    }
    html = HTML("".join(QUESTIONS[name]().data for name, _ in asked))
    with live(browser, html, tmp_path) as first:
        for place, ((_, button), said) in enumerate(asked.items()):
            view = LiveView(first.page, first.problems, place)
            before, answer = view.said(), view.figure.locator("details")
            assert not answer.is_visible()
            view.figure.get_by_role("button", name=button).click()
            assert answer.locator("> :nth-child(2)").is_visible()
            assert view.said() == said
            view.figure.get_by_role("button", name="start again").click()
            assert not answer.is_visible()
            assert view.said() == before


def test_answer_is_a_fold_where_no_script_runs(browser, tmp_path):
    with live(browser, QUESTIONS["choice"](), tmp_path, java_script_enabled=False) as view:
        assert not view.figure.locator("details em").is_visible()
        view.figure.get_by_text("Answer").click()
        assert view.figure.locator("details em").is_visible()
        assert view.figure.locator("img").get_attribute("alt") == "a line"


def test_curve_is_drawn_by_hand_and_with_keys(browser, tmp_path):
    with live(browser, QUESTIONS["sketch"](), tmp_path, has_touch=True) as view:
        assert view.numbers()["drawn"] == [50, 50, 50]
        for places in ([(0, 80), (7, 75), (28, 70)], [(0, 20), (7, 25), (28, 30)]):
            on_page = [view.place(x, y) for x, y in places]
            if places[0][1] == 80:
                for place in on_page:
                    view.page.touchscreen.tap(*place)
            else:
                view.page.mouse.move(*on_page[0])
                view.page.mouse.down()
                for place in on_page[1:]:
                    view.page.mouse.move(*place, steps=20)
                view.page.mouse.up()
            assert view.numbers()["drawn"] == pytest.approx([y for _, y in places], abs=3)
        view.figure.locator("canvas").focus()
        for key in ("ArrowLeft", "ArrowUp", "ArrowUp"):
            view.page.keyboard.press(key)
        assert view.numbers()["at"] == 1
        assert view.numbers()["drawn"][1] == pytest.approx(32.5, abs=2.5)


def test_on_a_logarithmic_axis_a_point_lies_where_its_logarithm_does(browser, tmp_path):
    asked = predict.sketch(
        "plain", {"plain": [90.0, 50.0, 10.0]}, [10, 100, 1000], "It falls.", log=True, **ENDS
    )
    with live(browser, asked, tmp_path) as view:
        view.page.mouse.click(*view.place(2, 75))  # 100 steps
        assert view.numbers()["at"] == 1
        assert view.numbers()["drawn"] == pytest.approx([50, 75, 50], abs=2.5)


def replies(asked: Exercise, *texts: str) -> list[str]:
    """Return what a field replies to each answer, at first."""
    return in_node("field", "$field.replied(...given)[0]", *([asked.typed(), text, 0] for text in texts))


def of_right(asked: Exercise) -> list[Any]:
    """Return answers of all kinds to an exercise: right ones, usual mistakes, others, in and out of tolerance."""
    expected = [asked.right, *(wrong for wrong, _ in asked.mistakes)]
    if isinstance(asked.right, str):
        return [*expected, "nothing like it"]

    def near(one: Any, factor: float) -> Any:
        if isinstance(one, Between):
            low, high = max(one.low, -1e3), min(one.high, 1e3)
            return low + (high - low) * abs(factor - 1) / asked.tolerance / 4
        return [near(each, factor) for each in one] if isinstance(one, (list, tuple)) else one * factor

    factors = (1.0, 1 + asked.tolerance / 2, 1 - 2 * asked.tolerance)
    return [near(one, factor) for one in expected for factor in factors] + [12345.678, [1, 2, 3, 4, 5]]


def test_fields_reply_as_the_notebooks():
    paths = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    numbers = [number for path in paths for number in course["exercises"](nbformat.read(path, as_version=4))]
    asked = {number: exercise(number) for number in numbers if exercise(number).typed() is not None}
    assert len(asked) > 10
    given, expected = [], []
    for number, one in asked.items():
        for attempt, answer in product((0, 1), of_right(one)):
            text = answer if isinstance(answer, str) else repr(answer)
            given.append([one.typed(), text, attempt])
            expected.append((number, text, one.reply(answer, attempt + 1)[1]))
    found = in_node("field", "$field.replied(...given)[0]", *given)
    assert [(*row[:2], reply) for row, reply in zip(expected, found, strict=True)] == expected


def test_numbers_are_read_as_people_write_them():
    asked = Exercise(4002, "think", [(0.5, "half")])
    assert set(replies(asked, "4002", "4,002", " 4002.0 ", "4002 %", "8004/2")) == {"right."}
    assert replies(asked, " ", "3", "1/2", "\u22125", "many") == [
        "no answer yet.", "not yet. Try again for a hint.", "not yet: half", "not yet. Try again for a hint.",
        "the answer is a number.",
    ]  # fmt: skip
    assert set(replies(Exercise([2, 1], "think"), "2, 1", "[2, 1]", "2;1", "(2.0,1)")) == {"right."}


def test_field_counts_attempts(browser, tmp_path):
    with live(browser, field(Exercise(4002, "think")), tmp_path) as view:
        for reply in ("not yet. Try again for a hint.", "not yet. Hint: think"):
            view.figure.locator("input").fill("3")
            view.figure.locator("input").press("Enter")
            assert view.said() == f"Exercise 01.9: {reply}"


def test_cell_without_an_answer_shows_a_field(capsys):
    check("09.1", ...)
    assert "HTML object" in capsys.readouterr().out
