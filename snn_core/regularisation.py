"""What helps a spiking network to train: penalties on its activity, dropout of feedback, batch normalisation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from snn_core import fuse
from snn_core.checks import Like, check_flag, check_floating, check_module, check_number, check_whole
from snn_core.fuse import Part
from snn_core.state import MemoryModule, check_input, check_sequence

__all__ = ["MultiStepBatchNorm", "RecurrentDropout", "fold_batch_norm", "rate_penalty", "voltage_penalty"]


def rate_penalty(spikes: Tensor, target: float | tuple[float, float]) -> Tensor:
    r"""Return how far the firing rates of neurons are from a target, or outside of a range, as a scalar to minimise.

    .. math::
        L = \frac{1}{2} \sum_j \max(0, f_{low} - f_j)^2 + \max(0, f_j - f_{high})^2, \qquad
        f_j = \frac{1}{T N} \sum_{t, n} s_{j, n}[t]

    With one target, :math:`f_{low} = f_{high}`, this is the squared distance :math:`\frac{1}{2} \sum_j (f_j - f)^2`.

    Args:
        spikes: ``[T, N, *]``, as a layer returns them, or as ``Monitor(net, gradient=True)`` records them.
        target: the rate f in spikes for each step, or the lowest and the highest rate that cost nothing.

    Raises:
        TypeError: ``spikes`` is not a floating-point tensor, or ``target`` neither a number nor two of them.
        ValueError: ``spikes`` is not ``[T, N, *]`` with at least one step and sample, a rate is not from 0 to 1, or the
            lowest one is above the highest.

    Source: for one target, G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking
    neurons", Nature Communications 11, 2020. https://doi.org/10.1038/s41467-020-17236-y. For bounds, F. Zenke and
    T. Vogels, "The remarkable robustness of surrogate gradient learning for instilling complex function in spiking
    neural networks", Neural Computation 33, 2021. https://doi.org/10.1162/neco_a_01367
    """
    bounds = target if isinstance(target, tuple) else (target, target)
    if len(bounds) != 2:
        raise TypeError(f"target must be a number or a tuple of two, got a tuple of {len(bounds)}")
    low, high = (check_number("target", bound) for bound in bounds)
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"target must be a rate from 0 to 1, or the lowest and the highest one, got {target}"
        )
    rate = _recorded("spikes", spikes).mean((0, 1))
    return 0.5 * (torch.relu(low - rate).square() + torch.relu(rate - high).square()).sum()


def voltage_penalty(v: Tensor, v_threshold: float | Tensor = 1.0) -> Tensor:
    r"""Return how far membrane potentials lie above the threshold or below its negative, as a scalar to minimise.

    .. math::
        L = \frac{1}{T N} \sum_{t, n, j} \max(0, v_{j, n}[t] - v_{threshold})^2
            + \max(0, -v_{j, n}[t] - v_{threshold})^2

    A recorded v[t] is that after the reset. A hard reset leaves none above the threshold, so that only the second term
    acts; after a soft one, a neuron that was charged to more than twice the threshold is still above it.

    Args:
        v: ``[T, N, *]``, as ``Monitor(net, v=True, gradient=True)`` records it.
        v_threshold: above 0; a number, or a tensor with one for each neuron, ``[*]``.

    Raises:
        TypeError: ``v`` is not a floating-point tensor, or ``v_threshold`` neither a number nor a tensor.
        ValueError: ``v`` is not ``[T, N, *]`` with at least one step and sample, or ``v_threshold`` is not above 0, or
            has another shape.

    Source: G. Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS
    2018. https://arxiv.org/abs/1803.09574
    """
    shape = _recorded("v", v).shape[2:]
    if not isinstance(v_threshold, Tensor):
        check_number("v_threshold", v_threshold, above=0)
    elif v_threshold.shape not in (torch.Size(), shape) or not bool((v_threshold > 0).all()):
        raise ValueError(
            f"v_threshold must be above 0, a number or one for each neuron in shape {list(shape)}, got "
            f"{v_threshold.tolist()}"
        )
    outside = torch.relu(v.abs() - v_threshold)  # at most one of both terms differs from 0
    return outside.square().sum() / (v.shape[0] * v.shape[1])


def _recorded(name: str, values: Tensor) -> Tensor:
    if check_floating(name, values).dim() < 2 or 0 in values.shape[:2]:
        raise ValueError(
            f"{name} must have shape [T, N, *] with T and N of at least 1, got {list(values.shape)}"
        )
    return values


class RecurrentDropout(MemoryModule):
    r"""Drops the feedback of a recurrent container in training, and nothing else: its outputs stay as they are.

    .. math:: y[t-1] \leftarrow \frac{m}{1 - p} \odot y[t-1], \qquad m \sim \text{Bernoulli}(1 - p)

    before each step; the expected feedback is that without dropout. One mask ``m``, drawn for each element of
    each sample when the first output comes back, holds until :func:`~snn_core.functional.reset_net`, so that an element
    that is dropped stays dropped through the whole sequence. It comes from torch's random numbers, so
    ``torch.manual_seed`` repeats it.

    In evaluation mode the container does what it does alone, and is fused as it is alone. In training it runs in the
    readable loop.

    Args:
        container: a recurrent container, whose one state is its last output ``y``, ``[N, *]``, or its last D outputs
            ``y_history``, ``[N, D, *]``, the newest first, of which each is masked once.
        p: share of the feedback to drop, from 0 to below 1.
        each_step: draw a new mask before every step instead.

    Attributes:
        mask: m / (1 - p) in the shape of y, a state; None before the first feedback, and with ``each_step``.

    Raises:
        TypeError: ``container`` is not a module with that one state, ``p`` not a number, ``each_step`` not a bool.
        ValueError: ``p`` is not from 0 to below 1.

    Source: Y. Gal and Z. Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks",
    NeurIPS 2016. https://arxiv.org/abs/1512.05287
    """

    container: Any

    def __init__(self, container: nn.Module, p: float = 0.5, each_step: bool = False) -> None:
        super().__init__()
        check_module("RecurrentDropout: container", container)
        if getattr(container, "_state_names", None) not in (["y"], ["y_history"]):
            raise TypeError(
                f"RecurrentDropout: container must be a recurrent container, whose one state is y or y_history, got "
                f"{type(container).__name__}"
            )
        self.p = check_number("RecurrentDropout: p", p)
        if not 0 <= self.p < 1:
            raise ValueError(f"RecurrentDropout: p must be from 0 to below 1, got {p}")
        self.each_step = check_flag("RecurrentDropout: each_step", each_step)
        self.container = container
        self.register_state("mask")

    @property
    def _drops(self) -> bool:
        return self.training and self.p > 0

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step of the container; arguments, result and errors are the container's."""
        check_input(self, x)
        (name,) = self.container._state_names
        y = getattr(self.container, name)
        if self._drops and y is not None:
            self.container.keep_state(
                name, self._dropped(y, None if name == "y" else fuse.place_of_history(x.shape))
            )
        return self.container(x)

    def _dropped(self, y: Tensor, at: int | None) -> Tensor:
        """Return y[t-1] with its mask; or where dimension ``at`` holds the last outputs, all with the newest masked."""
        if at is None:
            return y * self._mask_for(y)
        newest, older = y.narrow(at, 0, 1), y.narrow(at, 1, y.shape[at] - 1)
        return torch.cat([newest * self._mask_for(newest), older], at)

    def _mask_for(self, y: Tensor) -> Tensor:
        mask = None if self.each_step else self.kept_state("mask", y)
        if mask is None:
            mask = nn.functional.dropout(torch.ones_like(y), self.p)
        if not self.each_step:
            self.keep_state("mask", mask)
        return mask

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Take T time steps; equals T calls of the single step."""
        alone = not self._drops and fuse.defines(self.container, "forward_sequence")
        return self.container.forward_sequence(x_seq) if alone else super().forward_sequence(x_seq)

    def part(self, like: Like) -> Part | str:
        """Return what stands for the container in a plan, unless its feedback is dropped."""
        return "it drops feedback in training" if self._drops else fuse.read(self.container, like)

    def extra_repr(self) -> str:
        return f"p={self.p}, each_step={self.each_step}"


class MultiStepBatchNorm(_BatchNorm):
    r"""Batch normalisation of a sequence: over time, samples and positions, one mean and variance for each channel.

    .. math:: y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Put it between a linear or convolutional layer and a neuron; parameters, buffers and their names are those of
    ``nn.BatchNorm1d``. In training, mean and variance are those of all T steps of the batch together, as for a module
    in a ``SeqToANNContainer``. After training, :func:`fold_batch_norm` leaves nothing of it.

    Args:
        num_features: C, channels of ``[T, N, C, *]``.
        scale: first value of :math:`\gamma`. Threshold-dependent batch normalisation takes :math:`\alpha V_{th}`, the
            threshold of the neuron that follows, times a factor that is 1 in a plain network.
        eps: added to the variance.
        momentum: weight of a batch in the running mean and variance.

    Raises:
        TypeError: an argument that is not a number; from ``forward``, ``x_seq`` is not a floating-point tensor.
        ValueError: ``num_features`` below 1, ``scale`` or ``eps`` not above 0, or ``momentum`` not from 0 to 1; from
            ``forward``, ``x_seq`` is not ``[T, N, C, *]``, or in training has only one value for each channel.

    Source: H. Zheng et al., "Going deeper with directly-trained larger spiking neural networks", AAAI 2021.
    https://arxiv.org/abs/2011.05280
    """

    takes_sequences = True

    def __init__(
        self, num_features: int, scale: float = 1.0, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        name = "MultiStepBatchNorm:"
        self.scale = check_number(f"{name} scale", scale, above=0)
        momentum = check_number(f"{name} momentum", momentum)
        if not 0 <= momentum <= 1:
            raise ValueError(f"{name} momentum must be from 0 to 1, got {momentum}")
        features = check_whole(f"{name} num_features", num_features, 1)
        super().__init__(features, check_number(f"{name} eps", eps, above=0), momentum)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.weight, self.scale)

    def forward(self, x_seq: Tensor) -> Tensor:
        """Normalise ``x_seq``, ``[T, N, C, *]``."""
        check_sequence(self, x_seq)
        if x_seq.dim() < 3 or x_seq.shape[2] != self.num_features:
            raise ValueError(
                f"MultiStepBatchNorm: x_seq must have shape [T, N, {self.num_features}, *], got {list(x_seq.shape)}"
            )
        return super().forward(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])

    def _check_input_dim(self, input: Tensor) -> None:
        """Nothing is left to check."""


_FOLDED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, MultiStepBatchNorm)
_FOLDED_INTO = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def fold_batch_norm(net: nn.Module) -> nn.Module:
    r"""Return a copy of ``net`` without batch normalisation that computes what ``net`` computes in evaluation mode.

    .. math:: W' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W, \qquad
        b' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu) + \beta

    Each batch normalisation is folded into the layer right before it in a chain of modules, ``nn.Sequential``,
    ``MultiStepContainer`` or ``SeqToANNContainer``, nested or not; then the chain runs fused again. The names of all
    other modules stay. Only the chain says what comes before: a batch normalisation that is called by a ``forward`` of
    your own is refused, and a chain must be called as a whole. Behind an ``nn.Linear`` the channels must be its
    outputs, that is, a sample must be ``[C]``.

    Raises:
        TypeError: ``net`` is not a module.
        ValueError: a batch normalisation is not in a chain, is in training mode, keeps no running statistics, or is
            used twice; or what is right before it is not an ``nn.Linear`` or ``nn.Conv`` with as many outputs, used
            once and without hooks.
    """
    net = copy.deepcopy(check_module("net", net))
    paths: dict[nn.Module, list[str]] = {}
    for path, module in net.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    inside = {child for module in paths if fuse.is_chain(module) for child in module.children()}
    chained: dict[nn.Module, tuple[nn.Module, str, nn.Module | None]] = {}
    for chain in paths:
        if fuse.is_chain(chain) and chain not in inside:
            before = None
            for parent, name, module in _in_order(chain):
                chained[module] = parent, name, before
                before = before if type(module) in _FOLDED else module  # two in a row fold into one layer
    for module in list(paths):
        if isinstance(module, _BatchNorm):
            if module not in chained:
                raise ValueError(
                    f"{_shown(paths, module)} must stand in an nn.Sequential, MultiStepContainer or SeqToANNContainer, "
                    "which says what comes before it"
                )
            parent, name, before = chained[module]
            _fold_into(module, before, paths)
            delattr(parent, name)
    return net


def _in_order(chain: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Give the modules of a chain in the order of their calls, each with its parent and its name there."""
    children: Any = chain._modules  # named_children leaves out a module that comes again
    for name, module in children.items():
        if fuse.is_chain(module):
            yield from _in_order(module)
        else:
            yield chain, name, module


