"""JapaneseVowels: who of nine men says /ae/? Real speech in sequences of 7 to 29 steps, beside Fashion-MNIST.

The data are in the package, in ``japanese_vowels.npz``: all 270 and 370 utterances, float32, the steps of
all utterances one after the other. ``tools/make_japanese_vowels.py`` makes the file again from the wheel of aeon 1.6.0.

Source: M. Kudo, J. Toyama and M. Shimbo, "Multidimensional curve classification using passing-through regions", Pattern
Recognition Letters 20 (1999), 1103-1111. UCI Machine Learning Repository, https://doi.org/10.24432/C5NS47, CC BY 4.0.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from sequential_fmnist.checkpoint import sha256
from sequential_fmnist.data import DataError
from snn_core.checks import check_flag, check_whole

__all__ = ["JapaneseVowels"]

PATH = Path(__file__).with_name("japanese_vowels.npz")
#: Of all arrays, see :func:`digest`.
SHA256 = "0105e655abfb122f9415b0d6588ea43aaf9326542bae193d8e4bfcd7a647698c"
#: The most steps of an utterance, coefficients, speakers.
LONGEST, CHANNELS, SPEAKERS = 29, 12, 9


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of arrays, by name, with their dtypes and shapes."""
    parts = [
        f"{name} {value.dtype.str} {value.shape}\n".encode() + value.tobytes()
        for name, value in sorted(arrays.items())
    ]
    return sha256(b"".join(parts))


def load(path: Path = PATH) -> dict[str, np.ndarray]:
    """Return the arrays of a file, verified.

    For both splits ``values`` are float32 ``[steps, 12]``, the steps of all utterances one after the other;
    ``lengths`` and ``labels`` are uint8, one number for each utterance.

    Raises:
        DataError: the file is missing or damaged.
    """
    fix = "Fix: install snn_core again"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # there is no kind of error that a damaged file cannot cause
        raise DataError(f"{path}: expected the file of JapaneseVowels, found: {error}. {fix}") from error
    if (found := digest(arrays)) != SHA256:
        raise DataError(f"{path}: expected SHA-256 {SHA256} of its arrays, found {found}. {fix}")
    return arrays


class JapaneseVowels(Dataset[tuple[Tensor, int]]):
    """Utterances of /ae/ by nine male speakers, each a sequence of 12 LPC cepstrum coefficients; who speaks?

    A step is 6.4 ms of speech, of a frame of 25.6 ms sampled at 10 kHz. Utterances differ in length; together they are
    padded at the end with 0.

    Args:
        train: the training split (270 utterances, 30 of each speaker), else the test split (370, 24 to 88).
        standardised: take each coefficient less its mean over all steps of the training split and divided by its
            standard deviation there, in both splits.

    Attributes:
        x_seq: float32 ``[T, n, 12]``, T = 29 in both splits; 0 in the padding.
        lengths: int64 ``[n]``, 7 to 29: the steps of each utterance.
        labels: int64 ``[n]``, 0 to 8: the speaker.
        classes: the names of the nine labels, "speaker 1" to "speaker 9".
        source: where the data come from, in words.

    Raises:
        TypeError: an argument is not a bool.
        DataError: the file in the package is missing or damaged.
    """

    classes: tuple[str, ...] = tuple(f"speaker {n}" for n in range(1, SPEAKERS + 1))
    source = "UCI Machine Learning Repository, doi:10.24432/C5NS47, in the package"

    def __init__(self, train: bool = True, standardised: bool = True) -> None:
        split = "train" if check_flag("train", train) else "test"
        arrays = load()
        values = arrays[f"{split}_values"]
        if check_flag("standardised", standardised):
            known = arrays["train_values"].astype(np.float64)
            values = ((values - known.mean(0)) / known.std(0)).astype(np.float32)
        self.lengths = torch.from_numpy(arrays[f"{split}_lengths"].astype(np.int64))
        self.labels = torch.from_numpy(arrays[f"{split}_labels"].astype(np.int64))
        utterances = torch.from_numpy(values).split(self.lengths.tolist())
        x_seq = pad_sequence(list(utterances))
        self.x_seq = torch.cat([x_seq, x_seq.new_zeros(LONGEST - len(x_seq), *x_seq.shape[1:])])

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an utterance, float32 ``[length, 12]`` without padding, and its label.

        Raises:
            IndexError: there is no such utterance.
        """
        return self.x_seq[: self.lengths[index], index], int(self.labels[index])

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield batches ``x_seq`` ``[T, N, 12]``, ``lengths`` ``[N]``, ``labels`` ``[N]``; all utterances once.

        T is the length of the batch's longest utterance.

        Args:
            batch_size: number of utterances N; the last batch may have fewer.
            generator: shuffles them; None keeps their order.

        Raises:
            TypeError, ValueError: ``batch_size`` is not a whole number above 0.
        """
        check_whole("batch_size", batch_size, 1)
        order = (
            torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        )
        for part in order.split(batch_size):
            lengths = self.lengths[part]
            yield self.x_seq[: int(lengths.max()), part], lengths, self.labels[part]
