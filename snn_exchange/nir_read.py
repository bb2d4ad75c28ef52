"""A NIR graph as our modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
)
from snn_core.neuron import CUBALIFNode, IFNode, LIFNode, LINode
from snn_core.surrogate import ATan
from snn_core.synapse import LowPassSynapse, SynapseFilter
from snn_exchange.common import DT, ExchangeError, Integrator, need
from snn_exchange.merging import Layer, noted_layers
from snn_exchange.nir_write import ENDLESS

if TYPE_CHECKING:
    import nir

__all__ = ["from_nir"]

#: A NIR graph may hold graphs, so deep.
MAX_DEPTH = 16
#: From here on a neuron is an IF neuron: the leak of a step is lost in rounding.
ENDLESS_FROM = ENDLESS / 2**11


def from_nir(
    graph: nir.NIRGraph,
    *,
    dt: float | None = None,
    surrogate_function: Callable[[], nn.Module] = ATan,
    detach_reset: bool = True,
) -> nn.Sequential:
    """Return the network of a NIR graph, ``[T, N, *]`` to ``[T, N, *]``, made of our modules.

    The graph must be a chain of Affine, Linear, IF, LIF, CubaLIF, I and LI nodes from its input to its output, beside
    which Affine and Linear nodes may lead back: each such cycle becomes a recurrent container around what it spans.
    Graphs inside the graph are taken apart first. Neurons fire where v > v_threshold, as NIR says; thresholds and time
    constants may differ from neuron to neuron. A layer that :func:`~snn_exchange.to_nir` made of two becomes these two
    again, if its weights are still their product.

    Args:
        graph: from :func:`~snn_exchange.to_nir`, :func:`~snn_exchange.read_nir` or another library.
        dt: length of a time step in NIR's seconds. None takes what the graph says of it if it is ours, or else 1e-4, as
            snnTorch and SpikingJelly do. An IF neuron may also have R = 1, which several libraries write whatever
            their dt.
        surrogate_function: makes the surrogate function of each neuron: NIR has none.
        detach_reset: for each neuron, too.

    Raises:
        ExchangeError: the graph is broken or holds what our modules cannot say; the message names the node.
    """
    if dt is None:
        dt = _number(_note(graph).get("dt", DT), "graph", "dt")
    if not 0 < dt < float("inf"):
        raise ExchangeError(f"dt must be a positive number of seconds, got {dt}")
    nodes, edges = _flat(graph)
    path, feedback = _chain(nodes, edges)
    reader = _Reader(dt, surrogate_function, detach_reset, _dtype(nodes))
    items = reader.items(path, nodes)
    for loop in sorted(feedback, key=lambda loop: path.index(loop.source) - path.index(loop.target)):
        items = reader.close(loop, items)
    return nn.Sequential(*(_for_sequences(item.module) for item in items))


def _for_sequences(module: nn.Module) -> nn.Module:
    return SeqToANNContainer(module) if isinstance(module, nn.Linear) else MultiStepContainer(module)


def _note(node: Any) -> Mapping[str, Any]:
    """Return what to_nir noted beside a node, or {}."""
    metadata = getattr(node, "metadata", None)
    note = metadata.get("snn_core", {}) if isinstance(metadata, dict) else {}
    return note if isinstance(note, dict) else {}


# The structure


def _flat(graph: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return nodes and edges of the graph with all graphs inside it taken apart; its own Input and Output stay."""
    nir = need("nir")
    if not isinstance(graph, nir.NIRGraph):
        raise ExchangeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}")
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []

    def visit(graph: Any, prefix: str, depth: int) -> tuple[str, str]:
        if depth > MAX_DEPTH:
            raise ExchangeError(f"node {prefix[:-1]!r}: graphs in graphs more than {MAX_DEPTH} deep")
        ends: dict[str, tuple[str, str]] = {}
        doors: dict[str, list[str]] = {"Input": [], "Output": []}
        for name, node in graph.nodes.items():
            full = f"{prefix}{name}"
            if isinstance(node, nir.NIRGraph):
                ends[name] = visit(node, f"{full}.", depth + 1)
                continue
            ends[name] = (full, full)
            nodes[full] = node
            if type(node).__name__ in doors:
                doors[type(node).__name__].append(full)
        for kind, names in doors.items():
            if len(names) != 1:
                where = f"node {prefix[:-1]!r}" if prefix else "the graph"
                raise ExchangeError(f"{where} must have one {kind} node, it has {len(names)}")
        for edge in graph.edges:
            for end in edge:
                if end not in ends:
                    raise ExchangeError(
                        f"edge {prefix}{edge[0]} -> {prefix}{edge[1]}: there is no node {end!r}"
                    )
            edges.append((ends[edge[0]][1], ends[edge[1]][0]))
        return doors["Input"][0], doors["Output"][0]

    first, last = visit(graph, "", 0)
    for name in [name for name, node in nodes.items() if isinstance(node, (nir.Input, nir.Output))]:
        if name in (first, last):
            continue
        before = [source for source, target in edges if target == name]
        after = [target for source, target in edges if source == name]
        edges = [edge for edge in edges if name not in edge]
        edges += [(source, target) for source in before for target in after]
        del nodes[name]
    if twice := [edge for edge, count in Counter(edges).items() if count > 1]:
        raise ExchangeError(f"edge {twice[0][0]} -> {twice[0][1]} is there more than once")
    return nodes, edges


