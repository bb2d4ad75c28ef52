"""Every notebook runs in quick mode, and the checks that guard the runs can fail."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support import ROOT

from snn_core.network import NETWORKS

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
runner = runpy.run_path(str(ROOT / "scripts" / "run_notebooks.py"))


def test_notebooks_are_numbered():
    assert NOTEBOOKS
    assert all(path.name[:2].isdigit() and path.name[2] == "_" for path in NOTEBOOKS)


def test_quick_run_writes_results_and_figures_and_leaves_the_repository_alone(tmp_path):
    before = {
        path: path.read_bytes() for folder in ("results", "figures", "notebooks") for path in files(folder)
    }
    script = ROOT / "scripts" / "run_notebooks.py"
    argv = [sys.executable, script, "--epochs", "2", "--source", "embedded", "--out", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [path.name for path in NOTEBOOKS]

    training = json.loads((tmp_path / "results" / "training.json").read_text())
    assert list(training["networks"]) == list(NETWORKS)
    assert training["is_subset"]
    assert training["provenance"]["torch"]
    for network in training["networks"].values():
        assert len(network["history"]) == 2
        assert network["history"][1]["test_accuracy"] > 0.2  # chance is 0.1
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"train_loss.png", "train_accuracy.png", "test_accuracy.png"} <= names
    assert {path: path.read_bytes() for path in before} == before


def files(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestCommitted:
    def test_has_the_outputs_of_a_complete_run(self, path):
        notebook = nbformat.read(path, as_version=4)
        runner["check_outputs"](notebook, path.name)
        assert "papermill" not in notebook.metadata
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert outputs
        assert all(output["output_type"] != "error" for output in outputs)
        assert all(output.get("name") != "stderr" for output in outputs)

    def test_has_one_parameters_cell_and_no_injected_one(self, path):
        tags = [
            tag for cell in nbformat.read(path, as_version=4).cells for tag in cell.metadata.get("tags", [])
        ]
        assert tags.count("parameters") == 1
        assert "injected-parameters" not in tags

    def test_equals_its_twin_for_review(self, path):
        notebook, twin = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
        assert [(c.cell_type, c.source) for c in notebook.cells] == [
            (c.cell_type, c.source) for c in twin.cells
        ]

    def test_opens_with_title_goal_and_time_and_ends_with_what_was_learned(self, path):
        cells = nbformat.read(path, as_version=4).cells
        assert cells[0].source.startswith(f"# {path.name[:2]} ")
        assert "**Goal.**" in cells[0].source
        assert "**Time.**" in cells[0].source
        assert "## What was learned" in cells[-1].source
        assert cells[-1].source.count("<summary>Solution") == 3

    def test_every_picture_has_a_caption_below(self, path):
        cells = nbformat.read(path, as_version=4).cells
        pictures = [
            index
            for index, cell in enumerate(cells)
            if any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
        ]
        assert pictures
        for index in pictures:
            assert cells[index + 1].source.startswith("*"), cells[index].source


def test_misspelt_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no parameter epoch; it has epochs"):
        runner["check_parameters"](NOTEBOOKS[0], {"epoch": 1})


def test_cell_that_did_not_run_is_noticed():
    notebook = new_notebook(cells=[new_markdown_cell("text"), new_code_cell("a = 1", execution_count=None)])
    with pytest.raises(RuntimeError, match="a cell did not run: a = 1"):
        runner["check_outputs"](notebook, "broken")


def test_error_inside_a_widget_is_noticed():
    error = {"output_type": "error", "ename": "ValueError", "evalue": "bad"}
    state = {"state": {"id": {"model_name": "OutputModel", "state": {"outputs": [error]}}}}
    notebook = new_notebook(metadata={"widgets": {"application/vnd.jupyter.widget-state+json": state}})
    with pytest.raises(RuntimeError, match="a widget failed: ValueError: bad"):
        runner["check_outputs"](notebook, "broken")


def test_progress_and_compilation_are_kept_off_the_page():
    bar = new_output("display_data", data={runner["WIDGET"]: {"model_id": "x"}, "text/plain": "0%"})
    compiling = new_output("stream", name="stderr", text=f"{runner['COMPILING']}\n")
    result = new_output("stream", name="stdout", text="accuracy 1\n")
    notebook = new_notebook(
        cells=[new_code_cell("a", outputs=[bar, compiling, result]), new_markdown_cell("b")]
    )
    runner["clean"](notebook)
    assert notebook.cells[0].outputs == [result]


def test_failing_notebook_leaves_the_old_output(tmp_path):
    broken = tmp_path / "01_broken.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")], metadata={"kernelspec": kernel}), broken)
    output = tmp_path / "out.ipynb"
    output.write_text("old")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        runner["execute"](broken, output, {})
    assert output.read_text() == "old"
