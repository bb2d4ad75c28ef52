from __future__ import annotations

import io
import json
from itertools import pairwise

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from IPython.display import Image

from sequential_fmnist.networks import NETWORKS
from snn_tutorial.page import png, save_figure, show
from snn_tutorial.plot import __main__ as command
from snn_tutorial.plot.style import STYLE
from snn_tutorial.plot.throughput import throughput
from snn_tutorial.plot.training import accuracy_by_seed, training_curves

HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 0.1 / (epoch + 1),
        "train_accuracy": 0.5 + epoch / 10,
        "test_accuracy": 0.4,
    }
    for epoch in range(3)
]
HISTORIES = {"plain": HISTORY, "stateful-synapse": HISTORY[:2], "feedback": HISTORY[:1]}


def step(ms, ratio):
    return {"ms": {"median": ms, "q1": 0.9 * ms, "q3": 1.2 * ms, "n": 5}, "ratio": ratio}


THROUGHPUT = {
    "provenance": {"processor": "a processor", "cores": 2},
    "libraries": {"snn_core": {"label": "ours"}, "peer": {"label": "a peer"}},
    "networks": [
        {
            **{"model": model, "batch": batch, "T": 28, "hidden": 32, "busy": False},
            "libraries": {"snn_core": step(1.5, 1.0), "peer": step(12.0, 8.0)},
        }
        for model, batch in [("plain", 256), ("stateful-synapse", 256), ("feedback", 256), ("plain", 32)]
    ],
}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_curves_show_the_numbers_in_the_units_of_the_axis():
    axes = training_curves(HISTORIES, "train_accuracy").axes[0]
    line = axes.get_lines()[0]
    assert list(line.get_xdata()) == [1, 2, 3]
    assert list(line.get_ydata()) == pytest.approx([50, 60, 70])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "train accuracy (%)")
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(HISTORIES)


def test_ways_to_train_one_network_have_looks_of_their_own():
    lines = training_curves({"feedback": HISTORY, "clipped": HISTORY, "attached": HISTORY}, "test_accuracy")
    assert len({line.get_color() for line in lines.axes[0].get_lines()}) == 3


def test_seeds_are_dots_in_the_row_of_their_network():
    recipes = {"as listed": {"plain": [70.0, 72.0], "feedback": [60.0, 75.0]}, "clipped": {"plain": [71.0]}}
    listed, clipped = accuracy_by_seed(recipes).axes
    dots = [(list(line.get_xdata()), list(line.get_ydata())) for line in listed.get_lines()]
    assert dots == [([70, 72], [0, 0]), ([60, 75], [1, 1])]
    assert listed.yaxis.get_inverted()
    assert (listed.get_title(loc="left"), clipped.get_title(loc="left")) == tuple(recipes)


def test_loss_is_not_scaled():
    line = training_curves(HISTORIES, "train_loss").axes[0].get_lines()[0]
    assert list(line.get_ydata()) == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_a_figure_of_the_subset_says_so():
    assert training_curves(HISTORIES, "train_loss", subset=True).axes[0].get_title(loc="left")
    assert not training_curves(HISTORIES, "train_loss").axes[0].get_title(loc="left")


def test_networks_differ_in_line_style_and_in_brightness():
    assert len({style["linestyle"] for style in STYLE.values()}) == len(STYLE)
    weights = (0.2126, 0.7152, 0.0722)
    grey = sorted(float(np.dot(weights, matplotlib.colors.to_rgb(STYLE[kind]["color"]))) for kind in NETWORKS)
    assert min(b - a for a, b in pairwise(grey)) > 0.1


@pytest.mark.parametrize(
    ("histories", "key", "message"),
    [(HISTORIES, "loss", "key must be one of train_loss"), ({}, "train_loss", "histories is empty")],
)
def test_errors_name_the_argument(histories, key, message):
    with pytest.raises(ValueError, match=message):
        training_curves(histories, key)


def test_show_writes_the_file_closes_the_figure_and_gives_the_alt_text(tmp_path):
    image = show(training_curves(HISTORIES, "train_loss"), alt="loss", path=tmp_path / "a.png")
    assert isinstance(image, Image)
    assert image._repr_png_()[1]["alt"] == "loss"
    assert image.data == (tmp_path / "a.png").read_bytes()
    assert plt.get_fignums() == []


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        save_figure(training_curves(HISTORIES, "train_loss"), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_throughput_shows_base_size_only_with_times_and_ratios():
    figure = throughput(THROUGHPUT)
    assert [axes.get_title() for axes in figure.axes] == ["plain", "stateful-synapse", "feedback"]
    for axes in figure.axes:
        assert [bar.get_width() for bar in axes.patches] == [1.5, 12.0]
        assert [text.get_text() for text in axes.texts] == [" 1.5 ms", " 12 ms, 8x"]
        assert axes.get_xlabel() == "training step (ms)"
        assert axes.get_xscale() == "log"
        assert axes.yaxis.get_inverted()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ours", "a peer"]
    assert "batch 256" in figure.get_suptitle()


def test_command_draws_every_figure(tmp_path, capsys):
    training = {"is_subset": False, "networks": {name: {"history": h} for name, h in HISTORIES.items()}}
    (tmp_path / "training.json").write_text(json.dumps(training))
    (tmp_path / "ablation.json").write_text(json.dumps({"groups": {"delay": []}}))
    found = {"mean": 0.5, "low": 0.4, "high": 0.6}
    kinds = ("plain", "stateful synapse", "feedback", "feedback through SynapseFilter", "GRU")
    recall = [{"name": "blind", "kind": kind, "at": 50, "accuracy": found} for kind in kinds]
    (tmp_path / "fair.json").write_text(json.dumps({"groups": {"fair-recall": recall}}))
    (tmp_path / "benchmarks.json").write_text(json.dumps(THROUGHPUT))
    command.main(["--results", str(tmp_path), "--figures", str(tmp_path / "figures")])
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    curves = ["test_accuracy.png", "train_accuracy.png", "train_loss.png"]
    assert names == [
        "column.gif",
        "memory.png",
        "overview.png",
        "reading.gif",
        *curves[:1],
        "throughput.png",
        *curves[1:],
    ]
    assert len(capsys.readouterr().out.splitlines()) == 8


def pixels(figure, ground):
    figure.set_facecolor(ground)
    with PIL.Image.open(io.BytesIO(png(figure))) as picture:
        return picture.mode, np.asarray(picture.convert("RGBA"))


def test_a_picture_has_a_palette_that_keeps_the_ground_and_the_colours_of_lines():
    figure = training_curves(HISTORIES, "train_accuracy")
    colours = {line.get_color() for line in figure.axes[0].get_lines()}
    mode, found = pixels(figure, "#fdfcfb")
    assert mode == "P"
    assert tuple(found[0, 0]) == (0xFD, 0xFC, 0xFB, 255)
    shown = {tuple(colour) for colour in found[..., :3].reshape(-1, 3)}
    assert len(shown) <= 256
    for colour in colours:
        wanted = np.array(matplotlib.colors.to_rgb(colour)) * 255
        assert min(np.abs(wanted - one).max() for one in shown) <= 4


def test_a_transparent_picture_stays_transparent():
    mode, found = pixels(training_curves(HISTORIES, "train_accuracy"), "none")
    assert mode == "RGBA"
    assert found[0, 0, 3] == 0
