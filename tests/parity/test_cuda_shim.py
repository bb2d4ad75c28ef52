"""``kernels.cu`` without a GPU: threads in any order, ways through a block, compiled for three architectures.

``tests/support/cuda_shim`` gives the file what it needs of CUDA, and runs the threads of a block in a random order.
The table of cases runs there too, see test_parity.py. What must be run on a GPU is in test_cuda_gpu.py.
"""

from __future__ import annotations

import itertools
import re
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import Case, currents, recurrent, rotating
from executors import SHIM, assert_equals_the_loop
from support import require
from support_cuda import Nvrtc, on_the_shim

from snn_core import backend as backends
from snn_core.backend import cuda, ops
from snn_core.backend.constants import Neuron, read_neuron
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan

SOURCE = cuda.SOURCE.read_text()
KERNELS = [
    *(f"{op}_{direction}" for op in ("neuron", "synapse") for direction in ("forward", "backward")),
    *(
        f"recurrent_{direction}_{way}"
        for direction in ("forward", "backward")
        for way in ("warp", "on_chip", "tiled", "tiled_one")
    ),
]
HALVES = [torch.float16, torch.bfloat16]
#: Bytes of shared memory with which 40 neurons in float64 take each way through a block.
LIMITS = {"on_chip": 48 << 10, "tiled": 8 << 10, "tiled_one": 1 << 10}
BARRIERS = [
    number
    for number, line in enumerate(SOURCE.splitlines(), 1)
    if re.search(r"__sync(threads|warp)\(\)", line)
]


def constants(neuron: type[IFNode] = LIFNode, **options: object) -> Neuron:
    """Return the constants of a neuron as the kernels take them."""
    return read_neuron(neuron(surrogate_function=ATan(), **options).step_function())


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def shim(monkeypatch):
    """The CPU in the place of a GPU."""
    with on_the_shim() as card:
        monkeypatch.setattr(card, "launches", [])
        yield card


def wide_case(steps: int, batch: int, size: int) -> Case:
    return Case(
        "wide",
        lambda library: recurrent(library, size, kind="LIF", surrogate="ATan", detach_reset=True),
        (steps, batch, size), currents(3.0), ("v", "y"), kernel="recurrent_neuron_sequence",
    )  # fmt: skip


@pytest.mark.parametrize("way", LIMITS)
def test_every_way_through_a_block(shim, monkeypatch, way):
    monkeypatch.setattr(shim, "limit", LIMITS[way])
    for steps, batch in ((1, 1), (2, 4), (28, 9)):
        assert_equals_the_loop(SHIM, wide_case(steps, batch, 40))
    assert {launch.kernel for launch in shim.launches} == {
        f"recurrent_{direction}_{way}" for direction in ("forward", "backward")
    }


def test_tensors_without_memory_of_their_own(shim):
    """Autograd's zeros and negative views, which a kernel that took their address would misread."""
    v, numbers = random(3), constants(IFNode)
    zeros = torch._efficientzerotensor(4, 3, dtype=torch.float64)
    negative = torch.view_as_complex(random(4, 3, 2)).conj().imag
    assert negative.is_neg()
    for x_seq, plain in ((zeros, torch.zeros(4, 3, dtype=torch.float64)), (negative, negative.resolve_neg())):
        for found, expected in zip(
            cuda.neuron_sequence(x_seq, v, None, *numbers),
            cuda.neuron_sequence(plain, v, None, *numbers),
            strict=True,
        ):
            assert torch.equal(found, expected)
    h_seq = cuda.neuron_sequence(random(4, 3), v, None, *numbers)[2]
    for gradient in cuda.neuron_sequence_backward(zeros, None, h_seq, False, *numbers):
        assert gradient.count_nonzero() == 0
    assert len(shim.launches) == 6


def test_more_neurons_than_threads(shim):
    assert_equals_the_loop(SHIM, wide_case(3, 2, 1030))
    assert {launch.threads for launch in shim.launches} == {512}


def recurrent_results(size: int) -> list[torch.Tensor]:
    """Return all results of a scan forward and back in float64."""
    seq, state, weight = (random(*shape, seed=5) for shape in ((5, 5, size), (5, size), (size, size)))
    forward = cuda.recurrent_walk(seq, state, state, weight, *constants())
    h_seq, s_seq = random(5, 5, size, seed=6), (seq > 0).to(seq.dtype)  # the backward pass by itself
    back = cuda.recurrent_walk_backward(seq, state, h_seq, s_seq, state, weight, *constants())
    return [*forward, *back]


