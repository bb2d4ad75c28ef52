"""The border between Python and the kernels: what crosses it comes back right, or as an exception, never as a crash.

In full every case runs in a process of its own, this file as a script, so that a segmentation fault, an abort or a
deadlock fails a test and takes nothing else with it; the few cases of every day run here, but for those that need
threads or processes of their own. A case says what it did in one line of JSON, or raises.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support import environment
from torch import Tensor, nn
from torture import Torture

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.checks import Like
from snn_core.functional import seq_to_ann_forward
from snn_core.fuse import read
from snn_core.kernels.plan import flat as flat_of
from snn_core.layer import (
    DelayedRecurrentContainer,
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, SpikingNeuron
from snn_core.surrogate import ATan, FastSigmoid, Rectangle, Sigmoid, SurrogateFunction, Triangle

#: Seconds after which a child counts as hanging; the slowest takes a tenth of it.
LIMIT = 300
HALF = (torch.float16, torch.bfloat16)
#: Relative Euclidean error of a gradient that rounding explains.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 3e-2}
BAD_DTYPES = (torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
SIZES = (0, 1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 64, 65, 127, 128, 130)
SURROGATES = (ATan, FastSigmoid, Rectangle, Sigmoid, Triangle)


# What the children run -----------------------------------------------------------------------------------------------


def dyadic(shape: list[int], chance: random.Random, most: int = 40) -> Tensor:
    """Return fp64 multiples of 1/16: every product and sum is exact, so no order of adding can move a spike."""
    generator = torch.Generator().manual_seed(chance.getrandbits(31))
    return torch.randint(-most, most + 16, shape, generator=generator).double() / 16


def laid_out(x: Tensor, way: str) -> Tensor:
    """Return a tensor equal to ``x``, but for a stride-0 batch, that lies in memory in another ``way``."""
    if way == "transposed":
        order = list(reversed(range(x.dim())))
        return x.permute(order).contiguous().permute(order)
    if way == "flipped":
        return x.flip(0).contiguous().flip(0)
    if way == "every other":
        wide = x.new_zeros(*x.shape[:-1], 2 * x.shape[-1] + 1)
        view = wide[..., 1::2]
        view.copy_(x)
        return view
    if way == "offset":
        flat = x.new_zeros(x.numel() + 3)
        flat[3:] = x.flatten()
        return flat[3:].view(x.shape)
    if way == "one sample" and x.shape[1]:
        return x[:, :1].expand_as(x)
    if way == "one step":
        return x[:1].expand_as(x)
    return x


LAYOUTS = ("as it is", "transposed", "flipped", "every other", "offset", "one sample", "one step")


def set_exact(module: nn.Module, chance: random.Random) -> nn.Module:
    """Give ``module`` weights that are multiples of 1/16; the synapse filter keeps its own."""
    for name, weight in module.named_parameters():
        if name != "w":
            weight.data = dyadic(list(weight.shape), chance, 8)
    return module


def random_layer(chance: random.Random, features: int) -> tuple[str, Callable[[str], nn.Module]]:
    """Return a kind of layer, and what builds it for a backend, with the same weights each time."""
    kind = chance.choice(
        ["neuron", "element-wise", "linear recurrent", "filter", "filter per channel", "linear"]
    )
    options = {
        "v_reset": chance.choice([0.0, -0.25, None]),
        "detach_reset": chance.choice([True, False]),
        "surrogate_function": chance.choice(SURROGATES)(),
    }
    node = chance.choice([IFNode, partial(LIFNode, 2.0), partial(LIFNode, 4.0, False)])
    out, bias, learnable = chance.choice(SIZES), chance.choice([True, False]), chance.choice([True, False])
    seed = chance.getrandbits(31)

    def build(backend: str) -> nn.Module:
        if kind == "linear":
            layer = nn.Linear(features, out, bias)
            layer.forward_sequence = lambda x: seq_to_ann_forward(x, layer, backend)
        elif kind.startswith("filter"):
            tau = [2.0 + k for k in range(features)] if kind == "filter per channel" else 3.0
            layer = SynapseFilter(tau, learnable, backend)
        else:
            neuron = node(backend=backend, **options)
            if kind == "neuron":
                layer = neuron
            elif kind == "element-wise":
                layer = ElementWiseRecurrentContainer(neuron, torch.add)
            else:
                layer = LinearRecurrentContainer(neuron, features, features, bias)
        return set_exact(layer.double(), random.Random(seed))

    return kind, build


def states_of(layer: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return the states of a layer as (owner, name), in a fixed order."""
    return [(part, name) for part in layer.modules() for name in getattr(part, "_state_names", [])]


