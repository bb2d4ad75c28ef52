from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import torch
from support import ROOT
from support_notebooks import Run, quick_run
from torch.nn.functional import one_hot

from snn_tutorial.exercises.chapter_03 import EXERCISES

pytestmark = pytest.mark.xdist_group("chapter_03")

APART, SUM, ALONE = "columns 0 to t kept apart", "sum of columns 0 to t", "column t alone"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("03", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def full() -> dict:
    """What the committed full run recorded."""
    return json.loads((ROOT / "results" / "chapter_03.json").read_text())


def accuracy_by_least_squares(train, test, train_labels, test_labels):
    """The same classifier from torch's least squares, by rows of sqrt(n lambda) I under the centred features."""
    mean, y = train.mean(0), one_hot(train_labels, 10).double()
    eye = (len(train) * 1e-3) ** 0.5 * torch.eye(train.shape[1], dtype=torch.float64)
    targets = torch.cat([y - y.mean(0), torch.zeros(len(eye), 10, dtype=torch.float64)])
    V = torch.linalg.lstsq(torch.cat([train - mean, eye]), targets).solution
    return ((y.mean(0) + (test - mean) @ V).argmax(1) == test_labels).double().mean().item()


@pytest.mark.parametrize("kind", [APART, SUM, ALONE])
def test_accuracies_are_those_of_least_squares(run, embedded, kind):
    t = 3
    see = {
        APART: lambda images: images[:, 0, :, : t + 1].flatten(1),
        SUM: lambda images: images[:, 0, :, : t + 1].sum(2),
        ALONE: lambda images: images[:, 0, :, t],
    }[kind]
    x_train, x_test = (see(split.images.double() / 255) for split in embedded)
    expected = accuracy_by_least_squares(x_train, x_test, *(split.labels for split in embedded))
    found = run.result("chapter_03.json")["accuracy"][kind][t]
    assert found == pytest.approx(expected, abs=0.0021)  # two images of 1,000


def test_layout_reshape_and_rows_are_as_printed(run):
    for line in (
        "(6, 28, 28) becomes (28, 6, 28)",
        "0.384 = 0.384",  # byte 98 of 255
        "same shape: True, same numbers: False",
        "same: True",
    ):
        assert line in run.printed()
    assert "\nTrue\n" in run.printed()  # order="row" is the transposed image


def test_animations_are_small(run):
    shown = [
        base64.b64decode(output["data"]["image/gif"])
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "image/gif" in output.get("data", {})
    ]
    assert len(shown) == 2
    assert all(data.startswith(b"GIF89a") and len(data) < 300_000 for data in shown)


def test_what_the_chapter_says_of_columns_and_counts_holds_for_the_full_data(full):
    assert not full["is_subset"]
    apart, summed, alone = (full["accuracy"][kind] for kind in (APART, SUM, ALONE))
    best, units = alone[full["best_column"]], full["random_units"]
    assert 0.5 < best < 0.55  # about half of the images
    assert 0 < summed[-1] - best < 0.02  # hardly better than one column
    assert max(alone[0], alone[-1]) < 0.3  # edges tell little
    shares = apart[-1], apart[13], units["sum over columns"], full["after_reshape"]
    assert np.round(shares, 3) == pytest.approx([0.812, 0.769, 0.756, 0.109], abs=0.002)
    assert apart[-1] - units["sum over columns"] < units["sum over columns"] - summed[-1]


def test_best_pair_is_eight_columns_apart(full):
    two = {int(d): value for d, value in full["accuracy_by_distance"].items()}
    assert full["best_pair"] == [6, 14]
    assert max(two, key=two.get) == 8
    assert [two[8], two[1]] == pytest.approx([0.688, 0.596], abs=0.002)
    assert two[20] > full["accuracy"][ALONE][full["best_column"]] > two[23]


def test_solutions_are_right(run):
    assert all(f"Exercise {number}: right." in run.solved(number) for number in EXERCISES)
    assert "image and row: (2, 19)" in run.solved("03.2")
    rising = [float(line.split()[-1][:-1]) for line in run.solved("03.5").splitlines() if "test" in line]
    assert rising == sorted(rising)  # "the accuracy rises with each"
