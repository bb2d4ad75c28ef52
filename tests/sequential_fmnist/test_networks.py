"""The text's networks: sizes, shapes, state, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from support_networks import random_images, weighted_sum

from sequential_fmnist.networks import (
    NETWORKS,
    FeedBackNet,
    PlainNet,
    StatefulSynapseNet,
    columns_as_sequence,
    make_network,
)
from snn_core.functional import reset_net

every_model = pytest.mark.parametrize("model", NETWORKS)


def test_names_of_the_command_line():
    expected = [("plain", PlainNet), ("stateful-synapse", StatefulSynapseNet), ("feedback", FeedBackNet)]
    assert list(NETWORKS.items()) == expected


@pytest.mark.parametrize(
    ("model", "expected"), [("plain", 1258), ("stateful-synapse", 1259), ("feedback", 3338)]
)
def test_number_of_parameters(model, expected):
    assert sum(p.numel() for p in make_network(model).parameters()) == expected


@pytest.mark.parametrize("hidden", [1, 7, 64])
@pytest.mark.parametrize(
    ("model", "extra"),
    [
        ("plain", lambda h: 0),
        ("stateful-synapse", lambda h: 1),  # w of tau
        ("feedback", lambda h: 2 * h * h + h),  # from 2 h to h, with bias
    ],
)
def test_number_of_parameters_at_other_sizes(model, extra, hidden):
    two_layers = (28 * hidden + hidden) + (hidden * 10 + 10)
    number = sum(p.numel() for p in make_network(model, hidden).parameters())
    assert number == two_layers + extra(hidden)


@every_model
def test_neurons_and_synapses_are_those_of_the_tutorial(model):
    text = repr(make_network(model))
    assert text.count("ATan(alpha=2.0, spiking=True)") == 2
    assert text.count("v_threshold=1.0, v_reset=0.0, detach_reset=True") == 2
    assert text.count("SynapseFilter(tau=2.0, learnable=True)") == (model == "stateful-synapse")


def test_images_become_sequences_of_columns_from_left_to_right():
    images = torch.arange(2 * 3 * 4.0).reshape(2, 1, 3, 4)
    sequence = columns_as_sequence(images)
    assert sequence.shape == (4, 2, 3)
    for t in range(4):
        for n in range(2):
            assert torch.equal(sequence[t, n], images[n, 0, :, t])


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 28), (2, 3, 28, 28), (2, 1, 1, 28, 28)])
@every_model
def test_wrong_images_are_refused(model, shape):
    with pytest.raises(ValueError, match=r"images must have shape \[N, 1, H, W\], got \["):
        make_network(model)(torch.zeros(shape))


@every_model
def test_images_of_bytes_are_refused_by_name(model):
    with pytest.raises(TypeError, match=r"images must have a floating-point dtype, got torch\.uint8"):
        make_network(model)(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))


@pytest.mark.parametrize("n", [1, 3])
@every_model
def test_images_are_not_changed(model, n):
    images = random_images(n).float()
    before = images.clone()
    make_network(model)(images)
    assert images.shape == (n, 1, 28, 28)
    assert torch.equal(images, before)


@pytest.mark.parametrize("n", [0, 1, 3])
@every_model
def test_output_is_a_firing_rate_for_each_class(model, n):
    rates = make_network(model)(random_images(n).float())
    assert rates.shape == (n, 10)
    assert ((rates >= 0) & (rates <= 1)).all()
    spikes = rates * 28
    torch.testing.assert_close(spikes, spikes.round())
    assert n == 0 or spikes.any()


@every_model
def test_number_of_columns_is_the_number_of_steps(model):
    rates = make_network(model)(random_images(3, columns=5).float())
    assert rates.any()
    torch.testing.assert_close(rates * 5, (rates * 5).round())


@every_model
def test_every_weight_gets_a_gradient(model):
    net = make_network(model)
    weighted_sum(net(random_images(3).float())).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


@every_model
def test_state_dict_restores_the_network(model):
    images = random_images(3).float()
    saved, other = make_network(model), make_network(model)
    expected = saved(images)
    assert not torch.equal(other(images), expected)
    other.load_state_dict(saved.state_dict())
    reset_net(other)
    assert torch.equal(other(images), expected)


@every_model
def test_state_dict_of_another_size_is_refused(model):
    with pytest.raises(RuntimeError, match=r"size mismatch for fc1\.weight"):
        make_network(model, 31).load_state_dict(make_network(model, 32).state_dict())


@every_model
def test_next_batch_needs_a_reset(model):
    net = make_network(model)
    net(random_images(4).float())
    with pytest.raises(ValueError, match=r"state \w+ has shape .* call reset_net\(net\) between batches"):
        net(random_images(3).float())
    reset_net(net)
    assert net(random_images(3).float()).shape == (3, 10)


@every_model
def test_copy_made_during_training_answers_alike(model):
    net = make_network(model)
    weighted_sum(net(random_images(3).float())).backward()
    twin = copy.deepcopy(net)
    for each in (net, twin):
        reset_net(each)
    assert torch.equal(twin(random_images(2).float()), net(random_images(2).float()))


@every_model
def test_hidden_and_backend_are_passed_on(model):
    net = make_network(model, hidden=5, backend="torch")
    assert net.fc2.in_features == 5
    kept = {vars(module).get("backend") for module in net.modules()}  # a container's own is for nn.Linear
    assert kept - {None} == {"torch"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "lstm"}, "^model must be one of plain, stateful-synapse, feedback, got 'lstm'$"),
        ({"model": "plain", "hidden": 0}, "^hidden must be at least 1, got 0$"),
        ({"model": "feedback", "hidden": -3}, "^hidden must be at least 1, got -3$"),
        ({"model": "plain", "backend": "gpu"}, "backend must be one of 'auto', .*'torch'.*, got 'gpu'"),
        ({"model": "stateful-synapse", "backend": "gpu"}, "backend must be one of .*, got 'gpu'"),
        ({"model": "feedback", "backend": "gpu"}, "backend must be one of .*, got 'gpu'"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_network(**arguments)
