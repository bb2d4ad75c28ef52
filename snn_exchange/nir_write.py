"""Our modules as a NIR graph."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sequential_fmnist.networks import ColumnNet
from sequential_fmnist.variants import TrainedNet
from snn_core import __version__
from snn_core.checks import check_choice, check_number
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
)
from snn_core.more.neuron import CUBALIFNode, MultiStepCUBALIFNode
from snn_core.neuron import (
    IFNode,
    LIFNode,
    LINode,
    MultiStepIFNode,
    MultiStepLIFNode,
    MultiStepLINode,
    MultiStepParametricLIFNode,
    ParametricLIFNode,
    SpikingNeuron,
)
from snn_core.synapse import LowPassSynapse, SynapseFilter
from snn_exchange.common import DIFFERENCES, DT, ExchangeError, ExchangeWarning, need
from snn_exchange.nir_nodes import Layer, array_of, each, node_of

if TYPE_CHECKING:
    import nir

__all__ = ["DIALECTS", "to_nir"]

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

#: What is a node; a class derived from one of these may compute something else.
CELLS = {
    *NEURONS,
    MultiStepIFNode, MultiStepLIFNode, MultiStepParametricLIFNode, MultiStepCUBALIFNode, MultiStepLINode,
    LowPassSynapse,
    SynapseFilter,
}  # fmt: skip
#: What only calls its parts one after the other, unless a derived class does more.
CHAINS = (ColumnNet, TrainedNet, nn.Sequential, MultiStepContainer, SeqToANNContainer)


def to_nir(
    net: nn.Module, *, dt: float = DT, allow: Collection[str] = (), dialect: str = "nir"
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
    - The read-out, a mean over the steps of the output, is not part of the graph.

    Args:
        net: one of the three networks, a :class:`~sequential_fmnist.variants.TrainedNet`, or one of ``nn.Linear``,
            neurons, recurrent containers, ``LINode``, ``LowPassSynapse`` and ``SynapseFilter`` in ``nn.Sequential`` and
            our containers. It is not changed; its state is not part of the graph.
        dt: length of a time step in NIR's seconds.
        allow: names in :data:`~snn_exchange.DIFFERENCES` of what may be converted although NIR cannot express it
            exactly; a warning names the difference. :func:`~snn_exchange.from_nir` finds the exact module again.
        dialect: one of :data:`DIALECTS`, for the library that reads the graph.

    Raises:
        ExchangeError: a part that NIR cannot express, or not exactly without leave in ``allow``.
        ValueError: an unknown name in ``allow`` or ``dialect``, or a ``dt`` that is not positive.
    """
    check_number("dt", dt, above=0)
    for name in allow:
        check_choice("allow", name, tuple(DIFFERENCES))
    graph = _Graph(dt, allow, check_choice("dialect", dialect, tuple(DIALECTS)))
    for name, module in _parts(net, ""):
        graph.add(name, module)
    return graph.finish()


