"""The training tools do what their equations say, and nothing to a network that does not use them."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import operator

import pytest
import torch
from support import require
from support_networks import output_and_gradients, random_images
from torch import nn

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.functional import detach_net, explain, reset_net, scan, states
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.monitor import LayerActivity, Monitor
from snn_core.neuron import IFNode, MultiStepIFNode, MultiStepLIFNode
from snn_core.regularisation import (
    MultiStepBatchNorm,
    RecurrentDropout,
    fold_batch_norm,
    rate_penalty,
    voltage_penalty,
)
from snn_core.state import MemoryModule
from snn_core.surrogate import ATan


class Chain(nn.Module):
    """Takes sequences through a scan."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.modules_in_order = nn.ModuleList(modules)

    def forward(self, x_seq):
        return scan(x_seq, *self.modules_in_order)


def recurrent(features: int = 4, **options) -> LinearRecurrentContainer:
    return LinearRecurrentContainer(IFNode(surrogate_function=ATan(), **options), features, features)


# Monitor -------------------------------------------------------------------------------------------------------------


def test_a_monitor_by_hand():
    """v: 0.6, 1.2 -> 0 | 0.6 and -0.5, -1.0, -1.5 and 1, 2, 3, each above the threshold."""
    x_seq = torch.tensor([0.6, -0.5, 1.0]).expand(3, 1, 3)
    for net in (MultiStepIFNode(), MultiStepContainer(IFNode())):
        with Monitor(net, v=True) as monitor:
            spikes = net(x_seq)
        (name,) = monitor.outputs
        assert torch.equal(monitor.outputs[name], spikes)
        assert spikes[:, 0].tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 1]]
        expected = torch.tensor([[0.6, -0.5, 0], [0, -1.0, 0], [0.6, -1.5, 0]])
        torch.testing.assert_close(monitor.v[name][:, 0], expected)
        torch.testing.assert_close(monitor.rates[name], torch.tensor([1 / 3, 2 / 3, 1 / 3]))
        (layer,) = monitor.summary()
        assert layer == LayerActivity(
            name, layer.kind, pytest.approx(4 / 9), pytest.approx(1 / 3), pytest.approx(1 / 3)
        )
        assert str(layer).split()[2:] == ["rate", "0.4444", "silent", "33.3%", "saturated", "33.3%"]


def test_shares_are_over_steps_and_samples():
    """A neuron that fires for one sample only is neither silent nor saturated."""
    x_seq = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).expand(4, 2, 3)
    net = MultiStepIFNode()
    with Monitor(net) as monitor:
        net(x_seq)
    (layer,) = monitor.summary()
    assert (layer.rate, layer.silent, layer.saturated) == pytest.approx((0.5, 1 / 3, 1 / 3))


def step_by_step(net: nn.Module, x_seq: torch.Tensor) -> torch.Tensor:
    return torch.stack([net(x) for x in x_seq])


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_gives_the_same_bits_with_a_monitor(kind):
    images = 3 * random_images(3).abs().float()
    torch.manual_seed(0)
    net = make_network(kind, backend="torch")
    runs = []
    for watched in (False, True):
        net.zero_grad()
        monitor = Monitor(net, v=True)
        if watched:
            with monitor:
                rate = net(images)
        else:
            rate = net(images)
        rate.square().sum().backward()
        runs.append([rate, *states(net).values(), *(weight.grad for weight in net.parameters())])
        reset_net(net)
    assert all(map(torch.equal, *runs))
    hidden = monitor.outputs[next(iter(monitor.outputs))]
    assert torch.equal(hidden, net.hidden_spikes(images)) and 0 < hidden.mean() < 1


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_fused_network_gives_the_same_to_rounding(kind):
    images = 3 * random_images(3).abs().double()
    torch.manual_seed(0)
    net = make_network(kind).double()
    expected = net(images)
    reset_net(net)
    with Monitor(net) as monitor:
        assert any(not decision.fused for decision in explain(net, images))  # its copy is not recorded
        seen = net(images)
    reset_net(net)
    torch.testing.assert_close(seen, expected)
    torch.testing.assert_close(list(monitor.outputs.values())[-1].mean(0), seen)
    assert all(decision.fused for decision in explain(net, images))


