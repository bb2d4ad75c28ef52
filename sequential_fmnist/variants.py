"""The tutorial's networks with one part changed: what controls and better recipes are made of.

A spec says everything about a network, so that a result, or a file of weights, can carry it along.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import IN_FEATURES, NETWORKS, NUM_CLASSES, columns_as_sequence
from snn_core import surrogate
from snn_core.checks import check_choice, check_flag, check_module, check_number, check_whole
from snn_core.functional import seq_to_ann_forward
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SynapseFilter
from snn_core.neuron import IFNode, LIFNode

__all__ = ["CHOICES", "SURROGATES", "GatedNet", "NetworkSpec", "SpikingNet", "build", "fold"]

#: Mean and standard deviation of the training images' pixels, from 0 to 1.
PIXEL_MEAN, PIXEL_STD = 0.2860, 0.3530

SURROGATES: dict[str, type[nn.Module]] = {
    "atan": surrogate.ATan,
    "sigmoid": surrogate.Sigmoid,
    "fast-sigmoid": surrogate.FastSigmoid,
    "triangle": surrogate.Triangle,
}

#: Fields of :class:`NetworkSpec` that take one of a few names.
CHOICES: dict[str, tuple[str, ...]] = {
    "kind": (*NETWORKS, "gru", "lstm"),
    "neuron": ("if", "lif"),
    "surrogate_function": tuple(SURROGATES),
    "tau_mode": ("learned", "frozen", "per-channel"),
    "readout": ("rate", "membrane"),
}


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network; the defaults are the tutorial's.

    Args:
        kind: one of the tutorial's three networks, or ``"gru"``, ``"lstm"``, which take only ``hidden`` besides.
        hidden: number of hidden neurons or units.
        neuron: ``"if"`` or ``"lif"``, of the hidden layer.
        tau_m: membrane time constant of LIF neurons in time steps.
        soft_reset: whether the hidden neurons are reset by subtraction.
        detach_reset: whether the gradient through the spike is cut in the reset, in both layers.
        surrogate_function: one of :data:`SURROGATES`.
        alpha: its steepness.
        tau: initial time constant of the synapse filter in time steps.
        tau_mode: ``"learned"``, ``"frozen"`` or ``"per-channel"`` (learned, one for each hidden neuron).
        frozen_recurrent: whether the weights from y[t-1] keep their initial values.
        readout: ``"rate"``: IF neurons, their mean firing rate, as in the tutorial; ``"membrane"``: neurons that
            integrate and never fire, their membrane potential after the last step divided by the number of steps,
            which is the mean of what arrives.
        last: how many of the last steps the read-out takes; None takes all.
        gain: factor on the initial weights of the first layer.
        recurrent_gain: factor on the initial weights from y[t-1].
        batch_norm: whether batch normalisation follows the first layer while training; :func:`fold` puts it into
            the weights and biases of that layer.
        scale: factor on the outputs, for cross-entropy.
        standardised: whether pixels are taken less their mean 0.2860 and divided by their standard deviation 0.3530
            over the training images, as in the code behind the curves that SpikingJelly published for 90 epochs.

    Raises:
        TypeError: a value of another type; the message names the field.
        ValueError: a name that is not among :data:`CHOICES`, a size below 1, or a number out of its range.
    """

    kind: str = "plain"
    hidden: int = 32
    neuron: str = "if"
    tau_m: float = 2.0
    soft_reset: bool = False
    detach_reset: bool = True
    surrogate_function: str = "atan"
    alpha: float = 2.0
    tau: float = 2.0
    tau_mode: str = "learned"
    frozen_recurrent: bool = False
    readout: str = "rate"
    last: int | None = None
    gain: float = 1.0
    recurrent_gain: float = 1.0
    batch_norm: bool = False
    scale: float = 1.0
    standardised: bool = False

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        for name in ("hidden",) if self.last is None else ("hidden", "last"):
            check_whole(name, getattr(self, name), 1)
        for name, above in {"tau_m": 1, "tau": 1, "alpha": 0}.items():
            check_number(name, getattr(self, name), above)
        for name in ("gain", "recurrent_gain", "scale"):
            check_number(name, getattr(self, name))
        for name in ("soft_reset", "detach_reset", "frozen_recurrent", "batch_norm", "standardised"):
            check_flag(name, getattr(self, name))


def build(spec: NetworkSpec) -> nn.Module:
    """Return the network of ``spec``, images ``[N, 1, 28, W]`` to outputs ``[N, 10]``.

    Initial weights are drawn in the order of :mod:`sequential_fmnist.networks`: the same seed gives the same.

    Raises:
        TypeError: ``spec`` is not a :class:`NetworkSpec`.
    """
    _check_spec(spec, ())
    return GatedNet(spec) if spec.kind in ("gru", "lstm") else SpikingNet(spec)


def _check_spec(spec: object, kinds: tuple[str, ...]) -> None:
    if not isinstance(spec, NetworkSpec):
        raise TypeError(f"spec must be a NetworkSpec, got {type(spec).__name__}")
    if kinds:
        check_choice("spec.kind", spec.kind, kinds)


