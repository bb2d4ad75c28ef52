"""Answers of chapter 03: the layout of sequences, and what columns tell."""

from __future__ import annotations

from snn_tutorial.exercises import Exercise

EXERCISES: dict[str, Exercise] = {
    "03.1": Exercise(
        right=[1, 0, 2],
        mistakes=(
            ([2, 0, 1], "this is for [B, C, T]: here time is axis 1."),
            ([1, 2, 0], "time is first, but recordings and channels have changed places."),
            ([0, 1, 2], "time must be the first axis."),
        ),
        hint="permute takes, for each new axis, the number of the old one. Which old axis is time?",
        because="Time is axis 1, the recordings are axis 0, and the channels stay last.",
    ),
    "03.2": Exercise(
        right=[2, 19],
        mistakes=(
            ([19, 2], "the right numbers in the wrong order: image first, then row."),
            ([3, 12], "this is sample and step. permute takes column 12 of image 3; reshape takes a row."),
            ([2, 16], "this is sample 0: add the number of the sample."),
            ([1, 2], "this is row 6 n + t = 30. The samples of one step follow each other: 6 t + n."),
        ),
        hint="number the rows of all images from 0 to 167, as they follow each other in memory. Which is [12, 3]?",
        because="Step 12 of sample 3 is row 12 * 6 + 3 = 75 in memory, and 75 = 2 * 28 + 19.",
    ),
    "03.3": Exercise(
        right=[13, 0],
        mistakes=(([8, 0], "8 is the best column: fit the readers to images.flatten(1), row after row."),),
        hint="ColumnReaders takes pixels row after row as well: then apart([i]) sees row i.",
        because="All rows are all columns: the same pixels, so the same classifier.",
    ),
    "03.4": Exercise(
        right=28,
        mistakes=(
            (1, "one sum of 28 values cannot be taken apart."),
            (2, "two sums give two equations for the 28 unknown values of a pixel."),
            (27, "27 sums leave one of the 28 unknown values of a pixel open."),
        ),
        hint="for one pixel, each factor gives one linear equation. How many unknown values has that pixel?",
        because="28 different factors give a Vandermonde matrix, which is invertible.",
    ),
}
