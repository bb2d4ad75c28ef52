"""Numbers that figures compute, the files that they become, and their colours on dark pages."""

from __future__ import annotations

import io
import json
import re
from hashlib import sha256

import dark_figures
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from PIL import ImageSequence
from support import ROOT

from snn_tutorial.live.predict import choice
from snn_tutorial.page import png, show, show_gif
from snn_tutorial.plot.exchange import peers_table
from snn_tutorial.plot.networks import typical
from snn_tutorial.plot.reading import reading_gif
from snn_tutorial.plot.style import DARK, GROUND, QUANTITY, ramp
from snn_tutorial.plot.training import training_curves

HISTORY = [{"epoch": epoch, "train_accuracy": 0.5 + epoch / 10} for epoch in range(3)]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_figure_is_one_file_with_its_description_and_is_closed(tmp_path):
    image, again = (
        show(training_curves({"plain": HISTORY}, "train_accuracy"), alt="a curve", path=tmp_path / name)
        for name in ("a.png", "b.png")
    )
    assert image._repr_png_()[1]["alt"] == "a curve"
    assert image.data == again.data == (tmp_path / "a.png").read_bytes()
    assert plt.get_fignums() == []


def test_a_palette_keeps_the_ground_and_the_colours_of_lines():
    figure = training_curves({"feedback": HISTORY}, "train_accuracy")
    figure.set_facecolor("#fdfcfb")
    with PIL.Image.open(io.BytesIO(png(figure))) as picture:
        assert picture.mode == "P"
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert tuple(pixels[0]) == (0xFD, 0xFC, 0xFB)
    wanted = np.array(to_rgb(QUANTITY["loop"])) * 255
    assert np.abs(pixels - wanted).max(1).min() <= 4


def test_typical_neuron_is_the_middle_one_of_those_that_fire():
    # Number of spikes: 0, 3, 1, 2, so neurons 2, 3, 1 in their order.
    spikes = torch.tensor([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 0, 0]])
    assert typical(spikes) == 3
    assert 0 <= typical(torch.zeros(3, 4)) < 4


def test_table_of_other_libraries_has_a_reason_for_every_difference():
    rows = json.loads((ROOT / "results" / "exchange.json").read_text())["rows"]
    for line in peers_table(rows).splitlines()[2:]:
        spikes, why = (line.split("|")[k].strip() for k in (3, 5))
        assert (why == "") == spikes.startswith("0 of"), line


@pytest.fixture(scope="module")
def animation() -> bytes:
    return reading_gif(np.random.default_rng(0).integers(0, 256, (28, 28)).astype(float), "bag")


def test_an_animation_has_28_steps_and_stops(animation):
    picture = PIL.Image.open(io.BytesIO(animation))
    frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(picture)]
    assert picture.info["loop"] > 0
    assert len({frame.tobytes() for frame in frames}) == 28
    assert {frame.getpixel((2, 2)) for frame in frames} == {(255, 255, 255)}
    assert show_gif(animation, alt="a bag")._repr_mimebundle_()[1]["image/gif"]["alt"] == "a bag"


def test_every_part_of_a_figure_has_the_colours_of_a_dark_page():
    figure, axes = plt.subplots()
    axes.plot(
        [0, 1], [0, 1], "o", color=QUANTITY["loop"], markerfacecolor="white", markersize=40, markeredgewidth=9
    )
    axes.bar(0.5, 0.3, color=QUANTITY["spike"], edgecolor="black", hatch="//")
    axes.imshow(
        [[0, 1]],
        extent=(2, 3, 0, 1),
        cmap=ramp("test", (0, "white"), (0.5, "white"), (1, QUANTITY["current"])),
    )
    axes.text(0.2, 0.8, "words", color=QUANTITY["input"], size=30)
    axes.set(xlim=(-1, 4), ylim=(-1, 2))
    with PIL.Image.open(io.BytesIO(png(figure))) as picture:
        light = np.asarray(picture.convert("RGB"))
        on_dark = dark_figures.on_dark(light, picture.info["dark"])
    for color in ("loop", "spike", "current", "input"):
        for pixels, wanted in ((light, QUANTITY[color]), (on_dark, DARK[QUANTITY[color]])):
            assert np.abs(pixels - 255 * np.array(to_rgb(wanted))).max(-1).min() <= 4, (color, wanted)
    assert to_hex(on_dark[0, 0] / 255) == GROUND
    assert on_dark.min(-1).max() <= 0xDD  # nothing is white any more


def test_a_page_gets_both_variants_and_a_still_picture(tmp_path, animation):
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "a.gif").write_bytes(animation)
    (tmp_path / "page.html").write_text('<p><img alt="a bag" src="_images/a.gif" /></p>')
    dark_figures.add_variants(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    dark_figures.add_variants(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == text  # a second build adds nothing
    name = f"_images/{sha256(animation).hexdigest()}"
    for variant, ground in (("light", (255,) * 3), ("dark", (18,) * 3)):
        assert f'class="only-{variant}" loading="lazy" alt="a bag" src="{name}-{variant}.webp"' in text
        assert f'(prefers-reduced-motion: reduce)" srcset="{name}-{variant}-still.webp"' in text
        with PIL.Image.open(tmp_path / f"{name}-{variant}-still.webp") as still:
            assert still.convert("RGB").getpixel((2, 2)) == ground
        with PIL.Image.open(tmp_path / f"{name}-{variant}.webp") as moving:
            assert moving.n_frames == 28


def test_a_figure_in_an_answer_gets_both_variants_too(tmp_path):
    (tmp_path / "_images").mkdir()
    question = choice(
        ["a", "b"], "a", (training_curves({"plain": HISTORY}, "train_accuracy"), "a curve")
    ).data
    (tmp_path / "page.html").write_text(question)
    dark_figures.add_variants(tmp_path / "page.html")
    shown = (tmp_path / "page.html").read_text().partition("<style>")[0]
    assert "data:image" not in shown
    assert len(re.findall(r'<img class="only-(?:light|dark)" loading="lazy" alt="a curve"', shown)) == 2
    assert len([*(tmp_path / "_images").iterdir()]) == 2
