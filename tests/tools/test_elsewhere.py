"""Chapters on Colab and on Binder, imitated: their packages in an environment of its own, a local clone as GitHub.

Not imitated are Colab's page, Binder's image and the solver of conda.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from chapters import COLAB, URLS, has_tag
from packaging.requirements import Requirement
from support import ROOT, require, tracked
from support_notebooks import QUICK, chapter, runner

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("elsewhere")]

CHAPTERS = ("01", "05", "10")
#: What Colab has of the packages that chapters need: github.com/googlecolab/backend-info at a724079, August 2026.
IMAGE = {
    "h5py": "3.16.0",
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "ipywidgets": "7.7.1",
    "jupyter_client": "7.4.9",
    "matplotlib": "3.10.0",
    "numba": "0.61.2",
    "numpy": "2.1.3",
    "pillow": "11.3.0",
    "pip": "24.1.2",
    "safetensors": "0.8.0",
    "scipy": "1.16.3",
    "setuptools": "75.2.0",
    "tabulate": "0.9.0",
    "tensorboard": "2.20.0",
    "torch": "2.11.0",
    "torchvision": "0.26.0",
    "tqdm": "4.67.3",
    "traitlets": "5.7.1",
}
#: What conda calls otherwise than pip.
CONDA = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}


def run(*command: object, **options: object) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def environment(folder: Path, version: str, packages: list[str]) -> Path:
    """Make a virtual environment with a version of Python and these packages; return its interpreter."""
    uv = (sys.executable, "-m", "uv")
    found = subprocess.run([*uv, "python", "find", "--no-python-downloads", version], capture_output=True)
    require(found.returncode == 0, f"Python {version}")
    run(*uv, "venv", "--seed", "--python", found.stdout.decode().strip(), folder)
    install = (*uv, "pip", "install", "--python", folder / "bin" / "python", *packages)
    try:
        run(*install, env=os.environ | {"UV_TORCH_BACKEND": "cpu"})
    except AssertionError:  # PyTorch's own index cannot be reached
        run(*install)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def github(tmp_path_factory) -> Path:
    """A repository whose branch main holds the files in version control as they are now."""
    folder = tmp_path_factory.mktemp("github")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    run(*git, "init", "--quiet", "--initial-branch", "main", cwd=folder)
    run(*git, "add", "--all", cwd=folder)
    run(*git, "commit", "--quiet", "--message", "all", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def colab(github, tmp_path_factory) -> tuple[Path, Path]:
    """The folder /content of an imitation of Colab, and a folder with the specification of its kernel."""
    folder = tmp_path_factory.mktemp("colab")
    python = environment(folder / "venv", "3.13", [f"{name}=={version}" for name, version in IMAGE.items()])
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import google.colab")
    variables = {
        "IPYTHONDIR": str(folder / "ipython"),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "SNN_CORE_CACHE": str(folder / "cache"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{github.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": URLS["Repository"],
    }
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Colab", "language": "python", "env": variables}
    (folder / "jupyter" / "kernels" / "colab").mkdir(parents=True)
    (folder / "jupyter" / "kernels" / "colab" / "kernel.json").write_text(json.dumps(spec))
    (folder / "content").mkdir()
    return folder / "content", folder / "jupyter"


@pytest.mark.parametrize("number", CHAPTERS)
def test_a_chapter_runs_on_colab_and_leaves_its_torch(number, colab, monkeypatch):
    content, specifications = colab
    monkeypatch.setenv("JUPYTER_PATH", str(specifications))
    notebook = nbformat.read(chapter(number), as_version=4)
    for cell in notebook.cells:
        if has_tag(cell, COLAB):
            cell.source = cell.source.replace("/content", str(content))
    source, executed = content / f"{number}.ipynb", content / f"{number}_executed.ipynb"
    nbformat.write(notebook, source)
    parameters = QUICK.get(chapter(number).stem, {})
    options = {"kernel_name": "colab", "cwd": content, "progress_bar": False}
    papermill.execute_notebook(source, executed, parameters, **options)
    notebook = nbformat.read(executed, as_version=4)
    runner["check_outputs"](notebook, number)
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    assert f", torch {IMAGE['torch']}" in "".join(texts)


def test_chapters_run_on_binder(github, tmp_path):
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = {
        one.name: one for one in (Requirement(entry.replace("python=", "python==")) for entry in entries)
    }
    version = str(found.pop("python").specifier).removeprefix("==")
    packages = [f"{CONDA.get(name, name)}{one.specifier}" for name, one in found.items()]
    python = environment(tmp_path / "venv", version, packages)
    variables = os.environ | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "SNN_CORE_CACHE": str(tmp_path / "cache"),
    }
    run("git", "clone", "--quiet", github.as_uri(), tmp_path / "home")
    run("./postBuild", cwd=tmp_path / "home", env=variables)
    command = (python, "tools/run_notebooks.py", "--out", tmp_path / "out", "--epochs", 1, *CHAPTERS)
    run(*command, cwd=tmp_path / "home", env=variables)
