"""The three networks of the text with one part changed, which controls and better recipes are made of."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import NETWORKS, columns_as_sequence
from snn_core.checks import check_choice, check_module, check_whole
from snn_core.functional import mean_over_time, scan
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SynapseFilter
from snn_core.more.batch_norm import fold_batch_norm
from snn_core.neuron import IFNode, MultiStepIFNode, MultiStepLINode
from snn_core.surrogate import ATan, Sigmoid

__all__ = ["SURROGATES", "GatedNet", "NetworkSpec", "SpikingNet", "build", "fold"]

IN_FEATURES = 28
NUM_CLASSES = 10

#: Mean and standard deviation of the training images' pixels, from 0 to 1.
PIXEL_MEAN, PIXEL_STD = 0.2860, 0.3530

_GATED: dict[str, type[nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}

SURROGATES: dict[str, type[nn.Module]] = {"atan": ATan, "sigmoid": Sigmoid}


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """All that there is to say about a network, so that a result, or a file of weights, can carry it along.

    The defaults are the tutorial's.

    Args:
        kind: one of the tutorial's three networks, or ``"gru"``, ``"lstm"``, which take only ``hidden`` besides.
        hidden: number of hidden neurons or units.
        detach_reset: whether the gradient through the spike is cut in the reset of the hidden neurons.
        detach_readout: likewise of the read-out neurons; None does as ``detach_reset`` says.
        surrogate_function: one of :data:`SURROGATES`.
        alpha: its steepness.
        tau: initial time constant of the synapse filter in time steps.
        tau_mode: ``"learned"``, ``"frozen"`` or ``"per-channel"`` (learned, one for each hidden neuron).
        frozen_recurrent: whether the weights from y[t-1] keep their initial values.
        readout: ``"rate"``: IF neurons, their mean firing rate, as in the text; ``"membrane"``: neurons that
            integrate and never fire, their membrane potential after the last step divided by the number of steps,
            which is the mean of what arrives; ``"leaky"``: leaky integrators whose one tau, 2 at first, is trained, the
            mean of their membrane potentials.
        last: how many of the last steps the read-out takes; None takes all.
        batch_norm: whether batch normalisation follows the first layer while training; :func:`fold` puts it into
            the weights and biases of that layer.
        scale: factor on the outputs, for cross-entropy.
        standardised: whether pixels are taken less their mean 0.2860 and divided by their standard deviation 0.3530
            over the training images, as in the code behind the curves that SpikingJelly published for 90 epochs.

    Raises:
        ValueError: an unknown name, or a size below 1; the message names the field. The layers check the other numbers.
    """

    kind: str = "plain"
    hidden: int = 32
    detach_reset: bool = True
    detach_readout: bool | None = None
    surrogate_function: str = "atan"
    alpha: float = 2.0
    tau: float = 2.0
    tau_mode: str = "learned"
    frozen_recurrent: bool = False
    readout: str = "rate"
    last: int | None = None
    batch_norm: bool = False
    scale: float = 1.0
    standardised: bool = False

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, (*NETWORKS, *_GATED))
        check_choice("surrogate_function", self.surrogate_function, tuple(SURROGATES))
        check_choice("tau_mode", self.tau_mode, ("learned", "frozen", "per-channel"))
        check_choice("readout", self.readout, ("rate", "membrane", "leaky"))
        check_whole("hidden", self.hidden, 1)
        if self.last is not None:
            check_whole("last", self.last, 1)


def _checked(spec: object, kinds: tuple[str, ...]) -> NetworkSpec:
    if not isinstance(spec, NetworkSpec):
        raise TypeError(f"spec must be a NetworkSpec, got {type(spec).__name__}")
    check_choice("spec.kind", spec.kind, kinds)
    return spec


class SpikingNet(nn.Module):
    """Linear -> spiking neurons -> (synapse filter) -> Linear -> read-out, with the parts that ``spec`` asks for.

    Args:
        spec: the network.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.

    Shapes: images ``[N, 1, 28, T]`` to outputs ``[N, 10]``.

    Raises:
        TypeError: ``spec`` is not a :class:`NetworkSpec`, or images have another dtype than the weights.
        ValueError: ``spec.kind`` is not one of a spiking network, an unknown backend, or images of another shape or
            on another device.
    """

    def __init__(self, spec: NetworkSpec, backend: str = "auto") -> None:
        super().__init__()
        self.spec, self.backend = _checked(spec, tuple(NETWORKS)), backend
        self.fc1 = nn.Linear(IN_FEATURES, spec.hidden)
        self.bn = nn.BatchNorm1d(spec.hidden) if spec.batch_norm else None
        self.sn1 = _hidden_neurons(spec, backend)
        self.sy1 = _synapses(spec, backend) if spec.kind == "stateful-synapse" else None
        self.fc2 = nn.Linear(spec.hidden, NUM_CLASSES)
        cut = spec.detach_reset if spec.detach_readout is None else spec.detach_readout
        options = _options(spec, backend) | {"detach_reset": cut}
        self.sn2: nn.Module | None = None
        if spec.readout == "rate":
            self.sn2 = MultiStepIFNode(**options)
        elif spec.readout == "leaky":
            self.sn2 = MultiStepLINode(nn.Parameter(torch.tensor(2.0)))

    @property
    def chain(self) -> nn.Sequential | None:
        """The layers whose mean output over time is this network's output; None where it computes something else."""
        spec = self.spec
        is_mean = spec.readout == "rate" and spec.last is None and spec.scale == 1
        if self.bn is not None or spec.standardised or not is_mean:
            return None
        return nn.Sequential(
            *[part for part in (self.fc1, self.sn1, self.sy1, self.fc2, self.sn2) if part is not None]
        )

    def hidden_spikes(self, images: Tensor) -> Tensor:
        """Return the spikes of the hidden layer, ``[T, N, hidden]``."""
        return self._scan(images, "fc1", "bn", "sn1")

    def _scan(self, images: Tensor, *names: str) -> Tensor:
        """Take the images' columns through those of its parts that it has."""
        if self.spec.standardised:
            images = (images - PIXEL_MEAN) / PIXEL_STD
        parts = [part for part in map(self._modules.get, names) if part is not None]
        return scan(columns_as_sequence(images), *parts, backend=self.backend)  # from [T, N, 28]

    def forward(self, images: Tensor) -> Tensor:
        x = self._scan(images, "fc1", "bn", "sn1", "sy1", "fc2", "sn2")  # [T, N, 10]
        if self.spec.last is not None:
            x = x[-self.spec.last :]
        x = mean_over_time(x)  # [N, 10]
        return x if self.spec.scale == 1 else self.spec.scale * x


