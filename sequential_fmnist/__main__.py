"""Command line: ``python -m sequential_fmnist``, see :mod:`sequential_fmnist.train`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; without the packages of the extra ``experiment`` say in one line what to install."""
    try:
        from sequential_fmnist import train
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        print(f"error: this command needs {package}: pip install 'snn-core[experiment]'", file=sys.stderr)
        return 1
    return train.main()


if __name__ == "__main__":
    raise SystemExit(main())
