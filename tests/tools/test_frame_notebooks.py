"""What tools/frame_notebooks.py folds away, and that it does so the same way every time."""

from __future__ import annotations

import copy
import runpy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from support import ROOT
from support_notebooks import NOTEBOOKS

framer = runpy.run_path(str(ROOT / "tools" / "frame_notebooks.py"))

FOLDED = {
    "imports": "import torch\nfrom snn_tutorial import show",
    "imports and versions": "import torch\n\nprint_versions('numpy')",
    "a figure": "show(draw.traces(trace(net, x), title='a'), alt='b')",
    "an animation": "show_gif(gif, alt='b')",
    "results": "result = {'a': 1}\nsave_results(results_dir, 'chapter_01', result)",
}
OPEN = {
    "a computation": "y = net(x)",
    "a figure and what it computes": "y = net(x)\nshow(draw.traces(y), alt='b')",
    "an import and a widget": "from snn_tutorial.live.neuron import driven_neuron\n\ndriven_neuron()",
    "what other objects show": "plt.show()",
    "a line for IPython": "%pip install x",
    "nothing": "",
}


def folded(cell):
    framer["fold"](cell)
    hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    assert hidden == ("hide-input" in cell.metadata.get("tags", []))
    return hidden


@pytest.mark.parametrize("source", FOLDED.values(), ids=FOLDED)
def test_set_up_figures_and_records_are_folded(source):
    assert folded(new_code_cell(source))


@pytest.mark.parametrize("source", OPEN.values(), ids=OPEN)
def test_what_is_to_be_read_stays_open(source):
    cell = new_code_cell(source)
    assert not folded(cell)
    assert not cell.metadata


@pytest.mark.parametrize("tag", ["parameters", "exercise", "colab"])
def test_cells_to_change_stay_open(tag):
    cell = new_code_cell("import torch", metadata={"tags": [tag]})
    assert not folded(cell)
    assert cell.metadata == {"tags": [tag]}


def test_a_fold_goes_with_its_reason_and_leaves_other_marks_alone():
    cell = new_code_cell("import torch", metadata={"tags": ["mine"], "jupyter": {"outputs_hidden": True}})
    assert folded(cell)
    assert cell.metadata["tags"] == ["mine", "hide-input"]
    cell.source = "a = 1"
    assert not folded(cell)
    assert cell.metadata == {"tags": ["mine"], "jupyter": {"outputs_hidden": True}}
    assert not framer["is_folded"](new_markdown_cell("import torch"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_has_folds_and_framing_it_twice_changes_nothing(path):
    notebook = nbformat.read(path, as_version=4)
    framer["frame"](notebook, path, NOTEBOOKS)
    once = copy.deepcopy(notebook)
    framer["frame"](notebook, path, NOTEBOOKS)
    assert notebook == once
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    hidden = [cell for cell in code if "hide-input" in cell.metadata.get("tags", [])]
    assert 2 <= len(hidden) < len(code) / 2
