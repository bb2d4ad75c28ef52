"""The networks of the ablation: those of the tutorial with one part changed, and non-spiking references."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from snn_core import surrogate
from snn_core.functional import seq_to_ann_forward
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SynapseFilter
from snn_core.network import IN_FEATURES, NUM_CLASSES, columns_as_sequence
from snn_core.neuron import IFNode, LIFNode

KINDS: tuple[str, ...] = ("plain", "stateful-synapse", "feedback", "gru", "lstm")
SURROGATES: dict[str, type[nn.Module]] = {
    "atan": surrogate.ATan,
    "sigmoid": surrogate.Sigmoid,
    "fast-sigmoid": surrogate.FastSigmoid,
    "triangle": surrogate.Triangle,
}

#: Mean and standard deviation of the training set's pixels, in units of full ink.
MEAN, STD = 0.2860, 0.3530


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network; the defaults are the tutorial's.

    Args:
        kind: one of :data:`KINDS`.
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
        readout: ``"rate"``: IF neurons, their mean firing rate; ``"membrane"``: their membrane potential without
            threshold and reset after the last step, divided by the number of steps.
        last: how many of the last steps the read-out takes; None takes all.
        gain: factor on the initial weights of the first layer.
        recurrent_gain: factor on the initial weights from y[t-1].
        normalise: whether pixels are shifted and scaled to mean 0 and standard deviation 1, which the first layer's
            weights and biases could do as well.
        scale: factor on the outputs, for cross-entropy.
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
    normalise: bool = False
    scale: float = 1.0


def build(spec: NetworkSpec) -> nn.Module:
    """Return the network of ``spec``, images ``[N, 1, 28, W]`` to outputs ``[N, 10]``."""
    return GatedNet(spec) if spec.kind in ("gru", "lstm") else SpikingNet(spec)


class SpikingNet(nn.Module):
    """Linear -> spiking neurons -> (synapse filter) -> Linear -> read-out, with the parts that ``spec`` asks for."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.fc1 = nn.Linear(IN_FEATURES, spec.hidden)
        self.sn1 = MultiStepContainer(self._hidden())
        self.sy1 = MultiStepContainer(*self._filters())
        self.fc2 = nn.Linear(spec.hidden, NUM_CLASSES)
        self.sn2 = MultiStepContainer(IFNode(**self._neuron_options()))
        with torch.no_grad():
            self.fc1.weight *= spec.gain
            if spec.kind == "feedback":
                self.sn1[0].rc.weight[:, spec.hidden :] *= spec.recurrent_gain

    def _neuron_options(self) -> dict[str, object]:
        function = SURROGATES[self.spec.surrogate_function](self.spec.alpha)
        return {"surrogate_function": function, "detach_reset": self.spec.detach_reset}

    def _hidden(self) -> nn.Module:
        spec, options = self.spec, self._neuron_options()
        options["v_reset"] = None if spec.soft_reset else 0.0
        neuron = (
            IFNode(**options)
            if spec.neuron == "if"
            else LIFNode(tau=spec.tau_m, decay_input=False, **options)
        )
        if spec.kind != "feedback":
            return neuron
        container = LinearRecurrentContainer(neuron, spec.hidden, spec.hidden)
        if spec.frozen_recurrent:
            # The weights of x[t] are trained; a hook is enough, since weight decay is not used with it.
            mask = torch.ones(2 * spec.hidden)
            mask[spec.hidden :] = 0
            container.rc.weight.register_hook(lambda gradient: gradient * mask)
        return container

    def _filters(self) -> list[nn.Module]:
        spec = self.spec
        if spec.kind != "stateful-synapse":
            return []
        tau = [spec.tau] * spec.hidden if spec.tau_mode == "per-channel" else spec.tau
        return [SynapseFilter(tau=tau, learnable=spec.tau_mode != "frozen")]

    def hidden_spikes(self, images: Tensor) -> Tensor:
        """Return the spikes of the hidden layer, ``[T, N, hidden]``."""
        if self.spec.normalise:
            images = (images - MEAN) / STD
        return self.sn1(seq_to_ann_forward(columns_as_sequence(images), self.fc1))

    def forward(self, images: Tensor) -> Tensor:
        x = seq_to_ann_forward(self.sy1(self.hidden_spikes(images)), self.fc2)  # [T, N, 10]
        if self.spec.readout == "rate":
            x = self.sn2(x)
        return self.spec.scale * x[-self.spec.last if self.spec.last else 0 :].mean(0)


class GatedNet(nn.Module):
    """GRU or LSTM over the columns, read out linearly after the last one: the non-spiking reference."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[spec.kind]
        self.rnn = cell(IN_FEATURES, spec.hidden)
        self.fc2 = nn.Linear(spec.hidden, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        h_seq, _ = self.rnn(columns_as_sequence(images))
        return self.fc2(h_seq[-1])
