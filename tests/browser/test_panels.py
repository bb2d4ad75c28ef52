"""Panels of ipywidgets in JupyterLab: a press of the button has the kernel compute with the reader's settings."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from support import ROOT
from support_browser import RUN, errors, lab, open_unrun_in_lab, save

SETUP = f"""import matplotlib.pyplot as plt
from snn_tutorial import panels, show
from snn_tutorial.interact import interact


def draw(level=1.0):
    figure, axes = plt.subplots()
    axes.axhline(level)
    return show(figure, alt="a line")


evidence_dir = {str(ROOT / "results")!r}"""
PANELS = [
    "panels.recall_panel(evidence_dir)",
    "interact(draw, level=(0.0, 2.0, 0.5))",
]

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("browser_lab")]


def press(panel, button: str, answer) -> None:
    """Press a button until the kernel has answered: what is pressed before the page is connected to it is lost."""
    from playwright.sync_api import TimeoutError

    for attempt in range(4):
        panel.get_by_role("button", name=button).click()
        try:
            return answer.wait_for(timeout=RUN / 4)
        except TimeoutError:
            if attempt == 3:
                raise


def test_each_panel_answers_with_the_settings_of_the_reader(browser, tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    cells = [new_code_cell(code) for code in (SETUP, *PANELS)]
    save(new_notebook(cells=cells), folder / "panels.ipynb")
    with lab(folder, tmp_path / "lab") as server:
        page = open_unrun_in_lab(browser, server, "panels.ipynb")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        recall, slider = (page.locator(".widget-interact").nth(k) for k in range(2))
        slider.wait_for(timeout=RUN)
        press(recall, "Train", recall.locator("td", has_text="stateful synapse"))
        before = slider.locator("img").get_attribute("src")
        slider.locator(".widget-readout").fill("0.5")
        page.keyboard.press("Enter")
        page.wait_for_function(
            """known => { const now = document.querySelectorAll(".widget-interact")[1].querySelector("img");
                return now && now.src !== known; }""",
            arg=before,
            timeout=RUN,
        )
        assert [text for text in errors(page) if "batch/s" not in text] == []
        page.close()
