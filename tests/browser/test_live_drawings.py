"""The landing page's view reads drawings: 30 scripted sets of strokes, made with the mouse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from support import ROOT
from support_live import live

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.pretrained import load
from snn_tutorial import load_results
from snn_tutorial.live.drawings import network
from snn_tutorial.live.network import network_explorer

pytestmark = pytest.mark.xdist_group("browser_live")

DRAWINGS = json.loads(Path(__file__).with_name("drawings.json").read_text())


def draw(view, strokes):
    pad = view.figure.locator("canvas.snn-pad").bounding_box()
    for stroke in strokes:
        for k, (x, y) in enumerate(stroke):
            view.page.mouse.move(pad["x"] + x / 28 * pad["width"], pad["y"] + y / 28 * pad["height"])
            if k == 0:
                view.page.mouse.down()
        view.page.mouse.up()


def test_network_of_the_landing_page_reads_drawings(browser, embedded, tmp_path):
    test = embedded[1]
    html = network_explorer(
        test.images[:1, 0].numpy(), test.labels[:1].tolist(), test.classes, Figure(), draws_first=True
    )
    read = []
    with live(browser, html, tmp_path, reduced_motion="reduce") as view:
        for drawing in DRAWINGS:
            view.figure.get_by_role("button", name="clear").click()
            view.figure.locator("canvas.snn-pad").scroll_into_view_if_needed()
            draw(view, drawing["strokes"])
            read.append(f"answers: {drawing['class']}." in view.said())
    assert len(read) == 30
    print(f"{sum(read)} of 30 drawings")
    assert sum(read) >= 20


@pytest.mark.nightly
def test_it_costs_at_most_a_point_on_the_test_images(full_folder):
    test = SequentialFashionMNIST(full_folder, train=False, verbose=False)
    with torch.no_grad():
        answers = network()(test.images / 255).argmax(1)
    recorded = load_results(ROOT / "results", "drawings")["test_accuracy"]
    assert (answers == test.labels).float().mean().item() == pytest.approx(recorded, abs=2e-4)
    assert recorded >= load("feedback")[1]["accuracy"]["test"] - 0.01
