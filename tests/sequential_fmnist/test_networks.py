"""The text's networks: shapes, state, what is refused."""

from __future__ import annotations

import pytest
import torch
from support_networks import random_images

from sequential_fmnist.networks import NETWORKS, columns_as_sequence, make_network
from snn_core.functional import reset_net
from snn_core.neuron import SpikingNeuron

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
@every_model
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
