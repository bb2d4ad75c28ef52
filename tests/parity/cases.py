"""The table of what every backend must do as the loop does: layers and networks, their inputs and their first states.

A :class:`Case` is built from the parts of a library (:class:`support_networks.Library`), so that SpikingJelly runs it
as well. Inputs and weights come from numpy's RandomState, whose numbers are the same in every version. The table is a
part of the product of neurons, resets, surrogates, precisions and shapes: see :func:`rotating`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from support_networks import Library, our_library, seeded_weights
from torch import Tensor, nn

from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_core import functional

F32, F64 = torch.float32, torch.float64
NEURONS: dict[str, tuple[str, dict[str, Any]]] = {
    "IF": ("IFNode", {}),
    "LIF": ("LIFNode", {"tau": 2.5}),
    "LIF whole input": ("LIFNode", {"tau": 2.5, "decay_input": False}),
    "PLIF": ("ParametricLIFNode", {"init_tau": 2.5}),
}
RESETS = {
    f"{name}{', detached' * detach}": {"v_reset": v_reset, "detach_reset": detach}
    for detach, (name, v_reset) in itertools.product(
        (False, True), (("hard", 0.0), ("hard to -0.3", -0.3), ("soft", None))
    )
}
SURROGATES = ["ATan", "Erf", "FastSigmoid", "Rectangle", "Sigmoid", "Triangle"]
DTYPES = {"float64": F64, "float32": F32}
#: Attributes that are states; the place of one seeds its first values.
STATES = ["v", "y", "out_i", "a", "i", "i_rise", "i_decay", "refractory_left", "y_history"]
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
#: Steps that are enough for every delay.
LONG = 32


def random(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return fp64 numbers of the normal distribution, always the same."""
    return torch.from_numpy(np.random.RandomState(seed).normal(size=shape))


def currents(scale: float, mean: float = 0.0) -> Callable[[tuple[int, ...]], Tensor]:
    return lambda shape: scale * random(shape) + mean


def spikes(shape: tuple[int, ...]) -> Tensor:
    return (random(shape) > 0.5).double()


def as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def transposed(tensor: Tensor) -> Tensor:
    """Return an equal tensor that lies in memory with its last dimensions exchanged."""
    return tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor


def expanded(tensor: Tensor) -> Tensor:
    """Return a tensor of this shape in which the first of the first dimension stands for all."""
    return tensor[:1].expand_as(tensor) if tensor.dim() > 1 else tensor


@dataclass(frozen=True, eq=False)
class Case:
    """A layer for sequences, or a network for images, and what it is given.

    Attributes:
        name: unique in the table.
        build: makes it from the parts of a library.
        shape: of the input, ``[T, N, *]`` or ``[N, 1, 28, W]``.
        draw: makes an fp64 input of this shape.
        states: names of the states that are compared, each in the shape of a step; None for all that there are.
        charged: whether these begin with random numbers; the others, and else all, begin at rest.
        lengths: of the samples, as ``[N]`` for T and N; then the input is NaN after them. None for T.
        dtype: precision of everything.
        fused: whether kernels know all of it; then they must run.
        output: "spikes" or "rates", which must be equal bit for bit, or "numbers".
        peer: whether SpikingJelly has these parts.
        tolerance: relative error that SpikingJelly may have, where it keeps a constant in another precision.
        rounding: relative error that a gradient may have in addition, where terms of a sum cancel.
        differentiated: results of which a weighted sum is differentiated, such as "output" or "last v"; empty for all.
        layout: how tensors lie in memory.
        recorded: of what all steps are compared, too: "states", or "all", with the outputs of all modules.
    """

    name: str
    build: Callable[[Library], nn.Module]
    shape: tuple[int, ...]
    draw: Callable[[tuple[int, ...]], Tensor]
    states: tuple[str, ...] | None = ()
    dtype: torch.dtype = F64
    fused: bool = False
    output: str = "spikes"
    peer: bool = True
    tolerance: float = 1e-9
    rounding: float = 0.0
    differentiated: tuple[str, ...] = ()
    layout: Callable[[Tensor], Tensor] = as_it_is
    charged: bool = True
    lengths: Callable[[int, int], list[int]] | None = None
    recorded: str = ""

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Weights of layers that make the module fire, in fp64; all other numbers are as they were given."""
        module = self.build(our_library("torch"))
        own = {
            name: weight.detach()
            for name, weight in module.named_parameters()
            if not isinstance(module.get_submodule(name.rpartition(".")[0]), LAYERS)
        }
        return seeded_weights(module) | {name: weight.double() for name, weight in own.items()}

    def module(self, library: Library, device: torch.device | str = "cpu") -> nn.Module:
        module = self.build(library).to(device, self.dtype)
        layout = as_it_is if self.layout is expanded else self.layout  # equal neurons would all fire
        for name, weight in dict(module.named_parameters()).items():
            weight.data = layout(self.weights[name].to(device, self.dtype))
        return module

    @cached_property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the states that are compared, by their names or their paths in the module."""
        if self.states is not None:
            return dict.fromkeys(self.states, self.shape[1:])
        module = self.module(our_library("torch"))
        module(self.draw((LONG, *self.shape[1:])).to(self.dtype))
        return {name: tuple(state.shape) for name, state in functional.states(module).items()}

    def first_state(self, name: str) -> Tensor:
        return random(self.state_shapes[name], seed=1 + STATES.index(name.rpartition(".")[2]))

    def input(self) -> Tensor:
        x = self.draw(self.shape)
        if self.lengths is None:
            return x
        own = functional.sequence_mask(self.lengths(*self.shape[:2]), self.shape[0])
        return torch.where(own.view(*own.shape, *[1] * (x.dim() - 2)), x, math.nan)


