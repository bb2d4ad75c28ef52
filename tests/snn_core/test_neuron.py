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

from snn_core.functional import detach_net, explain, reset_net
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.neuron import (
    AdaptiveLIFNode,
    CUBALIFNode,
    IFNode,
    LIFNode,
    LINode,
    MultiStepAdaptiveLIFNode,
    MultiStepCUBALIFNode,
    MultiStepIFNode,
    MultiStepLIFNode,
    MultiStepLINode,
    MultiStepParametricLIFNode,
    ParametricLIFNode,
    SpikingNeuron,
)
from snn_core.surrogate import ATan, Rectangle, Sigmoid
from snn_core.synapse import DoubleExponentialSynapse

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
    with pytest.raises(RuntimeError, match="v was not recorded: no step since reset"):
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


# Thresholds, time constants and other numbers: fixed, one for each neuron, or trained. Everything that follows runs in
# the readable loop.

OPTIONS = [
    pytest.param({}, id="hard"),
    pytest.param({"v_reset": None, "refractory": 2}, id="soft, refractory"),
    pytest.param({"v_reset": "none", "detach_reset": True}, id="none"),
    pytest.param({"v_reset": -0.5, "v_threshold": [0.5, 1.0, 1.5], "refractory": 1}, id="per neuron"),
]
PAIRS = [
    pytest.param(IFNode, MultiStepIFNode, id="IF"),
    pytest.param(LIFNode, MultiStepLIFNode, id="LIF"),
    pytest.param(ParametricLIFNode, MultiStepParametricLIFNode, id="PLIF"),
    pytest.param(AdaptiveLIFNode, MultiStepAdaptiveLIFNode, id="ALIF"),
    pytest.param(CUBALIFNode, MultiStepCUBALIFNode, id="CUBA-LIF"),
]
every_pair = pytest.mark.parametrize(("single", "multi"), PAIRS)
every_option = pytest.mark.parametrize("options", OPTIONS)


@every_pair
@every_option
def test_new_options_in_steps_in_a_sequence_and_in_two(single, multi, options):
    x_seq = random_currents(9, 4, 3)
    one, whole, pieces = single(**options), multi(**options), multi(**options)
    expected = output_and_gradients(lambda x: step_by_step(one, x), x_seq)
    found = output_and_gradients(whole, x_seq)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert 0 < expected[0].mean() < 1
    with torch.no_grad():
        assert torch.equal(torch.cat([pieces(x_seq[:4]), pieces(x_seq[4:])]), expected[0])
    assert {name for name in pieces.states if getattr(pieces, name) is None} == set()
    assert ("refractory_left" in pieces.states) == bool(options.get("refractory"))
    twin = pickle.loads(pickle.dumps(pieces))
    assert torch.equal(twin(x_seq), pieces(x_seq))
    pieces.reset()
    assert {getattr(pieces, name) for name in pieces.states} == {None}
    assert torch.equal(pieces(x_seq), expected[0])


@every_pair
@every_option
def test_new_options_inside_containers(single, multi, options):
    x_seq = random_currents(9, 4, 3)
    for build in (
        lambda: ElementWiseRecurrentContainer(single(**options), torch.add),
        lambda: LinearRecurrentContainer(single(**options), 3, 3).double(),
    ):
        torch.manual_seed(0)
        one = build()
        torch.manual_seed(0)
        other = build()
        assert torch.equal(MultiStepContainer(one)(x_seq), step_by_step(other, x_seq))


@every_pair
def test_threshold_of_each_neuron(single, multi):
    """Equals neurons of their own."""
    x_seq, thresholds = random_currents(9, 4, 3), [0.5, 1.0, 2.0]
    found = multi(v_threshold=thresholds)(x_seq)
    for at, threshold in enumerate(thresholds):
        alone = multi(v_threshold=threshold, backend="torch")
        assert torch.equal(found[:, :, at], alone(x_seq[:, :, at].contiguous()))


@every_pair
@pytest.mark.parametrize("values", [1.0, [0.5, 1.0, 1.5]])
def test_threshold_that_is_trained(single, multi, values):
    parameter = nn.Parameter(torch.tensor(values))
    node = multi(v_threshold=parameter)
    assert node.v_threshold is parameter
    assert "v_threshold" in node.state_dict()
    x_seq = random_currents(9, 4, 3).float()
    spikes = node(x_seq)
    assert torch.equal(spikes, multi(v_threshold=values, backend="torch")(x_seq))
    spikes.sum().backward()
    assert parameter.grad.shape == parameter.shape
    assert (parameter.grad < 0).all()


