"""The command ``python -m sequential_fmnist.experiments``, or ``make ablation``."""

from sequential_fmnist.experiments.ablation import ABLATION
from sequential_fmnist.experiments.fair.plan import FAIR
from sequential_fmnist.experiments.frame import command

if __name__ == "__main__":
    command(ABLATION, FAIR)