# What builds a module from the parts of a library


def neuron(
    library: Library, kind: str, surrogate: str, alpha: float = 2.0, **options: Any
) -> tuple[str, dict[str, Any]]:
    """Return a neuron's name in a library, and the arguments to build it with."""
    name, own = NEURONS[kind]
    return name, {"surrogate_function": library.surrogates[surrogate](alpha=alpha), **own, **options}


def alone(library: Library, *which: Any, **options: Any) -> nn.Module:
    name, keywords = neuron(library, *which, **options)
    return library.sequence_neurons[name](**keywords)


def element_wise(library: Library, function: Callable[..., Tensor] = torch.add, **options: Any) -> nn.Module:
    name, keywords = neuron(library, **options)
    inner = library.neurons[name](**keywords)
    return library.multi_step_container(library.element_wise_recurrent(inner, function))


def recurrent(library: Library, size: int, bias: bool = True, **options: Any) -> nn.Module:
    name, keywords = neuron(library, **options)
    inner = library.neurons[name](**keywords)
    return library.multi_step_container(library.linear_recurrent(inner, size, size, bias))


def not_symmetric(x: Tensor, y: Tensor) -> Tensor:
    """An element-wise function that tells x from y."""
    return 2 * x - 0.5 * y + x * y


# The table


def rotating(*axes: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield a combination for each pair of values of the first two axes.

    Meanwhile the others rotate, each in its own way.
    """
    first_axis, second_axis, *others = (list(axis) for axis in axes)
    for (first, a), (second, b) in itertools.product(enumerate(first_axis), enumerate(second_axis)):
        yield a, b, *(axis[(first + second // (n + 1)) % len(axis)] for n, axis in enumerate(others))


def is_in_peer(surrogate: str, dtype: torch.dtype) -> bool:
    return surrogate != "FastSigmoid" and dtype == F64


def neurons() -> Iterator[Case]:
    """Neurons with every reset, alone or in a container."""
    # From 33 neurons on a CUDA kernel takes a block of threads for a few samples, not a warp.
    for kind, reset, size, surrogate, dtype in rotating(NEURONS, RESETS, [None, 34, 6], SURROGATES, DTYPES):
        options = {"kind": kind, "surrogate": surrogate, **RESETS[reset]}
        common = {"dtype": DTYPES[dtype], "peer": is_in_peer(surrogate, DTYPES[dtype]), "fused": True}

        def build(library: Library, size: int | None = size, o: dict[str, Any] = options) -> nn.Module:
            return alone(library, **o) if size is None else recurrent(library, size, **o)

        yield Case(
            f"{'neuron' if size is None else f'recurrent of {size}'}: {kind}, {reset}, {surrogate}, {dtype}",
            build, (9, 5, size or 7), currents(3.0 if size else 1.5), ("v", "y") if size else ("v",), **common,
        )  # fmt: skip
    for kind, function, reset, dtype in rotating(NEURONS, [torch.add, not_symmetric], RESETS, DTYPES):
        options = {"kind": kind, "surrogate": "ATan", "function": function, **RESETS[reset]}
        yield Case(
            f"element-wise: {kind}, {reset}, {function.__name__}, {dtype}",
            lambda library, o=options: element_wise(library, **o),
            (9, 5, 7), currents(1.5), ("v", "y"), DTYPES[dtype],
            fused=function is torch.add, peer=dtype == "float64",
        )  # fmt: skip


def settings() -> Iterator[Case]:
    """What else a neuron and a sequence of inputs may be."""
    for surrogate in SURROGATES:
        yield Case(
            f"alpha: {surrogate}", lambda library, s=surrogate: alone(library, "IF", s, 0.5),
            (28, 5, 4), currents(3.0, 0.5), fused=True, peer=is_in_peer(surrogate, F64),
        )  # fmt: skip
    for name, reset in list(RESETS.items())[:3]:
        yield Case(
            f"often just at the threshold: {name}", lambda library, r=reset: alone(library, "IF", "Sigmoid", **r),
            (28, 5, 4), lambda shape: currents(3.0, 0.5)(shape).round(), fused=True,
        )  # fmt: skip
    builds = {
        "neuron": (lambda library, **o: alone(library, **o), ("v",)),
        "element-wise": (lambda library, **o: element_wise(library, **o), ("v", "y")),
        "recurrent": (lambda library, **o: recurrent(library, 5, **o), ("v", "y")),
    }
    options = {"kind": "LIF", "surrogate": "ATan"}
    for name, (build, states) in builds.items():
        case = Case(
            name, lambda library, b=build: b(library, **options),
            (6, 4, 5), currents(3.0), states, fused=True,
        )  # fmt: skip
        for what in ("output", "last v"):
            yield replace(case, name=f"gradient of the {what} alone: {name}", differentiated=(what,))
        yield replace(case, name=f"transposed: {name}", layout=transposed)
        yield replace(case, name=f"expanded: {name}", layout=expanded)
    for steps, place, start in rotating([1, 2, 784], ["neuron", "recurrent"], ["charged", "at rest"]):
        build, states = builds[place]
        yield Case(
            f"{steps} steps: {place}, {start}", lambda library, b=build: b(library, **options, v_reset=None),
            (steps, 3, 5), currents(3.0), states if start == "charged" else (), fused=True, peer=steps < 784,
        )  # fmt: skip


def shapes() -> Iterator[Case]:
    """Every size at which a kernel takes another way, and empty ones."""
    for shape in [(1, 1), (28, 3, 5), (4, 1, 1, 129), (4, 1, 1, 1025), (3, 2049), (5, 2, 3, 4, 5), (3, 0, 4)]:
        yield Case(
            f"neuron of shape {shape}", lambda library: alone(library, "LIF", "ATan"),
            shape, currents(2.0), ("v",), fused=True,
        )  # fmt: skip
    sizes = [
        (1, 3, 1), (3, 9, 32), (2, 4, 33), (28, 7, 64), (2, 1, 128), (3, 9, 130), (1, 3, 300), (3, 0, 5),
        (1, 1, 1), (28, 65, 32), (28, 130, 33), (4, 3, 130), (784, 2, 5), (784, 2, 40),
    ]  # fmt: skip
    for k, (steps, batch, size) in enumerate(sizes):
        dtype, bias = "float32" if k in (0, 2, 4, 6) else "float64", k % 4 < 2
        yield Case(
            f"recurrent: {steps} steps, {batch} samples of {size}, {dtype}{'' if bias else ', no bias'}",
            lambda library, s=size, b=bias: recurrent(library, s, b, kind="IF", surrogate="ATan"),
            (steps, batch, size), currents(3.0), ("v", "y"), DTYPES[dtype], True, peer=False,
        )  # fmt: skip
    for step in [(4,), (3, 2, 4), (0, 2, 4)]:
        yield Case(
            f"recurrent: leading dimensions {step}",
            lambda library: recurrent(library, 4, kind="IF", surrogate="ATan"),
            (6, *step), currents(3.0), ("v", "y"), fused=True,
        )  # fmt: skip


def synapses() -> Iterator[Case]:
    shapes = [(9, 5, 3), (1, 2, 3), (6, 2, 3, 4, 5), (784, 1, 3), (2, 0, 3)]
    taus = {"one tau": 3.0, "tau per channel": [1.5, 2.0, 100.0]}
    for shape, tau, dtype, learnable in rotating(shapes, taus, DTYPES, [False, True]):
        yield Case(
            f"synapse: {tau}{', learnable' * learnable}, {shape}, {dtype}",
            lambda library, t=taus[tau], learn=learnable: library.multi_step_container(
                library.synapse_filter(tau=t, learnable=learn)
            ),
            shape, spikes, ("out_i",), DTYPES[dtype], True, "numbers",
            # A fixed tau is kept in float32 here and in fp64 there.
            peer="channel" not in tau and dtype == "float64", tolerance=1e-9 if learnable else 1e-6,
        )  # fmt: skip
    yield Case(
        "transposed: synapse",
        lambda library: library.multi_step_container(library.synapse_filter(tau=3.0, learnable=True)),
        (6, 4, 5), spikes, ("out_i",), fused=True, output="numbers", layout=transposed,
    )  # fmt: skip


def linear_layers() -> Iterator[Case]:
    sizes = [(1, 1, 1), (7, 28, 32), (13, 9, 2), (300, 32, 10), (9, 5, 33), (1030, 70, 65), (0, 3, 4)]
    for (rows, inputs, outputs), bias, dtype in rotating(sizes, [True, False], DTYPES):
        yield Case(
            f"linear: {rows} x {inputs} to {outputs}, {dtype}{'' if bias else ', no bias'}",
            lambda library, size=(inputs, outputs, bias): library.linear(*size),
            (2, rows, inputs), random, dtype=DTYPES[dtype], fused=True, output="numbers",
            peer=dtype == "float64" and rows > 0,
        )  # fmt: skip


def networks() -> Iterator[Case]:
    def noise(shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(np.random.RandomState(5).uniform(size=shape))

    for model, columns in itertools.product(TUTORIAL_NETWORKS, (7, 28)):
        yield Case(
            f"{model} network: {columns} columns", lambda library, m=model: library.network(m, 8),
            (5, 1, 28, columns), noise, fused=True, output="rates",
        )  # fmt: skip


TABLE = {
    case.name: case
    for family in (neurons, settings, shapes, synapses, linear_layers, networks)
    for case in family()
}
