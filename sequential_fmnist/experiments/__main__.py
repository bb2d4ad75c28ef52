"""The command ``python -m sequential_fmnist.experiments``, or ``make ablation``."""

import sys

if __name__ == "__main__":
    try:
        from sequential_fmnist.experiments.ablation import ABLATION
        from sequential_fmnist.experiments.columns import COLUMNS
        from sequential_fmnist.experiments.fair.controls import CONTROLS
        from sequential_fmnist.experiments.fair.plan import FAIR
        from sequential_fmnist.experiments.frame import command
        from sequential_fmnist.experiments.repeated import REPEATED, REPLAYED
        from sequential_fmnist.experiments.where import WHERE
    except ImportError as error:
        sys.exit(f"error: {error}")
    command(ABLATION, COLUMNS, WHERE, FAIR, CONTROLS, REPEATED, REPLAYED)