@pytest.mark.parametrize("call", [operator.call, step_by_step])
def test_sums_without_rounding_are_the_same_bits_fused_and_watched(call):
    """Weights and inputs are whole multiples of 1/8, so that every order of addition gives one result."""
    torch.manual_seed(0)
    net = MultiStepContainer(nn.Linear(3, 4), recurrent(), SynapseFilter(2.0))
    net = net if call is operator.call else recurrent()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_((8 * weight).round() / 8)
    x_seq = torch.randint(-8, 24, (10, 2, 3 if call is operator.call else 4)) / 8
    expected = call(net, x_seq)
    reset_net(net)
    with Monitor(net) as monitor:
        assert torch.equal(call(net, x_seq), expected)
    assert 0 < monitor.summary()[0].rate < 1


def test_a_monitor_leaves_nothing_behind():
    net = MultiStepContainer(nn.Linear(3, 4), recurrent(), nn.Linear(4, 2))
    sequence = Chain(nn.Linear(3, 4), MultiStepIFNode())
    for watched in (net, sequence):
        with pytest.raises((RuntimeError, ValueError), match="shape"), Monitor(watched, v=True):
            watched(torch.rand(5, 2, 9))
        with Monitor(watched, v=True) as monitor:
            watched(torch.rand(5, 2, 3))
        neuron = next(module for module in watched.modules() if isinstance(module, IFNode))
        assert not any(module._forward_hooks for module in watched.modules())
        assert not neuron.store_v_seq and not hasattr(neuron, "v_seq")
        reset_net(watched)  # does not forget the records
        assert monitor.v.keys() == monitor.outputs.keys()
        assert all(decision.fused for decision in explain(watched, torch.rand(5, 2, 3)))


def test_a_neuron_that_stores_v_itself_keeps_it():
    net = MultiStepIFNode(store_v_seq=True)
    with Monitor(net, v=True) as monitor:
        net(torch.rand(5, 2, 3))
        net(torch.rand(4, 2, 3))
    assert net.store_v_seq and torch.equal(net.v_seq, monitor.v["MultiStepIFNode"])


def test_records_follow_one_another_until_they_are_cleared():
    net = MultiStepIFNode()
    with Monitor(net) as monitor:
        net(torch.ones(5, 2, 3))
        net(torch.zeros(4, 2, 3))
        assert monitor.rates["MultiStepIFNode"].tolist() == [1] * 5 + [0] * 4
        monitor.clear()
        reset_net(net)
        net(torch.ones(2, 7, 3))
        assert monitor.outputs["MultiStepIFNode"].shape == (2, 7, 3)
        reset_net(net)
        net(torch.ones(2, 6, 3))
        with pytest.raises(RuntimeError, match=r"shapes \[6, 3\], \[7, 3\]: call clear"):
            _ = monitor.outputs
        assert monitor.rates["MultiStepIFNode"].tolist() == [1] * 4
        reset_net(net)
        net(torch.zeros(2, 13, 3))
        assert monitor.summary()[0][2:] == (0.5, 0.0, 0.0)  # 26 rows of ones and 26 of zeros
        reset_net(net)
        net(torch.ones(2, 6, 4))
    with pytest.raises(RuntimeError, match=r"shapes \[3\], \[4\]: call clear"):
        monitor.summary()


def test_layers_are_chosen_by_name_or_as_modules():
    net = make_network("stateful-synapse")
    with Monitor(net, "sn2", net.sy1[0], v=True) as monitor:
        net(random_images(2).float())
    assert list(monitor.outputs) == ["sn2", "sy1.0"]
    assert list(monitor.v) == ["sn2"]
    assert monitor.outputs["sy1.0"].shape == (28, 2, 32)


def test_records_do_not_see_what_happens_to_an_output_later():
    net = nn.Sequential(IFNode(), nn.Hardtanh(0.0, 0.5, inplace=True))
    with Monitor(net) as monitor:
        net(torch.ones(2, 3))
    assert monitor.outputs["0"].tolist() == [[[1.0] * 3] * 2]


