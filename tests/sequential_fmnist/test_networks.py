"""The text's networks: shapes, state, what is refused."""

from __future__ import annotations

import pytest
import torch
from support_networks import random_images
from torch import nn

from sequential_fmnist.networks import (
    NETWORKS,
    TUTORIAL_NETWORKS,
    PlainNet,
    columns_as_sequence,
    hidden_and_readout,
    make_network,
)
from sequential_fmnist.train import TrainingConfig, fit
from sequential_fmnist.variants import NetworkSpec
from snn_core.functional import reset_net
from snn_core.layer import MultiStepContainer
from snn_core.neuron import IFNode, MultiStepIFNode, SpikingNeuron
from snn_core.surrogate import ATan

every_model = pytest.mark.parametrize("model", NETWORKS)


def test_images_become_sequences_of_columns_from_left_to_right():
    images = torch.arange(2 * 3 * 4.0).reshape(2, 1, 3, 4)
    sequence = columns_as_sequence(images)
    assert sequence.shape == (4, 2, 3)
    for t in range(4):
        for n in range(2):
            assert torch.equal(sequence[t, n], images[n, 0, :, t])


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 3, 28, 28)])
def test_wrong_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"images must have shape \[N, 1, H, W\], got \["):
        make_network("plain")(torch.zeros(shape))
    with pytest.raises(TypeError, match=r"images must have a floating-point dtype, got torch\.uint8"):
        make_network("plain")(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))


@pytest.mark.parametrize("n", [0, 3])
@every_model
def test_output_is_a_firing_rate_for_each_class(model, n):
    images = random_images(n).float()
    before = images.clone()
    rates = make_network(model)(images)
    assert torch.equal(images, before)
    assert rates.shape == (n, 10)
    assert ((rates >= 0) & (rates <= 1)).all()
    torch.testing.assert_close(rates * 28, (rates * 28).round())
    assert n == 0 or rates.any()


@every_model
def test_next_batch_needs_a_reset(model):
    net = make_network(model)
    net(random_images(4).float())
    with pytest.raises(ValueError, match=r"state \w+ has shape .* call reset_net\(net\) between batches"):
        net(random_images(3).float())
    reset_net(net)
    assert net(random_images(3).float()).shape == (3, 10)


@pytest.mark.parametrize(
    ("where", "cut"), [("all", [True, True]), ("hidden", [True, False]), ("none", [False, False])]
)
@pytest.mark.parametrize("model", TUTORIAL_NETWORKS)
def test_every_argument_arrives(model, where, cut):
    net = make_network(model, hidden=5, backend="torch", detach_reset=where)
    assert [part.detach_reset for part in net.modules() if isinstance(part, SpikingNeuron)] == cut
    assert net.fc2.in_features == 5
    kept = {vars(module).get("backend") for module in net.modules()}  # a container's own is for nn.Linear
    assert kept - {None} == {"torch"}


@pytest.mark.parametrize("arguments", [{"model": "lstm"}, {"hidden": 0}, {"backend": "gpu"}])
def test_wrong_argument_is_named(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be "):
        make_network(**{"model": "plain"} | arguments)


# A network of one's own, whose layers have their roles by their places


class Deeper(PlainNet):
    """A hidden layer more, at the end of the file that a learner edits."""

    def __init__(self, hidden=32, backend="auto"):
        super().__init__(hidden, backend)
        self.fc3 = nn.Linear(10, 10)
        self.sn3 = MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)


@pytest.fixture
def deeper(monkeypatch):
    monkeypatch.setitem(NETWORKS, "deeper", Deeper)


def test_roles_follow_from_places():
    assert hidden_and_readout(make_network("feedback")) == (["sn1"], "sn2")
    assert hidden_and_readout(Deeper()) == (["sn1", "sn2"], "sn3")
    assert hidden_and_readout(NetworkSpec("plain", readout="membrane").build()) == (["sn1"], None)
    assert hidden_and_readout(NetworkSpec("plain", readout="leaky").build()) == (["sn1"], None)
    assert hidden_and_readout(NetworkSpec("gru").build()) == ([], None)
    assert hidden_and_readout(nn.Sequential(MultiStepContainer(IFNode()), nn.Flatten())) == ([], "0")


@pytest.mark.parametrize(
    ("where", "cut"),
    [("all", [True, True, True]), ("hidden", [True, True, False]), ("none", [False, False, False])],
)
def test_the_reset_of_a_network_of_ones_own_is_detached_where_the_option_says(deeper, where, cut):
    net = make_network("deeper", detach_reset=where)
    assert [net.sn1.detach_reset, net.sn2.detach_reset, net.sn3.detach_reset] == cut


@pytest.mark.parametrize("readout", ["membrane", "leaky"])
def test_the_last_spiking_layer_is_what_a_readout_replaces(deeper, readout):
    layers = [name for name, _ in NetworkSpec.build(variant(readout)).named_children()]
    assert layers == ["fc1", "sn1", "fc2", "sn2", "fc3", *(["sn3"] if readout == "leaky" else [])]
    assert not isinstance(variant(readout).build().get_submodule(layers[-1]), SpikingNeuron)


def variant(readout):
    spec = NetworkSpec("plain", readout=readout)
    object.__setattr__(spec, "model", "deeper")  # whose allowed names were read when the class was made
    return spec


@pytest.mark.parametrize("fused", [False, True])
def test_a_network_of_ones_own_trains_by_its_name(deeper, few, fused):
    net = make_network("deeper", detach_reset="hidden")
    before = net.fc3.weight.detach().clone()
    history = fit(net, *few, TrainingConfig(epochs=2, batch_size=50, opt="adam", lr=0.01, fused=fused))
    assert history[1]["train_loss"] < history[0]["train_loss"]
    assert not net.fc3.weight.equal(before)
