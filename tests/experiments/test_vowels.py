"""JapaneseVowels: what the package holds is what was published, damage is refused, batches hold their own steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from experiments import vowels
from experiments.vowels import JapaneseVowels
from sequential_fmnist.data import DataError


@pytest.mark.parametrize(
    ("train", "of_each", "longest", "steps"),
    [(True, [30] * 9, 26, 4274), (False, [31, 35, 88, 44, 29, 24, 40, 50, 29], 29, 5687)],
    ids=["train", "test"],
)
def test_the_published_numbers(train, of_each, longest, steps):
    """UCI's description: 12 coefficients, 7 to 29 steps, so many utterances of each of nine speakers."""
    data = JapaneseVowels(train)
    assert data.labels.bincount().tolist() == of_each
    assert len(data) == sum(of_each)
    assert (int(data.lengths.min()), int(data.lengths.max()), int(data.lengths.sum())) == (7, longest, steps)
    assert data.x_seq.shape == (29, len(data), 12)
    assert (data.x_seq.dtype, data.lengths.dtype, data.labels.dtype) == (
        torch.float32,
        torch.int64,
        torch.int64,
    )
    assert len(data.classes) == 9


@pytest.mark.parametrize(
    ("train", "first", "length"),
    [
        (True, [1.860936, -0.207383, 0.261557, -0.214562, -0.171253, -0.118167], 20),
        (False, [1.635533, 0.024848, 0.432087, -0.361914, -0.074776, -0.693481], 19),
    ],
    ids=["train", "test"],
)
def test_the_first_step_as_the_source_writes_it(train, first, length):
    data = JapaneseVowels(train, standardised=False)
    x, label = data[0]
    assert x.shape == (length, 12)
    assert label == 0
    assert x[0, :6].tolist() == torch.tensor(first).tolist()


def test_standardised_by_the_training_split_alone():
    raw, data = JapaneseVowels(standardised=False), JapaneseVowels()
    known = torch.cat([raw[n][0] for n in range(len(raw))]).double()
    steps = torch.cat([data[n][0] for n in range(len(data))]).double()
    torch.testing.assert_close(steps.mean(0), torch.zeros(12, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        steps.std(0, correction=0), torch.ones(12, dtype=torch.float64), atol=1e-6, rtol=0
    )
    raw, data = JapaneseVowels(False, standardised=False), JapaneseVowels(False)
    expected = (raw[5][0].double() - known.mean(0)) / known.std(0, correction=0)
    torch.testing.assert_close(data[5][0].double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("standardised", [True, False])
def test_the_padding_is_zero_and_items_hold_none(standardised):
    data = JapaneseVowels(False, standardised)
    for n in (0, 7, 369):
        x, label = data[n]
        assert len(x) == data.lengths[n]
        assert x.any(1).all()
        assert not data.x_seq[len(x) :, n].any()
        assert label == data.labels[n]
    with pytest.raises(IndexError):
        data[370]


def test_batches_have_the_steps_of_their_longest_and_every_utterance_once():
    data = JapaneseVowels()
    found = list(data.batches(100))
    assert [x.shape[1] for x, *_ in found] == [100, 100, 70]
    for x, lengths, labels in found:
        assert x.shape == (int(lengths.max()), len(labels), 12)
    assert torch.equal(torch.cat([lengths for _, lengths, _ in found]), data.lengths)
    assert torch.equal(found[2][0], data.x_seq[: len(found[2][0]), 200:])
    once, again = (list(data.batches(64, torch.Generator().manual_seed(3))) for _ in range(2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(once, again, strict=True))
    shuffled = torch.cat([labels for *_, labels in once])
    assert not torch.equal(shuffled, data.labels)
    assert torch.equal(shuffled.sort().values, data.labels.sort().values)


def test_a_loader_pads_items():
    def padded(items):
        return torch.nn.utils.rnn.pad_sequence([x for x, _ in items]), [len(x) for x, _ in items]

    x_seq, lengths = next(iter(DataLoader(JapaneseVowels(), batch_size=8, collate_fn=padded)))
    expected, steps, _ = next(JapaneseVowels().batches(8))
    assert torch.equal(x_seq, expected)
    assert lengths == steps.tolist()


def changed(path, arrays):
    arrays["test_values"][3, 4] += 1e-6
    with path.open("wb") as file:
        np.savez(file, **arrays)


DAMAGE = {
    "missing": lambda path, arrays: path.unlink(),
    "cut": lambda path, arrays: path.write_bytes(path.read_bytes()[:-3000]),
    "empty": lambda path, arrays: path.write_bytes(b""),
    "text": lambda path, arrays: path.write_text("hello"),
    "one number": changed,
    "one array missing": lambda path, arrays: np.savez(path, train_values=arrays["train_values"]),
    "a pickle": lambda path, arrays: np.savez(path, train_values=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_with_file_and_fix(damage, tmp_path, monkeypatch):
    path = tmp_path / "japanese_vowels.npz"
    path.write_bytes(vowels.PATH.read_bytes())
    assert vowels.load(path).keys() == vowels.load().keys()
    DAMAGE[damage](path, vowels.load())
    with pytest.raises(
        DataError, match=r"japanese_vowels\.npz: expected .*found.*Fix: install snn_core again"
    ):
        vowels.load(path)


def test_the_file_is_small():
    assert vowels.PATH.stat().st_size < 500_000
