from __future__ import annotations

import numpy as np
import pytest

from snn_tutorial.live import deflated
from snn_tutorial.live.confusion import confused_images

CLASSES = ("Shirt", "T-shirt/top", "Bag")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28))
LABELS = np.array([0, 0, 0, 1, 2, 2])
GUESSES = {"plain": np.array([1, 1, 0, 0, 2, 2]), "feedback": np.array([0, 0, 0, 0, 1, 1])}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": IMAGES[:, :27]}, "images must have shape"),
        ({"images": IMAGES / 255}, "whole numbers from 0 to 255"),
        ({"labels": LABELS[:5]}, "labels must hold one class for each of the 6 images"),
        ({"labels": LABELS + 1}, "labels must hold whole numbers from 0 to 2"),
        ({"labels": LABELS / 1.0}, "labels must hold whole numbers"),
        ({"guesses": {}}, "guesses must hold at least one network"),
        ({"guesses": {"plain": LABELS - 1}}, "guesses\\['plain'\\] must hold whole numbers from 0 to 2"),
        ({"guesses": {"plain": LABELS[:, None]}}, "guesses\\['plain'\\] must hold one class"),
        ({"classes": CLASSES[:2]}, "labels must hold whole numbers from 0 to 1, as there are 2 classes"),
    ],
)
def test_what_does_not_fit_is_named(changed, said):
    given = {"images": IMAGES, "labels": LABELS, "guesses": GUESSES, "classes": CLASSES} | changed
    with pytest.raises(ValueError, match=said):
        confused_images(**given)


def test_draws_the_most_frequent_error_of_the_first_network_where_no_script_runs(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "snn_tutorial.live.confusion.pictures",
        lambda images, captions: asked.append((images, captions)) or 1 / 0,
    )
    with pytest.raises(ZeroDivisionError):
        confused_images(IMAGES, LABELS, GUESSES, CLASSES)
    images, captions = asked[0]
    assert (images == IMAGES[:2]).all()
    assert captions == ["image 0", "image 1"]


def test_each_image_is_there_once_and_six_of_a_cell_at_most():
    images = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    labels = np.repeat([0, 1], 10)
    html = confused_images(images, labels, {"one": labels, "other": labels}, ("a", "b")).data
    shown = [*range(6), *range(10, 16)]
    assert f'"images": "{deflated(images[shown])}"' in html
    assert f'"numbers": {shown}' in html


def test_network_without_errors_starts_with_the_first_class():
    assert '"first": [0, 0]' in confused_images(IMAGES, LABELS, {"right": LABELS}, CLASSES).data
    assert '"first": [0, 0]' in confused_images(IMAGES[:0], LABELS[:0], {"none": LABELS[:0]}, CLASSES).data
