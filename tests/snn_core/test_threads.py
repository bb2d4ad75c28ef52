"""Two threads that train two networks at once do what they do one after the other."""

from __future__ import annotations

import threading

import torch
from torch import nn

from snn_core.functional import mean_over_time, reset_net
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer
from snn_core.neuron import AdaptiveLIFNode, IFNode
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
