from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from snn_tutorial.plot.confusion import confusion, confusion_matrix, pictures

LABELS = np.array([0, 0, 0, 0, 1, 1])
GUESSES = np.array([0, 0, 0, 1, 1, 1])


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_matrix_by_hand():
    assert confusion_matrix(LABELS, GUESSES, 3).tolist() == [[75, 25, 0], [0, 100, 0], [0, 0, 0]]


def test_figure_has_one_labelled_matrix_for_each_network():
    figure = confusion(LABELS, {"plain": GUESSES, "feedback": 1 - GUESSES}, ["boot", "bag"])
    *matrices, bar = figure.axes
    assert [axes.get_title() for axes in matrices] == ["plain", "feedback"]
    assert matrices[0].get_images()[0].get_array().tolist() == [[75, 25], [0, 100]]
    assert [text.get_text() for text in matrices[0].texts] == ["75", "25", "100"]
    assert (matrices[0].get_xlabel(), matrices[0].get_ylabel()) == ("network's answer", "true class")
    assert [label.get_text() for label in matrices[0].get_yticklabels()] == ["boot", "bag"]
    assert "%" in bar.get_ylabel()


def test_pictures_stand_in_rows_of_five_with_their_captions():
    images = np.arange(7)[:, None, None] * np.ones((7, 28, 28))
    figure = pictures(images, [f"image {n}" for n in range(7)])
    shown = [axes for axes in figure.axes if axes.get_images()]
    assert len(figure.axes) == 10
    assert [axes.get_title() for axes in shown] == [f"image {n}" for n in range(7)]
    assert [axes.get_images()[0].get_array().max() for axes in shown] == list(range(7))


def test_no_picture_is_said():
    assert [text.get_text() for text in pictures(np.zeros((0, 28, 28)), []).texts] == ["no such image"]
