"""Networks to NIR and back: hand-worked graphs, NIR's own equations, equal spikes, and what is refused."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import TORTURE, count, tries
from support_networks import random_currents
from torch import nn

from sequential_fmnist import pretrained
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.networks import TUTORIAL_NETWORKS, columns_as_sequence, make_network
from snn_core.functional import reset_net, scan
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.more.neuron import AdaptiveLIFNode, CUBALIFNode, MultiStepCUBALIFNode
from snn_core.neuron import IFNode, LIFNode, LINode, MultiStepLINode, MultiStepParametricLIFNode
from snn_core.synapse import LowPassSynapse
from snn_exchange import (
    DIALECTS,
    DIFFERENCES,
    ExchangeError,
    ExchangeWarning,
    from_nir,
    read_nir,
    to_nir,
    write_nir,
)

pytestmark = pytest.mark.xdist_group("exchange")


def graph_of(net: nn.Module, **options) -> nir.NIRGraph:
    """Convert with every difference allowed, and without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExchangeWarning)
        return to_nir(net, allow=DIFFERENCES, **options)


def through_a_file(graph: nir.NIRGraph, tmp_path) -> nir.NIRGraph:
    write_nir(tmp_path / "net.nir", graph)
    return read_nir(tmp_path / "net.nir")


def equal_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def chain(*nodes, edges=None, **named):
    """A graph input -> nodes in a row -> output, or with other edges."""
    names = {f"n{place}": node for place, node in enumerate(nodes)} | named
    row = ["input", *list(names)[: len(nodes)], "output"]
    everything = {"input": nir.Input(np.array([2])), **names, "output": nir.Output(np.array([2]))}
    return nir.NIRGraph(everything, edges or list(pairwise(row)), type_check=False)


def neurons(kind=nir.IF, size=2, **changes):
    values = {"r": 1e4, "v_threshold": 1.0, "v_reset": 0.0}
    if kind is nir.LIF:
        values |= {"tau": 2e-4, "v_leak": 0.0, "r": 1.0}
    return kind(**{name: np.broadcast_to(value, size) for name, value in (values | changes).items()})


def linear(size_out=2, size_in=2):
    return nir.Linear(np.full((size_out, size_in), 0.5, np.float32))


# Graphs, by hand and by NIR's equations


def test_feedback_network_as_a_graph():
    net = make_network("feedback", hidden=3)
    graph = to_nir(net)
    assert list(graph.nodes) == ["input", "fc1", "sn1", "sn1_recurrent", "fc2", "sn2", "output"]
    row = ["input", "fc1", "sn1", "fc2", "sn2", "output"]
    assert set(graph.edges) == {*pairwise(row), ("sn1", "sn1_recurrent"), ("sn1_recurrent", "sn1")}
    rc = net.sn1[0].rc
    with torch.no_grad():
        weight = rc.weight[:, :3].double() @ net.fc1.weight.double()
        bias = rc.weight[:, :3].double() @ net.fc1.bias.double() + rc.bias
    np.testing.assert_array_equal(graph.nodes["fc1"].weight, weight.float().numpy())
    np.testing.assert_array_equal(graph.nodes["fc1"].bias, bias.float().numpy())
    np.testing.assert_array_equal(graph.nodes["sn1_recurrent"].weight, rc.weight[:, 3:].detach().numpy())
    assert graph.check_types()  # NIR's own check


def nirs_equations(node, x_seq, dt):
    """Euler's method on one node, from rest."""
    v, current, outputs = getattr(node, "v_reset", 0.0), 0.0, []
    for i in x_seq:
        if isinstance(node, nir.CubaLIF):
            current = current + dt / node.tau_syn * (-current + node.w_in * i)
            v = v + dt / node.tau_mem * (node.v_leak - v + node.r * current)
        elif isinstance(node, nir.IF):
            v = v + dt * node.r * i
        else:
            v = v + dt / node.tau * (node.v_leak - v + node.r * i)
        outputs.append(v > node.v_threshold if hasattr(node, "v_threshold") else v)
        if hasattr(node, "v_threshold"):
            v = np.where(outputs[-1], node.v_reset, v)
    return np.stack(outputs)


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