def test_records_keep_their_history_only_when_asked():
    net = MultiStepContainer(nn.Linear(3, 4), IFNode())
    for gradient in (False, True):
        with Monitor(net, v=True, gradient=gradient) as monitor:
            net(torch.rand(5, 2, 3))
        assert monitor.outputs["1"].requires_grad is monitor.v["1"].requires_grad is gradient
        reset_net(net)
    monitor.rates["1"].sum().backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_a_monitor_refuses():
    net = MultiStepContainer(nn.Linear(3, 4), IFNode())
    with pytest.raises(ValueError, match="Linear has none: name the layers"):
        Monitor(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"parts of net, such as MultiStepContainer, 1, got 'sn1'"):
        Monitor(net, "sn1")
    with pytest.raises(ValueError, match="got a IFNode outside of it"):
        Monitor(net, IFNode())
    with pytest.raises(TypeError, match="layers must be modules or their names, got int"):
        Monitor(net, 1)
    with pytest.raises(TypeError, match="which know time steps, got Linear"):
        Monitor(net, "0")
    with Monitor(net) as monitor, pytest.raises(RuntimeError, match="records already"), monitor:
        pass
    assert not net[1]._forward_hooks
    with pytest.raises(RuntimeError, match="layer 1 was not called"):
        monitor.summary()


# Penalties -----------------------------------------------------------------------------------------------------------


def test_rate_penalty_by_hand():
    """Rates 1/4, 1 and 0 over two steps of two samples."""
    spikes = torch.tensor([[[1.0, 1, 0], [0, 1, 0]], [[0, 1, 0], [0, 1, 0]]], requires_grad=True)
    penalty = rate_penalty(spikes, 0.5)
    assert penalty.item() == pytest.approx((1 / 16 + 1 / 4 + 1 / 4) / 2)
    penalty.backward()  # (f - target) / 4 at each of the four spikes of a neuron
    torch.testing.assert_close(spikes.grad, torch.tensor([-1 / 16, 1 / 8, -1 / 8]).expand(2, 2, 3))
    assert rate_penalty(spikes, (0.25, 1.0)).item() == pytest.approx(1 / 32)
    assert rate_penalty(spikes, (0.0, 0.75)).item() == pytest.approx(1 / 32)
    assert rate_penalty(spikes, (0, 1)).item() == 0


def test_voltage_penalty_by_hand():
    v = torch.tensor([[[1.5, 0.5]], [[-3.0, 2.0]]], requires_grad=True)
    penalty = voltage_penalty(v)
    assert penalty.item() == pytest.approx((0.25 + 0 + 4 + 1) / 2)
    penalty.backward()
    torch.testing.assert_close(v.grad, torch.tensor([[[0.5, 0.0]], [[-2.0, 1.0]]]))
    assert voltage_penalty(v, 3).item() == 0
    assert voltage_penalty(v, torch.tensor([1.0, 1.5])).item() == pytest.approx((0.25 + 4 + 0.25) / 2)
    assert voltage_penalty(v, torch.tensor(2.0)).item() == pytest.approx(1 / 2)
    for wrong in (torch.tensor([1.0, 0.0]), torch.ones(3), torch.tensor(-1.0)):
        with pytest.raises(ValueError, match=r"one for each neuron in shape \[2\]"):
            voltage_penalty(v, wrong)


@pytest.mark.parametrize("layer", ["multi-step", "container"])
def test_training_with_the_penalty_brings_the_rate_to_its_target(layer):
    torch.manual_seed(0)
    hidden = recurrent(20) if layer == "container" else MultiStepIFNode(surrogate_function=ATan())
    net = Chain(nn.Linear(5, 20), hidden)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    x_seq = torch.rand(20, 8, 5)
    rates = []
    for _ in range(150):
        with Monitor(net, gradient=True) as monitor:
            net(x_seq)
        reset_net(net)
        (spikes,) = monitor.outputs.values()
        rates.append(spikes.mean((0, 1)))
        optimizer.zero_grad()
        rate_penalty(spikes, 0.1).backward()
        optimizer.step()
    first, last = ((rate - 0.1).abs() for rate in (rates[0], rates[-1]))
    assert first.max() > 0.15 and first.mean() > 0.09
    assert last.max() < 0.06 and last.mean() < 0.02


def test_training_with_the_penalty_brings_voltages_into_their_range():
    torch.manual_seed(0)
    net = Chain(nn.Linear(5, 20), MultiStepLIFNode(surrogate_function=ATan(), v_reset=None))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    x_seq = 10 * torch.randn(20, 8, 5)
    values = []
    for _ in range(150):
        with Monitor(net, v=True, gradient=True) as monitor:
            net(x_seq)
        reset_net(net)
        (v,) = monitor.v.values()
        penalty = voltage_penalty(v)
        values.append(penalty.item())
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
    assert values[0] > 1 and values[-1] < 0.1 * values[0]


