"""Neurons with state: one step, whole sequences, what is recorded, and what is refused."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from support_networks import (
    NEURONS,
    all_equal,
    output_and_gradients,
    random_currents,
    step_by_step,
    weighted_sum,
)
from torch import nn

from snn_core.functional import detach_net, reset_net
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.neuron import (
    IFNode,
    LIFNode,
    MultiStepIFNode,
    MultiStepLIFNode,
    MultiStepParametricLIFNode,
    ParametricLIFNode,
    SpikingNeuron,
)
from snn_core.surrogate import ATan, Rectangle, Sigmoid

ALL = [IFNode, LIFNode, MultiStepIFNode, MultiStepLIFNode]

every_class = pytest.mark.parametrize("neuron", ALL)
every_neuron = pytest.mark.parametrize(("single", "multi", "options"), NEURONS)
every_v_reset = pytest.mark.parametrize("v_reset", [0.0, -0.5, None])
every_detach_reset = pytest.mark.parametrize("detach_reset", [False, True])


def sigmoid_slope(x: float) -> float:
    """The derivative of the logistic function, without torch."""
    return math.exp(-x) / (1 + math.exp(-x)) ** 2


# One step


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3, 4)])
def test_one_step_takes_any_shape(shape):
    node = IFNode(v_reset=None)
    assert torch.equal(node(torch.full(shape, 1.25)), torch.ones(shape))
    assert torch.equal(node.v, torch.full(shape, 0.25))


@every_neuron
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_spikes_and_potential_have_the_dtype_of_the_input(single, multi, options, dtype):
    for node in (single(**options), multi(**options)):
        assert node(torch.ones(2, 3, dtype=dtype)).dtype == dtype
        assert node.v.dtype == dtype


def test_potential_starts_at_v_reset():
    node = IFNode(v_reset=-0.5)
    assert node.v is None
    node(torch.tensor(0.25))
    assert node.v == -0.25


def test_potential_is_kept_from_step_to_step():
    # h = 0.5, 1.0 (spike), 0.5, 1.0 (spike)
    node = IFNode()
    assert [node(torch.tensor(0.5)).item() for _ in range(4)] == [0, 1, 0, 1]


def test_lif_neuron_uses_tau_and_decay_input():
    x = torch.tensor(3.0)
    decayed, whole = LIFNode(tau=4.0), LIFNode(tau=4.0, decay_input=False, v_threshold=9.0)
    decayed(x)
    whole(x)
    assert (decayed.v.item(), whole.v.item()) == (0.75, 3.0)
    decayed(x * 0)
    whole(x * 0)
    assert (decayed.v.item(), whole.v.item()) == (0.5625, 2.25)


def test_defaults():
    node = LIFNode()
    constants = (node.tau, node.decay_input, node.v_threshold, node.v_reset, node.detach_reset, node.backend)
    assert constants == (2.0, True, 1.0, 0.0, False, "auto")
    assert repr(node.surrogate_function) == "Sigmoid(alpha=1.0, spiking=True)"


def test_a_surrogate_is_not_shared_between_neurons():
    assert IFNode().surrogate_function is not IFNode().surrogate_function


def test_surrogate_function_defines_the_gradient():
    # x = 1, threshold 1: the gradient is alpha of the rectangle, not 1/4 of the sigmoid.
    x = torch.tensor(1.0, requires_grad=True)
    IFNode(surrogate_function=Rectangle(alpha=3.0))(x).backward()
    assert x.grad == 3.0


# Whole sequences


@every_neuron
@every_v_reset
@every_detach_reset
def test_sequence_equals_a_loop_of_steps_bit_for_bit(single, multi, options, v_reset, detach_reset):
    arguments = {
        "v_reset": v_reset,
        "detach_reset": detach_reset,
        "surrogate_function": ATan(),
        "backend": "torch",
    }
    arguments |= options
    one_step, sequence = single(**arguments), multi(**arguments)
    x_seq = random_currents(6, 5, 4).float()
    expected = output_and_gradients(lambda x: step_by_step(one_step, x), x_seq)
    assert all_equal(output_and_gradients(sequence, x_seq), expected)
    assert 0 < expected[0].mean() < 1
    assert torch.equal(sequence.v, one_step.v)
    assert all_equal(output_and_gradients(single(**arguments).forward_sequence, x_seq), expected)


@every_neuron
@pytest.mark.parametrize("shape", [(6, 5), (6, 2, 3, 4), (1, 2, 3), (6, 0, 3)])
def test_sequence_takes_any_shape_from_time_and_batch_on(single, multi, options, shape):
    x_seq = random_currents(*shape)
    assert torch.equal(multi(**options)(x_seq), step_by_step(single(**options), x_seq))


@every_neuron
def test_two_sequences_in_a_row_equal_one_long_sequence(single, multi, options):
    x_seq = random_currents(7, 5, 4)
    whole, pieces = multi(**options), multi(**options)
    assert torch.equal(torch.cat([pieces(x_seq[:3]), pieces(x_seq[3:])]), whole(x_seq))


@every_neuron
def test_backends_agree(single, multi, options):
    x_seq = random_currents(6, 5, 4)
    results = [output_and_gradients(multi(backend=name, **options), x_seq) for name in ("auto", "torch")]
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


@every_neuron
def test_reset_starts_afresh(single, multi, options):
    x_seq = random_currents(6, 5, 4)
    node = multi(**options)
    first = node(x_seq)
    assert not torch.equal(node(x_seq), first)
    node.reset()
    assert node.v is None
    assert torch.equal(node(x_seq), first)


# The initial state


def test_potential_can_be_set_to_start_elsewhere():
    node = IFNode()
    node.v = torch.tensor(0.75)
    assert node(torch.tensor(0.25)) == 1


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [(IFNode, 1.0), (MultiStepIFNode, 1.0), (LIFNode, 0.5**3), (MultiStepLIFNode, 0.5**3)],
)
def test_initial_potential_gets_a_gradient(neuron, expected):
    # Without spikes the IF neuron keeps v over three steps, and the LIF neuron, tau = 2, halves it in each.
    v = torch.full((2, 3), 0.25, requires_grad=True)
    node = neuron(detach_reset=True)
    node.v = v
    node.forward_sequence(torch.zeros(3, 2, 3))
    (gradient,) = torch.autograd.grad(node.v.sum(), v)
    assert torch.equal(gradient, torch.full((2, 3), expected))


def test_initial_potential_gets_a_gradient_through_one_step():
    v = torch.tensor(0.25, requires_grad=True)
    node = IFNode()
    node.v = v
    node(torch.tensor(0.75)).backward()  # h = 1, where the derivative of the sigmoid is 1/4
    assert v.grad == 0.25


# Gradients derived by hand. One neuron, T = 3, threshold 1, loss L = c[0] s[0] + c[1] s[1] + c[2] s[2]:
#
#   h[t] = keep * v[t-1] + gain * x[t] (+ a constant)     IF: keep = gain = 1, LIF: keep = 1 - 1/tau, gain = 1/tau or 1
#   s[t] = step(h[t] - 1), whose derivative is taken to be g[t] = sigmoid'(h[t] - 1)
#   v[t] = (1 - s[t]) h[t] + s[t] v_reset                 hard
#   v[t] = h[t] - s[t]                                    soft
#
# How v[t] moves with h[t]:   r[t] = 1 - s[t] + g[t] (v_reset - h[t])   hard
#                             r[t] = 1 - g[t]                           soft
# and without the term in g[t] where the reset is detached. Two paths lead from h[t] to the loss, through s[t] and
# through v[t] to h[t+1]:
#
#   dL/dh[2] = c[2] g[2]
#   dL/dh[1] = c[1] g[1] + dL/dh[2] keep r[1]
#   dL/dh[0] = c[0] g[0] + dL/dh[1] keep r[0]
#   dL/dx[t] = gain dL/dh[t]
#
# The inputs below make every neuron fire in the second step only.
BPTT_NEURONS = [
    pytest.param(MultiStepIFNode, {}, 1.0, 1.0, [0.5, 1.0, 0.25], id="IF"),
    pytest.param(MultiStepLIFNode, {"tau": 4.0}, 0.75, 0.25, [2.0, 6.0, 1.0], id="LIF"),
    pytest.param(
        MultiStepLIFNode,
        {"tau": 4.0, "decay_input": False},
        0.75,
        1.0,
        [0.5, 1.5, 0.25],
        id="LIF-whole-input",
    ),
]


@pytest.mark.parametrize(("neuron", "options", "keep", "gain", "x"), BPTT_NEURONS)
@every_v_reset
@every_detach_reset
def test_gradient_derived_by_hand(neuron, options, keep, gain, x, v_reset, detach_reset):
    c = [1.0, -2.0, 3.0]
    rest = v_reset or 0.0
    v, h, s, g, r = rest, [0.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3
    for t in range(3):
        h[t] = keep * v + (1 - keep) * rest + gain * x[t]
        s[t] = float(h[t] >= 1)
        g[t] = sigmoid_slope(h[t] - 1)
        through_spike = 0.0 if detach_reset else g[t] * (-1 if v_reset is None else v_reset - h[t])
        r[t] = (1 if v_reset is None else 1 - s[t]) + through_spike
        v = h[t] - s[t] if v_reset is None else (1 - s[t]) * h[t] + s[t] * v_reset
    dh2 = c[2] * g[2]
    dh1 = c[1] * g[1] + dh2 * keep * r[1]
    dh0 = c[0] * g[0] + dh1 * keep * r[0]

    x_seq = torch.tensor(x, dtype=torch.float64).reshape(3, 1).requires_grad_()
    node = neuron(v_reset=v_reset, detach_reset=detach_reset, surrogate_function=Sigmoid(), **options)
    spikes = node(x_seq)
    (spikes.flatten() * torch.tensor(c)).sum().backward()
    assert spikes.flatten().tolist() == s == [0, 1, 0]
    assert x_seq.grad.flatten().tolist() == pytest.approx([gain * dh0, gain * dh1, gain * dh2], rel=1e-12)


# What is recorded


@every_neuron
def test_potentials_are_recorded_in_a_sequence_and_step_by_step(single, multi, options):
    x_seq = random_currents(6, 5, 4)
    plain, one_step, sequence = single(**options), *(n(store_v_seq=True, **options) for n in (single, multi))
    expected = []
    for x in x_seq:
        plain(x)
        expected.append(plain.v)
    step_by_step(one_step, x_seq)
    sequence(x_seq)
    assert torch.equal(one_step.v_seq, torch.stack(expected))
    assert torch.equal(sequence.v_seq, torch.stack(expected))


@every_neuron
def test_record_goes_on_over_several_calls_until_reset(single, multi, options):
    x_seq = random_currents(7, 5, 4)
    whole, pieces = multi(store_v_seq=True, **options), multi(store_v_seq=True, **options)
    whole(x_seq)
    pieces(x_seq[:3])
    pieces(x_seq[3:])
    assert torch.equal(pieces.v_seq, whole.v_seq)
    pieces.reset()
    pieces(x_seq[:2])
    assert torch.equal(pieces.v_seq, whole.v_seq[:2])


def test_potentials_are_recorded_inside_a_multi_step_container():
    net = MultiStepContainer(IFNode(v_reset=None, store_v_seq=True))
    net(torch.tensor([[0.75], [0.5], [-0.25]]))  # h = 0.75, 1.25 (spike), 0.0
    assert net[0].v_seq.tolist() == [[0.75], [0.25], [0.0]]


def test_potentials_are_recorded_inside_an_element_wise_recurrent_container():
    # i = x + y = 1.5, -1 + 1, 0.5; h = 1.5 (spike), 0.5, 1.0 (spike)
    net = ElementWiseRecurrentContainer(IFNode(v_reset=None, store_v_seq=True), torch.add)
    MultiStepContainer(net)(torch.tensor([[1.5], [-1.0], [0.5]]))
    assert net.sub_module.v_seq.tolist() == [[0.5], [0.5], [0.0]]


def test_potentials_are_recorded_inside_a_linear_recurrent_container():
    net = LinearRecurrentContainer(IFNode(v_reset=None, store_v_seq=True), 1, 1, bias=False)
    with torch.no_grad():
        net.rc.weight.copy_(torch.tensor([[1.0, -0.5]]))
    # i = x - y / 2 = 1.5, 0 - 0.5, 1; h = 1.5 (spike), 0.0, 1.0 (spike)
    step_by_step(net, torch.tensor([[[1.5]], [[0.0]], [[1.0]]]))
    assert net.sub_module.v_seq.flatten().tolist() == [0.5, 0.0, 0.0]


@every_class
def test_recorded_potentials_have_a_gradient(neuron):
    node = neuron(store_v_seq=True, detach_reset=True, v_threshold=9.0)
    x = torch.full((3, 2), 0.25, requires_grad=True)
    node(x)
    node.v_seq.sum().backward()
    assert (x.grad > 0).all()


def test_detach_net_cuts_the_history_of_the_record_too():
    node = MultiStepIFNode(store_v_seq=True)
    node(torch.ones(3, 2, requires_grad=True))
    assert node.v_seq.requires_grad
    values = node.v_seq.detach().clone()
    detach_net(node)
    assert not node.v_seq.requires_grad
    assert torch.equal(node.v_seq, values)


@every_class
def test_missing_record_names_the_argument(neuron):
    node = neuron()
    node(torch.ones(3, 2))
    with pytest.raises(RuntimeError, match=f"{neuron.__name__}: v_seq was not recorded: .*store_v_seq=True"):
        _ = node.v_seq


def test_record_is_empty_after_reset():
    node = IFNode(store_v_seq=True)
    node(torch.ones(3))
    reset_net(node)
    with pytest.raises(RuntimeError, match="v_seq was not recorded: no step since reset"):
        _ = node.v_seq


# What is refused


def after_a_step(neuron, x):
    node = neuron()
    node(x)
    return node


@every_class
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.zeros(3, 4, 2), r"state v has shape \[(3, )?2, 2\], input needs \[(3, )?4, 2\]"),
        (
            torch.zeros(3, 2, 2, dtype=torch.float64),
            "state v has dtype torch.float32, input needs torch.float64",
        ),
        (torch.zeros(3, 2, 2, device="meta"), "state v has device cpu, input needs meta"),
    ],
    ids=["shape", "dtype", "device"],
)
def test_state_of_another_kind_of_input_is_refused(neuron, other, message):
    node = after_a_step(neuron, torch.zeros(3, 2, 2))
    with pytest.raises(
        ValueError, match=rf"^{neuron.__name__}: {message}: call reset_net\(net\) between batches$"
    ):
        node(other)
    reset_net(node)
    assert node(other).shape == other.shape


@every_class
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"v_threshold": math.nan}, "v_threshold must be a finite number, got nan"),
        ({"v_threshold": math.inf}, "v_threshold must be a finite number, got inf"),
        ({"v_reset": math.nan}, "v_reset must be a finite number, got nan"),
        ({"v_reset": 1.0}, "v_reset must be below v_threshold=1.0, got 1.0"),
        ({"v_reset": 0.0, "v_threshold": -1.0}, "v_reset must be below v_threshold=-1.0, got 0.0"),
        ({"backend": "cupyy"}, "backend must be one of 'auto', .*'torch'.*, got 'cupyy'"),
    ],
)
def test_wrong_argument_is_named(neuron, arguments, message):
    with pytest.raises(ValueError, match=message):
        neuron(**arguments)


@every_class
def test_surrogate_given_as_a_class_is_named(neuron):
    with pytest.raises(TypeError, match="surrogate_function"):
        neuron(surrogate_function=ATan)


@pytest.mark.parametrize("neuron", [LIFNode, MultiStepLIFNode])
@pytest.mark.parametrize(
    ("tau", "message"),
    [
        (1.0, "tau must be above 1 time step, got 1.0"),
        (0.5, "tau must be above 1 time step, got 0.5"),
        (-2, "tau must be above 1 time step, got -2"),
        (math.nan, "tau must be a finite number, got nan"),
        (math.inf, "tau must be a finite number, got inf"),
    ],
)
def test_wrong_tau_is_named(neuron, tau, message):
    with pytest.raises(ValueError, match=f"^{neuron.__name__}: {message}$"):
        neuron(tau=tau)


@every_class
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_input_must_be_floating_point(neuron, dtype):
    message = rf"{neuron.__name__}: x must have a floating-point dtype, got {dtype}: call x.float\(\)"
    with pytest.raises(TypeError, match=message):
        neuron()(torch.ones(3, 2, dtype=dtype))


@every_class
def test_input_must_be_a_tensor(neuron):
    with pytest.raises(TypeError, match=f"{neuron.__name__}: x must be a torch.Tensor, got list"):
        neuron()([[1.0]])


@pytest.mark.parametrize("neuron", [MultiStepIFNode, MultiStepLIFNode])
@pytest.mark.parametrize("shape", [(), (8,)])
def test_sequence_must_have_a_batch_dimension(neuron, shape):
    with pytest.raises(
        ValueError, match=rf"{neuron.__name__}: x_seq must have shape \[T, N, \*\], got \[8?\]"
    ):
        neuron()(torch.zeros(shape))


@pytest.mark.parametrize("neuron", [MultiStepIFNode, MultiStepLIFNode])
def test_sequence_must_have_a_time_step(neuron):
    message = rf"{neuron.__name__}: x_seq must have at least one time step, got shape \[0, 2, 3\]"
    with pytest.raises(ValueError, match=message):
        neuron()(torch.zeros(0, 2, 3))


def test_base_class_has_no_equation():
    with pytest.raises(NotImplementedError):
        SpikingNeuron()(torch.zeros(1))


# Copies, moves and text


@every_neuron
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node))], ids=["deepcopy", "pickle"]
)
def test_copy_after_a_pass_with_history_holds_values_and_goes_on_alike(single, multi, options, duplicate):
    x_seq = random_currents(6, 5, 4)
    node = multi(store_v_seq=True, **options)
    first = node(x_seq.clone().requires_grad_())
    twin = duplicate(node)
    assert torch.equal(twin.v, node.v)
    assert torch.equal(twin.v_seq, node.v_seq)
    assert not twin.v.requires_grad
    assert not twin.v_seq.requires_grad
    assert torch.equal(twin(x_seq), node(x_seq))
    assert torch.equal(twin.v_seq, node.v_seq)
    weighted_sum(first).backward()  # the original still has its history


def test_copy_does_not_share_its_state():
    node = after_a_step(IFNode, torch.full((2,), 0.5))
    twin = copy.deepcopy(node)
    twin.v.add_(1)
    twin.reset()
    assert node.v.tolist() == [0.5, 0.5]


@every_class
def test_state_moves_with_the_module(neuron):
    node = neuron(store_v_seq=True)
    x = torch.full((3, 2), 0.25)
    node(x)
    node.to(torch.float64)
    assert node.v.dtype == torch.float64
    assert node.v_seq.dtype == torch.float64
    assert node(x.double()).dtype == torch.float64
    assert node.v_seq.dtype == torch.float64
    node.to("meta")
    assert node.v.device.type == node.v_seq.device.type == "meta"


@every_class
def test_state_is_not_part_of_state_dict(neuron):
    assert after_a_step(neuron, torch.ones(3, 2)).state_dict() == {}


def test_repr_is_that_of_the_tutorial():
    assert repr(IFNode(v_reset=None)).splitlines() == [
        "IFNode(",
        "  v_threshold=1.0, v_reset=None, detach_reset=False",
        "  (surrogate_function): Sigmoid(alpha=1.0, spiking=True)",
        ")",
    ]


def test_repr_of_the_others_adds_their_arguments():
    text = repr(MultiStepLIFNode(tau=4, decay_input=False, backend="torch", surrogate_function=ATan()))
    assert text.splitlines() == [
        "MultiStepLIFNode(",
        "  v_threshold=1.0, v_reset=0.0, detach_reset=False, tau=4.0, decay_input=False, backend=torch",
        "  (surrogate_function): ATan(alpha=2.0, spiking=True)",
        ")",
    ]


def test_neuron_of_a_whole_network_can_be_copied_after_training_on_it():
    net = nn.Sequential(nn.Linear(4, 3), MultiStepIFNode())
    x_seq = random_currents(6, 5, 4).float()
    weighted_sum(net(x_seq)).backward()
    twin = copy.deepcopy(net)
    assert all_equal(twin.parameters(), net.parameters())
    assert torch.equal(twin(x_seq), net(x_seq))


def test_parametric_lif_is_the_lif_neuron_of_its_tau():
    x_seq = 3 * torch.rand(9, 4, 3, dtype=torch.float64)
    for v_reset in (0.0, -0.3, None):
        one = MultiStepParametricLIFNode(2.5, v_reset=v_reset).double()
        other = MultiStepLIFNode(tau=2.5, v_reset=v_reset)
        assert torch.equal(one(x_seq), other(x_seq))
        torch.testing.assert_close(one.v, other.v)


def test_parametric_lif_step_by_hand():
    """Of tau 4 and 2: 0 + (2 - 0) / 4 = 0.5 and (2 - 0) / 2 = 1, which fires."""
    node = ParametricLIFNode([4.0, 2.0])
    assert node(torch.tensor([[2.0, 2.0]])).tolist() == [[0, 1]]
    assert node.v.tolist() == [[0.5, 0.0]]
    node(torch.tensor([[1.0, 1.0]])).sum().backward()
    assert node.w.grad.shape == (2,)
    assert node.w.grad.all()
