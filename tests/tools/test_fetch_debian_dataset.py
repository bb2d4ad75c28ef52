"""tools/fetch_debian_dataset.sh: Debian's package into the cache, and no failure that ends `make data`."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import fetch_data
import pytest
from support import ROOT, require
from support_data import TINY_FILES, write

from sequential_fmnist.data import RAW, cache_dir


@pytest.fixture
def programs(tmp_path) -> Path:
    """A folder of programs that are found first: there is no network."""
    require(shutil.which("dpkg-deb") is not None, "dpkg-deb")
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def installed(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in TINY_FILES.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


def package(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    installed(tree / "usr/share/datasets/fashion-mnist")
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
    path = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(temporary)}
    nowhere = {"DEBIAN_FOLDER": str(tmp_path / "not installed")}
    done = subprocess.run(
        [ROOT / "tools" / "fetch_debian_dataset.sh"],
        env=os.environ | path | nowhere | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert list(temporary.iterdir()) == []
    return done.stdout


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("where", ["the archive", "the system"])
def test_the_package_is_unpacked_once_into_the_cache(tmp_path, programs, where, capsys):
    variables = {}
    if where == "the archive":
        program(programs, "apt-get", f'cp "{package(tmp_path)}" x.deb; echo "$@" >> "{tmp_path}/calls"')
    else:
        variables["DEBIAN_FOLDER"] = str(installed(tmp_path / "installed"))
    assert fetch(tmp_path, programs, **variables) == ""
    folder = cache_dir() / RAW
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == TINY_FILES
    fetch_data.main()
    assert capsys.readouterr().out.count("from the cache") == 2
    program(programs, "apt-get", f': > "{tmp_path}/called again"')
    assert fetch(tmp_path, programs) == ""
    assert not (tmp_path / "called again").exists()


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"SNN_CORE_CACHE": "{}/a b"}, "a b"),
        ({"SNN_CORE_CACHE": "", "XDG_CACHE_HOME": "{}/x"}, "x/snn_core"),
        ({"SNN_CORE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "{}"}, ".cache/snn_core"),
    ],
)
def test_the_cache_folder_is_that_of_the_package(tmp_path, programs, monkeypatch, variables, folder):
    variables = {name: value.format(tmp_path) for name, value in variables.items()}
    there = {"DEBIAN_FOLDER": str(installed(tmp_path / "installed"))}
    fetch(tmp_path, programs, **there | variables)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == tmp_path / folder
    assert {path.name for path in (tmp_path / folder / RAW).iterdir()} == TINY_FILES.keys()


@pytest.mark.parametrize(
    "script", ["echo first; echo 'E: no network' >&2; exit 100", "exit 127", "echo no package > x.deb", ":"]
)
def test_a_failure_is_reported_and_leaves_nothing(tmp_path, programs, script):
    program(programs, "apt-get", script)
    assert "could not be fetched" in fetch(tmp_path, programs).splitlines()[-1]
    assert list(cache_dir().rglob("*ubyte*")) == []


def test_fetched_data_that_are_damaged_are_one_line(tmp_path, monkeypatch):
    write(cache_dir())  # not those whose SHA-256 are known
    with pytest.raises(SystemExit, match=r"^error: .*train-images-idx3-ubyte is damaged: expected SHA-256"):
        fetch_data.main()


def test_make_data_asks_debian_first():
    makefile = (ROOT / "Makefile").read_text()
    assert "\n\ttools/fetch_debian_dataset.sh\n\t$(BIN)/python tools/fetch_data.py\n" in makefile