def all_ways(shim, monkeypatch) -> list[torch.Tensor]:
    found = recurrent_results(20)
    for limit in LIMITS.values():
        monkeypatch.setattr(shim, "limit", limit)
        found += recurrent_results(40)
    return found


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_order_in_which_threads_run_does_not_change_a_bit(shim, monkeypatch):
    expected = all_ways(shim, monkeypatch)
    for seed in range(1, 6):
        monkeypatch.setattr(shim, "seed", seed)
        assert equal(all_ways(shim, monkeypatch), expected)


@pytest.mark.parametrize("line", BARRIERS)
def test_every_barrier_is_needed(shim, monkeypatch, line):
    expected = all_ways(shim, monkeypatch)
    monkeypatch.setattr(shim, "removed_line", line)
    assert not equal(all_ways(shim, monkeypatch), expected)


def test_barriers_were_found():
    assert len(BARRIERS) == len(re.findall(r"__sync(?:threads|warp)\b", SOURCE)) >= 4


def test_shim_sees_writes_outside_of_shared_memory(shim, monkeypatch):
    honest = cuda.recurrent_launch

    def stingy(*arguments):
        launch = honest(*arguments)
        return launch._replace(shared_bytes=launch.shared_bytes - 8)

    monkeypatch.setattr(cuda, "recurrent_launch", stingy)
    with pytest.raises(AssertionError, match="failed with 3"):
        recurrent_results(40)


def test_shim_sees_a_barrier_that_some_threads_do_not_reach(shim, monkeypatch):
    honest = cuda.recurrent_launch
    monkeypatch.setattr(cuda, "recurrent_launch", lambda *arguments: honest(*arguments)._replace(threads=48))
    with pytest.raises(AssertionError, match="failed with 2"):
        recurrent_results(40)


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
    numbers = numbers[~(numbers >= 3.4e38)]
    silent = constants(IFNode, v_threshold=3.4e38)
    zeros, expected = torch.zeros(len(numbers)), numbers.to(dtype)
    _, written, _ = cuda.neuron_sequence(zeros[None].to(dtype), numbers, None, *silent)
    torch.testing.assert_close(written, expected, rtol=0, atol=0, equal_nan=True)
    small = expected.isfinite()
    _, _, read = cuda.neuron_sequence(expected[None], zeros, None, *silent)
    assert torch.equal(read[0][small], expected[small].float())


