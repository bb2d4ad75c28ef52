"""Recurrent containers, the synapse filter, and the wrappers that turn one step into a sequence."""

from __future__ import annotations

import copy
import math
import pickle
import re

import pytest
import torch
from support_networks import (
    all_equal,
    output_and_gradients,
    random_currents,
    random_spikes,
    step_by_step,
    weighted_sum,
)
from torch import nn

from snn_core import neuron
from snn_core.functional import reset_net, seq_to_ann_forward
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, MultiStepIFNode
from snn_core.surrogate import Sigmoid


def walk(module: nn.Module, x_seq: list[float]) -> list[float]:
    """Feed one number per step to a module for ``[N, 1]``."""
    return step_by_step(module, torch.tensor(x_seq).reshape(-1, 1, 1)).flatten().tolist()


# ElementWiseRecurrentContainer


def element_wise_add(x, y):
    return x + y


def test_demonstration_of_the_tutorial_prints_its_eight_lines(capsys):
    T = 8
    net = ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), element_wise_add)
    print(net)
    x = torch.zeros([T])
    x[0] = 1.5
    for t in range(T):
        print(t, f"x[t]={x[t]}, s[t]={net(x[t])}")

    printed = capsys.readouterr().out.splitlines()
    text, lines = printed[:-T], printed[-T:]
    assert lines == [
        "0 x[t]=1.5, s[t]=1.0",
        "1 x[t]=0.0, s[t]=1.0",
        "2 x[t]=0.0, s[t]=1.0",
        "3 x[t]=0.0, s[t]=1.0",
        "4 x[t]=0.0, s[t]=1.0",
        "5 x[t]=0.0, s[t]=1.0",
        "6 x[t]=0.0, s[t]=1.0",
        "7 x[t]=0.0, s[t]=1.0",
    ]
    address = "0x[0-9a-fA-F]+"
    assert [re.sub(address, "ADDRESS", line) for line in text] == [
        "ElementWiseRecurrentContainer(",
        "  element-wise function=<function element_wise_add at ADDRESS>",
        "  (sub_module): IFNode(",
        "    v_threshold=1.0, v_reset=None, detach_reset=False",
        "    (surrogate_function): Sigmoid(alpha=1.0, spiking=True)",
        "  )",
        ")",
    ]


# Each step: i = f(x, y), then y = i >= 1 with a fresh potential of 0 after a spike. x = 1.5, 0.5, 0.75, 1.0.
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # i = 1.5, 1.5, 1.75, 2.0
        (torch.add, [1, 1, 1, 1]),
        # i = 1.5, 0.5 - 1, 0.75, 1.0; h = 1.5, -0.5, 0.25, 1.25
        (torch.sub, [1, 0, 0, 1]),
        # i = 1.5, max(0.5, 1), max(0.75, 1), max(1, 1)
        (torch.maximum, [1, 1, 1, 1]),
        # i = 1.5, 0.5, 0.75, 1.0 - 2; h = 1.5, 0.5 - 2, -0.75, 0.25
        (lambda x, y: x - 2 * y, [1, 0, 0, 0]),
        # i = 0, 0, 0, 0: y[-1] = 0 multiplies the first input
        (torch.mul, [0, 0, 0, 0]),
    ],
    ids=["add", "sub", "max", "lambda", "mul"],
)
def test_element_wise_recurrence_worked_out_by_hand(function, expected):
    net = ElementWiseRecurrentContainer(IFNode(), function)
    assert walk(net, [1.5, 0.5, 0.75, 1.0]) == expected


def test_element_wise_recurrence_of_a_module_that_does_not_spike():
    # y = x + y[t-1] / 2 = 1, 0.5, 2.25
    net = ElementWiseRecurrentContainer(nn.Identity(), lambda x, y: x + 0.5 * y)
    assert walk(net, [1.0, 0.0, 2.0]) == [1.0, 0.5, 2.25]


def by_hand(sub_module, x_seq, mix):
    """The definition of both containers: i[t] = mix(x[t], y[t-1]), y[t] = sub_module(i[t]), y[-1] = 0."""
    y, y_seq = torch.zeros_like(x_seq[0]), []
    for x in x_seq:
        y = sub_module(mix(x, y))
        y_seq.append(y)
    return torch.stack(y_seq)


