"""The table of what every backend must do as the loop does: layers and networks, their inputs and their first states.

A :class:`Case` is built from the parts of a library (:class:`support_networks.Library`), so that SpikingJelly runs it
as well. Inputs and weights come from numpy's RandomState, whose numbers are the same in every version. The table is a
product of neurons, resets, surrogates, precisions and shapes; :func:`rotating` picks a part of it in which each pair
of values meets, for every day, and the rest is marked to run at night.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from support_networks import Library, our_library, seeded_weights
from torch import Tensor, nn

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import NETWORKS
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


@cache
def real_images() -> Tensor:
    images = SequentialFashionMNIST(train=False, source="embedded", verbose=False).images[:64]
    return images.reshape(-1, 1, 28, 28).double() / 255


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
        often: whether it is one of the cases for every day.
        recorded: whether all steps of all states, and of the outputs of all modules, are compared, too.
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
    often: bool = True
    charged: bool = True
    lengths: Callable[[int, int], list[int]] | None = None
    recorded: bool = False

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


def recurrent_around_two(library: Library, **options: Any) -> nn.Module:
    """A recurrent connection around a linear layer and neurons, of 4 inputs and 3 outputs."""
    name, keywords = neuron(library, **options)
    inner = nn.Sequential(nn.Linear(4, 3), library.neurons[name](**keywords))
    return library.multi_step_container(library.linear_recurrent(inner, 4, 3))


def single(library: Library, **options: Any) -> nn.Module:
    name, keywords = neuron(library, **options)
    return library.neurons[name](**keywords)


def chain(library: Library, bias: bool, **options: Any) -> nn.Module:
    """Everything that a scan knows, one after the other: 7 inputs and 3 outputs."""
    return library.chain(
        nn.Linear(7, 5, bias),
        single(library, **options),
        library.synapse_filter(tau=[1.5, 2.0, 3.0, 4.0, 5.0], learnable=True),
        library.linear_recurrent(single(library, **options), 5, 5, bias),
        library.element_wise_recurrent(single(library, **options), torch.add),
        nn.Linear(5, 3, bias),
    )


def not_symmetric(x: Tensor, y: Tensor) -> Tensor:
    """An element-wise function that tells x from y."""
    return 2 * x - 0.5 * y + x * y


# The table


def rotating(*axes: Iterable[Any]) -> Iterator[tuple[bool, tuple[Any, ...]]]:
    """Yield every combination, and whether it is one for every day.

    Of these there is one for each pair of values of the first two axes, while the others rotate, each in its own way.
    """
    axes = [list(axis) for axis in axes]
    for first, second, *others in itertools.product(*(range(len(axis)) for axis in axes)):
        turn = [(first + second // (n + 1)) % len(axis) for n, axis in enumerate(axes[2:])]
        places = [first, second, *others]
        yield others == turn, tuple(axis[place] for axis, place in zip(axes, places, strict=True))


def is_in_peer(surrogate: str, dtype: torch.dtype) -> bool:
    return surrogate != "FastSigmoid" and dtype == F64


def neurons() -> Iterator[Case]:
    """Neurons alone and in a container, in every setting."""
    axes = [NEURONS, RESETS, SURROGATES, DTYPES]
    for often, (kind, reset, surrogate, dtype) in rotating(*axes):
        options = {"kind": kind, "surrogate": surrogate, **RESETS[reset]}
        name = f"{kind}, {reset}, {surrogate}, {dtype}"
        common = {
            "dtype": DTYPES[dtype],
            "often": often,
            "peer": is_in_peer(surrogate, DTYPES[dtype]),
        }
        yield Case(
            f"neuron: {name}", lambda library, o=options: alone(library, **o),
            (9, 5, 7), currents(1.5), ("v",), fused=True, **common,
        )  # fmt: skip
        # From 33 neurons on a CUDA kernel takes a block of threads for a few samples, not a warp.
        for size in (6, 34) if often or surrogate == "Sigmoid" else (6,):
            yield Case(
                f"recurrent of {size}: {name}",
                lambda library, o=options, size=size: recurrent(library, size, **o),
                (9, 5, size), currents(3.0), ("v", "y"), fused=True, **common,
            )  # fmt: skip
    for often, (kind, reset, function, dtype) in rotating(
        NEURONS, RESETS, [torch.add, operator.add, not_symmetric], DTYPES
    ):
        known = function is not not_symmetric
        if known or dtype == "float64":
            options = {"kind": kind, "surrogate": "ATan", "function": function, **RESETS[reset]}
            yield Case(
                f"element-wise: {kind}, {reset}, {function.__module__}.{function.__name__}, {dtype}",
                lambda library, o=options: element_wise(library, **o),
                (9, 5, 7), currents(1.5), ("v", "y"), DTYPES[dtype],
                known, peer=dtype == "float64", often=often or not known,
            )  # fmt: skip
    for often, (kind, reset, steps) in rotating(NEURONS, RESETS, [3, 28]):
        options = {"kind": kind, "surrogate": "ATan", **RESETS[reset]}
        yield Case(
            f"recurrent around two modules: {kind}, {reset}, {steps} steps",
            lambda library, o=options: recurrent_around_two(library, **o),
            (steps, 5, 4), currents(3.0, 0.5), often=often,
        )  # fmt: skip


def settings() -> Iterator[Case]:
    """What else a neuron and a sequence of inputs may be."""
    for surrogate, alpha in itertools.product(SURROGATES, (0.5, 1.0, 2.0)):
        yield Case(
            f"alpha: {surrogate}, {alpha}",
            lambda library, s=surrogate, a=alpha: alone(library, "IF", s, a),
            (28, 5, 4), currents(3.0, 0.5), fused=True, peer=is_in_peer(surrogate, F64),
        )  # fmt: skip
    for shape in [(28, 5, 4), (6, 2, 3, 4)]:
        taus = torch.linspace(1.2, 4, math.prod(shape[2:])).view(shape[2:])
        yield Case(
            f"PLIF with a tau for each neuron: {shape}",
            lambda library, t=taus: alone(library, "PLIF", "ATan", init_tau=t),
            shape, currents(3.0, 0.5), ("v",), fused=True, peer=False,
        )  # fmt: skip
    yield Case(
        "another threshold", lambda library: alone(library, "IF", "Sigmoid", v_threshold=0.7, v_reset=None),
        (28, 5, 4), currents(3.0, 0.5), fused=True,
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
    axes = [[1, 2, 28, 784], RESETS, ["charged", "at rest"], ["alone", "recurrent"], SURROGATES]
    for often, (steps, reset, start, place, surrogate) in rotating(*axes):
        options = {"kind": "LIF", "surrogate": surrogate, **RESETS[reset]}
        build, states = builds["neuron" if place == "alone" else "recurrent"]
        # One surrogate for each length is enough at night too.
        if surrogate == SURROGATES[steps % len(SURROGATES)] or often:
            yield Case(
                f"{steps} steps: {place}, {reset}, {start}, {surrogate}",
                lambda library, b=build, o=options: b(library, **o),
                (steps, 3, 5), currents(3.0), states if start == "charged" else (),
                fused=True, peer=is_in_peer(surrogate, F64) and steps < 784, often=often,
            )  # fmt: skip


def shapes() -> Iterator[Case]:
    """Every size at which a kernel takes another way, and empty ones."""
    for shape in [
        (1, 1), (2, 3), (28, 3, 5), (784, 2, 3), (4, 1, 1, 129), (4, 1, 1, 1025), (3, 2049), (5, 2, 3, 4, 5), (3, 0, 4),
    ]:  # fmt: skip
        yield Case(
            f"neuron of shape {shape}", lambda library: alone(library, "LIF", "ATan"),
            shape, currents(2.0), ("v",), fused=True,
        )  # fmt: skip
    sizes = [
        (often, steps, batch, size, dtype, True)
        for often, (size, dtype, (steps, batch)) in rotating(
            [1, 5, 32, 33, 64, 128, 130, 300], DTYPES, [(1, 3), (2, 1), (2, 4), (3, 9), (28, 7), (3, 0)]
        )
    ]
    for (steps, batch, size), bias in itertools.product(
        [(1, 1, 1), (2, 3, 1), (28, 65, 32), (28, 130, 33), (784, 2, 5), (4, 3, 130), (784, 2, 32), (784, 2, 40)],
        (True, False),
    ):  # fmt: skip
        sizes.append((size not in (33, 40), steps, batch, size, "float64", bias))
    for often, steps, batch, size, dtype, bias in sizes:
        yield Case(
            f"recurrent: {steps} steps, {batch} samples of {size}, {dtype}{'' if bias else ', no bias'}",
            lambda library, s=size, b=bias: recurrent(library, s, b, kind="IF", surrogate="ATan"),
            (steps, batch, size), currents(3.0), ("v", "y"), DTYPES[dtype], True,
            peer=False, often=often,
        )  # fmt: skip
    for step in [(4,), (3, 2, 4), (2, 3, 2, 4), (0, 2, 4)]:
        yield Case(
            f"recurrent: leading dimensions {step}",
            lambda library: recurrent(library, 4, kind="IF", surrogate="ATan"),
            (6, *step), currents(3.0), ("v", "y"), fused=True,
        )  # fmt: skip


def synapses() -> Iterator[Case]:
    shapes = [(9, 5, 3), (1, 2, 3), (6, 2, 3, 4, 5), (784, 1, 3), (2, 0, 3)]
    taus = {"one tau": 2.0, "tau per channel": [1.5, 2.0, 100.0], "1.2": 1.2, "3": 3.0, "100": 100.0}
    for often, (shape, tau, dtype, learnable) in rotating(shapes, taus, DTYPES, [False, True]):
        if "tau" in tau or (shape[0] == 9 and dtype == "float64"):
            yield Case(
                f"synapse: {tau}{', learnable' * learnable}, {shape}, {dtype}",
                lambda library, t=taus[tau], learn=learnable: library.multi_step_container(
                    library.synapse_filter(tau=t, learnable=learn)
                ),
                shape, spikes, ("out_i",), DTYPES[dtype], True, "numbers",
                # A fixed tau is kept in float32 here and in fp64 there.
                peer="channel" not in tau and dtype == "float64", tolerance=1e-9 if learnable else 1e-6,
                often=often or dtype == "float64",
            )  # fmt: skip
    yield Case(
        "transposed: synapse",
        lambda library: library.multi_step_container(library.synapse_filter(tau=3.0, learnable=True)),
        (6, 4, 5), spikes, ("out_i",), fused=True, output="numbers", layout=transposed,
    )  # fmt: skip


def linear_layers() -> Iterator[Case]:
    sizes = [
        (1, 1, 1), (7, 4, 5), (7, 28, 32), (13, 9, 2), (300, 32, 10), (9, 5, 33), (1030, 70, 65), (0, 3, 4),
    ]  # fmt: skip
    for often, ((rows, inputs, outputs), bias, dtype) in rotating(sizes, [True, False], DTYPES):
        yield Case(
            f"linear: {rows} x {inputs} to {outputs}, {dtype}{'' if bias else ', no bias'}",
            lambda library, size=(inputs, outputs, bias): library.linear(*size),
            (2, rows, inputs), random, dtype=DTYPES[dtype], fused=True, output="numbers",
            peer=dtype == "float64" and rows > 0, often=often,
        )  # fmt: skip
    yield Case(
        "transposed: linear", lambda library: library.linear(5, 3, True),
        (2, 4, 5), random, fused=True, output="numbers", layout=transposed,
    )  # fmt: skip


def chains() -> Iterator[Case]:
    """Several stages in one scan."""
    options = {"v_reset": None, "surrogate": "ATan", "kind": "LIF"}
    for often, (steps, samples, bias, dtype) in rotating([1, 2, 28, 130], [1, 7, 70], [True, False], DTYPES):
        yield Case(
            f"chain: {steps} steps, {samples} samples, {dtype}{'' if bias else ', no bias'}",
            lambda library, b=bias: chain(library, b, **options),
            (steps, samples, 7), currents(6.0, 3.0), (), DTYPES[dtype], True, "numbers", peer=False, often=often,
        )  # fmt: skip
    yield Case(
        "chain without products",
        lambda library: library.multi_step_container(
            single(library, **options), library.synapse_filter(tau=[2.0, 3.0, 4.0], learnable=True)
        ),
        (9, 5, 3), currents(3.0), fused=True, output="numbers", peer=False,
    )  # fmt: skip


def networks() -> Iterator[Case]:
    def noise(shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(np.random.RandomState(5).uniform(size=shape))

    for model, (what, shape, draw, hidden) in itertools.product(
        NETWORKS,
        [
            ("noise", (5, 1, 28, 28), noise, 8),
            ("short images", (5, 1, 28, 7), noise, 8),
            ("real images", (64, 1, 28, 28), lambda shape: real_images(), 32),
        ],
    ):
        yield Case(
            f"{model} network: {what}", lambda library, m=model, h=hidden: library.network(m, h),
            shape, draw, fused=True, output="rates",
        )  # fmt: skip


TABLE = {
    case.name: case
    for family in (neurons, settings, shapes, synapses, linear_layers, chains, networks)
    for case in family()
}
#: What SpikingJelly 2.0.0 gives for these is kept in a file.
STORED = [
    "neuron: IF, hard, Sigmoid, float64",
    "neuron: LIF, soft, Sigmoid, float64",
    "element-wise: IF, hard, cases.not_symmetric, float64",
    "recurrent around two modules: LIF, hard, 28 steps",
    "synapse: 3, (9, 5, 3), float64",
    "synapse: 3, learnable, (9, 5, 3), float64",
    *(f"{model} network: noise" for model in NETWORKS),
]
