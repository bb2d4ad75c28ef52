"""``plan.cu`` without a GPU: threads in any order, plans of several launches, compiled for six architectures.

``tests/support/cuda_shim`` gives the file what it needs of CUDA, and runs the threads of a block in a random order.
The table of cases runs there too, see test_parity.py. What must be run on a GPU is in test_cuda_gpu.py.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import NEURONS, SURROGATES, not_symmetric
from memory_cases import CHAINS, FILTERS, filtering, numbers, spiking
from support import require
from support_cuda import Nvrtc, on_the_shim
from support_networks import our_library
from torch import nn

from snn_core import functional, fuse, synapse
from snn_core import kernels as backends
from snn_core import neuron as neurons
from snn_core.checks import Like
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.limits import MOST_CONSTANTS, MOST_PARAMETERS, MOST_STATES
from snn_core.kernels.plan import Plan, plan_for
from snn_core.kernels.record.equations import Code
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_core.more import neuron as more
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan

HALVES = [torch.float16, torch.bfloat16]
ARCHITECTURES = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90"]


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def planned(modules: list[nn.Module], x_seq: torch.Tensor) -> Plan:
    """Return the plan of modules that take ``[T, N, *]``."""
    run, reason = fuse.read_all(modules, fuse.like_of(x_seq))
    assert not reason
    return plan_for(run, x_seq)


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
    """Return layers with delays."""
    torch.manual_seed(0)
    return list(CHAINS["chain of neurons"](our_library()))


def delayed_alone() -> list[nn.Module]:
    """Return a layer between whose steps lies no barrier of another one."""
    torch.manual_seed(0)
    neuron = IFNode(surrogate_function=ATan())
    return [DelayedRecurrentContainer(neuron, 9, 9, 3, torch.linspace(1, 3, 9), learn_delays=True)]


NETWORKS = {"last outputs": network, "delays": delayed_network, "delays alone": delayed_alone}
each_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def results(modules: list[nn.Module], x_seq: torch.Tensor) -> list[torch.Tensor]:
    """Return all results of a scan forward and back."""
    net = nn.ModuleList(modules)
    functional.reset_net(net)
    x_seq = x_seq.detach().requires_grad_()
    found = [functional.scan(x_seq, *net), *functional.states(net).values()]
    needed = [
        one for one in found if one.requires_grad
    ]  # what is left of a refractory period has no gradient
    weights = [random(*one.shape, seed=3) for one in needed]
    leaves = [x_seq, *[one for one in net.parameters() if one.requires_grad]]
    gradients = torch.autograd.grad(needed, leaves, weights)
    return [one.detach() for one in (*found, *gradients)]


def network_results(build: Callable[[], list[nn.Module]] = network) -> list[torch.Tensor]:
    modules = [module.double() for module in build()]
    return results(modules, 3 * random(5, 5, modules[0].in_features))


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def shim(monkeypatch):
    """The CPU in the place of a GPU."""
    with on_the_shim() as device:
        monkeypatch.setattr(device, "launches", [])
        yield device


@each_network
def test_a_network_is_one_launch(shim, build):
    network_results(build)
    assert [launch.kernel for launch in shim.launches] == ["forward_pass", "backward_pass"]


@pytest.mark.parametrize(
    ("build", "limit"),
    [(network, 3000), (network, 1800), (delayed_network, 1500)],
)
def test_a_plan_that_does_not_fit_is_taken_in_groups(shim, monkeypatch, build, limit):
    whole = network_results(build)
    shim.launches.clear()
    monkeypatch.setattr(shim, "limit", limit)
    for found, expected in zip(network_results(build), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert len(shim.launches) > 2
    assert all(launch.shared_bytes <= limit for launch in shim.launches)


@each_network
def test_order_in_which_threads_run_does_not_change_a_bit(shim, monkeypatch, build):
    expected = network_results(build)
    for seed in (1, 2):
        monkeypatch.setattr(shim, "seed", seed)
        assert equal(network_results(build), expected)


@pytest.mark.parametrize("dtype", [*cuda.SCALARS], ids=str)
def test_launch_fits_every_size(dtype):
    for size, limit in itertools.product((1, 32, 33, 128, 200, 512, 1024, 2048), (96 << 10, 227 << 10)):
        plan = planned(
            [LinearRecurrentContainer(IFNode(), size, size).to(dtype)], torch.zeros(1, 1, size, dtype=dtype)
        )
        (group,) = cuda.groups(plan, limit)
        assert group.shared_bytes <= limit
        assert group.threads % 32 == 0
        assert min(size, cuda.THREADS) <= group.threads <= cuda.THREADS
        itemsize = 8 if dtype == torch.float64 else 4
        assert group.samples == (4 if 24 * size * itemsize <= limit else 1)


def test_launch_says_when_delays_are_too_long(shim, monkeypatch):
    """Before it comes to that, a network falls back to the loop."""
    monkeypatch.setattr(shim, "limit", 48 << 10)
    module, x_seq = DelayedRecurrentContainer(IFNode(), 200, 200, 30), torch.zeros(30, 1, 200)
    (kind,) = planned([module], x_seq).kinds
    like = Like(torch.Size((1, 200)), torch.float32, torch.device("cuda", 0))
    message = "need 77,600 bytes of shared memory, the device has 49,152: use fewer, or a smaller max_delay$"
    assert re.search(message, backends.why_too_large(kind, like))
    monkeypatch.setattr(shim, "limit", 80_000)
    assert backends.why_too_large(kind, like) == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_structure_has_the_size_that_the_compiler_gives_it(shim, dtype):
    plan = planned(neuron(), random(2, 3, 1, dtype=dtype))
    (group,) = cuda.groups(plan, shim.limit)
    words = cuda._words(group, dtype.itemsize)
    assert words.nbytes == shim.library(dtype, group.cells).shim_plan_bytes()
    assert words.nbytes <= 4096  # the most that a kernel takes by value


def cells() -> list[nn.Module]:
    """Return neurons and synapses of every class, some with as many parameters and states as they may have.

    Each surrogate function and each reset is there. Of twice as many cells NVRTC would take four times as long.
    """
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
    plain = [
        getattr(more if hasattr(more, name) else neurons, name)(**options)
        for name, options in NEURONS.values()
    ]
    fed_back = library.element_wise_recurrent(
        spiking(library, "ALIF", "trained", refractory=1), not_symmetric, numbers("trained", (0.1, 0.5), (3,))
    )
    return [
        *firing,
        *plain,
        fed_back,
        *(filtering(library, kind, "each trained", (3,)) for kind in FILTERS),
        SynapseFilter(),
    ]


def programs() -> tuple[Code, ...]:
    """Return the code of cells."""
    like = Like(torch.Size((2, 3)), torch.float32, torch.device("cpu"))
    return tuple(dict.fromkeys(fuse.read(one, like).kind.program.code for one in cells()))


def test_every_class_has_a_program_that_is_compiled():
    kinds = {type(part) for module in cells() for part in module.modules()}
    names = {name for name in neurons.__all__ if not name.startswith("MultiStep")} | {*synapse.__all__}
    names |= {"DoubleExponentialSynapse"}
    assert names - {"SpikingNeuron", "StatefulSynapse"} <= {kind.__name__ for kind in kinds}
    every = programs()
    assert max(program.parameters for program in every) == 5 <= MOST_PARAMETERS
    assert max(program.states for program in every) == 4 <= MOST_STATES
    assert max(program.constants for program in every) <= MOST_CONSTANTS


@pytest.fixture(scope="session")
def nvrtc():
    require(Nvrtc.path() is not None, "the wheel nvidia-cuda-nvrtc-cu12")
    return Nvrtc()


@pytest.mark.parametrize(
    ("dtype", "architecture"),
    [
        pytest.param(*one, marks=[pytest.mark.nightly] * (number > 0), id=" ".join(map(str, one)))
        for number, one in enumerate(itertools.product(cuda.SCALARS, ARCHITECTURES))
    ],
)
def test_nvrtc_compiles_every_kernel(nvrtc, dtype, architecture):
    # The last two as CuPy does.
    options = [*cuda.compile_options(dtype), "-ftz=true", f"-arch={architecture}"]
    code, _, log = nvrtc.compile(cuda.source(programs()), [*options, "--ptxas-options=-v"])
    compiled = re.findall(r"Compiling entry function '(\w+)'", log)
    assert sorted(compiled) == ["backward_pass", "forward_pass"]
    assert code.startswith(b"\x7fELF")
    assert "error" not in log
    assert [line for line in log.splitlines() if "warning" in line and "deprecated" not in line] == []
    # A block of the largest size must find its registers; releases differ by a handful that is spilled. A copy of the
    # structure, which every thread would make, would not be so small.
    registers = re.findall(r"Used (\d+) registers", log)
    assert len(registers) == 2
    assert all(int(used) <= 65536 // cuda.THREADS for used in registers)
    assert all(int(size) <= 128 for size in re.findall(r"(\d+) bytes (?:stack frame|spill stores)", log))


def test_cells_are_compiled_without_fused_multiply_add(nvrtc):
    """Spikes equal those of the loop to the bit only so; the products ask for it, here under another name.

    Only LIF neurons with a tau that is not trained divide, and that must round to the nearest.
    """
    options = [*cuda.compile_options(torch.float32), "-Dfma(a,b,c)=((a)-(b)-(c))"]
    _, ptx, _ = nvrtc.compile(cuda.source(programs()[::4]), [*options, "-arch=sm_80"])
    (forward,) = re.findall(r"\.entry forward_pass\(.*?^}", ptx, re.DOTALL | re.MULTILINE)
    assert ("fma" in forward, "mul" in forward, "div.rn" in forward) == (False, True, True)


@pytest.mark.parametrize("sees", [True, False])
def test_auto_takes_cupy_only_where_it_sees_a_gpu(monkeypatch, sees):
    fake = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: sees))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(backends, "CUPY_IS_INSTALLED", True)
    backends._cupy_sees_a_gpu.cache_clear()
    why_not = backends.why_not.__wrapped__  # without what it has kept
    on_a_gpu = torch.device("cuda", 0), torch.float32
    try:
        assert (why_not("auto", *on_a_gpu) == "") == sees
        assert why_not("cupy", *on_a_gpu) == ""
    finally:
        backends._cupy_sees_a_gpu.cache_clear()
