from __future__ import annotations

import io

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageSequence

from snn_tutorial.page import show_gif
from snn_tutorial.plot import reading
from snn_tutorial.plot.reading import (
    accuracy_by_column,
    class_rows,
    column_gif,
    column_pairs,
    layout,
    rasters,
    reading_gif,
    reading_step,
)
from snn_tutorial.plot.style import QUANTITY

IMAGE = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(axes) -> np.ndarray:
    return axes.get_images()[0].get_array()


def test_rows_hold_pictures_of_their_class_only_and_follow_the_seed():
    labels = np.repeat([0, 1], 6)
    images = np.ones((12, 28, 28)) * np.arange(12)[:, None, None]
    rows = [drawn(axes) for axes in class_rows(images, labels, ["boot", "bag"], per_class=3, seed=1).axes]
    assert rows[0].shape == (28, 3 * 28)
    assert rows[0].max() < 6 <= rows[1].min()
    assert len(np.unique(rows[0])) == 3
    again = [drawn(axes) for axes in class_rows(images, labels, ["boot", "bag"], 3, seed=2).axes]
    assert any((row != other).any() for row, other in zip(rows, again, strict=True))


@pytest.mark.parametrize("order", ["column", "row"])
def test_step_shows_the_input_and_what_came_before(order):
    left, middle, right = reading_step(IMAGE, 5, "bag", order).axes
    line = IMAGE[:, 5] if order == "column" else IMAGE[5]
    assert [bar.get_width() for bar in middle.patches] == pytest.approx(line / 255)
    x_seq = IMAGE.T if order == "column" else IMAGE
    raster = drawn(right)
    assert raster.data[:, :6] == pytest.approx(x_seq[:6].T / 255)
    assert not raster.mask[:, :6].any()
    assert raster.mask[:, 6:].all()
    seen = drawn(left) == 255.0 - IMAGE
    seen = seen if order == "column" else seen.T
    assert seen[:, :6].all()
    assert not seen[:, 6:].all(axis=0).any()
    assert left.get_title() == f"bag, {order} 5"
    frame = left.patches[0]
    assert (frame.get_x() if order == "column" else frame.get_y()) == 4.4


@pytest.mark.parametrize(
    ("t", "order", "message"), [(28, "column", "t must be 0 to 27, got 28"), (0, "time", "not 'time'")]
)
def test_step_names_the_wrong_argument(t, order, message):
    with pytest.raises(ValueError, match=message):
        reading_step(IMAGE, t, "bag", order)


def test_layout_takes_out_one_sample_and_one_feature():
    x_seq = np.random.default_rng(0).random((28, 4, 28))
    deck, one, trace = layout(x_seq, sample=2, feature=3).axes
    assert [card.get_array().tolist() for card in deck.get_images()] == x_seq[[0, 9, 18, 27]].tolist()
    assert drawn(one).tolist() == x_seq[:, 2].T.tolist()
    assert trace.get_lines()[0].get_ydata().tolist() == x_seq[:, 2, 3].tolist()
    assert "[28, 4, 28]" in deck.get_title()


def test_rasters_have_time_to_the_right():
    x_seq = np.random.default_rng(0).random((28, 28))
    figure = rasters({"right": x_seq, "turned": x_seq.T})
    assert [axes.get_title() for axes in figure.axes] == ["right", "turned"]
    assert drawn(figure.axes[0]).tolist() == x_seq.T.tolist()
    assert figure.axes[0].get_xlabel() == "time step t"


def test_accuracies_are_in_per_cent_and_the_subset_is_said():
    axes = accuracy_by_column({"alone": [0.1, 0.5], "apart": [0.1, 0.8]}, ceiling=0.8, subset=True).axes[0]
    assert axes.get_lines()[1].get_ydata().tolist() == [10, 80]
    assert [line.get_ydata()[0] for line in axes.get_lines()[2:]] == [80, 10]
    assert "6,000 of 60,000" in axes.get_title(loc="left")
    assert not accuracy_by_column({"alone": [0.1]}, ceiling=0.8).axes[0].get_title(loc="left")


def test_pairs_are_labelled_with_their_columns_and_the_best_is_marked_twice():
    accuracy = np.arange(16).reshape(4, 4) / 100
    left, right = column_pairs(np.eye(28), [0, 2, 4, 6], accuracy, best=(2, 6)).axes[:2]
    assert drawn(left).tolist() == np.eye(28).tolist()
    assert drawn(right).data == pytest.approx(100 * accuracy)
    assert [label.get_text() for label in right.get_xticklabels()] == ["0", "6"]
    assert {(mark.get_x(), mark.get_y()) for mark in right.patches} == {(0.5, 2.5), (2.5, 0.5)}


@pytest.mark.parametrize("make", [lambda: reading_gif(IMAGE, "bag"), lambda: column_gif(IMAGE)])
def test_animation_has_28_steps_a_pause_and_no_end(make):
    data = make()
    assert len(data) < 1_000_000
    picture = Image.open(io.BytesIO(data))
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
    assert durations == [reading.STEP_MS] * 27 + [reading.PAUSE_MS]
    assert 8 <= 1000 / reading.STEP_MS <= 10
    assert picture.info["loop"] == 0
    assert 700 <= picture.width <= 760
    assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    assert plt.get_fignums() == []
    assert make() == data


def test_frame_of_the_animation_moves_one_column_in_each_step():
    picture = Image.open(io.BytesIO(reading_gif(np.zeros((28, 28), np.uint8), "bag")))
    green = np.array(matplotlib.colors.to_rgb(QUANTITY["input"])) * 255
    places = []
    for frame in ImageSequence.Iterator(picture):
        pixels = np.asarray(frame.convert("RGB")).astype(float)
        # Only the picture's half, below the step that is written in the same colour.
        is_green = (abs(pixels - green) < 12).all(2)[:, :390]
        places.append(np.flatnonzero(is_green.sum(0) > 200).mean())
    steps = np.diff(places[1:])  # at first an axis covers a part of the frame
    assert steps == pytest.approx(np.full(26, steps.mean()), abs=1)
    assert steps.mean() * 28 == pytest.approx(311, abs=6)  # the picture's width in pixels


def test_animation_is_shown_with_its_alt_text():
    data = reading_gif(IMAGE, "bag")
    shown = show_gif(data, alt="a bag")
    content, metadata = shown._repr_mimebundle_()
    assert list(content) == ["image/gif"]
    assert metadata["image/gif"]["alt"] == "a bag"
