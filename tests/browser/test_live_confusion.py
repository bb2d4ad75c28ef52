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


def place(view, truth: int, answer: int) -> tuple[float, float]:
    """Return the middle of a cell on the page."""
    box = view.figure.locator("canvas").first.bounding_box()
    side = (box["width"] - 92 - 10) / len(CLASSES)
    return box["x"] + 92 + side * (answer + 0.5), box["y"] + 24 + 26 * (truth + 0.5)


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
            count = str(len(found) or "none")
            what = f"gets {count} right" if truth == answer else f"takes {count} for {other}"
            more = ". The first 6 are shown" if len(found) > 6 else ""
            total = (truth == LABELS).sum()
            assert (
                view.said() == f"Of {total} images of the class {name}, the network {network} {what}{more}."
            )


def test_starts_with_the_most_frequent_error_of_the_first_network(browser, tmp_path):
    guesses = {"plain": np.where(LABELS == 2, 3, LABELS)}
    with live(browser, confused_images(IMAGES, LABELS, guesses, CLASSES), tmp_path) as view:
        assert chosen(view) == ("Bag", "Ankle boot")


def test_a_click_on_a_cell_chooses_it(browser, tmp_path):
    with live(browser, confused_images(IMAGES, LABELS, GUESSES, CLASSES), tmp_path) as view:
        for truth, answer in product(range(4), repeat=2):
            view.page.mouse.click(*place(view, truth, answer))
            assert chosen(view) == (CLASSES[truth], CLASSES[answer])
            assert view.numbers()["images"] == fits("plain", truth, answer)[:6]
        said = view.said()
        for outside in ((-1, 2), (4, 2), (2, -1)):
            view.page.mouse.click(*place(view, *outside))
            assert view.said() == said


def test_a_touch_on_a_telephone_does_the_same(browser, tmp_path):
    small = {"viewport": {"width": 390, "height": 900}, "has_touch": True, "is_mobile": True}
    with live(browser, confused_images(IMAGES, LABELS, GUESSES, CLASSES), tmp_path, **small) as view:
        before = view.picture()
        view.page.touchscreen.tap(*place(view, 1, 2))
        assert chosen(view) == ("T-shirt/top", "Bag")
        after = view.picture()
        assert [a != b for a, b in zip(before, after, strict=True)] == [True, True]
