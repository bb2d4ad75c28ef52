"""Recurrent connections with delays: taps, the container, gradients to delays, and a task that needs one."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from support_networks import all_equal, output_and_gradients, random_currents, step_by_step, weighted_sum
from torch import Tensor, nn

from snn_core.functional import detach_net, explain, reset_net, states
from snn_core.layer import DelayedRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.more.delays import delay_taps
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan, Sigmoid


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
        (1.0, 0.0, [1, 0, 0, 0, 0]),
        (5.0, 0.0, [0, 0, 0, 0, 1]),
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
        (1.0, [-0.5, 0.5, 0, 0, 0]),
        (0.0, [-0.5, 0.5, 0, 0, 0]),
        (5.0, [0, 0, 0, -0.5, 0.5]),
        (7.0, [0, 0, 0, -0.5, 0.5]),
    ],
)
def test_gradient_of_taps_worked_out_by_hand(delay, gradient):
    actual = torch.autograd.functional.jacobian(lambda d: delay_taps(d, 5), torch.tensor(delay))
    assert actual.tolist() == pytest.approx(gradient)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 3.0])
def test_taps_of_many_delays_sum_to_one_and_have_the_gradient_of_differences(sigma):
    delay = torch.rand(4, 3, dtype=torch.float64) * 5 + 1.0001
    taps = delay_taps(delay, 6, sigma)
    assert taps.shape == (6, 4, 3)
    assert (taps >= 0).all()
    torch.testing.assert_close(taps.sum(0), torch.ones(4, 3, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda d: delay_taps(d, 6, sigma), delay.requires_grad_())


# The container


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (3.0, [1, 0, 0, 0.5, 0, 0, 0.25]),
        # y[t] = x[t] + (3/4 y[t-2] + 1/4 y[t-3]) / 2: 3/8 of y[0], 1/8 of y[0], 3/8 of y[2], 1/8 of y[2] + 3/8 of y[3]
        (2.25, [1, 0, 0.375, 0.125, 9 / 64, 6 / 64, 3 / 8 * 9 / 64 + 1 / 8 * 1 / 8]),
    ],
)
def test_echo_of_one_input_worked_out_by_hand(delay, expected):
    net = DelayedRecurrentContainer(nn.Identity(), 1, 1, 3, delay, bias=False)
    nn.init.constant_(net.rc.weight[:, :1].detach(), 1.0)
    nn.init.constant_(net.rc.weight[:, 1:].detach(), 0.5)
    x_seq = torch.zeros(7, 1, 1)
    x_seq[0] = 1
    assert net.forward_sequence(x_seq).flatten().tolist() == pytest.approx(expected)
    reset_net(net)
    assert step_by_step(net, x_seq).flatten().tolist() == pytest.approx(expected)


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


@pytest.mark.parametrize("sigma", [0.0, 0.6])
def test_gradient_to_delays_equals_differences_of_the_loss(sigma):
    net, x_seq = container(smooth(), learn_delays=True), random_currents(9, 3, 4)
    net.sigma = sigma

    def loss() -> Tensor:
        reset_net(net)
        return weighted_sum(net.forward_sequence(x_seq))

    (gradient,) = torch.autograd.grad(loss(), [net.delay])
    step, differences = 1e-6, torch.zeros_like(gradient)
    with torch.no_grad():
        for at in range(gradient.numel()):
            losses = []
            for side in (step, -step):
                net.delay.view(-1)[at] += side
                losses.append(loss())
                net.delay.view(-1)[at] -= side
            differences.view(-1)[at] = (losses[0] - losses[1]) / (2 * step)
    torch.testing.assert_close(gradient, differences, rtol=1e-6, atol=1e-8)
    assert gradient.count_nonzero() == gradient.numel()


@pytest.mark.parametrize("self_connections", [True, False])
def test_delays_of_one_step_are_a_linear_recurrence(self_connections):
    net = container(delays=1.0, self_connections=self_connections)
    plain = LinearRecurrentContainer(
        IFNode(backend="torch"), 4, 4, self_connections=self_connections
    ).double()
    plain.load_state_dict({name: value for name, value in net.state_dict().items() if name != "delay"})
    x_seq = random_currents(9, 3, 4)
    actual = output_and_gradients(net.forward_sequence, x_seq, [net.rc.weight, net.rc.bias])
    expected = output_and_gradients(plain.forward_sequence, x_seq, [plain.rc.weight, plain.rc.bias])
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    assert actual[0].any()


def test_without_self_connections_only_other_neurons_are_heard():
    net = container(nn.Identity(), delays=2.0, bias=False, self_connections=False)
    x_seq = torch.zeros(5, 1, 4, dtype=torch.float64)
    x_seq[0, 0, 1] = 1
    echo = net.forward_sequence(x_seq)[2, 0]
    expected = net.rc.weight[:, 4:] @ (net.rc.weight[:, :4] @ x_seq[0, 0])
    own = net.rc.weight[:, 4:].diagonal() * (net.rc.weight[:, :4] @ x_seq[0, 0])
    torch.testing.assert_close(echo, expected - own)
    assert own.any()


def test_sequence_equals_steps_bit_for_bit_in_pieces_too():
    net, x_seq = container(learn_delays=True), random_currents(12, 3, 4)
    expected = output_and_gradients(lambda x: step_by_step(net, x), x_seq, net.parameters())
    reset_net(net)
    pieces = output_and_gradients(
        lambda x: torch.cat([net.forward_sequence(x[:7]), step_by_step(net, x[7:9]), net.forward_sequence(x[9:])]),
        x_seq, net.parameters(),
    )  # fmt: skip
    assert torch.equal(pieces[0], expected[0])
    torch.testing.assert_close(pieces[1:], expected[1:], rtol=1e-12, atol=1e-14)
    assert expected[0].any()


def test_history_holds_the_last_outputs_newest_first():
    net, x_seq = container(), random_currents(7, 3, 4)
    y_seq = net.forward_sequence(x_seq)
    assert torch.equal(net.y_history, y_seq[-5:].flip(0).movedim(0, 1))
    assert list(states(net)) == ["y_history", "sub_module.v"]
    reset_net(net)
    assert net.y_history is None


@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 2, 4)])
def test_dimensions_between_samples_and_features(shape):
    torch.manual_seed(2)
    net = DelayedRecurrentContainer(nn.Sequential(nn.Linear(4, 3), LIFNode()), 4, 3, 2)
    x_seq = random_currents(5, *shape).float()
    y_seq = net.forward_sequence(x_seq)
    assert y_seq.shape == (5, *shape[:-1], 3)
    assert net.y_history.shape == (*shape[:-1][:1], 2, *shape[:-1][1:], 3)


def test_samples_do_not_mix():
    net, x_seq = container(smooth()), random_currents(9, 3, 2, 4)
    together = net.forward_sequence(x_seq)
    for n in range(3):
        reset_net(net)
        torch.testing.assert_close(net.forward_sequence(x_seq[:, n : n + 1])[:, 0], together[:, n])


def test_history_of_another_batch_is_refused_and_detach_cuts_it():
    net, x_seq = container(learn_delays=True), random_currents(6, 3, 4).requires_grad_()
    net.forward_sequence(x_seq).sum().backward()
    with pytest.raises(ValueError, match=r"state y_history has shape \[3, 5, 4\], input needs \[2, 5, 4\]"):
        net(x_seq[0, :2])
    with pytest.raises(RuntimeError, match="second time"):
        net.forward_sequence(x_seq[:2]).sum().backward()
    detach_net(net)
    net.forward_sequence(x_seq[:2]).sum().backward()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
def test_copies_state_dicts_and_compiled_containers_do_the_same():
    net, x_seq = container(learn_delays=True), random_currents(6, 3, 4)
    other = container(learn_delays=True, delays=2.0)
    other.load_state_dict(net.state_dict())
    output = net.forward_sequence(x_seq.requires_grad_())
    twin = copy.deepcopy(net)
    assert not twin.y_history.requires_grad
    again = net.forward_sequence(x_seq)
    assert torch.equal(twin.forward_sequence(x_seq), again)
    assert torch.equal(other.forward_sequence(x_seq), output)
    reset_net(net)
    compiled = torch.compile(net.forward_sequence, backend="aot_eager", fullgraph=True)
    actual = output_and_gradients(compiled, x_seq, net.parameters())
    reset_net(other)
    assert all_equal(actual[:1], [output])
    torch.testing.assert_close(
        actual, output_and_gradients(other.forward_sequence, x_seq, other.parameters())
    )


# Delays


@pytest.mark.parametrize(
    ("delays", "options", "is_learned"),
    [
        (3, {}, False),
        ([1.0, 2.0, 3.5, 5.0], {}, False),
        (None, {}, False),
        (3, {"learn_delays": True}, True),
        (None, {"learn_delays": True}, True),
        (nn.Parameter(torch.tensor([1.0, 2.0, 3.5, 5.0])), {}, True),
        (nn.Parameter(torch.tensor(2.5)), {}, True),
    ],
)
def test_delays_are_fixed_or_trained(delays, options, is_learned):
    net = DelayedRecurrentContainer(IFNode(), 4, 4, 5, delays, **options)
    assert ("delay" in dict(net.named_parameters())) == is_learned
    assert ("delay" in dict(net.named_buffers())) != is_learned
    assert (net.delay is delays) == isinstance(delays, nn.Parameter)
    if delays is not None:
        torch.testing.assert_close(
            net.delay.detach(), torch.as_tensor(delays).detach().float().expand(net.delay.shape)
        )
    assert net.taps().shape == (5, 4)
    net.forward_sequence(torch.rand(5, 2, 4)).sum().backward()
    assert not is_learned or net.delay.grad.shape == net.delay.shape


def test_random_delays_fill_their_range():
    torch.manual_seed(3)
    delay = DelayedRecurrentContainer(IFNode(), 40, 40, 9).delay
    assert delay.shape == (40,)
    assert 1 <= delay.min() < 2
    assert 8 < delay.max() <= 9
    assert abs(delay.mean() - 5) < 1


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


def test_learned_delays_that_left_their_range_return():
    net = container(smooth(), delays=1.0, learn_delays=True)
    with torch.no_grad():
        net.delay -= 2.0
    x_seq = random_currents(6, 3, 4)
    outside = output_and_gradients(net.forward_sequence, x_seq, [net.delay])
    with torch.no_grad():
        net.delay += 2.0
    reset_net(net)
    assert all_equal(outside, output_and_gradients(net.forward_sequence, x_seq, [net.delay]))
    assert outside[2].all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_delay": 0}, ValueError, "max_delay must be at least 1, got 0"),
        ({"max_delay": 2.5}, TypeError, "max_delay must be a whole number, got 2.5"),
        ({"delays": 0.5}, ValueError, "delays must lie between 1 and max_delay=5, got 0.5"),
        ({"delays": 6}, ValueError, "delays must lie between 1 and max_delay=5, got 6.0"),
        ({"delays": math.nan}, ValueError, "delays must be a finite number, got nan"),
        (
            {"delays": [1.0, 2.0, 3.0, 5.5]},
            ValueError,
            r"delays must lie between 1 and max_delay=5, got \[1.0, 2.0, 3.0, 5.5\]",
        ),
        ({"delays": [1.0, 2.0]}, ValueError, r"delays must be one number or of shape \[4\], got \[2\]"),
        ({"delays": "2"}, TypeError, "delays must be a number, got '2'"),
        (
            {"delays": torch.ones(4, requires_grad=True) * 2},
            TypeError,
            r"delays is a tensor with a gradient: write nn.Parameter\(...\)",
        ),
        ({"learn_delays": 1}, TypeError, "learn_delays must be True or False, got 1"),
    ],
)
def test_bad_delays_are_named(arguments, error, message):
    with pytest.raises(error, match=f"^DelayedRecurrentContainer: {message}"):
        DelayedRecurrentContainer(IFNode(), 4, 4, **({"max_delay": 5} | arguments))


@pytest.mark.parametrize(("sigma", "error"), [(-0.5, ValueError), (math.inf, ValueError), ("1", TypeError)])
def test_bad_spread_is_named(sigma, error):
    net = container()
    net.sigma = sigma
    with pytest.raises(error, match="sigma must be"):
        net.forward_sequence(random_currents(6, 3, 4))


@pytest.mark.parametrize("outer", [lambda net: net.forward_sequence, MultiStepContainer])
def test_a_delay_beyond_the_sequence_is_refused_unless_earlier_steps_are_kept(outer):
    net, x_seq = container(), random_currents(5, 3, 4)
    with pytest.raises(
        ValueError,
        match="max_delay=5 is beyond the T=4 steps of x_seq: use longer sequences or a smaller max_delay",
    ):
        outer(net)(x_seq[:4])
    outer(net)(x_seq)
    assert outer(net)(x_seq[:2]).shape == (2, 3, 4)


def test_hooks_of_rc_are_called():
    net, called = container(), []
    net.rc.register_forward_hook(lambda *_: called.append(1))
    net.forward_sequence(random_currents(6, 3, 4))
    assert len(called) == 6


def test_delays_are_fused():
    (decision,) = explain(MultiStepContainer(container()), random_currents(6, 3, 4))
    assert decision.fused


# Three neurons are to answer a spike again some steps later, as the target does, each by the connection to itself.
# Their delays begin several steps away: with sigma = 0 nothing would be seen from there.
def test_spiking_neurons_learn_the_delays_that_their_task_needs():
    torch.manual_seed(0)

    def build(delays: list[float], **options) -> DelayedRecurrentContainer:
        node = LIFNode(tau=2.0, surrogate_function=ATan(), detach_reset=True)
        net = DelayedRecurrentContainer(node, 3, 3, 10, delays, bias=False, **options)
        net.rc.weight = nn.Parameter(2.4 * torch.eye(3).repeat(1, 2), requires_grad=False)
        return net

    net, target = build([2.0, 3.0, 9.0], learn_delays=True), build([5.0, 5.0, 6.0])
    x_seq = torch.zeros(14, 32, 3)
    x_seq[torch.randint(0, 4, (32, 3)), torch.arange(32)[:, None], torch.arange(3)] = 1
    wanted, steps = target.forward_sequence(x_seq), 100
    assert wanted.sum() > x_seq.sum()
    optimizer = torch.optim.Adam([net.delay], lr=0.1)
    for step in range(steps):
        net.sigma = 6.0 * (1 - step / steps)
        reset_net(net)
        loss = nn.functional.mse_loss(net.forward_sequence(x_seq), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.round_delays()
    assert net.delay.tolist() == [5, 5, 6]
    reset_net(net)
    assert torch.equal(net.forward_sequence(x_seq), wanted)
