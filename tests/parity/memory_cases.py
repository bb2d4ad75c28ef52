"""The rest of the table: every neuron, synapse and feedback of snn_core with every option, delays and lengths.

SpikingJelly has none of these; test_peers.py compares them with the libraries that do.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from cases import DTYPES, RESETS, SURROGATES, Case, currents, not_symmetric, rotating, spikes
from support_networks import Library
from torch import nn

Span = tuple[float, float]
THRESHOLD: Span = (0.6, 1.2)
TAU: Span = (1.5, 4.0)
#: For each kind of neuron its class, and the numbers that it takes besides a threshold.
KINDS: dict[str, tuple[str, dict[str, Span]]] = {
    "IF": ("IFNode", {}),
    "LIF": ("LIFNode", {"tau": TAU}),
    "PLIF": ("ParametricLIFNode", {"init_tau": TAU}),
    "ALIF": ("AdaptiveLIFNode", {"tau": TAU, "tau_adaptation": (3.0, 9.0), "beta": (0.1, 0.4)}),
    "CUBALIF": ("CUBALIFNode", {"tau": TAU, "tau_synapse": (1.5, 3.0)}),
}
#: The same for what never fires.
FILTERS: dict[str, tuple[str, dict[str, Span]]] = {
    "LI": ("LINode", {"tau": TAU}),
    "low-pass": ("LowPassSynapse", {"tau": TAU}),
    "double exponential": ("DoubleExponentialSynapse", {"tau_rise": (1.5, 2.0), "tau_decay": (4.0, 9.0)}),
}
MEMORY_RESETS = {
    name: RESETS[name] for name in ("hard to -0.3", "soft", "soft, detached", "hard, detached")
} | {"none": {"v_reset": "none"}}
#: How numbers are given.
HOW = ["number", "each", "trained", "each trained"]
#: In single precision a gradient whose terms mostly cancel has few right digits, in the loop too.
PRECISIONS: dict[str, dict[str, Any]] = {
    "float64": {"dtype": DTYPES["float64"]},
    "float32": {"dtype": DTYPES["float32"], "rounding": 6e-4},
}
FUNCTIONS = {"-": operator.sub, "maximum": torch.maximum, "x, y": not_symmetric}
#: Steps of a sequence, and largest delays: of one step, of a few, close to all, of all, and beyond, into first states.
STEPS, DELAYS = 9, [1, 3, 8, 9, 12]


def numbers(how: str, span: Span, shape: tuple[int, ...]) -> Any:
    """Return a number or several, to be fixed or trained, as ``how`` says."""
    each, middle = torch.linspace(*span, math.prod(shape)).view(shape), sum(span) / 2
    given = each if "each" in how else torch.tensor(middle)
    return nn.Parameter(given) if "trained" in how else given.tolist()


def spiking(
    library: Library,
    kind: str,
    how: str = "number",
    shape: tuple[int, ...] = (5,),
    surrogate: str = "ATan",
    **options: Any,
) -> nn.Module:
    """Return a neuron of this kind for steps ``[N, *shape]``, all of whose numbers are given in the same way."""
    name, spans = KINDS[kind]
    own = {key: numbers(how, span, shape) for key, span in (spans | {"v_threshold": THRESHOLD}).items()}
    if kind == "PLIF":  # trained in any case
        own["init_tau"] = torch.as_tensor(own["init_tau"]).detach()
    return library.neurons[name](surrogate_function=library.surrogates[surrogate](), **own, **options)


def filtering(library: Library, kind: str, how: str, shape: tuple[int, ...]) -> nn.Module:
    """Return a synapse with a number for each channel, or a leaky integrator with one for each neuron."""
    name, spans = FILTERS[kind]
    own = {key: numbers(how, span, shape if kind == "LI" else shape[:1]) for key, span in spans.items()}
    return (library.neurons if kind == "LI" else library.synapses)[name](**own)


def delayed(
    library: Library,
    inner: nn.Module,
    size: int,
    most: int,
    how: str = "each trained",
    sigma: float = 0.0,
    **options: Any,
) -> nn.Module:
    """Return a feedback in which delays from 1 to ``most`` steps, whole and broken ones, lie side by side."""
    delays = numbers(how, (1.0, most), (size,))
    module = library.delayed_recurrent(inner, size, size, most, delays, **options)
    module.sigma = sigma
    return module


PLACES: dict[str, Callable[[Library, nn.Module, int], nn.Module]] = {
    "alone": lambda library, inner, size: inner,
    "element-wise": lambda library, inner, size: library.element_wise_recurrent(inner, torch.add, 0.7),
    "recurrent": lambda library, inner, size: library.linear_recurrent(inner, size, size),
    "delayed": lambda library, inner, size: delayed(library, inner, size, 3),
}


def cells() -> Iterator[Case]:
    """Every neuron with every reset, refractory or not, its numbers given in every way, in every place."""
    axes = [KINDS, MEMORY_RESETS, HOW, PLACES, DTYPES, [0, 2]]
    for k, (kind, reset, how, place, dtype, refractory) in enumerate(rotating(*axes)):
        options = {"surrogate": SURROGATES[k % 6], "refractory": refractory, **MEMORY_RESETS[reset]}
        if kind != "IF":
            options["decay_input"] = k % 5 < 3

        def build(library: Library, o=options, kind=kind, how=how, place=place) -> nn.Module:
            return library.chain(PLACES[place](library, spiking(library, kind, how, (6,), **o), 6))

        yield Case(
            f"{place}: {kind}, {reset}, {how}, refractory for {refractory}, {options['surrogate']}, {dtype}",
            build, (STEPS, 5, 6), currents(2.0, 0.5), None, fused=True, peer=False, **PRECISIONS[dtype],
        )  # fmt: skip


def filters() -> Iterator[Case]:
    """Synapses and the leaky integrator."""
    axes = [FILTERS, HOW, [(STEPS, 5, 3), (6, 2, 3, 4), (1, 2, 3), (2, 0, 3)], DTYPES]
    for kind, how, shape, dtype in rotating(*axes):
        yield Case(
            f"{kind}: {how}, {shape}, {dtype}",
            lambda library, a=(kind, how, shape[2:]): library.chain(filtering(library, *a)),
            shape, spikes, None, fused=True, output="numbers", peer=False, **PRECISIONS[dtype],
        )  # fmt: skip


def element_wise_functions() -> Iterator[Case]:
    """Element-wise feedback with a weight given in every way, and with other functions than a sum."""
    for how, function, kind, dtype in rotating([*HOW, "no"], FUNCTIONS, KINDS, DTYPES):

        def build(library: Library, how=how, function=function, kind=kind) -> nn.Module:
            weight = None if how == "no" else numbers(how, (-0.5, 0.9), (6,))
            inner = spiking(library, kind)
            return library.chain(library.element_wise_recurrent(inner, FUNCTIONS[function], weight))

        yield Case(
            f"element-wise: {function}, {how} weight, {kind}, {dtype}",
            build, (STEPS, 5, 6), currents(2.0, 0.5), None, fused=True, peer=False, **PRECISIONS[dtype],
        )  # fmt: skip


def delays() -> Iterator[Case]:
    """Delays of each neuron, fixed and learned."""
    axes = [
        DELAYS, [0.0, 1.0], ["each", "trained", "each trained"], KINDS, DTYPES, [6, 34],
    ]  # fmt: skip
    for k, (most, sigma, how, kind, dtype, size) in enumerate(rotating(*axes)):
        options = {"bias": k % 3 > 0}

        def build(library: Library, a=(size, most, how, sigma), kind=kind, o=options) -> nn.Module:
            return library.chain(delayed(library, spiking(library, kind), *a, **o))

        yield Case(
            f"delays: {how}, D = {most}, sigma {sigma}, {size} {kind}, {dtype}, {options}",
            build, (STEPS, 5, size), currents(2.0, 0.5), None, fused=True, peer=False, **PRECISIONS[dtype],
        )  # fmt: skip
    for step in [(2, 3, 4), (3, 2, 2, 4), (4,), (0, 4)]:
        yield Case(
            f"delays: leading dimensions {step}",
            lambda library: library.chain(delayed(library, spiking(library, "ALIF"), 4, 3)),
            (6, *step), currents(2.0, 0.5), None, fused=True, peer=False,
        )  # fmt: skip


def convolution(library: Library, kind: str, how: str, step: tuple[int, ...], **options: Any) -> nn.Module:
    """Return a convolutional feedback for steps of channels, height and width, small enough to be fused."""
    return library.chain(
        library.conv_recurrent(spiking(library, kind, how, step), step[0], step[0], 3, **options)
    )


def convolutions() -> Iterator[Case]:
    """Feedback through a convolution."""
    for step, kind, how, bias, dtype in rotating([(2, 1, 4), (2, 3, 4)], KINDS, HOW, [True, False], DTYPES):
        yield Case(
            f"convolution: {step}, {kind}, {how}{'' if bias else ', no bias'}, {dtype}",
            lambda library, a=(kind, how, step), b=bias: convolution(library, *a, bias=b),
            (STEPS, 5, *step), currents(2.0, 0.5), None, fused=True, peer=False, **PRECISIONS[dtype],
        )  # fmt: skip


def chain_of_neurons(library: Library) -> nn.Module:
    return library.chain(
        nn.Linear(5, 6),
        spiking(library, "CUBALIF", "trained", v_reset="none"),
        library.synapses["SynapseFilter"](tau=[1.5, 2.0, 2.5, 3.0, 3.5, 4.0], learnable=True),
        delayed(library, spiking(library, "ALIF", "each trained", (6,), refractory=1), 6, 3),
        nn.Linear(6, 3, bias=False),
        filtering(library, "LI", "each", (3,)),
    )


def chain_of_feedback(library: Library) -> nn.Module:
    """Of more stages than a launch on a GPU takes."""
    inner = spiking(library, "IF", "each trained", (6,), v_reset=None)
    return library.chain(
        delayed(library, spiking(library, "LIF", v_reset="none"), 5, 2, sigma=1.0),
        nn.Linear(5, 6),
        library.element_wise_recurrent(inner, not_symmetric, numbers("each trained", (-0.5, 0.5), (6,))),
        filtering(library, "double exponential", "trained", (6,)),
        library.linear_recurrent(spiking(library, "ALIF", v_reset=None), 6, 6),
        nn.Linear(6, 3),
        spiking(library, "CUBALIF"),
    )


CHAINS = {"chain of neurons": chain_of_neurons, "chain of feedback": chain_of_feedback}


def mixed_chains() -> Iterator[Case]:
    axes = [[3, 28, 130], [1, 7, 70], CHAINS, DTYPES, [True, False]]
    for steps, samples, chain, dtype, charged in rotating(*axes):
        yield Case(
            f"{chain}: {steps} steps, {samples} samples, {dtype}{', charged' * charged}",
            CHAINS[chain], (steps, samples, 5), currents(4.0, 1.0), None, fused=True, output="numbers",
            peer=False, **PRECISIONS[dtype], charged=charged,
        )  # fmt: skip


def neighbours() -> Iterator[Case]:
    """Cells of which one takes what the other gives: kernels have them as one where both have room in it."""
    for kind, order, other, how, dtype in rotating(KINDS, [1, -1], FILTERS, HOW, DTYPES):

        def build(library: Library, kind=kind, other=other, how=how, order=order) -> nn.Module:
            pair = [spiking(library, kind, how, (6,)), filtering(library, other, how, (6,))][::order]
            return library.chain(*pair, filtering(library, "LI", "trained", (6,)))

        yield Case(
            f"neighbours: {kind} {'before' if order == 1 else 'after'} {other}, {how}, {dtype}",
            build, (STEPS, 5, 6), currents(4.0, 1.0), None, fused=True, output="numbers", peer=False,
            **PRECISIONS[dtype],
        )  # fmt: skip


#: Lengths of N samples of at most T steps; of 0 only where states begin with numbers.
LENGTHS: dict[str, Callable[[int, int], list[int]]] = {
    "any, and 0": lambda T, N: [5 * n % (T + 1) for n in range(N)],
    "any": lambda T, N: [1 + 5 * n % T for n in range(N)],
    "all end early": lambda T, N: [1 + n % (T // 2) for n in range(N)],
    "one ends late": lambda T, N: [T if n == N - 1 else 1 + n % 2 for n in range(N)],
}
WITH_LENGTHS: dict[str, Callable[[Library], nn.Module]] = {
    place: lambda library, p=place: library.chain(PLACES[p](library, spiking(library, "ALIF", "each"), 5))
    for place in PLACES
} | {
    "delayed beyond": lambda library: library.chain(
        delayed(library, spiking(library, "CUBALIF"), 5, STEPS, sigma=1.0)
    ),
    "recurrent through a synapse": lambda library: library.chain(
        PLACES["recurrent"](
            library, nn.Sequential(spiking(library, "ALIF"), filtering(library, "LI", "each", (5,))), 5
        )
    ),
    **CHAINS,
}


def lengths() -> Iterator[Case]:
    """Samples of different length, with NaN in the padding, in one block and in several."""
    for what, _, kind, samples, dtype in rotating(WITH_LENGTHS, range(2), LENGTHS, [7, 40], DTYPES):
        yield Case(
            f"lengths: {what}, {kind}, {samples} samples, {dtype}",
            WITH_LENGTHS[what], (STEPS, samples, 5), currents(2.0, 0.5), None, fused=True,
            output="numbers" if what in CHAINS or "synapse" in what else "spikes", peer=False,
            **PRECISIONS[dtype], charged="0" in kind, lengths=LENGTHS[kind],
        )  # fmt: skip
    yield Case(
        "lengths: several blocks of neurons that are not connected",
        lambda library: library.chain(spiking(library, "CUBALIF", v_reset=None)),
        (28, 40, 60), currents(2.0, 0.5), None, fused=True, peer=False, lengths=LENGTHS["one ends late"],
    )  # fmt: skip
    yield Case(
        "lengths: convolution", lambda library: convolution(library, "ALIF", "each trained", (2, 3, 4)),
        (STEPS, 5, 2, 3, 4), currents(2.0, 0.5), None, fused=True, peer=False, lengths=LENGTHS["any, and 0"],
    )  # fmt: skip
    yield Case(
        "lengths: several segments of several blocks",
        lambda library: library.chain(delayed(library, spiking(library, "ALIF"), 40, 12)),
        (300, 20, 40), currents(2.0, 0.5), None, fused=True, peer=False, charged=False, lengths=LENGTHS["any"],
    )  # fmt: skip


#: Of these all steps of everything are recorded, in fp64 and in fp32: each kind of stage, chains, many segments.
RECORDED = (
    "alone: ALIF, soft", "recurrent: ALIF, soft", "element-wise: CUBALIF, soft", "delayed: CUBALIF, soft",
    "convolution: (2, 3, 4), ALIF", "low-pass: each", "neighbours: CUBALIF before low-pass", "chain of neurons: 28",
    "chain of feedback: 130 steps, 7", "chain of feedback: 28 steps, 1 ",
)  # fmt: skip


def recorded(cases: Iterable[Case]) -> Iterator[Case]:
    for case in cases:
        if case.name.startswith(RECORDED):
            yield replace(case, name=f"recorded: {case.name}", recorded="all")
            # Without its output a neuron may share a stage with what follows it.
            if case.name.startswith(("neighbours", "chain of neurons")):
                yield replace(case, name=f"recorded states: {case.name}", recorded="states")


MEMORY = {
    case.name: case
    for family in (
        cells,
        filters,
        element_wise_functions,
        delays,
        convolutions,
        mixed_chains,
        neighbours,
        lengths,
    )
    for case in family()
}
MEMORY |= {case.name: case for case in recorded(MEMORY.values())}
