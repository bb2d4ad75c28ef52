"""``plan.cu`` without a GPU: threads in any order, plans of several launches, compiled for six architectures.

``tests/support/cuda_shim`` gives the file what it needs of CUDA, and runs the threads of a block in a random order.
The table of cases runs there too, see test_parity.py. What must be run on a GPU is in test_cuda_gpu.py.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cases import NEURONS, SURROGATES, Case, currents, recurrent
from executors import SHIM, assert_equals_the_loop
from memory_cases import FILTERS, FUNCTIONS, filtering, numbers, spiking
from support import require
from support_cuda import Nvrtc, on_the_shim
from support_networks import our_library
from torch import nn

from snn_core import fuse, surrogate, synapse
from snn_core import kernels as backends
from snn_core import neuron as neurons
from snn_core.checks import Like
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.limits import MOST_CONSTANTS, MOST_PARAMETERS, MOST_STATES
from snn_core.kernels.plan import Plan, parsed, plan_of
from snn_core.kernels.record.symbols import Program
from snn_core.layer import DelayedRecurrentContainer, LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import AdaptiveLIFNode, CUBALIFNode, IFNode, LIFNode
from snn_core.surrogate import ATan
from snn_core.synapse import LowPassSynapse

HALVES = [torch.float16, torch.bfloat16]
ARCHITECTURES = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90"]


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def planned(
    modules: list[nn.Module], x_seq: torch.Tensor
) -> tuple[list[torch.Tensor | None], Plan, tuple[float, ...]]:
    """Return the tensors, the plan and the numbers of modules that take ``[T, N, *]``, a stage for each."""
    like, parts = Like(x_seq.shape[1:], x_seq.dtype, x_seq.device), []
    for module in modules:
        parts.append(fuse.read(module, like))
        like = fuse.after(parts[-1], like)
    tensors = [one for part in parts for one in (*[None] * len(part.states), *part.weights, *part.parameters)]
    numbers = tuple(number for part in parts for number in part.numbers)
    return tensors, plan_of(tuple(part.stage for part in parts)), numbers


def neuron(**options: object) -> list[nn.Module]:
    return [IFNode(surrogate_function=ATan(), **options)]


def network() -> list[nn.Module]:
    """Return layers with a product after a cell, after a product and after a feedback."""
    torch.manual_seed(0)
    rates = torch.linspace(2, 5, 20)
    return [
        nn.Linear(9, 20),
        IFNode(surrogate_function=ATan()),
        LinearRecurrentContainer(LIFNode(surrogate_function=ATan(), v_reset=None), 20, 20, bias=False),
        SynapseFilter(tau=rates, learnable=True),
        nn.Linear(20, 35, bias=False),
        LinearRecurrentContainer(IFNode(surrogate_function=ATan()), 35, 35),
    ]


def delayed_network() -> list[nn.Module]:
    """Return the same with delays."""
    torch.manual_seed(0)
    options = {"surrogate_function": ATan(), "v_reset": None}
    neurons = torch.linspace(1, 3, 20)
    return [
        nn.Linear(9, 20),
        DelayedRecurrentContainer(AdaptiveLIFNode(**options), 20, 20, 3, neurons, learn_delays=True),
        LowPassSynapse(tau=torch.linspace(2, 5, 20), learnable=True),
        DelayedRecurrentContainer(IFNode(**options), 20, 20, 3, neurons.flip(0), bias=False),
        nn.Linear(20, 35, bias=False),
        DelayedRecurrentContainer(CUBALIFNode(**options), 35, 35, 2, torch.linspace(1, 2, 35)),
    ]


def delayed_alone() -> list[nn.Module]:
    """Return a layer between whose steps lies no barrier of another one."""
    torch.manual_seed(0)
    neuron = IFNode(surrogate_function=ATan())
    return [DelayedRecurrentContainer(neuron, 9, 9, 3, torch.linspace(1, 3, 9), learn_delays=True)]


NETWORKS = {"last outputs": network, "delays": delayed_network, "delays alone": delayed_alone}
each_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def results(modules: list[nn.Module], x_seq: torch.Tensor) -> list[torch.Tensor]:
    """Return all results of a scan forward and back."""
    own = planned(modules, x_seq)
    y_seq, last, _, borders = cuda.scan(x_seq, *own)
    grad_y, grad_last = random(*y_seq.shape, seed=3), random(*last.shape, seed=4)
    assert len(borders) == 0
    return [y_seq, last, *cuda.scan_backward(grad_y, grad_last, None, x_seq, borders, *own)]


def network_results(build: Callable[[], list[nn.Module]] = network) -> list[torch.Tensor]:
    with torch.no_grad():  # taps are calculated from delays before a scan
        return results([module.double() for module in build()], 3 * random(5, 5, 9))


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def shim(monkeypatch):
    """The CPU in the place of a GPU."""
    with on_the_shim() as device:
        monkeypatch.setattr(device, "launches", [])
        yield device


def wide_case(steps: int, batch: int, size: int) -> Case:
    return Case(
        "wide",
        lambda library: recurrent(library, size, kind="LIF", surrogate="ATan", detach_reset=True),
        (steps, batch, size), currents(3.0), ("v", "y"), fused=True,
    )  # fmt: skip


@each_network
def test_a_network_is_one_launch(shim, build):
    network_results(build)
    assert [launch.kernel for launch in shim.launches] == ["scan_forward", "scan_backward"]


@pytest.mark.parametrize(
    ("build", "limit"),
    [(network, 4000), (network, 3000), (network, 1800), *((delayed_network, n) for n in (7000, 5000, 4000))],
)
def test_a_plan_that_does_not_fit_is_taken_in_groups(shim, monkeypatch, build, limit):
    whole = network_results(build)
    shim.launches.clear()
    monkeypatch.setattr(shim, "limit", limit)
    for found, expected in zip(network_results(build), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert len(shim.launches) > 2
    assert all(launch.shared_bytes <= limit for launch in shim.launches)


def test_more_stages_than_a_launch_takes(shim):
    modules = [IFNode(surrogate_function=ATan(), v_threshold=0.1) for _ in range(cuda.MOST_STAGES + 1)]
    x_seq = 3 * random(4, 2, 3)
    found = results(modules, x_seq)
    assert [launch.kernel for launch in shim.launches] == [
        "scan_forward", "scan_forward", "scan_forward", "scan_backward", "scan_backward"
    ]  # fmt: skip
    assert 0 < found[0].mean() < 1
    expected = x_seq
    for module in [IFNode(surrogate_function=ATan(), v_threshold=0.1, backend="torch") for _ in modules]:
        expected = module.forward_sequence(expected)
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_a_linear_layer_alone_is_left_to_torch(shim, dtype):
    layer, x_seq = nn.Linear(4, 3).double(), random(2, 5, 4)
    own = planned([layer], x_seq)
    expected, grad_y = layer(x_seq), random(2, 5, 3, seed=1)
    gradients = torch.autograd.grad(expected, [layer.weight, layer.bias], grad_y)
    x_seq, grad_y = x_seq.to(dtype), grad_y.to(dtype)
    y_seq, last, _, borders = cuda.scan(x_seq, *own)
    g_x, *found = cuda.scan_backward(grad_y, None, None, x_seq, borders, *own)
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 20 * torch.finfo(dtype).eps}
    assert shim.launches == []
    assert len(last) == 0
    torch.testing.assert_close(y_seq, expected.to(dtype), **tolerance)
    torch.testing.assert_close(g_x, grad_y @ layer.weight.to(dtype), **tolerance)
    for ours, theirs in zip(found, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)
    nothing = cuda.scan_backward(None, None, None, x_seq, borders, *own)
    assert not any(gradient.count_nonzero() for gradient in nothing)


def test_no_gradient_gives_zeros(shim):
    x_seq = random(3, 5, 9)
    own = planned([module.double() for module in network()], x_seq)
    found = cuda.scan_backward(None, None, None, x_seq, x_seq.new_empty(0), *own)
    assert not any(gradient.count_nonzero() for gradient in found)
    assert len(shim.launches) == 1


def test_tensors_without_memory_of_their_own(shim):
    """Autograd's zeros and negative views, which a kernel that took their address would misread."""
    zeros = torch._efficientzerotensor(4, 3, 1, dtype=torch.float64)
    negative = torch.view_as_complex(random(4, 3, 1, 2)).conj().imag
    assert negative.is_neg()
    plain = torch.zeros(4, 3, 1, dtype=torch.float64)
    for x_seq, same in ((zeros, plain), (negative, negative.resolve_neg())):
        own = planned(neuron(), same)
        assert equal([*cuda.scan(x_seq, *own)], [*cuda.scan(same, *own)])
        with_gradient = [cuda.scan_backward(x_seq, None, None, one, plain, *own) for one in (x_seq, same)]
        assert equal(*with_gradient)


