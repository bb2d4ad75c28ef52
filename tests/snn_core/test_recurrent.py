"""Weighted and pure element-wise feedback, linear feedback without self-connections, convolutional feedback."""

from __future__ import annotations

import copy
import math
import operator
import random

import pytest
import torch
from support_networks import all_equal, output_and_gradients, random_currents, step_by_step
from torch import Tensor, nn

from snn_core.cells import IF, LIF, Cell, ElementWiseFeedback
from snn_core.element_wise import ElementWiseRecurrentContainer
from snn_core.functional import explain, reset_net, scan, states
from snn_core.kernels.record.purity import is_pure
from snn_core.layer import ConvRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.neuron import IFNode, LIFNode
from snn_core.recurrent import OffDiagonalLinear
from snn_core.surrogate import Sigmoid

# Pure functions

OUTSIDE = 2.0
SCALE = torch.tensor(2.0)


def with_a_variable(x, y):
    z = -x * 2 + y / 3
    return (z > y) * z - 1.5


def reads_a_global(x, y):
    return x + OUTSIDE * y


def draws(x, y):
    return x + random.random() * y


def calls_a_method(x, y):
    return x.add(y)


def in_place(x, y):
    x += y
    return x


def branches(x, y):
    return x if OUTSIDE else y


def branches_on_an_argument(x, y):
    return x if y is None else y


def in_a_loop(x, y):
    for _ in (1, 2):
        x = x + y
    return x


def generates(x, y):
    yield x + y


async def waits(x, y):
    return x + y


def with_inner_function(x, y):
    return (lambda z: z + OUTSIDE)(x) + y


def closing_over(factor):
    return lambda x, y: x + factor * y


class Callable:
    def __call__(self, x, y):
        return x + y

    def method(self, y):
        return self + y


@pytest.mark.parametrize(
    "function",
    [
        *(
            torch.add,
            torch.sub,
            torch.mul,
            torch.maximum,
            torch.minimum,
            operator.add,
            operator.sub,
            operator.mul,
        ),
        lambda x, y: x + y,
        lambda x, y: x - 2 * y,
        lambda x, y, /: (x + 1) * -y / 3,
        with_a_variable,
        Callable.method,
        lambda x: x + x,
        torch.where,
        torch.sigmoid,
    ],
)
def test_arithmetic_on_arguments_is_pure(function):
    assert is_pure(function)


@pytest.mark.parametrize(
    "function",
    [
        reads_a_global,
        draws,
        calls_a_method,
        in_place,
        branches,
        branches_on_an_argument,
        in_a_loop,
        generates,
        waits,
        with_inner_function,
        closing_over(2.0),
        Callable(),
        Callable().method,
        torch.rand,
        torch.Tensor.add_,
        operator.iadd,
        operator.matmul,
        nn.Identity(),
        lambda x, y: torch.tanh(x + y),
        lambda x, y: x @ y,
        lambda x, y: x[0] + y,
        lambda x, y: x // y,
        lambda x, y: [x, y],
        lambda x, y: f"{x}{y}",
        lambda x, y: x and y,
        lambda x, y=1: x + y,
        lambda x, y, z=1: x + y + z,
        lambda x, y, *, z=1: x + y + z,
        lambda x, *y: x + y,
        lambda x, y, **z: x + y,
        None,
        "add",
    ],
)
def test_everything_else_is_not_pure(function):
    assert not is_pure(function)


def test_changed_defaults_are_seen():
    function = lambda x, y: x + y  # noqa: E731
    assert is_pure(function)
    function.__defaults__ = (1.0,)
    assert not is_pure(function)


# Element-wise feedback with a weight


def container(weight, function=torch.add, sub_module=None) -> ElementWiseRecurrentContainer:
    return ElementWiseRecurrentContainer(
        nn.Identity() if sub_module is None else sub_module, function, weight
    )


