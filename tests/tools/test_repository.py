"""What stands outside the code stays true: README, Makefile, environment, continuous integration."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from unittest.mock import MagicMock
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from support import ROOT
from support_notebooks import NOTEBOOKS

from snn_core import __version__

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
writer = runpy.run_path(str(ROOT / "tools" / "update_docs.py"))


def requirements(*extras: str) -> dict[str, str]:
    """Name of each package to its range of versions."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    pairs = (re.fullmatch(r"([\w-]+)(\[.*\])?(.*)", entry) for entries in lists for entry in entries)
    return {pair[1].lower(): pair[3] for pair in pairs}


def test_version_is_written_once():
    assert PROJECT["version"] == __version__


def test_code_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["current"].shape == (28, 8, 32)


def test_pages_show_what_is_in_results_and_each_part_once():
    parts, texts = writer["sections"](ROOT / "results"), [page.read_text() for page in writer["PAGES"]]
    assert [writer["fill"](text, parts) for text in texts] == texts
    for name in parts:
        assert sum(text.count(f"<!-- {name}: written by tools/update_docs.py -->\n") for text in texts) == 1


def test_results_come_from_the_full_data_and_say_where():
    results = json.loads((ROOT / "results" / "training.json").read_text())
    assert not results["is_subset"]
    assert results["provenance"]["torch"]
    assert results["provenance"]["processor"]


def test_conda_environment_asks_for_what_the_package_needs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = {}
    for entry in environment["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", entry).groups()
        conda[{"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}.get(name, name)] = bounds
    by_pip = dict(re.findall(r"'([\w-]+)([<>=][^']+)'", (ROOT / "postBuild").read_text()))
    needed = requirements("experiment", "notebooks")
    needed.pop("snn-core")
    assert needed.items() <= conda.items() | by_pip.items()


def test_conda_environment_has_valid_names_and_takes_torch_from_conda_alone():
    """A conda solve cannot be tried here. Torch by pip would bring CUDA into the image."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    pip = [name for entry in environment["dependencies"] if isinstance(entry, dict) for name in entry["pip"]]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert [e for e in conda if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*([<>=]=?[\d.]+(,<[\d.]+)?)?", e)] == []
    assert "pytorch-cpu" in {re.match(r"[\w-]+", entry)[0] for entry in conda}
    # With nothing for pip, postBuild's `pip install --no-deps` is all that pip does on Binder.
    assert pip == []
    installs = re.findall(r"pip install (.*)", (ROOT / "postBuild").read_text())
    assert all(line.startswith("--no-deps ") for line in installs)


def test_links_of_chapters_lead_to_files_of_this_repository():
    owner_and_name = REPOSITORY.removeprefix("https://github.com/")
    patterns = {
        "mybinder.org": rf"https://mybinder\.org/v2/gh/{owner_and_name}/main\?labpath=(\S+)",
        "colab.research": rf"https://colab\.research\.google\.com/github/{owner_and_name}/blob/main/(\S+)",
        "nbviewer.org": rf"https://nbviewer\.org/github/{owner_and_name}/blob/main/(\S+)",
    }
    for path in NOTEBOOKS:
        first = nbformat.read(path, as_version=4).cells[0].source
        (line,) = (line for line in first.splitlines() if line.startswith("Open in "))
        targets = re.findall(r"\]\((https://[^)]+)\)", line)
        assert len(targets) == len(patterns)
        for target, pattern in zip(targets, patterns.values(), strict=True):
            assert unquote(re.fullmatch(pattern, target)[1]) == f"notebooks/{path.name}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_colab_cell_clones_goes_to_the_notebooks_and_installs_what_is_above(path, monkeypatch):
    (cell,) = (c for c in nbformat.read(path, as_version=4).cells if "colab" in c.metadata.get("tags", []))
    code = TransformerManager().transform_cell(cell.source)
    shell, said, run = MagicMock(), [], MagicMock()
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    exec(code, {"get_ipython": lambda: shell})
    assert shell.mock_calls == run.mock_calls == []
    monkeypatch.setitem(sys.modules, "google.colab", MagicMock())
    run.return_value.returncode = 128
    with pytest.raises(
        SystemExit, match=f"Nothing can be fetched from {REPOSITORY}: not published yet, or no"
    ):
        exec(code, {"get_ipython": lambda: shell, "print": said.append})
    assert shell.mock_calls == []
    run.return_value.returncode = 0
    exec(code, {"get_ipython": lambda: shell, "print": said.append})
    *options, source, target = run.call_args.args[0]
    assert options == ["git", "clone", "--quiet", "--depth", "1", "--branch", "main"]
    assert source == REPOSITORY
    (cd, folder), (pip, arguments) = (call.args for call in shell.method_calls)
    assert (cd, folder) == ("cd", f"{target}/{path.parent.name}")
    # What chapter 10 needs, which Binder's postBuild fetches too: Colab's images hold the rest.
    beyond = re.findall(r"'([^']+)'", (ROOT / "postBuild").read_text()) if path.stem.startswith("10") else []
    assert (pip, shlex.split(arguments)) == ("pip", ["install", "--quiet", "..[experiment]", *beyond])


def test_every_dependency_has_a_lower_and_an_upper_bound():
    bounds = requirements("experiment", "notebooks", "site", "ablation", "dev", "cuda12", "cuda13")
    bounds.pop("snn-core")
    assert [name for name, bound in bounds.items() if ">=" not in bound or "<" not in bound] == []