@pytest.mark.parametrize(
    "sub_module",
    [LIFNode(tau=1.5), nn.Sequential(nn.Linear(4, 4), IFNode()), nn.Sequential(nn.Linear(4, 4), nn.Tanh())],
    ids=["LIFNode", "Linear and IFNode", "Linear and Tanh"],
)
def test_element_wise_recurrence_of_other_sub_modules(sub_module):
    x_seq = random_currents(6, 5, 4).float()
    net = ElementWiseRecurrentContainer(copy.deepcopy(sub_module), torch.sub)
    alone = copy.deepcopy(sub_module)
    actual = output_and_gradients(lambda x: step_by_step(net, x), x_seq, net.parameters())
    expected = output_and_gradients(lambda x: by_hand(alone, x, torch.sub), x_seq, alone.parameters())
    assert all_equal(actual, expected)
    assert actual[0].any()


@pytest.mark.parametrize("features", [3, 5])
def test_element_wise_recurrence_refuses_a_sub_module_that_changes_the_shape(features):
    net = ElementWiseRecurrentContainer(nn.Linear(4, features), torch.add)
    message = (
        "ElementWiseRecurrentContainer: sub_module must keep the shape of its input, "
        rf"got \[2, {features}\] for \[2, 4\]: use LinearRecurrentContainer for other sizes"
    )
    with pytest.raises(ValueError, match=message):
        net(torch.zeros(2, 4))


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize(
    "build",
    [
        lambda backend: ElementWiseRecurrentContainer(IFNode(backend=backend), torch.add),
        lambda backend: LinearRecurrentContainer(IFNode(backend=backend), 4, 4),
        lambda backend: SynapseFilter(2.0, backend=backend),
        lambda backend: IFNode(backend=backend),
    ],
    ids=["element-wise", "linear", "synapse", "neuron"],
)
def test_a_sequence_of_one_step_is_a_step(build, backend):
    module = build(backend)
    x = 2 * random_currents(1, 3, 4).float()
    y_seq = module.forward_sequence(x)
    reset_net(module)
    assert torch.equal(y_seq, module(x[0])[None])
    assert y_seq.any()


def test_element_wise_recurrence_refuses_what_is_not_callable():
    with pytest.raises(TypeError, match="element_wise_function must be callable, got str"):
        ElementWiseRecurrentContainer(IFNode(), "add")


# LinearRecurrentContainer


def linear_container(weight, bias, sub_module, in_features=1, out_features=1):
    net = LinearRecurrentContainer(sub_module, in_features, out_features, bias=bias is not None)
    with torch.no_grad():
        net.rc.weight.copy_(torch.tensor(weight))
        if bias is not None:
            net.rc.bias.copy_(torch.tensor(bias))
    return net


# i[t] = x[t] - y[t-1] / 2 + 1/4, threshold 1, hard reset to 0.
def test_linear_recurrence_worked_out_by_hand():
    net = linear_container([[1.0, -0.5]], [0.25], IFNode())
    # x:          1.5     0.5     -1      0.5     1       1
    # y[t-1]:     0       1       0       0       0       1
    # i:          1.75    0.25    -0.75   0.75    1.25    0.75
    # h:          1.75    0.25    -0.5    0.25    1.5     0.75
    assert walk(net, [1.5, 0.5, -1.0, 0.5, 1.0, 1.0]) == [1, 0, 0, 0, 1, 0]


def test_linear_recurrence_without_bias_of_a_module_that_does_not_spike():
    # y = x + y[t-1] / 2
    net = linear_container([[1.0, 0.5]], None, nn.Identity())
    assert net.rc.bias is None
    assert walk(net, [1.0, 0.0, 0.0, 2.0]) == [1.0, 0.5, 0.25, 2.125]


