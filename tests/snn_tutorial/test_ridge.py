from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from snn_tutorial.ridge import ColumnReaders, LinearReaders


def samples(n=200, features=6, classes=3):
    labels = torch.arange(n) % classes
    x = torch.randn(n, features, dtype=torch.float64) + one_hot(labels, features).double()
    return x, labels


def test_by_hand():
    """One feature, -1 and 1: Sigma = 1, C = (-1/2, 1/2), so V = C / (1 + lambda)."""
    readers = LinearReaders(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), penalty=1.0, classes=2)
    torch.testing.assert_close(readers.weights(torch.eye(1)), torch.tensor([[-0.25, 0.25]]))


@pytest.mark.parametrize("seen", ["all", "two", "sum"])
def test_equals_least_squares_with_rows_for_the_penalty(seen):
    """Ridge regression is least squares on data to which sqrt(n lambda) I is appended, with targets 0."""
    x, labels = samples()
    p = {
        "all": torch.eye(6),
        "two": torch.eye(6)[:, [1, 4]],
        "sum": torch.eye(6).view(6, 2, 3).sum(2),
    }[seen].double()
    penalty, y = 0.05, one_hot(labels, 3).double()
    z = (x - x.mean(0)) @ p
    rows = torch.cat([z, (len(x) * penalty) ** 0.5 * torch.eye(p.shape[1], dtype=p.dtype)])
    targets = torch.cat([y - y.mean(0), torch.zeros(p.shape[1], 3, dtype=y.dtype)])
    expected = p @ torch.linalg.lstsq(rows, targets).solution
    torch.testing.assert_close(LinearReaders(x, labels, penalty, 3).weights(p), expected)


def test_accuracy_counts_the_classes_that_are_named_right():
    readers = LinearReaders(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), classes=2)
    weights = readers.weights(torch.eye(1))
    features = torch.tensor([[-3.0], [0.5], [2.0], [1.0]])
    assert readers.accuracy(weights, features, torch.tensor([0, 0, 1, 1])) == 0.75


def test_columns_are_seen_apart_or_added():
    x, labels = samples()
    readers = ColumnReaders(x, labels, steps=3, classes=3)  # of two pixels each
    eye = torch.eye(6)
    torch.testing.assert_close(readers.apart([2, 0]), readers.weights(eye[:, [4, 5, 0, 1]]))
    torch.testing.assert_close(readers.added([0, 2]), readers.weights(eye[:, [0, 1]] + eye[:, [4, 5]]))
    factors = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]])
    expected = torch.cat([eye[:, [0, 1]] + 0.5 * eye[:, [2, 3]], 2 * eye[:, [4, 5]]], 1)
    torch.testing.assert_close(readers.mixed(factors), readers.weights(expected))
