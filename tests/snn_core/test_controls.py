"""The extreme numbers that a study of memory needs as controls, and states that are taken out and put back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from snn_core.functional import explain, reset_net, scan, set_states, states
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer
from snn_core.more.neuron import AdaptiveLIFNode, CUBALIFNode
from snn_core.neuron import LIFNode, LINode
from snn_core.synapse import LowPassSynapse, SynapseFilter

NONE, ALL = 1.0, math.inf


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("each", [False, True], ids=["one number", "one for each"])
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda tau: LINode(tau(NONE), backend="auto"), lambda x: x),
        (lambda tau: LINode(tau(ALL), decay_input=False), lambda x: x.cumsum(0)),
        (lambda tau: LowPassSynapse(tau(NONE)), lambda x: x),
        (lambda tau: LowPassSynapse(tau(ALL)), lambda x: x.cumsum(0)),
        (lambda tau: SynapseFilter(tau(ALL)), lambda x: x.cumsum(0)),
        (lambda tau: LIFNode(tau(NONE), v_threshold=0.5), lambda x: (x >= 0.5).double()),
        (lambda tau: CUBALIFNode(tau(NONE), tau(NONE), v_threshold=0.5), lambda x: (x >= 0.5).double()),
        (
            lambda tau: LIFNode(tau(ALL), decay_input=False, v_threshold=0.5, v_reset="none"),
            lambda x: (x.cumsum(0) >= 0.5).double(),
        ),
        (
            lambda tau: AdaptiveLIFNode(tau(NONE), tau(ALL), beta=1.0, v_threshold=0.5),
            lambda x: _ever_harder(x, 0.5),
        ),
    ],
)
def test_a_membrane_without_memory_and_a_perfect_integrator(build, expected, each):
    module, x_seq = build(lambda tau: [tau] * 3 if each else tau), drawn(9, 2, 3)
    assert all(one.fused for one in explain(MultiStepContainer(module), x_seq))
    torch.testing.assert_close(scan(x_seq, module), expected(x_seq), rtol=1e-12, atol=1e-12)
    reset_net(module)
    singly = torch.stack([module(x) for x in x_seq])
    torch.testing.assert_close(singly, expected(x_seq), rtol=1e-12, atol=1e-12)


def _ever_harder(x_seq, threshold):
    spikes, fired = [], 0
    for x in x_seq:
        spikes.append((x >= threshold + fired).double())
        fired = fired + spikes[-1]
    return torch.stack(spikes)


def network():
    return MultiStepContainer(
        nn.Linear(3, 4), LinearRecurrentContainer(AdaptiveLIFNode(v_threshold=0.3), 4, 4), SynapseFilter(3.0)
    )


def test_states_that_are_set_are_those_that_were_taken():
    torch.manual_seed(0)
    net, (first, second) = network(), torch.rand(2, 6, 5, 3)
    net(first)
    taken = states(net)
    expected = net(second)
    set_states(net, taken)
    assert torch.equal(net(second), expected)
    set_states(net, {})
    assert states(net) == {}
    with pytest.raises(ValueError, match=r"states: .* no state '1\.u'"):
        set_states(net, taken | {"1.u": first})
    with pytest.raises(TypeError, match=r"states\['1\.y'\] must be a torch.Tensor"):
        set_states(net, {"1.y": 2.0})
    assert states(net) == {}
