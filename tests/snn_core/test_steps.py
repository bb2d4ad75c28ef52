"""Many steps of training in one call do what a loop over torch's own does."""

from __future__ import annotations

import pytest
import torch
from support import require
from test_deferred import ONE_KERNEL, OTHERWISE, Hand, batch, made
from torch import Tensor, nn

from sequential_fmnist.evaluation import LOSSES
from sequential_fmnist.networks import NetworkSpec, build
from snn_core import kernels as backends
from snn_core.functional import reset_net, seq_to_ann_forward, states
from snn_core.kernels import deferred
from snn_core.neuron import MultiStepIFNode, MultiStepParametricLIFNode

OPTIMIZERS = {
    "descent": lambda weights: torch.optim.SGD(weights, lr=0.3),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.3, momentum=0.9, weight_decay=0.01),
    "Adam": lambda weights: torch.optim.Adam(weights, lr=0.01),
    "Adam with decay": lambda weights: torch.optim.Adam(
        weights, lr=0.01, betas=(0.8, 0.99), weight_decay=0.01
    ),
}


@pytest.fixture(autouse=True)
def _fused():
    require(backends.NUMBA_IS_INSTALLED, "numba")


class Parametric(Hand):
    def __init__(self) -> None:
        super().__init__()
        self.sn1 = MultiStepParametricLIFNode(init_tau=3.0)


class Large(nn.Module):
    """Its gradients are summed by several threads."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.sn1, self.fc2 = nn.Linear(28, 300), MultiStepIFNode(), nn.Linear(300, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.sn1(seq_to_ann_forward(x.squeeze(1).permute(2, 0, 1), self.fc1))
        return seq_to_ann_forward(hidden, self.fc2).mean(0)


NETWORKS = {**ONE_KERNEL, "parametric": Parametric, "large": Large}


def steps_of_torch(net, optimizer, images, labels, loss, index, clip=None):
    """Return mean losses, right guesses and the last outputs of a plain loop."""
    losses, right = [], []
    for chosen in index:
        optimizer.zero_grad()
        outputs = net(images[chosen])
        lost = LOSSES[loss](outputs, labels[chosen])
        lost.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        reset_net(net)
        losses.append(lost.item())
        right.append((outputs.argmax(1) == labels[chosen]).sum().item())
    return losses, right, outputs.detach()


def drawn(steps: int, size: int) -> Tensor:
    chance = torch.Generator().manual_seed(2)
    return torch.stack([torch.randperm(70, generator=chance)[:size] for _ in range(steps)])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_are_those_of_torch(name, optimizer, clip, dtype):
    one, other = made(NETWORKS[name], dtype)
    images, labels = batch(dtype)
    loss = "mse" if clip is None else "cross-entropy"
    own, theirs = (OPTIMIZERS[optimizer](net.parameters()) for net in (one, other))
    close = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-5}
    for index in (drawn(1, 70), drawn(3, 33)):  # what the optimizer keeps comes from the first call
        found = deferred.train(deferred.call(one, images), labels, loss, own, clip, index)
        losses, right, outputs = steps_of_torch(other, theirs, images, labels, loss, index, clip)
        torch.testing.assert_close(found.losses, torch.tensor(losses, dtype=torch.float64), **close)
        torch.testing.assert_close(found.outputs, outputs, **close)
        assert found.right.tolist() == right
        assert not found.bad.any()
        assert states(one) == {}
    for ours, others in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, others, **close)
        torch.testing.assert_close(ours.grad, others.grad, **close)
        kept, expected = own.state[ours], theirs.state[others]
        assert kept.keys() == expected.keys()
        for what in kept:
            torch.testing.assert_close(kept[what], expected[what], **close)


@pytest.mark.parametrize("name", ["plain", "feedback", "last steps", "membrane"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_long_sequence_goes_in_segments(name, loss, monkeypatch):
    from snn_core.kernels import plan

    monkeypatch.setattr(plan, "SCRATCH", 1 << 15)
    plan.plan_of.cache_clear()
    one, other = made(ONE_KERNEL[name], torch.float64)
    images, labels = batch(torch.float64)
    images = torch.cat([images, images.flip(0), images], 3)
    own, theirs = (OPTIMIZERS["momentum"](net.parameters()) for net in (one, other))
    found = deferred.train(deferred.call(one, images), labels, loss, own, None, drawn(2, 40))
    losses, _, outputs = steps_of_torch(other, theirs, images, labels, loss, drawn(2, 40))
    torch.testing.assert_close(found.losses, torch.tensor(losses, dtype=torch.float64))
    torch.testing.assert_close(found.outputs, outputs)
    for ours, others in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, others, rtol=1e-9, atol=1e-12)
    lost, outputs = deferred.evaluate(deferred.call(one, images), labels, loss)
    torch.testing.assert_close(outputs, other(images).detach())
    assert lost == pytest.approx(LOSSES[loss](outputs, labels).item())
    plan.plan_of.cache_clear()


@pytest.mark.parametrize("name", ["feedback", "large"])
def test_number_of_threads_changes_no_bit_of_the_weights(name):
    before, found = torch.get_num_threads(), []
    images, labels = batch(torch.float32)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            net, _ = made(NETWORKS[name], torch.float32)
            optimizer = OPTIMIZERS["Adam"](net.parameters())
            deferred.train(deferred.call(net, images), labels, "mse", optimizer, 0.05, drawn(4, 64))
            found.append(list(net.parameters()))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_frozen_weights_stay():
    net = build(NetworkSpec("plain"))
    net.fc1.weight.requires_grad_(False)
    before = net.fc1.weight.clone()
    images, labels = batch(torch.float32)
    assert deferred.train(deferred.call(net, images), labels, "mse", OPTIMIZERS["momentum"](net.parameters()))
    assert torch.equal(net.fc1.weight, before)
    assert net.fc1.weight.grad is None
    assert net.fc2.weight.grad.any()


def test_autograd_notices_that_weights_change():
    net = build(NetworkSpec("plain"))
    images, labels = batch(torch.float32)
    lost = net(images).square().sum()
    reset_net(net)
    deferred.train(deferred.call(net, images), labels, "mse", OPTIMIZERS["momentum"](net.parameters()))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        lost.backward()


def test_a_weight_that_is_no_longer_finite_is_noted():
    net = build(NetworkSpec("plain"))
    images, labels = batch(torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=float("inf"))
    found = deferred.train(deferred.call(net, images), labels, "mse", optimizer, None, drawn(3, 50))
    assert not found.bad.isfinite().any()


class Twice(Hand):
    """Uses a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.fc2 = nn.Linear(16, 16)

    def hidden(self, x: Tensor) -> Tensor:
        return self.sn1(seq_to_ann_forward(super().hidden(x), self.fc2))


