"""The CUDA kernels on a card: ``pytest -m gpu``. Deselected otherwise, since most machines have none."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support_cuda import Parity
from test_backend import CONSTANTS, random, results

from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.training import fit
from snn_core.backend import CUPY_IS_INSTALLED, cuda, ops
from snn_core.functional import reset_net
from snn_core.layer import LinearRecurrentContainer
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_core.surrogate import ATan

CARD = torch.device("cuda", 0)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not (torch.cuda.is_available() and CUPY_IS_INSTALLED), reason="needs an NVIDIA card and CuPy"
    ),
]


class TestParity(Parity):
    @pytest.fixture
    def target(self):
        return {"backend": "cupy", "device": CARD, "kernels": cuda}

    @pytest.mark.parametrize(("batch", "size"), [(65, 512), (33, 1024), (3, 1500)])
    def test_many_neurons(self, target, batch, size):
        self.check_recurrent(target, 4, batch, size)


def layer(size: int = 40) -> LinearRecurrentContainer:
    torch.manual_seed(0)
    return LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend="cupy"), size, size).to(CARD)


def step(module: torch.nn.Module, x_seq: torch.Tensor) -> torch.Tensor:
    """Take a step forward and back; gradients are added up in the parameters."""
    reset_net(module)
    out = module.forward_sequence(x_seq)
    out.square().sum().backward()
    return out.detach()


def test_auto_takes_the_kernels():
    assert IFNode().fused(torch.zeros(2, 3, device=CARD)) is not None


@pytest.mark.parametrize("size", [20, 40])
def test_kernels_run_on_the_current_stream(size):
    """The input is ready only after much other work of its stream, which the default stream does not wait for."""
    x_seq, slow, module = (
        3 * random(28, 64, size, dtype=torch.float32).to(CARD),
        torch.rand(4096, 4096, device=CARD),
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
def test_no_step_waits_for_the_card(size):
    module, x_seq = layer(size), random(28, 64, size, dtype=torch.float32).to(CARD)
    step(module, x_seq)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(module, x_seq)
        MultiStepIFNode(backend="cupy")(x_seq)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("size", [20, 40, 300])
def test_a_step_is_captured_in_a_cuda_graph(size):
    module, x_seq = layer(size), 3 * random(28, 64, size, dtype=torch.float32).to(CARD)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(module, x_seq)
    torch.cuda.current_stream().wait_stream(side)
    module.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(module, x_seq)
    x_seq.copy_(3 * random(28, 64, size, dtype=torch.float32, seed=9))
    graph.replay()
    other = layer(size)
    assert torch.equal(captured, step(other, x_seq))
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast(dtype):
    module, x_seq = layer(), random(28, 64, 40, dtype=torch.float32).to(CARD)
    with torch.autocast("cuda", dtype):
        out = step(module, x_seq)
    assert out.dtype == dtype
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in module.parameters())


def test_card_and_cpu_kernels_agree_in_single_precision():
    x_seq, state = (
        3 * random(28, 64, 40, dtype=torch.float32),
        {"sub_module.v": random(64, 40, dtype=torch.float32)},
    )
    found = []
    for backend, device in (("numba", torch.device("cpu")), ("cupy", CARD)):
        torch.manual_seed(0)
        module = LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend=backend), 40, 40).to(
            device
        )
        there = {name: value.to(device) for name, value in state.items()}
        found.append([value.cpu() for value in results(module, x_seq.to(device), there)])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize(
    "op", [name for name in ops.SCHEMAS if hasattr(cuda, name) and not name.endswith("_backward")]
)
def test_opcheck(op):
    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=CARD, requires_grad=True)

    arguments = {
        "neuron_sequence": (leaf(4, 3, 5), leaf(3, 5), leaf(3, 5), *CONSTANTS),
        "recurrent_neuron_sequence": (
            leaf(4, 3, 5),
            leaf(3, 5),
            leaf(3, 5),
            leaf(5, 10),
            leaf(5),
            *CONSTANTS,
        ),
        "synapse_filter_sequence": (leaf(4, 3, 5), leaf(3, 5), leaf(3, 5)),
    }
    torch.library.opcheck(getattr(torch.ops.snn_core, op).default, arguments[op])


@pytest.mark.parametrize("opt", ["sgd", "adam"])
@pytest.mark.parametrize("model", NETWORKS)
def test_training_through_a_graph_equals_training_without(few, model, opt):
    config = TrainingConfig(model=model, epochs=3, batch_size=60, opt=opt, lr=0.01, device="cuda")
    net, history = fit(config, *few)
    graphed, graphed_history = fit(dataclasses.replace(config, cuda_graph=True), *few)
    assert [record["train_loss"] for record in graphed_history] == pytest.approx(
        [record["train_loss"] for record in history], rel=1e-4
    )
    for ours, theirs in zip(graphed.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