def test_gradient_of_a_trained_threshold_by_hand():
    """h = 1.5 fires; d s / d threshold = -g(0.5), and v = h - s threshold gives -1 + threshold g(0.5)."""
    threshold = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    node = IFNode(v_threshold=threshold, v_reset=None)
    s = node(torch.tensor([1.5], dtype=torch.float64))
    g = sigmoid_slope(0.5)
    assert torch.autograd.grad(s.sum(), threshold, retain_graph=True)[0].item() == pytest.approx(-g)
    assert torch.autograd.grad(node.v.sum(), threshold)[0].item() == pytest.approx(-1 + g)


TAUS = [
    pytest.param(MultiStepLIFNode, "tau", "w", id="LIF"),
    pytest.param(MultiStepAdaptiveLIFNode, "tau", "w", id="ALIF"),
    pytest.param(MultiStepAdaptiveLIFNode, "tau_adaptation", "w_adaptation", id="ALIF's adaptation"),
    pytest.param(MultiStepCUBALIFNode, "tau", "w", id="CUBA-LIF"),
    pytest.param(MultiStepCUBALIFNode, "tau_synapse", "w_synapse", id="CUBA-LIF's current"),
    pytest.param(MultiStepLINode, "tau", "w", id="LI"),
]
every_tau = pytest.mark.parametrize(("neuron", "name", "kept"), TAUS)


@every_tau
@pytest.mark.parametrize("decay_input", [True, False])
def test_time_constant_fixed_of_each_neuron_and_trained(neuron, name, kept, decay_input):
    x_seq, taus = random_currents(9, 4, 3), [2.0, 4.0, 8.0]
    options = {"decay_input": decay_input, "backend": "torch"}
    fixed = neuron(**options, **{name: torch.tensor(taus, dtype=torch.float64)})
    trained = neuron(**options, **{name: nn.Parameter(torch.tensor(taus, dtype=torch.float64))})
    y_seq = fixed(x_seq)
    for at, tau in enumerate(taus):
        assert torch.equal(y_seq[:, :, at], neuron(**options, **{name: tau})(x_seq[:, :, at]))
    assert (fixed.state_dict().keys(), trained.state_dict().keys()) == ({name}, {kept})
    assert not list(fixed.parameters())
    torch.testing.assert_close(getattr(trained, name), getattr(fixed, name), rtol=1e-14, atol=0)
    torch.testing.assert_close(trained(x_seq), y_seq, rtol=1e-12, atol=1e-14)
    trained(x_seq).sum().backward()
    assert getattr(trained, kept).grad.all()
    getattr(trained, kept).data.fill_(3.0)
    assert (getattr(trained, name) > 1).all()


def test_trained_tau_of_the_lif_neuron_is_that_of_the_parametric_one():
    x_seq = random_currents(9, 4, 3).float()
    one, other = MultiStepLIFNode(nn.Parameter(torch.tensor(2.5))), MultiStepParametricLIFNode(2.5)
    results = [output_and_gradients(node, x_seq, [node.w]) for node in (one, other)]
    assert all_equal(*results)
    other.load_state_dict(one.state_dict())
    assert other.tau.item() == pytest.approx(2.5)


def test_beta_of_each_neuron_and_trained():
    x_seq = 2 + random_currents(9, 4, 2)
    beta = nn.Parameter(torch.tensor([0.0, 2.0], dtype=torch.float64))
    spikes = MultiStepAdaptiveLIFNode(beta=beta)(x_seq)
    assert torch.equal(spikes[..., 0], MultiStepLIFNode(backend="torch")(x_seq[..., 0]))
    assert spikes[..., 1].sum() < spikes[..., 0].sum()
    spikes.sum().backward()
    assert beta.grad.all()


def test_neuron_fires_less_as_it_adapts():
    spikes = MultiStepAdaptiveLIFNode(tau_adaptation=50.0, beta=0.5)(torch.full((40, 1), 3.0)).flatten()
    assert spikes[:10].sum() > spikes[-10:].sum() > 0


@pytest.mark.parametrize(
    "options", [{"refractory": 1}, {"v_reset": "none"}, {"v_threshold": [1.0, 2.0]}], ids=str
)
def test_options_are_fused(options):
    (decision,) = explain(MultiStepIFNode(**options), torch.zeros(3, 2, 2))
    assert decision.fused