@pytest.mark.parametrize(
    ("function", "weight", "expected"),
    [
        # y = x + w y[t-1] for x = 1, 0, 2, and both neurons
        (torch.add, 0.5, [[1, 1], [0.5, 0.5], [2.25, 2.25]]),
        (torch.add, [0.5, -1.0], [[1, 1], [0.5, -1], [2.25, 3]]),
        (torch.add, torch.tensor([0.5, -1.0]), [[1, 1], [0.5, -1], [2.25, 3]]),
        (torch.add, nn.Parameter(torch.tensor(0.5)), [[1, 1], [0.5, 0.5], [2.25, 2.25]]),
        (torch.add, nn.Parameter(torch.tensor([0.5, -1.0])), [[1, 1], [0.5, -1], [2.25, 3]]),
        (torch.sub, 0.5, [[1, 1], [-0.5, -0.5], [2.25, 2.25]]),
        (torch.maximum, [0.5, -1.0], [[1, 1], [0.5, 0], [2, 2]]),
    ],
)
def test_weighted_feedback_worked_out_by_hand(function, weight, expected):
    net = container(weight, function)
    x_seq = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]])[:, None]
    assert step_by_step(net, x_seq)[:, 0].tolist() == expected
    reset_net(net)
    assert net.forward_sequence(x_seq)[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("weight", "kept_as"),
    [
        (None, []),
        (0.5, []),
        ([0.5, -1.0], ["buffer"]),
        (torch.tensor([0.5, -1.0]), ["buffer"]),
        (nn.Parameter(torch.tensor([0.5, -1.0])), ["parameter"]),
    ],
)
def test_a_weight_is_fixed_or_trained_as_its_type_says(weight, kept_as):
    net = container(weight)
    assert ["buffer" for _ in net.buffers()] + ["parameter" for _ in net.parameters()] == kept_as
    assert list(net.state_dict()) == ["weight"] * len(kept_as)
    if isinstance(weight, nn.Parameter):
        assert net.weight is weight
    elif isinstance(weight, Tensor):
        weight.zero_()
        assert net.weight.all()  # of its own
    assert net.to(torch.float64)(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("weight", [0.5, [0.5, 1.0], nn.Parameter(torch.tensor(0.5))])
def test_a_weight_of_another_dtype_takes_that_of_the_input(weight):
    net, x = container(weight), torch.ones(3, 1, 2, dtype=torch.bfloat16)
    assert net.forward_sequence(x).dtype == net.y.dtype == torch.bfloat16


# y[0] = x[0], y[1] = x[1] + w y[0], y[2] = x[2] + w y[1]; of c[0] y[0] + c[1] y[1] + c[2] y[2]:
# d/dw = c[1] y[0] + c[2] (y[1] + w y[0])
def test_gradient_of_a_weight_derived_by_hand():
    w, c, x = 0.5, [3.0, -1.0, 2.0], [1.0, 4.0, 0.5]
    net = container(nn.Parameter(torch.tensor(w)))
    y = net.forward_sequence(torch.tensor(x)[:, None]).flatten()
    (y * torch.tensor(c)).sum().backward()
    assert net.weight.grad.item() == pytest.approx(c[1] * x[0] + c[2] * ((x[1] + w * x[0]) + w * x[0]))


def test_a_weight_of_one_and_no_weight_are_the_same():
    x_seq = random_currents(8, 3, 4)
    expected = output_and_gradients(container(None, sub_module=IFNode()).forward_sequence, x_seq)
    assert expected[0].any()
    for weight in (1, [1.0] * 4):
        net = container(weight, sub_module=IFNode(backend="torch"))
        torch.testing.assert_close(output_and_gradients(net.forward_sequence, x_seq), expected)


def test_a_weight_shows_itself():
    assert "weight" not in repr(container(None))
    assert ", weight=0.5" in repr(container(0.5))
    assert ", weight=0.5" in repr(container(nn.Parameter(torch.tensor(0.5))))
    assert ", weight=<[2]>" in repr(container([0.5, 1.0]))


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ("0.5", TypeError, "weight must be a number, got '0.5'"),
        (True, TypeError, "weight must be a number, got True"),
        (["a"], TypeError, r"weight must be a number or one number for each neuron, got \['a'\]"),
        (math.nan, ValueError, "weight must be a finite number, got nan"),
        ([1.0, math.inf], ValueError, r"weight must be finite, got \[1.0, inf\]"),
        ([], ValueError, r"weight must be a number or one number for each neuron, got shape \[0\]"),
        (
            torch.ones(2, requires_grad=True),
            TypeError,
            r"weight is a tensor with a gradient: write nn.Parameter\(...\)",
        ),
        (
            nn.Parameter(torch.ones(2, dtype=torch.cfloat)),
            TypeError,
            "weight must be a number or one number for each neuron, got dtype torch.complex64",
        ),
    ],
)
def test_bad_weight_is_named(weight, error, message):
    with pytest.raises(error, match=f"^ElementWiseRecurrentContainer: {message}"):
        container(weight)


