from __future__ import annotations

import numpy as np
import pytest

from snn_tutorial.widgets.reading import column_reader

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28))
LABELS = np.array([1, 0, 1])


@pytest.mark.parametrize(("control", "value"), [(0, 10), (1, 2), (2, "row")])
def test_each_control_changes_the_picture(shown, control, value):
    box = column_reader(IMAGES, LABELS, ("boot", "bag"))
    box.children[0].children[control].value = value
    assert len(shown) == 2
    assert shown[0] != shown[1]


def test_controls_reach_every_image_and_every_step(shown):
    t, image, order = column_reader(IMAGES, LABELS, ("boot", "bag")).children[0].children
    assert (t.min, t.max) == (0, 27)
    assert (image.min, image.max) == (0, 2)
    assert list(order.options) == ["column", "row"]


def test_asks_for_the_image_with_its_class(shown, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "snn_tutorial.widgets.reading.reading_step", lambda *args: asked.append(args) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        column_reader(IMAGES, LABELS, ("boot", "bag"))
    ((image, t, name, order),) = asked
    assert (image == IMAGES[0]).all()
    assert (t, name, order) == (9, "bag", "column")
