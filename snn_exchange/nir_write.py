"""Our modules as a NIR graph."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sequential_fmnist.networks import NETWORKS, PARTS
from sequential_fmnist.pretrained import TrainedNet
from snn_core import __version__
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
)
from snn_core.neuron import (
    CUBALIFNode,
    IFNode,
    LIFNode,
    LINode,
    MultiStepCUBALIFNode,
    MultiStepIFNode,
    MultiStepLIFNode,
    MultiStepLINode,
    MultiStepParametricLIFNode,
    ParametricLIFNode,
    SpikingNeuron,
)
from snn_core.numbers import NumbersModule
from snn_core.recurrent import weight_that_acts
from snn_core.synapse import LowPassSynapse, StatefulSynapse, SynapseFilter
from snn_exchange.common import (
    DIFFERENCES,
    DT,
    ExchangeError,
    ExchangeWarning,
    Integrator,
    check_allowed,
    need,
)
from snn_exchange.merging import Layer, merge, note_of

if TYPE_CHECKING:
    import nir

__all__ = ["DIALECTS", "ENDLESS", "to_nir"]

#: A membrane time constant in time steps from which a float64 neuron no longer leaks: 1 - 1/tau rounds to 1.
ENDLESS = 2.0**64

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


def to_nir(
    net: nn.Module,
    *,
    dt: float = DT,
    allow: Collection[str] = (),
    dialect: str = "nir",
    integrator: bool = False,
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
        integrator: end a TrainedNet with ``nir.I``, whose potential after the last step, divided
            by the number of steps, is the output. Otherwise the graph ends with what these neurons receive.
        in_features: size of x[t], where the network does not begin with a layer that says it.

    Raises:
        ExchangeError: a part that NIR cannot say, or not exactly without leave in ``allow``.
        ValueError: an unknown name in ``allow`` or ``dialect``, or a ``dt`` that is not positive.
    """
    if not 0 < dt < float("inf"):
        raise ValueError(f"dt must be a positive number of seconds, got {dt}")
    if dialect not in DIALECTS:
        raise ValueError(f"dialect must be one of {', '.join(map(repr, DIALECTS))}, got {dialect!r}")
    graph = _Graph(dt, check_allowed(allow), dialect)
    modules = list(_parts(net, ""))
    graph.begin(_in_features(modules) if in_features is None else in_features)
    for name, module in modules:
        graph.add(name, module)
    if integrator and type(net) is TrainedNet:
        graph.add("readout", Integrator())
    return graph.finish()