# Two inputs and one output: the weight has a row for each input and the columns x0, x1, y; y = i0 + i1.
def test_linear_recurrence_of_other_sizes_worked_out_by_hand():
    total = nn.Linear(2, 1, bias=False)
    nn.init.ones_(total.weight)
    net = linear_container([[1.0, 0.0, 0.5], [0.0, 2.0, 0.25]], [0.0, 1.0], total, 2, 1)
    # t = 0: i = (1, 2 + 1)                        y = 4
    # t = 1: i = (0 + 2, 2 + 1 + 1)                y = 6
    # t = 2: i = (-1 + 3, 0 + 1.5 + 1)             y = 4.5
    x_seq = torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
    assert step_by_step(net, x_seq).flatten().tolist() == [4.0, 6.0, 4.5]


@pytest.mark.parametrize("shape", [(4,), (5, 4), (5, 2, 4)])
def test_linear_recurrence_takes_dimensions_between_batch_and_features(shape):
    net = LinearRecurrentContainer(nn.Sequential(nn.Linear(4, 3), LIFNode()), 4, 3)
    assert net(torch.zeros(shape)).shape == (*shape[:-1], 3)
    assert net(torch.zeros(shape)).shape == (*shape[:-1], 3)


@pytest.mark.parametrize("bias", [False, True])
def test_linear_recurrence_has_the_documented_layer(bias):
    net = LinearRecurrentContainer(IFNode(), 4, 3, bias)
    assert {name: tuple(p.shape) for name, p in net.named_parameters()} == (
        {"rc.weight": (4, 7), "rc.bias": (4,)} if bias else {"rc.weight": (4, 7)}
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 5), r"input has shape \[2, 5\], its last dimension must be in_features=4"),
        (torch.tensor(0.0), r"input has shape \[\], its last dimension must be in_features=4"),
        (
            torch.zeros(2, 4),
            r"sub_module's output has shape \[2, 4\], its last dimension must be out_features=3",
        ),
    ],
)
def test_linear_recurrence_names_the_size_that_does_not_fit(x, message):
    with pytest.raises(ValueError, match=f"LinearRecurrentContainer: {message}"):
        LinearRecurrentContainer(IFNode(), 4, 3)(x)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((0, 3), "in_features must be at least 1, got 0"), ((3, -1), "out_features must be at least 1, got -1")],
)
def test_linear_recurrence_names_the_size_below_one(sizes, message):
    with pytest.raises(ValueError, match=f"LinearRecurrentContainer: {message}"):
        LinearRecurrentContainer(IFNode(), *sizes)