FIRE = {"v_reset": -0.5, "v_threshold": parameter(0.5, 0.7, 1.0)}
#: What is written, and the module that is read again.
MODULES = [
    (lambda: IFNode(v_threshold=[0.5, 0.7, 1.0], v_reset=-0.25), IFNode),
    (lambda: LIFNode(parameter(2.0, 3.0, 7.3), v_reset=-0.5, v_threshold=0.7), LIFNode),
    (lambda: LIFNode(math.inf, False), IFNode),
    (lambda: MultiStepParametricLIFNode([2.0, 3.0, 7.3]), LIFNode),
    (lambda: MultiStepCUBALIFNode([2.0, 3.0, 7.3], parameter(5.0, 2.0, 2.5), False, **FIRE), CUBALIFNode),
    (lambda: LINode(math.inf, False), LINode),
    (lambda: MultiStepLINode([2.0, 3.0, 7.3], False), LINode),
    (lambda: LowPassSynapse([2.0, 3.0, 7.3], learnable=True), LINode),
]


@pytest.mark.parametrize(("make", "kind"), MODULES)
def test_modules_are_nirs_equations_and_are_read_again(make, kind, tmp_path):
    torch.manual_seed(0)
    module = make().double()
    net = nn.Sequential(nn.Linear(4, 3).double(), module)
    graph = through_a_file(to_nir(net, dt=1e-3), tmp_path)
    x_seq = 3 * random_currents(12, 5, 4)
    with torch.no_grad():
        currents = net[0](x_seq)
        expected = scan(currents, module)
        back = from_nir(graph)
        assert type(back[1][0]) is kind
        torch.testing.assert_close(back(x_seq), expected, rtol=1e-12, atol=1e-12)
    theirs = nirs_equations(graph.nodes["layer_1"], currents.numpy(), 1e-3)
    np.testing.assert_allclose(theirs, expected, rtol=1e-6, atol=1e-6)
    if hasattr(module, "v_threshold"):
        assert 0.02 < expected.mean() < 0.98
        assert torch.equal(torch.as_tensor(module.v_threshold), torch.as_tensor(back[1][0].v_threshold))


def test_neuron_at_the_threshold_fires_as_here_and_one_of_nir_does_not():
    x_seq = torch.ones(1, 1, 2)
    net = nn.Sequential(nn.Linear(2, 2, bias=False), IFNode())
    nn.init.eye_(net[0].weight)
    assert from_nir(to_nir(net))(x_seq).sum() == 2
    assert from_nir(chain(nir.Linear(np.eye(2, dtype=np.float32)), neurons()))(x_seq).sum() == 0


# Round trips


@pytest.mark.parametrize("model", TUTORIAL_NETWORKS)
def test_round_trip_of_the_trained_networks(model, embedded, tmp_path):
    """Every spike of the test images in the package, or of all 10,000, and every weight."""
    net, _ = pretrained.load(model)
    back = from_nir(through_a_file(graph_of(net), tmp_path))
    test = SequentialFashionMNIST(train=False, verbose=False) if TORTURE else embedded[1]
    x_seq = columns_as_sequence(test.images.float() / 255)
    with torch.no_grad():
        ours, theirs = scan(x_seq, net.fc1, net.sn1), back[:2](x_seq)
    assert 0.1 < ours.mean() < 0.9
    assert torch.equal(ours, theirs)
    assert equal_weights(net, back)
    reset_net(net)
    reset_net(back)
    accuracy, labels = evaluate(net, test)[1], test.labels
    assert (back(x_seq).mean(0).argmax(1) == labels).double().mean().item() == accuracy > 0.75


def draw_neuron(draw):
    common = {"v_threshold": draw(st.floats(0.1, 2)), "v_reset": draw(st.none() | st.floats(-1, 0))}
    if draw(st.booleans()):
        return IFNode(**common)
    return LIFNode(draw(st.floats(1.01, 50)), draw(st.booleans()), **common)


@st.composite
def parts(draw, size: int, depth: int = 0):
    """Draw modules that follow one another, and the size of what they give."""
    modules = []
    kinds = ["linear", "neuron", "synapse", "element-wise", "recurrent"][: 5 if depth < 2 else 3]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3 if depth == 0 else 2)):
        if kind == "linear":
            new = draw(st.integers(1, 4))
            modules.append(nn.Linear(size, new, bias=draw(st.booleans())))
            size = new
        elif kind == "neuron":
            modules.append(draw_neuron(draw))
        elif kind == "synapse":
            tau = draw(st.floats(1.01, 50))
            modules.append(SynapseFilter([tau] * size if draw(st.booleans()) else tau, draw(st.booleans())))
        elif kind == "element-wise":
            weight = draw(st.none() | st.lists(st.floats(-1, 1), min_size=size, max_size=size))
            modules.append(ElementWiseRecurrentContainer(draw_neuron(draw), torch.add, weight))
        else:
            inner, size_out = draw(parts(size, depth + 1))
            inner.append(draw_neuron(draw))  # a loop needs a state
            bias = draw(st.booleans())
            modules.append(LinearRecurrentContainer(nn.Sequential(*inner), size, size_out, bias))
            size = size_out
    return modules, size


