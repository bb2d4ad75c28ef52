"""What a network's outputs are worth: loss, accuracy and predictions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sequential_fmnist.data import Columns, ImageData, batches
from snn_core.checks import check_shape
from snn_core.functional import reset_net

__all__ = ["LOSSES", "evaluate", "predict", "rate_loss"]


def rate_loss(rate: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error between firing rates ``[N, classes]`` and one-hot labels ``[N]``, a scalar."""
    check_shape("rate", rate, "N", "classes")
    check_shape("labels", labels, len(rate))
    return F.mse_loss(rate, F.one_hot(labels, rate.shape[1]).to(rate.dtype))


#: Losses of outputs ``[N, classes]`` and labels ``[N]``, a scalar: mean squared error to the one-hot label, as in the
#: text, and cross-entropy with the outputs as logits.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": rate_loss, "cross-entropy": F.cross_entropy}


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """Return a context for mixed precision: bfloat16 on the CPU, float16 on a GPU."""
    dtype = torch.bfloat16 if device.type == "cpu" else torch.float16
    return torch.autocast(device.type, dtype, enabled)


def at_least_single(rate: Tensor) -> Tensor:
    """Return firing rates in the precision that the loss needs: fp32, or fp64 where the network has it."""
    return rate if rate.dtype == torch.float64 else rate.float()


@torch.no_grad()
def _outputs(
    net: nn.Module, data: ImageData | Columns, batch_size: int, device: str, amp: bool = False
) -> tuple[list[Tensor], Tensor]:
    """Return what ``net`` gives for each batch of ``data`` in evaluation mode, and all labels; its state is reset."""
    where, was_training = torch.device(device), net.training
    data = data if isinstance(data, Columns) else Columns(data, where)
    if len(data) == 0:
        raise ValueError("data must hold at least one image")
    net.eval()
    outputs = []
    for images, _ in batches(data, torch.arange(len(data)), batch_size):
        with autocast(where, amp):
            outputs.append(at_least_single(net(images)))
        reset_net(net)
    net.train(was_training)
    return outputs, data.labels


def predict(net: nn.Module, data: ImageData | Columns, batch_size: int = 256, device: str = "cpu") -> Tensor:
    """Return the class with the highest output for each image, int64 ``[n]``; of equal ones the first.

    The arguments are those of :func:`evaluate`.
    """
    return torch.cat(_outputs(net, data, batch_size, device)[0]).argmax(1)


def evaluate(
    net: nn.Module,
    data: ImageData | Columns,
    batch_size: int = 256,
    device: str = "cpu",
    amp: bool = False,
    loss: str = "mse",
) -> tuple[float, float]:
    """Return loss and accuracy (a fraction) of ``net`` on ``data``. The state of ``net`` is reset.

    Args:
        net: maps images ``[N, 1, H, W]`` in [0, 1] to firing rates ``[N, classes]``.
        data: images and labels.
        batch_size: images in a batch.
        device: where ``net`` is.
        amp: whether to run in mixed precision.
        loss: one of :data:`LOSSES`.

    Raises:
        ValueError: there are no images.
    """
    outputs, labels = _outputs(net, data, batch_size, device, amp)
    # Each batch's loss counts as often as it has images.
    losses = [
        LOSSES[loss](rate, part).double() * len(part)
        for rate, part in zip(outputs, labels.split(batch_size), strict=True)
    ]
    right = (torch.cat(outputs).argmax(1) == labels).sum()
    return torch.stack(losses).sum().item() / len(labels), right.item() / len(labels)
