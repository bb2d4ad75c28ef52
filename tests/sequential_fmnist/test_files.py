"""Files that are whole or absent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sequential_fmnist.files
from sequential_fmnist.files import atomic_write, sha256, write_json

ROOT = Path(sequential_fmnist.files.__file__).parents[1]


def test_sha256_of_a_published_example():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    target = tmp_path / "new folder" / "file"
    with atomic_write(target) as file:
        file.write(b"whole")
        file.flush()
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, interruption, old):
    target = tmp_path / "file"
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(interruption), atomic_write(target) as file:
        file.write(b"half")
        raise interruption
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({"file": old} if old else {})


def test_a_killed_write_leaves_the_old_content(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    code = f"""
import os, signal
from sequential_fmnist.files import atomic_write
with atomic_write({str(target)!r}) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


def test_a_target_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path):
    target = tmp_path / "file"
    target.mkdir()
    with pytest.raises(OSError), atomic_write(target) as file:
        file.write(b"whole")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "file") as file:
            file.write(b"whole")
    finally:
        left = os.umask(before)
    assert left == umask
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_json_reads_back_and_ends_in_a_newline(tmp_path):
    value = {"accuracy": [0.1, 1e-300], "name": "Büro", "none": None}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")


def test_json_breaks_only_lines_that_are_too_long_and_no_list_of_numbers(tmp_path):
    value = {"short": {"a": [1, {"b": 2}]}, "numbers": [1.5] * 90, "names": ["x" * 60, "y" * 60], "none": {}}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text()
    assert json.loads(text) == value
    short, numbers, *names = text.splitlines()[1:-1]
    assert short == ' "short": {"a": [1, {"b": 2}]},'
    assert numbers == f' "numbers": [{", ".join(["1.5"] * 90)}],'
    assert names == [' "names": [', f'  "{"x" * 60}",', f'  "{"y" * 60}"', " ],", ' "none": {}']


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_json_that_others_could_not_read_is_refused(tmp_path, value):
    write_json(tmp_path / "value.json", 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "value.json", [value])
    assert (tmp_path / "value.json").read_text() == "1\n"
