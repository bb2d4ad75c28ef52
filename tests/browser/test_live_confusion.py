"""The matrix of confused classes: a cell shows its count and its images."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from support_live import live

from snn_tutorial.live.confusion import confused_images

pytestmark = pytest.mark.xdist_group("browser_live")

CLASSES = ("Shirt", "T-shirt/top", "Bag", "Ankle boot")
DRAWN = np.random.default_rng(0)
IMAGES = DRAWN.integers(0, 256, (60, 28, 28), dtype=np.uint8)
LABELS = DRAWN.integers(0, 4, 60)
GUESSES = {
    "plain": np.where(DRAWN.random(60) < 0.5, LABELS, DRAWN.integers(0, 4, 60)),
    "feedback": np.where(LABELS == 1, 2, LABELS),
}


def fits(network: str, truth: int, answer: int) -> list[int]:
    return np.flatnonzero((truth == LABELS) & (GUESSES[network] == answer)).tolist()


def test_a_click_on_a_cell_shows_its_count_and_images(browser, tmp_path):
    with live(browser, confused_images(IMAGES, LABELS, GUESSES, CLASSES), tmp_path) as view:
        for network in GUESSES:
            view.set("network", network)
            for truth, answer in product(range(4), repeat=2):
                view.figure.locator("td[aria-current]").nth(4 * truth + answer).click()
                found, shown = fits(network, truth, answer), view.numbers()
                assert shown["count"] == len(found)
                assert shown["images"] == found[:3]
                assert shown["pixels"] == [image.flatten().tolist() for image in IMAGES[found[:3]]]
                assert view.control("true class").input_value() == CLASSES[truth]
                assert view.control("answer").input_value() == CLASSES[answer]


def test_starts_with_the_most_frequent_error_of_the_first_network(browser, tmp_path):
    guesses = {"plain": np.where(LABELS == 2, 3, LABELS)}
    with live(browser, confused_images(IMAGES, LABELS, guesses, CLASSES), tmp_path) as view:
        assert "Bag, the network plain takes" in view.said()
        assert "for Ankle boot" in view.said()