@pytest.mark.parametrize("target", [(0.1,), -0.1, 1.1, (0.3, 0.2), "0.1", None, True, float("nan")])
def test_rate_penalty_refuses(target):
    with pytest.raises((TypeError, ValueError), match="target must be"):
        rate_penalty(torch.zeros(2, 3, 4), target)


@pytest.mark.parametrize("function", [lambda values: rate_penalty(values, 0.1), voltage_penalty])
def test_penalties_refuse_what_is_no_record(function):
    for values in (torch.zeros(4), torch.zeros(0, 2, 3), torch.zeros(2, 0, 3)):
        with pytest.raises(ValueError, match=r"must have shape \[T, N, \*\]"):
            function(values)
    with pytest.raises(TypeError, match="floating-point"):
        function(torch.zeros(2, 3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="v_threshold must be a positive"):
        voltage_penalty(torch.zeros(2, 3, 4), 0)


# Recurrent dropout ---------------------------------------------------------------------------------------------------


class Ones(nn.Module):
    """An output of 1, and the input for whoever looks."""

    def forward(self, x):
        self.seen = x
        return torch.ones_like(x)


def element_wise(p: float = 0.5, each_step: bool = False) -> RecurrentDropout:
    return RecurrentDropout(ElementWiseRecurrentContainer(Ones(), torch.add), p, each_step)


def fed_back(net: RecurrentDropout, x_seq: torch.Tensor) -> torch.Tensor:
    """Return what came back in every step; the input itself is 0."""
    seen = []
    for x in x_seq:
        assert torch.equal(net(x), torch.ones_like(x))  # the output is not dropped
        seen.append(net.container.sub_module.seen)
    return torch.stack(seen)


def test_one_mask_holds_until_the_reset():
    torch.manual_seed(0)
    net, x_seq = element_wise(0.75), torch.zeros(5, 3, 40)
    seen = fed_back(net, x_seq)
    assert not seen[0].any()
    assert set(seen[1].unique().tolist()) == {0.0, 4.0}
    assert all(torch.equal(step, seen[1]) for step in seen[2:])
    assert torch.equal(states(net)["mask"], seen[1])
    detach_net(net)
    assert torch.equal(fed_back(net, x_seq)[0], seen[1])
    reset_net(net)
    assert net.mask is None
    assert not torch.equal(fed_back(net, x_seq)[1], seen[1])
    torch.manual_seed(0)
    reset_net(net)
    assert torch.equal(fed_back(net, x_seq), seen)


def test_a_new_mask_at_every_step_as_an_option():
    torch.manual_seed(0)
    seen = fed_back(element_wise(0.75, each_step=True), torch.zeros(5, 3, 40))
    assert not any(torch.equal(*pair) for pair in itertools.pairwise(seen[1:]))
    assert set(seen[1:].unique().tolist()) == {0.0, 4.0}


@pytest.mark.parametrize("each_step", [False, True])
@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_the_expected_feedback_is_that_without_dropout(p, each_step):
    torch.manual_seed(0)
    seen = fed_back(element_wise(p, each_step), torch.zeros(2, 100, 1000))[1]
    deviation = (p / (1 - p) / seen.numel()) ** 0.5
    assert seen.mean().item() == pytest.approx(1, abs=4 * deviation)


def test_dropped_feedback_of_a_linear_container_by_hand():
    torch.manual_seed(3)
    net = RecurrentDropout(recurrent(6), 0.5).double()
    x_seq = 3 * torch.rand(8, 2, 6).double()
    seen = net.forward_sequence(x_seq)
    mask, rc = net.mask, net.container.rc
    v = y = torch.zeros(2, 6).double()
    for x, spikes in zip(x_seq, seen, strict=True):
        h = v + torch.cat([x, mask * y], -1) @ rc.weight.T + rc.bias
        y = (h >= 1).double()
        v = (1 - y) * h
        assert torch.equal(spikes, y)
    assert 0 < seen.mean() < 1 and 0 < mask.mean() < 2


@pytest.mark.parametrize("make", [recurrent, lambda: ElementWiseRecurrentContainer(IFNode(), torch.add)])
def test_evaluation_mode_and_p_0_do_nothing_and_evaluation_is_fused(make):
    torch.manual_seed(0)
    alone = make()
    x_seq = 3 * torch.rand(8, 2, 4)
    expected = MultiStepContainer(alone)(x_seq)
    reset_net(alone)
    net = MultiStepContainer(RecurrentDropout(alone, 0.5))
    (decision,) = explain(net, x_seq)
    assert not decision.fused and "drops feedback in training" in decision.reason
    for dropout in (net.eval(), MultiStepContainer(RecurrentDropout(alone, 0.0)).train()):
        random = torch.get_rng_state()
        assert torch.equal(dropout(x_seq), expected)
        reset_net(alone)
        assert torch.equal(dropout[0].forward_sequence(x_seq), expected)
        assert torch.equal(random, torch.get_rng_state()) and dropout[0].mask is None
        reset_net(alone)
        (decision,) = explain(dropout, x_seq)
        assert decision.fused
    assert torch.equal(torch.stack([net[0](x) for x in x_seq]), expected)


def test_hooks_of_a_container_whose_feedback_may_be_dropped_are_called():
    net = RecurrentDropout(recurrent()).eval()
    with Monitor(net, net.container) as monitor:
        net.forward_sequence(torch.rand(5, 2, 4))
    assert monitor.outputs["container"].shape == (5, 2, 4)


class LastTwo(MemoryModule):
    """Adds up the last two outputs, which are those of a step of 1 more each time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_state("y_history")

    def forward(self, x):
        history = self.checked_state("y_history", x.new_empty(x.shape[0], 2, *x.shape[1:]), 0.0)
        self.seen = history.sum(1)
        self.keep_state("y_history", torch.stack([x, history[:, 0]], 1))
        return x


def test_each_of_the_last_outputs_is_masked_once():
    torch.manual_seed(0)
    net = RecurrentDropout(LastTwo(), 0.75)
    seen = []
    for t in range(1, 5):
        assert torch.equal(net(torch.full((3, 40), float(t))), torch.full((3, 40), float(t)))
        seen.append(net.container.seen)
    mask = net.mask[:, 0]
    assert mask.shape == (3, 40) and set(mask.unique().tolist()) == {0.0, 4.0}
    for at_step, sum_of_last in zip(seen, (0, 1, 3, 5), strict=True):
        assert torch.equal(at_step, sum_of_last * mask)


def test_gradients_pass_the_mask():
    torch.manual_seed(0)
    net = RecurrentDropout(recurrent(4), 0.5)
    net.forward_sequence(9 * torch.rand(20, 2, 4)).sum().backward()
    assert net.container.rc.weight.grad[:, 4:].abs().sum() > 0
    twin = copy.deepcopy(net)
    assert torch.equal(twin.mask, net.mask) and twin.mask is not net.mask


def test_recurrent_dropout_refuses():
    for wrong in (IFNode(), nn.Linear(2, 2), MultiStepContainer(recurrent())):
        with pytest.raises(TypeError, match="must be a recurrent container, whose one state is"):
            RecurrentDropout(wrong)
    assert "p=0.5, each_step=False" in repr(RecurrentDropout(recurrent()))
    for p in (-0.1, 1, 1.5):
        with pytest.raises(ValueError, match="p must be from 0 to below 1"):
            RecurrentDropout(recurrent(), p)
    with pytest.raises(TypeError, match="each_step must be True or False"):
        RecurrentDropout(recurrent(), 0.5, "no")
    net = element_wise()
    net(torch.zeros(2, 3))
    net(torch.zeros(2, 3))
    net.container.reset()
    net(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"RecurrentDropout: state mask has shape .* call reset_net"):
        net(torch.zeros(4, 3))


# Batch normalisation -------------------------------------------------------------------------------------------------


def test_batch_normalisation_through_time_by_hand():
    """Channel 0 holds 1, 3, 5, 7 over two steps of two samples: mean 4, variance 5."""
    norm = MultiStepBatchNorm(2, scale=2.0, eps=1e-30).double()
    x_seq = torch.tensor([[[1.0, 0], [3, 0]], [[5, 0], [7, 4]]]).double()
    y = norm(x_seq)
    assert y[..., 0].flatten().tolist() == pytest.approx([2 * v / 5**0.5 for v in (-3, -1, 1, 3)])
    assert norm.running_mean.tolist() == pytest.approx([0.4, 0.1])
    assert norm.running_var.tolist() == pytest.approx([0.9 + 0.1 * 20 / 3, 0.9 + 0.1 * 4])
    assert torch.equal(norm.weight, torch.full((2,), 2.0).double())


def test_it_is_batch_normalisation_of_all_steps_as_one_batch():
    norm, plain = MultiStepBatchNorm(3), SeqToANNContainer(nn.BatchNorm2d(3))
    plain[0].load_state_dict(norm.state_dict())
    for mode in (True, False):
        x_seq = 3 * torch.randn(5, 2, 3, 4, 4) + 1
        for net in (MultiStepContainer(norm.train(mode)), Chain(norm), norm):
            norm.load_state_dict(plain[0].state_dict())
            plain[0].train(mode)
            seen = net(x_seq)
            before = copy.deepcopy(plain)
            assert torch.equal(seen, before(x_seq))
            assert torch.equal(norm.running_var, before[0].running_var)


def test_it_is_threshold_dependent_batch_normalisation_of_spikingjelly():
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    from spikingjelly.activation_based.layer import ThresholdDependentBatchNorm1d

    alpha, v_threshold = 0.7, 1.5
    theirs = ThresholdDependentBatchNorm1d(alpha, v_threshold, 5).double()
    ours = MultiStepBatchNorm(5, scale=alpha * v_threshold).double()
    for mode in (True, True, False):
        x_seq = 3 * torch.randn(6, 4, 5).double() + 1
        found = []
        for norm in (ours.train(mode), theirs.train(mode)):
            found.append(output_and_gradients(norm, x_seq, norm.parameters()))
            found[-1] += [norm.running_mean.clone(), norm.running_var.clone()]
        torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def chains() -> dict[str, nn.Module]:
    """Networks with batch normalisation, each on ``[T, N, 3]``, or ``[T, N, 3, 6]`` where its name says so."""
    neuron = lambda: MultiStepIFNode(surrogate_function=ATan())  # noqa: E731
    bare = nn.BatchNorm1d(5, affine=False)
    return {
        "linear": nn.Sequential(nn.Linear(3, 5), MultiStepBatchNorm(5), neuron()),
        "container": MultiStepContainer(nn.Linear(3, 5, bias=False), MultiStepBatchNorm(5, 0.7), IFNode()),
        "nested": nn.Sequential(SeqToANNContainer(nn.Linear(3, 5), bare), MultiStepContainer(recurrent(5))),
        "apart": nn.Sequential(nn.Linear(3, 5), nn.Sequential(MultiStepBatchNorm(5), neuron())),
        "two": MultiStepContainer(
            nn.Linear(3, 5), MultiStepBatchNorm(5), IFNode(), nn.Linear(5, 4), MultiStepBatchNorm(4), IFNode()
        ),
        "twice": nn.Sequential(nn.Linear(3, 5), MultiStepBatchNorm(5), MultiStepBatchNorm(5), neuron()),
        "conv": nn.Sequential(SeqToANNContainer(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5)), neuron()),
        "conv without bias": nn.Sequential(
            SeqToANNContainer(nn.Conv1d(3, 5, 3, bias=False)), MultiStepBatchNorm(5), neuron()
        ),
    }


@pytest.mark.parametrize("name", chains())
def test_a_folded_network_computes_the_same_and_is_fused(name):
    torch.manual_seed(0)
    net = Chain(chains()[name]).double()
    x_seq = 3 * torch.randn(7, 4, 3, *([6] if "conv" in name else [])).double()
    for _ in range(3):
        net(x_seq + torch.randn_like(x_seq))
        reset_net(net)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.bias.normal_()
    net.eval()
    before = copy.deepcopy(net.state_dict())
    folded = fold_batch_norm(net)
    current, expected = (first_currents(each, x_seq) for each in (folded, net))
    assert ((current - expected).abs() / expected.abs().clamp_min(1)).max() < 1e-12
    seen = folded(x_seq)
    assert torch.equal(seen, net(x_seq)) and 0 < seen.mean() < 1
    reset_net(folded)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in folded.modules())
    assert folded.state_dict().keys() <= net.state_dict().keys() | {
        f"{path}.bias" for path, module in net.named_modules() if getattr(module, "bias", 0) is None
    }
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    decisions = explain(folded, x_seq)
    assert all(decision.fused for decision in decisions if not decision.kind.startswith(("Conv", "Seq")))
    if "conv" not in name:
        assert {decision.scan for decision in decisions} == {1}


def first_currents(net: nn.Module, x_seq: torch.Tensor) -> torch.Tensor:
    """Return what the first neuron, or the container around it, is fed."""
    seen: list[torch.Tensor] = []
    kinds = (IFNode, LinearRecurrentContainer)
    neuron = next(module for module in net.modules() if isinstance(module, kinds))
    with neuron.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        net(x_seq)
    reset_net(net)
    return torch.stack(seen)


def test_a_network_without_batch_normalisation_comes_back_as_a_copy():
    net = MultiStepContainer(nn.Linear(3, 4), IFNode())
    folded = fold_batch_norm(net)
    assert folded is not net and torch.equal(folded[0].weight, net[0].weight)
    assert fold_batch_norm(net.train()).training


def shared() -> nn.Module:
    linear = nn.Linear(3, 3)
    return nn.Sequential(linear, MultiStepBatchNorm(3), linear, MultiStepBatchNorm(3))


def shared_norm() -> nn.Module:
    norm = MultiStepBatchNorm(3)
    return nn.Sequential(nn.Linear(3, 3), norm, nn.Linear(3, 3), norm)


def hooked() -> nn.Module:
    linear = nn.Linear(3, 3)
    linear.register_forward_hook(lambda *_: None)
    return nn.Sequential(linear, MultiStepBatchNorm(3))


class OwnNorm(MultiStepBatchNorm):
    """A normalisation that computes something else."""

    def forward(self, x_seq):
        return 2 * super().forward(x_seq)


@pytest.mark.parametrize(
    "net, message",
    [
        (nn.Sequential(MultiStepBatchNorm(3)), "come right after an nn.Linear .* got nothing"),
        (nn.Sequential(MultiStepIFNode(), MultiStepBatchNorm(3)), "got MultiStepIFNode '0'"),
        (
            nn.Sequential(nn.Linear(3, 3), nn.Dropout(), MultiStepBatchNorm(3)),
            "MultiStepBatchNorm '2' .* Dropout '1'",
        ),
        (nn.Sequential(nn.ConvTranspose1d(3, 3, 1), nn.BatchNorm1d(3)), "got ConvTranspose1d '0'"),
        (hooked(), "without hooks, got Linear '0'"),
        (shared(), "Linear '0' must be used once, got 0, 2"),
        (shared_norm(), "MultiStepBatchNorm '1' must be used once, got 1, 3"),
        (nn.Sequential(nn.Linear(3, 4), MultiStepBatchNorm(3)), "the 4 channels of Linear '0', got 3"),
        (
            nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)),
            "running statistics: build",
        ),
        (nn.Sequential(nn.Linear(3, 3), OwnNorm(3)), "must be a BatchNorm of torch or MultiStepBatchNorm"),
        (
            Chain(nn.Linear(3, 3), MultiStepBatchNorm(3)),
            "'modules_in_order.1' must stand in an nn.Sequential",
        ),
    ],
)
def test_folding_refuses(net, message):
    with pytest.raises(ValueError, match=message):
        fold_batch_norm(net.eval())


def test_folding_refuses_training_mode():
    net = nn.Sequential(nn.Linear(3, 3), MultiStepBatchNorm(3))
    with pytest.raises(
        ValueError, match=r"MultiStepBatchNorm '1' must be in evaluation mode: call net.eval\(\)"
    ):
        fold_batch_norm(net)


def test_batch_normalisation_refuses():
    norm = MultiStepBatchNorm(3)
    for shape in ((4, 3), (4, 2, 5), (4, 3, 2)):
        with pytest.raises(ValueError, match=r"x_seq must have shape \[T, N"):
            norm(torch.rand(shape))
    with pytest.raises(TypeError, match="floating-point"):
        norm(torch.zeros(4, 2, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"must take \[T \* N, \*\], MultiStepBatchNorm takes"):
        SeqToANNContainer(nn.Linear(3, 3), norm)(torch.rand(4, 2, 3))
    with pytest.raises(TypeError, match="takes whole sequences"):
        ElementWiseRecurrentContainer(norm, torch.add)
    for arguments in ({"scale": 0}, {"eps": 0}, {"momentum": 1.5}, {"momentum": -0.1}):
        with pytest.raises(ValueError, match="MultiStepBatchNorm: "):
            MultiStepBatchNorm(3, **arguments)
    with pytest.raises(ValueError, match="num_features must be at least 1"):
        MultiStepBatchNorm(0)
