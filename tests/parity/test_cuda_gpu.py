"""What is special about the CUDA kernels on a GPU: ``pytest -m gpu``, which runs the table of cases as well."""

from __future__ import annotations

import pytest
import torch
from test_cuda_shim import random

from snn_core.functional import explain, reset_net
from snn_core.kernels import CUPY_IS_INSTALLED
from snn_core.layer import LinearRecurrentContainer
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_core.surrogate import ATan

DEVICE = torch.device("cuda", 0)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not (torch.cuda.is_available() and CUPY_IS_INSTALLED), reason="needs an NVIDIA GPU and CuPy"
    ),
]


def layer(size: int = 40) -> LinearRecurrentContainer:
    torch.manual_seed(0)
    return LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend="cupy"), size, size).to(DEVICE)


def step(module: torch.nn.Module, x_seq: torch.Tensor) -> torch.Tensor:
    """Take a step forward and back; gradients are added up in the parameters."""
    reset_net(module)
    out = module.forward_sequence(x_seq)
    out.square().sum().backward()
    return out.detach()


def test_auto_takes_the_kernels():
    net = MultiStepIFNode()
    assert [decision.fused for decision in explain(net, torch.zeros(2, 3, device=DEVICE))] == [True]


@pytest.mark.parametrize("size", [20, 40])
def test_kernels_run_on_the_current_stream(size):
    """The input is ready only after much other work of its stream, which the default stream does not wait for."""
    x_seq, slow, module = (
        3 * random(28, 64, size, dtype=torch.float32).to(DEVICE),
        torch.rand(4096, 4096, device=DEVICE),
        layer(size),
    )
    expected = step(module, x_seq)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        late = torch.zeros_like(x_seq)
        for _ in range(50):
            slow = slow @ slow / slow.norm()
        late += x_seq
        got = step(module, late)
    stream.synchronize()
    assert torch.equal(got, expected)


@pytest.mark.parametrize("size", [20, 40, 300])
def test_no_step_waits_for_the_gpu(size):
    module, x_seq = layer(size), random(28, 64, size, dtype=torch.float32).to(DEVICE)
    step(module, x_seq)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(module, x_seq)
        MultiStepIFNode(backend="cupy")(x_seq)
    finally:
        torch.cuda.set_sync_debug_mode("default")