@st.composite
def compositions(draw):
    size = draw(st.integers(1, 4))
    modules, _ = draw(parts(size))
    if not hasattr(modules[0], "in_features"):
        modules.insert(0, nn.Linear(size, size))
    wrap = {True: SeqToANNContainer, False: MultiStepContainer}
    return size, nn.Sequential(*(wrap[isinstance(m, nn.Linear)](m) for m in modules))


def test_round_trip_of_random_compositions(tmp_path):
    fired = []

    @tries(count(fast=10, full=2000))
    @given(compositions(), st.sampled_from(list(DIALECTS)))
    def check(drawn, dialect):
        size, net = drawn
        net = net.double()
        graph = through_a_file(graph_of(net, dialect=dialect), tmp_path)
        back = from_nir(graph).double()
        x_seq = random_currents(6, 3, size)
        with torch.no_grad():
            ours, theirs = net(x_seq), back(x_seq)
        fired.append(float((ours != 0).double().mean()))
        assert torch.equal(ours, theirs)

    check()
    assert 0.1 < sum(fired) / len(fired) < 0.99


def test_network_is_not_changed_and_can_be_trained_after_the_round_trip():
    net = make_network("feedback", hidden=4)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    back = from_nir(to_nir(net))
    back(torch.rand(28, 8, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in back.parameters())
    with torch.no_grad():
        for weight in back.parameters():
            weight.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


# The note that keeps both factors of a product


def test_product_rounded_elsewhere_is_two_layers_again(tmp_path):
    """Another machine may add up a product in another order."""
    net = make_network("feedback", hidden=3)
    graph = to_nir(net)
    graph.nodes["fc1"].weight = np.nextafter(graph.nodes["fc1"].weight, np.float32(9))
    assert equal_weights(net, from_nir(through_a_file(graph, tmp_path)))


@pytest.mark.parametrize(
    "change",
    [
        {"weight_1": np.ones((28, 3), np.float32)},
        {"weight_2": "text"},
        {"bias_2": np.full(3, np.inf, np.float32)},
        {"bias_2": None, "bias_1": None},
        {},
    ],
)
def test_weights_count_where_the_note_says_anything_else(change):
    node = (graph := to_nir(make_network("feedback", hidden=3))).nodes["fc1"]
    assert not torch.equal(from_nir(graph)[1][0].rc.weight[:, :3], torch.eye(3))
    node.metadata["snn_core"] |= change
    node.weight.flat[1] += 0 if change else 1e-3  # the note is older
    layer, container = from_nir(graph)[0][0], from_nir(graph)[1][0]
    assert torch.equal(container.rc.weight[:, :3], torch.eye(3))
    np.testing.assert_array_equal(layer.weight.detach(), node.weight)
    np.testing.assert_array_equal(layer.bias.detach(), node.bias)


# What NIR cannot express


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: make_network("stateful-synapse", hidden=2), "synapse-filter"),
        (lambda: nn.Sequential(nn.Linear(2, 2), IFNode(v_reset=None)), "soft-reset"),
    ],
)
def test_inexact_parts_are_refused_unless_allowed_and_then_named(make, what):
    with pytest.raises(ExchangeError, match=rf"NIR cannot express it exactly: .*add allow=\['{what}'\]"):
        to_nir(make(), allow=DIFFERENCES.keys() - {what})
    with pytest.warns(ExchangeWarning, match="not exact in NIR: (sy1|layer_1): ") as caught:
        to_nir(make(), allow=[what])
    assert DIFFERENCES[what] in str(caught[0].message)
    assert caught[0].filename == __file__


REFUSED = [
    (AdaptiveLIFNode(), "layer_1: NIR has no node for a AdaptiveLIFNode"),
    (IFNode(refractory=2), "layer_1: .*no refractory period, got refractory=2"),
    (LINode([2.0] * 4), r"layer_1: .*numbers for neurons in the shape \[4\], NIR needs \[3\]"),
    (nn.Linear(2, 2), r"type mismatch: layer_0.output: \[\[3\]\] -> layer_1.input: \[\[2\]\]"),
    (ElementWiseRecurrentContainer(IFNode(), torch.mul), "layer_1: .*only torch.add"),
    (LinearRecurrentContainer(IFNode(), 3, 4), "type mismatch: layer_1.*layer_1_recurrent"),
    (IFNode(), "layer_0: the network must begin with a linear layer"),
    (nn.Conv2d(1, 2, 3), "layer_0: NIR has no node for a Conv2d"),
]


