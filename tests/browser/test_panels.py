"""Panels of ipywidgets in JupyterLab: a press of the button has the kernel compute with the reader's settings."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from support import ROOT
from support_browser import RUN, errors, lab, open_unrun_in_lab, save

SETUP = f"""from sequential_fmnist.data import SequentialFashionMNIST
from snn_tutorial import panels

train, test = (SequentialFashionMNIST(train=part, source="embedded", verbose=False) for part in (True, False))
evidence_dir = {str(ROOT / "results")!r}"""
PANELS = [
    "panels.training_panel(train, test)",
    "panels.recall_panel(evidence_dir)",
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
        training, recall = (page.locator(".widget-interact").nth(k) for k in range(2))
        recall.wait_for(timeout=RUN)
        training.get_by_label("network").select_option("plain")
        training.locator(".widget-readout").nth(1).fill("2")
        page.keyboard.press("Enter")
        press(training, "Train", training.locator("img"))
        press(recall, "Train", recall.locator("td", has_text="stateful synapse"))
        assert [text for text in errors(page) if "batch/s" not in text] == []
        page.close()
