"""The wheel works without the repository: in an environment of its own, with the other packages of this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from support import ROOT, require, tracked

PACKAGES = ("snn_core", "sequential_fmnist", "snn_exchange", "experiments", "snn_tutorial")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

USE = """
import sys
for package in {absent!r}:
    sys.modules[package] = None
import torch
import snn_core
import snn_exchange.__main__
y_seq = snn_core.neuron.MultiStepIFNode()(torch.ones(3, 2))
offered = {{"functional", "layer", "neuron", "surrogate"}} & set(dir(snn_core))
print(snn_core.__file__, int(y_seq.sum()), *sorted(offered))
"""

SHIPPED = """
from sequential_fmnist import pretrained
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.evaluate import evaluate
test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
for kind in ("plain", "stateful-synapse", "feedback"):
    net, card = pretrained.load(kind)
    print(evaluate(net, test)[1] > 0.75)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that `pip install ..` makes on Colab, from what is in version control."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "copy" / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".."]
    done = subprocess.run(pip, cwd=folder / "copy" / "notebooks", capture_output=True, text=True, check=False)
    require(
        done.returncode == 0 or "No matching distribution" not in done.stderr, "the index of Python packages"
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "copy")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Runs a program of an environment that holds the wheel, and other packages, but not this repository."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    # A folder on the path, whose own .pth files, one of which names this repository, are not read.
    (Path(own) / "others.pth").write_text(sysconfig.get_path("purelib"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(folder / "bin" / program), *arguments]
        return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return call


def test_wheel_holds_every_file_of_the_packages(wheel):
    files = {name for name in tracked() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    assert len(files) > 60
    assert files <= set(zipfile.ZipFile(wheel).namelist())


def test_the_core_asks_for_three_packages_and_uses_no_others(run):
    names = sorted(entry.partition(">")[0] for entry in PROJECT["dependencies"])
    assert names == ["numba", "numpy", "torch"]
    absent = ("IPython", "matplotlib", "safetensors", "tensorboard", "torchvision", "tqdm")
    done = run("python", "-c", USE.format(absent=absent))
    assert done.returncode == 0, done.stderr
    where, spikes, *modules = done.stdout.split()
    assert ROOT not in Path(where).parents
    assert (spikes, modules) == ("6", ["functional", "layer", "neuron", "surrogate"])


@pytest.mark.nightly
def test_shipped_weights_and_images_are_found(run):
    done = run("python", "-c", SHIPPED)
    assert done.stdout.split() == ["True"] * 3, done.stderr


@pytest.mark.nightly
def test_the_command_trains(run, tmp_path):
    arguments = [
        "--model",
        "plain",
        "--epochs",
        "1",
        "--source",
        "embedded",
        "--output-dir",
        str(tmp_path / "run"),
    ]
    done = run("sequential-fmnist", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "latest.pt").exists()


def test_the_command_exports(run, tmp_path):
    done = run("snn-exchange", "plain", str(tmp_path / "net.nir"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net.nir").exists()
