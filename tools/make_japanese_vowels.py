"""Make the embedded file of JapaneseVowels from the wheel of aeon, which holds the data as text.

``pip download --no-deps aeon==1.6.0`` fetches the wheel; then, once snn_core is installed, from anywhere:
``python tools/make_japanese_vowels.py aeon-1.6.0-py3-none-any.whl [--out FILE]``.
"""

from __future__ import annotations

import os
import zipfile

import numpy as np

from experiments.command import Parser, path, target
from experiments.vowels import CHANNELS, PATH, SHA256, digest
from sequential_fmnist.checkpoint import atomic_write, sha256

FOLDER = "aeon/datasets/data/JapaneseVowels"
#: Of the two files in the wheel, whatever its release.
TEXTS = {
    "train": "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
    "test": "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
}


def parse(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values ``[steps, channels]``, lengths and labels of a file in sktime's format ``.ts``.

    After ``@data`` each line is an utterance: its channels, each with commas between the steps, and its label from 1,
    with colons between them.
    """
    lines = text.partition("@data\n")[2].split()
    series = [[channel.split(",") for channel in line.split(":")[:-1]] for line in lines]
    values = np.concatenate([np.array(one, dtype=np.float64).T for one in series])
    lengths = np.array([len(one[0]) for one in series], dtype=np.uint8)
    labels = np.array([int(line.rpartition(":")[2]) - 1 for line in lines], dtype=np.uint8)
    return values.astype(np.float32), lengths, labels


def arrays_of(wheel: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of both splits, see :func:`experiments.vowels.load`.

    Raises:
        ValueError: the wheel is none, or its files are not those expected.
        OSError: it cannot be read.
    """
    arrays = {}
    for split, known in TEXTS.items():
        name = f"{FOLDER}/JapaneseVowels_{split.upper()}.ts"
        try:
            content = zipfile.ZipFile(wheel).read(name)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{wheel}: expected the wheel of aeon with {name}, found: {error}") from error
        if sha256(content) != known:
            raise ValueError(f"{wheel}: {name} has SHA-256 {sha256(content)}, expected {known}")
        for kind, value in zip(("values", "lengths", "labels"), parse(content.decode()), strict=True):
            arrays[f"{split}_{kind}"] = value
        if arrays[f"{split}_values"].shape[1] != CHANNELS:
            raise ValueError(f"{wheel}: {name} has not {CHANNELS} channels")
    return arrays


def main(arguments: list[str] | None = None) -> None:
    """Write the embedded file."""
    parser = Parser(description=main.__doc__)
    parser.add_argument("wheel", type=path, nargs="?", help="the wheel of aeon, a file")
    parser.add_argument("--out", type=target, default=PATH, help="the file to write")
    options = parser.parse_args(arguments)
    if options.wheel is None:
        parser.error("wheel is missing: pip download --no-deps aeon==1.6.0 fetches it")
    try:
        arrays = arrays_of(options.wheel)
        if digest(arrays) != SHA256:
            raise ValueError(f"made arrays of SHA-256 {digest(arrays)}, expected {SHA256}")
        with atomic_write(options.out) as file:
            np.savez_compressed(file, **arrays)
    except (OSError, ValueError) as error:
        parser.fail(error)


if __name__ == "__main__":
    main()