# Gradient derived by hand for one neuron, T = 3, threshold 1, loss L = c[0] s[0] + c[1] s[1] + c[2] s[2]:
#
#   i[t] = a x[t] + b s[t-1] + d,   h[t] = v[t-1] + i[t],   s[t] = step(h[t] - 1) with derivative g[t]
#   hard: v[t] = (1 - s[t]) h[t],   soft: v[t] = h[t] - s[t]
#
# How v[t] moves with h[t]: r[t] = 1 - s[t] - g[t] h[t] (hard) or 1 - g[t] (soft); detached: 1 - s[t] or 1. The spike
# acts on the loss, on the reset, and through b on the next step; detach_reset cuts the second of these ways only:
#
#   dL/dh[2] = c[2] g[2]
#   dL/dh[1] = (c[1] + b dL/dh[2]) g[1] + r[1] dL/dh[2]
#   dL/dh[0] = (c[0] + b dL/dh[1]) g[0] + r[0] dL/dh[1]
#   dL/dx[t] = a dL/dh[t],  dL/da = sum x[t] dL/dh[t],  dL/db = sum s[t-1] dL/dh[t],  dL/dd = sum dL/dh[t]
@pytest.mark.parametrize("v_reset", [0.0, None])
@pytest.mark.parametrize("detach_reset", [False, True])
def test_gradient_of_linear_recurrence_derived_by_hand(v_reset, detach_reset):
    a, b, d = 0.5, -0.75, 0.25
    c = [1.0, -2.0, 3.0]
    x = [2.5, 1.0, 1.0]
    v, y, h, s, g, r = 0.0, 0.0, [0.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3
    for t in range(3):
        h[t] = v + a * x[t] + b * y + d
        y = s[t] = float(h[t] >= 1)
        g[t] = math.exp(1 - h[t]) / (1 + math.exp(1 - h[t])) ** 2
        through_spike = 0.0 if detach_reset else -g[t] * (1.0 if v_reset is None else h[t])
        r[t] = (1.0 if v_reset is None else 1.0 - s[t]) + through_spike
        v = h[t] - s[t] if v_reset is None else (1 - s[t]) * h[t]
    dh2 = c[2] * g[2]
    dh1 = (c[1] + b * dh2) * g[1] + r[1] * dh2
    dh0 = (c[0] + b * dh1) * g[0] + r[0] * dh1

    node = IFNode(v_reset=v_reset, detach_reset=detach_reset, surrogate_function=Sigmoid())
    net = linear_container([[a, b]], [d], node).double()
    x_seq = torch.tensor(x, dtype=torch.float64).reshape(3, 1, 1).requires_grad_()
    spikes = step_by_step(net, x_seq)
    (spikes.flatten() * torch.tensor(c)).sum().backward()
    assert spikes.flatten().tolist() == s
    assert s[0] == 1  # so that there is feedback
    assert x_seq.grad.flatten().tolist() == pytest.approx([a * dh0, a * dh1, a * dh2], rel=1e-12)
    weight = [x[0] * dh0 + x[1] * dh1 + x[2] * dh2, s[0] * dh1 + s[1] * dh2]
    assert net.rc.weight.grad.flatten().tolist() == pytest.approx(weight, rel=1e-12)
    assert net.rc.bias.grad.item() == pytest.approx(dh0 + dh1 + dh2, rel=1e-12)


# Both recurrent containers

CONTAINERS = {
    "element-wise": lambda: ElementWiseRecurrentContainer(LIFNode(tau=1.5), torch.sub),
    "linear": lambda: LinearRecurrentContainer(IFNode(), 4, 4),
}
every_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)


@pytest.mark.parametrize("sub_module", [None, torch.relu, IFNode])
@pytest.mark.parametrize(
    "build",
    [lambda m: ElementWiseRecurrentContainer(m, torch.add), lambda m: LinearRecurrentContainer(m, 1, 1)],
)
def test_sub_module_must_be_a_module(build, sub_module):
    with pytest.raises(TypeError, match=r"RecurrentContainer: sub_module must be a torch.nn.Module, got"):
        build(sub_module)


@every_container
def test_feedback_is_forgotten_on_reset(container):
    net, x_seq = container().double(), random_currents(6, 5, 4)
    first = step_by_step(net, x_seq)
    assert not torch.equal(step_by_step(net, x_seq), first)
    reset_net(net)
    assert net.y is None
    assert torch.equal(step_by_step(net, x_seq), first)


@every_container
def test_feedback_of_another_batch_size_is_refused(container):
    net = container()
    net(torch.zeros(4, 4))
    message = (
        rf"^{type(net).__name__}: state y has shape \[4, 4\], input needs \[3, 4\]: call reset_net\(net\) between "
        "batches$"
    )
    with pytest.raises(ValueError, match=message):
        net(torch.zeros(3, 4))


@every_container
def test_input_must_be_floating_point(container):
    with pytest.raises(
        TypeError, match=r"x must have a floating-point dtype, got torch.uint8: call x.float\(\)"
    ):
        container()(torch.zeros(4, 4, dtype=torch.uint8))


@every_container
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_feedback_has_the_dtype_of_the_input(container, dtype):
    net = container().to(dtype)
    assert net(torch.zeros(2, 4, dtype=dtype)).dtype == net.y.dtype == dtype


@every_container
def test_feedback_works_under_autocast(container):
    net, x_seq = container(), random_currents(3, 5, 4).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert step_by_step(net, x_seq).shape == (3, 5, 4)
    assert net.y.dtype == torch.float32


@every_container
def test_container_can_be_copied_after_a_pass_with_history(container):
    net, x_seq = container().double(), random_currents(6, 5, 4)
    output = step_by_step(net, x_seq.clone().requires_grad_())
    twin = copy.deepcopy(net)
    assert torch.equal(twin.y, net.y)
    assert not twin.y.requires_grad
    assert torch.equal(step_by_step(twin, x_seq), step_by_step(net, x_seq))
    weighted_sum(output).backward()


