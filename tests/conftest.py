"""Fixtures for all tests: no test touches the reader's cache, every test starts from the same seed."""

from __future__ import annotations

import copy
import os
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported

import matplotlib
import pytest
import torch
from support import NO_BROWSER

from sequential_fmnist.data import SequentialFashionMNIST

matplotlib.use("agg")

pytest_plugins = ["support_data"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once what a missing browser leaves out, not in a line for each of its tests."""
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple) and NO_BROWSER in report.longrepr[2]:
            report.longrepr = (str(Path(__file__).parent), None, report.longrepr[2])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNN_CORE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def embedded() -> tuple[SequentialFashionMNIST, SequentialFashionMNIST]:
    """The embedded subset: training images and test images."""
    train, test = (
        SequentialFashionMNIST(train=split, source="embedded", verbose=False) for split in (True, False)
    )
    return train, test


@pytest.fixture
def few(embedded) -> tuple[SequentialFashionMNIST, SequentialFashionMNIST]:
    """A few real images, for runs of a tenth of a second: 200 to train with, 100 to test."""
    train, test = (copy.copy(split) for split in embedded)
    train.images, train.labels = train.images[:200], train.labels[:200]
    test.images, test.labels = test.images[:100], test.labels[:100]
    return train, test
