"""JapaneseVowels: what the package holds is what was published, and damage is refused."""

from __future__ import annotations

import pytest
import torch

from sequential_fmnist.data import DataError
from sequential_fmnist.experiments import vowels
from sequential_fmnist.experiments.vowels import japanese_vowels


@pytest.mark.parametrize(
    ("train", "of_each", "longest", "steps"),
    [(True, [30] * 9, 26, 4274), (False, [31, 35, 88, 44, 29, 24, 40, 50, 29], 29, 5687)],
    ids=["train", "test"],
)
def test_the_published_numbers(train, of_each, longest, steps):
    """UCI's description: 12 coefficients, 7 to 29 steps, so many utterances of each of nine speakers."""
    data = japanese_vowels(train)
    x_seq, lengths, labels = data.x_seq, data.lengths, data.labels
    assert labels.bincount().tolist() == of_each
    assert (int(lengths.min()), int(lengths.max()), int(lengths.sum())) == (7, longest, steps)
    assert x_seq.shape == (longest, sum(of_each), 12)
    padding = torch.arange(longest)[:, None] >= lengths
    assert not x_seq[padding].any()
    assert x_seq[~padding].any(1).all()


def test_the_first_step_as_the_source_writes_it():
    first = [1.860936, -0.207383, 0.261557, -0.214562, -0.171253, -0.118167]
    assert vowels.load()["train_values"][0, :6] == pytest.approx(first)


def test_standardised_by_the_training_split_alone():
    known, steps = vowels.load()["train_values"].astype(float), int(japanese_vowels(False).lengths[0])
    expected = (vowels.load()["test_values"][:steps] - known.mean(0)) / known.std(0)
    assert japanese_vowels(False).x_seq[:steps, 0].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PK cut off")])
def test_damage_is_refused_with_file_and_fix(damage, tmp_path):
    path = tmp_path / "japanese_vowels.npz"
    path.write_bytes(vowels.PATH.read_bytes())
    assert vowels.load(path).keys() == vowels.load().keys()
    damage(path)
    with pytest.raises(DataError, match=r"japanese_vowels\.npz: expected .*got.*Fix: install snn_core again"):
        vowels.load(path)