def test_record_of_neurons_with_more_than_one_state():
    node = MultiStepCUBALIFNode(
        tau_synapse=2.0, v_threshold=9.0, decay_input=False, store_v_seq=True, refractory=1
    )
    node(torch.tensor([[2.0], [0.0]]))
    assert node.v_seq.tolist() == [[2.0], [2.0]]
    assert node.i.tolist() == [1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_longest_refractory_period_in_half_precision(dtype):
    node = MultiStepIFNode(refractory=256)
    assert node(torch.ones(259, 1, dtype=dtype)).flatten().nonzero().flatten().tolist() == [0, 257]


# What is refused of them


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: IFNode(v_threshold=[1.0, math.nan]), r"v_threshold must be finite, got \[1.0, nan\]"),
        (
            lambda: IFNode(v_threshold=[]),
            r"v_threshold must be a number or one .* each neuron, got shape \[0\]",
        ),
        (lambda: IFNode(v_threshold=[1.0, 0.0]), r"v_reset must be below v_threshold=\[1.0, 0.0\], got 0.0"),
        (lambda: IFNode(refractory=-1), "refractory must be at least 0, got -1"),
        (lambda: IFNode(refractory=257), "refractory must be at most 256, got 257"),
        (lambda: LIFNode([2.0, 1.0]), r"tau must be above 1 time step, got \[2.0, 1.0\]"),
        (lambda: AdaptiveLIFNode(tau_adaptation=1.0), "tau_adaptation must be above 1 time step, got 1.0"),
        (lambda: AdaptiveLIFNode(beta=math.inf), "beta must be a finite number, got inf"),
        (lambda: CUBALIFNode(tau_synapse=0.5), "tau_synapse must be above 1 time step, got 0.5"),
        (lambda: LINode(nn.Parameter(torch.tensor(0.5))), "tau must be above 1 time step, got 0.5"),
        (lambda: LINode(backend="gpu"), "backend must be one of .*, got 'gpu'"),
    ],
)
def test_wrong_number_of_the_new_options_is_named(build, message):
    with pytest.raises(ValueError, match=f"^(\\w+: )?{message}$"):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: IFNode(v_reset="None"), "IFNode: v_reset must be a number, None or 'none', got 'None'"),
        (
            lambda: IFNode(v_threshold=["a"]),
            "IFNode: v_threshold must be a number or one number for each neuron, got",
        ),
        (
            lambda: IFNode(v_threshold=torch.ones(2, requires_grad=True) * 2),
            r"IFNode: v_threshold is a tensor with a gradient: write nn.Parameter\(...\) to train it",
        ),
        (
            lambda: IFNode(v_threshold=torch.tensor([True])),
            "v_threshold must be a number or one .* dtype torch.bool",
        ),
        (lambda: IFNode(refractory=1.0), "refractory must be a whole number, got 1.0"),
        (lambda: AdaptiveLIFNode(nosuch=1), "nosuch"),
    ],
)
def test_wrong_kind_of_the_new_options_is_named(build, message):
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: IFNode(v_threshold=[1.0] * 4),
        lambda: LIFNode([2.0] * 4),
        lambda: LIFNode(nn.Parameter(torch.full((4,), 2.0))),
        lambda: AdaptiveLIFNode(beta=[1.0] * 4),
        lambda: CUBALIFNode(tau_synapse=[2.0] * 4),
        lambda: LINode([2.0] * 4),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 4, 1)])
def test_numbers_for_each_neuron_must_fit_a_step(build, shape):
    found = rf"has shape \[4\], so a time step must have shape \[N, 4\], got {list(shape)}"
    with pytest.raises(ValueError, match=found.replace("got [", r"got \[")):
        build()(torch.zeros(shape))
    with pytest.raises(ValueError, match="so a time step must have shape"):
        build().forward_sequence(torch.zeros(5, *shape))
    assert build()(torch.zeros(2, 4)).shape == (2, 4)


def test_thresholds_of_another_size_are_not_loaded():
    saved = IFNode(v_threshold=[1.0, 2.0]).state_dict()
    with pytest.raises(RuntimeError, match=r"size mismatch for v_threshold: \[2\] saved, \[\] here"):
        IFNode(v_threshold=torch.tensor(1.0)).load_state_dict(saved)


def test_repr_shows_what_is_trained_and_what_each_neuron_has():
    node = AdaptiveLIFNode([2.0, 3.0], nn.Parameter(torch.tensor(5.0)), refractory=2, v_reset="none")
    assert repr(node).splitlines()[1] == (
        "  v_threshold=1.0, v_reset=none, detach_reset=False, refractory=2, tau=<[2]>, decay_input=True, "
        "tau_adaptation=5.0 (trained), beta=0.2"
    )
    assert repr(MultiStepLINode()) == "MultiStepLINode(tau=2.0, decay_input=True, backend=auto)"


def test_numbers_can_be_made_on_the_meta_device_and_get_their_values_later():
    with torch.device("meta"):
        node = AdaptiveLIFNode(
            [2.0, 3.0], nn.Parameter(torch.tensor(5.0)), v_threshold=nn.Parameter(torch.ones(2))
        )
        synapse = DoubleExponentialSynapse(2.0, [4.0, 5.0], learnable=True)
    assert {value.device.type for value in (*node.state_dict().values(), *synapse.parameters())} == {"meta"}
    assert node(torch.zeros(3, 2, device="meta")).shape == (3, 2)
    with pytest.raises(ValueError, match="AdaptiveLIFNode: x is on cpu, the weights are on meta"):
        node(torch.zeros(3, 2))
