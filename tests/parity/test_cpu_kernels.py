"""What is special about the kernels for the CPU: their threads, and steps of training."""

from __future__ import annotations

import copy
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from executors import interpreted
from support_networks import output_and_gradients
from torch import nn

from sequential_fmnist.evaluate import LOSSES
from snn_core.functional import reset_net, scan, train_steps
from snn_core.kernels.cpu import scan as kernels
from snn_core.kernels.cpu import threads as workers
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SeqToANNContainer, SynapseFilter
from snn_core.neuron import IFNode, MultiStepIFNode


@pytest.fixture(autouse=True)
def _same_number_of_threads_afterwards():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


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
    found, x_seq = [], 3 * torch.randn(20, 700, 8)
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        torch.manual_seed(0)
        module = build()
        found.append(output_and_gradients(module, x_seq, module.parameters()))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.fixture
def taking_part(monkeypatch) -> list[int]:
    """How many threads take part in each job from here on."""
    seen, real = [], workers.run

    def run(function, arguments, *others):
        real(function, arguments, *others)
        seen.append(arguments[kernels.THREADS])
        assert arguments[kernels.COUNTER] >= arguments[kernels.ITEMS]

    monkeypatch.setattr(workers, "run", run)
    monkeypatch.setattr(workers, "_team", None)  # one that nobody was late in
    return seen


@pytest.mark.parametrize("number", [4, 2, 1])
def test_a_job_has_as_many_threads_as_torch(taking_part, number):
    torch.set_num_threads(number)
    for _ in range(20):
        IFNode(backend="numba").forward_sequence(torch.rand(10, 50_000))
    assert taking_part[0] == (number if workers._parallel() else 1)
    assert set(taking_part) <= {1, number}  # after one was late the caller works alone
    assert torch.get_num_threads() == number


def test_nobody_waits_again_at_once_for_a_thread_that_was_late(monkeypatch):
    job, times, done = np.zeros(workers.SIZE, np.int64), iter(()), []
    job[workers.PARALLEL], job[workers.MEMBER] = 7, 8
    end = 0  # when the first thread found no item left

    def call(function, arguments):
        done.append(function)
        job[workers.ENDED] = end

    monkeypatch.setattr(workers, "_now", lambda _: next(times))
    monkeypatch.setattr(workers, "call", call)
    monkeypatch.setattr(workers, "address_of", lambda array, at: at)

    def share(began: int, duration: int, first: int) -> int:
        """Run a job, of which the first thread ends so long before the last; return for how long one works alone."""
        nonlocal times, end
        times, end = iter([began, began + duration]), began + duration - first
        workers.share.py_func(job, 9, 1, 2, 1)
        return job[workers.ALONE]

    now, late = 1, workers.LATE + 1
    assert share(now, 10 * late, late) == 0  # of a long job that is little
    assert share(now, late, workers.LATE) == 0
    assert done == [7, 7]
    alone = [share(now := 1 + job[workers.ALONE_UNTIL], late, late) for _ in range(9)]
    assert alone[:3] == [workers.SHORTEST, 2 * workers.SHORTEST, 4 * workers.SHORTEST]
    assert alone[-2:] == [workers.LONGEST] * 2
    done.clear()
    assert share(now + late, late, late) == workers.LONGEST
    assert done == [9]  # alone
    assert share(1 + job[workers.ALONE_UNTIL], late, 0) == workers.LONGEST // 2
    workers.share.py_func(job, 9, 1, 2, 0)
    assert done == [9, 7, 9]


def test_threads_of_python_run_kernels_side_by_side():
    x_seq, layer = torch.rand(20, 300, 8), LinearRecurrentContainer(IFNode(backend="numba"), 8, 8)

    def run(_: int) -> torch.Tensor:
        return copy.deepcopy(layer).forward_sequence(x_seq)

    expected = run(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(one, expected) for one in pool.map(run, range(40)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_works_alone():
    """The threads of its parent stay behind: waiting for them would never end."""
    torch.set_num_threads(2)
    x_seq = torch.rand(20, 5000, 2)
    expected = IFNode(backend="numba").forward_sequence(x_seq)
    process = os.fork()
    if process == 0:
        found = IFNode(backend="numba").forward_sequence(x_seq)
        torch.set_num_threads(1)  # torch's own threads stayed behind as well
        os._exit(0 if torch.equal(found, expected) and workers._team.parallel == 0 else 1)
    assert os.waitpid(process, 0)[1] == 0


def small() -> nn.Sequential:
    """Return all kinds of stages."""
    recurrent = LinearRecurrentContainer(IFNode(), 4, 4)
    return nn.Sequential(nn.Linear(3, 4), recurrent, SynapseFilter(2.0, learnable=True), nn.Linear(4, 3))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("keeps", [False, True], ids=["segments", "whole"])
def test_steps_that_python_runs_are_those_of_torch(keeps, optimizer, clip, loss):
    """Of several blocks and pieces, with every index checked."""
    one = small().double()
    other, x_seq = copy.deepcopy(one), 2 * torch.rand(7, 5, 3, dtype=torch.float64)
    labels, index = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([[4, 0, 2], [1, 1, 3]])
    settings = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    own, theirs = (optimizer(net.parameters(), **settings) for net in (one, other))
    with interpreted(keeps, segments=not keeps):
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


@pytest.mark.parametrize("features", [129, 144, 520])
def test_layers_whose_weights_are_packed_for_their_gradient(features):
    """Of compiled kernels: the table of cases has small layers alone."""
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
