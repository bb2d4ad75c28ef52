"""tools/make_japanese_vowels.py makes the file that the package holds from the wheel of aeon, and no other."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import make_japanese_vowels
import numpy as np
import pytest
from support import require

from experiments import vowels


def test_a_text_by_hand():
    text = "#about\n@classLabel true 1 2\n@data\n1.5,-2.0,3E-4:4.0,5.0,6.0:2\n7.0:8.0:1\n"
    values, lengths, labels = make_japanese_vowels.parse(text)
    assert values.tolist() == np.float32([[1.5, 4], [-2, 5], [3e-4, 6], [7, 8]]).tolist()
    assert (values.dtype, lengths.tolist(), labels.tolist()) == (np.float32, [3, 1], [1, 0])


def wheel_with(path, content):
    with zipfile.ZipFile(path, "w") as file:
        for split, text in content.items():
            file.writestr(f"{make_japanese_vowels.FOLDER}/JapaneseVowels_{split}.ts", text)
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected the wheel of aeon"),
        ({}, "expected the wheel of aeon"),
        ({"TRAIN": "@data\n"}, "has SHA-256"),
    ],
    ids=["no wheel", "another wheel", "another text"],
)
def test_what_is_not_the_wheel_is_refused_and_nothing_written(content, said, tmp_path, capsys):
    wheel = tmp_path / "aeon.whl"
    wheel.write_bytes(b"x") if content is None else wheel_with(wheel, content)
    with pytest.raises(SystemExit) as left:
        make_japanese_vowels.main([str(wheel), "--out", str(tmp_path / "out.npz")])
    assert left.value.code == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.nightly
def test_the_wheel_gives_the_arrays_of_the_package(tmp_path):
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(tmp_path),
        "aeon==1.6.0",
    ]
    require(subprocess.run(pip, check=False).returncode == 0, "the index of Python packages")
    (wheel,) = tmp_path.glob("*.whl")
    make_japanese_vowels.main([str(wheel), "--out", str(tmp_path / "out.npz")])
    made, kept = vowels.load(tmp_path / "out.npz"), vowels.load()
    assert made.keys() == kept.keys()
    assert all(np.array_equal(made[name], kept[name]) for name in made)
