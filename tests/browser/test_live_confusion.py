"""The view of confused classes: what it shows is in the data, and its matrix can be clicked and touched."""

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


def chosen(view) -> tuple[str, str]:
    return tuple(
        view.control(name).evaluate("menu => menu.selectedOptions[0].text")
        for name in ("true class", "answer")
    )


def test_counts_and_images_are_those_of_the_data(browser, tmp_path):
    with live(browser, confused_images(IMAGES, LABELS, GUESSES, CLASSES), tmp_path) as view:
        for network, (truth, name), (answer, other) in product(
            GUESSES, enumerate(CLASSES), enumerate(CLASSES)
        ):
            view.set("network", network)
            view.set("true class", name)
            view.set("answer", other)
            found, shown = fits(network, truth, answer), view.numbers()
            assert shown["count"] == len(found)
            assert shown["images"] == found[:6]
            assert shown["pixels"] == [image.flatten().tolist() for image in IMAGES[found[:6]]]
            assert shown["counts"] == [len(fits(network, t, a)) for t in range(4) for a in range(4)]


def test_starts_with_the_most_frequent_error_of_the_first_network(browser, tmp_path):
    guesses = {"plain": np.where(LABELS == 2, 3, LABELS)}
    with live(browser, confused_images(IMAGES, LABELS, guesses, CLASSES), tmp_path) as view:
        assert chosen(view) == ("Bag", "Ankle boot")


def test_a_click_on_a_cell_chooses_it(browser, tmp_path):
    with live(browser, confused_images(IMAGES, LABELS, GUESSES, CLASSES), tmp_path) as view:
        for truth, answer in product(range(4), repeat=2):
            view.page.mouse.click(*view.place(answer, truth))
            assert chosen(view) == (CLASSES[truth], CLASSES[answer])
            assert view.numbers()["images"] == fits("plain", truth, answer)[:6]
        for outside in ((-1, 2), (4, 2), (2, 4)):
            view.page.mouse.click(*view.place(*outside))
            assert chosen(view) == (CLASSES[3], CLASSES[3])
