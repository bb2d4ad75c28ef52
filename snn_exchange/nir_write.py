"""Our modules as a NIR graph."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.pretrained import TrainedNet
from snn_core import __version__, neuron
from snn_core.checks import check_choice, check_number
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
)
from snn_core.neuron import CUBALIFNode, IFNode, LIFNode, LINode, ParametricLIFNode, SpikingNeuron
from snn_core.recurrent import weight_that_acts
from snn_core.synapse import LowPassSynapse, SynapseFilter
from snn_exchange.common import DIFFERENCES, DT, ExchangeError, ExchangeWarning, need
from snn_exchange.merging import Layer, merge, note_of

if TYPE_CHECKING:
    import nir

__all__ = ["DIALECTS", "ENDLESS", "to_nir"]

#: A membrane time constant in time steps from which a float64 neuron no longer leaks: 1 - 1/tau rounds to 1.
ENDLESS = 2.0**64

NEURONS = (IFNode, LIFNode, ParametricLIFNode, CUBALIFNode, LINode)
#: Ways to write the same network for readers that do not take every graph that is right.
DIALECTS: dict[str, str] = {
    "nir": "as NIR defines it; SpikingJelly 2.0 reads this",
    "snntorch": (
        "IF neurons as nir.LIF with an endless time constant, since snnTorch 1.0 gives nir.IF a leak; and a layer "
        "with the identity before each recurrent neuron, since it sends the input of a shorter cycle through the "
        "recurrent weights"
    ),
    "spyx": "IF neurons as nir.LIF with an endless time constant, since Spyx 1.0 goes round a cycle of nir.IF for ever",
}

#: The classes of neurons for one step, by those for sequences.
SINGLE_STEP = {getattr(neuron, f"MultiStep{kind.__name__}"): kind for kind in NEURONS}


def to_nir(
    net: nn.Module,
    *,
    dt: float = DT,
    allow: Collection[str] = (),
    dialect: str = "nir",
    in_features: int | None = None,
) -> nir.NIRGraph:
    r"""Return ``net`` as a NIR graph: a chain of nodes, with a cycle for every recurrent container.

    NIR's equations are those of continuous time; a step of length ``dt`` (Euler's forward method) makes them ours:
    ``nir.IF`` with :math:`R = 1/dt` is the IF neuron, ``nir.LIF`` with :math:`\tau_{NIR} = \tau\,dt` the LIF neuron,
    ``nir.CubaLIF`` with :math:`w_{in} = \tau_{synapse}` the CUBA-LIF neuron, ``nir.LI`` the leaky integrator and, with
    :math:`R = \tau`, the low-pass synapse. Thresholds and time constants may be those of each neuron; what is trained
    is written as it is now, and comes back fixed.

    - A NIR neuron fires where v > v_threshold, ours where v >= v_threshold: the next smaller number of the network's
      dtype is written, for which both say the same.
    - A ``LinearRecurrentContainer`` is exact: its weight is split into a part for x[t], which is multiplied into the
      layer before if there is one, and a part for y[t-1], which closes the cycle neuron -> Linear -> neuron. As in all
      of NIR's libraries a cycle takes one time step. The product is rounded to the network's dtype; a note beside it
      keeps both factors, so that :func:`~snn_exchange.from_nir` gives the same network to the last bit.
    - An ``ElementWiseRecurrentContainer`` of ``torch.add`` is the same with a diagonal matrix, the identity where it
      has no weight. :func:`~snn_exchange.from_nir` reads any other diagonal as a ``LinearRecurrentContainer``.
    - The read-out, a mean over the steps of the output, is not part of the graph: :class:`~snn_exchange.OnImages`.

    Args:
        net: one of the three networks, a :class:`~sequential_fmnist.pretrained.TrainedNet`, or one of ``nn.Linear``,
            neurons, recurrent containers, ``LINode``, ``LowPassSynapse`` and ``SynapseFilter`` in ``nn.Sequential`` and
            our containers. It is not changed; its state is not part of the graph.
        dt: length of a time step in NIR's seconds.
        allow: names in :data:`~snn_exchange.DIFFERENCES` of what may be converted although NIR cannot say it
            exactly; a warning names the difference. :func:`~snn_exchange.from_nir` finds the exact module again.
        dialect: one of :data:`DIALECTS`: who shall read the graph.
        in_features: size of x[t], where the network does not begin with a layer that says it.

    Raises:
        ExchangeError: a part that NIR cannot say, or not exactly without leave in ``allow``.
        ValueError: an unknown name in ``allow`` or ``dialect``, or a ``dt`` that is not positive.
    """
    check_number("dt", dt, above=0)
    allow = [allow] if isinstance(allow, str) else allow
    for name in allow:
        check_choice("allow", name, tuple(DIFFERENCES))
    parts = list(_parts(net, ""))
    if not parts:
        raise ExchangeError("the network has no layers")
    size = getattr(parts[0][1], "in_features", 0) if in_features is None else in_features
    graph = _Graph(dt, allow, check_choice("dialect", dialect, tuple(DIALECTS)), size)
    for name, module in parts:
        graph.add(name, module)
    return graph.finish()


def _parts(net: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of ``net`` that follow one another, with their names."""
    is_sequential = isinstance(net, nn.Sequential) and type(net).forward is nn.Sequential.forward
    if not is_sequential and type(net) not in (
        *NETWORKS.values(),
        TrainedNet,
        MultiStepContainer,
        SeqToANNContainer,
    ):
        if not isinstance(net, (nn.Identity, nn.Dropout)):
            yield path or "layer", net
        return
    children = list(net.named_children())
    for name, child in children:
        # A number alone would be no name in the code that some libraries generate.
        own = f"layer_{name}" if name.isdigit() else name.replace(".", "_")
        yield from _parts(child, (path if len(children) == 1 else f"{path}_{name}") if path else own)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _layer_of(module: nn.Linear) -> Layer:
    return Layer(_array(weight_that_acts(module)), None if module.bias is None else _array(module.bias))