def _options(spec: NetworkSpec, backend: str) -> dict[str, Any]:
    """Return what the neurons of both layers have in common."""
    function = SURROGATES[spec.surrogate_function](spec.alpha)
    return {"surrogate_function": function, "detach_reset": spec.detach_reset, "backend": backend}


def _hidden_neurons(spec: NetworkSpec, backend: str) -> nn.Module:
    """Return the hidden neurons for sequences; with feedback, single-step neurons in a recurrent container."""
    options = _options(spec, backend)
    if spec.kind != "feedback":
        return MultiStepIFNode(**options)
    container = LinearRecurrentContainer(IFNode(**options), spec.hidden, spec.hidden)
    if spec.frozen_recurrent:
        mask = torch.ones(2 * spec.hidden)
        mask[spec.hidden :] = 0
        # One matrix holds the weights of x[t] too, which are trained: a weight decay would still move the rest.
        container.rc.weight.register_hook(lambda gradient: gradient * mask.to(gradient.device))
    return MultiStepContainer(container)


def _synapses(spec: NetworkSpec, backend: str) -> nn.Module:
    tau = [spec.tau] * spec.hidden if spec.tau_mode == "per-channel" else spec.tau
    return MultiStepContainer(SynapseFilter(tau, learnable=spec.tau_mode != "frozen", backend=backend))


class GatedNet(nn.Module):
    """GRU or LSTM over the columns, read out linearly after the last one: the non-spiking reference.

    Raises:
        TypeError: ``spec`` is not a :class:`NetworkSpec`.
        ValueError: ``spec.kind`` is neither ``"gru"`` nor ``"lstm"``.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.rnn = _GATED[_checked(spec, tuple(_GATED)).kind](IN_FEATURES, spec.hidden)
        self.fc2 = nn.Linear(spec.hidden, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        h_seq, _ = self.rnn(columns_as_sequence(images))
        return self.fc2(h_seq[-1])


def build(spec: NetworkSpec) -> nn.Module:
    """Return the network of ``spec``, images ``[N, 1, 28, T]`` to outputs ``[N, 10]``.

    Initial weights are drawn in one order whatever the options: the same seed gives the same.

    Raises:
        TypeError: ``spec`` is not a :class:`NetworkSpec`.
    """
    return GatedNet(spec) if getattr(spec, "kind", None) in _GATED else SpikingNet(spec)


def fold(net: nn.Module) -> nn.Module:
    """Return a copy of ``net`` without batch normalisation that computes what ``net`` computes in evaluation mode.

    See :func:`~snn_core.more.batch_norm.fold_batch_norm`. So the network that is used has the tutorial's number of
    parameters. A network without it comes back unchanged.

    Raises:
        TypeError: ``net`` is not a module.
    """
    check_module("net", net)
    net = copy.deepcopy(net).eval()
    if getattr(net, "bn", None) is None:
        return net
    net.fc1 = fold_batch_norm(nn.Sequential(net.fc1, net.bn))[0]
    net.bn, net.spec = None, dataclasses.replace(net.spec, batch_norm=False)
    return net
