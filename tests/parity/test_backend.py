"""Every fused op against the torch loop: spikes equal, gradients of every input within rounding.

Spikes of the element-wise walks are equal to the bit in every precision, since the arithmetic is the same. A recurrent
product adds in another order, so a potential that lies on the threshold to the last digit could fall on the other
side; with the fixed random inputs here that would show as an unequal spike, and none does.
"""

from __future__ import annotations

import functools
import itertools
import operator
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from unittest import mock

import numba
import pytest
import torch
from support import require
from torch import nn

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core import backend as backends
from snn_core.backend import cpu, ops
from snn_core.backend.constants import read_neuron
from snn_core.functional import reset_net, seq_to_ann_forward
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, MultiStepIFNode
from snn_core.surrogate import ATan, FastSigmoid, Rectangle, Sigmoid, SurrogateFunction, Triangle

SURROGATES = [ATan, FastSigmoid, Rectangle, Sigmoid, Triangle]
NEURONS = {
    "IF": lambda **options: IFNode(**options),
    "LIF": lambda **options: LIFNode(tau=2.5, **options),
    "LIF-whole-input": lambda **options: LIFNode(tau=2.5, decay_input=False, **options),
}
#: Relative Euclidean error of a gradient that rounding explains.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

every_neuron = pytest.mark.parametrize("kind", NEURONS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
every_reset = pytest.mark.parametrize(
    ("v_reset", "detach_reset"), list(itertools.product((0.0, -0.3, None), (False, True)))
)


@pytest.fixture(autouse=True)
def _fused():
    require(backends.NUMBA_IS_INSTALLED, "numba")


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def results(module, x_seq, state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return output, last states, and the gradients of a weighted sum of all to input, first states and weights."""
    reset_net(module)
    x_seq = x_seq.detach().requires_grad_()
    leaves = [x_seq]
    for name, value in state.items():
        owner, _, attribute = name.rpartition(".")
        leaves.append(value.detach().clone().requires_grad_())
        setattr(module.get_submodule(owner), attribute, leaves[-1] + 0)
    out = getattr(module, "forward_sequence", module)(x_seq)
    last = [getattr(module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in state]
    leaves += module.parameters()
    weights = [random(*value.shape, dtype=value.dtype, seed=7).to(value.device) for value in [out, *last]]
    loss = sum((value * weight).sum() for value, weight in zip([out, *last], weights, strict=True))
    return [out.detach(), *(value.detach() for value in last), *torch.autograd.grad(loss, leaves)]


def spy(kernel: str, kernels=cpu):
    """Count the calls of a kernel."""
    return mock.patch.object(kernels, kernel, wraps=getattr(kernels, kernel))


def assert_fused_equals_loop(
    build, x_seq, state, *, spikes=True, launched, backend="numba", device="cpu", kernels=cpu
):
    """Build with both backends, compare, and make sure that the kernel named ``launched`` of ``kernels`` really ran.

    The loop runs on the CPU whatever ``device`` the kernels are for: on a card torch divides by a number as it
    multiplies by its reciprocal, which rounds differently.
    """
    loop, fused = build(backend="torch"), build(backend=backend)
    fused.load_state_dict(loop.state_dict())
    loop, fused = loop.to(x_seq.dtype), fused.to(device, x_seq.dtype)
    expected = results(loop, x_seq, state)
    there = {name: value.to(device) for name, value in state.items()}
    with spy(launched, kernels) as forward, spy(f"{launched}_backward", kernels) as backward:
        actual = [value.cpu() for value in results(fused, x_seq.to(device), there)]
    assert forward.called
    assert backward.called
    if spikes:
        assert torch.equal(actual[0], expected[0])
        assert x_seq.numel() < 100 or 0.01 < expected[0].mean() < 0.99
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert (ours - theirs).norm() <= TOLERANCE[x_seq.dtype] * theirs.norm() + 1e-12


@every_neuron
@every_reset
@every_dtype
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_neuron(kind, v_reset, detach_reset, surrogate, dtype):
    def build(backend):
        return NEURONS[kind](
            v_reset=v_reset, detach_reset=detach_reset, surrogate_function=surrogate(), backend=backend
        )

    state = {"v": random(5, 7, dtype=dtype, seed=1)}
    assert_fused_equals_loop(build, 1.5 * random(9, 5, 7, dtype=dtype), state, launched="neuron_sequence")


@every_reset
@pytest.mark.parametrize("steps", [1, 2, 28, 784])
@pytest.mark.parametrize("at_rest", [True, False], ids=["at rest", "charged"])
@pytest.mark.parametrize("recurrent", [False, True], ids=["alone", "recurrent"])
def test_sequences_of_any_length(steps, at_rest, recurrent, v_reset, detach_reset):
    surrogate = SURROGATES[steps % len(SURROGATES)]

    def build(backend):
        torch.manual_seed(3)
        neuron = LIFNode(
            v_reset=v_reset, detach_reset=detach_reset, surrogate_function=surrogate(), backend=backend
        )
        return LinearRecurrentContainer(neuron, 5, 5) if recurrent else neuron

    v, y = ((0 if at_rest else 1) * random(3, 5, seed=seed) for seed in (1, 2))
    state = {"sub_module.v": v, "y": y} if recurrent else {"v": v}
    launched = "recurrent_neuron_sequence" if recurrent else "neuron_sequence"
    assert_fused_equals_loop(build, 3 * random(steps, 3, 5), state, launched=launched)


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 3), (28, 3, 5), (784, 2, 3), (4, 1, 1, 1025), (3, 2049), (5, 2, 3, 4, 5)]
)
def test_neuron_of_any_shape(shape):
    state = {"v": random(*shape[1:], seed=1)}
    assert_fused_equals_loop(
        lambda backend: LIFNode(surrogate_function=ATan(), backend=backend),
        2 * random(*shape), state, launched="neuron_sequence",
    )  # fmt: skip


@every_neuron
@every_reset
@every_dtype
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_linear_recurrent_container(kind, v_reset, detach_reset, surrogate, dtype):
    def build(backend):
        neuron = NEURONS[kind](
            v_reset=v_reset, detach_reset=detach_reset, surrogate_function=surrogate(), backend=backend
        )
        return LinearRecurrentContainer(neuron, 6, 6)

    state = {
        "sub_module.v": random(5, 6, dtype=dtype, seed=1),
        "y": random(5, 6, dtype=dtype, seed=2),
    }
    assert_fused_equals_loop(
        build, 3 * random(9, 5, 6, dtype=dtype), state, launched="recurrent_neuron_sequence"
    )


@pytest.mark.parametrize(
    ("steps", "batch", "size"), [(1, 1, 1), (2, 3, 1), (28, 65, 32), (28, 130, 33), (784, 2, 5), (4, 3, 130)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_recurrent_container_of_any_size(steps, batch, size, bias):
    def build(backend):
        torch.manual_seed(3)
        return LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend=backend), size, size, bias)

    state = {"sub_module.v": random(batch, size, seed=1)}
    assert_fused_equals_loop(
        build, 3 * random(steps, batch, size), state, launched="recurrent_neuron_sequence"
    )


@pytest.mark.parametrize("step", [(4,), (3, 2, 4), (2, 3, 2, 4), (0, 2, 4)], ids=str)
def test_linear_recurrent_container_with_any_leading_dimensions(step):
    def build(backend):
        torch.manual_seed(3)
        return LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend=backend), 4, 4)

    state = {"sub_module.v": random(*step, seed=1), "y": random(*step, seed=2)}
    assert_fused_equals_loop(build, 3 * random(6, *step), state, launched="recurrent_neuron_sequence")


@every_neuron
@every_reset
@every_dtype
@pytest.mark.parametrize("add", [torch.add, operator.add])
def test_element_wise_recurrent_container_that_adds(kind, v_reset, detach_reset, dtype, add):
    def build(backend):
        options = {"v_reset": v_reset, "detach_reset": detach_reset, "surrogate_function": ATan()}
        return ElementWiseRecurrentContainer(NEURONS[kind](backend=backend, **options), add)

    state = {"sub_module.v": random(5, 7, dtype=dtype, seed=1), "y": random(5, 7, dtype=dtype, seed=2)}
    assert_fused_equals_loop(build, 1.5 * random(9, 5, 7, dtype=dtype), state, launched="neuron_sequence")


@every_dtype
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("tau", [2.0, [1.5, 2.0, 100.0]], ids=["one tau", "tau per channel"])
@pytest.mark.parametrize("shape", [(9, 5, 3), (1, 2, 3), (6, 2, 3, 4, 5), (784, 1, 3)])
def test_synapse_filter(tau, learnable, shape, dtype):
    spikes = (random(*shape, dtype=dtype) > 0.5).to(dtype)
    state = {"out_i": random(*shape[1:], dtype=dtype, seed=1)}
    assert_fused_equals_loop(
        lambda backend: SynapseFilter(tau, learnable, backend=backend),
        spikes, state, spikes=False, launched="synapse_filter_sequence",
    )  # fmt: skip


def test_input_that_is_not_contiguous_is_read_as_it_stands():
    x_seq = random(4, 6, 9).permute(2, 1, 0)
    fused = MultiStepIFNode(backend="numba")
    spikes = fused(x_seq)
    reset_net(fused)
    assert torch.equal(spikes, fused(x_seq.contiguous()))
    assert torch.equal(spikes, MultiStepIFNode(backend="torch")(x_seq))


def test_gradient_that_is_not_contiguous():
    x_seq = random(5, 3, 4)
    gradients = []
    for backend in ("torch", "numba"):
        x = x_seq.clone().requires_grad_()
        MultiStepIFNode(backend=backend)(x).mean(0).sum().backward()  # an expanded gradient
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: IFNode(backend="numba"),
        lambda: LinearRecurrentContainer(IFNode(backend="numba"), 4, 4),
        lambda: SynapseFilter(2.0, True, backend="numba"),
    ],
)
def test_empty_batch(build):
    module = build()
    x_seq = torch.zeros(3, 0, 4, requires_grad=True)
    y_seq = module.forward_sequence(x_seq)
    assert y_seq.shape == (3, 0, 4)
    y_seq.sum().backward()
    assert x_seq.grad.shape == (3, 0, 4)
    assert all((p.grad == 0).all() for p in module.parameters())


@pytest.mark.parametrize(
    ("build", "state"),
    [
        (lambda: LinearRecurrentContainer(IFNode(backend="numba"), 8, 8), {"sub_module.v": (700, 8)}),
        (lambda: SynapseFilter(2.0, True, backend="numba"), {"out_i": (700, 8)}),
        (lambda: nn.Sequential(SeqToANNContainer(nn.Linear(8, 8)), MultiStepIFNode(backend="numba")), {}),
    ],
    ids=["recurrent", "synapse", "linear"],
)
def test_number_of_threads_does_not_change_a_bit(build, state):
    before, found = torch.get_num_threads(), []
    x_seq = 3 * random(20, 700, 8, dtype=torch.float32)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            found.append(results(build(), x_seq, {name: torch.zeros(shape) for name, shape in state.items()}))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_use_as_many_threads_as_torch(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        IFNode(backend="numba").forward_sequence(torch.rand(3, 4))
        assert numba.get_num_threads() == min(threads, numba.config.NUMBA_NUM_THREADS)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("needed", list(itertools.product((False, True), repeat=2)))
def test_linear_gives_the_gradients_that_are_asked_for(needed):
    x, weight = random(5, 3).requires_grad_(needed[0]), random(4, 3).requires_grad_(needed[1])
    bias = random(4).requires_grad_()
    wanted = [one for one in (x, weight, bias) if one.requires_grad]
    out, expected = ops.linear(x, weight, bias), nn.functional.linear(x, weight, bias)
    factor = random(5, 4, seed=1)
    for ours, theirs in zip(
        torch.autograd.grad(out, wanted, factor), torch.autograd.grad(expected, wanted, factor), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("backend", ["cuda", "Torch", "", None, 1, ["torch"]])
def test_unknown_backend_is_refused(backend):
    with pytest.raises(ValueError, match="backend must be one of"):
        backends.check_backend(backend)


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_leave_the_number_of_threads_of_torch_alone(threads):
    code = f"""
import torch
torch.set_num_threads({threads})
from snn_core.neuron import IFNode
IFNode(backend="numba").forward_sequence(torch.rand(3, 4000))
assert torch.get_num_threads() == {threads}, torch.get_num_threads()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_widened_inside(dtype):
    x_seq = random(28, 3, 4).to(dtype)
    narrow, wide = MultiStepIFNode(backend="numba"), MultiStepIFNode(backend="torch")
    spikes = narrow(x_seq)
    assert spikes.dtype == dtype
    assert torch.equal(spikes.float(), wide(x_seq.float()))


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_linear_recurrent_container_under_autocast_takes_a_wider_input(backend):
    container = LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend=backend), 4, 4)
    x_seq = random(6, 3, 4, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y_seq = container.forward_sequence(x_seq)
    y_seq.float().sum().backward()
    assert (x_seq.grad.dtype, container.rc.weight.grad.dtype) == (torch.float32, torch.float32)
    assert container.y.dtype == torch.float32


class _OwnTensor(torch.Tensor):
    pass


def test_subclass_of_tensor():
    x_seq = 3 * random(5, 3, 4)
    found = []
    for x in (x_seq, x_seq.as_subclass(_OwnTensor)):
        torch.manual_seed(0)
        x = x.clone().requires_grad_()
        y_seq = LinearRecurrentContainer(IFNode(backend="numba"), 4, 4).double().forward_sequence(x)
        y_seq.sum().backward()
        found.append([y_seq.detach().as_subclass(torch.Tensor), x.grad.as_subclass(torch.Tensor)])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_nan_gives_no_spike_and_stays_in_the_potential():
    x_seq = torch.tensor([[0.5], [float("nan")], [2.0]])
    for backend in ("torch", "numba"):
        node = MultiStepIFNode(backend=backend)
        assert node(x_seq).flatten().tolist() == [0, 0, 0]
        assert node.v.isnan().all()


@pytest.mark.parametrize("recurrent", [False, True])
def test_gradient_through_the_last_potential_alone(recurrent):
    """Nothing asks for the gradient of the spikes, so torch hands the backward walk none."""
    found = []
    for backend in ("torch", "numba"):
        torch.manual_seed(0)
        node = IFNode(surrogate_function=ATan(), backend=backend)
        module = (LinearRecurrentContainer(node, 4, 4) if recurrent else node).double()
        x_seq = random(6, 3, 4).requires_grad_()
        module.forward_sequence(x_seq)
        (node.v * random(3, 4, seed=1)).sum().backward()
        found.append(x_seq.grad)
    torch.testing.assert_close(*found, rtol=1e-10, atol=0)
    assert found[0].abs().max() > 0


def test_a_step_that_is_no_neuron_of_ours_has_no_constants():
    known = LIFNode(surrogate_function=ATan()).step_function()
    assert read_neuron(known) is not None
    assert read_neuron(known.func) is None
    assert read_neuron(functools.partial(lambda x, v: (x, v), **known.keywords)) is None


class _Own(SurrogateFunction):
    def derivative(self, x):
        return torch.exp(-x.abs())


@pytest.mark.parametrize(
    "neuron",
    [
        lambda backend: IFNode(surrogate_function=_Own(1.0), backend=backend),
        lambda backend: IFNode(surrogate_function=ATan(spiking=False), backend=backend),
        lambda backend: IFNode(surrogate_function=torch.sigmoid, backend=backend),
        lambda backend: IFNode(store_v_seq=True, backend=backend),
    ],
    ids=["own surrogate", "smooth surrogate", "function", "recording"],
)
@pytest.mark.parametrize("recurrent", [False, True])
def test_what_no_kernel_knows_takes_the_loop(neuron, recurrent):
    x_seq = random(6, 3, 4)
    outputs = []
    for backend in ("torch", "auto"):
        torch.manual_seed(0)
        node = neuron(backend)
        assert node.fused(x_seq) is None
        module = LinearRecurrentContainer(node, 4, 4).double() if recurrent else node
        outputs.append(module.forward_sequence(x_seq))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("function", [torch.sub, lambda x, y: x + y], ids=["another function", "lambda"])
def test_function_that_no_kernel_knows_takes_the_loop(function):
    x_seq = random(6, 3, 4)
    fused, loop = (
        MultiStepContainer(ElementWiseRecurrentContainer(IFNode(backend=backend), function))
        for backend in ("auto", "torch")
    )
    assert torch.equal(fused(x_seq), loop(x_seq))


def test_hook_on_the_neuron_inside_a_container_is_called_in_every_step():
    container = LinearRecurrentContainer(IFNode(backend="numba"), 4, 4)
    calls = []
    container.sub_module.register_forward_hook(lambda module, inputs, output: calls.append(output))
    container.forward_sequence(torch.rand(6, 3, 4))
    assert len(calls) == 6


class _Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.rc.register_forward_hook(lambda module, inputs, output: 2 * output),
        lambda layer: layer.sub_module.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],)),
        lambda layer: setattr(layer, "rc", _Doubled(8, 4)),
        lambda layer: setattr(layer, "rc", nn.utils.parametrizations.weight_norm(layer.rc)),
        lambda layer: setattr(layer, "sub_module", nn.Sequential(layer.sub_module)),
    ],
    ids=["hook on the weights", "hook on the neuron", "other weights", "parametrization", "another module"],
)
def test_recurrent_container_that_is_more_than_weights_and_a_neuron_takes_the_loop(change):
    layer = LinearRecurrentContainer(IFNode(), 4, 4)
    change(layer)
    x_seq = torch.rand(6, 3, 4)
    with spy("recurrent_neuron_sequence") as kernel:
        y_seq = layer.forward_sequence(x_seq)
    reset_net(layer)
    assert torch.equal(y_seq, torch.stack([layer(x) for x in x_seq]))
    assert not kernel.called


