"""What a network's outputs are worth: loss, accuracy and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sequential_fmnist.data import Data, batches, prepared
from snn_core.checks import check_choice, check_shape
from snn_core.functional import reset_net

__all__ = ["COLLAPSE", "LOSSES", "Loss", "evaluate", "falls", "outputs", "predict", "rate_loss"]

#: An epoch that loses more of the test accuracy than this, a fraction, is a collapse.
COLLAPSE = 0.05
#: Of a network's outputs and the labels, a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]


def rate_loss(rate: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error between firing rates ``[N, classes]`` and one-hot labels ``[N]``, a scalar."""
    check_shape("rate", rate, "N", "classes")
    check_shape("labels", labels, len(rate))
    return F.mse_loss(rate, F.one_hot(labels, rate.shape[1]).to(rate.dtype))


#: Losses of outputs ``[N, classes]`` and labels ``[N]``: mean squared error to the one-hot label, as in the text, and
#: cross-entropy with the outputs as logits.
LOSSES: dict[str, Loss] = {"mse": rate_loss, "cross-entropy": F.cross_entropy}


@torch.no_grad()
def outputs(
    net: nn.Module, data: Data, batch_size: int = 256, device: str = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the outputs of ``net`` and the labels, batch after batch; arguments as for :func:`evaluate`."""
    where, was_training = torch.device(device), net.training
    net.eval()
    try:
        for inputs, labels in batches(prepared(data, where), batch_size):
            reset_net(net)
            yield net(*(part.to(where) for part in inputs)), labels.to(where)
    finally:
        reset_net(net)
        net.train(was_training)


def predict(net: nn.Module, data: Data, batch_size: int = 256, device: str = "cpu") -> Tensor:
    """Return the class with the highest output for each sample, int64 ``[n]``; arguments as for :func:`evaluate`."""
    return torch.cat([rates.argmax(-1) for rates, _ in outputs(net, data, batch_size, device)])


def evaluate(
    net: nn.Module,
    data: Data,
    batch_size: int = 256,
    device: str = "cpu",
    loss: str | Loss = "mse",
) -> tuple[float, float]:
    """Return the mean loss and the accuracy (a fraction) of ``net`` on ``data``, from a fresh state for each batch.

    Args:
        net: on ``device``; its state is reset.
        data: images, sequences or batches, see :data:`~sequential_fmnist.data.Data`.
        batch_size: samples of a batch.
        device: where it runs.
        loss: one of :data:`LOSSES`, or a function of outputs and labels.

    Raises:
        ValueError: there is no sample, or no such loss.
    """
    loss_of = LOSSES[check_choice("loss", loss, tuple(LOSSES))] if isinstance(loss, str) else loss
    sums, seen = torch.zeros(2, dtype=torch.float64, device=device), 0
    for rates, labels in outputs(net, data, batch_size, device):
        right = (rates.argmax(-1) == labels).sum()
        sums += torch.stack([loss_of(rates, labels).double() * labels.numel(), right.double()])
        seen += labels.numel()
    if seen == 0:
        raise ValueError("data must hold at least one sample")
    loss_sum, hits = sums.tolist()
    return loss_sum / seen, hits / seen


def falls(accuracies: Sequence[float]) -> list[float]:
    """Return how much accuracy each epoch but the first lost, 0 where it lost none; see :data:`COLLAPSE`."""
    # Rounded, as accuracies count images: 0.7295 - 0.6795 is a little above 0.05.
    return [max(0.0, round(before - after, 9)) for before, after in pairwise(accuracies)]
