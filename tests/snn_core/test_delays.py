"""Recurrent connections with delays: taps, the container, and gradients to delays."""

from __future__ import annotations

import copy

import pytest
import torch
from support_networks import output_and_gradients, random_currents, step_by_step
from torch import Tensor, nn

from snn_core.functional import reset_net
from snn_core.layer import MultiStepContainer
from snn_core.more.delays import DelayedRecurrentContainer, delay_taps
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import Sigmoid


def smooth() -> LIFNode:
    """A neuron whose output is the surrogate's primitive, so that differences of outputs give its gradient."""
    return LIFNode(tau=3.0, surrogate_function=Sigmoid(alpha=2.0, spiking=False))


def container(sub_module: nn.Module | None = None, **options) -> DelayedRecurrentContainer:
    """A container in fp64 for four neurons with delays of up to five steps, none of them a whole one."""
    torch.manual_seed(1)
    sub_module = IFNode() if sub_module is None else sub_module
    return DelayedRecurrentContainer(sub_module, 4, 4, 5, **options).double()


# Taps


@pytest.mark.parametrize(
    ("delay", "sigma", "taps"),
    [
        (2.25, 0.0, [0, 0.75, 0.25, 0, 0]),
        # 1 - |k - d| / 2 = 0, 1/2, 1, 1/2, 0, with the sum 2
        (3.0, 1.0, [0, 0.25, 0.5, 0.25, 0]),
        # 3/4, 3/4, 1/4, 0, 0: what would lie at k = 0 is left out
        (1.5, 1.0, [3 / 7, 3 / 7, 1 / 7, 0, 0]),
        (-4.0, 0.0, [1, 0, 0, 0, 0]),
        (9.0, 0.0, [0, 0, 0, 0, 1]),
    ],
)
def test_taps_worked_out_by_hand(delay, sigma, taps):
    assert delay_taps(torch.tensor(delay), 5, sigma).tolist() == pytest.approx(taps)


# Whole delays lie in a corner, where the mean of both sides is meant; outside, the gradient is that of the border.
@pytest.mark.parametrize(
    ("delay", "gradient"),
    [
        (2.25, [0, -1, 1, 0, 0]),
        (2.0, [-0.5, 0, 0.5, 0, 0]),
        (0.0, [-0.5, 0.5, 0, 0, 0]),
        (7.0, [0, 0, 0, -0.5, 0.5]),
    ],
)
def test_gradient_of_taps_worked_out_by_hand(delay, gradient):
    actual = torch.autograd.functional.jacobian(lambda d: delay_taps(d, 5), torch.tensor(delay))
    assert actual.tolist() == pytest.approx(gradient)


# The container


def straightforward(net: DelayedRecurrentContainer, x_seq: Tensor, delay: Tensor) -> Tensor:
    """The definition: a sum over outputs j and steps k for each input i, with taps by two cases."""
    T, _, I = x_seq.shape  # noqa: E741
    J, neuron, y_seq = net.out_features, copy.deepcopy(net.sub_module), []
    for t in range(T):
        rows = []
        for i in range(I):
            total = net.rc.bias[i] + x_seq[t] @ net.rc.weight[i, :I]
            for j in range(J):
                spread = [
                    max(0.0, 1 - abs(k - delay[j]) / (1 + net.sigma)) for k in range(1, net.max_delay + 1)
                ]
                for k, tap in enumerate(spread, start=1):
                    if t >= k:
                        total = total + net.rc.weight[i, I + j] * tap / sum(spread) * y_seq[t - k][:, j]
            rows.append(total)
        y_seq.append(neuron(torch.stack(rows, dim=1)))
    return torch.stack(y_seq)


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_container_equals_the_straightforward_sum(sigma):
    net, x_seq = container(smooth(), learn_delays=True), random_currents(8, 3, 4)
    net.sigma = sigma
    parameters = [net.delay, net.rc.weight, net.rc.bias]
    expected = output_and_gradients(lambda x: straightforward(net, x, net.delay), x_seq, parameters)
    for run in (net.forward_sequence, lambda x: step_by_step(net, x)):
        reset_net(net)
        actual = output_and_gradients(run, x_seq, parameters)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
    assert expected[2].count_nonzero() == net.delay.numel()


# Delays


@pytest.mark.parametrize(
    ("delays", "options", "is_learned"),
    [
        ([1.0, 2.0, 3.5, 5.0], {}, False),
        (None, {"learn_delays": True}, True),
        (nn.Parameter(torch.tensor(2.5)), {}, True),
    ],
)
def test_delays_are_fixed_or_trained(delays, options, is_learned):
    net = DelayedRecurrentContainer(IFNode(), 4, 4, 5, delays, **options)
    assert ("delay" in dict(net.named_parameters())) == is_learned
    assert ("delay" in dict(net.named_buffers())) != is_learned
    assert net.delay.min() >= 1 and net.delay.max() <= 5
    if isinstance(delays, list):
        assert net.delay.tolist() == delays
    net.forward_sequence(torch.rand(5, 2, 4)).sum().backward()
    assert not is_learned or net.delay.grad.shape == net.delay.shape


def test_rounded_delays_have_a_single_tap():
    net = DelayedRecurrentContainer(IFNode(), 3, 3, 4, nn.Parameter(torch.tensor([1.4, 2.6, 3.0])))
    net.sigma = 2.0
    with torch.no_grad():
        net.delay[2] = 17.0
    net.round_delays()
    assert net.delay.tolist() == [1, 3, 4]
    assert net.delay.requires_grad
    assert net.sigma == 0
    assert net.taps().T.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_a_delay_beyond_the_sequence_is_refused_unless_earlier_steps_are_kept():
    net, x_seq = MultiStepContainer(container()), random_currents(5, 3, 4)
    with pytest.raises(ValueError, match="max_delay=5 is beyond the T=4 steps of x_seq"):
        net(x_seq[:4])
    net(x_seq)
    assert net(x_seq[:2]).shape == (2, 3, 4)
