"""Notebooks in JupyterLab, as readers see them: no error on the page, and every control changes its picture."""

from __future__ import annotations

import shutil

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from support import ROOT
from support_browser import (
    RUN,
    errors,
    lab,
    open_in_lab,
    open_unrun_in_lab,
    problems_of_controls,
    quick_copy,
    save,
    views,
)
from support_live import LiveView, dead_controls

LIVE, WITH_WIDGET = "01_spiking_neurons.ipynb", "09_inside_the_fused_kernels.ipynb"

_EXPLORER = """
from ipywidgets import *
from matplotlib.figure import Figure
from snn_tutorial.widgets import explorer
"""
#: A view whose slider fails from 1 on, and one in which a control does nothing, and another only with a third.
FAILS, DEAD = (
    f"{_EXPLORER}\n{source}"
    for source in (
        """
def draw(n):
    return Figure(figsize=(3 / (n != 1), 1))

explorer(draw, {"n": IntSlider(max=3, description="steps")}, alt="nothing")
""",
        """
def draw(dead, hidden, choice):
    return Figure(figsize=(3 + (choice == "b") * (1 + hidden), 1))

controls = {
    "dead": Dropdown(options=["a", "b"], description="dead"),
    "hidden": IntSlider(max=3, description="hidden"),
    "choice": Dropdown(options=["a", "b"], description="choice"),
}
explorer(draw, controls, alt="nothing")
""",
    )
)

pytestmark = pytest.mark.xdist_group("browser_lab")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all notebooks that the tests of this module open."""
    above = tmp_path_factory.mktemp("served")
    for name in (LIVE, WITH_WIDGET):
        quick_copy(ROOT / "notebooks" / name, above)
    folder = above / "notebooks"
    shutil.copy(ROOT / "notebooks" / LIVE, folder / "as_committed.ipynb")
    for name, source in {"fails": FAILS, "dead": DEAD, "stops": "1 / 0"}.items():
        save(new_notebook(cells=[new_code_cell(source)]), folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    with lab(folder, tmp_path_factory.mktemp("lab")) as running:
        yield running


def test_views_work_in_a_chapter_that_was_run(browser, server):
    page = open_in_lab(browser, server, LIVE)
    assert page.locator(".jp-CodeCell").count() > 5
    assert errors(page) == []
    assert dead_controls(LiveView(page, [])) == []
    page.close()


def test_chapter_that_nobody_has_run_or_trusted_shows_the_picture(browser, server):
    page = open_unrun_in_lab(browser, server, "as_committed.ipynb")
    figure = page.locator(
        "figure", has=page.get_by_alt_text("input, membrane potential and spikes of one neuron")
    )
    assert figure.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert figure.locator("input").count() == 0
    page.close()


@pytest.mark.nightly
def test_widget_that_measures_on_the_readers_machine(browser, server):
    page = open_in_lab(browser, server, WITH_WIDGET)
    page.locator(".widget-output img").wait_for(
        state="attached", timeout=RUN
    )  # the live view above it comes first
    assert problems_of_controls(page) == []
    page.close()


@pytest.mark.nightly
class TestTheChecksThemselves:
    def test_error_in_a_callback_is_noticed(self, browser, server):
        page = open_in_lab(browser, server, "fails.ipynb")
        assert errors(page) == []
        problems = problems_of_controls(page)
        assert any(problem.startswith("steps: ") and "ZeroDivisionError" in problem for problem in problems)
        page.close()

    def test_control_that_does_nothing_is_noticed(self, browser, server):
        page = open_in_lab(browser, server, "dead.ipynb")
        assert problems_of_controls(page) == ["dead: the picture stays as it is"]
        assert len(views(page)) == 1
        page.close()

    def test_error_in_a_cell_is_noticed(self, browser, server):
        page = open_in_lab(browser, server, "stops.ipynb")
        assert any("ZeroDivisionError" in problem for problem in problems_of_controls(page))
        page.close()
