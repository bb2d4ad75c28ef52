from __future__ import annotations

import pytest
import torch
from support_by_hand import by_hand
from support_networks import random_images
from torch import nn

from sequential_fmnist.networks import TUTORIAL_NETWORKS, PlainNet, make_network
from sequential_fmnist.variants import NetworkSpec
from snn_core.functional import lif_charge
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer
from snn_core.neuron import IFNode, LIFNode, MultiStepIFNode
from snn_core.surrogate import ATan
from snn_tutorial.probe import record, trace

every_model = pytest.mark.parametrize("model", TUTORIAL_NETWORKS)


@pytest.fixture
def images() -> torch.Tensor:
    return 3 * random_images(3).double().abs()


def network(model: str) -> nn.Module:
    torch.manual_seed(1)
    return make_network(model, hidden=6).double()


@every_model
def test_record_is_what_the_network_does_step_by_step(model, images):
    net = network(model)
    seen, expected = record(net, images), by_hand(NetworkSpec(model, hidden=6), net, images)
    del expected["output"]
    assert 0 < expected["hidden_spikes"].mean() < 1
    if model != "stateful-synapse":
        assert seen.current is None
        del expected["current"]
    for name, value in expected.items():
        torch.testing.assert_close(getattr(seen, name), value.detach())


def test_record_of_a_deeper_network_is_that_of_its_last_two_spiking_layers(images):
    net = PlainNet(hidden=6)
    net.fc3, net.sn3 = nn.Linear(10, 4), MultiStepIFNode(surrogate_function=ATan())
    net.double()
    seen = record(net, images)
    assert seen.hidden_spikes.shape[-1] == seen.hidden_v.shape[-1] == 10
    assert torch.equal(seen.read_out_spikes.mean(0), net(images))
    del net.sn3
    with pytest.raises(ValueError, match="net must have hidden neurons and spiking ones"):
        record(net, images)


X = torch.tensor([1.5, 0.0, 0.0])


def test_a_neuron_alone_by_hand():
    record = trace(IFNode(v_reset=None), torch.tensor([0.5, 1.0, 0.25]))
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


@pytest.mark.parametrize(("net", "count"), [(nn.Linear(1, 1), 0), (nn.Sequential(IFNode(), IFNode()), 2)])
def test_refuses_a_net_without_exactly_one_neuron(net, count):
    with pytest.raises(ValueError, match=f"must hold one spiking neuron, .* has {count}"):
        trace(net, X)
