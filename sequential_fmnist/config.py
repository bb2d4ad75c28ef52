"""What decides the outcome of a training run."""

from __future__ import annotations

import argparse
import dataclasses

import torch

from sequential_fmnist.command import Kind, check_options, choice, flag, number, option, whole
from sequential_fmnist.evaluation import LOSSES
from sequential_fmnist.networks import NETWORKS
from snn_core.checks import check_device
from snn_core.kernels import BACKENDS, check_backend

__all__ = ["HIGHEST", "TrainingConfig"]

#: Largest values where less than :data:`snn_core.checks.LARGEST` is possible: NumPy takes 32 bits of seed, and more
#: workers than this many processes are a typing error.
HIGHEST: dict[str, int] = {"seed": 2**32 - 1, "workers": 1024}


def _usable_device(text: str) -> str:
    """Return ``text`` if it names a device of this machine."""
    try:
        if torch.device(text).type not in ("cpu", "cuda"):
            raise RuntimeError("the kinds of device are cpu and cuda")
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises an AssertionError
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"{text} cannot be used here ({reason}); try cpu") from error
    return text


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the outcome of a run; the defaults are those of the tutorial's comparison.

    Each field is an option of ``python -m sequential_fmnist`` as well, with the bounds given here.

    Raises:
        TypeError: a value of another type; the message names the field.
        ValueError: a value out of its range; the message names the field.
    """

    model: str = option("plain", choice(*NETWORKS), '"plain", "feedback", or "stateful-synapse"')
    hidden: int = option(32, whole(1), "number of hidden neurons")
    epochs: int = option(64, whole(1), "number of total epochs to run", metavar="N")
    batch_size: int = option(256, whole(1), "images in a batch", "-b", "--batch-size")
    lr: float = option(0.1, number(0, exclusive=True), "initial learning rate")
    opt: str = option("sgd", choice("sgd", "adam"), "optimizer (sgd or adam)")
    lrs: str = option(
        "cosa",
        Kind(lambda text: "none" if text == "None" else text, choice("cosa", "step", "none").check),
        "lr schedule (cosa(CosineAnnealingLR), step(StepLR)) or None",
    )
    step_size: int = option(32, whole(1), "step_size for StepLR, in epochs")
    step_gamma: float = option(0.1, number(0, exclusive=True), "gamma for StepLR")
    cosa_tmax: int | None = option(
        None, whole(1), "T_max for CosineAnnealingLR. If none, it will be set to epochs"
    )
    momentum: float = option(0.9, number(0, below=1), "Momentum for SGD", metavar="M")
    weight_decay: float = option(0.0, number(0), "weight decay", "--wd", "--weight-decay", metavar="W")
    loss: str = option(
        "mse", choice(*LOSSES), "loss between the firing rates and the label: mse or cross-entropy"
    )
    clip: float | None = option(
        None, number(0, exclusive=True), "largest norm of the gradient (default: no limit)", metavar="NORM"
    )
    seed: int = option(0, whole(0, HIGHEST["seed"]), "seed of weights and order of images")
    order: str = option("column", choice("column", "row"), "how an image is read: column (by column) or row")
    device: str = option("cpu", Kind(_usable_device, check_device), "device: cpu, cuda, cuda:1, ...")
    backend: str = option(
        "auto",
        Kind(str, lambda name, value: check_backend(value)),
        f"how sequences run: {', '.join(BACKENDS)}",
    )
    amp: bool = option(False, flag, "Use AMP training: bfloat16 on the CPU, float16 on CUDA")
    cuda_graph: bool = option(False, flag, "start each training step on a GPU as one CUDA graph")
    workers: int = option(
        0,
        whole(0, HIGHEST["workers"]),
        "number of data loading workers; without them all images stay in one tensor on the device, which is fastest",
        "-j", "--workers", metavar="N",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)
        if self.cuda_graph and (self.amp or torch.device(self.device).type != "cuda"):
            raise ValueError(
                f"cuda_graph needs device 'cuda' and no amp, got device {self.device!r}, amp={self.amp}"
            )
