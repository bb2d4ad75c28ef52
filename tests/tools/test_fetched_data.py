"""Fashion-MNIST from Debian's package and torchvision, and the subset of it that the package holds."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import fetch_data
import pytest
import torch
from support import ROOT
from support_data import TINY_FILES, write

from sequential_fmnist.data import RAW, SequentialFashionMNIST, cache_dir


def fetch(tmp_path: Path, installed: Path) -> str:
    """Run the script where Debian's archive cannot be reached, and return what it printed."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    (programs / "apt-get").chmod(0o755)
    temporary = tmp_path / "a b; touch c $(touch d)"  # a name that a shell would act on
    temporary.mkdir(exist_ok=True)
    variables = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(temporary),
        "DEBIAN_FOLDER": str(installed),
    }
    done = subprocess.run(
        [ROOT / "tools" / "fetch_debian_dataset.sh"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert list(temporary.iterdir()) == []
    return done.stdout


@pytest.mark.usefixtures("tiny")
def test_debians_package_is_unpacked_into_the_cache_and_checked(tmp_path, capsys):
    installed = tmp_path / "installed"
    installed.mkdir()
    for name, content in TINY_FILES.items():
        (installed / f"{name}.gz").write_bytes(gzip.compress(content))
    assert fetch(tmp_path, installed) == ""
    assert {path.name: path.read_bytes() for path in (cache_dir() / RAW).iterdir()} == TINY_FILES
    fetch_data.main()
    assert capsys.readouterr().out.count("from the cache") == 2
    assert fetch(tmp_path, tmp_path / "not installed") == ""  # the cache has them


def test_a_failure_is_reported_and_leaves_nothing(tmp_path):
    assert "could not be fetched" in fetch(tmp_path, tmp_path / "not installed").splitlines()[-1]
    assert list(cache_dir().rglob("*ubyte*")) == []


def test_fetched_data_that_are_damaged_are_one_line():
    write(cache_dir())  # not those whose SHA-256 are known
    with pytest.raises(SystemExit, match=r"^error: .*train-images-idx3-ubyte is damaged: expected SHA-256"):
        fetch_data.main()


@pytest.mark.parametrize(("train", "count"), [(True, 600), (False, 100)])
def test_the_subset_holds_the_first_images_of_each_class(full_folder, embedded, monkeypatch, train, count):
    monkeypatch.setenv("SNN_CORE_CACHE", str(full_folder))
    full, subset = SequentialFashionMNIST(train=train, source="full"), embedded[0 if train else 1]
    first = [torch.nonzero(full.labels == label).flatten()[:count] for label in range(10)]
    chosen = torch.cat(first).sort().values
    assert torch.equal(subset.images, full.images[chosen])
    assert torch.equal(subset.labels, full.labels[chosen])
