"""What is special about the kernels for the CPU: their threads."""

from __future__ import annotations

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
import torch
from executors import compiled, interpreted
from support_networks import output_and_gradients
from torch import nn

from sequential_fmnist.evaluation import LOSSES
from snn_core.functional import reset_net, seq_to_ann_forward
from snn_core.kernels import deferred
from snn_core.kernels.cpu import scan as kernels
from snn_core.kernels.cpu import threads as workers
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SeqToANNContainer, SynapseFilter
from snn_core.neuron import IFNode, MultiStepIFNode


@pytest.fixture(autouse=True)
def _fused():
    with compiled():
        yield


@pytest.mark.parametrize(
    "build",
    [
        lambda: MultiStepContainer(LinearRecurrentContainer(IFNode(backend="numba"), 8, 8)),
        lambda: MultiStepContainer(SynapseFilter(2.0, True, backend="numba")),
        lambda: nn.Sequential(SeqToANNContainer(nn.Linear(8, 8)), MultiStepIFNode(backend="numba")),
    ],
    ids=["recurrent", "synapse", "linear"],
)
def test_number_of_threads_does_not_change_a_bit(build):
    before, found = torch.get_num_threads(), []
    x_seq = 3 * torch.randn(20, 700, 8)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            module = build()
            found.append(output_and_gradients(module, x_seq, module.parameters()))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_leave_the_number_of_threads_of_torch_alone(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        IFNode(backend="numba").forward_sequence(torch.rand(3, 4000))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_one_thread_of_torch_is_one_thread():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with mock.patch.object(workers._threads, "wake", side_effect=AssertionError):
            IFNode(backend="numba").forward_sequence(torch.rand(3, 4000))
    finally:
        torch.set_num_threads(before)


def test_no_more_threads_join_a_job_than_there_is_scratch_for(monkeypatch):
    """Though an earlier job woke more, which still look for work."""
    seen, real, before = [], workers.run, torch.get_num_threads()

    def run(function, arguments, *others):
        real(function, arguments, *others)
        seen.append(int(arguments[kernels.THREADS]))

    monkeypatch.setattr(workers, "run", run)
    monkeypatch.setattr(workers, "MOST_LOOKS", 1 << 60)  # nobody works alone
    try:
        for number in (4, 2):
            torch.set_num_threads(number)
            seen.clear()
            for _ in range(20):
                IFNode(backend="numba").forward_sequence(torch.rand(100, 100_000))
            assert max(seen) <= number
        assert max(seen) == 2  # others did look
    finally:
        torch.set_num_threads(before)


def test_threads_of_python_run_kernels_side_by_side():
    x_seq, layer = torch.rand(20, 300, 8), LinearRecurrentContainer(IFNode(backend="numba"), 8, 8)

    def run(_: int) -> torch.Tensor:
        return copy.deepcopy(layer).forward_sequence(x_seq)

    expected = run(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(one, expected) for one in pool.map(run, range(40)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    """Those of its parent stay behind: waiting for them would never end."""
    x_seq = torch.rand(20, 5000, 2)
    expected = IFNode(backend="numba").forward_sequence(x_seq)
    process = os.fork()
    if process == 0:
        torch.set_num_threads(2)
        found = IFNode(backend="numba").forward_sequence(x_seq)
        torch.set_num_threads(1)  # torch's own threads stayed behind as well
        same = torch.equal(found, expected)
        os._exit(0 if same and workers._threads.process == os.getpid() else 1)
    assert os.waitpid(process, 0)[1] == 0


class Small(nn.Module):
    """All kinds of stages, on sequences ``[N, T, 3]``."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 4), nn.Linear(4, 3)
        self.rc = MultiStepContainer(LinearRecurrentContainer(IFNode(), 4, 4))
        self.sy = MultiStepContainer(SynapseFilter(2.0, learnable=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.sy(self.rc(seq_to_ann_forward(x.transpose(0, 1), self.fc1)))
        return seq_to_ann_forward(hidden, self.fc2)[1:].mean(0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_steps_that_python_runs_are_those_of_torch(optimizer, clip, loss):
    """Of several segments, blocks and pieces, with every index checked."""
    torch.manual_seed(0)
    one = Small().double()
    other, x = copy.deepcopy(one), 2 * torch.rand(5, 7, 3, dtype=torch.float64)
    labels, index = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([[4, 0, 2], [1, 1, 3]])
    settings = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    own, theirs = (optimizer(net.parameters(), **settings) for net in (one, other))
    with interpreted():
        found = deferred.train(deferred.call(one, x), labels, loss, own, clip, index)
        lost, _ = deferred.evaluate(deferred.call(one, x), labels, loss)
    for step, chosen in enumerate(index):
        theirs.zero_grad()
        expected = LOSSES[loss](other(x[chosen]), labels[chosen])
        expected.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(other.parameters(), clip)
        theirs.step()
        reset_net(other)
        assert found.losses[step].item() == pytest.approx(expected.item())
    assert lost == pytest.approx(LOSSES[loss](other(x), labels).item())
    for ours, others in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, others, rtol=1e-9, atol=1e-12)
