"""Single nodes of NIR and single modules of ours with the same equation, in both directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snn_core.more.neuron import CUBALIFNode
from snn_core.neuron import IFNode, LIFNode, LINode, SpikingNeuron
from snn_core.surrogate import ATan
from snn_core.synapse import SynapseFilter
from snn_exchange.common import need

if TYPE_CHECKING:
    import nir

__all__ = ["LAYERS", "STATEFUL", "Layer", "array_of", "each", "module_of", "node_of", "note_beside"]

#: A membrane time constant in time steps from which a float64 neuron no longer leaks: 1 - 1/tau rounds to 1.
ENDLESS = 2.0**64
#: The modules of the nodes that have a state.
STATEFUL: dict[str, Any] = {"IF": IFNode, "LIF": LIFNode, "CubaLIF": CUBALIFNode, "I": LINode, "LI": LINode}
#: Why a number of a node cannot be ours, where it is not the length of a time step.
HINTS = {"v_leak": "a neuron here rests where it is reset to"}
#: The nodes without one.
LAYERS = ("Affine", "Linear")


def array_of(value: float | Tensor | np.ndarray) -> np.ndarray:
    """Return a copy of a tensor as an array, and a number as an array of no dimension."""
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else np.asarray(value)


def note_beside(node: Any) -> Mapping[str, Any]:
    """Return what we noted beside a node or graph when we wrote it, or {}."""
    metadata = getattr(node, "metadata", None)
    note = metadata.get("snn_core") if isinstance(metadata, dict) else None
    return note if isinstance(note, dict) else {}


class Layer(NamedTuple):
    """x W^T + b: ``weight`` of shape [out, in], ``bias`` of shape [out] or None."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    @classmethod
    def of(cls, module: nn.Linear) -> Layer:
        return cls(array_of(module.weight), None if module.bias is None else array_of(module.bias))

    @property
    def is_identity(self) -> bool:
        return self.bias is None and np.array_equal(self.weight, np.eye(*self.weight.shape))

    def after(self, first: Layer) -> Layer:
        """Return the layer that does what this one does after ``first``, computed in float64."""
        weight = self.weight.astype(float)
        return Layer(
            weight @ first.weight, plus(None if first.bias is None else weight @ first.bias, self.bias)
        )

    def node(self, dtype: np.dtype, *product_of: Layer) -> nir.NIRNode:
        """Return the node of NIR, with a note of the two layers that it is the product of."""
        named = {f"{name}_{k}": a for k, of in enumerate(product_of, 1) for name, a in of._asdict().items()}
        note = {name: array for name, array in named.items() if array is not None}
        arrays = [array.astype(dtype) for array in self if array is not None]
        kind = need("nir").Linear if self.bias is None else need("nir").Affine
        return kind(*arrays, metadata={"snn_core": note} if note else {})

    def noted(self, note: Mapping[str, Any]) -> tuple[Layer, ...]:
        """Return the two layers that a note keeps, or this one alone if it is not their product.

        What a graph computes are its weights. A note that says anything else, be it damaged or older than they are,
        does not count.
        """
        try:
            first, second = (Layer(note[f"weight_{k}"], note.get(f"bias_{k}")) for k in (1, 2))
            pairs: Any = zip(second.after(first), self, strict=True)
            for one, other in pairs:
                if one is other:
                    continue  # both have no bias
                # Not bit for bit: a matrix product is added up in another order on another machine.
                rounding = second.weight.shape[1] * np.finfo(other.dtype).eps * np.abs(other).max()
                if one.shape != other.shape or not (np.abs(one - other) <= rounding).all():
                    return (self,)
        except (AttributeError, LookupError, TypeError, ValueError):
            return (self,)  # no note, or one that is not made of layers
        return first, second

    def module(self, dtype: np.dtype) -> nn.Linear:
        tensors = [torch.tensor(array.astype(dtype)) for array in self if array is not None]
        shapes = [list(tensor.shape) for tensor in tensors]
        if len(shapes[0]) != 2 or shapes[1:] not in ([], [shapes[0][:1]]):
            raise ValueError(f"weight and bias must have shapes [out, in] and [out], got {shapes}")
        made = nn.Linear(shapes[0][1], shapes[0][0], self.bias is not None, device="meta")
        for name, tensor in zip(("weight", "bias"), tensors, strict=False):
            setattr(made, name, nn.Parameter(tensor))
        return made