class SpikingNet(nn.Module):
    """Linear -> spiking neurons -> (synapse filter) -> Linear -> read-out, with the parts that ``spec`` asks for.

    Raises:
        TypeError: ``spec`` is not a :class:`NetworkSpec`.
        ValueError: ``spec.kind`` is not one of a spiking network.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        _check_spec(spec, tuple(NETWORKS))
        self.spec = spec
        self.fc1 = nn.Linear(IN_FEATURES, spec.hidden)
        self.bn = nn.BatchNorm1d(spec.hidden) if spec.batch_norm else None
        self.sn1 = MultiStepContainer(self._hidden())
        self.sy1 = MultiStepContainer(self._filter()) if spec.kind == "stateful-synapse" else None
        self.fc2 = nn.Linear(spec.hidden, NUM_CLASSES)
        self.sn2 = MultiStepContainer(IFNode(**self._options())) if spec.readout == "rate" else None
        with torch.no_grad():
            self.fc1.weight *= spec.gain
            if spec.kind == "feedback":
                self.sn1[0].rc.weight[:, spec.hidden :] *= spec.recurrent_gain

    def _options(self) -> dict[str, object]:
        function = SURROGATES[self.spec.surrogate_function](self.spec.alpha)
        return {"surrogate_function": function, "detach_reset": self.spec.detach_reset}

    def _hidden(self) -> nn.Module:
        spec, options = self.spec, self._options() | {"v_reset": None if self.spec.soft_reset else 0.0}
        if spec.neuron == "lif":
            neuron: nn.Module = LIFNode(tau=spec.tau_m, decay_input=False, **options)
        else:
            neuron = IFNode(**options)
        if spec.kind != "feedback":
            return neuron
        container = LinearRecurrentContainer(neuron, spec.hidden, spec.hidden)
        if spec.frozen_recurrent:
            mask = torch.ones(2 * spec.hidden)
            mask[spec.hidden :] = 0
            # One matrix holds the weights of x[t] too, which are trained: a weight decay would still move the rest.
            container.rc.weight.register_hook(lambda gradient: gradient * mask.to(gradient.device))
        return container

    def _filter(self) -> nn.Module:
        spec = self.spec
        tau = [spec.tau] * spec.hidden if spec.tau_mode == "per-channel" else spec.tau
        return SynapseFilter(tau=tau, learnable=spec.tau_mode != "frozen")

    def hidden_spikes(self, images: Tensor) -> Tensor:
        """Return the spikes of the hidden layer, ``[T, N, hidden]``."""
        if self.spec.standardised:
            images = (images - PIXEL_MEAN) / PIXEL_STD
        x_seq = seq_to_ann_forward(columns_as_sequence(images), self.fc1)
        if self.bn is not None:
            x_seq = seq_to_ann_forward(x_seq, self.bn)
        return self.sn1(x_seq)

    def forward(self, images: Tensor) -> Tensor:
        x_seq = self.hidden_spikes(images)
        if self.sy1 is not None:
            x_seq = self.sy1(x_seq)
        x_seq = seq_to_ann_forward(x_seq, self.fc2)  # [T, N, 10]
        if self.sn2 is not None:
            x_seq = self.sn2(x_seq)
        return self.spec.scale * x_seq[-(self.spec.last or 0) :].mean(0)


class GatedNet(nn.Module):
    """GRU or LSTM over the columns, read out linearly after the last one: the non-spiking reference.

    Raises:
        TypeError: ``spec`` is not a :class:`NetworkSpec`.
        ValueError: ``spec.kind`` is neither ``"gru"`` nor ``"lstm"``.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        cells = {"gru": nn.GRU, "lstm": nn.LSTM}
        _check_spec(spec, tuple(cells))
        cell = cells[spec.kind]
        self.rnn = cell(IN_FEATURES, spec.hidden)
        self.fc2 = nn.Linear(spec.hidden, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        h_seq, _ = self.rnn(columns_as_sequence(images))
        return self.fc2(h_seq[-1])


@torch.no_grad()
def fold(net: nn.Module) -> nn.Module:
    r"""Return a copy of ``net`` without batch normalisation that computes what ``net`` computes in evaluation mode.

    .. math:: W' = \tfrac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W \qquad
        b' = \tfrac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu) + \beta

    So the network that is used has the tutorial's number of parameters. A network without it comes back unchanged.

    Raises:
        TypeError: ``net`` is not a module.
    """
    check_module("net", net)
    net = copy.deepcopy(net).eval()
    if getattr(net, "bn", None) is None:
        return net
    norm, layer = net.bn, net.fc1
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    layer.weight *= factor.unsqueeze(1)
    layer.bias.copy_((layer.bias - norm.running_mean) * factor + norm.bias)
    net.bn, net.spec = None, dataclasses.replace(net.spec, batch_norm=False)
    return net