@pytest.mark.parametrize(
    "build",
    [
        lambda m: ElementWiseRecurrentContainer(m, torch.add),
        lambda m: LinearRecurrentContainer(m, 4, 4),
    ],
    ids=["element-wise", "linear"],
)
def test_sequence_neuron_is_refused_where_one_step_at_a_time_is_fed(build):
    with pytest.raises((TypeError, ValueError), match="MultiStepIFNode"):
        build(MultiStepIFNode())(torch.zeros(3, 2, 4))


# SynapseFilter


def test_synapse_filter_worked_out_by_hand():
    # tau = 4: a quarter is lost in a step without a spike, nothing in a step with one.
    assert walk(SynapseFilter(4.0), [1.0, 0.0, 0.0, 1.0, 0.0]) == [1, 0.75, 0.5625, 1.5625, 1.171875]


def test_stateful_convolution_of_the_tutorial():
    stateful_conv = nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=3, padding=1, stride=1),
        SynapseFilter(tau=100, learnable=True),
    )
    x = random_spikes(2, 3, 8, 8).float()
    spikes = stateful_conv[0](x)
    first, second = stateful_conv(x), stateful_conv(x)
    assert first.shape == (2, 16, 8, 8)
    assert torch.equal(first, spikes)
    torch.testing.assert_close(second, first - (1 - spikes) * first / 100 + spikes)


def test_repr_of_a_synapse_filter():
    assert repr(SynapseFilter(tau=2, learnable=True)) == "SynapseFilter(tau=2.0, learnable=True)"
    assert repr(SynapseFilter()) == "SynapseFilter(tau=100.0, learnable=False)"
    assert repr(SynapseFilter([2.0, 3.0, 4.0])) == "SynapseFilter(tau=<3 channels>, learnable=False)"


every_learnable = pytest.mark.parametrize("learnable", [False, True], ids=["fixed", "learnable"])
every_stateless_synapse = pytest.mark.parametrize(
    ("synapse", "shape"),
    [
        pytest.param(nn.Linear(6, 3), (5, 6), id="Linear"),
        pytest.param(nn.Conv2d(2, 3, 3, padding=1), (5, 2, 4, 3), id="Conv2d"),
    ],
)


@every_learnable
@pytest.mark.parametrize("tau", [2.0, [2.0, 4.0, 8.0], torch.tensor([2.0, 4.0, 8.0])])
@every_stateless_synapse
def test_synapse_filter_after_a_stateless_synapse(synapse, shape, tau, learnable):
    net = nn.Sequential(synapse, SynapseFilter(tau, learnable))
    x = random_spikes(*shape).float()
    current, jump = torch.zeros(()), synapse(x)
    for _ in range(3):
        inv_tau = (1 / torch.as_tensor(tau)).reshape(-1, *[1] * (jump.dim() - 2))
        current = current - (1 - jump) * current * inv_tau + jump
        torch.testing.assert_close(net(x), current)


@every_learnable
@pytest.mark.parametrize("tau", [1.5, 2.0, 100.0, [2.0, 4.0]])
def test_tau_is_the_one_that_was_asked_for(tau, learnable):
    synapse = SynapseFilter(tau, learnable)
    torch.testing.assert_close(synapse.tau.detach(), torch.tensor(tau))
    assert [name for name, _ in synapse.named_parameters()] == (["w"] if learnable else [])


@pytest.mark.parametrize("w", [-8.0, 0.0, 8.0])
def test_learnable_tau_stays_above_one_whatever_the_optimizer_does(w):
    synapse = SynapseFilter(learnable=True)
    nn.init.constant_(synapse.w, w)
    assert synapse.tau.item() == pytest.approx(1 + math.exp(-w))
    assert synapse.tau > 1


