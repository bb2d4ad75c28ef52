"""Networks with one part changed: every option of a spec by its effect, by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support_by_hand import by_hand
from torch import Tensor, nn

from sequential_fmnist.experiments.images import hidden_spikes
from sequential_fmnist.networks import TUTORIAL_NETWORKS, make_network
from sequential_fmnist.train import TrainingConfig, fit
from sequential_fmnist.variants import SURROGATES, GatedNet, NetworkSpec, fold
from snn_core.functional import reset_net


def double(spec: NetworkSpec, seed: int = 3) -> nn.Module:
    """The network of ``spec`` in fp64, where rounding moves no spike, firing more than one does untrained."""
    torch.manual_seed(seed)
    net = spec.build().double()
    with torch.no_grad():
        net.fc1.weight *= 4
        net.fc2.weight *= 4
        if spec.tau_mode == "per-channel":
            net.sy1[0].w.copy_(torch.linspace(-3, 3, 32))
    return net


@pytest.fixture(scope="module")
def images(embedded) -> Tensor:
    return embedded[1].images[:40].double() / 255


FORWARD = [{}, {"last": 3}, {"readout": "membrane"}, {"scale": 10.0}, {"hidden": 17}]
SUMMING = {"readout": "summing", "tau": 6.0}
KINDS = {
    "plain": [SUMMING, SUMMING | {"tau_mode": "frozen"}],
    "stateful-synapse": [{"tau": 6.0}, {"tau": 6.0, "tau_mode": "frozen"}, {"tau_mode": "per-channel"}],
}
ALL = [(kind, options) for kind in TUTORIAL_NETWORKS for options in FORWARD + KINDS.get(kind, [])]


def described(case: object) -> str | None:
    return ", ".join(f"{k}={v}" for k, v in case.items()) if isinstance(case, dict) else None


@pytest.mark.parametrize("kind", TUTORIAL_NETWORKS)
def test_default_spec_is_the_texts_network(kind):
    torch.manual_seed(7)
    ours = NetworkSpec(kind).build()
    torch.manual_seed(7)
    theirs = make_network(kind)
    assert type(ours) is type(theirs)
    assert all(torch.equal(weight, ours.state_dict()[name]) for name, weight in theirs.state_dict().items())


@pytest.mark.parametrize(("kind", "options"), ALL, ids=described)
def test_option_changes_the_output_as_it_says(kind, options, images):
    spec = NetworkSpec(kind, **options)
    net = double(spec)
    with torch.no_grad():
        output = net(images)
        reset_net(net)
        spikes = hidden_spikes(net, images)
        expected = by_hand(spec, net, images)
        torch.testing.assert_close(output, expected["output"], rtol=1e-9, atol=1e-9)
        assert torch.equal(spikes, expected["hidden_spikes"])
        assert 0.02 < spikes.mean() < 0.9
        if options:
            assert not torch.allclose(output, double(NetworkSpec(kind))(images))
        reset_net(net)
        for given in (torch.nn.functional.pad(images, (0, 14)), images[..., :8]):  # wider, or narrower
            expected = by_hand(spec, net, given)["output"]
            torch.testing.assert_close(net(given), expected, rtol=1e-9, atol=1e-9)
            reset_net(net)


BACKWARD = [
    {},
    {"detach_reset": "none"},
    {"detach_reset": "hidden"},
    {"detach_reset": "none", "readout": "membrane"},
    *({"surrogate_function": name, "alpha": 1.5} for name in SURROGATES),
]


@pytest.mark.parametrize("kind", TUTORIAL_NETWORKS)
@pytest.mark.parametrize("options", BACKWARD, ids=described)
def test_gradient_goes_where_the_options_say(kind, options, images):
    spec = NetworkSpec(kind, **options)
    net = double(spec)
    weights = list(net.parameters())
    factors = torch.linspace(-1, 2, 400, dtype=torch.float64).view(40, 10)
    ours = torch.autograd.grad((net(images) * factors).sum(), weights)
    expected = torch.autograd.grad((by_hand(spec, net, images)["output"] * factors).sum(), weights)
    for name, a, b in zip(dict(net.named_parameters()), ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, msg=name)
    if options:
        default = double(NetworkSpec(kind))
        (before,) = torch.autograd.grad((default(images) * factors).sum(), [default.fc1.weight])
        assert not torch.allclose(ours[0], before, rtol=1e-3)


def trained(spec: NetworkSpec, few, **options) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the network's state before and after an epoch on 200 images."""
    torch.manual_seed(1)
    net = spec.build()
    with torch.no_grad():
        net.fc1.weight *= 4  # or an untrained layer hardly fires
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit(net, few[0], config=TrainingConfig(epochs=1, batch_size=50, **options))
    return before, net.state_dict()


