"""Command line: ``python -m sequential_fmnist``, see :mod:`sequential_fmnist.train`."""

import sys


def main() -> int:
    """Run the command line, or say in one line which package is missing."""
    try:
        from sequential_fmnist.train import main
    except ModuleNotFoundError as error:
        sys.exit(f"error: this needs the package {error.name}: pip install 'snn-core[experiment]'")
    return main()


if __name__ == "__main__":
    sys.exit(main())
