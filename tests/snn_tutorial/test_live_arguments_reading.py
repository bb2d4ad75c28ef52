from __future__ import annotations

import numpy as np
import pytest

from snn_tutorial.live.reading import MOST_IMAGES, column_reader
from snn_tutorial.plot.reading import reading_step

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28))
LABELS = np.array([1, 0, 1])
CLASSES = ("boot", "bag")


def test_page_without_scripts_shows_the_first_image_with_its_class(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "snn_tutorial.live.reading.reading_step", lambda *args: asked.append(args) or reading_step(*args)
    )
    assert "data:image/png" in column_reader(IMAGES, LABELS, CLASSES).data
    ((image, t, name),) = asked
    assert (image == IMAGES[0]).all()
    assert (t, name) == (9, "bag")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], LABELS, r"images must be 1 to 40 images \[n, 28, 28\], got \[28, 28\]"),
        (IMAGES[:, :27], LABELS, r"images must be .* got \[3, 27, 28\]"),
        (IMAGES[:0], LABELS[:0], r"images must be .* got \[0, 28, 28\]"),
        (np.zeros((MOST_IMAGES + 1, 28, 28)), np.zeros(MOST_IMAGES + 1), r"images must be .* got \[41, "),
        (IMAGES / 255, LABELS, "images must hold whole numbers from 0 to 255"),
        (IMAGES, LABELS[:2], "labels must be 3 numbers of the 2 classes"),
        (IMAGES, [0, 1, 2], "labels must be 3 numbers of the 2 classes"),
        (IMAGES, [0, 1, -1], "labels must be 3 numbers of the 2 classes"),
        (IMAGES, [0.5, 0, 0], "labels must be 3 numbers of the 2 classes"),
    ],
)
def test_wrong_argument_is_named(images, labels, message):
    with pytest.raises(ValueError, match=message):
        column_reader(images, labels, CLASSES)


def test_images_are_written_as_bytes():
    few = column_reader(IMAGES, LABELS, CLASSES).data
    many = column_reader(np.tile(IMAGES[:1], (MOST_IMAGES, 1, 1)), [1] * MOST_IMAGES, CLASSES).data
    assert len(many) - len(few) < 1.4 * 28 * 28 * MOST_IMAGES