class _Graph:
    """A NIR graph that grows at its end."""

    def __init__(self, dt: float, allow: Collection[str], dialect: str, size: int) -> None:
        self.nir = need("nir")
        self.dt, self.allow, self.dialect = dt, allow, dialect
        self.nodes: dict[str, Any] = {"input": self.nir.Input({"input": np.array([size])})}
        self.edges: list[tuple[str, str]] = []
        self.tail, self.size = "input", size  # the last node, and the size of what it gives
        self.dtype = np.dtype("float32")
        self.inexact: dict[str, str] = {}
        #: How many nodes there were when the last loop began. The next one is its first.
        self.loop_start = 0

    def finish(self) -> nir.NIRGraph:
        self._append("output", self.nir.Output({"output": np.array([self.size])}))
        if self.inexact:
            parts = "; ".join(f"{name}: {DIFFERENCES[what]}" for name, what in self.inexact.items())
            warnings.warn(f"not exact in NIR: {parts}", ExchangeWarning, stacklevel=3)
        about = {"version": __version__, "dt": self.dt}
        return self.nir.NIRGraph(self.nodes, self.edges, metadata={"snn_core": about})

    def _name(self, name: str, node: Any) -> str:
        """Keep a node, and return its name, which is ``name`` if no other has it."""
        while name in self.nodes:
            name += "_"
        self.nodes[name] = node
        return name

    def _append(self, name: str, node: Any) -> None:
        name = self._name(name, node)
        self.edges.append((self.tail, name))
        self.tail = name

    def add(self, name: str, module: nn.Module) -> None:
        """Append a module; what it cannot be written as is an error that names it."""
        kind = SINGLE_STEP.get(type(module), type(module))
        writers = {
            **dict.fromkeys((IFNode, LIFNode, ParametricLIFNode, CUBALIFNode), self._neuron),
            **dict.fromkeys((LINode, LowPassSynapse), self._leaky_integrator),
            nn.Linear: self._feedforward,
            LinearRecurrentContainer: self._linear_recurrent,
            ElementWiseRecurrentContainer: self._element_wise_recurrent,
            SynapseFilter: self._synapse_filter,
        }
        try:
            if kind not in writers:
                known = ", ".join(each.__name__ for each in writers)
                raise ValueError(
                    f"NIR has no node for a {kind.__name__}, or to_nir does not know it: it takes {known}"
                )
            if self.size == 0:
                raise ValueError("nothing before it says the size of x[t]: add in_features=...")
            writers[kind](name, module)
        except ExchangeError:
            raise  # of a part of it
        except ValueError as error:
            raise ExchangeError(f"{name}: {error}") from error

    def _each(self, value: float | Tensor, factor: float = 1.0) -> np.ndarray:
        """Return the number of all neurons, or that of each, times ``factor``."""
        values = np.asarray(_array(value) if isinstance(value, Tensor) else value, dtype=float)
        if values.shape not in ((), (self.size,)):
            raise ValueError(
                f"has numbers for neurons in the shape {list(values.shape)}, NIR needs [{self.size}]"
            )
        return np.full(self.size, np.minimum(values, ENDLESS) * factor).astype(self.dtype)

    def _leak(self, tau: float | Tensor, decay_input: bool, rest: float = 0.0) -> dict[str, Any]:
        """Return what nir.LIF and nir.LI need for a leak of ``tau`` time steps."""
        r = self._each(1.0 if decay_input else tau)
        return {"tau": self._each(tau, self.dt), "r": r, "v_leak": self._each(rest)}

    def _check_size(self, needed: int) -> None:
        if needed != self.size:
            raise ValueError(f"takes {needed} features, what comes before gives {self.size}")

    def _feedforward(self, name: str, module: nn.Linear) -> None:
        self._check_size(module.in_features)
        self._linear(name, _layer_of(module))

    def _linear(self, name: str, layer: Layer) -> None:
        self.size, self.dtype = layer.weight.shape[0], layer.weight.dtype
        self._append(name, self._layer(layer))

    def _layer(self, layer: Layer, note: dict[str, Any] | None = None) -> Any:
        arrays = [array.astype(self.dtype) for array in layer if array is not None]
        kind = self.nir.Linear if layer.bias is None else self.nir.Affine
        return kind(*arrays, metadata={"snn_core": note} if note else {})

    def _leave(self, name: str, what: str) -> None:
        """Note a difference, or refuse it."""
        if what not in self.allow:
            raise ValueError(
                f"NIR cannot say it exactly: {DIFFERENCES[what]}: add allow=[{what!r}] (on a command line, "
                f"--allow {what}) to take that"
            )
        self.inexact[name] = what

    def _neuron(self, name: str, neuron: SpikingNeuron) -> None:
        if neuron.v_reset == "none" or neuron.refractory:
            what = f"refractory={neuron.refractory}" if neuron.refractory else "v_reset='none'"
            raise ValueError(f"NIR's neurons reset and have no refractory period, got {what}")
        soft = neuron.v_reset is None
        if soft:
            self._leave(name, "soft-reset")
        rest = 0.0 if soft else neuron.v_reset
        common = {
            # NIR's neurons fire where v > v_threshold, ours where v >= v_threshold.
            "v_threshold": np.nextafter(self._each(neuron.v_threshold), -np.inf, dtype=self.dtype),
            "v_reset": self._each(rest),
            "metadata": {"snn_core": {"reset": "soft"}} if soft else {},
        }
        if isinstance(neuron, CUBALIFNode):
            leak = self._leak(neuron.tau, neuron.decay_input, rest)
            leak |= {"tau_mem": leak.pop("tau"), "tau_syn": self._each(neuron.tau_synapse, self.dt)}
            node = self.nir.CubaLIF(**leak, **common, w_in=self._each(neuron.tau_synapse))
        elif isinstance(neuron, LIFNode | ParametricLIFNode):
            node = self.nir.LIF(**self._leak(neuron.tau, neuron.decay_input, rest), **common)
        elif self.dialect != "nir":
            node = self.nir.LIF(**self._leak(ENDLESS, False, rest), **common)
        else:
            node = self.nir.IF(r=self._each(1 / self.dt), **common)
        self._append(name, node)

    def _leaky_integrator(self, name: str, module: LINode | LowPassSynapse) -> None:
        decay_input = isinstance(module, LINode) and module.decay_input
        self._append(name, self.nir.LI(**self._leak(module.tau, decay_input)))

    def _synapse_filter(self, name: str, synapse: SynapseFilter) -> None:
        self._leave(name, "synapse-filter")
        exact = {kept: _array(value)[()] for kept, value in synapse.state_dict().items()}
        metadata = {"snn_core": {"module": "SynapseFilter"} | exact}
        self._append(name, self.nir.LI(**self._leak(synapse.tau, False), metadata=metadata))

    def _linear_recurrent(self, name: str, container: LinearRecurrentContainer) -> None:
        self._check_size(container.in_features)
        weight, bias = _layer_of(container.rc)
        self.dtype = weight.dtype
        self._input_part(name, Layer(weight[:, : container.in_features], bias))
        self._loop(name, container.sub_module, weight[:, container.in_features :])

    def _element_wise_recurrent(self, name: str, container: ElementWiseRecurrentContainer) -> None:
        if container.element_wise_function not in (torch.add, operator.add):
            raise ValueError(
                f"of the functions f(x, y) NIR knows only the sum, and only torch.add and operator.add are "
                f"recognised, got {container.element_wise_function}"
            )
        own = 1.0 if container.weight is None else container.weight
        self._loop(name, container.sub_module, np.diag(self._each(own)))

    def _input_part(self, name: str, layer: Layer) -> None:
        """Append x W^T + b, or multiply it into the layer before, if that has no other use."""
        before, at_loop_start = self.nodes[self.tail], len(self.nodes) == self.loop_start
        is_layer = isinstance(before, (self.nir.Affine, self.nir.Linear))
        if is_layer and not at_loop_start and all(source != self.tail for source, _ in self.edges):
            first = Layer(before.weight, getattr(before, "bias", None))
            self.nodes[self.tail] = self._layer(merge(first, layer), note_of(first, layer))
        elif (
            at_loop_start
            or layer.bias is not None
            or not np.array_equal(layer.weight, np.eye(*layer.weight.shape))
        ):
            self._linear(f"{name}_input", layer)

    def _loop(self, name: str, sub_module: nn.Module, weight: np.ndarray) -> None:
        """Append ``sub_module``, and a layer with ``weight`` from its output to its input."""
        start = self.loop_start = len(self.nodes)
        if self.dialect == "snntorch":
            self._linear(f"{name}_sum", Layer(np.eye(self.size, dtype=weight.dtype), None))
        for part, module in _parts(sub_module, name):
            self.add(part, module)
        if len(self.nodes) == start:
            raise ValueError("the recurrent container holds nothing")
        if weight.shape[1] != self.size:
            raise ValueError(f"out_features is {weight.shape[1]}, but the sub_module gives {self.size}")
        entry = list(self.nodes)[start]
        recurrent = self._name(f"{name}_recurrent", self.nir.Linear(weight))
        self.edges += [(self.tail, recurrent), (recurrent, entry)]