# With k = 1/tau = sigmoid(w), dk/dw = k (1 - k), and the loss L = c[0] I[0] + c[1] I[1] + c[2] I[2]:
#   s = 1, 0, 0: I = 1, 1 - k, (1 - k)^2        dL/dk = -c[1] - 2 c[2] (1 - k)
#   s = 1, 0, 1: I = 1, 1 - k, 2 - k            dL/dk = -c[1] - c[2]
#   s = 0, 1, 0: I = 0, 1, 1 - k                dL/dk = -c[2]
@pytest.mark.parametrize("tau", [2.0, 4.0])
@pytest.mark.parametrize(
    ("spikes", "slope"),
    [
        ([1.0, 0.0, 0.0], lambda c, k: -c[1] - 2 * c[2] * (1 - k)),
        ([1.0, 0.0, 1.0], lambda c, k: -c[1] - c[2]),
        ([0.0, 1.0, 0.0], lambda c, k: -c[2]),
    ],
)
def test_gradient_of_a_learnable_tau_derived_by_hand(spikes, slope, tau):
    c, k = [0.5, -2.0, 3.0], 1 / tau
    synapse = SynapseFilter(tau, learnable=True).double()
    currents = step_by_step(synapse, torch.tensor(spikes, dtype=torch.float64).reshape(3, 1))
    (currents.flatten() * torch.tensor(c)).sum().backward()
    # w is made in float32, hence the tolerance
    assert synapse.w.grad.item() == pytest.approx(slope(c, k) * k * (1 - k), rel=1e-6)


def test_gradient_of_a_tau_for_each_channel_stays_in_its_channel():
    synapse = SynapseFilter([2.0, 4.0, 2.0], learnable=True)
    x_seq = torch.zeros(3, 1, 3)
    x_seq[0, 0, :2] = 1  # no spike in the last channel
    step_by_step(synapse, x_seq).sum(0).sum().backward()
    # dL/dw = (-1 - 2 (1 - k)) k (1 - k), see above, with c = 1, 1, 1: -2 / 4 and -2.5 * 3 / 16
    assert synapse.w.grad.tolist() == pytest.approx([-0.5, -0.46875, 0.0])


# dI[t]/ds[t] = 1 + k I[t-1]; in s = 1, 0, x: I = 1, 1 - k, ...: the gradient to the last s is 1 + k (1 - k).
def test_gradient_of_the_input_tells_the_filter_from_a_low_pass():
    x_seq = torch.tensor([[1.0], [0.0], [0.0]], requires_grad=True)
    step_by_step(SynapseFilter(4.0), x_seq)[-1].sum().backward()
    assert x_seq.grad[2].item() == 1 + 0.25 * 0.75


@every_learnable
@pytest.mark.parametrize("tau", [2.0, [2.0, 4.0, 8.0]])
@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 2, 3, 4, 2)])
def test_sequence_of_a_synapse_filter_equals_a_loop_of_steps_bit_for_bit(tau, learnable, shape):
    x_seq = random_spikes(*shape).float()
    one_step, sequence = SynapseFilter(tau, learnable), SynapseFilter(tau, learnable)
    expected = output_and_gradients(lambda x: step_by_step(one_step, x), x_seq, one_step.parameters())
    actual = output_and_gradients(sequence.forward_sequence, x_seq, sequence.parameters())
    assert torch.equal(actual[0], expected[0])
    assert torch.equal(sequence.out_i, one_step.out_i)
    torch.testing.assert_close(actual[1:], expected[1:])
    again = x_seq.flip(0)
    assert torch.equal(sequence.forward_sequence(again), step_by_step(one_step, again))


@pytest.mark.parametrize(
    ("tau", "message"),
    [
        (1.0, "tau must be finite and above 1 time step, got 1.0"),
        (0.5, "tau must be finite and above 1 time step, got 0.5"),
        (-3, "tau must be finite and above 1 time step, got -3"),
        (math.nan, "tau must be finite and above 1 time step, got nan"),
        (math.inf, "tau must be finite and above 1 time step, got inf"),
        ([2.0, 1.0], r"tau must be finite and above 1 time step, got \[2.0, 1.0\]"),
        ([], r"tau must be a number or one number for each channel, got shape \[0\]"),
        ([[2.0]], r"tau must be a number or one number for each channel, got shape \[1, 1\]"),
    ],
)
@every_learnable
def test_wrong_tau_is_named(tau, message, learnable):
    with pytest.raises(ValueError, match=f"^SynapseFilter: {message}$"):
        SynapseFilter(tau, learnable)