@dataclass(frozen=True)
class _Loop:
    """A way back from ``source`` to ``target``, through the node ``through`` or directly."""

    source: str
    target: str
    through: Any = None
    name: str = ""


def _chain(nodes: Mapping[str, Any], edges: list[tuple[str, str]]) -> tuple[list[str], list[_Loop]]:
    """Return the names of the nodes on the way from Input to Output, without these two, and the ways back."""
    nir = need("nir")
    after: dict[str, list[str]] = {name: [] for name in nodes}
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        after[source].append(target)
        before[target].append(source)
    first = next(name for name, node in nodes.items() if isinstance(node, nir.Input))
    last = next(name for name, node in nodes.items() if isinstance(node, nir.Output))
    path = _only_path(first, last, after)
    places = {name: place for place, name in enumerate(path)}
    loops = []
    for name in nodes:
        if name in places:
            continue
        if not isinstance(nodes[name], (nir.Affine, nir.Linear)):
            raise ExchangeError(
                f"{_label(name, nodes[name])} is not on the way from {first!r} to {last!r}; beside it only Affine and "
                "Linear nodes may stand, which lead back"
            )
        if (
            len(before[name]) != 1
            or len(after[name]) != 1
            or not {*before[name], *after[name]} <= places.keys()
        ):
            raise ExchangeError(
                f"node {name!r} must lead from one node on the way from {first!r} to {last!r} to one other"
            )
        loops.append(_Loop(before[name][0], after[name][0], nodes[name], name))
    for source, target in edges:
        if source in places and target in places and places[target] != places[source] + 1:
            loops.append(_Loop(source, target))
    for loop in loops:
        if places[loop.target] > places[loop.source] or loop.target == first:
            raise ExchangeError(
                f"edge {loop.source} -> {loop.name or loop.target} skips nodes: only ways back are known, no branches"
            )
    return path[1:-1], loops


def _only_path(first: str, last: str, after: Mapping[str, list[str]]) -> list[str]:
    """Return the names on the only way from ``first`` to ``last`` that visits no node twice."""
    back: dict[str, str] = {first: ""}  # breadth first: the shortest way
    queue = [first]
    while queue:
        name = queue.pop(0)
        for target in after[name]:
            if target not in back:
                back[target] = name
                queue.append(target)
    if last not in back:
        raise ExchangeError(f"no way leads from {first!r} to {last!r}")
    path = [last]
    while path[-1] != first:
        path.append(back[path[-1]])
    return path[::-1]


# The nodes


def _label(name: str, node: Any) -> str:
    return f"node {name!r} ({type(node).__name__})"


def _numbers(name: str, node: Any, what: str) -> np.ndarray:
    """Return a parameter of a node, of any shape."""
    values = np.asarray(getattr(node, what))
    if values.dtype.kind not in "fiu":
        raise ExchangeError(f"{_label(name, node)}: {what} must hold numbers, got dtype {values.dtype}")
    if not np.isfinite(values).all():
        raise ExchangeError(f"{_label(name, node)}: {what} holds NaN or infinity")
    return values


def _number(value: Any, name: str, what: str) -> float:
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise ExchangeError(f"{name}: {what} must be a number, got {value!r}") from None


def _dtype(nodes: Mapping[str, Any]) -> np.dtype:
    """Return the dtype of the weights, at least float32."""
    weights = [
        node.weight.dtype for node in nodes.values() if isinstance(getattr(node, "weight", None), np.ndarray)
    ]
    floating = [dtype for dtype in weights if dtype.kind == "f" and dtype.itemsize <= 8]
    return np.result_type(np.float32, *floating)


