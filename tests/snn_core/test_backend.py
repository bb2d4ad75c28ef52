"""Which calls run fused and which take the loop, and what the fused operations are for torch."""

from __future__ import annotations

import itertools
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import torch
from support import require
from torch import nn

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core import fuse
from snn_core import kernels as backends
from snn_core.cells import IF
from snn_core.checks import Like
from snn_core.functional import reset_net, seq_to_ann_forward
from snn_core.kernels import plan
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.limits import MOST_PARAMETERS, MOST_STATES
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, LINode
from snn_core.surrogate import ATan, Erf, FastSigmoid, Rectangle, Sigmoid, SurrogateFunction, Triangle


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def like(x_seq: torch.Tensor) -> Like:
    return Like(x_seq.shape[1:], x_seq.dtype, x_seq.device)


def spy():
    """Count the calls of the kernels."""
    return mock.patch.object(cpu, "forward", wraps=cpu.forward)


@pytest.mark.parametrize("needed", list(itertools.product((False, True), repeat=2)))
def test_linear_gives_the_gradients_that_are_asked_for(needed):
    layer = nn.Linear(3, 4).double()
    layer.weight.requires_grad_(needed[1])
    x = random(2, 5, 3).requires_grad_(needed[0])
    wanted = [one for one in (x, *layer.parameters()) if one.requires_grad]
    factor = random(2, 5, 4, seed=1)
    for ours, theirs in zip(
        torch.autograd.grad(seq_to_ann_forward(x, layer), wanted, factor),
        torch.autograd.grad(layer(x), wanted, factor),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("backend", ["cuda", "Torch", "", None, 1, ["torch"]])
def test_unknown_backend_is_refused(backend):
    with pytest.raises(ValueError, match="backend must be one of"):
        backends.check_backend(backend)


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


@dataclass(eq=False)
class _Doubling(IF):
    def charge(self, x, v):
        return v + 2 * x


class _DoublingNode(IFNode):
    def cell(self, like):
        return _Doubling(self.v_threshold, self.v_reset, self.surrogate_function, self.detach_reset)


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_cell_of_one_s_own_is_fused(recurrent):
    x_seq, node = random(6, 3, 4), _DoublingNode()
    layer = LinearRecurrentContainer(node, 4, 4).double() if recurrent else node
    assert type(fuse.read(layer, like(x_seq))) is fuse.Part
    y_seq = layer.forward_sequence(x_seq)
    reset_net(layer)
    assert torch.equal(y_seq, torch.stack([layer(x) for x in x_seq]))
    if not recurrent:
        assert torch.equal(y_seq, IFNode().forward_sequence(2 * x_seq))


class _Own(SurrogateFunction):
    def derivative(self, x):
        return torch.exp(-x.abs())


class _Randomly(SurrogateFunction):
    def derivative(self, x):
        return torch.rand_like(x) * 0


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(
    "surrogate_function",
    [
        _Own(1.5),
        *(kind(spiking=False) for kind in (ATan, Erf, FastSigmoid, Rectangle, Sigmoid, Triangle)),
        torch.sigmoid,
        lambda x: 0.3 * x,
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_surrogate_function_of_one_s_own_is_fused(surrogate_function, recurrent):
    found = []
    for backend in ("torch", "auto"):
        torch.manual_seed(0)
        x_seq = (2 * random(6, 3, 4)).requires_grad_()
        node = IFNode(surrogate_function=surrogate_function, backend=backend)
        assert isinstance(fuse.read(node, like(x_seq)), fuse.Part if backend == "auto" else str)
        module = LinearRecurrentContainer(node, 4, 4).double() if recurrent else node
        y_seq = module.forward_sequence(x_seq)
        (y_seq * random(6, 3, 4)).sum().backward()
        found.append([y_seq.detach(), x_seq.grad, *(weight.grad for weight in module.parameters())])
    assert found[0][1].any()
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


def _scaled(x):
    return SCALE * x


SCALE = 0.5


@pytest.mark.parametrize(
    "neuron",
    [
        lambda backend: IFNode(surrogate_function=_Randomly(1.0), backend=backend),
        lambda backend: IFNode(surrogate_function=_scaled, backend=backend),
        lambda backend: IFNode(surrogate_function=nn.Softsign(), backend=backend),
    ],
    ids=["not of its argument alone", "function with a global", "module"],
)
@pytest.mark.parametrize("recurrent", [False, True])
def test_what_no_kernel_knows_takes_the_loop(neuron, recurrent):
    x_seq = random(6, 3, 4)
    outputs = []
    for backend in ("torch", "auto"):
        torch.manual_seed(0)
        node = neuron(backend)
        assert type(fuse.read(node, like(x_seq))) is str
        module = LinearRecurrentContainer(node, 4, 4).double() if recurrent else node
        outputs.append(module.forward_sequence(x_seq))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    "function",
    [
        torch.sub,
        torch.maximum,
        lambda x, y: x + y,
        lambda x, y: x - 0.5 * y + x * y,
        lambda x, y: SCALE * x + y,
    ],
)
def test_any_element_wise_function_gives_what_the_loop_gives(function):
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
        lambda layer: setattr(layer, "sub_module", nn.Sequential(layer.sub_module, nn.Identity())),
    ],
    ids=["hook on the weights", "hook on the neuron", "other weights", "parametrization", "another module"],
)
def test_recurrent_container_that_is_more_than_weights_and_a_neuron_takes_the_loop(change):
    layer = LinearRecurrentContainer(IFNode(), 4, 4)
    change(layer)
    x_seq = torch.rand(6, 3, 4)
    with spy() as kernel:
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
    with spy() as kernel:
        y_seq = seq_to_ann_forward(x_seq, layer)
    assert torch.equal(y_seq, layer(x_seq))
    assert not kernel.called