@pytest.mark.parametrize("options", [{}, {"opt": "adam", "lr": 0.01, "clip": 0.1}], ids=described)
@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_recurrent_weights_stay_to_the_bit_while_the_others_move(few, options, frozen):
    before, after = trained(NetworkSpec("feedback", frozen_recurrent=frozen), few, **options)
    (w_x, w_y), (new_x, new_y) = (s["sn1.0.rc.weight"].split(32, dim=1) for s in (before, after))
    assert torch.equal(w_y, new_y) is frozen
    assert not torch.equal(w_x, new_x)
    for name in before.keys() - {"sn1.0.rc.weight"}:
        assert not torch.equal(before[name], after[name]), name


def test_tau_modes(few):
    spec = NetworkSpec("stateful-synapse")
    before, after = trained(spec, few)
    assert before["sy1.0.w"].shape == ()
    assert 1 + torch.exp(-before["sy1.0.w"]).item() == pytest.approx(2.0)
    assert not torch.equal(before["sy1.0.w"], after["sy1.0.w"])

    before, after = trained(dataclasses.replace(spec, tau_mode="frozen"), few)
    assert "sy1.0.w" not in before
    assert not torch.equal(before["fc1.weight"], after["fc1.weight"])

    before, after = trained(dataclasses.replace(spec, tau_mode="per-channel"), few)
    tau = 1 + torch.exp(-after["sy1.0.w"])
    torch.testing.assert_close(1 + torch.exp(-before["sy1.0.w"]), torch.full((32,), 2.0))
    assert len(tau.unique()) > 16


SIZES = {"plain": 1258, "stateful-synapse": 1259, "feedback": 3338}


@pytest.mark.parametrize(("kind", "parameters"), SIZES.items())
def test_fold_gives_the_same_network_with_the_tutorials_number_of_parameters(kind, parameters, few):
    torch.manual_seed(4)
    spec = NetworkSpec(kind, batch_norm=True, readout="membrane", scale=10.0)
    net = spec.build()
    fit(net, few[0], config=TrainingConfig(epochs=1, batch_size=20, opt="adam", lr=0.01))
    with torch.no_grad():  # far from where they start, so that each of them counts
        net.bn.weight.uniform_(0.5, 2.0)
        net.bn.bias.uniform_(-0.5, 0.5)
        # In fp64: in fp32 a potential a hair below the threshold may be rounded onto it, and then a spike differs.
        folded, pictures = fold(net.double()), few[1].images.double() / 255
        expected = net(pictures)
        torch.testing.assert_close(folded(pictures), expected, rtol=1e-5, atol=1e-5)
        by_steps = by_hand(spec, net, pictures)["output"]
        torch.testing.assert_close(expected, by_steps, rtol=1e-9, atol=1e-9)
    assert sum(p.numel() for p in folded.parameters()) == parameters
    assert fold(folded) is folded


def test_batch_norm_normalises_over_batch_and_time_while_training(images):
    net = double(NetworkSpec(batch_norm=True))
    net.bn.momentum = 1.0
    hidden_spikes(net, images)
    x = torch.stack([images[:, 0, :, t] @ net.fc1.weight.T + net.fc1.bias for t in range(28)]).flatten(0, 1)
    torch.testing.assert_close(net.bn.running_mean, x.mean(0))
    torch.testing.assert_close(net.bn.running_var, x.var(0))


@pytest.mark.parametrize(("kind", "hidden", "parameters"), [("gru", 20, 3210), ("lstm", 17, 3376)])
def test_gated_networks_read_out_after_the_last_column(kind, hidden, parameters, few):
    net = NetworkSpec(kind, hidden=hidden).build()
    assert isinstance(net, GatedNet)
    assert sum(p.numel() for p in net.parameters()) == parameters
    pictures = few[1].images.float() / 255
    x_seq = pictures.squeeze(1).permute(2, 0, 1)
    with torch.no_grad():
        _, state = net.rnn(x_seq)
        h = state[0] if kind == "lstm" else state
        torch.testing.assert_close(net(pictures), h[0] @ net.fc2.weight.T + net.fc2.bias)
        other = pictures.clone()
        other[..., 0] = 0.5
        assert not torch.equal(net(pictures), net(other))
