"""Networks with one hidden layer and one kind of memory, and the three starts from which they are trained.

Linear -> memory -> Linear -> mean over a window. The read-out sees the window only, so what came before it counts only
if the hidden layer still has it.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.options import check_options, option
from sequential_fmnist.train import TrainingConfig
from snn_core.functional import reset_net, scan
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.more.neuron import AdaptiveLIFNode
from snn_core.neuron import IFNode, LIFNode, LINode, SpikingNeuron
from snn_core.surrogate import ATan

__all__ = [
    "GATED",
    "SPIKING",
    "STARTS",
    "MemoryNet",
    "MemorySpec",
    "OwnRate",
    "chrono",
    "hidden_for",
    "parameters_of",
    "time_constants",
]

SPIKING = (
    "plain",
    "stateful synapse",
    "feedback",
    "feedback through LINode",
    "feedback through SynapseFilter",
    "feedback, learned delays",
)
#: Networks of the controls, which were asked for later.
LATER = (
    "plain, leaky read-out",
    "plain, summing read-out",
    "adaptive threshold",
    "feedback, fixed delays",
    "feedback, delays at a rate of their own",
)
GATED: dict[str, type[nn.RNNBase]] = {"GRU": nn.GRU, "LSTM": nn.LSTM}
STARTS = ("tutorial", "blind", "informed", "given", "blind, one tau", "blind, hard reset")

#: Shortest and longest time constant of a blind start, in time steps; the longest is T_max of its gates.
BLIND = (2, 1_000)
#: Time constant of the tutorial's synapse at the start, in time steps.
TUTORIAL = 2.0
#: Weight of each neuron's own last spike in an informed loop.
LOOP = 1.2
#: Time constant of a membrane that is to integrate as an IF neuron does, where the module takes no infinite one.
INTEGRATES = 1e6
#: Rise of an adaptive threshold by a spike.
BETA = 0.2


@dataclasses.dataclass(frozen=True)
class MemorySpec:
    """What a network's hidden layer is and where training begins.

    ``"tutorial"``: IF neurons with a hard reset, synapses with tau = 2, torch's weights and gates. ``"blind"``: every
    time constant log-uniform from 2 to 1,000 steps, gates by chrono initialisation with T_max = 1,000. ``"informed"``:
    synapses 4 D, membranes ``membrane`` D, a loop without a synapse +1.2 times the identity, gates by chrono
    initialisation with T_max = D. ``"given"``: the one memory of a network begins at ``tau`` steps; membranes beside it
    have 2. ``"blind, one tau"``: as blind, but all begin at the middle of its range, 45 steps. All but the first, and
    but ``"blind, hard reset"``, reset by subtraction.
    """

    kind: str = option("plain", "what remembers", (*SPIKING, *LATER, *GATED))
    start: str = option("tutorial", "where training begins", STARTS)
    hidden: int = option(32, "number of hidden neurons or units", 1)
    distance: int = option(50, "D, the steps to be bridged", 1)
    membrane: float | None = option(
        None, "time constant of an informed membrane in units of D; None for IF neurons", 0
    )
    tau: float = option(2.0, "of a given start, in time steps", 0)
    learned: bool = option(True, "whether time constants are trained, which are not the tutorial's")
    max_delay: int = option(
        32, "longest delay of a loop, in time steps; delays begin uniform from 1 to that", 1
    )
    gain: float = option(1.0, "factor on the initial weights and biases of the first layer")
    recurrent_gain: float = option(1.0, "factor on torch's initial weights from y[t-1]")
    readout_gain: float = option(1.0, "factor on the initial weights of the last layer")
    detach_reset: bool = option(True, "whether the gradient through the spike is cut in the reset")
    alpha: float = option(2.0, "steepness of the surrogate function, ATan", 0)

    def __post_init__(self) -> None:
        check_options(self)

    def build(self, task: Any) -> MemoryNet:
        """Return the network for a task's inputs and outputs, with new weights."""
        return MemoryNet(self, task.inputs, task.outputs, task.window, task.each)


def _spread(number: int, start: str) -> Tensor:
    """Return time constants of a blind start: log-uniform, or all in the middle."""
    low, high = map(math.log, BLIND)
    taus = torch.empty(number).uniform_(low, high)
    return (taus if "one tau" not in start else torch.full_like(taus, (low + high) / 2)).exp()