def _shown(paths: dict[nn.Module, list[str]], module: nn.Module) -> str:
    return f"{type(module).__name__} {paths[module][0]!r}"


def _fold_into(norm: Any, layer: Any, paths: dict[nn.Module, list[str]]) -> None:
    shown = _shown(paths, norm)
    if norm.training:
        raise ValueError(f"{shown} must be in evaluation mode: call net.eval() before fold_batch_norm(net)")
    if type(norm) not in _FOLDED or not fuse.does_only_forward(norm):
        raise ValueError(f"{shown} must be a BatchNorm of torch or MultiStepBatchNorm, without hooks")
    if norm.running_mean is None:
        raise ValueError(f"{shown} must keep running statistics: build it with track_running_stats=True")
    if type(layer) not in _FOLDED_INTO or not fuse.does_only_forward(layer):
        given = "nothing" if layer is None else _shown(paths, layer)
        raise ValueError(f"{shown} must come right after an nn.Linear or nn.Conv without hooks, got {given}")
    if len(layer.weight) != norm.num_features:
        raise ValueError(
            f"{shown} must have the {len(layer.weight)} channels of {_shown(paths, layer)}, got {norm.num_features}"
        )
    for module in (norm, layer):
        if len(paths[module]) > 1:
            raise ValueError(f"{_shown(paths, module)} must be used once, got {', '.join(paths[module])}")
    layer.weight, layer.bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