@pytest.mark.parametrize(
    "container",
    [LinearRecurrentContainer(IFNode(), 4, 4), ElementWiseRecurrentContainer(IFNode(), torch.add)],
)
def test_sequence_that_is_no_tensor_is_refused_by_name(container):
    with pytest.raises(TypeError, match=rf"{type(container).__name__}: .*Tensor.*list"):
        container.forward_sequence([[[0.0] * 4]])


def test_containers_take_the_fused_path_by_themselves(monkeypatch):
    monkeypatch.setattr(LinearRecurrentContainer, "forward", None)  # the loop would call it
    container = MultiStepContainer(LinearRecurrentContainer(IFNode(), 32, 32))
    assert container(torch.rand(28, 2, 32)).shape == (28, 2, 32)


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("rows", "columns_in", "columns_out"),
    [(1, 1, 1), (7, 28, 32), (300, 32, 10), (9, 5, 33), (1030, 70, 65), (0, 3, 4)],
)
def test_linear_of_any_size(rows, columns_in, columns_out, bias, dtype):
    layer = nn.Linear(columns_in, columns_out, bias).to(dtype)
    x_seq = random(2, rows, columns_in, dtype=dtype)
    found = []
    for backend in ("torch", "numba"):
        x = x_seq.clone().requires_grad_()
        with spy("linear") as forward, spy("linear_backward") as backward:
            y_seq = seq_to_ann_forward(x, layer, backend)
            loss = (y_seq * random(*y_seq.shape, dtype=dtype, seed=7)).sum()
            found.append([y_seq.detach(), *torch.autograd.grad(loss, [x, *layer.parameters()])])
        assert forward.called == backward.called == (backend == "numba")
    for theirs, ours in zip(*found, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert (ours - theirs).norm() <= TOLERANCE[dtype] * theirs.norm() + 1e-12


def test_linear_takes_input_that_is_not_contiguous():
    layer, x_seq = nn.Linear(5, 3), random(5, 4, 2, dtype=torch.float32).permute(2, 1, 0)
    torch.testing.assert_close(
        seq_to_ann_forward(x_seq, layer, "numba"), seq_to_ann_forward(x_seq, layer, "torch")
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.register_forward_hook(lambda module, inputs, output: output + 1),
        lambda layer: nn.utils.parametrizations.weight_norm(layer),
        lambda layer: layer.half(),
    ],
    ids=["hook", "parametrization", "half"],
)
def test_linear_that_is_more_than_a_product_is_called(change):
    layer = nn.Linear(5, 3)
    change(layer)
    x_seq = random(2, 4, 5).to(layer.weight.dtype)
    with spy("linear") as kernel:
        y_seq = seq_to_ann_forward(x_seq, layer)
    assert torch.equal(y_seq, layer(x_seq))
    assert not kernel.called