def _neuron(spec: MemorySpec) -> SpikingNeuron:
    """Return the hidden neurons; membranes that leak have a time constant for each neuron."""
    options = {"surrogate_function": ATan(spec.alpha), "detach_reset": spec.detach_reset}
    is_trained, tau = spec.learned, None
    if spec.start not in ("tutorial", "blind, hard reset"):
        options |= {"v_reset": None}
    if spec.start.startswith("blind"):
        tau = _spread(spec.hidden, spec.start)
    elif spec.start == "given":
        is_trained = spec.learned and spec.kind == "plain"
        tau = torch.full((spec.hidden,), spec.tau if spec.kind == "plain" else TUTORIAL)
    elif spec.start == "informed" and spec.membrane is not None:
        tau = torch.full((spec.hidden,), spec.membrane * spec.distance)
    membrane = nn.Parameter(tau) if is_trained and tau is not None else tau
    if spec.kind != "adaptive threshold":
        return IFNode(**options) if membrane is None else LIFNode(membrane, decay_input=False, **options)
    membrane, slow = INTEGRATES if membrane is None else membrane, _slow(spec, spec.hidden)
    return AdaptiveLIFNode(membrane, slow, BETA, decay_input=False, **options)


def _slow(spec: MemorySpec, number: int) -> Tensor:
    """Return the time constants of a synapse, a threshold or a read-out: one for the tutorial's, else ``number``."""
    if spec.start == "tutorial":
        return nn.Parameter(torch.tensor(TUTORIAL))
    if spec.start.startswith("blind"):
        tau = _spread(number, spec.start)
    else:
        tau = torch.full((number,), 4.0 * spec.distance if spec.start == "informed" else spec.tau)
    return nn.Parameter(tau) if spec.learned else tau


def _memory(spec: MemorySpec) -> list[nn.Module]:
    """Return the layers between the two linear ones."""
    cells: list[nn.Module] = [_neuron(spec)]
    if spec.kind.endswith("LINode"):
        cells.append(LINode(_slow(spec, spec.hidden)))
    elif spec.kind.endswith(("SynapseFilter", "synapse")):
        cells.append(SynapseFilter(_slow(spec, spec.hidden)))
    if "feedback" not in spec.kind:
        return cells
    inner, h = nn.Sequential(*cells) if cells[1:] else cells[0], spec.hidden
    loop: DelayedRecurrentContainer | LinearRecurrentContainer
    if "delays" in spec.kind:
        is_learned = "fixed" not in spec.kind
        loop = DelayedRecurrentContainer(inner, h, h, spec.max_delay, learn_delays=is_learned)
    else:
        loop = LinearRecurrentContainer(inner, h, h)
    with torch.no_grad():
        loop.rc.weight[:, h:] *= spec.recurrent_gain
        if spec.start == "informed" and spec.kind == "feedback":
            loop.rc.weight[:, h:] += LOOP * torch.eye(h)
    return [loop]


@torch.no_grad()
def chrono(rnn: nn.RNNBase, t_max: int) -> None:
    """Begin with gates that keep the state for 1 to T_max steps, whatever the state.

    Source: C. Tallec and Y. Ollivier, "Can recurrent neural networks warp time?", ICLR 2018. For an LSTM b_f = log u,
    b_i = -b_f with u uniform from 1 to T_max - 1; for torch's GRU, whose z keeps the state, b_z = log u.
    """
    h = rnn.hidden_size
    keep = slice(h, 2 * h)  # z of r, z, n; f of i, f, g, o
    gates = [keep, slice(0, h)] if isinstance(rnn, nn.LSTM) else [keep]
    bias = torch.empty(h).uniform_(1, t_max - 1).log()
    for gate, value in zip(gates, (bias, -bias), strict=False):
        rnn.bias_ih_l0[gate], rnn.bias_hh_l0[gate], rnn.weight_hh_l0[gate] = value, 0, 0


