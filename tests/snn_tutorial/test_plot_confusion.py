from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from snn_tutorial.plot.confusion import pictures


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_pictures_stand_in_rows_of_five_with_their_captions():
    images = np.arange(7)[:, None, None] * np.ones((7, 28, 28))
    figure = pictures(images, [f"image {n}" for n in range(7)])
    shown = [axes for axes in figure.axes if axes.get_images()]
    assert len(figure.axes) == 10
    assert [axes.get_title() for axes in shown] == [f"image {n}" for n in range(7)]
    assert [axes.get_images()[0].get_array().max() for axes in shown] == list(range(7))


def test_no_picture_is_said():
    assert [text.get_text() for text in pictures(np.zeros((0, 28, 28)), []).texts] == ["no such image"]
