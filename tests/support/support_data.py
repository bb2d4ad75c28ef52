"""Made-up data that pass for Fashion-MNIST, in torchvision's layout."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from support import ROOT, require

from sequential_fmnist import data

#: Read before any test points the cache elsewhere: the full data are only ever read from here.
CACHE, DEBIAN_FOLDER = data.cache_dir(), Path("/usr/share/datasets/fashion-mnist")

generator = np.random.default_rng(1)
IMAGES = {True: generator.integers(0, 256, (200, 28, 28)), False: generator.integers(0, 256, (100, 28, 28))}
LABELS = {True: np.arange(200) % 10, False: np.arange(100)[::-1] // 10}


def idx(values: np.ndarray) -> bytes:
    """The IDX file of ``values``, written independently of the code under test."""
    header = struct.pack(">HBB", 0, 8, values.ndim) + b"".join(struct.pack(">i", n) for n in values.shape)
    return header + values.astype(np.uint8).tobytes()


TINY_FILES = {
    "train-images-idx3-ubyte": idx(IMAGES[True]),
    "train-labels-idx1-ubyte": idx(LABELS[True]),
    "t10k-images-idx3-ubyte": idx(IMAGES[False]),
    "t10k-labels-idx1-ubyte": idx(LABELS[False]),
}


def write(root: Path) -> Path:
    """Write the made-up files below ``root``, torchvision's, and return their folder."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in TINY_FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """Let 200 and 100 made-up pictures pass for the full data; there is no network."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in TINY_FILES.items()}
    monkeypatch.setattr(data, "FULL", digests)
    offline(monkeypatch)


def offline(monkeypatch) -> None:
    """Let every download fail at once."""

    def fail(*arguments, **options):
        raise URLError("no network in this test")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)


@pytest.fixture(scope="session")
def full_folder(tmp_path_factory) -> Path:
    """A folder in torchvision's layout that holds the real full data."""
    if all((CACHE / data.RAW / name).exists() for name in data.FULL):
        return CACHE
    require(DEBIAN_FOLDER.exists(), "the full Fashion-MNIST (Debian's package or the cache)")
    folder = tmp_path_factory.mktemp("full")
    variables = os.environ | {"SNN_CORE_CACHE": str(folder)}
    subprocess.run([ROOT / "tools" / "fetch_debian_dataset.sh"], env=variables, check=True)
    return folder
