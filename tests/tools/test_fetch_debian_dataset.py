"""tools/fetch_debian_dataset.sh: Debian's package into the cache, and no failure that ends `make data`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import ROOT, require
from support_data import TINY_FILES, assert_is_tiny, cached, gz_names, quiet, write

from sequential_fmnist import sources

pytestmark = pytest.mark.usefixtures("nothing_outside")


@pytest.fixture
def programs(tmp_path) -> Path:
    """A folder of programs that are found first: Debian's package is not installed, and there is no network."""
    require(shutil.which("dpkg-deb") is not None, "dpkg-deb")
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "dpkg", "exit 1")
    program(folder, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def package(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    write(tree / sources.DEBIAN_FOLDER.name, gz_names())
    (tree / "usr/share/datasets").mkdir(parents=True)
    (tree / sources.DEBIAN_FOLDER.name).rename(tree / "usr/share/datasets/fashion-mnist")
    (tree / "DEBIAN").mkdir()
    control = (
        "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\nMaintainer: no\nDescription: -\n"
    )
    (tree / "DEBIAN/control").write_text(control)
    made = tmp_path / "package.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", tree, made], check=True, stdout=subprocess.DEVNULL)
    return made


def fetch(tmp_path: Path, programs: Path, **variables: str) -> str:
    # A name that a shell would act on.
    temporary = tmp_path / "a b; touch c $(touch d)"
    temporary.mkdir(exist_ok=True)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "tools" / "fetch_debian_dataset.sh"],
        env=os.environ | {"PATH": path, "TMPDIR": str(temporary)} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert list(temporary.iterdir()) == []
    return done.stdout


def test_the_package_is_unpacked_once_into_the_cache(tiny, tmp_path, programs):
    program(programs, "apt-get", f'cp "{package(tmp_path)}" x.deb; echo "$@" >> "{tmp_path}/calls"')
    assert fetch(tmp_path, programs) == ""
    assert cached(tmp_path) == gz_names()
    for train, split in ((True, "training"), (False, "test")):
        dataset = quiet(train=train, source="full")
        assert_is_tiny(dataset, split)
        assert dataset.source.startswith("the cache")
    fetch(tmp_path, programs)
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.endswith(" download dataset-fashion-mnist")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"SNN_CORE_CACHE": "{}/a b"}, "a b"),
        ({"SNN_CORE_CACHE": "", "XDG_CACHE_HOME": "{}/x"}, "x/snn_core"),
        ({"SNN_CORE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "{}"}, ".cache/snn_core"),
    ],
)
def test_the_cache_folder_is_that_of_the_package(tmp_path, programs, monkeypatch, variables, folder):
    program(programs, "apt-get", f'cp "{package(tmp_path)}" x.deb')
    variables = {name: value.format(tmp_path) for name, value in variables.items()}
    fetch(tmp_path, programs, **variables)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sources.cache_dir() == tmp_path / folder
    assert {path.name for path in (tmp_path / folder).iterdir()} == gz_names().keys()


@pytest.mark.parametrize("where", ["installed", "cached", "cached as .gz"])
def test_nothing_is_fetched_that_is_there(tmp_path, programs, where):
    program(programs, "apt-get", f': > "{tmp_path}/called"')
    if where == "installed":
        program(programs, "dpkg", "exit 0")
    else:
        write(tmp_path / "cache", gz_names() if "gz" in where else TINY_FILES)
    assert fetch(tmp_path, programs) == ""
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    "script",
    [
        "echo first; echo 'E: no network' >&2; exit 100",
        "exit 1",
        "exit 127",
        "echo this is no package > x.deb",
        ":",
    ],
)
def test_a_failure_is_reported_and_leaves_nothing(tmp_path, programs, script):
    program(programs, "apt-get", script)
    assert "could not be fetched" in fetch(tmp_path, programs).splitlines()[-1]
    assert cached(tmp_path) == {}
    program(programs, "apt-get", f'cp "{package(tmp_path)}" x.deb')
    (tmp_path / "cache").write_text("a file where a folder would have to be")
    assert "could not be fetched" in fetch(tmp_path, programs)


def test_make_data_asks_debian_first():
    makefile = (ROOT / "Makefile").read_text()
    assert "\n\ttools/fetch_debian_dataset.sh\n\t$(BIN)/python -m sequential_fmnist.data\n" in makefile