def _parts(net: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of ``net`` that follow one another, with their names."""
    if type(net) in (*NETWORKS.values(), TrainedNet):
        children = [(name, getattr(net, name)) for name in PARTS if hasattr(net, name)]
    elif type(net) in (MultiStepContainer, SeqToANNContainer) or _is_sequential(net):
        children = list(net.named_children())
    elif isinstance(net, (nn.Identity, nn.Dropout)):
        return
    else:
        yield path or "layer", net
        return
    for name, child in children:
        only = len(children) == 1 and path
        yield from _parts(child, path if only else f"{path}_{name}" if path else _name(name))


def _is_sequential(net: nn.Module) -> bool:
    return isinstance(net, nn.Sequential) and type(net).forward is nn.Sequential.forward


def _name(name: str) -> str:
    """Return a name for a node: a number would be no name in the code that some libraries generate."""
    return f"layer_{name}" if name.isdigit() else name.replace(".", "_")


def _in_features(modules: list[tuple[str, nn.Module]]) -> int:
    """Return the size of x[t], 0 if a part begins that will be refused anyway."""
    if not modules:
        raise ExchangeError("the network has no layers")
    first = modules[0][1]
    if isinstance(first, (NumbersModule, ElementWiseRecurrentContainer, StatefulSynapse, Integrator)):
        raise ExchangeError(
            f"the network begins with {type(first).__name__}, so say the size of x[t]: in_features=..."
        )
    return getattr(first, "in_features", 0)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _layer_of(module: nn.Linear) -> Layer:
    weight = weight_that_acts(module)
    return Layer(_array(weight), None if module.bias is None else _array(module.bias))


class _Graph:
    """A NIR graph that grows at its end."""

    def __init__(self, dt: float, allow: set[str], dialect: str) -> None:
        self.nir = need("nir")
        self.dt, self.allow, self.dialect = dt, allow, dialect
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.size = 0  # of what the last node gives
        self.dtype = np.dtype("float32")
        self.inexact: dict[str, str] = {}
        #: Names of the first nodes of loops that have none yet, so that nothing may be multiplied into the node before.
        self.open_loops: list[list[str]] = []

    def begin(self, size: int) -> None:
        self.size = size
        self.nodes["input"] = self.nir.Input({"input": np.array([size])})
        self.tail = "input"

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
        for loop in self.open_loops:
            loop.append(name)
        self.open_loops = []

    def add(self, name: str, module: nn.Module) -> None:
        writers: dict[type[nn.Module], Callable[[str, Any], None]] = {
            **dict.fromkeys((IFNode, MultiStepIFNode, LIFNode, MultiStepLIFNode), self._neuron),
            **dict.fromkeys((ParametricLIFNode, MultiStepParametricLIFNode), self._neuron),
            **dict.fromkeys((CUBALIFNode, MultiStepCUBALIFNode), self._neuron),
            **dict.fromkeys((LINode, MultiStepLINode, LowPassSynapse), self._leaky_integrator),
            nn.Linear: self._feedforward,
            LinearRecurrentContainer: self._linear_recurrent,
            ElementWiseRecurrentContainer: self._element_wise_recurrent,
            SynapseFilter: self._synapse_filter,
            Integrator: self._integrator,
        }
        if type(module) not in writers:
            raise ExchangeError(
                f"{name}: NIR has no node for a {type(module).__name__}, or to_nir does not know it: it takes "
                "nn.Linear, IFNode, LIFNode, ParametricLIFNode, CUBALIFNode, LINode, LinearRecurrentContainer, "
                "ElementWiseRecurrentContainer, LowPassSynapse and SynapseFilter"
            )
        writers[type(module)](name, module)

    def _check_size(self, name: str, needed: int) -> None:
        if needed != self.size:
            raise ExchangeError(f"{name}: takes {needed} features, what comes before gives {self.size}")

    def _full(self, value: float) -> np.ndarray:
        return np.full(self.size, value, self.dtype)

    def _each(self, name: str, value: float | Tensor, factor: float = 1.0) -> np.ndarray:
        """Return the number of all neurons, or that of each, times ``factor``."""
        values = np.asarray(_array(value) if isinstance(value, Tensor) else value, dtype=float)
        if values.ndim and values.shape != (self.size,):
            raise ExchangeError(
                f"{name}: has numbers for neurons in the shape {list(values.shape)}, NIR needs [{self.size}]"
            )
        return self._full(1) * (values * factor).astype(self.dtype)

    def _leak(
        self, name: str, tau: float | Tensor, decay_input: bool, rest: float = 0.0
    ) -> dict[str, np.ndarray]:
        """Return what nir.LIF and nir.LI need for a leak of ``tau`` time steps."""
        r = self._full(1) if decay_input else self._each(name, tau)
        return {"tau": self._each(name, tau, self.dt), "r": r, "v_leak": self._full(rest)}

    def _feedforward(self, name: str, module: nn.Linear) -> None:
        self._check_size(name, module.in_features)
        layer = _layer_of(module)
        self.dtype = layer.weight.dtype
        self._linear(name, layer)

    def _linear(self, name: str, layer: Layer) -> None:
        self.size = layer.weight.shape[0]
        self._append(name, self._layer(layer))

    def _layer(self, layer: Layer, note: dict[str, Any] | None = None) -> Any:
        metadata = {"snn_core": note} if note else {}
        if layer.bias is None:
            return self.nir.Linear(layer.weight, metadata=metadata)
        return self.nir.Affine(*layer, metadata=metadata)

    def _leave(self, name: str, what: str) -> None:
        """Note a difference, or refuse it."""
        if what not in self.allow:
            raise ExchangeError(
                f"{name}: NIR cannot say it exactly: {DIFFERENCES[what]}: add allow=[{what!r}] (on a command line, "
                f"--allow {what}) to take that"
            )
        self.inexact[name] = what

    def _neuron(self, name: str, neuron: SpikingNeuron) -> None:
        if neuron.v_reset == "none" or neuron.refractory:
            what = f"refractory={neuron.refractory}" if neuron.refractory else "v_reset='none'"
            raise ExchangeError(f"{name}: NIR's neurons reset and have no refractory period, got {what}")
        metadata: dict[str, Any] = {}
        if neuron.v_reset is None:
            self._leave(name, "soft-reset")
            metadata["snn_core"] = {"reset": "soft"}
        v_reset = 0.0 if neuron.v_reset is None else neuron.v_reset
        threshold = np.nextafter(self._each(name, neuron.v_threshold), -np.inf, dtype=self.dtype)
        common = {"v_threshold": threshold, "v_reset": self._full(v_reset), "metadata": metadata}
        if isinstance(neuron, CUBALIFNode):
            leak = self._leak(name, neuron.tau, neuron.decay_input, v_reset)
            leak |= {"tau_mem": leak.pop("tau"), "tau_syn": self._each(name, neuron.tau_synapse, self.dt)}
            node = self.nir.CubaLIF(**leak, **common, w_in=self._each(name, neuron.tau_synapse))
        elif isinstance(neuron, LIFNode | ParametricLIFNode):
            node = self.nir.LIF(**self._leak(name, neuron.tau, neuron.decay_input, v_reset), **common)
        elif self.dialect != "nir":
            node = self.nir.LIF(**self._leak(name, ENDLESS, False, v_reset), **common)
        else:
            node = self.nir.IF(r=self._full(1 / self.dt), **common)
        self._append(name, node)

    def _synapse_filter(self, name: str, synapse: SynapseFilter) -> None:
        self._leave(name, "synapse-filter")
        tau = _array(synapse.tau).astype(float)
        if tau.size not in (1, self.size):
            raise ExchangeError(f"{name}: has {tau.size} time constants for {self.size} features")
        exact = _array(synapse.w if synapse.learnable else synapse.fixed_tau)
        note = {
            "module": "SynapseFilter",
            "learnable": int(synapse.learnable),
            "channels": exact.ndim,
            "w" if synapse.learnable else "tau": np.atleast_1d(exact),
        }
        node = self.nir.LI(
            tau=self._full(1) * (tau * self.dt).astype(self.dtype),
            r=self._full(1) * tau.astype(self.dtype),
            v_leak=self._full(0),
            metadata={"snn_core": note},
        )
        self._append(name, node)

    def _integrator(self, name: str, integrator: Integrator) -> None:
        if integrator.tau is None:
            self._append(name, self.nir.I(r=self._full(1 / self.dt)))
        else:
            self._leaky_integrator(name, integrator)

    def _leaky_integrator(self, name: str, module: LINode | LowPassSynapse | Integrator) -> None:
        is_synapse = isinstance(module, LowPassSynapse)
        note = {"snn_core": {"module": "LowPassSynapse"}} if is_synapse else {}
        leak = self._leak(name, module.tau, not is_synapse and module.decay_input)
        self._append(name, self.nir.LI(**leak, metadata=note))

    def _linear_recurrent(self, name: str, container: LinearRecurrentContainer) -> None:
        self._check_size(name, container.in_features)
        weight, bias = _layer_of(container.rc)
        self.dtype = weight.dtype
        self._input_part(name, Layer(weight[:, : container.in_features], bias))
        self._loop(name, container.sub_module, weight[:, container.in_features :])

    def _element_wise_recurrent(self, name: str, container: ElementWiseRecurrentContainer) -> None:
        if container.element_wise_function not in (torch.add, operator.add):
            raise ExchangeError(
                f"{name}: of the functions f(x, y) NIR knows only the sum, and only torch.add and operator.add are "
                f"recognised, got {container.element_wise_function}"
            )
        weight = np.eye(self.size, dtype=self.dtype)
        if container.weight is not None:
            own = np.asarray(_array(torch.as_tensor(container.weight)), self.dtype)
            if own.shape not in ((), (self.size,)):
                raise ExchangeError(
                    f"{name}: its weight has shape {list(own.shape)} for {self.size} features"
                )
            weight *= own
        self._loop(name, container.sub_module, weight)

    def _input_part(self, name: str, layer: Layer) -> None:
        """Append x W^T + b, or multiply it into the layer before, if that has no other use."""
        before = self.nodes[self.tail]
        is_layer = isinstance(before, (self.nir.Affine, self.nir.Linear))
        if self.open_loops or not is_layer or any(source == self.tail for source, _ in self.edges):
            identity = layer.bias is None and np.array_equal(layer.weight, np.eye(*layer.weight.shape))
            if self.open_loops or not identity:
                self._linear(f"{name}_input", layer)
            return
        first = Layer(before.weight, getattr(before, "bias", None))
        merged = merge(first, layer).each(lambda part: part.astype(self.dtype))
        self.nodes[self.tail] = self._layer(merged, note_of(first, layer))

    def _loop(self, name: str, sub_module: nn.Module, weight: np.ndarray) -> None:
        """Append ``sub_module``, and a layer with ``weight`` from its output to its input."""
        entry: list[str] = []
        self.open_loops.append(entry)
        if self.dialect == "snntorch":
            self._linear(f"{name}_sum", Layer(np.eye(self.size, dtype=self.dtype), None))
        for part, module in _parts(sub_module, name):
            self.add(part, module)
        if not entry:
            raise ExchangeError(f"{name}: the recurrent container holds nothing")
        if weight.shape[1] != self.size:
            raise ExchangeError(
                f"{name}: out_features is {weight.shape[1]}, but the sub_module gives {self.size}"
            )
        recurrent = self._name(f"{name}_recurrent", self.nir.Linear(weight))
        self.edges += [(self.tail, recurrent), (recurrent, entry[0])]
