"""A NIR graph as our modules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_core import layer, neuron
from snn_core.checks import check_number
from snn_core.surrogate import ATan
from snn_exchange.common import DT, ExchangeError, first_line, need
from snn_exchange.merging import Layer, noted_layers
from snn_exchange.nir_write import ENDLESS

if TYPE_CHECKING:
    import nir

__all__ = ["from_nir"]


def from_nir(graph: nir.NIRGraph, *, dt: float | None = None) -> nn.Sequential:
    """Return the network of a NIR graph, ``[T, N, *]`` to ``[T, N, *]``, made of our modules.

    The graph must be a chain of Affine, Linear, IF, LIF, CubaLIF, I and LI nodes from its input to its output, beside
    which Affine and Linear nodes may lead back: each such cycle becomes a recurrent container around what it spans.
    Graphs inside the graph are taken apart first. Neurons fire where v > v_threshold, as NIR says; thresholds and time
    constants may differ from neuron to neuron. NIR has no surrogate functions: neurons get ATan and ``detach_reset``. A
    layer that :func:`~snn_exchange.to_nir` made of two becomes these two again, if its weights are still their product.

    Args:
        graph: from :func:`~snn_exchange.to_nir`, :func:`~snn_exchange.read_nir` or another library.
        dt: length of a time step in NIR's seconds. None takes what the graph says of it if it is ours, or else 1e-4, as
            snnTorch and SpikingJelly do. An IF neuron may also have R = 1, which several libraries write whatever
            their dt.

    Raises:
        ExchangeError: the graph is broken or holds what our modules cannot say; the message names the node.
    """
    nir = need("nir")
    if not isinstance(graph, nir.NIRGraph):
        raise ExchangeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}")
    try:
        graph.validate_structure()
        dt = check_number("dt", _note(graph).get("dt", DT) if dt is None else dt, above=0)
    except (TypeError, ValueError) as error:
        raise ExchangeError(f"the graph cannot be read: {error}") from error
    nodes, edges = _flat(graph)
    path, loops = _chain(nodes, edges, _door(graph.inputs), _door(graph.outputs))
    weights = [np.asarray(node.weight).dtype for node in nodes.values() if hasattr(node, "weight")]
    dtype = np.result_type(np.float32, *(kind for kind in weights if kind == np.float64))
    parts: list[_Part] = []
    for place, name in enumerate(path):
        if isinstance(nodes[name], (nir.Input, nir.Output)):
            continue
        size = parts[-1].size_out if parts else None
        made = _Node(name, nodes[name], dt, dtype).parts(place, size)
        if size not in (None, made[0].size_in):
            raise ExchangeError(
                f"node {name!r} takes {made[0].size_in} features, what comes before gives {size}"
            )
        parts += made
    if not parts:
        raise ExchangeError("the graph has no nodes between its input and its output")
    for source, target, through in sorted(loops, key=lambda loop: loop[0] - loop[1]):  # inner ones first
        back = _Node(through, nodes[through], dt, dtype).parts(0, None)[0] if through else None
        try:
            parts = _close(source, target, back, parts)
        except ValueError as error:
            where = f"the way back from {path[source]!r} to {path[target]!r}"
            raise ExchangeError(f"{where} {error}") from error
    wrap = {True: layer.SeqToANNContainer, False: layer.MultiStepContainer}
    return nn.Sequential(*(wrap[isinstance(part.module, nn.Linear)](part.module) for part in parts))


def _note(node: Any) -> Mapping[str, Any]:
    """Return what to_nir noted beside a node, or {}."""
    metadata = getattr(node, "metadata", None)
    note = metadata.get("snn_core") if isinstance(metadata, dict) else None
    return note if isinstance(note, dict) else {}


# The structure


def _flat(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return nodes and edges with the graphs inside taken apart: their Input and Output nodes only hand on."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    ends: dict[str, tuple[str, str]] = {}  # where what comes to a node goes in, and comes out
    for name, node in graph.nodes.items():
        full = prefix + name
        if isinstance(node, need("nir").NIRGraph):
            inner, inner_edges = _flat(node, f"{full}.")
            nodes |= inner
            edges += inner_edges
            ends[name] = f"{full}.{_door(node.inputs)}", f"{full}.{_door(node.outputs)}"
        else:
            nodes[full] = node
            ends[name] = full, full
    return nodes, edges + [(ends[source][1], ends[target][0]) for source, target in graph.edges]


def _door(doors: Mapping[str, Any]) -> str:
    if len(doors) != 1:
        found = ", ".join(map(repr, doors)) or "none"
        raise ExchangeError(f"a graph must have one Input node and one Output node, got {found}")
    return next(iter(doors))


def _chain(
    nodes: Mapping[str, Any], edges: list[tuple[str, str]], first: str, last: str
) -> tuple[list[str], list[tuple[int, int, str]]]:
    """Return the names of the nodes on the way from ``first`` to ``last``, and the ways back.

    A way back leads from a place on the way to an earlier one, through the node of that name, or directly.
    """
    paths = {first: [first]}
    for name in (queue := [first]):  # grows: breadth first, the shortest way
        for target in [target for source, target in edges if source == name]:
            if target not in paths:
                paths[target] = [*paths[name], target]
                queue.append(target)
    if last not in paths:
        raise ExchangeError(f"no way leads from {first!r} to {last!r}")
    places = {name: place for place, name in enumerate(paths[last])}
    ways = [(source, target, "") for source, target in edges if {source, target} <= places.keys()]
    for name in [name for name in nodes if name not in places]:
        before = [source for source, target in edges if target == name]
        after = [target for source, target in edges if source == name]
        is_layer = type(nodes[name]).__name__ in ("Affine", "Linear")
        if not is_layer or (len(before), len(after)) != (1, 1) or not {*before, *after} <= places.keys():
            raise ExchangeError(
                f"node {name!r} ({type(nodes[name]).__name__}) is not on the way from {first!r} to {last!r}; beside it "
                "only Affine and Linear nodes may stand, which lead from one node on it back to one other"
            )
        ways.append((*before, *after, name))
    loops = []
    for source, target, through in ways:
        if through or places[target] != places[source] + 1:
            loops.append((places[source], places[target], through))
            if not 0 < places[target] <= places[source]:
                raise ExchangeError(
                    f"edge {source} -> {through or target} skips nodes: only ways back are known, no branches"
                )
    return paths[last], loops


# The nodes


@dataclass(eq=False)
class _Part:
    """A module, the places on the chain that it stands for, and the sizes of its input and output."""

    module: Any
    first: int
    last: int
    size_in: int
    size_out: int


class _Node:
    """A node of NIR, of which our modules are made."""

    def __init__(self, name: str, node: Any, dt: float, dtype: np.dtype) -> None:
        self.name, self.node, self.dt, self.dtype = name, node, dt, dtype
        self.kind, self.note = type(node).__name__, _note(node)

    def parts(self, place: int, size: int | None) -> list[_Part]:
        """Return the modules of a node that gets ``size`` numbers, or any number if that is None."""
        try:
            if self.kind in ("Affine", "Linear"):
                return [
                    _Part(made, place, place, made.in_features, made.out_features) for made in self._layers()
                ]
            if self.kind not in ("IF", "LIF", "CubaLIF", "I", "LI"):
                known = "Affine, Linear, IF, LIF, CubaLIF, I and LI"
                raise ValueError(f"snn_core has no module for it, known are {known}")
            module = self._neuron() if hasattr(self.node, "v_threshold") else self._integrator()
            own = max(np.size(getattr(self.node, what, 0)) for what in ("r", "v_threshold"))
            own = size if own == 1 and size is not None else own  # one number for all neurons
            return [_Part(module, place, place, own, own)]
        except (LookupError, RuntimeError, TypeError, ValueError) as error:  # of our modules, or of a note
            raise ExchangeError(f"node {self.name!r} ({self.kind}): {first_line(error)}") from error

    def _numbers(self, what: str) -> np.ndarray:
        """Return a parameter of the node, of any shape."""
        values = np.asarray(getattr(self.node, what))
        values = values if values.dtype in (np.float32, np.float64) else values.astype(float)
        if not np.isfinite(values).all():
            raise ValueError(f"{what} holds NaN or infinity")
        return values

    def _layers(self) -> list[nn.Linear]:
        """Return the layer of the node, or the two layers that were multiplied into it."""
        own = Layer(self._numbers("weight"), self._numbers("bias") if self.kind == "Affine" else None)
        layers = []
        for arrays in noted_layers(self.note, own):
            shapes = [list(array.shape) for array in arrays if array is not None]
            if len(shapes[0]) != 2 or shapes[1:] not in ([], [shapes[0][:1]]):
                raise ValueError(f"weight and bias must have shapes [out, in] and [out], got {shapes}")
            layers.append(_linear(*(torch.tensor(a.astype(self.dtype)) for a in arrays if a is not None)))
        return layers

    def _each(self, what: str) -> np.ndarray:
        """Return a parameter as an array of no dimension if all neurons have the same, else of one."""
        values = self._numbers(what)
        if values.ndim > 1 or values.size == 0:
            raise ValueError(f"{what} must have one dimension, got shape {list(values.shape)}")
        return np.asarray(values.flat[0]) if (values == values.flat[0]).all() else values

    def _given(self, values: np.ndarray) -> float | Tensor:
        """Return what a module takes, a number for all neurons or one for each."""
        return torch.tensor(values.astype(self.dtype)) if values.ndim else float(values)

    def _steps(self, what: str = "tau") -> np.ndarray:
        """Return time constants in time steps, as the shortest numbers that give them when multiplied by dt."""
        taus, steps = self._each(what), []
        for tau in taus.flat:
            tried = (float(f"{float(tau) / self.dt:.{digits}g}") for digits in range(1, 18))
            fitting = (number for number in tried if taus.dtype.type(number * self.dt) == tau)
            steps.append(next(fitting, float(tau) / self.dt))
        return np.asarray(steps).reshape(taus.shape)

    def _check(self, what: str, wanted: np.ndarray | float, said: str) -> None:
        """Refuse a parameter that is not what our modules say by another."""
        values, wanted = np.broadcast_arrays(self._each(what), wanted)
        if (wrong := ~np.isclose(values, wanted, rtol=1e-6, atol=1e-12)).any():
            raise ValueError(
                f"{what} must be {said} = {wanted[wrong][0]:g}, got {values[wrong][0]:g}: is dt={self.dt:g} the length "
                "of its time step?"
            )

    def _has_unit_resistance(self, other: np.ndarray | float, said: str) -> bool:
        """Return whether R is 1, and not the ``other`` value that it may have."""
        is_one = bool(np.isclose(self._each("r"), 1, rtol=1e-6).all())
        if not is_one:
            self._check("r", other, f"1 or {said}")
        return is_one

    def _neuron(self) -> nn.Module:
        v_reset = self._each("v_reset")
        if v_reset.ndim:
            raise ValueError("v_reset differs from neuron to neuron, ours share one")
        # Ours fire where v >= v_threshold, NIR's where v > v_threshold.
        threshold = np.nextafter(self._each("v_threshold").astype(self.dtype), np.inf, dtype=self.dtype)
        common = {
            "v_threshold": self._given(np.asarray(threshold)),
            "v_reset": None if self.note.get("reset") == "soft" else float(v_reset),
            "surrogate_function": ATan(),
            "detach_reset": True,
        }
        if self.kind == "IF":
            self._has_unit_resistance(1 / self.dt, "1 / dt")
            return neuron.IFNode(**common)
        tau = "tau" if self.kind == "LIF" else "tau_mem"
        steps = self._steps(tau)
        decay_input = self._has_unit_resistance(steps, f"{tau} / dt")
        self._check("v_leak", float(v_reset), "v_reset")
        if self.kind == "CubaLIF":
            of_current = self._steps("tau_syn")
            self._check("w_in", of_current, "tau_syn / dt")
            return neuron.CUBALIFNode(self._given(steps), self._given(of_current), decay_input, **common)
        if (steps >= ENDLESS / 2**11).all() and not decay_input:
            return neuron.IFNode(**common)  # the leak of a step is lost in rounding
        return neuron.LIFNode(self._given(steps), decay_input, **common)

    def _integrator(self) -> nn.Module:
        if self.kind == "I":
            self._has_unit_resistance(1 / self.dt, "1 / dt")
            return neuron.LINode(math.inf, decay_input=False)
        if self.note.get("module") == "SynapseFilter":
            kept = "w" if "w" in self.note else "fixed_tau"
            values = torch.tensor(self.note[kept])
            synapse = layer.SynapseFilter(torch.full_like(values, 2.0), learnable=kept == "w").to(
                values.dtype
            )
            synapse.load_state_dict({kept: values})
            return synapse
        self._check("v_leak", 0.0, "0")
        steps = self._steps()
        return neuron.LINode(self._given(steps), self._has_unit_resistance(steps, "tau / dt"))


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    made.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}), assign=True)
    return made


# The loops


def _close(source: int, target: int, back: _Part | None, parts: list[_Part]) -> list[_Part]:
    """Return the parts with those from ``target`` to ``source`` in a recurrent container."""
    inside = [part for part in parts if part.last >= target and part.first <= source]
    if all(isinstance(part.module, nn.Linear) for part in inside):
        raise ValueError("spans no node with a state, so it has no time step")
    start, first, last = parts.index(inside[0]), inside[0].first, inside[-1].last
    if first < target or last > source:
        raise ValueError("crosses another one: only cycles inside or beside each other are known")
    size_in, size_out = inside[0].size_in, inside[-1].size_out
    sizes = (back.size_in, back.size_out) if back else (size_out, size_out)
    if sizes != (size_out, size_in):
        raise ValueError(f"must lead from {size_out} features to {size_in}, got {sizes[0]} to {sizes[1]}")
    rest = parts[start + len(inside) :]
    if len(inside) > 1 and _is_identity(inside[0].module):
        inside = inside[1:]  # a mere sum
    modules = [part.module for part in inside]
    module = modules[0] if len(modules) == 1 else nn.Sequential(*modules)
    if back is None or _is_identity(back.module):
        container: nn.Module = layer.ElementWiseRecurrentContainer(module, torch.add)
    else:
        weight, biases = torch.eye(size_in, dtype=back.module.weight.dtype), [back.module.bias]
        before = parts[start - 1].module if start else None
        if isinstance(before, nn.Linear) and before.in_features == before.out_features:
            start, first = start - 1, parts[start - 1].first
            weight, biases = before.weight, [before.bias, back.module.bias]
        biases = [bias.detach() for bias in biases if bias is not None]
        container = layer.LinearRecurrentContainer(module, size_in, size_out)
        weight = torch.cat([weight, back.module.weight], 1).detach()
        container.rc = _linear(weight, sum(biases) if biases else None)
    return [*parts[:start], _Part(container, first, last, size_in, size_out), *rest]


def _is_identity(module: nn.Module) -> bool:
    if not isinstance(module, nn.Linear) or module.bias is not None:
        return False
    return torch.equal(module.weight, torch.eye(*module.weight.shape, dtype=module.weight.dtype))
