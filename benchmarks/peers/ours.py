"""snn_core itself; the variant is its backend."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.config import MOMENTUM, Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import TorchSession, load_weights
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.networks import make_network
from sequential_fmnist.training import Trainer
from snn_core.functional import reset_net

PACKAGES = ("snn-core", "torch", "numba", "numpy")


def images_from_columns(x: Tensor) -> Tensor:
    """View ``[T, N, 28]`` as images ``[N, 1, 28, T]``, which our networks view as ``[T, N, 28]`` again."""
    return x.permute(1, 2, 0).unsqueeze(1)


class _Images:
    """All images as the trainer wants them."""

    def __init__(self, inputs: Inputs) -> None:
        self.images = torch.from_numpy(inputs["images"]).unsqueeze(1)
        self.labels = torch.from_numpy(inputs["labels"])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index].float() / 255, int(self.labels[index])


class _Session(TorchSession):
    """Steps in the common loop, an epoch in our own trainer."""

    def __init__(self, backend: str, config: Config, inputs: Inputs) -> None:
        net = make_network(config.model, config.hidden, backend)
        super().__init__(net, config, inputs, reset_net, images_from_columns)
        settings = TrainingConfig(
            model=config.model,
            hidden=config.hidden,
            batch_size=config.batch,
            backend=backend,
            lr=config.learning_rate,
            momentum=MOMENTUM,
        )
        own = make_network(config.model, config.hidden, backend)
        load_weights(own, config, inputs)
        self._trainer, self._images = Trainer(settings, net=own), _Images(inputs)

    def epoch(self) -> float:
        return self._trainer.train_epoch(self._images)[0]


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session on the backend ``variant``."""
    return _Session(variant, config, inputs)


def note(variant: str, model: str) -> str:
    """Return an empty string: this is the network that the others are compared with."""
    return ""
