"""The five floors: imports lead downward only, and the core needs three packages, as pyproject.toml demands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--no-cache"],
        cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_imports_lead_downward_only():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "statement", "found"),
    [
        (
            "snn_core/cells.py",
            "from snn_exchange import to_nir",
            "snn_core is not allowed to import snn_exchange",
        ),
        (
            "snn_core/kernels/plan.py",
            "from snn_core import state",
            "kernels is not allowed to import snn_core.state",
        ),
        (
            "snn_core/state.py",
            "from snn_core.kernels.cpu import launch",
            "Illegal imports of protected package",
        ),
    ],
)
def test_an_import_upward_is_found(tmp_path, file, statement, found):
    for package in ("snn_core", "sequential_fmnist", "snn_exchange", "experiments", "snn_tutorial"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=all_but_sources)
    with (tmp_path / file).open("a") as changed:
        changed.write(f"{statement}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert found in done.stdout


def all_but_sources(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not (name.endswith(".py") or Path(folder, name).is_dir())}