@pytest.mark.parametrize("dtype", cuda.SCALARS, ids=str)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_launch_fits_every_size(direction, dtype):
    itemsize = 8 if dtype == torch.float64 else 4
    ways = {}
    for size, limit in itertools.product(
        (1, 32, 33, 64, 100, 128, 200, 256, 512, 1024, 2048), (96 << 10, 227 << 10)
    ):
        launch = cuda.recurrent_launch(direction, 257, size, dtype, limit)
        assert launch.kernel in KERNELS
        assert launch.shared_bytes <= limit
        assert launch.threads % 32 == 0
        samples = 2 if size <= 32 else 1 if launch.kernel.endswith("one") else 4
        assert launch.blocks == -(-257 // samples)
        ways[size, limit] = launch.kernel.partition(f"{direction}_")[2]
    assert ways[32, 96 << 10] == "warp"
    assert ways[100, 96 << 10] == "on_chip"
    assert ways[128, 227 << 10] == "on_chip"
    assert ways[1024, 96 << 10] == "tiled"
    assert ways[2048, 96 << 10] == ("tiled_one" if (direction, itemsize) == ("backward", 8) else "tiled")


def test_launch_says_when_a_layer_is_too_wide():
    with pytest.raises(ValueError, match=r"20000 recurrent neurons need 240,000 bytes of shared memory"):
        cuda.recurrent_launch("backward", 1, 20_000, torch.float32, 227 << 10)


@pytest.fixture(scope="session")
def nvrtc():
    require(Nvrtc.path() is not None, "the wheel nvidia-cuda-nvrtc-cu12")
    return Nvrtc()


@pytest.mark.parametrize(
    ("dtype", "architecture"),
    [
        pytest.param(
            dtype, architecture, marks=[pytest.mark.nightly] * (not often), id=f"{dtype} {architecture}"
        )
        for often, (dtype, _, architecture) in rotating(cuda.SCALARS, [0], ["sm_70", "sm_80", "sm_90"])
    ],
)
def test_nvrtc_compiles_every_kernel(nvrtc, dtype, architecture):
    options = [
        *cuda.compile_options(dtype),
        "-ftz=true",
        f"-arch={architecture}",
    ]  # the last two as CuPy does
    code, ptx, log = nvrtc.compile(SOURCE, [*options, "--ptxas-options=-v"])
    compiled = re.findall(r"Compiling entry function '(\w+)'", log)
    assert sorted(compiled) == sorted(KERNELS)
    assert code.startswith(b"\x7fELF")
    assert "error" not in log
    assert [line for line in log.splitlines() if "warning" in line and "deprecated" not in line] == []
    # A block of the largest size must find its registers; releases differ by a handful that is spilled.
    assert all(int(spilled) <= 128 for spilled in re.findall(r"(\d+) bytes spill stores", log))
    # Spikes equal those of the loop to the bit only without fused multiply-add.
    (walk,) = re.findall(r"\.entry neuron_forward\(.*?^}", ptx, re.DOTALL | re.MULTILINE)
    assert ("fma" in walk, "mul" in walk) == (False, True)


def test_nvrtc_refuses_a_mistake(nvrtc):
    with pytest.raises(AssertionError, match="undefined"):
        nvrtc.compile(SOURCE.replace("fires(c, h)", "fires(c, nothing)"), cuda.compile_options(torch.float32))


def test_structure_of_a_neuron_has_the_layout_of_the_compiler():
    for dtype, size in ((torch.float64, 80), (torch.float32, 44), (torch.float16, 44)):
        structure = cuda._structure(constants(), dtype)
        assert structure.shape == (1,)
        assert structure.dtype.itemsize == size
    assert structure.dtype["kind"] == np.int32


class _FakeCupy:
    """The part of CuPy that :class:`cuda.Card` uses: keeps what it is called with."""

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
        def function(name):
            def kernel(*arguments, **options):
                self.calls.append((name, arguments, options))

            return self.kernels.setdefault(name, kernel)

        return SimpleNamespace(get_function=function)


@pytest.mark.parametrize("release", [13, 14])
def test_kernels_are_started_through_cupy(monkeypatch, release):
    fake, device = _FakeCupy(release), torch.device("cuda", 0)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=77))
    for function in (cuda._module, cuda._kernel, cuda._shared_limit):
        function.cache_clear()
    assert cuda.card.shared_limit(device) == 99 << 10
    for shared_bytes in (0, 49 << 10):
        cuda.card.start(cuda.Launch("kernel", 3, 64, shared_bytes), torch.float32, device, [1, 2])
    assert fake.entered == [77, 77]
    grid_and_block = ((3,), (64,), (1, 2))
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
    backends._cupy_sees_a_card.cache_clear()
    on_a_gpu = SimpleNamespace(device=torch.device("cuda", 0), dtype=torch.float32)
    try:
        fused = backends.fused_neuron("auto", IFNode().step_function(), on_a_gpu)
        assert (fused is not None) == (answer is True)
        assert backends.fused_neuron("torch", IFNode().step_function(), on_a_gpu) is None
        assert backends.fused_neuron("cupy", IFNode().step_function(), on_a_gpu) is not None
    finally:
        backends._cupy_sees_a_card.cache_clear()


def test_cupy_backend_refuses_another_device(monkeypatch):
    monkeypatch.setattr(backends, "CUPY_IS_INSTALLED", True)
    with pytest.raises(
        ValueError, match="backend 'cupy' runs on an NVIDIA card, the input is on cpu: use backend 'auto'"
    ):
        IFNode(backend="cupy").forward_sequence(torch.zeros(2, 3))


def test_cupy_backend_says_when_cupy_is_missing(monkeypatch):
    monkeypatch.setattr(backends, "CUPY_IS_INSTALLED", False)
    with pytest.raises(ValueError, match=r"pip install 'snn-core\[cuda12\]'"):
        IFNode(backend="cupy")


def test_every_op_has_a_kernel_for_each_device():
    for name, key in itertools.product(ops.SCHEMAS, ("CPU", "CUDA")):
        left_to_torch = key == "CUDA" and name.startswith("linear")
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"snn_core::{name}", key) != left_to_torch