class MemoryNet(nn.Module):
    """One hidden layer with memory, between two linear ones.

    Args:
        spec: the hidden layer.
        inputs: K, features of a time step.
        outputs: J.
        window: the last steps, which the read-out sees.
        each: whether each step of the window gets an answer of its own, or their mean gets one.

    Shapes: ``[T, N, K]`` to ``[N, J]``, or ``[window, N, J]`` with ``each``.
    """

    def __init__(self, spec: MemorySpec, inputs: int, outputs: int, window: int, each: bool = False) -> None:
        super().__init__()
        self.spec, self.window, self.each = spec, window, each
        if spec.kind in GATED:
            self.rnn = GATED[spec.kind](inputs, spec.hidden)
            if spec.start != "tutorial":
                chrono(self.rnn, BLIND[1] if spec.start == "blind" else spec.distance)
        else:
            self.fc1 = nn.Linear(inputs, spec.hidden)
            self.memory = nn.Sequential(*_memory(spec))
            with torch.no_grad():
                self.fc1.weight *= spec.gain
                self.fc1.bias *= spec.gain
        self.fc2 = nn.Linear(spec.hidden, outputs)
        with torch.no_grad():
            self.fc2.weight *= spec.readout_gain
        slow = spec.kind.endswith("read-out")
        # A leaky read-out divides its input by tau; a summing one takes it as it is, as a synapse does.
        averages = "leaky" in spec.kind
        self.readout = nn.Sequential(*[LINode(_slow(spec, outputs), averages)] * slow)

    def pace(self, training: TrainingConfig) -> OwnRate | None:
        """Return what is to be called after each step of training, if anything is."""
        if not self.spec.kind.endswith("a rate of their own"):
            return None
        return OwnRate(self.memory[0], training.lr, training.epochs)

    def hidden_seq(self, x_seq: Tensor) -> Tensor:
        """Return what the read-out sees of the hidden layer, ``[T, N, hidden]``, from fresh states."""
        if self.spec.kind in GATED:
            return self.rnn(x_seq)[0]
        reset_net(self)
        return scan(x_seq, self.fc1, *self.memory)

    def forward(self, x_seq: Tensor) -> Tensor:
        if self.spec.kind in GATED:
            out_seq = self.fc2(self.rnn(x_seq)[0][-self.window :])
        else:
            reset_net(self)
            out_seq = scan(x_seq, self.fc1, *self.memory, self.fc2, *self.readout)[-self.window :]
        return out_seq if self.each else out_seq.mean(0)


def parameters_of(net: nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


#: What a time constant belongs to, by its module.
_PLACES = {LIFNode: "membrane", AdaptiveLIFNode: "membrane", LINode: "synapse", SynapseFilter: "synapse"}


def time_constants(net: MemoryNet) -> dict[str, Tensor]:
    """Return the time constants and delays that a network trains, in time steps, each ``[number]``."""
    constants = {}
    for path, module in net.named_modules():
        place = "read-out" if path.startswith("readout") else _PLACES.get(type(module), "")
        for name, words in (("tau", place), ("tau_adaptation", "threshold"), ("delay", "delay")):
            value = getattr(module, name, None)
            if isinstance(value, Tensor) and value.requires_grad:
                constants[words] = value.detach().flatten()
    return constants


class OwnRate:
    """Train the delays of a loop at a rate of their own, spread over many steps at first; call it after each step.

    Adam's steps do not depend on the size of a gradient, so a step of another length is one at another rate. It falls
    as that of the weights does. ``sigma`` falls from a third of the longest delay to 0 as a straight line, in the first
    half of training.

    Source: I. Hammouamri, I. Khalfaoui-Hassani and T. Masquelier, "Learning delays in spiking neural networks using
    dilated convolutions with learnable spacings", ICLR 2024: a larger rate for delays, and a sigma that falls in the
    course of training. Rate and course are ours. https://arxiv.org/abs/2306.17670

    Args:
        loop: the container.
        lr: learning rate of the weights.
        steps: of the whole training.
    """

    RATE = 0.1  # time steps

    def __init__(self, loop: DelayedRecurrentContainer, lr: float, steps: int) -> None:
        self.loop, self.factor, self.half, self.taken = loop, self.RATE / lr, steps / 2, 0
        self.before = loop.delay.detach().clone()
        self._spread()

    @torch.no_grad()
    def __call__(self) -> None:
        delay = self.loop.delay
        delay.copy_(self.before + self.factor * (delay - self.before))
        self.before, self.taken = delay.clone(), self.taken + 1
        self._spread()

    @property
    def is_over(self) -> bool:
        """Whether delays are no longer spread."""
        return self.taken >= self.half

    def _spread(self) -> None:
        self.loop.sigma = self.loop.max_delay / 3 * max(0.0, 1 - self.taken / self.half)


@cache
def hidden_for(kind: str, start: str, inputs: int, outputs: int, most: int) -> int:
    """Return the largest number of hidden neurons with at most ``most`` parameters."""
    with torch.random.fork_rng(devices=[]):
        low, high = 1, most // (inputs + outputs)
        while low < high:
            middle = (low + high + 1) // 2
            net = MemoryNet(MemorySpec(kind, start, middle, membrane=1.0), inputs, outputs, 1)
            low, high = (low, middle - 1) if parameters_of(net) > most else (middle, high)
    return low
