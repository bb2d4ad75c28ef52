from __future__ import annotations

import base64
import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from support import ROOT
from support_notebooks import Run, prose, quick_run
from torch.nn.functional import one_hot

from snn_tutorial.exercises.chapter_03 import EXERCISES

pytestmark = pytest.mark.xdist_group("chapter_03")

APART, SUM, ALONE = "columns 0 to t, each kept apart", "sum of columns 0 to t", "column t alone"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("03", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def recorded() -> dict:
    return json.loads((ROOT / "results" / "chapter_03.json").read_text())


def accuracy_by_least_squares(train, test, train_labels, test_labels, penalty):
    """The same reader from torch's least squares, by rows of sqrt(n lambda) I under the centred features."""
    mean, y = train.mean(0), one_hot(train_labels, 10).double()
    eye = (len(train) * penalty) ** 0.5 * torch.eye(train.shape[1], dtype=torch.float64)
    rows = torch.cat([train - mean, eye])
    targets = torch.cat([y - y.mean(0), torch.zeros(len(eye), 10, dtype=torch.float64)])
    V = torch.linalg.lstsq(rows, targets).solution
    return ((y.mean(0) + (test - mean) @ V).argmax(1) == test_labels).double().mean().item()


@pytest.mark.parametrize("kind", [APART, SUM, ALONE])
def test_accuracies_are_those_of_least_squares(run, embedded, kind):
    train, test = embedded
    result, t = run.result("chapter_03.json"), 3
    see = {
        APART: lambda images: images[:, 0, :, : t + 1].flatten(1),
        SUM: lambda images: images[:, 0, :, : t + 1].sum(2),
        ALONE: lambda images: images[:, 0, :, t],
    }[kind]
    x_train, x_test = (see(split.images.double() / 255) for split in embedded)
    expected = accuracy_by_least_squares(x_train, x_test, train.labels, test.labels, result["penalty"])
    assert result["accuracy"]["test"][kind][t] == pytest.approx(expected, abs=0.0021)  # two pictures of 1,000


def test_counts_the_pictures_of_each_class(run):
    result = run.result("chapter_03.json")
    assert result["is_subset"]
    assert len(result["counts"]) == 10
    assert set(map(tuple, result["counts"].values())) == {(600, 100)}
    assert result["provenance"]["torch"]


def test_correlation_of_columns_is_that_of_numpy(run, embedded):
    pixels = embedded[0].images[:, 0].numpy() / 255
    x = pixels - pixels.mean(0)
    shared = np.einsum("nit,niu->tu", x, x)
    expected = shared / np.sqrt(np.outer(shared.diagonal(), shared.diagonal()))
    recorded = run.result("chapter_03.json")["correlation"]
    assert recorded["4"] == pytest.approx(expected.diagonal(4).mean(), abs=1e-4)


def test_shows_two_animations_of_the_size_that_it_records(run):
    shown = [
        base64.b64decode(output["data"]["image/gif"])
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "image/gif" in output.get("data", {})
    ]
    assert [len(data) for data in shown] == list(run.result("chapter_03.json")["gif_bytes"].values())
    assert all(data.startswith(b"GIF89a") for data in shown)


def test_animations_in_figures_are_small(recorded):
    for name in ("reading", "column"):
        assert (ROOT / "figures" / f"{name}.gif").stat().st_size < 1_000_000
        assert recorded["gif_bytes"][name] < 1_000_000


def test_prints_what_the_text_builds_on(run):
    printed = run.printed()
    for line in (
        "(6, 1, 28, 28) becomes (28, 6, 28)",
        "pixels from 0 to 255",
        "the same spikes: True (28, 6, 32)",
        "same shape: True - same numbers: False",
        "pictures of which reshape makes sample 0: [0, 1, 2, 3, 4, 5]",
        "row order is the transposed picture: True",
        "as above: True",
        "(100, 5, 8) and back: (5, 8, 100)",
    ):
        assert line in printed


def test_permute_and_the_pixel_that_is_printed_agree(run):
    (line,) = [line for line in run.printed().splitlines() if line.count(" = ") == 1 and line[0] == "0"]
    assert line == "0.384 = 0.384"  # byte 98 of 255


def test_what_the_text_says_about_the_readers_holds_for_the_full_data(recorded):
    assert not recorded["is_subset"]
    accuracy = recorded["accuracy"]
    apart, added, alone = (accuracy["test"][kind] for kind in (APART, SUM, ALONE))
    best = recorded["best_column"]
    assert best == int(np.argmax(accuracy["train"][ALONE]))
    assert max(alone[0], alone[-1]) < 0.3 < 0.5 < alone[best] < 0.55  # little at the edges, half inside
    assert 0 < added[-1] - alone[best] < 0.03  # the sum hardly gains
    assert apart[-1] > added[-1] + 0.2
    assert apart[14] - apart[0] > 10 * (apart[27] - apart[14])  # much at first, the late ones little
    assert all(later > earlier - 0.002 for earlier, later in pairwise(apart))
    assert recorded["after_reshape"] < 0.2


def test_what_the_text_says_about_random_units_holds(recorded):
    accuracy, units = recorded["accuracy"]["test"], recorded["random_units"]
    best = recorded["best_column"]
    assert accuracy[ALONE][best] + 0.03 < units["the best column"] < accuracy[APART][-1]
    assert accuracy[SUM][-1] + 0.1 < units["added up over all columns"] < accuracy[APART][-1]


def test_what_the_text_says_about_pairs_holds(recorded):
    pair, correlation = recorded["best_pair"], recorded["correlation"]
    first, second = pair["columns"]
    assert second - first >= 4  # several columns apart
    assert pair["test"] > max(recorded["accuracy"]["test"][ALONE]) + 0.1
    assert correlation["1"] > 0.7 > 0.5 > correlation["4"] > correlation["8"]
    assert recorded["accuracy"]["test"][ALONE][second] < pair["test"]
    near, mirror = recorded["near_pairs"], recorded["mirror"]
    assert max(near) < pair["test"]
    assert mirror["correlation"] > 0.5 > correlation["8"]
    assert mirror["test"] < pair["test"]


def test_added_scores_see_the_sum_only_with_the_same_weights(run, recorded, embedded):
    """With weights of its own in each step, the sum of the scores keeps the columns apart, and tells far more."""
    assert "with the same weights in every step**, sees only the sum of the columns" in prose(run.notebook)
    assert recorded["own_weights"] > recorded["accuracy"]["test"][SUM][-1] + 0.15
    assert recorded["own_weights"] < recorded["accuracy"]["test"][APART][-1]
    x = embedded[1].images[:50, 0].double() / 255  # [n, i, t]
    torch.manual_seed(0)
    same, own = torch.randn(28, 10, dtype=torch.float64), torch.randn(28, 28, 10, dtype=torch.float64)
    flipped = x.flip(2)  # the same columns in another order
    torch.testing.assert_close(torch.einsum("nit,ic->nc", flipped, same), x.sum(2) @ same)
    scores = torch.einsum("nit,tic->nc", x, own)
    assert not torch.allclose(scores, torch.einsum("nit,tic->nc", flipped, own))


def test_mirror_image_of_column_6_is_column_21(run, recorded):
    first, _ = recorded["best_pair"]["columns"]
    assert (first, recorded["mirror"]["column"]) == (6, 21)
    flipped = np.arange(28)[::-1]
    assert flipped[first] == 21
    assert "column 21, its mirror image" in prose(run.notebook)


def test_numbers_in_the_text_are_those_of_the_full_data(run, recorded):
    said, accuracy, units = prose(run.notebook), recorded["accuracy"]["test"], recorded["random_units"]
    first, second = recorded["best_pair"]["columns"]
    for sentence, value in (
        ("This is {} %, far above the second row", recorded["own_weights"]),
        ("now names {} %, hardly more than guessing", recorded["after_reshape"]),
        ("and {} % if it answers at its best step, t = 10", max(accuracy[SUM])),
        ("Instead of {} % the classifier", accuracy[APART][-1]),
        ("The sum of the pixels of all columns gave {} %", accuracy[SUM][-1]),
        ("all pixels kept apart {} %", accuracy[APART][-1]),
        ("than a linear classifier takes from it, {} %", units["the best column"]),
        ("instead of {} %, yet less than all columns", accuracy[ALONE][recorded["best_column"]]),
        ("gets to {} %, much closer to 81.2 % than to 53.8 %", units["added up over all columns"]),
        ("Column 14 adds most: {} % together", recorded["best_pair"]["test"]),
        ("against {} % for column 6 alone", accuracy[ALONE][6]),
    ):
        assert sentence.format(f"{100 * value:.1f}") in said
    assert (first, second) == (6, 14)
    assert int(np.argmax(accuracy[SUM])) == 10
    assert accuracy[ALONE][14] == pytest.approx(0.5, abs=0.05)  # "about half of the test images"
    assert (
        max(accuracy[ALONE]) == accuracy[ALONE][recorded["best_column"]]
    )  # "whichever column it answers from"
    assert f"name {100 * accuracy[APART][-1]:.0f} %" in said
    kept = {tau: 100 * (1 - 1 / tau) ** (second - first) for tau in (2, 20)}
    assert f"keeps {kept[2]:.1f} % of its current, and one with $\\tau = 20$ keeps {kept[20]:.0f} %" in said


def test_sum_of_random_units_is_closer_to_all_pixels_than_to_their_sum(recorded):
    accuracy = recorded["accuracy"]["test"]
    counted = recorded["random_units"]["added up over all columns"]
    assert accuracy[APART][-1] - counted < (counted - accuracy[SUM][-1]) / 3


def test_column_14_correlates_least_of_the_three_and_adds_most(recorded):
    nothing, *partners = recorded["partners"]
    assert nothing[2] == recorded["accuracy"]["test"][ALONE][6]  # and not of column 6 taken twice
    assert [nothing[0], *(column for column, _, _ in partners)] == [6, 8, 21, 14]
    assert [min(partners, key=lambda p: p[1])[0], max(partners, key=lambda p: p[2])[0]] == [14, 14]
    assert max(together for _, _, together in partners) == recorded["best_pair"]["test"]
    assert recorded["mirror"]["test"] == partners[1][2]


def test_columns_become_less_similar_up_to_half_the_width(recorded):
    similar = [recorded["correlation"][str(lag)] for lag in range(1, 28)]
    assert all(later < earlier for earlier, later in pairwise(similar[:14]))
    assert max(similar[14:]) > similar[13]  # mirror images: not beyond half of it


def test_pixel_14_is_nearly_background_before_step_12(embedded):
    row = embedded[1].images[0, 0, 14]
    assert row[:12].max() < 5 < 90 < row[12]


def test_solutions_find_what_they_say(run):
    numbers = [number for number in EXERCISES if f"Exercise {number}: right." in run.solved(number)]
    assert numbers == list(EXERCISES)
    assert "image and row: (2, 19)" in run.solved("03.3")
    assert "best row 13" in run.solved("03.5")
    neighbours, spread = map(float, re.findall(r"train ([\d.]+)%", run.solved("03.7")))
    assert neighbours < 65 < 72 < spread
    tested = [float(value) for value in re.findall(r"test ([\d.]+)%", run.solved("03.6"))]
    assert max(tested[:3]) - min(tested[:3]) < 2  # "less than two points" up to 0.01