@pytest.mark.parametrize("call", ["forward", "forward_sequence"])
def test_a_weight_that_does_not_fit_the_sample_is_named(call):
    message = r"weight has shape \[2\], so a time step must have shape \[N, 2\], got \[(1, )?3\]"
    with pytest.raises(ValueError, match=message):
        getattr(container([0.5, 1.0]), call)(torch.ones(1, 3) if call == "forward" else torch.ones(5, 1, 3))
    with pytest.raises(ValueError, match=r"x is on meta, the weights are on cpu"):
        getattr(container([0.5, 1.0]), call)(torch.ones(5, 1, 2, device="meta"))


@pytest.mark.parametrize(
    ("function", "weight", "reason"),
    [
        (torch.add, 0.5, ""),
        (torch.sub, [0.5, 0.0, 1.0], ""),
        (torch.sub, None, ""),
        (reads_a_global, None, "its element-wise function is not arithmetic on its arguments alone"),
        (torch.add, None, ""),
        (lambda a, b: a + b, None, ""),
    ],
)
def test_explain_says_what_takes_the_loop(function, weight, reason):
    (decision,) = explain(MultiStepContainer(container(weight, function, IFNode())), torch.rand(4, 2, 3))
    assert (decision.fused, decision.reason) == (not reason, reason)


def test_several_saved_weights_for_one_are_refused():
    several, one = container(nn.Parameter(torch.ones(2))), container(nn.Parameter(torch.tensor(0.5)))
    with pytest.raises(RuntimeError, match=r"size mismatch for weight: \[2\] saved, \[\] here"):
        one.load_state_dict(several.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        several.load_state_dict(one.state_dict())


# The same as a cell


class Integrator(Cell):
    """y[t] = y[t-1] / 2 + x[t], from y[-1] = 1."""

    initial = (1.0,)

    def step(self, x, state):
        y = state[0] / 2 + x
        return y, (y,)


def test_a_fed_cell_worked_out_by_hand():
    cell = ElementWiseFeedback(Integrator(), torch.sub, 0.5)
    assert cell.initial == (1.0, 0.0)
    state, y_seq = (torch.tensor(1.0), torch.tensor(0.0)), []
    # t = 0: i = 1 - 0, y = 1/2 + 1; t = 1: i = 2 - 3/4, y = 3/4 + 5/4
    for x in (1.0, 2.0):
        y, state = cell.step(torch.tensor(x), state)
        y_seq.append(y.item())
    assert y_seq == [1.5, 2.0]
    assert state == (y, y)


@pytest.mark.parametrize("function", [torch.add, torch.sub, lambda x, y: x - 2 * y])
@pytest.mark.parametrize("weight", [None, 0.5, nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.1]).double())])
@pytest.mark.parametrize(
    ("node", "cell"),
    [
        (IFNode(backend="torch"), IF(1.0, 0.0, Sigmoid(), False)),
        (LIFNode(tau=3.0, v_reset=None), LIF(1.0, None, Sigmoid(), False, 3.0, True)),
    ],
)
def test_a_fed_cell_equals_the_container_around_its_neuron(node, cell, function, weight):
    def run(x_seq: Tensor) -> Tensor:
        fed, state, y_seq = ElementWiseFeedback(cell, function, weight), (torch.zeros(3, 4).double(),) * 2, []
        for x in x_seq:
            y, state = fed.step(x, state)
            y_seq.append(y)
        return torch.stack(y_seq)

    x_seq, net = random_currents(9, 3, 4), container(weight, function, copy.deepcopy(node))
    learned = [weight] if isinstance(weight, Tensor) else []
    expected = output_and_gradients(lambda x: step_by_step(net, x), x_seq, learned)
    torch.testing.assert_close(output_and_gradients(run, x_seq, learned), expected, rtol=1e-12, atol=1e-14)
    assert expected[0].any()


# Linear feedback without self-connections