def test_linear_under_autocast_is_left_to_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert seq_to_ann_forward(torch.rand(2, 4, 5), nn.Linear(5, 3)).dtype == torch.bfloat16


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


def _parts() -> list[fuse.Part]:
    """Return a plan of everything: 7 features to 3, for samples of two neurons each."""
    modules = [
        nn.Linear(7, 5),
        LIFNode(surrogate_function=ATan()),
        SynapseFilter([1.5, 2.0, 3.0, 4.0, 5.0], learnable=True),
        LinearRecurrentContainer(IFNode(), 5, 5, bias=False),
        ElementWiseRecurrentContainer(IFNode(v_reset=None), torch.add),
        nn.Linear(5, 3),
    ]
    shapes = [(2, 7), *[(2, 5)] * 5]
    return [
        fuse.read(module, Like(shape, torch.float32, torch.device("cpu")))
        for module, shape in zip(modules, shapes, strict=True)
    ]


def merged(parts: list[fuse.Part]) -> list[fuse.Part]:
    return [fuse.in_series(group) for group in fuse.merged(parts)]


def test_neighbours_are_one_stage_as_far_as_a_kernel_has_room():
    assert [part.stage.states for part in merged(_parts())] == [0, 2, 1, 2, 0]
    like = Like((2, 5), torch.float32, torch.device("cpu"))
    seven = [fuse.read(LINode(), like) for _ in range(MOST_STATES + 1)]
    assert [part.stage.states for part in merged(seven)] == [MOST_STATES, 1]
    learned = [fuse.read(SynapseFilter([2.0] * 5, learnable=True), like) for _ in range(MOST_PARAMETERS + 2)]
    assert [part.stage.parameters for part in merged(learned)] == [MOST_PARAMETERS, 2]


@pytest.mark.parametrize("gradient", [False, True])
def test_opcheck(gradient):
    parts = _parts()
    tensors: list[torch.Tensor | None] = []
    for part in parts:
        tensors += [None] * (part.stage.states + (part.stage.feedback > 0))
        tensors += [None if one is None else one.detach() for one in (*part.weights, *part.parameters)]
    numbers = [number for part in parts for number in part.numbers]
    stages = [part.stage._replace(stored=(1 << part.stage.states) - 1) for part in parts]
    x_seq, flat = torch.randn(4, 2, 7), (*plan.flat(stages), numbers)
    if gradient:
        *_, seqs, borders = torch.ops.snn_core.scan(x_seq, tensors, *flat)
        assert len(seqs) > 0
        arguments = (torch.randn(4, 2, 3), None, torch.randn_like(seqs), x_seq, borders, tensors, *flat, True)
        torch.library.opcheck(torch.ops.snn_core.scan_backward.default, arguments)
    else:
        leaves = [None if one is None else one.requires_grad_() for one in tensors]
        torch.library.opcheck(torch.ops.snn_core.scan.default, (x_seq.requires_grad_(), leaves, *flat))


def test_numba_backend_refuses_another_device():
    with pytest.raises(
        ValueError, match="backend 'numba' runs on the CPU, the input is on meta: use backend 'auto'"
    ):
        IFNode(backend="numba").forward_sequence(torch.zeros(2, 3, device="meta"))
