"""The five floors: imports lead downward only, and the core needs three packages, as pyproject.toml demands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import ROOT


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--no-cache"],
        cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_imports_lead_downward_only():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


def test_an_import_upward_is_found(tmp_path):
    for package in ("snn_core", "sequential_fmnist", "snn_exchange", "experiments", "snn_tutorial"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "snn_core" / "__init__.py").write_text("from snn_exchange import to_nir\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "snn_core is not allowed to import snn_exchange" in done.stdout