def test_unknown_backend_of_a_synapse_filter_is_named():
    with pytest.raises(ValueError, match=r"backend must be one of 'auto', .*'torch'.*, got 'gpu'"):
        SynapseFilter(backend="gpu")


@every_learnable
@pytest.mark.parametrize("shape", [(4, 2), (3,), (4, 2, 3)])
def test_channels_that_do_not_fit_are_named(shape, learnable):
    synapse = SynapseFilter([2.0, 3.0, 4.0], learnable)
    message = r"^SynapseFilter: tau has 3 channels, so a time step must have shape \[N, 3, \*\], got \["
    with pytest.raises(ValueError, match=message):
        synapse(torch.zeros(shape))
    with pytest.raises(ValueError, match=message):
        synapse.forward_sequence(torch.zeros(5, *shape))


@pytest.mark.parametrize("call", ["forward", "forward_sequence"])
def test_current_of_another_batch_size_is_refused(call):
    synapse = SynapseFilter()
    getattr(synapse, call)(torch.zeros(2, 4, 3))
    message = (
        r"SynapseFilter: state out_i has shape \[(2, )?4, 3\], .*: call reset_net\(net\) between batches"
    )
    with pytest.raises(ValueError, match=message):
        getattr(synapse, call)(torch.zeros(2, 5, 3))


def test_synapse_filter_refuses_integers_and_sequences_without_steps():
    with pytest.raises(
        TypeError, match=r"SynapseFilter: x must have a floating-point dtype, got torch.int64"
    ):
        SynapseFilter()(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"SynapseFilter: x_seq must have at least one time step"):
        SynapseFilter().forward_sequence(torch.zeros(0, 2, 3))
    with pytest.raises(ValueError, match=r"SynapseFilter: x_seq must have shape \[T, N, \*\], got \[8\]"):
        SynapseFilter().forward_sequence(torch.zeros(8))


# State dictionaries

TAUS = {
    "learnable": ([3.0, True], [50.0, True]),
    "fixed": ([3.0, False], [50.0, False]),
    "learnable, per channel": ([[2.0, 3.0], True], [[50.0, 60.0], True]),
    "fixed, per channel": ([[2.0, 3.0], False], [[50.0, 60.0], False]),
}


@pytest.mark.parametrize(("saved", "other"), TAUS.values(), ids=TAUS)
def test_state_dict_restores_tau(saved, other):
    source, target = SynapseFilter(*saved), SynapseFilter(*other)
    source(torch.zeros(1, 2))  # the current is a state, and not kept
    assert list(source.state_dict()) == ["w" if saved[1] else "fixed_tau"]
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.tau, source.tau)
    x = torch.ones(1, 2)
    target(x)
    assert torch.equal(target(0 * x), source(x) * (1 - 1 / source.tau))


@pytest.mark.parametrize(
    ("saved", "other", "message"),
    [
        ([3.0, True], [[2.0, 3.0], True], "size mismatch for w"),
        ([[2.0, 3.0], False], [3.0, False], "size mismatch for fixed_tau"),
        ([[2.0], True], [3.0, True], "size mismatch for w"),
        ([3.0, True], [3.0, False], r"Missing key\(s\) in state_dict: \"fixed_tau\""),
        ([3.0, False], [3.0, True], r"Missing key\(s\) in state_dict: \"w\""),
    ],
)
def test_state_dict_of_another_kind_of_tau_is_refused(saved, other, message):
    with pytest.raises(RuntimeError, match=message):
        SynapseFilter(*other).load_state_dict(SynapseFilter(*saved).state_dict())


@every_container
def test_state_dict_of_a_container_holds_weights_only(container):
    net = container()
    net(torch.zeros(2, 4))
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}


@every_learnable
def test_synapse_filter_moves_and_pickles_with_its_state(learnable):
    net = nn.Sequential(nn.Linear(3, 3), SynapseFilter([2.0, 3.0, 4.0], learnable))
    x = random_spikes(5, 3).float()
    net(x)
    twin = pickle.loads(pickle.dumps(net))
    assert torch.equal(twin[1].out_i, net[1].out_i)
    assert torch.equal(twin(x), net(x))
    net.double()
    assert net[1].out_i.dtype == torch.float64
    assert net(x.double()).dtype == torch.float64


