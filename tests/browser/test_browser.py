"""Notebooks in JupyterLab, as readers see them: no error on the page, and every control changes its picture."""

from __future__ import annotations

import shutil

import pytest
from support import ROOT
from support_browser import errors, lab, open_in_lab, open_unrun_in_lab, quick_copy
from support_live import LiveView, dead_controls

LIVE = "01_spiking_neurons.ipynb"

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("browser_lab")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all notebooks that the tests of this module open."""
    above = tmp_path_factory.mktemp("served")
    quick_copy(ROOT / "notebooks" / LIVE, above)
    folder = above / "notebooks"
    shutil.copy(ROOT / "notebooks" / LIVE, folder / "as_committed.ipynb")
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
    figure = page.locator("figure", has=page.get_by_alt_text("a ring of neurons"))
    assert figure.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert figure.locator("input").count() == 0
    page.close()
