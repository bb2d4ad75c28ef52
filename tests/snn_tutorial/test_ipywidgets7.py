"""Widgets work with the ipywidgets of Colab's images too, which is a major version behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import ROOT, require

VERSION = "7.7.1"
MODULES = sorted(path.stem for path in (ROOT / "snn_tutorial" / "widgets").glob("[!_]*.py"))
RUN = f"""
import sys, ipywidgets, pytest
assert ipywidgets.__version__ == "{VERSION}", ipywidgets.__file__
# That version warns of itself, since what it stands on has moved on.
sys.exit(pytest.main(["-q", "-W", "ignore::DeprecationWarning", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that imports ipywidgets 7."""
    folder = str(tmp_path_factory.mktemp("ipywidgets7"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    done = subprocess.run(
        [*pip, f"ipywidgets=={VERSION}", "ipython_genutils"], capture_output=True, check=False
    )
    require(done.returncode == 0, "the index of Python packages")
    return os.environ | {"PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])}


def test_every_widget_has_a_module_of_tests():
    tests = {path.stem for path in (ROOT / "tests" / "snn_tutorial").glob("test_widgets_*.py")}
    assert {f"test_widgets_{name}" for name in MODULES} <= tests


@pytest.mark.nightly
def test_tests_of_all_widgets_pass(old):
    tests = [f"tests/snn_tutorial/test_widgets_{name}.py" for name in MODULES]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *tests], cwd=ROOT, env=old, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " skipped" not in done.stdout
