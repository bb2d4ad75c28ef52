from __future__ import annotations

import pytest
import torch
from torch import nn

from snn_core.functional import lif_charge
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer
from snn_core.neuron import IFNode, LIFNode
from snn_tutorial.probe import trace

X = torch.tensor([1.5, 0.0, 0.0])


def test_a_neuron_alone_by_hand():
    record = trace(IFNode(v_reset=None), torch.tensor([0.5, 1.0, 0.25]))
    assert not record.is_recurrent
    assert record.i.tolist() == record.x.tolist() == [0.5, 1.0, 0.25]
    assert record.h.tolist() == [0.5, 1.5, 0.75]
    assert record.s.tolist() == [0, 1, 0]
    assert record.v.tolist() == [0.5, 0.5, 0.75]
    assert record.v_threshold == 1


@pytest.mark.parametrize(
    ("v_reset", "h", "v"), [(None, [1.5, 1.5, 1.5], [0.5] * 3), (0.0, [1.5, 1, 1], [0.0] * 3)]
)
def test_a_neuron_with_its_spike_fed_back_by_hand(v_reset, h, v):
    record = trace(ElementWiseRecurrentContainer(IFNode(v_reset=v_reset), torch.add), X)
    assert record.is_recurrent
    assert record.i.tolist() == [1.5, 1, 1]
    assert record.x.tolist() == X.tolist()
    assert record.h.tolist() == h
    assert record.s.tolist() == [1, 1, 1]
    assert record.v.tolist() == v


def test_equals_a_run_without_it_and_goes_on_from_the_state():
    x_seq = torch.rand(6, 2, 3)
    seen, alone = (LinearRecurrentContainer(LIFNode(store_v_seq=True), 3, 3) for _ in range(2))
    alone.load_state_dict(seen.state_dict())
    expected = torch.stack([alone(x) for x in x_seq])
    first, second = trace(seen, x_seq[:4]), trace(seen, x_seq[4:])
    assert torch.equal(torch.cat([first.s, second.s]), expected)
    assert torch.equal(torch.cat([first.v, second.v]), alone.sub_module.v_seq)
    v_before = torch.cat([torch.zeros(1, 2, 3), first.v[:-1]])
    torch.testing.assert_close(first.h, lif_charge(first.i, v_before, tau=2.0))
    assert not first.v.requires_grad


def test_leaves_no_hook_behind_even_after_an_error():
    neuron = IFNode()
    net = ElementWiseRecurrentContainer(neuron, torch.add)
    trace(net, X)
    with pytest.raises(ValueError, match="state y has shape"):
        trace(net, torch.zeros(2, 5))
    assert not neuron._forward_pre_hooks
    assert not neuron.surrogate_function._forward_pre_hooks


@pytest.mark.parametrize(("net", "count"), [(nn.Linear(1, 1), 0), (nn.Sequential(IFNode(), IFNode()), 2)])
def test_refuses_a_net_without_exactly_one_neuron(net, count):
    with pytest.raises(ValueError, match=f"must hold one spiking neuron, .* has {count}"):
        trace(net, X)
