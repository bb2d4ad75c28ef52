"""JapaneseVowels: who of nine men says /ae/? Real speech in sequences of 7 to 29 steps.

The data are in the package, in ``japanese_vowels.npz``: nothing is downloaded. It holds the two
text files of aeon 1.6.0 (``aeon/datasets/data/JapaneseVowels``) as numbers.

Source: M. Kudo, J. Toyama and M. Shimbo, "Multidimensional curve classification using passing-through regions", Pattern
Recognition Letters 20 (1999), 1103-1111. UCI Machine Learning Repository, https://doi.org/10.24432/C5NS47, CC BY 4.0.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from sequential_fmnist.checkpoint import sha256
from sequential_fmnist.data import DataError, Sequences

__all__ = ["japanese_vowels"]

PATH = Path(__file__).with_name("japanese_vowels.npz")
SHA256 = "00e0d457e2e879ec238d9fed4fa70084879dd01377de111b8598e15aee54ed2b"


def load(path: Path = PATH) -> dict[str, np.ndarray]:
    """Return for both splits ``values`` float32 ``[steps, 12]``, ``lengths`` and ``labels``.

    Raises:
        DataError: the file is missing or damaged.
    """
    content = path.read_bytes() if path.exists() else b""
    if (actual := sha256(content)) != SHA256:
        raise DataError(f"{path}: expected SHA-256 {SHA256}, got {actual}. Fix: install snn_core again")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def japanese_vowels(train: bool) -> Sequences:
    """Return the 270 utterances for training, 30 of each of nine speakers, or the 370 for testing, ``[T, n, 12]``.

    A step is 12 LPC cepstrum coefficients of 25.6 ms of speech, every 6.4 ms. Each coefficient is taken less its mean
    over all steps of the training split, and divided by its standard deviation there.

    Raises:
        DataError: the file in the package is missing or damaged.
    """
    arrays, split = load(), "train" if train else "test"
    known = arrays["train_values"].astype(np.float64)
    values = ((arrays[f"{split}_values"] - known.mean(0)) / known.std(0)).astype(np.float32)
    lengths, labels = (
        torch.from_numpy(arrays[f"{split}_{name}"].astype(np.int64)) for name in ("lengths", "labels")
    )
    x_seq = pad_sequence(list(torch.from_numpy(values).split(lengths.tolist())))
    return Sequences(x_seq, labels, lengths)