def test_no_output_reaches_its_own_input():
    # Both neurons hear x[t] of their own, and 1/2 or 2 of the other's output; 8 and 9 would be their own outputs.
    net = LinearRecurrentContainer(nn.Identity(), 2, 2, bias=False, self_connections=False)
    weight = torch.tensor([[1.0, 0.0, 8.0, 0.5], [0.0, 1.0, 2.0, 9.0]])
    with torch.no_grad():
        net.rc.weight.copy_(weight)
    x_seq = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])[:, None]
    # y = (1, 0), (0, 3 + 2), (5/2, 0)
    assert step_by_step(net, x_seq)[:, 0].tolist() == [[1, 0], [0, 5], [2.5, 0]]
    assert torch.equal(net.rc.weight, weight)
    reset_net(net)
    net.forward_sequence(x_seq).sum().backward()
    assert net.rc.weight.grad[:, 2:].diagonal().tolist() == [0, 0]
    assert net.rc.weight.grad[0, 3] != 0


@pytest.mark.parametrize("bias", [True, False])
def test_without_self_connections_equals_a_weight_with_zeros(bias):
    x_seq = random_currents(9, 3, 4)
    net = LinearRecurrentContainer(IFNode(), 4, 4, bias, self_connections=False).double()
    plain = LinearRecurrentContainer(IFNode(backend="torch"), 4, 4, bias).double()
    plain.load_state_dict(net.state_dict())
    off = torch.cat([torch.ones(4, 4), 1 - torch.eye(4)], dim=1)
    with torch.no_grad():
        plain.rc.weight.mul_(off)
    actual = output_and_gradients(net.forward_sequence, x_seq, net.parameters())
    expected = output_and_gradients(plain.forward_sequence, x_seq, plain.parameters())
    expected[1 + 1] *= off
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)
    assert actual[0].any()


def test_a_stored_weight_that_is_not_finite_does_no_harm_where_it_does_not_count():
    layer = OffDiagonalLinear(4, 2)
    with torch.no_grad():
        layer.weight[:, 2:].fill_diagonal_(math.nan)
    layer(torch.rand(3, 4)).sum().backward()
    assert layer.weight.grad.isfinite().all()


def test_self_connections_need_as_many_inputs_as_outputs():
    message = "LinearRecurrentContainer: self_connections=False needs in_features equal to out_features, got 4 and 3"
    with pytest.raises(ValueError, match=message):
        LinearRecurrentContainer(IFNode(), 4, 3, self_connections=False)


def test_a_feedback_without_self_connections_is_fused():
    net = MultiStepContainer(LinearRecurrentContainer(IFNode(), 3, 3, self_connections=False))
    (decision,) = explain(net, torch.rand(4, 2, 3))
    assert decision.fused


# Convolutional feedback


def convolutional(sub_module=None, kernel_size=3, channels=(2, 2), **options):
    torch.manual_seed(3)
    sub_module = LIFNode(tau=1.5) if sub_module is None else sub_module
    net = ConvRecurrentContainer(sub_module, *channels, kernel_size, **options).double()
    with torch.no_grad():
        net.rc.weight *= 3
    return net


def test_convolutional_feedback_worked_out_by_hand():
    net = ConvRecurrentContainer(nn.Identity(), 1, 1, 3, bias=False)
    with torch.no_grad():  # x[t] passes, y[t-1] moves one place to the right, halved, and a quarter stays
        net.rc.weight.zero_()[0, :, 1] = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.25, 0.0]])
    x_seq = torch.zeros(3, 1, 1, 1, 4)
    x_seq[0, ..., 1] = 16
    expected = [[0, 16, 0, 0], [0, 4, 8, 0], [0, 1, 4, 4]]
    assert step_by_step(net, x_seq)[:, 0, 0, 0].tolist() == expected
    reset_net(net)
    assert net.forward_sequence(x_seq)[:, 0, 0, 0].tolist() == expected
    assert net.y[0, 0, 0].tolist() == expected[-1]


