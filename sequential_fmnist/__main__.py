"""Command line: ``python -m sequential_fmnist``, see :mod:`sequential_fmnist.train`."""

from sequential_fmnist.train import main

raise SystemExit(main())