@pytest.mark.parametrize(("module", "message"), REFUSED)
def test_networks_that_are_refused(module, message):
    before = [] if message.startswith("layer_0") else [nn.Linear(4, 3)]
    with pytest.raises(ExchangeError, match=message):
        to_nir(nn.Sequential(*before, module))


def test_a_step_must_take_time():
    net = make_network("plain", hidden=2)
    for function, what in ((to_nir, net), (from_nir, to_nir(net))):
        with pytest.raises(ValueError, match="dt must be a positive, finite number, got 0"):
            function(what, dt=0)


# Graphs of others


def test_resistance_of_one_is_taken_whatever_dt():
    for r in (1.0, 1e4):
        assert isinstance(from_nir(chain(linear(), neurons(r=r)))[1][0], IFNode)
    message = r"node 'n1' \(IF\): r must be 1 or 10000, got 1000: is dt=0.0001"
    with pytest.raises(ExchangeError, match=message):
        from_nir(chain(linear(), neurons(r=1e3)))
    assert isinstance(from_nir(chain(linear(), neurons(r=1e3)), dt=1e-3)[1][0], IFNode)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_time_constant_comes_back_as_the_number_that_it_was(dtype):
    for tau in (2.0, 3.7, 50.0, 1.01):
        node = neurons(nir.LIF)
        node.tau = np.full(2, tau * 1e-4, dtype)
        assert from_nir(chain(linear(), node))[1][0].tau == tau


def test_graph_in_the_graph_is_a_part_of_the_network():
    """A recurrent layer as snnTorch writes it, with a bias in the way back; by hand."""
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([2])),
            "lif": neurons(nir.LIF, tau=2e-4, r=2.0),
            "w_rec": nir.Affine(np.float32([[1, 2], [3, 4]]), np.float32([5, 6])),
            "output": nir.Output(np.array([2])),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    container = from_nir(chain(linear(), inner))[1][0]
    assert isinstance(container.sub_module, LIFNode)
    assert container.rc.weight.tolist() == [[1, 0, 1, 2], [0, 1, 3, 4]]
    assert container.rc.bias.tolist() == [5, 6]


def test_direct_way_back_is_the_sum_and_integrator_of_others_adds_up():
    net = from_nir(chain(linear(), neurons(), edges=row_and(("n1", "n1"))))
    assert isinstance(net[1][0], ElementWiseRecurrentContainer)
    net = from_nir(chain(nir.Linear(np.eye(2, dtype=np.float32)), nir.I(np.full(2, 1e4))))
    assert net(torch.tensor([3.0, 0.0, 3.0]).view(3, 1, 1).expand(3, 1, 2))[:, 0, 0].tolist() == [3, 3, 6]


def row_and(*more, count=2):
    """The edges of a chain of so many nodes, and more."""
    return [*pairwise(["input", *(f"n{k}" for k in range(count)), "output"]), *more]


BROKEN = {
    "stateless cycle": (
        chain(linear(), linear(), edges=row_and(("n1", "n0"))),
        "the way back from 'n1' to 'n0' spans no node with a state",
    ),
    "branch": (
        chain(linear(), linear(), side=linear(), edges=row_and(("input", "side"), ("side", "n1"))),
        "edge input -> side skips nodes",
    ),
    "crossing cycles": (
        chain(*(neurons() for _ in range(4)), edges=row_and(("n2", "n0"), ("n3", "n1"), count=4)),
        "crosses another one",
    ),
    "neurons beside the way": (
        chain(linear(), side=neurons(), edges=row_and(("n0", "side"), ("side", "n0"), count=1)),
        r"node 'side' \(IF\) is not on the path from 'input' to 'output'",
    ),
    "sizes": (chain(linear(3, 2), linear()), r"mismatch: n0.output: \[\[3\]\] -> n1.input: \[\[2\]\]"),
    "unknown node": (
        chain(nir.Threshold(np.ones(2))),
        r"node 'n0' \(Threshold\): snn_core has no module for it",
    ),
    "NaN": (chain(nir.Linear(np.full((2, 2), np.nan))), r"node 'n0' \(Linear\): weight holds NaN"),
    "r of one neuron": (chain(neurons(nir.LIF, r=[2.0, 3.0])), r"node 'n0' \(LIF\): r must be 1 or 2, got 3"),
    "rest": (
        chain(neurons(nir.LIF, v_leak=0.5)),
        "v_leak must be 0, got 0.5: a neuron here rests where it is reset",
    ),
    "two inputs": (chain(linear(), other=nir.Input(np.array([2]))), "one Input node .* got 'input', 'other'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_graphs_are_named(name):
    graph, message = BROKEN[name]
    with pytest.raises(ExchangeError, match=message):
        from_nir(graph)
