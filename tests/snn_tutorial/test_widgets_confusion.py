from __future__ import annotations

import numpy as np
import pytest

from snn_tutorial.widgets.confusion import confused_images

CLASSES = ("Shirt", "T-shirt/top", "Bag")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28))
LABELS = np.array([0, 0, 0, 1, 2, 2])
GUESSES = {"plain": np.array([1, 1, 0, 0, 2, 2]), "feedback": np.array([0, 0, 0, 0, 1, 1])}


@pytest.mark.parametrize(("control", "value"), [(0, "feedback"), (1, 2), (2, 0)])
def test_each_control_changes_the_picture(shown, control, value):
    box = confused_images(IMAGES, LABELS, GUESSES, CLASSES)
    box.children[0].children[control].value = value
    assert len(shown) == 2
    assert shown[0] != shown[1]


def test_starts_with_shirts_taken_for_t_shirts(shown, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "snn_tutorial.widgets.confusion.pictures",
        lambda images, captions: asked.append((images, captions)) or 1 / 0,
    )
    with pytest.raises(ZeroDivisionError):
        confused_images(IMAGES, LABELS, GUESSES, CLASSES)
    images, captions = asked[0]
    assert (images == IMAGES[:2]).all()
    assert captions == ["image 0", "image 1"]
