"""Notebooks in a browser, as readers see them: no error on the page, and every control changes its picture."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from support import ROOT
from support_browser import (
    chromium,
    errors,
    lab,
    open_in_lab,
    open_in_voila,
    problems_of_controls,
    quick_copy,
    save,
    views,
    voila,
    widget_names,
)
from support_notebooks import NOTEBOOKS

SECONDS = json.loads((ROOT / "results" / "notebooks.json").read_text())["seconds"]
WITH_WIDGETS = [path for path in NOTEBOOKS if widget_names(nbformat.read(path, as_version=4))]
# JupyterLab is what most readers use, Voila is quicker to start: one chapter in the first, the others in the second.
QUICKEST = min(WITH_WIDGETS, key=lambda path: SECONDS.get(path.stem, float("inf")))
OTHERS = [path for path in WITH_WIDGETS if path != QUICKEST] or WITH_WIDGETS

#: A view with a control of each kind. A figure is text, so that each value gives a picture of its own.
EVERY_KIND = """
from ipywidgets import *
from matplotlib.figure import Figure
from snn_tutorial.widgets import explorer

def draw(**values):
    figure = Figure(figsize=(3, 1))
    figure.text(0, 0.5, " ".join(map(str, values.values())), fontsize=6)
    return figure

controls = [
    IntSlider(value=2, max=5), FloatSlider(value=1, max=1, continuous_update=False), FloatLogSlider(),
    IntRangeSlider(), SelectionSlider(options="ab"), Dropdown(options="ab"), Select(options="ab"),
    SelectMultiple(options="ab", value=["a"]), ToggleButtons(options="ab"), RadioButtons(options="ab"),
    ToggleButton(), Checkbox(), BoundedIntText(), FloatText(), Text("a"), Play(max=9, interval=300),
]
explorer(draw, {str(i): control for i, control in enumerate(controls)}, alt="values", rows=[controls[:3], controls[3:]])
"""

#: A view whose slider fails from 1 on.
FAILS = """
from ipywidgets import *
from matplotlib.figure import Figure
from snn_tutorial.widgets import explorer

def draw(n):
    return Figure(figsize=(3 / (n != 1), 1))

explorer(draw, {"n": IntSlider(max=3, description="steps")}, alt="nothing")
"""

#: A view in which one control does nothing, and another only where a box is ticked.
DEAD = """
from ipywidgets import *
from matplotlib.figure import Figure
from snn_tutorial.widgets import explorer

def draw(dead, hidden, ticked):
    return Figure(figsize=(3 + ticked * (1 + hidden), 1))

controls = {
    "dead": Dropdown(options=["a", "b"], description="dead"),
    "hidden": IntSlider(max=3, description="hidden"),
    "ticked": Checkbox(description="ticked"),
}
explorer(draw, controls, alt="nothing")
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all notebooks that the tests of this module open."""
    above = tmp_path_factory.mktemp("served")
    for path in WITH_WIDGETS:
        quick_copy(path, above)
    folder = above / "notebooks"
    for name, source in {"every_kind": EVERY_KIND, "fails": FAILS, "dead": DEAD, "stops": "1 / 0"}.items():
        save(new_notebook(cells=[new_code_cell(source)]), folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def voila_server(browser, folder, tmp_path_factory):
    with voila(folder, tmp_path_factory.mktemp("voila")) as server:
        yield server


@pytest.fixture(scope="module")
def lab_server(browser, folder, tmp_path_factory):
    with lab(folder, tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.mark.xdist_group("browser_lab")
def test_chapter_in_jupyterlab(browser, lab_server):
    page = open_in_lab(browser, lab_server, QUICKEST.name)
    assert page.locator(".jp-CodeCell").count() > 5
    assert problems_of_controls(page) == []
    page.close()


@pytest.mark.nightly
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.xdist_group(f"browser_{p.stem}"), id=p.stem) for p in OTHERS],
)
def test_chapter_in_voila(browser, voila_server, path):
    page = open_in_voila(browser, voila_server, path.name)
    assert problems_of_controls(page) == []
    page.close()


@pytest.mark.nightly
@pytest.mark.xdist_group("browser_voila")
class TestTheChecksThemselves:
    def test_every_kind_of_control_is_moved(self, browser, voila_server):
        page = open_in_voila(browser, voila_server, "every_kind.ipynb")
        assert problems_of_controls(page) == []
        assert len(views(page)) == 1
        page.close()

    def test_error_in_a_callback_is_noticed(self, browser, voila_server):
        page = open_in_voila(browser, voila_server, "fails.ipynb")
        assert errors(page) == []
        problems = problems_of_controls(page)
        assert any(problem.startswith("steps: ") and "ZeroDivisionError" in problem for problem in problems)
        page.close()

    def test_control_that_does_nothing_is_noticed(self, browser, voila_server):
        page = open_in_voila(browser, voila_server, "dead.ipynb")
        assert problems_of_controls(page) == ["dead: the picture stays as it is"]
        page.close()

    def test_error_in_a_cell_is_noticed(self, browser, voila_server):
        page = open_in_voila(browser, voila_server, "stops.ipynb")
        assert any("ZeroDivisionError" in problem for problem in problems_of_controls(page))
        page.close()
