from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageSequence

from snn_tutorial.page import show_gif
from snn_tutorial.plot import reading

IMAGE = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(axes) -> np.ndarray:
    return axes.get_images()[0].get_array()


def test_rows_hold_images_of_their_class_only_and_follow_the_seed():
    labels = np.repeat([0, 1], 6)
    images = np.ones((12, 28, 28)) * np.arange(12)[:, None, None]

    def rows(seed):
        return drawn(reading.class_rows(images, labels, ["boot", "bag"], per_class=3, seed=seed).axes[0])

    assert rows(1).shape == (2 * 28, 3 * 28)
    assert rows(1)[:28].max() < 6 <= rows(1)[28:].min()
    assert (rows(1) != rows(2)).any()


@pytest.mark.parametrize("order", ["column", "row"])
def test_step_shows_the_input_and_what_came_before(order):
    left, middle, right = reading.reading_step(IMAGE, 5, "bag", order).axes
    x_seq = IMAGE.T if order == "column" else IMAGE
    assert [bar.get_width() for bar in middle.patches] == pytest.approx(x_seq[5] / 255)
    raster = drawn(right)
    assert raster.data[:, :6] == pytest.approx(x_seq[:6].T / 255)
    assert not raster.mask[:, :6].any()
    assert raster.mask[:, 6:].all()
    seen = drawn(left) == 255.0 - IMAGE
    seen = seen if order == "column" else seen.T
    assert seen[:, :6].all()
    assert not seen[:, 6:].all(axis=0).any()
    frame = left.patches[0]
    assert (frame.get_x() if order == "column" else frame.get_y()) == 4.4


@pytest.mark.parametrize(
    ("t", "order", "message"), [(28, "column", "t must be 0 to 27, got 28"), (0, "time", "not 'time'")]
)
def test_step_names_the_wrong_argument(t, order, message):
    with pytest.raises(ValueError, match=message):
        reading.reading_step(IMAGE, t, "bag", order)


def test_rasters_have_time_to_the_right():
    x_seq = np.random.default_rng(0).random((28, 28))
    figure = reading.rasters({"right": x_seq, "turned": x_seq.T})
    assert [axes.get_title() for axes in figure.axes] == ["right", "turned"]
    assert drawn(figure.axes[0]).tolist() == x_seq.T.tolist()


def test_accuracies_are_in_per_cent_and_named_beside_their_curves():
    axes = reading.accuracy_by_column({"alone": [0.1, 0.5], "apart": [0.1, 0.8]}).axes[0]
    assert [line.get_ydata().tolist() for line in axes.get_lines()[:2]] == [[10, 50], [10, 80]]
    assert {"alone", "apart", "chance"} == {text.get_text() for text in axes.texts}
    axes = reading.accuracy_by_distance({1: 0.4, 2: 0.6}, alone=0.5).axes[0]
    assert axes.get_lines()[0].get_ydata().tolist() == [40, 60]
    assert axes.get_lines()[1].get_ydata()[0] == 50


@pytest.mark.parametrize(
    "make", [lambda: reading.reading_gif(IMAGE, "bag"), lambda: reading.column_gif(IMAGE)]
)
def test_animation_has_28_steps_a_pause_and_no_end(make):
    data = make()
    picture = Image.open(io.BytesIO(data))
    frames = [(frame.info["duration"], frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
    assert [duration for duration, _ in frames] == [reading.STEP_MS] * 27 + [reading.PAUSE_MS]
    assert picture.info["loop"] == 0
    assert len({frame.tobytes() for _, frame in frames}) == 28
    assert {frame.getpixel((2, 2)) for _, frame in frames} == {(255, 255, 255)}
    assert plt.get_fignums() == []
    assert make() == data
    content, metadata = show_gif(data, alt="a bag")._repr_mimebundle_()
    assert list(content) == ["image/gif"]
    assert metadata["image/gif"]["alt"] == "a bag"
