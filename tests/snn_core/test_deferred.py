"""Networks that are written by hand as one scan, and their loss and gradients from one kernel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from support import require
from torch import Tensor, nn

from sequential_fmnist.evaluation import LOSSES
from sequential_fmnist.networks import NetworkSpec, build
from snn_core import kernels as backends
from snn_core.functional import reset_net, seq_to_ann_forward, states
from snn_core.kernels import deferred
from snn_core.layer import MultiStepContainer, SeqToANNContainer, SynapseFilter
from snn_core.neuron import IFNode, MultiStepIFNode, MultiStepParametricLIFNode
from snn_core.synapse import DoubleExponentialSynapse


@pytest.fixture(autouse=True)
def _fused():
    require(backends.NUMBA_IS_INSTALLED, "numba")


class Hand(nn.Module):
    """Written as in the text."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.sn1 = nn.Linear(28, 16), MultiStepIFNode()
        self.sy1 = MultiStepContainer(SynapseFilter(2.0, learnable=True))
        self.fc2, self.sn2 = nn.Linear(16, 10), MultiStepIFNode(v_reset=None)

    def hidden(self, x: Tensor) -> Tensor:
        x = x.squeeze(1).permute(2, 0, 1)
        return self.sy1(self.sn1(seq_to_ann_forward(x, self.fc1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.sn2(seq_to_ann_forward(self.hidden(x), self.fc2)).mean(0)


class LastSteps(Hand):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.sn2(seq_to_ann_forward(self.hidden(x), self.fc2))[-5:].mean(0)


class Potential(Hand):
    def forward(self, x: Tensor) -> Tensor:
        return seq_to_ann_forward(self.hidden(x), self.fc2).mean(0)


class Keeps(Hand):
    """Also keeps a sequence for later, and uses it twice."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.hidden(x)
        return self.sn2(seq_to_ann_forward(self.kept, self.fc2)).mean(0) + self.kept.mean()


class ReadsState(Hand):
    def forward(self, x: Tensor) -> Tensor:
        rate = super().forward(x)
        return rate + self.sn1.v.mean()


class Rising(Hand):
    """Three numbers of its synapse are made of the same two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.sy1 = MultiStepContainer(DoubleExponentialSynapse(2.0, 8.0, learnable=True))


class Columns(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze(1).permute(2, 0, 1)


class Mean(nn.Module):
    def forward(self, x_seq: Tensor) -> Tensor:
        return x_seq.mean(0)


def sequential() -> nn.Module:
    return nn.Sequential(
        Columns(), SeqToANNContainer(nn.Linear(28, 10)), MultiStepContainer(IFNode()), Mean()
    )  # fmt: skip


class CutsGradient(Hand):
    """Calls the hidden layers without gradient, and reads them with it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.hidden(x)
        return self.sn2(seq_to_ann_forward(hidden, self.fc2)).mean(0)


class CutsLater(Hand):
    """Calls the hidden layers with gradient, and first reads them without it."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.hidden(x)
        with torch.no_grad():
            largest = self.sn2(seq_to_ann_forward(hidden, self.fc2)).mean(0).max()
        reset_net(self.sn2)
        return seq_to_ann_forward(hidden, self.fc2).mean(0) + largest


class ChangesInPlace(Hand):
    def forward(self, x: Tensor) -> Tensor:
        rate = super().forward(x)
        rate.mul_(3)
        return rate


class HooksHidden(Hand):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.hidden(x)
        hidden.register_hook(lambda gradient: 2 * gradient)
        return self.sn2(seq_to_ann_forward(hidden, self.fc2)).mean(0)


ONE_KERNEL = {
    "plain": lambda: build(NetworkSpec("plain")),
    "stateful-synapse": lambda: build(NetworkSpec("stateful-synapse", tau_mode="per-channel")),
    "feedback": lambda: build(NetworkSpec("feedback", neuron="lif", soft_reset=True, detach_reset=False)),
    "membrane": lambda: build(NetworkSpec("feedback", readout="membrane", last=5, scale=4.0)),
    "by hand": Hand,
    "last steps": LastSteps,
    "potential": Potential,
    "sequential": sequential,
}
OTHERWISE = {
    "cuts the gradient later": CutsLater,
    "changes in place": ChangesInPlace,
    "hooks the hidden layer": HooksHidden,
    "connects nothing": lambda: nn.Sequential(Columns(), MultiStepParametricLIFNode(), Mean()),
    "keeps a sequence": Keeps,
    "reads a state": ReadsState,
    "batch normalisation": lambda: build(NetworkSpec("plain", batch_norm=True)),
    "hook on a weight": lambda: build(NetworkSpec("feedback", frozen_recurrent=True)),
    "no mean": lambda: nn.Sequential(Columns(), SeqToANNContainer(nn.Linear(28, 10)), nn.Flatten(0, 1)),
}


def batch(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    images = torch.rand(70, 1, 28, 28, generator=chance, dtype=torch.float64)
    return images.to(dtype), torch.randint(0, 10, (70,), generator=chance)


def made(make, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    nets = []
    for _ in range(2):  # a copy would lack the hooks
        torch.manual_seed(1)
        nets.append(make().to(dtype))
    return nets[0], nets[1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", [*ONE_KERNEL, "numbers made of one weight"])
def test_one_kernel_gives_the_loss_and_gradients_of_autograd(name, loss, dtype):
    one, other = made(ONE_KERNEL.get(name, Rising), dtype)
    images, labels = batch(dtype)
    found = deferred.backward(deferred.call(one, images), labels, loss)
    expected = other(images)
    LOSSES[loss](expected, labels).backward()
    rounding = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2e-4, "atol": 1e-6}
    assert found is not None
    torch.testing.assert_close(found[0], LOSSES[loss](expected, labels), **rounding)
    torch.testing.assert_close(found[1], expected.detach(), **rounding)
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, **rounding)
    assert states(one) == {}


@pytest.mark.parametrize("name", [*ONE_KERNEL, *OTHERWISE])
def test_what_is_deferred_is_what_a_call_gives(name):
    """Outputs, states and gradients, whoever asks."""
    one, other = made((ONE_KERNEL | OTHERWISE)[name], torch.float64)
    images, labels = batch(torch.float64)
    output = deferred.call(one, images)
    if name in OTHERWISE:
        assert deferred.backward(output, labels, "mse") is None
    output, expected = deferred.value_of(output), other(images)
    assert type(output) is Tensor
    assert torch.equal(output, expected)
    own, theirs = states(one), states(other)
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[key], theirs[key]) for key in own)
    for result in (output, expected):
        result.square().sum().backward()
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_weights_of_inference_mode_can_wait():
    net, images = Hand(), batch(torch.float32)[0]
    expected = net(images).detach()
    reset_net(net)
    with torch.inference_mode():
        found = deferred.value_of(deferred.call(net, images))
    torch.testing.assert_close(found, expected)


def test_kernels_for_the_cpu_take_memory_of_the_cpu_whatever_the_default_device_is():
    images, labels = batch(torch.float32)
    one, other = made(Hand, torch.float32)
    with torch.device("meta"):
        found = deferred.backward(deferred.call(one, images), labels, "mse")
        other(images).sum().backward()
    assert found is not None
    reset_net(other)
    torch.testing.assert_close(found[1], other(images).detach())


def test_a_chain_is_one_scan(monkeypatch):
    from snn_core.kernels.cpu import launch as cpu

    calls = []
    real = cpu.scan
    monkeypatch.setattr(cpu, "scan", lambda *arguments: calls.append(1) or real(*arguments))
    net, images = Hand(), torch.rand(3, 1, 28, 28)
    net(images)
    assert len(calls) == 5
    reset_net(net)
    calls.clear()
    deferred.value_of(deferred.call(net, images))
    assert len(calls) == 1


def test_what_is_kept_does_not_change_with_the_weights():
    net, images = Keeps(), torch.rand(3, 1, 28, 28)
    deferred.call(net, images)
    kept = deferred.value_of(net.kept)
    with torch.no_grad():
        net.fc1.weight.zero_()
    assert torch.equal(deferred.value_of(net.kept), kept)
    assert kept.any()


def test_a_tensor_that_is_changed_in_place_meanwhile_is_an_error():
    layer = nn.Linear(28, 10)

    def forward(x: Tensor) -> Tensor:
        y = seq_to_ann_forward(x, layer)
        x.zero_()
        return y + 1

    with pytest.raises(RuntimeError, match="was changed in place within forward"):
        deferred.call(forward, torch.rand(4, 3, 28))


@pytest.mark.parametrize(
    "labels",
    [torch.full((70,), 10), torch.full((70,), -1), torch.zeros(70), torch.zeros(3, dtype=torch.int64)],
)
def test_labels_that_fit_no_class_are_left_to_the_loss(labels):
    net = build(NetworkSpec("plain"))
    output = deferred.call(net, batch(torch.float32)[0])
    assert deferred.backward(output, labels, "mse") is None
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        F.one_hot(labels[:70].long() if labels.dtype != torch.int64 else labels, 10) + LOSSES["mse"](
            deferred.value_of(output), labels
        )


def test_gradients_are_added_to_those_that_are_there():
    net = build(NetworkSpec("plain"))
    images, labels = batch(torch.float32)
    deferred.backward(deferred.call(net, images), labels, "mse")
    first = net.fc1.weight.grad.clone()
    deferred.backward(deferred.call(net, images), labels, "mse")
    torch.testing.assert_close(net.fc1.weight.grad, 2 * first)


def test_a_gradient_lies_in_memory_as_its_weight_does():
    """A fused optimizer of torch goes through both side by side."""
    net, (images, labels) = Hand(), batch(torch.float32)
    net.fc2.weight = nn.Parameter(net.fc2.weight.detach().t().contiguous().t())
    assert deferred.backward(deferred.call(net, images), labels, "mse") is not None
    weight, gradient = net.fc2.weight, net.fc2.weight.grad
    assert gradient.stride() == weight.stride() != weight.contiguous().stride()
    net.zero_grad()
    LOSSES["mse"](net(images), labels).backward()
    torch.testing.assert_close(gradient, net.fc2.weight.grad)


def test_frozen_weights_get_no_gradient():
    net = build(NetworkSpec("plain"))
    net.fc1.requires_grad_(False)
    images, labels = batch(torch.float32)
    assert deferred.backward(deferred.call(net, images), labels, "mse") is not None
    assert net.fc1.weight.grad is None
    assert net.fc2.weight.grad.any()


def test_layers_that_forward_calls_without_gradient_get_none():
    one, other = made(CutsGradient, torch.float64)
    images, labels = batch(torch.float64)
    assert deferred.backward(deferred.call(one, images), labels, "mse") is not None
    LOSSES["mse"](other(images), labels).backward()
    assert one.fc1.weight.grad is None
    torch.testing.assert_close(one.fc2.weight.grad, other.fc2.weight.grad, rtol=1e-9, atol=1e-12)
