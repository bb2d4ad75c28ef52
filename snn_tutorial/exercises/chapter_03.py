"""Answers of chapter 03: the layout of sequences, and what columns tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from snn_tutorial.exercises import Exercise


def _words(*expected: str) -> Callable[[Any], bool]:
    """Return a function that says whether an answer is a list of these words."""
    return lambda answer: [str(word).strip().lower() for word in answer] == list(expected)


def _row(wanted: Callable[[int, bool], bool]) -> Callable[[Any], bool]:
    """Return a function that judges a row and whether all rows and all columns agree."""
    return lambda answer: len(answer) == 2 and wanted(int(answer[0]), abs(float(answer[1])) < 0.15)


def _columns(answer: Any) -> tuple[list[int], float]:
    """Return the three columns of an answer, in order, and their accuracy."""
    *columns, accuracy = (float(number) for number in answer)
    if not all(column.is_integer() and 0 <= column < 28 for column in columns) or len(set(columns)) != 3:
        raise ValueError("three different columns and an accuracy are needed")
    return sorted(int(column) for column in columns), accuracy


def _three(wanted: Callable[[list[int], float], bool]) -> Callable[[Any], bool]:
    """Return a function that judges three columns and their accuracy."""
    return lambda answer: wanted(*_columns(answer))


EXERCISES: dict[str, Exercise] = {
    "03.1": Exercise(
        right=[2, 0, 1],
        mistakes=(
            (
                [2, 1, 0],
                "time is first, but channels and recordings have changed places: N is the second axis.",
            ),
            (
                [1, 2, 0],
                "this brings [T, N, features] back to [B, C, T]; here the other direction is needed.",
            ),
            ([0, 2, 1], "this is [B, T, C], batch first. Time is always the first axis here."),
            ([0, 1, 2], "this changes nothing: time is still last."),
        ),
        hint="permute takes, for each new axis, the number of the old one. Which old axis is time?",
        because="Time is axis 2, the recordings are axis 0, and the channels are axis 1.",
    ),
    "03.2": Exercise(
        right=18,
        mistakes=(
            (19, "off by one: columns count from 0, so the last one is 27 and not 28."),
            (17, "off by one: the mirror image of column 0 is column 27."),
            (9, "with 28 columns, no column is its own mirror image."),
        ),
        hint="the mirror image of column 0 is column 27.",
        because="Columns count from 0 to 27, so the mirror image of column t is 27 - t.",
    ),
    "03.3": Exercise(
        right=[2, 19],
        mistakes=(
            ([19, 2], "the right numbers in the wrong order: image first, then row."),
            ([3, 12], "this is sample and step. permute takes column 12 of image 3; reshape takes a row."),
            ([2, 16], "this is sample 0: add the number of the sample."),
            ([2, 20], "off by one: rows, images, steps and samples all count from 0."),
            ([1, 2], "this is row 6 n + t = 30. The samples of one step follow each other: 6 t + n."),
        ),
        hint="number the rows of all images from 0 to 167, as they follow each other in memory. Which is [12, 3]?",
        because="Step 12 of sample 3 is row 12 * 6 + 3 = 75 in memory, and 75 = 2 * 28 + 19.",
    ),
    "03.4": Exercise(
        right=13,
        mistakes=(
            (12, "this is 8 / ln 2 = 11.5, rounded up. With 12, only 49.9 % are left."),
            (11.5416, "tau ln 2 is the half-life for large tau only; and a whole number is asked for."),
            (12.0508, "right, but a whole number is asked for: round up."),
            (16, "each step removes 1/tau of what is left, not of the start."),
            (8, "tau is not the half-life: with tau = 8 only 34 % are left after 8 steps."),
            (2, "with tau = 2 half is left after one step already."),
        ),
        hint="(1 - 1/tau)**8 must be at least 0.5.",
        because="(1 - 1/12)**8 is 49.9 %, and (1 - 1/13)**8 is 52.7 %.",
        tolerance=1e-3,
    ),
    "03.5": Exercise(
        right=_row(lambda row, agree: row == 13 and agree),
        mistakes=(
            (
                _row(lambda row, agree: row == 13),
                "the row is right. All rows and all columns are the same pixels: compare both on checks['test'].",
            ),
            (
                _row(lambda row, agree: row == 8 and agree),
                "8 is the best column: the pixels of row i are pick[:, :, i].",
            ),
            (
                _row(lambda row, agree: agree),
                "0 points is right. Take the row with the highest accuracy on checks['train'].",
            ),
        ),
        hint="pick[:, :, i] picks row i, that is feature i of every column.",
        because="All rows are all columns, so the limit is the same.",
    ),
    "03.6": Exercise(
        right=_words("worse", "worse"),
        mistakes=(
            (
                _words("worse", "better"),
                "a penalty helps new images only as long as it is small. Measure it on the test images.",
            ),
            (
                _words("better", "worse"),
                "a larger penalty never makes the fit of the training images closer.",
            ),
            (_words("better", "better"), "compare the lines of 1 and 0.001, training and test accuracy."),
        ),
        hint="set readers.penalty, call readers.weights(torch.eye(T * 28)), and restore the penalty at the end.",
        because="The weights become too small to fit even the training images.",
    ),
    "03.7": Exercise(
        right=_three(lambda columns, accuracy: 0.72 <= accuracy < 0.8 and columns[2] - columns[0] > 4),
        mistakes=(
            (
                _three(lambda columns, accuracy: accuracy > 1),
                "give the accuracy as a number between 0 and 1.",
            ),
            (
                _three(lambda columns, accuracy: accuracy >= 0.8),
                "three columns cannot reach that: is pick sliced?",
            ),
            (
                _three(lambda columns, accuracy: columns[2] - columns[0] <= 4),
                "these columns are close together, and neighbours repeat each other. Spread them.",
            ),
            (
                _three(lambda columns, accuracy: columns[0] < 3 or columns[2] > 24),
                "one of them is at the edge of the image, where a column tells least.",
            ),
        ),
        hint="start from the best pair, 6 and 14, and add a third column that is far from both.",
        because="Columns that are several steps apart, and inside the image, repeat each other least.",
    ),
}