@pytest.mark.parametrize("kernel_size", [1, 5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_convolved_sequence_equals_steps(kernel_size, bias, backend):
    net = convolutional(LIFNode(tau=1.5, backend=backend), kernel_size=kernel_size, bias=bias)
    x_seq = random_currents(8, 3, 2, 5, 6)
    expected = output_and_gradients(lambda x: step_by_step(net, x), x_seq, net.parameters())
    last = states(net)
    reset_net(net)
    pieces = lambda x: torch.cat([net.forward_sequence(x[:5]), net.forward_sequence(x[5:])])  # noqa: E731
    actual = output_and_gradients(pieces, x_seq, net.parameters())
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(states(net), last, rtol=1e-12, atol=1e-12)
    assert 0.05 < expected[0].mean() < 0.95


class Doubled(ConvRecurrentContainer):
    def forward(self, x):
        return super().forward(2 * x)


@pytest.mark.parametrize("outer", [MultiStepContainer, lambda net: lambda x_seq: scan(x_seq, net)])
def test_a_forward_of_ones_own_is_called_at_every_step(outer):
    net, x_seq = convolutional(), random_currents(7, 3, 2, 5, 6)
    doubled = Doubled(LIFNode(tau=1.5), 2, 2, 3).double()
    doubled.load_state_dict(net.state_dict())
    expected = step_by_step(net, x_seq)
    torch.testing.assert_close(outer(doubled)(x_seq / 2), expected)
    assert expected.any()


def test_convolution_of_other_channels_equals_the_definition():
    torch.manual_seed(4)
    within = nn.Sequential(nn.Conv2d(3, 2, 1), LIFNode(tau=2.0)).double()
    net, alone = convolutional(within, channels=(3, 2)), copy.deepcopy(within)
    x_seq, y, expected = random_currents(6, 4, 3, 5, 6), torch.zeros(4, 2, 5, 6).double(), []
    for x in x_seq:
        y = alone(nn.functional.conv2d(torch.cat([x, y], 1), net.rc.weight, net.rc.bias, padding=1))
        expected.append(y)
    assert net.rc.weight.shape == (3, 5, 3, 3)
    torch.testing.assert_close(net.forward_sequence(x_seq), torch.stack(expected))


@pytest.mark.parametrize("change", ["hook", "circular", "dilated", "groups", "own class"])
def test_a_changed_convolution_is_used_as_it_is(change):
    net, called = convolutional(), []
    if change == "hook":
        net.rc.register_forward_hook(lambda *_: called.append(1))
    elif change == "circular":
        net.rc.padding_mode = "circular"
    elif change == "dilated":
        net.rc.dilation, net.rc.padding = (2, 2), (2, 2)
    elif change == "groups":
        net.rc = nn.Conv2d(4, 2, 3, padding=1, groups=2).double()
    else:
        net.rc = nn.Sequential(net.rc, nn.Hardtanh(-1, 2))
    x_seq = random_currents(6, 3, 2, 5, 6)
    y_seq = net.forward_sequence(x_seq)
    assert len(called) == (6 if change == "hook" else 0)
    reset_net(net)
    torch.testing.assert_close(y_seq, step_by_step(net, x_seq))
    assert y_seq.any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"kernel_size": 4},
            ValueError,
            r"kernel_size must be odd, so that y\[t\] keeps the size of x\[t\], got 4",
        ),
        ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": (3, 3)}, TypeError, "kernel_size must be a whole number, got tuple"),
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got 0"),
        ({"out_channels": 2.0}, TypeError, "out_channels must be a whole number, got 2.0"),
        ({"bias": 1}, TypeError, "bias must be True or False, got 1"),
    ],
)
def test_bad_convolution_is_named(arguments, error, message):
    good = {"in_channels": 2, "out_channels": 2, "kernel_size": 3}
    with pytest.raises(error, match=f"^ConvRecurrentContainer: {message}$"):
        ConvRecurrentContainer(IFNode(), **(good | arguments))


@pytest.mark.parametrize("call", ["forward", "forward_sequence"])
def test_wrong_channels_and_dimensions_are_named(call):
    lead = () if call == "forward" else (5,)
    wanted = r"it must be \[N, in_channels=2, H, W\]"
    for shape in [(3, 4, 5, 6), (2, 5, 6)]:
        message = rf"ConvRecurrentContainer: input has shape \[{', '.join(map(str, shape))}\], {wanted}"
        with pytest.raises(ValueError, match=message):
            getattr(convolutional(), call)(torch.zeros(*lead, *shape))
    net = ConvRecurrentContainer(IFNode(), 2, 3, 3)
    message = r"sub_module's output has shape \[3, 2, 5, 6\], it must be \[N, out_channels=3, H, W\]"
    with pytest.raises(ValueError, match=message):
        getattr(net, call)(torch.zeros(*lead, 3, 2, 5, 6))
    with pytest.raises(
        TypeError, match=r"x must have the dtype of the weights, torch.float32, got torch.float64"
    ):
        getattr(net, call)(torch.zeros(*lead, 3, 2, 5, 6).double())