@pytest.mark.parametrize("kernels", [cpu, cuda], ids=["cpu", "cuda"])
@each_network
def test_gradients_of_what_lies_after_the_end_of_a_sample_change_nothing(shim, kernels, build):
    """The op leaves open what the output is there."""
    lengths, x_seq = torch.tensor([5, 4, 4, 2, 0]), 3 * random(5, 5, 9)
    padding = (torch.arange(5)[:, None] >= lengths)[..., None]
    x_seq = x_seq.masked_fill(padding, 0)
    with torch.no_grad():
        own = planned([module.double() for module in build()], x_seq)
    y_seq, last, _, borders = kernels.scan(x_seq, *own, lengths)
    grad_y, found = random(*y_seq.shape), []
    for beyond in (0, 7.0, torch.nan):
        given = grad_y.masked_fill(padding, beyond)
        found.append(kernels.scan_backward(given, last, None, x_seq, borders, *own, True, lengths))
    assert found[0][0].any()
    assert equal(found[1], found[0])
    assert equal(found[2], found[0])


def test_more_neurons_than_threads(shim):
    assert_equals_the_loop(SHIM, wide_case(3, 2, 1030))
    assert {launch.threads for launch in shim.launches} == {cuda.THREADS}


@each_network
def test_order_in_which_threads_run_does_not_change_a_bit(shim, monkeypatch, build):
    expected = network_results(build)
    for seed in range(1, 6):
        monkeypatch.setattr(shim, "seed", seed)
        assert equal(network_results(build), expected)