def test_linear_under_autocast_is_left_to_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert seq_to_ann_forward(torch.rand(2, 4, 5), nn.Linear(5, 3)).dtype == torch.bfloat16


@pytest.mark.parametrize("model", NETWORKS)
def test_networks_agree(model, embedded):
    images = embedded[1].images[:100].double() / 255
    loop, fused = (make_network(model, backend=backend).double() for backend in ("torch", "numba"))
    fused.load_state_dict(loop.state_dict())
    assert torch.equal(loop(images), fused(images))
    for net in (loop, fused):
        reset_net(net)
        net(images).square().sum().backward()
    for ours, theirs in zip(fused.parameters(), loop.parameters(), strict=True):
        assert (ours.grad - theirs.grad).norm() <= 1e-10 * theirs.grad.norm()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself
@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
@pytest.mark.parametrize("model", NETWORKS)
def test_compiled_network_equals_eager(model, compiler):
    headers = Path(sysconfig.get_paths()["include"], "Python.h").exists()
    require(
        compiler != "inductor" or (headers and shutil.which("g++") is not None), "g++ with Python's headers"
    )
    net, images = make_network(model, backend="numba"), torch.rand(6, 1, 28, 28)
    compiled = torch.compile(net, backend=compiler)
    found = []
    for function in (net, compiled):
        reset_net(net)
        net.zero_grad()
        rate = function(images)
        rate.square().sum().backward()
        found.append([rate.detach(), *(p.grad.clone() for p in net.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


CONSTANTS = read_neuron(LIFNode(surrogate_function=ATan()).step_function())


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("neuron_sequence", lambda g: (g(4, 3, 5), g(3, 5), None, *CONSTANTS)),
        ("neuron_sequence", lambda g: (g(4, 3, 5), g(3, 5), g(3, 5), *CONSTANTS)),
        ("recurrent_neuron_sequence", lambda g: (g(4, 3, 5), g(3, 5), g(3, 5), g(5, 10), g(5), *CONSTANTS)),
        ("linear", lambda g: (g(4, 3, 5), g(7, 5), g(7))),
        ("synapse_filter_sequence", lambda g: (g(4, 3, 5), g(3, 5), g(3, 5))),
    ],
)
def test_opcheck(op, arguments):
    def leaf(*shape):
        return torch.randn(*shape, requires_grad=True)

    torch.library.opcheck(getattr(torch.ops.snn_core, op).default, arguments(leaf))


@pytest.mark.parametrize("op", [name for name in ops.SCHEMAS if name.endswith("_backward")])
def test_opcheck_of_the_gradients(op):
    step, seq, weight = torch.randn(3, 5), torch.randn(4, 3, 5), torch.randn(5, 10)
    arguments = {
        "linear_backward": (seq, torch.randn(4, 3, 7), torch.randn(5, 7), True),
        "neuron_sequence_backward": (seq, step, seq, True, *CONSTANTS),
        "recurrent_neuron_sequence_backward": (seq, step, seq, seq, seq, step, weight, *CONSTANTS),
        "synapse_filter_sequence_backward": (seq, seq, seq, step, step.sigmoid()),
    }
    torch.library.opcheck(getattr(torch.ops.snn_core, op).default, arguments[op])


def test_numba_backend_refuses_another_device():
    with pytest.raises(
        ValueError, match="backend 'numba' runs on the CPU, the input is on meta: use backend 'auto'"
    ):
        IFNode(backend="numba").forward_sequence(torch.zeros(2, 3, device="meta"))


def test_numba_backend_says_when_numba_is_missing(monkeypatch):
    monkeypatch.setattr(backends, "NUMBA_IS_INSTALLED", False)
    with pytest.raises(ValueError, match="pip install numba"):
        IFNode(backend="numba")
    assert torch.equal(IFNode().forward_sequence(torch.ones(2, 3)), torch.ones(2, 3))
