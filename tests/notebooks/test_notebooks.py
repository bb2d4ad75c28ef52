"""What is true of every committed notebook, and that the checks which guard their runs can fail.

The chapters themselves are run by test_chapter_NN.py, one module for each, so that they run side by side.
"""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import chapters
import nbformat
import pytest
import run_notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support_notebooks import MOST_MEMORY, NOTEBOOKS, chapter, course, runner
from tqdm import tqdm

from snn_tutorial.live import bundle


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestCommitted:
    def test_views_hold_the_scripts_of_the_package(self, path):
        outputs = [
            "".join(output["data"]["text/html"])
            for cell in nbformat.read(path, as_version=4).cells
            for output in cell.get("outputs", [])
            if "snn-live" in output.get("data", {}).get("text/html", "")
        ]
        for html in outputs:
            scripts = bundle("view", re.search(r'data-view="(\w+)"', html)[1])
            assert scripts.replace("</", "<\\/") in html

    def test_has_the_outputs_of_a_complete_run(self, path):
        notebook = nbformat.read(path, as_version=4)
        runner["check_outputs"](notebook, path.name)
        assert notebook.metadata.keys() == {"kernelspec", "language_info", "snn_core"}
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert outputs
        assert all(output["output_type"] != "error" for output in outputs)
        assert all(output.get("name") != "stderr" for output in outputs)

    def test_outputs_belong_to_the_code(self, path):
        notebook = nbformat.read(path, as_version=4)
        assert not chapters.is_outdated(notebook), "run `make refresh`"


@pytest.mark.nightly
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_in_full_in_the_memory_that_binder_gives(path, full_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SNN_CORE_CACHE", str(full_folder))
    _, memory = runner["execute"](path, tmp_path / path.name, {})
    assert memory <= MOST_MEMORY


def test_misspelt_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no parameter epoch; it has epochs"):
        runner["execute"](chapter("05"), tmp_path / "05.ipynb", {"epoch": 1})


def test_cell_that_did_not_run_is_noticed():
    notebook = new_notebook(cells=[new_markdown_cell("text"), new_code_cell("a = 1", execution_count=None)])
    with pytest.raises(RuntimeError, match="a cell did not run: a = 1"):
        runner["check_outputs"](notebook, "broken")


def test_what_a_page_shows_changes_the_digest_and_a_comment_does_not(monkeypatch, tmp_path):
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    files = {
        "ours/__init__.py": "",
        "ours/module.py": "from ours.below import x\n\ndef f():\n    return x",
        "ours/below.py": "x = 1",
        "results/runs.json": "{}",
        "snn_tutorial/exercises/__init__.py": "",
        "snn_tutorial/exercises/chapter_03.py": "hint = 1",
        "snn_tutorial/exercises/chapter_04.py": "hint = 1",
    }
    cell = "from ours import module\nfrom snn_tutorial.exercises import check\nload_results(folder, 'runs')"

    def digest(cell: str = cell, **changed: str) -> str:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(changed.get(Path(name).stem, text))
        chapters._module.cache_clear()
        return chapters.source_digest(new_notebook(cells=[new_markdown_cell("# 03 A"), new_code_cell(cell)]))

    documented = files["ours/module.py"].replace("():", "():\n    'A docstring.'")
    assert digest() == digest(f"# a comment\n{cell}", module=documented, below="x = 1  # a comment")
    changed = [digest(f"{cell}\n1"), digest(module="def f():\n    return 1"), digest(below="x = 2")]
    changed += [digest(runs="[]"), digest(chapter_03="hint = 2")]
    assert digest(chapter_04="hint = 2") == digest()
    assert len({digest(), *changed}) == 6
    chapters._module.cache_clear()


EXERCISE = new_code_cell('answer = ...\ncheck("01.1", answer)', metadata={"tags": ["exercise"]})
SOLUTION = new_markdown_cell(
    "Text.\n```python\nno\n```\n<details><summary>Solution 01.1</summary>\n\n"
    '```python\nanswer = 3\ncheck("01.1", answer)\n```\n</details>'
)


def test_a_course_has_a_version_without_solutions_and_one_with_them():
    source = new_notebook(cells=[EXERCISE, SOLUTION])
    student, solved = (course[version](source) for version in ("student", "solved"))
    assert [cell.source for cell in student.cells] == [EXERCISE.source, "Text.\n```python\nno\n```"]
    assert solved.cells[0].source == 'answer = 3\ncheck("01.1", answer)'
    assert source.cells[0].source == EXERCISE.source
    for cells in ([EXERCISE], [SOLUTION]):
        with pytest.raises(ValueError, match="have solutions"):
            course["solved"](new_notebook(cells=cells))
    with pytest.raises(ValueError, match="must end with check"):
        course["solved"](new_notebook(cells=[new_code_cell("a", metadata={"tags": ["exercise"]})]))


def test_full_run_in_place_takes_no_parameters_and_knows_its_chapters(capsys):
    for argv, message in ((["--epochs", "2"], "need --out"), (["99"], "no chapter 99")):
        with pytest.raises(SystemExit):
            runner["parse"](argv)
        assert message in capsys.readouterr().err


def test_progress_is_kept_off_the_page():
    progress = StringIO()
    list(tqdm([1, 2], file=progress, disable=False))
    text = progress.getvalue()
    noise, warning = (new_output("stream", name="stderr", text=one) for one in (text, f"{text}a warning"))
    parts = [new_output("stream", name="stdout", text=text) for text in ("accuracy", " 1\n")]
    cell = new_code_cell("a", outputs=[parts[0], noise, parts[1], warning], execution_count=1)
    notebook = new_notebook(cells=[cell, new_markdown_cell("b")])
    runner["clean"](notebook)
    assert [output.text for output in cell.outputs] == ["accuracy 1\n", "a warning"]


def write_notebook(path: Path, code: str) -> Path:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=[new_code_cell(code)], metadata={"kernelspec": kernel}), path)
    return path


@pytest.mark.nightly
def test_chapters_run_side_by_side_and_a_failure_ends_the_run_and_leaves_the_old_output(tmp_path, capsys):
    names = ["01_a", "02_b", "09_alone"]
    paths = [write_notebook(tmp_path / f"{name}.ipynb", f"print('{name}')") for name in names]
    tasks = [(path, path.with_suffix(".out"), {}) for path in paths]
    assert sorted(run_notebooks.execute_all(tasks, jobs=2)) == names
    assert ["".join(nbformat.read(out, 4).cells[0].outputs[0].text).strip() for _, out, _ in tasks] == names
    assert "3 of 3 done" in capsys.readouterr().out
    write_notebook(paths[0], "1 / 0")
    tasks[0][1].write_text("old")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        run_notebooks.execute_all(tasks, jobs=2)
    assert tasks[0][1].read_text() == "old"