# MultiStepContainer and SeqToANNContainer


class Spy(nn.Module):
    """Doubles its input and remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, x):
        self.shapes.append(list(x.shape))
        return 2 * x


class SequenceSpy(Spy):
    def forward_sequence(self, x_seq):
        return self.forward(x_seq)


def test_multi_step_container_asks_for_the_whole_sequence_where_a_module_offers_it():
    spy = SequenceSpy()
    x_seq = random_currents(3, 2, 4)
    assert torch.equal(MultiStepContainer(spy)(x_seq), 2 * x_seq)
    assert spy.shapes == [[3, 2, 4]]


def test_multi_step_container_calls_other_modules_step_by_step():
    spy = Spy()
    x_seq = random_currents(3, 2, 4)
    assert torch.equal(MultiStepContainer(spy)(x_seq), 2 * x_seq)
    assert spy.shapes == [[2, 4]] * 3


def test_multi_step_container_applies_several_modules_one_after_the_other():
    first, second = Spy(), SequenceSpy()
    x_seq = random_currents(3, 2, 4)
    assert torch.equal(MultiStepContainer(first, nn.ReLU(), second)(x_seq), 4 * x_seq.relu())
    assert (first.shapes, second.shapes) == ([[2, 4]] * 3, [[3, 2, 4]])


MEMORIES = {
    "IFNode": lambda: IFNode(),
    "LIFNode": lambda: LIFNode(tau=1.5),
    "SynapseFilter": lambda: SynapseFilter(2.0, learnable=True),
    "Linear and IFNode": lambda: nn.Sequential(nn.Linear(4, 4), IFNode()),
    **CONTAINERS,
}


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
def test_multi_step_container_equals_a_loop(memory):
    one_step = memory().double()
    container = MultiStepContainer(copy.deepcopy(one_step))
    x_seq = random_currents(6, 5, 4)
    expected = output_and_gradients(lambda x: step_by_step(one_step, x), x_seq, one_step.parameters())
    actual = output_and_gradients(container, x_seq, container.parameters())
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1:], expected[1:], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("x_seq", "error", "message"),
    [
        (torch.zeros(8), ValueError, r"MultiStepContainer: x_seq must have shape \[T, N, \*\], got \[8\]"),
        (torch.zeros(0, 2), ValueError, r"MultiStepContainer: x_seq must have at least one time step"),
        (torch.zeros(3, 2).long(), TypeError, r"MultiStepContainer: x must have a floating-point dtype"),
    ],
)
def test_multi_step_container_refuses_what_is_not_a_sequence(x_seq, error, message):
    with pytest.raises(error, match=message):
        MultiStepContainer(IFNode())(x_seq)


@pytest.mark.parametrize(
    ("modules", "features"),
    [
        pytest.param([nn.Linear(4, 3)], (4,), id="one module"),
        pytest.param([nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten()], (2, 4, 5), id="several modules"),
    ],
)
def test_seq_to_ann_container_equals_the_function(modules, features):
    x_seq = random_spikes(3, 5, *features).float()
    assert torch.equal(SeqToANNContainer(*modules)(x_seq), seq_to_ann_forward(x_seq, modules))


def test_seq_to_ann_container_calls_each_module_once():
    spy = Spy()
    SeqToANNContainer(spy)(torch.zeros(3, 5, 4))
    assert spy.shapes == [[15, 4]]


def test_seq_to_ann_container_refuses_a_sequence_without_a_batch():
    with pytest.raises(ValueError, match=r"x_seq must have shape \[T, N, \*\], got \[5\]"):
        SeqToANNContainer(nn.Tanh())(torch.zeros(5))


def test_sequence_neuron_can_stand_in_a_multi_step_container():
    x_seq = random_currents(6, 5, 4)
    assert torch.equal(MultiStepContainer(MultiStepIFNode())(x_seq), MultiStepIFNode()(x_seq))
