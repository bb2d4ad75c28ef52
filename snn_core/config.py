"""What decides the outcome of a training run."""

from __future__ import annotations

import dataclasses
import math

from snn_core.backend import check_backend
from snn_core.network import NETWORKS

__all__ = ["LOSSES", "TrainingConfig"]

#: Names of the losses in :mod:`snn_core.training`: mean squared error between outputs and the one-hot label, as in the
#: tutorial, and cross-entropy with the outputs as logits.
LOSSES: tuple[str, ...] = ("mse", "cross-entropy")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the outcome of a run; the defaults are those of the tutorial's comparison.

    ``clip`` is the largest norm that the gradient of all weights may have; None leaves it as it is.

    Raises:
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
        }
        for name, allowed in (choices | {"order": ("column", "row")}).items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        lowest = {"hidden": 1, "epochs": 1, "batch_size": 1, "step_size": 1, "cosa_tmax": 1, "workers": 0}
        for name, bound in (lowest | {"seed": 0}).items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}, got {value}")
        for name in ("lr", "step_gamma", "clip"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive, finite number, got {value}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be a finite number >= 0, got {self.weight_decay}")
        if self.cuda_graph and (self.amp or not self.device.startswith("cuda")):
            raise ValueError(
                f"cuda_graph needs device 'cuda' and no amp, got device {self.device!r}, amp={self.amp}"
            )
        check_backend(self.backend)
