"""Which calls run fused and which fall back to the loop, and what the fused operations are for torch."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from support import require
from torch import nn

from sequential_fmnist.networks import make_network
from snn_core import fuse
from snn_core.checks import Like
from snn_core.functional import reset_net, seq_to_ann_forward
from snn_core.kernels import Stage
from snn_core.layer import LinearRecurrentContainer
from snn_core.more.surrogate import Triangle
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan, SurrogateFunction


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def like(x_seq: torch.Tensor) -> Like:
    return Like(x_seq.shape[1:], x_seq.dtype, x_seq.device)


@pytest.mark.parametrize("needed", [(False, True), (True, False)])
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


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_linear_recurrent_container_under_autocast_takes_a_wider_input(backend):
    container = LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend=backend), 4, 4)
    x_seq = random(6, 3, 4, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y_seq = container.forward_sequence(x_seq)
    y_seq.float().sum().backward()
    assert (x_seq.grad.dtype, container.rc.weight.grad.dtype) == (torch.float32, torch.float32)
    assert container.y.dtype == torch.float32


class _Own(SurrogateFunction):
    def derivative(self, x):
        return torch.exp(-x.abs())


@pytest.mark.parametrize(
    "surrogate_function",
    [
        _Own(1.5),
        Triangle(spiking=False),
        lambda x: 0.3 * x,
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_surrogate_function_of_one_s_own_is_fused(surrogate_function):
    found = []
    for backend in ("torch", "auto"):
        torch.manual_seed(0)
        x_seq = (2 * random(6, 3, 4)).requires_grad_()
        node = IFNode(surrogate_function=surrogate_function, backend=backend)
        assert isinstance(fuse.read(node, like(x_seq)), Stage if backend == "auto" else str)
        module = LinearRecurrentContainer(node, 4, 4).double()
        y_seq = module.forward_sequence(x_seq)
        (y_seq * random(6, 3, 4)).sum().backward()
        found.append([y_seq.detach(), x_seq.grad, *(weight.grad for weight in module.parameters())])
    assert found[0][1].any()
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")  # of torch itself
def test_compiled_network_equals_eager():
    headers = Path(sysconfig.get_paths()["include"], "Python.h").exists()
    require(headers and shutil.which("g++") is not None, "g++ with Python's headers")
    net, images = make_network("feedback", backend="cpu"), torch.rand(6, 1, 28, 28)
    found = []
    for function in (net, torch.compile(net)):
        reset_net(net)
        net.zero_grad()
        rate = function(images)
        rate.square().sum().backward()
        found.append([rate.detach(), *(p.grad.clone() for p in net.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
