"""snn_core itself, in three ways: in the ordinary loop of torch, in calls of many steps, and as the readable loop."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.config import MOMENTUM, Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import TorchSession
from sequential_fmnist.data import as_columns
from sequential_fmnist.networks import columns_as_sequence, make_network
from sequential_fmnist.train import Trainer, TrainingConfig
from snn_core.functional import reset_net, train_steps

PACKAGES = ("snn-core", "torch", "numba", "numpy")


def images_side_by_side(x: Tensor) -> Tensor:
    """Return the images of ``[T, N, 28]`` one after the other in memory, from which steps are indexed."""
    return x.transpose(0, 1).contiguous().transpose(1, 2).unsqueeze(1)


def images_from_columns(x: Tensor) -> Tensor:
    """View ``[T, N, 28]`` as images ``[N, 1, 28, T]``, which our networks view as ``[T, N, 28]`` again."""
    return x.permute(1, 2, 0).unsqueeze(1)


class _Images:
    """All images as the trainer wants them."""

    def __init__(self, inputs: Inputs) -> None:
        self.images = torch.from_numpy(inputs["images"]).unsqueeze(1)
        self.labels = torch.from_numpy(inputs["labels"])


class _TrainSteps(TorchSession):
    """Many steps in one explicit call, through our trainer."""

    def __init__(self, config: Config, inputs: Inputs) -> None:
        net = make_network(config.model, config.hidden)
        super().__init__(net, config, inputs, reset_net, images_side_by_side)
        settings = TrainingConfig(
            model=config.model,
            hidden=config.hidden,
            batch_size=config.batch,
            lr=config.learning_rate,
            lrs="none",
            momentum=MOMENTUM,
        )
        self._trainer = Trainer(settings, net=net)
        self._images = as_columns(_Images(inputs))
        self.mode = "all steps in one call"

    def _target_of(self, labels: Tensor) -> Tensor:
        return labels

    def tune(self) -> None:
        """There is one mode only."""

    def steps(self, count: int) -> float:
        index = torch.arange(self.config.batch).expand(count, -1).contiguous()
        x_seq, chain = columns_as_sequence(self._x), self._trainer.net.chain
        return train_steps(chain, x_seq, self._target, self._trainer.optimizer, index=index).losses[-1].item()

    def epoch(self) -> float:
        return self._trainer.train_epoch(self._images)[0]


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session that trains in calls of many steps, "train_steps", or step by step on a backend."""
    if variant == "train_steps":
        return _TrainSteps(config, inputs)
    net = make_network(config.model, config.hidden, variant)
    return TorchSession(net, config, inputs, reset_net, images_from_columns)


def note(variant: str, model: str) -> str:
    """Say what a step is; the network is that with which the others are compared."""
    return {
        "auto": "`net(x)`, `F.mse_loss`, `loss.backward()`, `optimizer.step()`",
        "train_steps": "many steps in one explicit call, loss and optimizer included",
        "torch": "the same with `backend='torch'`, the loop that defines the kernels",
    }[variant]
