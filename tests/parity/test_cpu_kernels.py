"""What is special about the kernels for the CPU: their threads, and steps of training."""

from __future__ import annotations

import copy
import os

import pytest
import torch
from executors import small
from support_networks import output_and_gradients
from torch import nn

from sequential_fmnist.evaluate import LOSSES
from snn_core.functional import explain, reset_net, scan, train_steps
from snn_core.kernels.cpu import threads as workers
from snn_core.kernels.cpu.launch import CALL
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SynapseFilter
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan


@pytest.fixture(autouse=True)
def _same_number_of_threads_afterwards():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_number_of_threads_does_not_change_a_bit():
    found, x_seq = [], 3 * torch.randn(9, 300, 8)
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        torch.manual_seed(0)
        feedback = LinearRecurrentContainer(IFNode(backend="cpu"), 8, 8)
        module = MultiStepContainer(nn.Linear(8, 8), feedback, SynapseFilter(2.0, True, backend="cpu"))
        found.append(output_and_gradients(module, x_seq, module.parameters()))
        reset_net(module)
        train_steps(module, x_seq, torch.arange(300) % 8, torch.optim.Adam(module.parameters()), clip=1e-3)
        found[-1] += module.parameters()
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.fixture
def taking_part(monkeypatch) -> list[int]:
    """How many threads take part in each job from here on."""
    seen, real = [], workers.run

    def run(kernel, call, *others):
        real(kernel, call, *others)
        seen.append(call[CALL["THREADS"]])
        assert call[CALL["COUNTER"]] >= call[CALL["ITEMS"]]

    monkeypatch.setattr(workers, "run", run)
    monkeypatch.setattr(workers, "_team", None)  # one that nobody was late in
    return seen


@pytest.mark.parametrize("number", [4, 2, 1])
def test_a_job_has_as_many_threads_as_torch(taking_part, number):
    torch.set_num_threads(number)
    for _ in range(20):
        IFNode(backend="cpu").forward_sequence(torch.rand(10, 50_000))
    assert taking_part[0] == (number if workers._parallel()[0] else 1)
    assert set(taking_part) <= {1, number}  # after one was late the caller works alone
    assert torch.get_num_threads() == number


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_works_alone():
    """The threads of its parent stay behind: waiting for them would never end."""
    torch.set_num_threads(2)
    x_seq = torch.rand(20, 5000, 2)
    expected = IFNode(backend="cpu").forward_sequence(x_seq)
    process = os.fork()
    if process == 0:
        found = IFNode(backend="cpu").forward_sequence(x_seq)
        torch.set_num_threads(1)  # torch's own threads stayed behind as well
        os._exit(0 if torch.equal(found, expected) and workers._team.parallel == 0 else 1)
    assert os.waitpid(process, 0)[1] == 0


def every_kind() -> nn.Sequential:
    """Return all kinds of stages."""
    recurrent = LinearRecurrentContainer(IFNode(), 4, 4)
    return nn.Sequential(nn.Linear(3, 4), recurrent, SynapseFilter(2.0, learnable=True), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("keeps", "optimizer", "clip", "loss"),
    [
        (False, torch.optim.SGD, None, "cross-entropy"),
        (False, torch.optim.Adam, 0.01, "mse"),
        (True, torch.optim.SGD, 0.01, "mse"),
        (True, torch.optim.Adam, None, "cross-entropy"),
    ],
)
def test_steps_in_small_blocks_are_those_of_torch(keeps, optimizer, clip, loss):
    """Of several blocks, segments and pieces."""
    one = every_kind().double()
    other, x_seq = copy.deepcopy(one), 2 * torch.rand(7, 5, 3, dtype=torch.float64)
    labels, index = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([[4, 0, 2], [1, 1, 3]])
    settings = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    own, theirs = (optimizer(net.parameters(), **settings) for net in (one, other))
    with small(keeps, segments=not keeps):
        found = train_steps(one, x_seq, labels, own, loss, index, clip)
    for step, chosen in enumerate(index):
        theirs.zero_grad()
        y = scan(x_seq[:, chosen], *other, backend="torch").mean(0)
        expected = LOSSES[loss](y, labels[chosen])
        expected.backward()
        if clip is not None:
            assert nn.utils.clip_grad_norm_(other.parameters(), clip) > clip
        theirs.step()
        reset_net(other)
        assert found.losses[step].item() == pytest.approx(expected.item())
        assert found.right[step] == (y.argmax(1) == labels[chosen]).sum()
    assert not found.bad.any()
    for ours, others in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, others, rtol=1e-9, atol=1e-12)
        assert own.state[ours].keys() == theirs.state[others].keys()
        for name, kept in own.state[ours].items():
            torch.testing.assert_close(kept, theirs.state[others][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("features", [129, 520])
def test_layers_whose_weights_are_packed_for_their_gradient(features):
    """The table of cases has small layers alone."""
    torch.manual_seed(0)
    x_seq, found = 2 * torch.rand(3, 70 if features < 500 else 130, features, dtype=torch.float64), []
    one = nn.Sequential(nn.Linear(features, features), LinearRecurrentContainer(IFNode(), features, features))
    for backend in ("auto", "torch"):
        net = MultiStepContainer(*copy.deepcopy(one).double())
        net[1].sub_module.backend = backend
        if backend == "torch":
            net[0].register_forward_hook(lambda *_: None)  # so torch multiplies
        found.append(output_and_gradients(net, x_seq, net.parameters()))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_what_returns_its_input_does_not_cut_a_scan(dtype):
    """Identity, and dropout in evaluation; in training dropout is torch's own."""
    torch.manual_seed(0)
    neuron, same = IFNode(surrogate_function=ATan()), nn.Identity()
    layers = [
        same,
        SynapseFilter(3.0),
        nn.Dropout(0.5),
        neuron,
        nn.AlphaDropout(),
        same,
        nn.Linear(6, 5),
        nn.Dropout(),
    ]
    feedback = LinearRecurrentContainer(IFNode(), 6, 6)
    net = MultiStepContainer(*layers, nn.Linear(5, 6), feedback, nn.Dropout()).to(dtype).eval()
    x_seq, found = 2 * torch.rand(9, 4, 6, dtype=dtype), []
    assert {(part.fused, part.scan) for part in explain(net, x_seq)} == {(True, 1)}
    for backend in ("auto", "torch"):
        x = x_seq.clone().requires_grad_()
        reset_net(net)
        y = scan(x, *net, backend=backend)
        found.append([y, *torch.autograd.grad(y.sum(), [x, *net.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(found[0][0], found[1][0])
    handle = same.register_forward_hook(lambda *_: found.append("called"))
    net(x_seq)
    handle.remove()
    assert found[2:] == ["called"] * 2  # it is there twice
    net.train()
    assert [part.fused for part in explain(net, x_seq)].count(False) == 4