@dataclass
class _Item:
    """A module, the names of the nodes that it stands for, in their order, and the sizes of its input and output."""

    names: list[str]
    module: nn.Module
    size_in: int
    size_out: int
    has_state: bool = True


class _Reader:
    """Makes modules from nodes, and containers from loops."""

    def __init__(
        self, dt: float, surrogate_function: Callable[[], nn.Module], detach_reset: bool, dtype: np.dtype
    ) -> None:
        self.nir = need("nir")
        self.dt, self.dtype = dt, dtype
        self.surrogate_function, self.detach_reset = surrogate_function, detach_reset

    def items(self, path: list[str], nodes: Mapping[str, Any]) -> list[_Item]:
        if not path:
            raise ExchangeError("the graph has no nodes between its input and its output")
        items: list[_Item] = []
        size: int | None = None
        for name in path:
            new = self._items_of(name, nodes[name], size)
            if size is not None and new[0].size_in != size:
                raise ExchangeError(
                    f"node {name!r} takes {new[0].size_in} features, what comes before gives {size}"
                )
            size = new[-1].size_out
            items += new
        return items

    def _items_of(self, name: str, node: Any, size: int | None) -> list[_Item]:
        if type(node) not in (self.nir.Affine, self.nir.Linear):
            return [self._with_state(name, node, size)]
        layer = self._linear(name, node)
        merged = Layer(np.asarray(node.weight), np.asarray(node.bias) if hasattr(node, "bias") else None)
        layers = [self._layer(*part) for part in noted_layers(_note(node), merged) or ()] or [layer]
        return [_Item([name], part, part.in_features, part.out_features, has_state=False) for part in layers]

    def _with_state(self, name: str, node: Any, size: int | None) -> _Item:
        kind = type(node)
        makers = {
            self.nir.IF: self._if,
            self.nir.LIF: self._lif,
            self.nir.CubaLIF: self._cuba_lif,
            self.nir.I: self._integrator,
            self.nir.LI: self._leaky_integrator,
        }
        if kind not in makers:
            raise ExchangeError(
                f"node {name!r} is a {kind.__name__}, which snn_core has no module for: known are Affine, Linear, "
                "IF, LIF, CubaLIF, I and LI"
            )
        node_size = max(
            self._values(name, node, what).size for what in ("r", "v_threshold") if hasattr(node, what)
        )
        if node_size == 1 and size is not None:
            node_size = size  # one number for all neurons
        try:
            return _Item([name], makers[kind](name, node), node_size, node_size)
        except ExchangeError:
            raise
        except ValueError as error:
            raise ExchangeError(f"{_label(name, node)}: {error}") from error

    def _values(self, name: str, node: Any, what: str) -> np.ndarray:
        """Return a parameter of neurons, one number for each or one for all."""
        values = _numbers(name, node, what)
        if values.ndim > 1 or values.size == 0:
            raise ExchangeError(
                f"{_label(name, node)}: {what} must have one dimension, got shape {list(values.shape)}"
            )
        return values

    def _one(self, name: str, node: Any, what: str) -> np.floating[Any]:
        """Return a parameter that must be the same for all neurons, in the dtype that it is written in."""
        values = self._values(name, node, what)
        if (values != values.flat[0]).any():
            raise ExchangeError(f"{_label(name, node)}: {what} differs from neuron to neuron, ours share one")
        return values.flat[0] if values.dtype.kind == "f" else np.float64(values.flat[0])

    def _each(self, name: str, node: Any, what: str) -> np.ndarray:
        """Return a parameter as an array of no dimension if all neurons have the same, else of one."""
        values = self._values(name, node, what)
        values = values if values.dtype.kind == "f" else values.astype(float)
        return np.asarray(values.flat[0]) if (values == values.flat[0]).all() else values

    def _given(self, values: np.ndarray) -> float | torch.Tensor:
        """Return what a module takes, a number for all neurons or one for each."""
        return torch.from_numpy(values.astype(self.dtype)) if values.ndim else float(values)

    def _linear(self, name: str, node: Any) -> nn.Linear:
        weight, where = _numbers(name, node, "weight"), _label(name, node)
        bias = _numbers(name, node, "bias") if hasattr(node, "bias") else None
        if weight.ndim != 2 or weight.size == 0:
            raise ExchangeError(f"{where}: weight must have shape [out, in], got {list(weight.shape)}")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ExchangeError(
                f"{where}: bias must have shape {list(weight.shape[:1])}, got {list(bias.shape)}"
            )
        return self._layer(weight, bias)

    def _layer(self, weight: np.ndarray, bias: np.ndarray | None) -> nn.Linear:
        layer = nn.Linear(*reversed(weight.shape), bias=bias is not None, device="meta")
        layer.weight = nn.Parameter(torch.from_numpy(weight.astype(self.dtype)))
        if bias is not None:
            layer.bias = nn.Parameter(torch.from_numpy(bias.astype(self.dtype)))
        return layer

    def _steps(self, name: str, node: Any, what: str = "tau") -> np.ndarray:
        """Return tau / dt, one for all neurons or one for each."""
        taus = self._each(name, node, what)
        return np.asarray([self._shortest(tau) for tau in taus.flat]).reshape(taus.shape)

    def _shortest(self, tau: np.floating[Any]) -> float:
        """Return tau / dt: of the numbers that give this tau when multiplied by dt, the shortest one."""
        kind = type(tau)
        quotient = kind(tau / kind(self.dt))
        near = [quotient, np.nextafter(quotient, kind(0)), np.nextafter(quotient, kind(np.inf))]
        fitting = [value for value in near if kind(float(value) * self.dt) == tau]
        return float(str(min(fitting, key=lambda value: len(str(value)), default=quotient)))

    def _has_unit_resistance(self, name: str, node: Any, other: np.ndarray | float, said: str) -> bool:
        """Return whether R is 1, and not the ``other`` value that it may have, of all neurons."""
        r = self._each(name, node, "r")
        if np.isclose(r, 1, rtol=1e-6).all():
            return True
        self._is(name, node, "r", other, f"1 or {said}")
        return False

    def _is(self, name: str, node: Any, what: str, wanted: np.ndarray | float, said: str) -> None:
        """Refuse a parameter that is not what our modules say by another."""
        values = self._each(name, node, what)
        fits = np.isclose(*np.broadcast_arrays(values, wanted), rtol=1e-6)
        if not fits.all():
            at = int(np.argmin(fits))  # the first that does not fit
            got, other = (float(part.flat[at if part.ndim else 0]) for part in (values, np.asarray(wanted)))
            raise ExchangeError(
                f"{_label(name, node)}: {what} must be {said} = {other:g}, got {got:g}: is dt={self.dt:g} the length "
                "of its time step?"
            )

    def _decays_input(self, name: str, node: Any, steps: np.ndarray, said: str = "tau / dt") -> bool:
        return self._has_unit_resistance(name, node, steps, said)

    def _common(self, name: str, node: Any) -> dict[str, Any]:
        threshold = self._each(name, node, "v_threshold").astype(self.dtype)
        soft = _note(node).get("reset") in ("soft", b"soft")
        return {
            # Ours fire where v >= v_threshold, NIR's where v > v_threshold.
            "v_threshold": self._given(np.asarray(np.nextafter(threshold, np.inf, dtype=self.dtype))),
            "v_reset": None if soft else float(self._one(name, node, "v_reset")),
            "surrogate_function": self.surrogate_function(),
            "detach_reset": self.detach_reset,
        }

    def _if(self, name: str, node: Any) -> nn.Module:
        self._has_unit_resistance(name, node, 1 / self.dt, "1 / dt")
        return IFNode(**self._common(name, node))

    def _lif(self, name: str, node: Any) -> nn.Module:
        steps, common = self._steps(name, node), self._common(name, node)
        decay_input = self._decays_input(name, node, steps)
        if (steps >= ENDLESS_FROM).all() and not decay_input:
            return IFNode(**common)
        self._rests_at(name, node, common["v_reset"] or 0.0)
        return LIFNode(tau=self._given(steps), decay_input=decay_input, **common)

    def _rests_at(self, name: str, node: Any, rest: float) -> None:
        leak = float(self._one(name, node, "v_leak"))
        if not np.isclose(leak, rest, rtol=1e-6, atol=1e-12):
            raise ExchangeError(
                f"{_label(name, node)}: v_leak must be v_reset = {rest:g}, as ours are, got {leak:g}"
            )

    def _cuba_lif(self, name: str, node: Any) -> nn.Module:
        steps, of_current = (self._steps(name, node, what) for what in ("tau_mem", "tau_syn"))
        common = self._common(name, node)
        decay_input = self._decays_input(name, node, steps, "tau_mem / dt")
        self._is(name, node, "w_in", of_current, "tau_syn / dt")
        self._rests_at(name, node, common["v_reset"] or 0.0)
        return CUBALIFNode(self._given(steps), self._given(of_current), decay_input, **common)

    def _integrator(self, name: str, node: Any) -> nn.Module:
        self._has_unit_resistance(name, node, 1 / self.dt, "1 / dt")
        return Integrator()

    def _leaky_integrator(self, name: str, node: Any) -> nn.Module:
        note = _note(node)
        if note.get("module") in ("SynapseFilter", b"SynapseFilter"):
            return self._synapse_filter(name, note)
        steps = self._steps(name, node)
        if float(self._one(name, node, "v_leak")) != 0:
            raise ExchangeError(f"node {name!r} (LI): v_leak must be 0")
        decay_input = self._decays_input(name, node, steps)
        if note.get("module") in ("LowPassSynapse", b"LowPassSynapse") and not decay_input:
            return LowPassSynapse(self._given(steps))
        if steps.ndim or steps > 1:
            return LINode(self._given(steps), decay_input)
        return Integrator(float(steps), decay_input)

    def _synapse_filter(self, name: str, note: Mapping[str, Any]) -> nn.Module:
        learnable, channels = (
            bool(_number(note.get(what), name, what)) for what in ("learnable", "channels")
        )
        values = np.asarray(note.get("w" if learnable else "tau"))
        if values.dtype.kind != "f" or values.ndim != 1 or not np.isfinite(values).all():
            raise ExchangeError(f"node {name!r} (LI): its note about a SynapseFilter is broken")
        exact = torch.from_numpy(values if channels else values[0:1].squeeze(0))
        synapse = SynapseFilter(tau=1 + torch.exp(-exact) if learnable else exact, learnable=learnable)
        if learnable:
            synapse.w = nn.Parameter(exact)
        return synapse

    # The loops

    def close(self, loop: _Loop, items: list[_Item]) -> list[_Item]:
        """Return the items with those that a loop spans in a recurrent container."""
        first = next(place for place, item in enumerate(items) if loop.target in item.names)
        last = max(place for place, item in enumerate(items) if loop.source in item.names)
        inside = items[first : last + 1]
        where = f"the way back from {loop.source!r} to {loop.target!r}"
        if inside[0].names[0] != loop.target or inside[-1].names[-1] != loop.source:
            raise ExchangeError(
                f"{where} crosses another one: only cycles inside or beside each other are known"
            )
        if not any(item.has_state for item in inside):
            raise ExchangeError(f"{where} spans no node with a state, so it has no time step")
        size_in, size_out = inside[0].size_in, inside[-1].size_out
        layer = nn.Identity() if loop.through is None else self._linear(loop.name, loop.through)
        sizes = (size_out, size_out) if loop.through is None else (layer.in_features, layer.out_features)
        if sizes != (size_out, size_in):
            through = f", through {loop.name!r}," if loop.name else ""
            raise ExchangeError(
                f"{where}{through} leads from {size_out} features to {size_in}, got {sizes[0]} to {sizes[1]}"
            )
        names = [name for item in inside for name in item.names]
        if len(inside) > 1 and _is_identity(inside[0].module):
            inside = inside[1:]  # a mere sum
        module = inside[0].module if len(inside) == 1 else nn.Sequential(*(item.module for item in inside))
        if isinstance(layer, nn.Identity) or _is_identity(layer):
            container: nn.Module = ElementWiseRecurrentContainer(module, torch.add)
        else:
            before = items[first - 1].module if first else None
            if isinstance(before, nn.Linear) and before.in_features == before.out_features:
                first -= 1
                names = items[first].names + names
            else:
                before = None
            container = self._linear_recurrent(module, layer, before)
        return [*items[:first], _Item(names, container, size_in, size_out), *items[last + 1 :]]

    def _linear_recurrent(self, module: nn.Module, back: nn.Linear, before: nn.Linear | None) -> nn.Module:
        """Return the container that adds ``back`` of y[t-1] to x[t], or to ``before`` of x[t]."""
        size_in, size_out = back.out_features, back.in_features
        container = LinearRecurrentContainer(module, size_in, size_out)
        weight = np.eye(size_in) if before is None else before.weight.detach().numpy()
        biases = [
            layer.bias.detach().numpy()
            for layer in (before, back)
            if layer is not None and layer.bias is not None
        ]
        container.rc = self._layer(
            np.concatenate([weight, back.weight.detach().numpy()], axis=1), sum(biases) if biases else None
        )
        return container


def _is_identity(layer: nn.Module) -> bool:
    square = isinstance(layer, nn.Linear) and layer.in_features == layer.out_features and layer.bias is None
    return square and torch.equal(layer.weight, torch.eye(layer.in_features, dtype=layer.weight.dtype))