def walk(
    layer: nn.Module, x: Tensor, states: list[Tensor | None], wanted: list[bool]
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return outputs with last states, and gradients of a weighted sum of them to what ``wanted`` says."""
    leaves = [
        None if leaf is None else leaf.detach().requires_grad_(want)
        for leaf, want in zip([x, *states, *layer.parameters()], wanted, strict=True)
    ]
    for (owner, name), value in zip(states_of(layer), leaves[1:], strict=False):
        owner.keep_state(name, value)
    for (name, _), value in zip(list(layer.named_parameters()), leaves[1 + len(states) :], strict=True):
        owner, _, attribute = name.rpartition(".")
        layer.get_submodule(owner)._parameters[attribute] = nn.Parameter(value.detach(), value.requires_grad)
    leaves[1 + len(states) :] = layer.parameters()
    y = layer.forward_sequence(leaves[0])
    outputs = [y, *(getattr(owner, name) for owner, name in states_of(layer))]
    loss = sum((out.double() * torch.linspace(-1, 2, out.numel()).view(out.shape)).sum() for out in outputs)
    asked = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    gradients = torch.autograd.grad(loss, asked, allow_unused=True) if asked and loss.requires_grad else ()
    return [out.detach() for out in outputs], list(gradients)


def same(a: Tensor | None, b: Tensor | None, tolerance: float, size: float = 0.0) -> bool:
    """Say whether two gradients, or sums of numbers up to ``size``, are equal but for rounding; None is zeros."""
    if a is None or b is None:
        return all(g is None or not g.any() for g in (a, b))
    if a.shape != b.shape:
        return False
    # What grows without end, or beyond a half precision, does so in both.
    narrow = b.to(a.dtype)
    beyond = ~a.isfinite() & ((a == narrow) | (a.isnan() & narrow.isnan()))
    a, b = a.double()[~beyond], b.double()[~beyond]
    return bool((a - b).norm() <= tolerance * (b.norm() + size) + 1e-9)


def overflows_on_its_way(gradient: Tensor, a: Tensor, loop: torch.nn.Module) -> bool:
    """Say whether the gradient of a learned tau is infinite in float16 because that of 1 / tau is beyond its range.

    The latter is larger by tau^2 / (tau - 1), the derivative of w with respect to 1 / tau.
    """
    if a.dtype is not torch.float16 or not isinstance(loop, SynapseFilter) or not loop.learnable:
        return False
    before = gradient.abs() * loop.tau**2 / (loop.tau - 1)
    return a.shape == loop.w.shape and bool((before[~a.isfinite()] > torch.finfo(a.dtype).max).all())


def fuzz(seed: int, count: int) -> dict[str, object]:
    """Compare fused layers with the torch loop: any size, layout, dtype, state and choice of gradients."""
    told: Counter[str] = Counter()
    for case in range(count):
        chance = random.Random(f"{seed} {case}")
        features = chance.choice(SIZES[1:] if case % 8 else SIZES)
        T, N = chance.choice([1, 2, 3, 7, 28]), chance.choice([0, 1, 2, 5, 63, 65])
        if case % 100 == 99:
            T, N, features = 20_001, 1, 3
        kind, build = random_layer(chance, features or 1)
        shape = [
            T,
            N,
            *([2] if kind != "filter per channel" and chance.random() < 0.2 else []),
            features or 1,
        ]
        if features == 0 and kind in ("neuron", "element-wise", "filter"):
            shape[-1] = 0
        dtype = chance.choice([torch.float64, torch.float64, torch.float32, *HALF])
        way = chance.choice(LAYOUTS)
        x = laid_out(dyadic(shape, chance).to(dtype), way)
        fused, loop = build("numba").to(dtype), build("torch").to(torch.float32 if dtype in HALF else dtype)
        states: list[Tensor | None] = []
        for _ in states_of(fused):
            alone = dyadic(shape[1:], chance).to(dtype)
            states.append(
                chance.choice([None, laid_out(alone, chance.choice(LAYOUTS[:2])), x[0], *states[:1]])
            )
        wanted = [chance.random() < 0.7 for _ in range(1 + len(states) + len(list(fused.parameters())))]
        exact = loop.fixed_tau.dtype if isinstance(loop, SynapseFilter) and not loop.learnable else None
        assert exact in (None, torch.float32, torch.float64)
        said = f"case {case} of seed {seed}: {kind}, {shape}, {dtype}, {way}, gradients {wanted}"
        try:
            ours, our_gradients = walk(fused, x, states, wanted)
            wide = [None if s is None else s.to(loop_dtype(dtype)) for s in states]
            theirs, gradients = walk(loop, x.to(loop_dtype(dtype)), wide, wanted)
        except Exception as error:
            raise AssertionError(said) from error
        spikes = kind in ("neuron", "element-wise", "linear recurrent")
        # In half precision what is left of large numbers is as coarse as they are.
        finite = theirs[0][theirs[0].isfinite()].abs()
        size = float(finite.max()) if dtype in HALF and finite.numel() else 0.0
        for at, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            bitwise = spikes and at == 0
            assert a.dtype == dtype, said
            assert torch.equal(a, b.to(dtype)) if bitwise else same(a, b, TOLERANCE[dtype], size), (
                f"{said}: output {at}"
            )
        for at, (a, b) in enumerate(zip(our_gradients, gradients, strict=True)):
            if (
                b is not None
                and a is not None
                and not a.isfinite().all()
                and overflows_on_its_way(b, a, loop)
            ):
                told["gradients beyond float16"] += 1
            else:
                assert same(a, b, TOLERANCE[dtype]), f"{said}: gradient {at}"
        told["equal to the torch loop"] += 1
    return dict(told)


def loop_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return what the loop computes in to be compared with a kernel for ``dtype``, which widens half precisions."""
    return torch.float32 if dtype in HALF else dtype


def ops_calls() -> dict[str, tuple[list[Any], set[int], Callable[..., object]]]:
    """Return for both ops fitting tensors, the places of parameters among them, and a function of them.

    The plan has every kind of stage; a parameter may have any length, and the last tensor is the lengths.
    """
    T, N, H, D = 3, 4, 5, 2
    like = Like((N, H), torch.float32, torch.device("cpu"))
    layers = [
        nn.Linear(H, H),
        LIFNode(tau=[2.0] * H),
        LinearRecurrentContainer(IFNode(), H, H),
        DelayedRecurrentContainer(IFNode(), H, H, D, learn_delays=True),
        DelayedRecurrentContainer(IFNode(), H, H, D, bias=False),
        SynapseFilter([2.0] * H),
    ]
    parts = [read(layer, like) for layer in layers]
    stages = [part.stage for part in parts]
    numbers = [number for part in parts for number in part.numbers]
    x_seq, flat = torch.rand(T, N, H), (*flat_of(stages), numbers)
    tensors, parameters = [], set()
    for part in parts:
        tensors += [torch.rand(N, H) for _ in range(part.stage.states)]
        tensors += [torch.rand(part.stage.feedback * N, H)] * (part.stage.feedback > 0)
        tensors += [None if one is None else one.detach() for one in (*part.weights, *part.parameters)]
        parameters |= {*range(len(tensors) - len(part.parameters), len(tensors))}
    states = sum(stage.state_size for stage in stages) * N
    lengths, op = torch.tensor([T, 2, 2, 0]), torch.ops.snn_core

    def backward(g: Tensor, last: Tensor, x: Tensor, borders: Tensor, *rest: Any) -> object:
        return op.scan_backward(g, last, x, borders, rest[:-1], *flat, True, rest[-1])

    return {
        "scan": (
            [x_seq, *tensors, lengths],
            {1 + place for place in parameters},
            lambda x, *rest: op.scan(x, rest[:-1], *flat, rest[-1]),
        ),
        "scan_backward": (
            [torch.rand(T, N, H), torch.rand(states), x_seq, torch.rand(0), *tensors, lengths],
            {4 + place for place in parameters},
            backward,
        ),
    }


def spoiled_lengths(lengths: Tensor, chance: random.Random) -> tuple[str, Tensor]:
    """Return lengths with one thing wrong, and what is wrong."""
    ways: dict[str, Callable[[], Tensor]] = {
        "in another order": lambda: lengths.flip(0),
        "beyond T": lambda: lengths + 1,
        "far beyond T": lambda: torch.where(lengths == lengths[0], 2**62, lengths),
        "below 0": lambda: lengths - 1,
        "far below 0": lambda: lengths - 2**62,
        "one longer": lambda: torch.cat([lengths, lengths[-1:]]),
        "one shorter": lambda: lengths[1:],
        "empty": lambda: lengths[:0],
        "of two dimensions": lambda: lengths[:, None],
        "0-dim": lambda: lengths[0],
        "not contiguous": lambda: torch.stack([lengths, lengths], 1)[:, 0],
        "on another device": lambda: lengths.to("meta"),
        "sparse": lambda: lengths.to_sparse(),
        **{
            f"of {dtype}": lambda dtype=dtype: lengths.to(dtype)
            for dtype in (torch.int32, torch.uint8, torch.float32, torch.float64, *BAD_DTYPES[1:])
        },
    }
    name = chance.choice(sorted(ways))
    return name, ways[name]()


def spoiled(tensor: Tensor, chance: random.Random) -> tuple[str, Tensor]:
    """Return the tensor with one thing wrong, and what is wrong."""
    ways: dict[str, Callable[[], Tensor]] = {
        "a dimension more": lambda: tensor.unsqueeze(chance.randrange(tensor.dim() + 1)).repeat_interleave(
            2, 0
        ),
        "a dimension less": lambda: tensor[0],
        "one longer": lambda: torch.cat([tensor, tensor[:1]]),
        "one shorter": lambda: tensor[1:],
        "a wider last dimension": lambda: torch.cat([tensor, tensor[..., :1]], -1),
        "empty": lambda: tensor[:0],
        "on another device": lambda: tensor.to("meta"),
        "sparse": lambda: tensor.to_sparse(),
        **{f"of {dtype}": lambda dtype=dtype: tensor.to(dtype) for dtype in BAD_DTYPES},
    }
    if tensor.dim() == 0:
        keep = ("on another device", "sparse", *(f"of {dtype}" for dtype in BAD_DTYPES))
        ways = {name: ways[name] for name in keep} | {"a dimension more": lambda: tensor.expand(2)}
    name = chance.choice(sorted(ways))
    return name, ways[name]()


def misfits(seed: int, count: int) -> dict[str, object]:
    """Call the ops with one argument that does not fit the others."""
    told: Counter[str] = Counter()
    calls = ops_calls()
    for arguments, _, function in calls.values():
        function(*arguments)
        function(*arguments[:-1], None)
    for case in range(count):
        chance = random.Random(f"{seed} {case}")
        name, (given, parameters, function) = chance.choice(sorted(calls.items()))
        arguments = list(given)
        last = len(arguments) - 1
        at = chance.choice(
            [place for place, tensor in enumerate(arguments) if tensor is not None and tensor.numel()]
            + [last] * 4
        )
        wrong, arguments[at] = (spoiled_lengths if at == last else spoiled)(arguments[at], chance)
        said = f"case {case} of seed {seed}: {name}, argument {at} {wrong}"
        if chance.random() < 0.5 and arguments[-2].is_floating_point():
            arguments[-2] = arguments[-2].detach().requires_grad_(name == "scan")
        try:
            result = function(*arguments)
        except (TypeError, ValueError):
            told["refused by name"] += 1
        except (NotImplementedError, RuntimeError) as error:  # torch's dispatcher, which comes first
            assert "sparse" in wrong or "device" in wrong or "float8" in wrong, f"{said}: {error!r}"
            told["refused by torch"] += 1
        else:
            outputs = result if isinstance(result, tuple | list) else (result,)
            meta = any(out.is_meta for out in outputs)
            # T of a sequence that nothing else has is its own; a parameter may have any length.
            fits = at == 0 and name == "scan" and wrong in ("one longer", "one shorter")
            lengths = "one longer", "one shorter", "a wider last dimension", "a dimension less"
            fits |= at in parameters and wrong in lengths
            assert meta or fits, f"{said}: accepted"
            told["fits after all, or only shapes were worked out"] += 1
    return dict(told)


def in_place(seed: int, count: int) -> dict[str, object]:
    """Change a tensor in place between forward and backward: torch's error, or the gradient of before."""
    told: Counter[str] = Counter()
    for case in range(count):
        chance = random.Random(f"{seed} {case}")
        features = chance.choice([1, 3, 8, 17])
        kind, build = random_layer(chance, features)
        x = dyadic([5, 3, features], chance)
        results = []
        for change in (False, True):
            layer = build("numba")
            leaves = [dyadic([5, 3, features], random.Random(0)).requires_grad_(), *layer.parameters()]
            fed = leaves[0] + x
            y = layer.forward_sequence(fed)
            tensors = [fed, y, *(getattr(o, n) for o, n in states_of(layer)), *layer.parameters()]
            which = random.Random(f"{seed} {case} which").randrange(len(tensors))
            loss = (y * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum()
            if change:
                tensors[which].detach().mul_(3).add_(1)
            try:
                results.append(torch.autograd.grad(loss, [leaf for leaf in leaves if leaf.requires_grad]))
            except RuntimeError as error:
                assert change and "modified by an inplace operation" in str(error), f"case {case}: {error!r}"
                told["torch's error"] += 1
        if len(results) == 2:
            said = f"case {case} of seed {seed}: {kind}, tensor {which}"
            assert all(torch.equal(a, b) for a, b in zip(*results, strict=True)), f"{said}: another gradient"
            told["gradient as before"] += 1
    return dict(told)


def chained(seed: int, count: int) -> dict[str, object]:
    """Let a layer change another's output in place before it reads it, and share one tensor among arguments."""
    told: Counter[str] = Counter()
    for case in range(count):
        results = []
        for backend in ("numba", "torch"):
            chance = random.Random(f"{seed} {case}")
            features = chance.choice([1, 3, 8, 17])
            builds = [random_layer(chance, features)[1] for _ in range(2)]
            first, second = (build(backend) for build in builds)
            x = dyadic([4, 3, features], chance).requires_grad_()
            y = first.forward_sequence(x)
            if y.shape[-1] != features:
                y = y.sum(-1, keepdim=True).expand_as(x)  # of nothing it is 0
            z = (
                second.forward_sequence((y + 0).add_(x))
                if chance.random() < 0.5
                else second.forward_sequence(y)
            )
            results.append([z.detach(), *torch.autograd.grad(z.sum() + y.sum(), x)])
        for a, b in zip(*results, strict=True):
            assert same(a, b, 1e-9), f"case {case} of seed {seed}"
        told["equal to the torch loop"] += 1
    return dict(told)


def second_derivatives(seed: int, count: int) -> dict[str, object]:
    """Differentiate a gradient: the loop gives the slope of the first gradient, a kernel says that it cannot."""
    told: Counter[str] = Counter()
    for case in range(count):
        chance = random.Random(f"{seed} {case}")
        features = chance.choice([1, 2, 5])
        _, build = random_layer(chance, features)
        # Away from the threshold and the corners of the surrogates, which a small step must not cross.
        x = (dyadic([3, 2, features], chance) + 1 / 37).requires_grad_()

        def first(x: Tensor, create: bool, build: Any = build, backend: str = "torch") -> Tensor:
            layer = build(backend)
            for part in layer.modules():
                # Where nothing is cut and the step is smooth, differences find the slope.
                if isinstance(part, SurrogateFunction):
                    part.spiking = backend != "torch"
                if isinstance(part, SpikingNeuron):
                    part.detach_reset = False
            y = layer.forward_sequence(x)
            out = (y.square() * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum()
            return torch.autograd.grad(out, x, create_graph=create)[0]

        direction = dyadic(list(x.shape), chance)
        gradient = first(x, True)
        (slope,) = (
            torch.autograd.grad((gradient * direction).sum(), x)
            if gradient.requires_grad
            else (torch.zeros_like(x),)
        )
        step = 1e-6
        ahead, behind = (first((x + s * direction).detach().requires_grad_(), False) for s in (step, -step))
        numeric = ((ahead - behind) / (2 * step) * direction).sum()
        assert abs((slope * direction).sum() - numeric) <= 1e-4 * (1 + numeric.abs()), (
            f"case {case} of seed {seed}"
        )
        told["slopes right in the loop"] += 1
        try:
            first(x, True, backend="numba")
        except RuntimeError as error:
            assert "backend='torch'" in str(error), repr(error)
            told["said by a kernel"] += 1
        else:
            raise AssertionError(f"case {case} of seed {seed}: a kernel's gradient passed for a constant")
    return dict(told)


def fresh(model: str, backend: str = "auto") -> nn.Module:
    """Return a network, always the same one; not for threads, which share torch's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return make_network(model, backend=backend)


def trained(net: nn.Module, steps: int = 2) -> list[Tensor]:
    """Return outputs and gradients of a network after some passes."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(70, 1, 28, 12, generator=generator)
    found = []
    for _ in range(steps):
        y = net(images)
        found += [y.detach(), *torch.autograd.grad((y * torch.arange(10)).sum(), list(net.parameters()))]
        for module in net.modules():
            if hasattr(module, "_state_names"):
                module.reset()
    return found


def threads(seed: int, count: int) -> dict[str, object]:
    """Let 8 threads of Python run a network each, ``count`` times, on the same kernels at once."""
    torch.set_num_threads(2)
    models = [list(NETWORKS)[k % 3] for k in range(8)]
    expected = {model: trained(fresh(model)) for model in NETWORKS}
    wrong, begin = [], threading.Barrier(8)

    def work(model: str, net: nn.Module) -> None:
        torch.set_num_threads(2)
        begin.wait()
        for _ in range(count):
            if not all(torch.equal(a, b) for a, b in zip(trained(net), expected[model], strict=True)):
                wrong.append(model)

    workers = [threading.Thread(target=work, args=(model, fresh(model))) for model in models]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong, wrong
    return {"passes equal to serial": 2 * 8 * count}


def _child(queue: object, model: str) -> None:
    """Run a network in a child; then ask for the kernels by name."""
    try:
        found = [value.numpy() for value in trained(fresh(model))]
        try:
            trained(fresh(model, "numba"), 1)
            kernels = "ran"
        except RuntimeError as error:
            kernels = str(error)
        queue.put((found, kernels))
    except BaseException as error:
        queue.put((repr(error), ""))
        raise


def processes(seed: int, count: int) -> dict[str, object]:
    """Start children by every method, from a process whose kernels and threads have run."""
    torch.set_num_threads(2)
    expected = {model: trained(fresh(model)) for model in NETWORKS}
    told: Counter[str] = Counter()
    methods = multiprocessing.get_all_start_methods() if count > 1 else ["fork"]
    for _ in range(count):
        for method, model in itertools.product(methods, NETWORKS if count > 1 else ["feedback"]):
            context = multiprocessing.get_context(method)
            queue = context.Queue()
            child = context.Process(target=_child, args=(queue, model))
            child.start()
            found, kernels = queue.get(timeout=LIMIT / 4)
            child.join(LIMIT / 4)
            assert child.exitcode == 0, f"{method}, {model}: exit code {child.exitcode}"
            assert not isinstance(found, str), f"{method}, {model}: {found}"
            for a, b in zip(found, expected[model], strict=True):
                assert same(torch.from_numpy(a), b, 1e-5), f"{method}, {model}: another result"
            assert kernels == "ran", f"{method}: {kernels}"
            told[f"children by {method}"] += 1
    return dict(told)


def compiled(seed: int, count: int) -> dict[str, object]:
    """Pass networks through torch.compile's tracers, and layers through the transforms of torch.func."""
    told: Counter[str] = Counter()
    for case in range(count):
        chance = random.Random(f"{seed} {case}")
        features = chance.choice([3, 17])
        kind, build = random_layer(chance, features)
        x = dyadic([4, 3, features], chance)
        plain = build("torch").forward_sequence(x)
        for backend in ("auto", "torch"):
            layer = build(backend)

            def run(x: Tensor, layer: nn.Module = layer) -> Tensor:
                for owner, name in states_of(layer):
                    owner.keep_state(name, None)
                return layer.forward_sequence(x)

            batch = torch.func.vmap(run)(torch.stack([x, x.flip(1)]))
            assert torch.equal(batch[0], plain), f"case {case}: {kind} under vmap"
            (expected,) = torch.autograd.grad(run(leaf := x.clone().requires_grad_()).sum(), leaf)
            assert same(torch.func.grad(lambda x: run(x).sum())(x), expected, 1e-9), f"case {case}: {kind}"
            told["equal under torch.func"] += 1
    for model in NETWORKS if count > 3 else ["feedback"]:
        images = torch.rand(5, 1, 28, 6)
        net = make_network(model)
        expected = net(images)
        for module in net.modules():
            if hasattr(module, "_state_names"):
                module.reset()
        torch.testing.assert_close(torch.compile(net, backend="aot_eager")(images), expected)
        told["equal when compiled"] += 1
    return dict(told)


CASES = [fuzz, misfits, in_place, chained, second_derivatives, threads, processes, compiled]


# The tests -----------------------------------------------------------------------------------------------------------


pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")


def child(case: Callable[..., object], count: int, seed: int = 0, **variables: str) -> dict[str, object]:
    """Run a case in a process of its own and return what it says; a crash or a hang fails."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", __file__, case.__name__, str(seed), str(count)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    said = f"{case.__name__} with seed {seed} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    assert done.returncode == 0, said
    return json.loads(done.stdout.splitlines()[-1])


def run(torture: Torture, case: Callable[[int, int], dict[str, object]], count: int) -> dict[str, object]:
    """Run a case: in full in a process of its own, else here."""
    return child(case, count) if torture.full else case(0, count)


def test_any_shape_layout_and_dtype_equals_the_torch_loop(torture):
    cases = torture.count(fast=30, full=3000)
    torture.figure(
        item=5,
        what="layers of random size, memory layout, precision, state and gradients, kernel against torch loop",
        cases=cases,
        seed=0,
        **run(torture, fuzz, cases),
    )


def test_an_argument_that_does_not_fit_is_refused_before_a_kernel_starts(torture):
    cases = torture.count(fast=60, full=10_000)
    torture.figure(
        item=5,
        what="kernels called with an argument of the wrong shape, dtype, device or layout: crashes",
        cases=cases,
        seed=0,
        crashes=0,
        **run(torture, misfits, cases),
    )


def test_a_change_in_place_before_backward_gives_an_error_or_the_same_gradient(torture):
    cases = torture.count(fast=30, full=2000)
    told = run(torture, in_place, cases)
    assert set(told) == {"torch's error", "gradient as before"}
    torture.figure(
        item=5, what="tensors changed in place between forward and backward", cases=cases, seed=0, **told
    )


def test_layers_may_share_and_overwrite_tensors_as_in_the_loop(torture):
    cases = torture.count(fast=20, full=1000)
    told = run(torture, chained, cases)
    torture.figure(
        item=5,
        what="layers that share tensors or read what was changed in place",
        cases=cases,
        seed=0,
        **told,
    )


def test_a_second_derivative_is_right_or_refused(torture):
    cases = torture.count(fast=15, full=500)
    told = run(torture, second_derivatives, cases)
    torture.figure(item=5, what="second derivatives, loop and kernel", cases=cases, seed=0, **told)


def test_eight_threads_give_what_one_gives(torture):
    told = child(threads, torture.count(fast=2, full=100), OMP_NUM_THREADS="2")
    torture.figure(item=5, what="8 Python threads at once on the same kernels", **told)


def test_children_of_a_process_that_used_kernels_neither_die_nor_wait(torture):
    told = child(processes, torture.count(fast=1, full=5), OMP_NUM_THREADS="2")
    torture.figure(item=5, what="processes started after kernels ran", **told)


def test_compilers_and_transforms_of_torch_give_the_same(torture):
    cases = torture.count(fast=3, full=100)
    told = run(torture, compiled, cases)
    torture.figure(item=5, what="layers under torch.func and networks under torch.compile", seed=0, **told)


@pytest.mark.nightly
def test_a_crash_of_a_child_would_be_seen():
    with pytest.raises(AssertionError, match="misfits with seed broken ended with 1"):
        child(misfits, 1, "broken")


def main() -> None:
    """Run the case that the command line names."""
    name, seed, count = sys.argv[1:]
    cases = {case.__name__: case for case in CASES}
    print(json.dumps(cases[name](int(seed), int(count))))


if __name__ == "__main__":
    assert Path(__file__).name == "test_torture_boundary.py"
    main()
