from __future__ import annotations

import json
from itertools import pairwise

import matplotlib.colors
import matplotlib.pyplot as plt
import pytest
from IPython.display import Image

from snn_core import plot

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


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_curves_show_the_numbers_in_the_units_of_the_axis():
    axes = plot.training_curves(HISTORIES, "train_accuracy").axes[0]
    line = axes.get_lines()[0]
    assert list(line.get_xdata()) == [1, 2, 3]
    assert list(line.get_ydata()) == pytest.approx([50, 60, 70])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "train accuracy (%)")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(HISTORIES)


def test_loss_is_not_scaled():
    line = plot.training_curves(HISTORIES, "train_loss").axes[0].get_lines()[0]
    assert list(line.get_ydata()) == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_a_figure_of_the_subset_says_so():
    assert plot.training_curves(HISTORIES, "train_loss", subset=True).axes[0].get_title(loc="left")
    assert not plot.training_curves(HISTORIES, "train_loss").axes[0].get_title(loc="left")


def test_networks_differ_in_line_style_and_in_brightness():
    styles = plot.STYLE.values()
    assert len({style["linestyle"] for style in styles}) == 3
    grey = sorted(
        matplotlib.colors.rgb_to_hsv(matplotlib.colors.to_rgb(style["color"]))[2] for style in styles
    )
    assert min(b - a for a, b in pairwise(grey)) > 0.1


@pytest.mark.parametrize(
    ("histories", "key", "message"),
    [(HISTORIES, "loss", "key must be one of train_loss"), ({}, "train_loss", "histories is empty")],
)
def test_errors_name_the_argument(histories, key, message):
    with pytest.raises(ValueError, match=message):
        plot.training_curves(histories, key)


def test_show_writes_the_file_closes_the_figure_and_gives_the_alt_text(tmp_path):
    image = plot.show(plot.training_curves(HISTORIES, "train_loss"), tmp_path / "a.png", alt="loss")
    assert isinstance(image, Image)
    assert image.alt == "loss"
    assert image.data == (tmp_path / "a.png").read_bytes()
    assert plt.get_fignums() == []


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        plot.save_figure(plot.training_curves(HISTORIES, "train_loss"), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_command_draws_every_figure(tmp_path, capsys):
    training = {"is_subset": False, "networks": {name: {"history": h} for name, h in HISTORIES.items()}}
    (tmp_path / "training.json").write_text(json.dumps(training))
    plot.main(["--results", str(tmp_path), "--figures", str(tmp_path / "figures")])
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["overview.png", "test_accuracy.png", "train_accuracy.png", "train_loss.png"]
    assert len(capsys.readouterr().out.splitlines()) == 4