def delicate_numbers(dtype: torch.dtype) -> torch.Tensor:
    """Return float32 numbers: all of ``dtype`` and what lies half-way, too small, too large, infinite or NaN for it."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype).float()
    finite = values[values.isfinite()]
    ties = (finite[1:] + finite[:-1]) / 2
    large = torch.tensor([65519.0, 65520.0, 65536.0, 3.395e38])
    nan = torch.tensor([0x7FFFFFFF, 0x7F800001, -1], dtype=torch.int32).view(torch.float32)
    small = random(1000, dtype=torch.float32) * 1e-7
    return torch.cat([values, ties, ties * (1 + 2e-7), small, large, -large, nan])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_are_rounded_as_torch_rounds_them(shim, dtype):
    """The last potential of a neuron that never fires is its first one, rounded."""
    numbers = delicate_numbers(dtype)
    numbers = numbers[~(numbers >= 3.4e38)][:, None]
    zeros, expected = torch.zeros_like(numbers), numbers.to(dtype)
    _, plan, its_numbers = planned(neuron(v_threshold=3.4e38), zeros[None])
    _, written, *_ = cuda.scan(zeros[None].to(dtype), [numbers], plan, its_numbers)
    torch.testing.assert_close(written, expected.flatten(), rtol=0, atol=0, equal_nan=True)
    _, read_back, *_ = cuda.scan(expected[None], [zeros], plan, its_numbers)
    small = expected.isfinite()
    assert torch.equal(read_back[small.flatten()], expected[small])


@pytest.mark.parametrize("dtype", [*cuda.SCALARS], ids=str)
def test_launch_fits_every_size(dtype):
    for size, limit in itertools.product((1, 32, 33, 128, 200, 512, 1024, 2048), (96 << 10, 227 << 10)):
        _, plan, _ = planned([LinearRecurrentContainer(IFNode(), size, size)], torch.zeros(1, 1, size))
        (group,) = cuda.groups(plan, dtype, limit)
        launch = group.launch("forward", 257)
        assert launch.shared_bytes <= limit
        assert launch.threads % 32 == 0
        assert min(size, cuda.THREADS) <= launch.threads <= cuda.THREADS
        assert launch.blocks == -(-257 // group.samples)
        itemsize = 8 if dtype == torch.float64 else 4
        assert group.samples == (4 if 24 * size * itemsize <= limit else 1)


def test_neurons_that_are_not_connected_fit_whatever_their_number(shim):
    _, plan, _ = planned(neuron(), torch.zeros(1, 1, 10**6))
    (group,) = cuda.groups(plan, torch.float32, 48 << 10)
    assert (group.neurons, group.samples, group.threads) == (10**6, 128, 128)


def test_launch_says_when_delays_are_too_long(shim, monkeypatch):
    monkeypatch.setattr(shim, "limit", 48 << 10)
    module, x_seq = DelayedRecurrentContainer(IFNode(), 200, 200, 30), torch.zeros(30, 1, 200)
    with torch.no_grad():
        own = planned([module], x_seq)
    message = (
        "^200 recurrent neurons with delays up to 30 steps need 77,600 bytes of shared memory, the device has "
        "49,152: use fewer, or a smaller max_delay$"
    )
    with pytest.raises(ValueError, match=message):
        cuda.scan(x_seq, *own)
    assert shim.launches == []
    # Before it comes to that, a network takes the loop.
    like, (stage,) = Like((1, 200), torch.float32, torch.device("cuda", 0)), own[1].stages
    assert re.search(message, backends.why_not("cupy", like, stage))
    monkeypatch.setattr(shim, "limit", 80_000)
    assert backends.why_not("cupy", like, stage) == ""


def test_a_text_that_is_no_program_is_refused(shim):
    tensors, plan, numbers = planned(neuron(), random(2, 3, 1))
    assert parsed(*plan.flat).stages == plan.stages
    with pytest.raises(ValueError, match=r"no kernel knows a cell 'nosuch'"):
        torch.ops.snn_core.scan(random(2, 3, 1), tensors, ["nosuch"], plan.flat[1], numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_structure_has_the_size_that_the_compiler_gives_it(shim, dtype):
    _, plan, _ = planned(neuron(), random(2, 3, 1))
    (group,) = cuda.groups(plan, dtype, shim.limit)
    words = cuda._words(group, dtype)
    assert words.nbytes == shim.library(dtype, group.programs).shim_plan_bytes()
    assert words.nbytes <= 4096  # the most that a kernel takes by value


def neurons_in_every_setting() -> list[nn.Module]:
    return [
        getattr(neurons, name)(surrogate_function=getattr(surrogate, kind)(), v_reset=v_reset, **options)
        for name, options in NEURONS.values()
        for kind, v_reset in zip(SURROGATES, [0.0, None] * 3, strict=True)
    ]


def cells_with_memory() -> list[nn.Module]:
    """Return neurons with as many parameters and states as they may have, synapses, and feedback to the same neuron."""
    library = our_library()
    settings: list[dict[str, Any]] = [
        {"how": "each trained", "v_reset": None, "refractory": 2},
        {"how": "number", "v_reset": "none", "decay_input": False},
        {"how": "trained", "v_reset": -0.3, "refractory": 2, "detach_reset": True},
    ]
    firing = [
        spiking(library, kind, shape=(3,), surrogate=name, **options)
        for kind, names in (("CUBALIF", SURROGATES[:3]), ("ALIF", SURROGATES[3:]))
        for name, options in zip(names, settings, strict=True)
    ]
    fed_back = [
        library.element_wise_recurrent(
            spiking(library, "ALIF", "trained", refractory=1), function, numbers(how, (0.1, 0.5), (3,))
        )
        for function, how in zip(FUNCTIONS.values(), ("number", "each trained", "trained"), strict=True)
    ]
    synapses = [filtering(library, kind, how, (3,)) for kind in FILTERS for how in ("number", "each trained")]
    return [*firing, *fed_back, *synapses, SynapseFilter()]


#: What is compiled at once: of twice as many cells it would take four times as long.
PARTS = {"neurons": neurons_in_every_setting, "memory": cells_with_memory}


def programs(part: str) -> tuple[Program, ...]:
    """Return the programs of cells."""
    like = Like((2, 3), torch.float32, torch.device("cpu"))
    return tuple(dict.fromkeys(fuse.read(one, like).stage.program for one in PARTS[part]()))


def test_every_class_has_a_program_that_is_compiled():
    kinds = {type(part) for build in PARTS.values() for module in build() for part in module.modules()}
    names = {name for name in neurons.__all__ if not name.startswith("MultiStep")} | {*synapse.__all__}
    assert names - {"SpikingNeuron", "StatefulSynapse"} <= {kind.__name__ for kind in kinds}
    every = [program for part in PARTS for program in programs(part)]
    assert max(program.parameters for program in every) == 5 <= MOST_PARAMETERS
    assert max(program.states for program in every) == 4 <= MOST_STATES
    assert max(program.constants for program in every) <= MOST_CONSTANTS


@pytest.fixture(scope="session")
def nvrtc():
    require(Nvrtc.path() is not None, "the wheel nvidia-cuda-nvrtc-cu12")
    return Nvrtc()


@pytest.mark.parametrize(
    ("dtype", "part", "architecture"),
    [
        pytest.param(*one, marks=[pytest.mark.nightly] * (number % 15 > 0), id=" ".join(map(str, one)))
        for number, one in enumerate(itertools.product(cuda.SCALARS, PARTS, ARCHITECTURES))
    ],
)
def test_nvrtc_compiles_every_kernel(nvrtc, dtype, part, architecture):
    # The last two as CuPy does.
    options = [*cuda.compile_options(dtype), "-ftz=true", f"-arch={architecture}"]
    code, _, log = nvrtc.compile(cuda.source(programs(part)), [*options, "--ptxas-options=-v"])
    compiled = re.findall(r"Compiling entry function '(\w+)'", log)
    assert sorted(compiled) == ["scan_backward", "scan_forward"]
    assert code.startswith(b"\x7fELF")
    assert "error" not in log
    assert [line for line in log.splitlines() if "warning" in line and "deprecated" not in line] == []
    # A block of the largest size must find its registers; releases differ by a handful that is spilled. A copy of the
    # structure, which every thread would make, would not be so small.
    registers = re.findall(r"Used (\d+) registers", log)
    assert len(registers) == 2
    assert all(int(used) <= 65536 // cuda.THREADS for used in registers)
    assert all(int(size) <= 128 for size in re.findall(r"(\d+) bytes (?:stack frame|spill stores)", log))


@pytest.mark.parametrize("part", PARTS)
def test_cells_are_compiled_without_fused_multiply_add(nvrtc, part):
    """Spikes equal those of the loop to the bit only so; the products ask for it, here under another name.

    Only LIF neurons with a tau that is not trained divide, and that must round to the nearest.
    """
    options = [*cuda.compile_options(torch.float32), "-Dfma(a,b,c)=((a)-(b)-(c))"]
    _, ptx, _ = nvrtc.compile(cuda.source(programs(part)), [*options, "-arch=sm_80"])
    (forward,) = re.findall(r"\.entry scan_forward\(.*?^}", ptx, re.DOTALL | re.MULTILINE)
    assert ("fma" in forward, "mul" in forward, "div.rn" in forward) == (False, True, part == "neurons")


class _FakeCupy:
    """The part of CuPy that :class:`cuda.Device` uses: keeps what it is called with."""

    def __init__(self, release: int) -> None:
        self.calls, self.kernels, self.entered = [], {}, []
        fake = self

        class Stream:
            def __init__(self, pointer):
                self.pointer = pointer

            def __enter__(self):
                fake.entered.append(self.pointer)

            def __exit__(self, *_):
                pass

        if release >= 14:
            Stream.from_external = lambda stream: Stream(stream.__cuda_stream__()[1])
        runtime = SimpleNamespace(
            cudaDevAttrMaxSharedMemoryPerBlockOptin=97,
            deviceGetAttribute=lambda attribute, index: {(97, 0): 99 << 10}[attribute, index],
        )
        self.cuda = SimpleNamespace(
            Stream=Stream, ExternalStream=lambda pointer, index: Stream(pointer), runtime=runtime
        )

    def RawModule(self, code, options):  # noqa: N802
        assert "#include" not in code

        def function(name):
            def kernel(*arguments, **options):
                self.calls.append((name, arguments, options))

            return self.kernels.setdefault(name, kernel)

        return SimpleNamespace(get_function=function)


@pytest.mark.parametrize("release", [13, 14])
def test_kernels_are_started_through_cupy(monkeypatch, release):
    fake, place = _FakeCupy(release), torch.device("cuda", 0)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=77))
    for function in (cuda._module, cuda._kernel, cuda._shared_limit):
        function.cache_clear()
    plan = np.zeros(1, "V16")
    assert cuda.device.shared_limit(place) == 99 << 10
    for shared_bytes in (0, 49 << 10):
        cuda.device.start(cuda.Launch("kernel", 3, 64, shared_bytes), torch.float32, place, plan)
    assert fake.entered == [77, 77]
    grid_and_block = ((3,), (64,), (plan,))
    assert fake.calls == [("kernel", grid_and_block, {"shared_mem": shared}) for shared in (0, 49 << 10)]
    assert fake.kernels["kernel"].max_dynamic_shared_size_bytes == 99 << 10
    for function in (cuda._module, cuda._kernel, cuda._shared_limit):
        function.cache_clear()


@pytest.mark.parametrize("answer", [True, False, RuntimeError("no driver")], ids=str)
def test_auto_takes_cupy_only_where_it_sees_a_gpu(monkeypatch, answer):
    def is_available():
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(is_available=is_available)))
    monkeypatch.setattr(backends, "CUPY_IS_INSTALLED", True)
    backends._cupy_sees_a_gpu.cache_clear()
    on_a_gpu = Like((2, 3), torch.float32, torch.device("cuda", 0))
    try:
        assert (backends.why_not("auto", on_a_gpu) == "") == (answer is True)
        assert backends.why_not("torch", on_a_gpu)
        assert backends.why_not("cupy", on_a_gpu) == ""
    finally:
        backends._cupy_sees_a_gpu.cache_clear()


def test_cupy_backend_says_when_cupy_is_missing(monkeypatch):
    monkeypatch.setattr(backends, "CUPY_IS_INSTALLED", False)
    with pytest.raises(ValueError, match=r"pip install 'snn-core\[cuda12\]'"):
        IFNode(backend="cupy")
