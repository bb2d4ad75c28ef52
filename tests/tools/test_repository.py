"""What stands outside the code works: README, the environments of Binder and Colab, what is generated."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from unittest.mock import MagicMock
from urllib.parse import unquote

import chapters
import nbformat
import pytest
import refresh
import tables
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from support import ROOT, tracked
from support_notebooks import NOTEBOOKS

from snn_core import __version__

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


def test_package_and_citation_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert __version__ == citation["version"]
    assert citation["repository-code"] == REPOSITORY


def test_code_of_the_readme_prints_what_stands_below_it(capsys):
    ((code, output),) = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == output


def test_pages_show_what_is_in_results():
    for name, parts in tables.pages().items():
        text = (ROOT / name).read_text()
        assert refresh.fill(text, parts) == text, f"{name}: run `make refresh`"


@pytest.mark.parametrize("mark", ["<!-- times: written", "<!-- end of times", "<!-- end of speed"])
def test_a_misspelt_mark_deletes_nothing(mark):
    with pytest.raises(ValueError, match="lacks <!--"):
        refresh.fill(README.replace(mark, mark.replace("s", "z")), {"times": "", "speed": ""})


def requirements(*extras: str) -> dict[str, Requirement]:
    """Each package that the project needs, by its name."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    found = {one.name.lower(): one for entries in lists for one in map(Requirement, entries)}
    return {name: one for name, one in found.items() if name != PROJECT["name"]}


def test_binder_gets_what_the_chapters_need_and_torch_from_conda_alone():
    """A conda solve cannot be tried here. Torch by pip would bring CUDA into the image."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    conda = [Requirement(entry.replace("python=3", "python==3")) for entry in environment["dependencies"]]
    other_names = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}
    installed = {other_names.get(one.name, one.name): one.specifier for one in conda}
    script = (ROOT / "postBuild").read_text()
    assert all(line.startswith("--no-deps ") for line in re.findall(r"pip install (.*)", script))
    installed |= {one.name: one.specifier for one in map(Requirement, re.findall(r"'(.+?)'", script))}
    needed = {name: one.specifier for name, one in requirements("experiment", "notebooks").items()}
    assert needed.items() <= installed.items()


def test_the_address_of_the_repository_is_that_of_pyproject():
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        before = nbformat.writes(notebook)
        chapters.address(notebook, path)
        assert nbformat.writes(notebook) == before, "run `make refresh`"
        for link in re.findall(r"\]\((https://(?:colab|mybinder)[^)]+ipynb)\)", notebook.cells[0].source):
            assert unquote(link).endswith(f"notebooks/{path.name}")
    name = REPOSITORY.removeprefix("https://github.com/")
    texts = {file: (ROOT / file).read_bytes() for file in tracked()}
    generated = {*tables.pages(), *(f"notebooks/{path.name}" for path in NOTEBOOKS)}
    by_hand = {file for file, text in texts.items() if name.encode() in text} - generated
    assert by_hand == {"pyproject.toml", "CITATION.cff"}


def test_commands_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text() if page.name != "CHANGELOG.md" else ""
        assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets, page
        for module in re.findall(r"python3? -m ([\w.]+)", text):
            assert importlib.util.find_spec(module), (page, module)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_colab_cell_clones_goes_to_the_notebooks_and_installs_what_is_above(path, monkeypatch):
    (cell,) = (c for c in nbformat.read(path, as_version=4).cells if "colab" in c.metadata.get("tags", []))
    code = TransformerManager().transform_cell(cell.source)
    shell, said, run = MagicMock(), [], MagicMock()
    names = {"get_ipython": lambda: shell, "print": said.append}
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    exec(code, names)
    assert shell.mock_calls == run.mock_calls == []
    monkeypatch.setitem(sys.modules, "google.colab", MagicMock())
    run.return_value.returncode = 128
    with pytest.raises(SystemExit, match=f"Nothing can be fetched from {REPOSITORY}: not published yet"):
        exec(code, names)
    assert shell.mock_calls == []
    run.return_value.returncode = 0
    exec(code, names)
    *options, source, target = run.call_args.args[0]
    assert options == ["git", "clone", "--quiet", "--depth", "1", "--branch", "main"]
    assert source == REPOSITORY
    (cd, folder), (pip, arguments) = (call.args for call in shell.method_calls)
    assert (cd, folder) == ("cd", f"{target}/{path.parent.name}")
    # What chapter 10 needs, which Binder's postBuild fetches too: Colab's images hold the rest.
    beyond = re.findall(r"'([^']+)'", (ROOT / "postBuild").read_text()) if path.stem.startswith("10") else []
    assert (pip, shlex.split(arguments)) == ("pip", ["install", "--quiet", "..[experiment]", *beyond])