def plus(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Return the sum of two biases, each of which may be missing."""
    return one if other is None else other if one is None else one + other


def equation(module: nn.Module, dt: float, as_lif: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the node with the equation of a module: its type and its numbers, each one or one for each neuron.

    One step of Euler's method, of length ``dt``, makes NIR's equation ours. With ``as_lif`` an IF neuron is a LIF
    neuron with an endless time constant.
    """
    rest = getattr(module, "v_reset", None) or 0.0  # 0 stands for the soft reset, too
    is_neuron = isinstance(module, SpikingNeuron)
    firing = {"v_threshold": module.v_threshold, "v_reset": rest} if is_neuron else {}
    if isinstance(module, IFNode) and not as_lif:
        return "IF", {"r": 1 / dt} | firing
    tau = np.minimum(array_of(getattr(module, "tau", math.inf)).astype(float), ENDLESS)
    leak = {"r": 1.0 if getattr(module, "decay_input", False) else tau, "v_leak": rest}
    if isinstance(module, CUBALIFNode):
        of_current = array_of(module.tau_synapse).astype(float)
        return "CubaLIF", {
            "tau_mem": tau * dt,
            "tau_syn": of_current * dt,
            "w_in": of_current,
        } | leak | firing
    return "LIF" if is_neuron else "LI", {"tau": tau * dt} | leak | firing


def node_of(
    module: nn.Module, size: int, dt: float, dtype: np.dtype, as_lif: bool, note: dict[str, Any]
) -> nir.NIRNode:
    """Return a module as a node of ``size`` neurons with a note beside it; other arguments as for :func:`equation`.

    Raises:
        ValueError: the module has numbers for another size.
    """
    kind, numbers = equation(module, dt, as_lif)
    arrays = {name: each(values, size).astype(dtype) for name, values in numbers.items()}
    if "v_threshold" in arrays:
        # NIR's neurons fire where v > v_threshold, ours where v >= v_threshold.
        arrays["v_threshold"] = np.nextafter(arrays["v_threshold"], dtype.type(-np.inf))
    return getattr(need("nir"), kind)(**arrays, metadata={"snn_core": note} if note else {})


def each(value: float | Tensor | np.ndarray, size: int) -> np.ndarray:
    """Return the number of all neurons, or that of each, as an array of ``size`` numbers."""
    values = array_of(value)
    if values.shape not in ((), (size,)):
        raise ValueError(f"has numbers for neurons in the shape {list(values.shape)}, NIR needs [{size}]")
    return np.full(size, values)


def module_of(
    kind: str, numbers: Mapping[str, np.ndarray], note: Mapping[str, Any], dt: float, dtype: np.dtype
) -> nn.Module:
    """Return the module that :func:`node_of` would write as a node of this type with these numbers.

    Raises:
        LookupError, RuntimeError, TypeError, ValueError: there is none, or the note is damaged.
    """
    if note.get("module") == "SynapseFilter":
        return _noted_synapse(note)

    def given(values: np.ndarray) -> float | Tensor:
        is_shared = (values == values.flat[0]).all()
        return float(values.flat[0]) if is_shared else torch.tensor(values.astype(dtype))

    common: dict[str, Any] = {}
    if "v_threshold" in numbers:
        threshold = np.nextafter(numbers["v_threshold"].astype(dtype), dtype.type(np.inf))  # as in node_of
        common = {"v_threshold": given(np.asarray(threshold)), "v_reset": given(numbers["v_reset"])}
        if isinstance(common["v_reset"], Tensor):
            raise ValueError("v_reset differs from neuron to neuron, ours share one")
        if note.get("reset") == "soft":
            common["v_reset"] = None
        common |= {"surrogate_function": ATan(), "detach_reset": True}
    # Several libraries write R = 1 for an IF neuron, whatever their dt.
    has_unit_resistance = bool(np.isclose(numbers["r"], 1, rtol=1e-6).all())
    steps = [_steps(numbers[name], dt) for name in ("tau", "tau_mem", "tau_syn") if name in numbers]
    arguments = {"IF": [], "I": [math.inf, False]}.get(kind, [*map(given, steps), has_unit_resistance])
    module = STATEFUL[kind](*arguments, **common)
    expected = {"r": 1 / dt} if kind == "I" else equation(module, dt)[1]
    for name, values in numbers.items():
        have, wanted = np.broadcast_arrays(values, array_of(expected[name]))
        if name == "r" and has_unit_resistance:
            continue
        if (wrong := ~np.isclose(have, wanted, rtol=1e-6, atol=1e-12)).any():
            raise ValueError(
                f"{name} must be {'1 or ' if name == 'r' else ''}{wanted[wrong][0]:g}, got {have[wrong][0]:g}: "
                + HINTS.get(name, f"is dt={dt:g} the length of its time step?")
            )
    if kind == "LIF" and not has_unit_resistance and (steps[0] >= ENDLESS / 2**11).all():
        return IFNode(**common)  # the leak of a step is lost in rounding
    return module


def _steps(taus: np.ndarray, dt: float) -> np.ndarray:
    """Return time constants in time steps: 2 and not 2.0000001, where both are the same number times dt."""
    steps, digits = taus.astype(float) / dt, np.finfo(taus.dtype).precision
    short = np.array([float(f"{step:.{digits}g}") for step in steps.flat]).reshape(steps.shape)
    return np.where((short * dt).astype(taus.dtype) == taus, short, steps)


def _noted_synapse(note: Mapping[str, Any]) -> SynapseFilter:
    if "w" not in note:
        taus = note["tau"] if "tau" in note else note["fixed_tau"]  # as files before version 0.2 call it
        return SynapseFilter(torch.tensor(taus) if np.ndim(taus) else float(taus))
    values = torch.tensor(note["w"])
    synapse = SynapseFilter(torch.full_like(values, 2.0), learnable=True).to(values.dtype)
    synapse.load_state_dict({"w": values})
    return synapse
