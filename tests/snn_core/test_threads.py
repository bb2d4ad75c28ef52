"""The threads of kernels: two of Python's train two networks at once, and tiny numbers count as 0 in kernels alone."""

from __future__ import annotations

import threading

import torch
from torch import nn

from snn_core import fuse
from snn_core.functional import mean_over_time, reset_net
from snn_core.kernels.cpu import threads
from snn_core.kernels.cpu.launch import layout_of
from snn_core.kernels.plan import plan_for
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer
from snn_core.more.neuron import AdaptiveLIFNode
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan
from snn_core.synapse import SynapseFilter

STEPS = 30


def job(kind, backend):
    torch.manual_seed(kind)
    node = (IFNode, AdaptiveLIFNode)[kind](surrogate_function=ATan(), backend=backend)
    hidden = LinearRecurrentContainer(node, 12, 12)
    net = MultiStepContainer(nn.Linear(5, 12), hidden, SynapseFilter(3.0, learnable=True), nn.Linear(12, 3))
    return net, torch.rand(STEPS, 9, 40, 5), torch.randint(3, (STEPS, 40)), []


def train(net, inputs, labels, losses, together=None):
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for x_seq, label in zip(inputs, labels, strict=True):
        if together is not None:
            together.wait()  # so that steps meet
        net[1].sub_module.surrogate_function.alpha += 0.01  # a number that changes is read anew
        loss = nn.functional.cross_entropy(mean_over_time(net(x_seq)), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reset_net(net)
        losses.append(loss.item())


def test_two_threads_train_as_one_after_the_other():
    for backends in (("auto", "auto"), ("auto", "torch")):
        alone, both = ([job(kind, backends[kind]) for kind in range(2)] for _ in range(2))
        for one in alone:
            train(*one)
        together = threading.Barrier(2, timeout=60)
        threads = [threading.Thread(target=train, args=(*one, together)) for one in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for (net, _, _, losses), (other, _, _, others) in zip(alone, both, strict=True):
            assert losses == others and losses[-1] < losses[0]
            assert all(map(torch.equal, net.parameters(), other.parameters()))


def test_tiny_numbers_count_as_0_in_kernels_and_in_nothing_that_follows():
    """A current that decays for long becomes so small that a processor slows down a hundredfold."""
    x_seq = torch.zeros(200, 64, 16)
    x_seq[0] = 1
    fused, loop = (SynapseFilter(2.0, backend=backend) for backend in ("cpu", "torch"))
    with torch.no_grad():
        seqs = [MultiStepContainer(synapse)(x_seq) for synapse in (fused, loop)]
    normal = torch.finfo(torch.float32).tiny
    fused_tiny, tiny = (((seq > 0) & (seq < normal)).any() for seq in seqs)
    assert tiny and not fused_tiny
    assert ((seqs[0] - seqs[1]).abs() <= normal).all()
    # Torch's own threads, which are those of kernels, too, compute as before.
    assert (torch.full((1 << 20,), normal) * 0.5 > 0).all()


def test_sixteen_samples_are_work_for_two_threads():
    x_seq = torch.rand(4, 16, 12)
    run, _ = fuse.read_all([nn.Linear(12, 12), IFNode()], fuse.like_of(x_seq))
    assert layout_of(plan_for(run, x_seq)).items == 2


def test_scratch_memory_begins_where_a_cache_line_does():
    team = threads._Team(0, 0)
    assert all(team.memory_of(size) % 64 == 0 for size in range(1, 1 << 16, 4_099))
