"""A NIR graph as our modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from snn_core import layer
from snn_core.checks import check_number
from snn_exchange.common import DT, ExchangeError, first_line, need
from snn_exchange.nir_nodes import LAYERS, STATEFUL, Layer, module_of, note_beside, plus

if TYPE_CHECKING:
    import nir

__all__ = ["Loop", "chain_of", "from_nir"]


def from_nir(graph: nir.NIRGraph, *, dt: float | None = None) -> nn.Sequential:
    """Return the network of a NIR graph, ``[T, N, *]`` to ``[T, N, *]``, made of our modules.

    The graph must be a chain of Affine, Linear, IF, LIF, CubaLIF, I and LI nodes from its input to its output, beside
    which Affine and Linear nodes may lead back: each such cycle becomes a recurrent container around what it spans.
    Neurons fire where v > v_threshold, as NIR says; thresholds and time
    constants may differ from neuron to neuron. NIR has no surrogate functions: neurons get ATan and ``detach_reset``. A
    layer that :func:`~snn_exchange.to_nir` made of two becomes these two again, if its weights are still their product.

    Args:
        graph: from :func:`~snn_exchange.to_nir`, :func:`~snn_exchange.read_nir` or another library.
        dt: length of a time step in NIR's seconds. None takes what the graph says of it if it is ours, or else 1e-4, as
            snnTorch and SpikingJelly do. An IF neuron may also have R = 1, which several libraries write whatever
            their dt.

    Raises:
        ExchangeError: the graph is broken or holds what our modules cannot express; the message names the node.
    """
    nir = need("nir")
    if not isinstance(graph, nir.NIRGraph):
        raise ExchangeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}")
    try:
        dt = check_number("dt", note_beside(graph).get("dt", DT) if dt is None else dt, above=0)
        graph = nir.dict2NIRNode(graph.to_dict())  # a copy, of which NIR has checked the edges and sizes
    except Exception as error:  # NIR checks by assert, and stumbles over what it does not check
        raise ExchangeError(f"the graph cannot be read: {first_line(error)}") from error
    parts = _Reader(graph, dt, np.result_type(np.float32, *_dtypes(graph))).all()
    wrap = {True: layer.SeqToANNContainer, False: layer.MultiStepContainer}
    return nn.Sequential(*(wrap[isinstance(part, nn.Linear)](part) for part in parts))


def _dtypes(graph: nir.NIRGraph) -> Iterator[np.dtype]:
    for node in graph.nodes.values():
        if hasattr(node, "weight"):
            yield node.weight.dtype
        elif hasattr(node, "nodes"):
            yield from _dtypes(node)


class Loop(NamedTuple):
    """A way back from one place on the path to an earlier one, or the same; through a node, or "" if directly."""

    source: int
    target: int
    through: str


def chain_of(graph: nir.NIRGraph) -> tuple[list[str], list[Loop]]:
    """Return the names of the nodes on the path from the input of a graph to its output, and the ways back.

    Raises:
        ExchangeError: the graph branches, or has more than one input or output.
    """
    for ends in (graph.inputs, graph.outputs):
        if len(ends) != 1:
            found = ", ".join(map(repr, ends)) or "none"
            raise ExchangeError(f"a graph must have one Input node and one Output node, got {found}")
    (first,), (last,) = graph.inputs, graph.outputs
    paths = {first: [first]}
    for name in (queue := [first]):  # grows: breadth first, the shortest path
        for target in [target for source, target in graph.edges if source == name and target not in paths]:
            paths[target] = [*paths[name], target]
            queue.append(target)
    if last not in paths:
        raise ExchangeError(f"no path leads from {first!r} to {last!r}")
    places = {name: place for place, name in enumerate(paths[last])}
    ways = [(a, b, "") for a, b in graph.edges if {a, b} <= places.keys() and places[b] != places[a] + 1]
    for name in [name for name in graph.nodes if name not in places]:
        before = [source for source, target in graph.edges if target == name]
        after = [target for source, target in graph.edges if source == name]
        kind, ends = type(graph.nodes[name]).__name__, [*before, *after]
        if kind not in LAYERS or (len(before), len(after)) != (1, 1) or not places.keys() >= {*ends}:
            raise ExchangeError(
                f"node {name!r} ({kind}) is not on the path from {first!r} to {last!r}; beside it only Affine and "
                "Linear nodes may stand, which lead from one node on it back to one other"
            )
        ways.append((*ends, name))
    for source, target, through in ways:
        if not 0 < places[target] <= places[source]:
            raise ExchangeError(
                f"edge {source} -> {through or target} skips nodes: only ways back are known, no branches"
            )
    return paths[last], [Loop(places[source], places[target], through) for source, target, through in ways]


class _Reader:
    """Makes modules of the nodes of a graph."""

    def __init__(self, graph: nir.NIRGraph, dt: float, dtype: np.dtype) -> None:
        self.nodes, self.dt, self.dtype = graph.nodes, dt, dtype
        self.path, self.loops = chain_of(graph)

    def all(self) -> list[Any]:
        return self._parts(0, len(self.path) - 1, self.loops)

    def _parts(self, first: int, last: int, loops: list[Loop]) -> list[Any]:
        """Return the modules for these places on the path."""
        parts: list[Any] = []
        while first <= last:
            if loop := max((loop for loop in loops if loop.target == first), default=None):
                if loop.source > last:
                    raise ExchangeError(
                        f"{self._named(loop)} crosses another one: only cycles inside or beside each other are known"
                    )
                inside = self._parts(first, loop.source, [other for other in loops if other is not loop])
                parts = self._closed(loop, parts, inside)
                first = loop.source
            else:
                parts += self._made(self.path[first])
            first += 1
        return parts

    def _made(self, name: str, has_note: bool = True) -> list[Any]:
        """Return the modules of a node: one, the two layers that it is the product of, or none of an Input."""
        node = self.nodes[name]
        kind, note = type(node).__name__, note_beside(node) if has_note else {}
        if kind in ("Input", "Output"):
            return []
        if kind == "NIRGraph":
            return _Reader(node, self.dt, self.dtype).all()
        try:
            if kind not in LAYERS and kind not in STATEFUL:
                raise ValueError(
                    f"snn_core has no module for it, known are {', '.join((*LAYERS, *STATEFUL))}"
                )
            names = {field.name for field in fields(node)} - {"input_type", "output_type", "metadata"}
            numbers = {name: _numbers(node, name) for name in sorted(names)}
            if kind in LAYERS:
                return [part.module(self.dtype) for part in Layer(**numbers).noted(note)]
            return [module_of(kind, numbers, note, self.dt, self.dtype)]
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ExchangeError(f"node {name!r} ({kind}): {first_line(error)}") from error

    def _named(self, loop: Loop) -> str:
        return f"the way back from {self.path[loop.source]!r} to {self.path[loop.target]!r}"

    def _closed(self, loop: Loop, before: list[Any], inside: list[Any]) -> list[Any]:
        """Return the modules with a recurrent container around those inside a loop."""
        if all(isinstance(module, nn.Linear) for module in inside):
            raise ExchangeError(f"{self._named(loop)} spans no node with a state, so it has no time step")
        if len(inside) > 1 and isinstance(inside[0], nn.Linear) and Layer.of(inside[0]).is_identity:
            inside = inside[1:]  # a mere sum
        module = inside[0] if len(inside) == 1 else nn.Sequential(*inside)
        back = Layer.of(*self._made(loop.through, has_note=False)) if loop.through else None
        if back is None or back.is_identity:
            return [*before, layer.ElementWiseRecurrentContainer(module, torch.add)]
        size_in, size_out = back.weight.shape
        of_x = Layer(np.eye(size_in))
        if before and isinstance(before[-1], nn.Linear) and before[-1].in_features == before[-1].out_features:
            of_x = Layer.of(before.pop())
        container = layer.LinearRecurrentContainer(module, size_in, size_out)
        both = Layer(np.hstack([of_x.weight, back.weight]), plus(of_x.bias, back.bias))
        container.rc = both.module(self.dtype)
        return [*before, container]


def _numbers(node: Any, name: str) -> np.ndarray:
    """Return a parameter of a node as floating-point numbers."""
    values = np.asarray(getattr(node, name))
    values = values if values.dtype in (np.float32, np.float64) else values.astype(float)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return values
