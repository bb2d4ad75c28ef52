"""Exercises say what is right, and name what is wrong with usual mistakes."""

from __future__ import annotations

import importlib

import nbformat
import pytest
import torch
from support_notebooks import NOTEBOOKS, course

from snn_tutorial.exercises import Between, Exercise, _attempts, check

KNOWN = {
    number: exercise
    for path in NOTEBOOKS
    for number, exercise in importlib.import_module(
        f"snn_tutorial.exercises.chapter_{path.name[:2]}"
    ).EXERCISES.items()
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_asks_at_least_three(path):
    asked = course["exercises"](nbformat.read(path, as_version=4))
    assert len(asked) >= 3
    assert asked.keys() == {number for number in KNOWN if number.startswith(f"{path.name[:2]}.")}


def test_a_hint_comes_with_the_second_attempt(capsys):
    hint = KNOWN["01.1"].hint
    _attempts.clear()
    check("01.1", None)
    assert hint not in capsys.readouterr().out
    check("01.1", 7)
    assert hint in capsys.readouterr().out
    for number in ("01.99", "99.1", 3):
        with pytest.raises(ValueError, match="number must be that of an exercise"):
            check(number, 1)


def one_of(expected):
    """Return an answer that is meant by what an exercise names."""
    if isinstance(expected, Between):
        return (max(expected.low, -1e3) + min(expected.high, 1e3)) / 2
    return [one_of(each) for each in expected] if isinstance(expected, list) else expected


@pytest.mark.parametrize("number", KNOWN)
def test_usual_mistakes_are_named(number):
    exercise = KNOWN[number]
    assert exercise.mistakes
    if not callable(exercise.right):
        assert exercise.reply(one_of(exercise.right)) == (True, f"right. {exercise.because}")
    for wrong, why in exercise.mistakes:
        if not callable(wrong):
            assert exercise.reply(one_of(wrong)) == (False, f"not yet: {why}")
    for nonsense in (object(), [[]], "no such answer", float("nan"), ...):
        assert not exercise.reply(nonsense)[0]


def test_an_answer_is_compared_as_what_it_is():
    exercise = Exercise([0.5, 1.0], "hint", [([1.0, 0.5], "reversed")])
    assert exercise.reply(torch.tensor([0.5, 1.0])) == (True, "right.")
    assert exercise.reply((0.5, 1 + 1e-9))[0]
    for other in (0.5, [0.5], [[0.5, 1.0]], None, "a", True):
        assert exercise.reply(other)[1].endswith("Hint: hint")
    word = Exercise("plain", "hint")
    assert word.reply(" Plain ")[0]
    assert not word.reply(1)[0]


def test_a_range_counts_without_its_ends_and_within_a_list():
    exercise = Exercise([0, Between(2.7, 3.0)], "hint", [(Between(low=100), "not in percent")])
    assert exercise.reply([0, 2.9])[0]
    for other in ([0, 2.7], [0, 3.0], [0.1, 2.9], [0, 2.9, 1], 2.9, "2.9", [0, None]):
        assert not exercise.reply(other)[0]
    assert exercise.reply(101)[1] == "not yet: not in percent"


def test_what_cannot_be_typed_gets_no_field():
    for right, wrong in ((abs, 1), (1, abs), (torch.eye(2), 1)):
        assert Exercise(right, "hint", [(wrong, "why")]).typed() is None
    known = Exercise((1, Between(high=0)), "hint").typed()
    assert known["right"] == [1.0, {"low": None, "high": 0}]