class Computed(Hand):
    """Computes a weight from another one."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones(10, 16))
        del self.fc2.weight

    def forward(self, x: Tensor) -> Tensor:
        self.fc2.weight = 2 * self.own
        return super().forward(x)


def hooked(weights) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(weights, lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: None)
    return optimizer


UNKNOWN = {
    "nesterov": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "amsgrad": lambda net: torch.optim.Adam(net.parameters(), amsgrad=True),
    "AdamW": lambda net: torch.optim.AdamW(net.parameters()),
    "hook": lambda net: hooked(net.parameters()),
    "two groups": lambda net: torch.optim.SGD(
        [{"params": net.fc1.parameters()}, {"params": net.fc2.parameters()}], lr=0.1
    ),
    "some weights": lambda net: torch.optim.SGD(net.fc1.parameters(), lr=0.1),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_optimizer_that_kernels_do_not_know_is_left_to_torch(name):
    net = build(NetworkSpec("plain"))
    images, labels = batch(torch.float32)
    before = [weight.clone() for weight in net.parameters()]
    outputs = deferred.call(net, images)
    assert deferred.train(outputs, labels, "mse", UNKNOWN[name](net)) is None
    assert all(map(torch.equal, before, net.parameters()))
    outputs = deferred.value_of(outputs)
    reset_net(net)
    assert torch.equal(outputs, net(images))


@pytest.mark.parametrize(
    "make", [*OTHERWISE.values(), Twice, Computed], ids=[*OTHERWISE, "twice", "computed"]
)
def test_a_network_that_kernels_do_not_know_is_left_to_torch(make):
    net, _ = made(make, torch.float64)
    images, labels = batch(torch.float64)
    optimizer = OPTIMIZERS["momentum"]([*net.parameters()] or [torch.zeros(1)])
    assert deferred.train(deferred.call(net, images), labels, "mse", optimizer) is None


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
@pytest.mark.parametrize("name", ["fc1.weight", "sy1.0.w"])
def test_a_weight_with_a_hook_is_left_to_torch(name, hook):
    """Also one of which the plan takes the sigmoid."""
    net = build(NetworkSpec("stateful-synapse"))
    images, labels = batch(torch.float32)
    getattr(net.get_parameter(name), hook)(lambda _: None)
    optimizer = OPTIMIZERS["momentum"](net.parameters())
    assert deferred.train(deferred.call(net, images), labels, "mse", optimizer) is None


@pytest.mark.parametrize("wrong", [-1, 70])
def test_an_index_outside_is_an_error(wrong):
    net = build(NetworkSpec("plain"))
    images, labels = batch(torch.float32)
    index = drawn(2, 30)
    index[1, 29] = wrong
    with pytest.raises(IndexError, match="index must be from 0 to 69"):
        deferred.train(
            deferred.call(net, images), labels, "mse", OPTIMIZERS["momentum"](net.parameters()), None, index
        )