def _parts(net: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of ``net`` that follow one another, with their names."""
    if type(net).forward not in [kind.forward for kind in CHAINS]:
        if not isinstance(net, (nn.Identity, nn.Dropout)):
            yield path or "layer", net
        return
    children = list(net.named_children())
    for name, child in children:
        # A number alone would be no name in the code that some libraries generate.
        own = f"layer_{name}" if name.isdigit() else name
        yield from _parts(child, (path if len(children) == 1 else f"{path}_{name}") if path else own)


class _Graph:
    """A NIR graph that grows at its end."""

    def __init__(self, dt: float, allow: Collection[str], dialect: str) -> None:
        self.nir = need("nir")
        self.dt, self.allow, self.dialect = dt, allow, dialect
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.tail, self.size = "input", 0  # the last node, and the size of what it gives
        self.dtype = np.dtype("float32")
        self.inexact: dict[str, str] = {}
        #: How many nodes there were when the last loop began. The next one is its first.
        self.loop_start = 0

    def finish(self) -> nir.NIRGraph:
        if not self.nodes:
            raise ExchangeError("the network must begin with a linear layer, it is empty")
        self._append("output", self.nir.Output({"output": np.array([self.size])}))
        if self.inexact:
            parts = "; ".join(f"{name}: {DIFFERENCES[what]}" for name, what in self.inexact.items())
            warnings.warn(f"not exact in NIR: {parts}", ExchangeWarning, stacklevel=3)
        about = {"version": __version__, "dt": self.dt}
        try:
            return self.nir.NIRGraph(self.nodes, self.edges, metadata={"snn_core": about})
        except ValueError as error:  # sizes that do not fit
            raise ExchangeError(f"the network cannot be a graph: {error}") from error

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
        writers: dict[type, Any] = {
            nn.Linear: lambda name, module: self._linear(name, Layer.of(module)),
            LinearRecurrentContainer: self._linear_recurrent,
            ElementWiseRecurrentContainer: self._element_wise_recurrent,
            **dict.fromkeys(CELLS, self._stateful),
        }
        try:
            if type(module) not in writers:
                known = ", ".join(sorted(kind.__name__ for kind in writers))
                raise ValueError(
                    f"NIR has no node for a {type(module).__name__}, or to_nir does not know it: {known}"
                )
            if not self.nodes:
                if not hasattr(module, "in_features"):
                    raise ValueError(
                        "the network must begin with a linear layer, which says the size of x[t]"
                    )
                self.size = module.in_features
                self.nodes["input"] = self.nir.Input({"input": np.array([self.size])})
            writers[type(module)](name, module)
        except ExchangeError:
            raise  # of a part of it
        except ValueError as error:
            raise ExchangeError(f"{name}: {error}") from error

    def _linear(self, name: str, layer: Layer) -> None:
        self.size, self.dtype = layer.weight.shape[0], layer.weight.dtype
        self._append(name, layer.node(self.dtype))

    def _leave(self, name: str, what: str) -> None:
        """Note a difference, or refuse it."""
        if what not in self.allow:
            raise ValueError(
                f"NIR cannot express it exactly: {DIFFERENCES[what]}: add allow=[{what!r}] (on a command line, "
                f"--allow {what}) to accept that"
            )
        self.inexact[name] = what

    def _stateful(self, name: str, module: nn.Module) -> None:
        note: dict[str, Any] = {}
        if isinstance(module, SynapseFilter):
            self._leave(name, "synapse-filter")
            kept = "w" if module.learnable else "tau"
            note = {"module": "SynapseFilter", kept: array_of(getattr(module, kept))[()]}
        elif isinstance(module, SpikingNeuron):
            if module.v_reset == "none" or module.refractory:
                what = f"refractory={module.refractory}" if module.refractory else "v_reset='none'"
                raise ValueError(f"NIR's neurons reset and have no refractory period, got {what}")
            if module.v_reset is None:
                self._leave(name, "soft-reset")
                note = {"reset": "soft"}
        as_lif = self.dialect != "nir"
        self._append(name, node_of(module, self.size, self.dt, self.dtype, as_lif, note))

    def _linear_recurrent(self, name: str, container: LinearRecurrentContainer) -> None:
        weight, bias = Layer.of(container.rc)
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
        self._loop(name, container.sub_module, np.diag(each(own, self.size)).astype(self.dtype))

    def _input_part(self, name: str, layer: Layer) -> None:
        """Append x W^T + b, or multiply it into the layer before, if that has no other use."""
        before = self.nodes[self.tail]
        is_used = len(self.nodes) == self.loop_start or any(source == self.tail for source, _ in self.edges)
        if isinstance(before, (self.nir.Affine, self.nir.Linear)) and not is_used:
            first = Layer(before.weight, getattr(before, "bias", None))
            self.nodes[self.tail] = layer.after(first).node(self.dtype, first, layer)
        elif not layer.is_identity:
            self._linear(f"{name}_input", layer)

    def _loop(self, name: str, sub_module: nn.Module, weight: np.ndarray) -> None:
        """Append ``sub_module``, and a layer with ``weight`` from its output to its input."""
        start = self.loop_start = len(self.nodes)
        if self.dialect == "snntorch":
            self._linear(f"{name}_sum", Layer(np.eye(self.size, dtype=weight.dtype)))
        for part, module in _parts(sub_module, name):
            self.add(part, module)
        if len(self.nodes) == start:
            raise ValueError("the recurrent container holds nothing")
        entry = list(self.nodes)[start]
        recurrent = self._name(f"{name}_recurrent", Layer(weight).node(weight.dtype))
        self.edges += [(self.tail, recurrent), (recurrent, entry)]
