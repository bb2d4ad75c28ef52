"""The wheel works without the repository, with the other packages of this environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import ROOT, require, tracked

PACKAGES = ("snn_core", "sequential_fmnist", "snn_exchange", "snn_tutorial")

CORE = """
import sys
for package in ("IPython", "matplotlib", "safetensors", "scipy", "tensorboard", "torchvision", "tqdm"):
    sys.modules[package] = None
import torch
import snn_core
print(snn_core.__file__, int(snn_core.neuron.IFNode()(torch.ones(3, 2)).sum()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The unpacked wheel that `pip install ..` makes on Colab, from what is in version control."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "copy" / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".."]
    done = subprocess.run(pip, cwd=folder / "copy" / "notebooks", capture_output=True, text=True, check=False)
    offline = "No matching distribution" in done.stderr
    require(done.returncode == 0 or not offline, "the index of Python packages")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "unpacked")
    return folder / "unpacked"


def run(wheel: Path, *arguments: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=wheel, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_every_file_of_the_packages(wheel):
    files = {name for name in tracked() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    assert files <= {str(path.relative_to(wheel)) for path in wheel.rglob("*")}


def test_the_core_uses_three_packages_and_no_others(wheel):
    assert run(wheel, "-c", CORE).split() == [str(wheel / "snn_core" / "__init__.py"), "6"]


@pytest.mark.parametrize(
    ("package", "module", "extra"),
    [
        ("matplotlib", "snn_tutorial", "notebooks"),
        ("scipy", "sequential_fmnist.experiments.ablation", "ablation"),
        ("nir", "snn_exchange", "exchange"),
    ],
)
def test_what_comes_with_an_extra_names_it(wheel, package, module, extra):
    use = f"import {module} as used; used.__name__ == 'snn_exchange' and used.read_nir('net.nir')"
    code = f"import sys; sys.modules[{package!r}] = None; {use}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=wheel, capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert package in last
    assert last.endswith(f"pip install 'snn-core[{extra}]'")


def test_commands_find_shipped_weights_and_images(wheel, tmp_path):
    run(wheel, "-m", "snn_exchange", "plain", str(tmp_path / "net.nir"))
    options = "--model plain --epochs 1 --source embedded --backend torch --output-dir"
    run(wheel, "-m", "sequential_fmnist", *options.split(), str(tmp_path))
    assert (tmp_path / "net.nir").exists()
    assert (tmp_path / "latest.pt").exists()
