"""Fetch Fashion-MNIST into the cache, if it is not there yet, check it, and say where it is."""

from __future__ import annotations

import sys

from sequential_fmnist.data import DataError, SequentialFashionMNIST


def main() -> None:
    """Read both splits; leave with status 1 and one line where that fails."""
    try:
        for train in (True, False):
            SequentialFashionMNIST(train=train, source="full")
    except DataError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
