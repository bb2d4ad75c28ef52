"""Command line: ``python -m sequential_fmnist``, see :mod:`sequential_fmnist.train`."""

from sequential_fmnist.train import main

if __name__ == "__main__":
    raise SystemExit(main())