def test_small_maps_are_fused_and_large_ones_are_not():
    (decision,) = explain(MultiStepContainer(convolutional()), random_currents(4, 3, 2, 16, 16))
    assert decision.fused
    (decision,) = explain(MultiStepContainer(convolutional()), random_currents(4, 3, 2, 16, 17))
    assert decision.reason == "samples of 544 numbers are too large for a matrix, 512 is the most"


def test_a_convolution_that_changes_channels_takes_the_loop():
    net = convolutional(sub_module=nn.Sequential(nn.Conv2d(2, 3, 1), LIFNode()), channels=(2, 3))
    (decision,) = explain(MultiStepContainer(net), random_currents(4, 3, 2, 5, 6))
    assert "in_channels differs from out_channels" in decision.reason


def test_a_convolution_between_neurons_has_a_scan_of_its_own():
    first, last = (LIFNode(tau=1.5, v_threshold=0.1) for _ in range(2))
    net = MultiStepContainer(first, convolutional(), last).double()
    loop = copy.deepcopy(net)
    for part in loop.modules():
        if isinstance(part, LIFNode):
            part.backend = "torch"
    x_seq = 9 * random_currents(7, 3, 2, 5, 6)
    assert [decision.scan for decision in explain(net, x_seq)] == [1, 2, 3]
    found, expected = (output_and_gradients(one, x_seq, one.parameters()) for one in (net, loop))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(states(net), states(loop), rtol=1e-12, atol=1e-12)
    assert expected[0].any()


# An optimizer's state in a checkpoint goes by the order of parameters.
@pytest.mark.parametrize(
    "build",
    [
        lambda m: LinearRecurrentContainer(m, 4, 4),
        lambda m: LinearRecurrentContainer(m, 4, 4, self_connections=False),
        lambda m: ConvRecurrentContainer(m, 4, 4, 3),
    ],
)
def test_weights_of_the_feedback_come_before_those_within(build):
    net = build(nn.Linear(4, 4))
    names = ["rc.weight", "rc.bias", "sub_module.weight", "sub_module.bias"]
    assert [name for name, _ in net.named_parameters()] == list(net.state_dict()) == names


# All of them

NEW = {
    "weight": (lambda: container(nn.Parameter(torch.rand(4).double()), torch.sub, IFNode()), (3, 4)),
    "function": (lambda: container(None, lambda x, y: x - 2 * y, IFNode()), (3, 4)),
    "off-diagonal": (
        lambda: LinearRecurrentContainer(IFNode(), 4, 4, self_connections=False).double(),
        (3, 4),
    ),
    "convolution": (lambda: convolutional(), (3, 2, 5, 6)),
}
every_container = pytest.mark.parametrize(("build", "shape"), NEW.values(), ids=NEW)


@every_container
def test_copies_and_state_dicts_do_the_same(build, shape):
    net, other, x_seq = build(), build(), random_currents(6, *shape)
    other.load_state_dict(net.state_dict())
    output = net.forward_sequence(x_seq.requires_grad_())
    twin = copy.deepcopy(net)
    assert set(states(twin)) == {"y", "sub_module.v"}
    assert not twin.y.requires_grad
    assert torch.equal(other.forward_sequence(x_seq), output)
    assert torch.equal(twin.forward_sequence(x_seq), net.forward_sequence(x_seq))
    assert output.any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
@every_container
def test_compiled_containers_do_the_same(build, shape):
    net, x_seq = build(), random_currents(5, *shape)
    expected = output_and_gradients(net.forward_sequence, x_seq, net.parameters())
    reset_net(net)
    compiled = torch.compile(net.forward_sequence, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(output_and_gradients(compiled, x_seq, net.parameters()), expected)


@every_container
def test_outputs_may_be_changed_in_place(build, shape):
    net, x_seq = build(), random_currents(5, *shape)
    expected = step_by_step(net, x_seq)
    reset_net(net)
    with torch.no_grad():
        for x, wanted in zip(x_seq, expected, strict=True):
            y = net(x)
            assert all_equal([y], [wanted])
            y.fill_(7.0)
