"""What decides the outcome of a training run."""

from __future__ import annotations

import dataclasses

from sequential_fmnist.networks import NETWORKS
from snn_core.backend import check_backend
from snn_core.checks import LARGEST, check_choice, check_device, check_flag, check_number, check_whole

__all__ = ["HIGHEST", "LOSSES", "TrainingConfig"]

#: Largest values where less than :data:`snn_core.checks.LARGEST` is possible: NumPy takes 32 bits of seed, and more
#: workers than this many processes are a slip of the keyboard.
HIGHEST: dict[str, int] = {"seed": 2**32 - 1, "workers": 1024}

#: Names of the losses in :mod:`sequential_fmnist.evaluation`: mean squared error of the outputs to the one-hot label,
#: as in the tutorial, and cross-entropy with the outputs as logits.
LOSSES: tuple[str, ...] = ("mse", "cross-entropy")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the outcome of a run; the defaults are those of the tutorial's comparison.

    ``clip`` is the largest norm that the gradient of all weights may have; None leaves it as it is.

    Raises:
        TypeError: a value of another type; the message names the field.
        ValueError: a value out of its range; the message names the field.
    """

    model: str = "plain"
    hidden: int = 32
    epochs: int = 64
    batch_size: int = 256
    lr: float = 0.1
    opt: str = "sgd"
    lrs: str = "cosa"
    step_size: int = 32
    step_gamma: float = 0.1
    cosa_tmax: int | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    loss: str = "mse"
    clip: float | None = None
    seed: int = 0
    order: str = "column"
    device: str = "cpu"
    backend: str = "auto"
    amp: bool = False
    cuda_graph: bool = False
    workers: int = 0

    def __post_init__(self) -> None:
        choices = {
            "model": tuple(NETWORKS),
            "opt": ("sgd", "adam"),
            "lrs": ("cosa", "step", "none"),
            "loss": LOSSES,
            "order": ("column", "row"),
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        lowest = {"hidden": 1, "epochs": 1, "batch_size": 1, "step_size": 1, "workers": 0, "seed": 0}
        if self.cosa_tmax is not None:
            lowest["cosa_tmax"] = 1
        for name, bound in lowest.items():
            check_whole(name, getattr(self, name), bound, HIGHEST.get(name, LARGEST))
        for name in ("lr", "step_gamma") if self.clip is None else ("lr", "step_gamma", "clip"):
            check_number(name, getattr(self, name), above=0)
        if not 0 <= check_number("momentum", self.momentum) < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if check_number("weight_decay", self.weight_decay) < 0:
            raise ValueError(f"weight_decay must be a finite number >= 0, got {self.weight_decay}")
        for name in ("amp", "cuda_graph"):
            check_flag(name, getattr(self, name))
        kind = check_device("device", self.device).type
        if self.cuda_graph and (self.amp or kind != "cuda"):
            raise ValueError(
                f"cuda_graph needs device 'cuda' and no amp, got device {self.device!r}, amp={self.amp}"
            )
        check_backend(self.backend)
