"""Networks with one hidden layer and one kind of memory, or two, of about as many parameters each.

Linear -> memory -> mean over a window -> Linear. The read-out sees the window only, so what came before it counts only
if the hidden layer still has it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.command import check_options, choice, flag, number, option, whole
from snn_core.functional import mean_over_time, reset_net, scan
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.neuron import AdaptiveLIFNode, LIFNode, LINode
from snn_core.surrogate import ATan
from snn_core.synapse import DoubleExponentialSynapse

__all__ = ["GATED", "KINDS", "MemoryNet", "MemorySpec", "hidden_for", "learned", "parameters_of"]

#: Shortest of the time constants that differ from neuron to neuron, in time steps.
SHORTEST = 2.0
#: Rise of an adaptive threshold by a spike.
BETA = 0.2
#: Factor on the initial weights of a read-out of means of spikes, which are smaller than spikes and sums of spikes.
OF_MEANS = 10.0


def _spread(spec: MemorySpec) -> list[float]:
    """Return a time constant for each neuron, up to the longest, equally far apart on a logarithmic scale."""
    return torch.logspace(math.log10(SHORTEST), math.log10(spec.tau), spec.hidden).tolist()


def _neuron(spec: MemorySpec, tau: float | nn.Parameter) -> LIFNode:
    return LIFNode(
        tau,
        decay_input=False,
        v_reset=None,
        surrogate_function=ATan(spec.alpha),
        detach_reset=spec.detach_reset,
    )


def _learned_membranes(spec: MemorySpec) -> LIFNode:
    return _neuron(spec, nn.Parameter(torch.tensor(_spread(spec))))


def _adaptive(spec: MemorySpec) -> AdaptiveLIFNode:
    return AdaptiveLIFNode(
        spec.membrane, nn.Parameter(torch.tensor(_spread(spec))), BETA, decay_input=False, v_reset=None,
        surrogate_function=ATan(spec.alpha), detach_reset=spec.detach_reset,
    )  # fmt: skip


def _double_exponential(spec: MemorySpec) -> DoubleExponentialSynapse:
    decay = _spread(spec)
    return DoubleExponentialSynapse([1 + (tau - 1) / 4 for tau in decay], decay, learnable=True)


def _feedback(spec: MemorySpec, cells: nn.Module) -> LinearRecurrentContainer:
    container = LinearRecurrentContainer(cells, spec.hidden, spec.hidden)
    with torch.no_grad():
        container.rc.weight[:, spec.hidden :] *= spec.recurrent_gain
    return container


def _delayed(spec: MemorySpec) -> DelayedRecurrentContainer:
    neuron = _neuron(spec, spec.membrane)
    return DelayedRecurrentContainer(neuron, spec.hidden, spec.hidden, spec.max_delay, learn_delays=True)


def _slow_feedback(spec: MemorySpec) -> LinearRecurrentContainer:
    """Return neurons whose spikes are fed back, and read out, as what they leave in a stateful synapse.

    The synapse is of unit area, I[t] = (1 - 1/tau) I[t-1] + s[t] / tau, a mean of the last spikes: a sum would be as
    large as tau, and a feedback through it far too strong.
    """
    cells = nn.Sequential(_neuron(spec, spec.membrane), LINode(_spread(spec)))
    return _feedback(spec, cells)


#: The layers between the two linear ones, for each kind of memory.
KINDS: dict[str, Callable[[MemorySpec], list[nn.Module]]] = {
    "plain": lambda spec: [_neuron(spec, spec.membrane)],
    "parametric LIF": lambda spec: [_learned_membranes(spec)],
    "adaptive threshold": lambda spec: [_adaptive(spec)],
    "stateful synapse": lambda spec: [_neuron(spec, spec.membrane), SynapseFilter(spec.tau, learnable=True)],
    "stateful synapse, tau per neuron": lambda spec: [
        _neuron(spec, spec.membrane),
        SynapseFilter(_spread(spec), learnable=True),
    ],
    "double-exponential synapse": lambda spec: [_neuron(spec, spec.membrane), _double_exponential(spec)],
    "feedback": lambda spec: [_feedback(spec, _neuron(spec, spec.membrane))],
    "feedback, learned delays": lambda spec: [_delayed(spec)],
    "feedback through a stateful synapse": lambda spec: [_slow_feedback(spec)],
    "feedback and parametric LIF": lambda spec: [_feedback(spec, _learned_membranes(spec))],
    "feedback and adaptive threshold": lambda spec: [_feedback(spec, _adaptive(spec))],
    "feedback and stateful synapse": lambda spec: [
        _feedback(spec, _neuron(spec, spec.membrane)),
        SynapseFilter(_spread(spec), learnable=True),
    ],
}

#: The references, which do not spike.
GATED: dict[str, type[nn.RNNBase]] = {"GRU": nn.GRU, "LSTM": nn.LSTM}


@dataclasses.dataclass(frozen=True)
class MemorySpec:
    """What a network's hidden layer is and where training begins.

    Args:
        kind: one of :data:`KINDS` or :data:`GATED`, which take only ``hidden``, ``readout_gain`` and ``gate`` besides.
        hidden: number of hidden neurons or units.
        tau: the longest of the time constants that are learned, at the start of training, in time steps: of synapses,
            of thresholds, or of membranes.
        membrane: membrane time constant, in time steps, where it is not learned.
        gain: factor on the initial weights and biases of the first layer.
        recurrent_gain: factor on the initial weights from y[t-1].
        readout_gain: factor on the initial weights of the last layer.
        max_delay: largest delay of a feedback connection, in time steps: outputs of so many steps are kept.
        gate: added to the initial biases of the gates that keep the state, so that it is kept for longer at first.
        detach_reset: whether the gradient through the spike is cut in the reset.
        alpha: steepness of the surrogate function, ATan.

    Raises:
        TypeError: a value of another type; the message names the field.
        ValueError: an unknown kind, or a number out of its range; the message names the field.
    """

    kind: str = option("plain", choice(*KINDS, *GATED))
    hidden: int = option(32, whole(1))
    tau: float = option(100.0, number(SHORTEST, exclusive=True))
    membrane: float = option(5.0, number(1, exclusive=True))
    gain: float = option(1.0, number())
    recurrent_gain: float = option(1.0, number())
    readout_gain: float = option(1.0, number())
    max_delay: int = option(32, whole(1))
    gate: float = option(0.0, number())
    detach_reset: bool = option(True, flag)
    alpha: float = option(2.0, number(0, exclusive=True))

    def __post_init__(self) -> None:
        check_options(self)


class MemoryNet(nn.Module):
    """One hidden layer with memory, between two linear ones.

    Args:
        spec: the hidden layer.
        inputs: K, features of a time step.
        outputs: J.
        window: the last steps, which the read-out sees; None takes all.
        each: whether each step of the window gets an answer of its own, or their mean gets one.

    Shapes: ``[T, N, K]`` to ``[N, J]``, or ``[window, N, J]`` with ``each``.

    Raises:
        TypeError, ValueError: as the layers.
    """

    def __init__(
        self, spec: MemorySpec, inputs: int, outputs: int, window: int | None = None, each: bool = False
    ) -> None:
        super().__init__()
        self.spec, self.window, self.each = spec, window, each
        if spec.kind in GATED:
            self.rnn = GATED[spec.kind](inputs, spec.hidden)
            with (
                torch.no_grad()
            ):  # of the update gate of a GRU, and the forget gate of an LSTM, which come second
                self.rnn.bias_ih_l0[spec.hidden : 2 * spec.hidden] += spec.gate
        else:
            self.fc1 = nn.Linear(inputs, spec.hidden)
            self.memory = nn.Sequential(*KINDS[spec.kind](spec))
            with torch.no_grad():
                self.fc1.weight *= spec.gain
                self.fc1.bias *= spec.gain
        self.fc2 = nn.Linear(spec.hidden, outputs)
        with torch.no_grad():
            self.fc2.weight *= spec.readout_gain * (OF_MEANS if self._means() is not None else 1)

    @property
    def is_spiking(self) -> bool:
        return self.spec.kind in KINDS

    def _means(self) -> LINode | None:
        """Return what takes means of spikes within the loop, if something does."""
        return next((module for module in self.modules() if isinstance(module, LINode)), None)

    def hidden_seq(self, x_seq: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the read-out sees of the hidden layer, ``[T, N, hidden]``, from fresh states."""
        if not self.is_spiking:
            return self.rnn(x_seq)[0]
        reset_net(self)
        return scan(x_seq, self.fc1, *self.memory, lengths=lengths)

    def spikes(self, x_seq: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the spikes of the hidden layer, ``[T, N, hidden]``, from fresh states."""
        reset_net(self)
        y_seq, means = scan(x_seq, self.fc1, self.memory[0], lengths=lengths), self._means()
        if means is None:
            return y_seq
        before = F.pad(y_seq[:-1], (0, 0, 0, 0, 1, 0))
        # The means' equation, solved for spikes; it gives less than 0 where padding begins.
        return (before + means.tau * (y_seq - before)).round().clamp(0, 1)

    def forward(self, x_seq: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.is_spiking:
            reset_net(self)
            out_seq = scan(x_seq, self.fc1, *self.memory, self.fc2, lengths=lengths)
        else:
            out_seq = self.fc2(self.rnn(x_seq)[0])
        if lengths is not None:
            return mean_over_time(out_seq, lengths)
        if self.window is not None:
            out_seq = out_seq[-self.window :]
        return out_seq if self.each else out_seq.mean(0)


def parameters_of(net: nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


#: What can be learned beside weights, in time steps.
LEARNED = ("tau", "tau_adaptation", "tau_rise", "tau_decay", "delay")


def learned(net: MemoryNet) -> dict[str, Tensor]:
    """Return the time constants and delays that a network learns, in time steps, each ``[number]``."""
    found = {}
    for module in net.memory.modules() if net.is_spiking else ():
        for name in LEARNED:
            value = getattr(module, name, None)
            if isinstance(value, Tensor) and value.requires_grad:
                found[name] = value.detach().flatten()
    return found


@cache
def hidden_for(kind: str, inputs: int, outputs: int, most: int) -> int:
    """Return the largest number of hidden neurons with at most ``most`` parameters.

    Raises:
        ValueError: an unknown kind.
    """
    low, high = 1, most
    with torch.random.fork_rng(devices=[]):
        while low < high:
            middle = (low + high + 1) // 2
            # The smallest layers grow by at least a parameter for each neuron.
            too_large = middle * (inputs + outputs) > most or (
                parameters_of(MemoryNet(MemorySpec(kind, middle), inputs, outputs)) > most
            )
            low, high = (low, middle - 1) if too_large else (middle, high)
    return low
