from __future__ import annotations

import numpy as np
import pytest

APART, SUM, ALONE = "columns 0 to t kept apart", "sum of columns 0 to t", "column t alone"


def test_layout_and_reshape_are_as_printed(run):
    for line in (
        "(6, 28, 28) becomes (28, 6, 28)",
        "0.384 = 0.384",  # byte 98 of 255
        "same: True",
    ):
        assert line in run.printed()


def test_what_the_chapter_says_of_columns_and_counts_holds_for_the_full_data(full):
    assert not full["is_subset"]
    apart, summed, alone = (full["accuracy"][kind] for kind in (APART, SUM, ALONE))
    best = alone[full["best_column"]]
    assert 0.5 < best < 0.55
    assert 0 < summed[-1] - best < 0.02  # hardly better than one column
    assert max(alone[0], alone[-1]) < 0.3  # edges tell little
    assert np.round((apart[-1], apart[13], full["after_reshape"]), 3) == pytest.approx(
        [0.812, 0.769, 0.109], abs=0.002
    )
    assert list(full["after_columns"].values()) == pytest.approx([0.502, 0.698, 0.768], abs=0.002)


def test_order_is_worth_what_the_control_has_more(full):
    added, control = full["random_units"]["sum over columns"], full["random_units"]["all kept apart"]
    assert added[-1] == pytest.approx(79, abs=0.7)
    assert all(more > less for more, less in zip(control, added, strict=True))
    assert 5 < control[-1] - added[-1] < 7
    assert full["shuffled"]["moved"] < 0.01
    assert full["shuffled"]["kept_apart"] < full["accuracy"][SUM][-1] + 0.05


def test_best_pair_is_eight_columns_apart(full):
    two = {int(d): value for d, value in full["accuracy_by_distance"].items()}
    assert full["best_pair"] == [6, 14]
    assert max(two, key=two.get) == 8
    assert [two[8], two[1]] == pytest.approx([0.688, 0.596], abs=0.002)
    assert two[20] > full["accuracy"][ALONE][full["best_column"]] > two[23]


def test_solutions_are_right(run):
    assert "image and row: (2, 19)" in run.solved("03.2")
    rising = [float(line.split()[-1][:-1]) for line in run.solved("03.4").splitlines() if "test" in line]
    assert rising == sorted(rising)  # "the accuracy rises with each"
