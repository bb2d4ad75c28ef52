"""What is timed. Every process of the benchmark imports this, also where torch is not installed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["BASE", "COLUMNS", "MODELS", "MOMENTUM", "Config", "grid"]

MOMENTUM = 0.9
#: Columns of a picture, and pixels of a column.
COLUMNS = 28
MODELS = ("plain", "stateful-synapse", "feedback")


@dataclass(frozen=True)
class Config:
    """One training step: a network of ``hidden`` neurons reads ``batch`` pictures in ``T`` steps of 28 pixels.

    For T above 28 the columns are read again and again, so that the network and its firing stay what they are.
    """

    model: str = "feedback"
    batch: int = 256
    T: int = 28
    hidden: int = 32

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, got {self.model!r}")
        if self.batch < 1 or self.hidden < 1 or self.T < 1 or self.T % COLUMNS:
            raise ValueError(
                f"batch and hidden must be at least 1 and T a multiple of {COLUMNS}, got {asdict(self)}"
            )

    def __str__(self) -> str:
        return f"{self.model}, batch {self.batch}, T {self.T}, hidden {self.hidden}"

    @property
    def learning_rate(self) -> float:
        """Long sequences are timed but not trained: gradients explode in some of the networks, which then die.

        It is not 0, or a compiler might leave out the whole backward pass.
        """
        return 0.1 if self.T == COLUMNS else 1e-35

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


BASE = Config()


def grid() -> list[Config]:
    """Return the configurations of a full run: the networks, with one quantity varied at a time.

    At T = 784 the batch is small, because some libraries need most of a second for a step there.
    """
    changes: list[dict[str, int]] = [
        {},
        {"batch": 32},
        {"batch": 1024},
        {"T": 784, "batch": 32},
        {"hidden": 128},
        {"hidden": 512},
    ]
    configs = [replace(BASE, model=model, **change) for change in changes for model in MODELS]
    return [*configs, replace(BASE, model="feedback", hidden=1024)]  # where products are most of a step
