"""Batch normalisation of sequences, and how to fold it into the weights before it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from snn_core import fuse
from snn_core.checks import check_module, check_number, check_sequence, check_whole

__all__ = ["MultiStepBatchNorm", "fold_batch_norm"]


class MultiStepBatchNorm(_BatchNorm):
    r"""Batch normalisation of a sequence: over time, samples and positions, one mean and variance for each channel.

    .. math:: y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Put it between a linear or convolutional layer and a neuron. In training, mean and variance are those of all T steps
    of the batch together. Parameters, buffers and their names are those of ``nn.BatchNorm1d``.

    Args:
        num_features: C, channels of ``[T, N, C, *]``.
        scale: first value of :math:`\gamma`. Threshold-dependent batch normalisation takes :math:`\alpha V_{th}`, the
            threshold of the neuron that follows, times a factor that is 1 in a plain network.

    Raises:
        TypeError: an argument that is not a number; from ``forward``, ``x_seq`` is not a floating-point tensor.
        ValueError: ``num_features`` below 1, ``scale`` not above 0; from ``forward``, ``x_seq`` has another shape, or
            in training one value only for each channel.

    Source: H. Zheng et al., "Going deeper with directly-trained larger spiking neural networks", AAAI 2021.
    https://arxiv.org/abs/2011.05280
    """

    takes_sequences = True

    def __init__(self, num_features: int, scale: float = 1.0) -> None:
        super().__init__(check_whole("MultiStepBatchNorm: num_features", num_features, 1))
        nn.init.constant_(self.weight, check_number("MultiStepBatchNorm: scale", scale, above=0))

    def forward(self, x_seq: Tensor) -> Tensor:
        """Normalise ``x_seq``, ``[T, N, C, *]``."""
        check_sequence("MultiStepBatchNorm: x_seq", x_seq)
        if x_seq.dim() < 3 or x_seq.shape[2] != self.num_features:
            raise ValueError(
                f"MultiStepBatchNorm: x_seq must have shape [T, N, {self.num_features}, *], got {list(x_seq.shape)}"
            )
        return super().forward(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])

    def _check_input_dim(self, input: Tensor) -> None:
        """Leave the check to ``forward``."""


@torch.no_grad()
def fold_batch_norm(net: nn.Module) -> nn.Module:
    r"""Return a copy of ``net`` without batch normalisation that computes what ``net`` computes in evaluation mode.

    .. math:: W' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W, \qquad
        b' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu) + \beta

    Each batch normalisation is folded into the layer right before it in the same ``nn.Sequential``,
    ``MultiStepContainer`` or ``SeqToANNContainer``, which then runs fused again. The names of all other modules stay.
    Behind an ``nn.Linear`` the channels must be its outputs, that is, a sample must be ``[C]``.

    Raises:
        TypeError: ``net`` is not a module.
        ValueError: a batch normalisation is not in a chain, is in training mode or keeps no running statistics, or does
            not come right after an ``nn.Linear`` or ``nn.Conv`` with as many outputs, all without hooks.
    """
    net = copy.deepcopy(check_module("net", net))
    for chain in list(net.modules()):
        before = ""
        for name, module in list(chain._modules.items()) if fuse.is_chain(chain) else ():
            if isinstance(module, _BatchNorm):
                chain._modules[before] = _folded(chain._modules.get(before), module)
                delattr(chain, name)
            else:
                before = name
    left = [type(module).__name__ for module in net.modules() if isinstance(module, _BatchNorm)]
    if left:
        raise ValueError(
            f"{left[0]} must stand in a chain such as nn.Sequential, which says what comes before it"
        )
    return net


def _folded(layer: Any, norm: Any) -> nn.Module:
    """Return a copy of the layer, which may stand in another place, too, that does what both do in a row."""
    kind, given = type(norm).__name__, "nothing" if layer is None else type(layer).__name__
    if type(norm) not in _FOLDED or fuse.has_hooks(norm):
        raise ValueError(f"{kind} must be a BatchNorm of torch or MultiStepBatchNorm, without hooks")
    if norm.training or norm.running_mean is None:
        raise ValueError(f"{kind} must be in evaluation mode, by net.eval(), and keep running statistics")
    fits = (
        type(layer) in _FOLDED_INTO and len(layer.weight) == norm.num_features and not fuse.has_hooks(layer)
    )
    if not fits:
        wanted = f"an nn.Linear or nn.Conv with {norm.num_features} outputs and without hooks"
        raise ValueError(f"{kind} must come right after {wanted}, got {given}")
    layer = copy.deepcopy(layer)
    layer.weight, layer.bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return layer


_FOLDED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, MultiStepBatchNorm)
_FOLDED_INTO = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
