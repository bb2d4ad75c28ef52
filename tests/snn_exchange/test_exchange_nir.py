"""Networks to NIR and back: hand-worked graphs, equal spikes, and what is refused."""

from __future__ import annotations

import operator
import warnings
from collections import OrderedDict
from itertools import pairwise

import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import tries
from support_networks import random_currents
from torch import nn

from experiments.networks import NetworkSpec, build
from sequential_fmnist import pretrained
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.pretrained import TrainedNet
from snn_core.functional import reset_net, scan
from snn_core.layer import (
    DelayedRecurrentContainer,
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, MultiStepIFNode
from snn_core.surrogate import Sigmoid
from snn_exchange import (
    DIALECTS,
    DIFFERENCES,
    ExchangeError,
    ExchangeWarning,
    Integrator,
    OnImages,
    from_nir,
    read_nir,
    to_nir,
    write_nir,
)

pytestmark = pytest.mark.xdist_group("exchange")

every_model = pytest.mark.parametrize("model", NETWORKS)


def graph_of(net: nn.Module, **options) -> nir.NIRGraph:
    """Convert with every difference allowed, and without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExchangeWarning)
        return to_nir(net, allow=DIFFERENCES, **options)


def through_a_file(graph: nir.NIRGraph, tmp_path) -> nir.NIRGraph:
    write_nir(tmp_path / "net.nir", graph)
    return read_nir(tmp_path / "net.nir")


def spikes(net: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Return the output of every layer of spiking neurons."""
    found: list[torch.Tensor] = []
    neurons = [
        m for m in net.modules() if isinstance(m, (MultiStepContainer, MultiStepIFNode)) and is_layer(m)
    ]
    hooks = [m.register_forward_hook(lambda _m, _i, output: found.append(output)) for m in neurons]
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()
    reset_net(net)
    return found


def is_layer(module: nn.Module) -> bool:
    part = module[0] if isinstance(module, MultiStepContainer) else module
    return isinstance(part, (IFNode, LIFNode, LinearRecurrentContainer, ElementWiseRecurrentContainer))


def equal_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def chain(*nodes, edges=None, **named):
    """A graph input -> nodes in a row -> output, or with other edges."""
    names = {f"n{place}": node for place, node in enumerate(nodes)} | named
    row = ["input", *list(names)[: len(nodes)], "output"]
    everything = {
        "input": nir.Input({"input": np.array([2])}),
        **names,
        "output": nir.Output({"output": np.array([2])}),
    }
    return nir.NIRGraph(everything, edges or list(pairwise(row)), type_check=False)


def neurons(kind=nir.IF, size=2, **changes):
    values = {"r": 1e4, "v_threshold": 1.0, "v_reset": 0.0}
    if kind in (nir.LIF, nir.LI):
        values |= {"tau": 2e-4, "v_leak": 0.0, "r": 1.0}
    if kind in (nir.LI, nir.I):
        values = {
            name: value for name, value in values.items() if not name.startswith("v_t") and name != "v_reset"
        }
    return kind(**{name: np.full(size, value) for name, value in (values | changes).items()})


def linear(size_out=2, size_in=2):
    return nir.Linear(np.full((size_out, size_in), 0.5, np.float32))


# Graphs, by hand


def test_feedback_network_as_a_graph():
    net = make_network("feedback", hidden=3)
    graph = to_nir(net)
    assert list(graph.nodes) == ["input", "fc1", "sn1", "sn1_recurrent", "fc2", "sn2", "output"]
    assert graph.edges == [
        ("input", "fc1"),
        ("fc1", "sn1"),
        ("sn1", "sn1_recurrent"),
        ("sn1_recurrent", "sn1"),
        ("sn1", "fc2"),
        ("fc2", "sn2"),
        ("sn2", "output"),
    ]
    rc = net.sn1[0].rc
    with torch.no_grad():
        weight = rc.weight[:, :3].double() @ net.fc1.weight.double()
        bias = rc.weight[:, :3].double() @ net.fc1.bias.double() + rc.bias
    np.testing.assert_array_equal(graph.nodes["fc1"].weight, weight.float().numpy())
    np.testing.assert_array_equal(graph.nodes["fc1"].bias, bias.float().numpy())
    np.testing.assert_array_equal(graph.nodes["sn1_recurrent"].weight, rc.weight[:, 3:].detach().numpy())
    assert graph.check_types()  # NIR's own check


def test_lif_neuron_as_a_node():
    node = to_nir(
        nn.Sequential(nn.Linear(2, 3), LIFNode(tau=4.0, v_reset=-0.5, v_threshold=0.7)), dt=1e-3
    ).nodes["layer_1"]
    assert isinstance(node, nir.LIF)
    np.testing.assert_allclose(node.tau, [4e-3] * 3)
    for what, value in {"r": 1.0, "v_leak": -0.5, "v_reset": -0.5}.items():
        np.testing.assert_array_equal(getattr(node, what), np.float32([value] * 3))
    whole = to_nir(nn.Sequential(nn.Linear(2, 3), LIFNode(tau=4.0, decay_input=False))).nodes["layer_1"]
    np.testing.assert_array_equal(whole.r, [4.0] * 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threshold_is_the_number_below_so_that_above_means_at_least(dtype):
    net = nn.Sequential(nn.Linear(1, 1), IFNode(v_threshold=0.7)).to(dtype)
    (threshold,) = to_nir(net).nodes["layer_1"].v_threshold
    exact = torch.tensor(0.7, dtype=dtype).numpy()
    assert threshold < exact
    assert np.nextafter(threshold, np.inf, dtype=threshold.dtype) == exact
    assert from_nir(to_nir(net))[1][0].v_threshold == exact


def test_neuron_at_the_threshold_fires_as_here_and_one_of_nir_does_not():
    x_seq = torch.ones(1, 1, 1)
    net = nn.Sequential(nn.Linear(1, 1, bias=False), IFNode())
    nn.init.ones_(net[0].weight)
    assert from_nir(to_nir(net))(x_seq).item() == 1
    theirs = chain(nir.Linear(np.ones((1, 1), np.float32)), neurons(size=1))
    assert from_nir(theirs)(x_seq).item() == 0


def test_element_wise_container_is_a_cycle_through_the_identity():
    net = nn.Sequential(
        nn.Linear(2, 3), MultiStepContainer(ElementWiseRecurrentContainer(IFNode(), operator.add))
    )
    graph = to_nir(net)
    np.testing.assert_array_equal(graph.nodes["layer_1_recurrent"].weight, np.eye(3))
    back = from_nir(graph)[1][0]
    assert isinstance(back, ElementWiseRecurrentContainer)
    assert back.element_wise_function is torch.add


@pytest.mark.parametrize(
    ("container", "feedback"),
    [
        (ElementWiseRecurrentContainer(IFNode(), torch.add, 0.5), 0.5 * np.eye(3)),
        (
            ElementWiseRecurrentContainer(IFNode(), torch.add, nn.Parameter(torch.tensor([0.5, -1, 0.25]))),
            np.diag([0.5, -1, 0.25]),
        ),
        (LinearRecurrentContainer(IFNode(), 3, 3, self_connections=False), None),
    ],
    ids=["a number", "trained", "off-diagonal"],
)
def test_weights_of_feedback_are_written_as_they_act(container, feedback):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), MultiStepContainer(container))
    nn.init.normal_(net[0].weight, 0, 3)
    if feedback is None:  # made when tests are collected, from whatever random numbers
        nn.init.normal_(container.rc.weight, 0, 3)
    graph = to_nir(net)
    written = graph.nodes["layer_1_recurrent"].weight
    if feedback is None:
        feedback = container.rc.effective_weight().detach()[:, 3:]
        assert np.diag(written).tolist() == [0, 0, 0]
    np.testing.assert_allclose(written, feedback)
    x_seq = torch.rand(9, 4, 2)
    spikes, back = scan(x_seq, *net), from_nir(graph)
    assert torch.equal(scan(x_seq, *back), spikes)
    assert 0 < spikes.mean() < 1


def test_tutorials_snippet_on_recurrence_survives():
    """x = [1.5, 0, ...] with soft reset keeps firing: the tutorial's output, after a round trip."""
    net = MultiStepContainer(ElementWiseRecurrentContainer(IFNode(v_reset=None), torch.add))
    back = from_nir(graph_of(net, in_features=1))
    x_seq = torch.zeros(8, 1, 1)
    x_seq[0] = 1.5
    assert back(x_seq).flatten().tolist() == [1.0] * 8


def test_dialect_for_snntorch():
    graph = to_nir(make_network("feedback", hidden=3), dialect="snntorch")
    assert isinstance(graph.nodes["sn1"], nir.LIF)
    np.testing.assert_array_equal(1 - 1e-4 / graph.nodes["sn1"].tau, [1.0] * 3)
    assert ("sn1_recurrent", "sn1_sum") in graph.edges
    assert ("sn1_sum", "sn1") in graph.edges
    plain = to_nir(make_network("feedback", hidden=3), dialect="spyx")
    assert ("sn1_recurrent", "sn1") in plain.edges


# Round trips


@every_model
@pytest.mark.parametrize("dialect", DIALECTS)
def test_round_trip_gives_equal_spikes_in_every_dialect(model, dialect, few, tmp_path):
    net = make_network(model, hidden=16)
    with torch.no_grad():
        net.fc1.weight *= 3  # so that they fire
    back = OnImages(from_nir(through_a_file(graph_of(net, dialect=dialect), tmp_path)))
    images = few[1].images.float() / 255
    ours, theirs = spikes(net, images), spikes(back, images)
    assert len(ours) == len(theirs) == 2
    assert all(0 < layer.mean() < 1 for layer in ours)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@every_model
def test_round_trip_of_the_trained_networks(model, embedded, tmp_path, torture):
    """Every spike of the test images in the package, or of all 10,000, and every weight."""
    net, _ = pretrained.load(model)
    back = OnImages(from_nir(through_a_file(graph_of(net), tmp_path)))
    test = SequentialFashionMNIST(train=False, verbose=False) if torture.full else embedded[1]
    images = test.images.float() / 255
    (ours,), (theirs,) = spikes(net, images), spikes(back, images)
    assert 0.1 < ours.mean() < 0.9
    differing = int((ours != theirs).sum())
    assert differing == 0
    assert equal_weights(net, back)
    right = [evaluate(each, test)[1] for each in (net, back)]
    assert right[0] == right[1] > 0.75


# The note that keeps both factors of a product

MISSING = object()


def input_part(graph: nir.NIRGraph) -> torch.Tensor:
    """Return the part for x[t] of the recurrent weights: the identity, unless the first layer is two again."""
    return from_nir(graph)[1][0].rc.weight[:, :3]


def test_product_rounded_elsewhere_is_two_layers_again(tmp_path):
    """Another machine may add up a product in another order."""
    net = make_network("feedback", hidden=3)
    graph = to_nir(net)
    graph.nodes["fc1"].weight = np.nextafter(graph.nodes["fc1"].weight, np.float32(9))
    back = from_nir(through_a_file(graph, tmp_path))
    assert equal_weights(net, back)


def test_weights_changed_since_count_and_not_the_note():
    for what in ("weight", "bias"):
        graph = to_nir(make_network("feedback", hidden=3))
        getattr(graph.nodes["fc1"], what).flat[1] += 1e-3
        assert torch.equal(input_part(graph), torch.eye(3))
        layer = from_nir(graph)[0][0]
        np.testing.assert_array_equal(layer.weight.detach(), graph.nodes["fc1"].weight)
        np.testing.assert_array_equal(layer.bias.detach(), graph.nodes["fc1"].bias)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_1", np.zeros((3, 28), np.float32)),
        ("weight_1", np.full((3, 28), np.nan, np.float32)),
        ("weight_1", np.ones((28, 3), np.float32)),
        ("weight_1", np.ones((3, 28), int)),
        ("weight_1", np.ones((0, 0), np.float32)),
        ("weight_2", np.float32(1)),
        ("weight_2", "text"),
        ("weight_2", None),
        ("weight_2", {}),
        ("bias_1", np.zeros(4, np.float32)),
        ("bias_2", np.full(3, np.inf, np.float32)),
        ("bias_2", "__import__('os').abort()"),
        *[(name, MISSING) for name in ("weight_1", "bias_1", "weight_2", "bias_2")],
    ],
)
def test_note_that_says_anything_else_does_not_count(name, value):
    graph = to_nir(make_network("feedback", hidden=3))
    note = graph.nodes["fc1"].metadata["snn_core"]
    assert not torch.equal(input_part(graph), torch.eye(3))
    if value is MISSING:
        del note[name]
    else:
        note[name] = value
    assert torch.equal(input_part(graph), torch.eye(3))


def test_note_whose_product_is_no_number_does_not_count():
    graph = to_nir(make_network("feedback", hidden=3))
    note = {"weight_1": np.full((3, 28), 1e200), "weight_2": np.full((3, 3), 1e200)}
    graph.nodes["fc1"].metadata["snn_core"] |= note
    assert torch.equal(input_part(graph), torch.eye(3))


@pytest.mark.parametrize("biases", [(True, False), (False, True), (False, False)])
def test_biases_that_are_not_there(biases):
    net = nn.Sequential(
        SeqToANNContainer(nn.Linear(28, 3, bias=biases[0])),
        MultiStepContainer(LinearRecurrentContainer(IFNode(), 3, 3, bias=biases[1])),
    )
    graph = to_nir(net)
    assert isinstance(graph.nodes["layer_0"], nir.Affine if any(biases) else nir.Linear)
    assert equal_weights(net, from_nir(graph))


SPECS = {
    "LIF": NetworkSpec("feedback", neuron="lif", tau_m=3.0, hidden=8),
    "membrane": NetworkSpec("plain", readout="membrane", hidden=8),
    "last steps": NetworkSpec("plain", readout="membrane", last=5, hidden=8),
    "soft reset": NetworkSpec("feedback", soft_reset=True, hidden=8),
    "tau per channel": NetworkSpec("stateful-synapse", tau_mode="per-channel", hidden=8),
    "frozen tau": NetworkSpec("stateful-synapse", tau_mode="frozen", tau=3.7, hidden=8),
}


@pytest.mark.parametrize("name", SPECS)
def test_round_trip_of_other_specs(name, few, tmp_path):
    spec = SPECS[name]
    net = build(spec).eval()
    with torch.no_grad():
        net.fc1.weight *= 4
    graph = graph_of(nn.Sequential(OrderedDict(net.named_children())))
    back = OnImages(from_nir(through_a_file(graph, tmp_path)), last=spec.last)
    images = few[1].images.float() / 255
    ours, theirs = spikes(net, images), spikes(back, images)
    assert all(0 < layer.mean() < 1 for layer in ours)
    assert all(map(torch.equal, ours, theirs))
    with torch.no_grad():
        torch.testing.assert_close(back(images), net(images), atol=1e-6, rtol=1e-5)


def test_integrator_at_the_end_gives_the_mean_of_what_arrives(few, tmp_path):
    net = TrainedNet(make_network("plain", 8), scale=1.0).eval()
    graph = through_a_file(to_nir(net, integrator=True), tmp_path)
    assert isinstance(graph.nodes["readout"], nir.I)
    images = few[1].images.float() / 255
    with torch.no_grad():
        torch.testing.assert_close(OnImages(from_nir(graph))(images), net(images))


@pytest.mark.parametrize(("tau", "decay_input"), [(None, True), (3.0, True), (3.0, False)])
def test_integrators_by_hand(tau, decay_input, tmp_path):
    net = nn.Sequential(nn.Linear(1, 1, bias=False), Integrator(tau, decay_input))
    nn.init.ones_(net[0].weight)
    back = from_nir(through_a_file(to_nir(net), tmp_path))
    expected = {
        (None, True): [3.0, 3.0, 6.0],
        (3.0, True): [1.0, 2 / 3, 13 / 9],
        (3.0, False): [3.0, 2.0, 13 / 3],
    }
    x_seq = torch.tensor([3.0, 0.0, 3.0]).view(3, 1, 1)
    torch.testing.assert_close(back(x_seq).flatten(), torch.tensor(expected[tau, decay_input]))


def test_integrator_refuses_what_would_overshoot():
    with pytest.raises(ValueError, match=r"tau must be at least 1 time step, got 0\.5"):
        Integrator(0.5)


sizes = st.integers(1, 4)
neuron_modules = st.one_of(
    st.builds(IFNode, v_threshold=st.floats(0.1, 2), v_reset=st.one_of(st.none(), st.floats(-1, 0))),
    st.builds(
        LIFNode,
        tau=st.floats(1.01, 50),
        decay_input=st.booleans(),
        v_threshold=st.floats(0.1, 2),
        v_reset=st.one_of(st.none(), st.floats(-1, 0)),
    ),
)


@st.composite
def parts(draw, size: int, depth: int = 0):
    """Draw modules that follow one another, and the size of what they give."""
    modules = []
    for _ in range(draw(st.integers(1, 3 if depth == 0 else 2))):
        kind = draw(
            st.sampled_from(
                ["linear", "neuron", "synapse", "element-wise", "recurrent"][: 5 if depth < 2 else 3]
            )
        )
        if kind == "linear":
            new = draw(sizes)
            modules.append(nn.Linear(size, new, bias=draw(st.booleans())))
            size = new
        elif kind == "neuron":
            modules.append(draw(neuron_modules))
        elif kind == "synapse":
            tau = draw(st.floats(1.01, 50))
            channels = draw(st.booleans())
            modules.append(SynapseFilter([tau] * size if channels else tau, learnable=draw(st.booleans())))
        else:
            inner, size_out = draw(parts(size, depth + 1))
            if kind == "element-wise":
                inner, size_out = [draw(neuron_modules)], size
            if not any(hasattr(m, "register_state") for part in inner for m in part.modules()):
                inner.append(draw(neuron_modules))
            module = inner[0] if len(inner) == 1 else nn.Sequential(*inner)
            if kind == "element-wise":
                modules.append(ElementWiseRecurrentContainer(module, torch.add))
            else:
                modules.append(LinearRecurrentContainer(module, size, size_out, bias=draw(st.booleans())))
            size = size_out
    return modules, size


@st.composite
def compositions(draw):
    size = draw(sizes)
    modules, _ = draw(parts(size))
    return size, nn.Sequential(
        *(SeqToANNContainer(m) if isinstance(m, nn.Linear) else MultiStepContainer(m) for m in modules)
    )


def test_round_trip_of_random_compositions(torture, tmp_path):
    fired = []

    @tries(torture.count(fast=25, full=2000))
    @given(compositions(), st.sampled_from(list(DIALECTS)))
    def check(drawn, dialect):
        size, net = drawn
        net = net.double()
        graph = through_a_file(graph_of(net, dialect=dialect, in_features=size), tmp_path)
        back = from_nir(graph).double()
        x_seq = random_currents(6, 3, size)
        with torch.no_grad():
            ours, theirs = net(x_seq), back(x_seq)
        fired.append(float((ours != 0).double().mean()))
        assert torch.equal(ours, theirs)

    check()
    assert 0.1 < sum(fired) / len(fired) < 0.99


def test_surrogate_and_detach_reset_are_chosen_by_the_reader():
    net = from_nir(to_nir(make_network("plain", hidden=2)), surrogate_function=Sigmoid, detach_reset=False)
    assert isinstance(net[1][0].surrogate_function, Sigmoid)
    assert net[1][0].detach_reset is False
    assert from_nir(to_nir(make_network("plain", hidden=2)))[1][0].detach_reset is True


def test_network_is_not_changed_and_can_be_trained_after_the_round_trip(few):
    net = make_network("feedback", hidden=4)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    back = OnImages(from_nir(to_nir(net)))
    back(few[1].images[:8].float() / 255).sum().backward()
    assert all(parameter.grad is not None for parameter in back.parameters())
    with torch.no_grad():
        for parameter in back.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


# What NIR cannot say


@pytest.mark.parametrize(
    ("net", "what"),
    [
        (make_network("stateful-synapse", hidden=2), "synapse-filter"),
        (nn.Sequential(nn.Linear(2, 2), IFNode(v_reset=None)), "soft-reset"),
    ],
    ids=["synapse filter", "soft reset"],
)
def test_inexact_parts_are_refused_unless_allowed_and_then_named(net, what):
    with pytest.raises(ExchangeError, match=rf"NIR cannot say it exactly: .*add allow=\['{what}'\]"):
        to_nir(net)
    with pytest.warns(ExchangeWarning, match="not exact in NIR: (sy1|layer_1): ") as caught:
        to_nir(net, allow=[what])
    assert DIFFERENCES[what] in str(caught[0].message)
    assert caught[0].filename == __file__
    with pytest.raises(ExchangeError):
        to_nir(net, allow=DIFFERENCES.keys() - {what})


def test_synapse_filter_without_our_note_is_a_leaky_integrator():
    """One spike, a pause, two spikes, tau 2, by hand: the filter keeps its current in a step with a spike."""
    net = nn.Sequential(
        SeqToANNContainer(nn.Linear(1, 1, bias=False)), MultiStepContainer(SynapseFilter(tau=2.0))
    )
    nn.init.ones_(net[0][0].weight)
    x_seq = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1)
    assert net(x_seq).flatten().tolist() == [1.0, 0.5, 1.5, 2.5]
    graph = graph_of(net)
    reset_net(net)
    assert torch.equal(from_nir(graph)(x_seq), net(x_seq))
    graph.nodes["layer_1"].metadata.clear()
    assert from_nir(graph)(x_seq).flatten().tolist() == [1.0, 0.5, 1.25, 1.625]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "layer_1: NIR has no node for a ReLU"),
        (
            nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 2)),
            "layer_1: takes 2 features, what comes before gives 3",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), ElementWiseRecurrentContainer(IFNode(), torch.mul)),
            "layer_1: of the functions .* only torch.add",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), LinearRecurrentContainer(IFNode(), 2, 3)),
            "layer_1: out_features is 3, but the sub_module gives 2",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), LinearRecurrentContainer(IFNode(), 3, 3)),
            "layer_1: takes 3 features, what comes before gives 2",
        ),
        (
            nn.Sequential(nn.Linear(2, 3), ElementWiseRecurrentContainer(IFNode(), torch.add, [0.5, 1.0])),
            r"layer_1: its weight has shape \[2\] for 3 features",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), DelayedRecurrentContainer(IFNode(), 2, 2, 3)),
            "layer_1: NIR has no node for a DelayedRecurrentContainer",
        ),
        (nn.Sequential(), "the network has no layers"),
        (nn.Sequential(IFNode()), "begins with IFNode, so say the size"),
        (build(NetworkSpec("gru")), "NIR has no node for a GatedNet"),
        (
            nn.Sequential(nn.Linear(2, 3), SynapseFilter([2.0, 3.0])),
            "layer_1: has 2 time constants for 3 features",
        ),
    ],
)
def test_networks_that_are_refused(net, message):
    with pytest.raises(ExchangeError, match=message):
        graph_of(net)


def test_bad_arguments():
    net = make_network("plain", hidden=2)
    with pytest.raises(
        ValueError, match="allow must hold names among 'synapse-filter', 'soft-reset', got 'magic'"
    ):
        to_nir(net, allow=["magic"])
    with pytest.raises(ValueError, match="dialect must be one of 'nir', 'snntorch', 'spyx', got 'norse'"):
        to_nir(net, dialect="norse")
    for dt in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="dt must be a positive number"):
            to_nir(net, dt=dt)
        with pytest.raises(ExchangeError, match="dt must be a positive number"):
            from_nir(to_nir(net), dt=dt)


# Graphs of others


def test_resistance_of_one_is_taken_whatever_dt():
    for r in (1.0, 1e4):
        assert isinstance(from_nir(chain(linear(), neurons(r=r)))[1][0], IFNode)
    with pytest.raises(
        ExchangeError, match=r"node 'n1' \(IF\): r must be 1 or 1 / dt = 10000, got 1000: is dt=0.0001"
    ):
        from_nir(chain(linear(), neurons(r=1e3)))
    assert isinstance(from_nir(chain(linear(), neurons(r=1e3)), dt=1e-3)[1][0], IFNode)


@pytest.mark.parametrize("tau", [2.0, 3.7, 50.0, 1.01])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_time_constant_comes_back_as_the_number_that_it_was(tau, dtype):
    node = neurons(nir.LIF)
    node.tau = np.full(2, tau * 1e-4, dtype)
    assert from_nir(chain(linear(), node))[1][0].tau == tau


def test_graphs_in_the_graph_are_taken_apart():
    """A recurrent layer as snnTorch writes it: a graph in the graph, with a bias in the way back."""
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([2])}),
            "lif": neurons(nir.LIF, tau=2e-4, r=2.0),
            "w_rec": nir.Affine(np.float32([[1, 2], [3, 4]]), np.float32([5, 6])),
            "output": nir.Output({"output": np.array([2])}),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    first = nir.Affine(np.float32([[1, 0, 0], [0, 1, 0]]), np.float32([0.5, 0.25]))
    net = from_nir(chain(first, inner))
    container = net[1][0]
    assert isinstance(container, LinearRecurrentContainer)
    assert isinstance(container.sub_module, LIFNode)
    assert container.rc.weight.tolist() == [[1, 0, 1, 2], [0, 1, 3, 4]]
    assert container.rc.bias.tolist() == [5, 6]
    square = from_nir(chain(nir.Affine(np.float32([[1, 2], [3, 4]]), np.float32([0.5, 0.25])), inner))
    assert square[0][0].rc.weight.tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]
    assert square[0][0].rc.bias.tolist() == [5.5, 6.25]


def test_direct_way_back_is_the_sum():
    edges = [("input", "n0"), ("n0", "n1"), ("n1", "n1"), ("n1", "output")]
    net = from_nir(chain(linear(), neurons(), edges=edges))
    assert isinstance(net[1][0], ElementWiseRecurrentContainer)


BROKEN = {
    "no way": (
        chain(linear(), neurons(), edges=[("input", "n0"), ("n1", "output")]),
        "no way leads from 'input' to 'output'",
    ),
    "lost node": (
        chain(linear(), edges=[("input", "n0"), ("n0", "output"), ("n0", "gone")]),
        "n0 -> gone: there is no node 'gone'",
    ),
    "stateless cycle": (
        chain(linear(), linear(), edges=[("input", "n0"), ("n0", "n1"), ("n1", "n0"), ("n1", "output")]),
        "the way back from 'n1' to 'n0' spans no node with a state",
    ),
    "branch": (
        chain(
            linear(),
            linear(),
            edges=[("input", "n0"), ("n0", "n1"), ("n1", "output"), ("input", "n1"), ("n0", "output")],
        ),
        "node 'n1' must lead from one node on the way from 'input' to 'output' to one other",
    ),
    "crossing cycles": (
        chain(
            *(neurons() for _ in range(4)),
            edges=[
                ("input", "n0"),
                ("n0", "n1"),
                ("n1", "n2"),
                ("n2", "n3"),
                ("n3", "output"),
                ("n2", "n0"),
                ("n3", "n1"),
            ],
        ),
        "crosses another one",
    ),
    "neurons beside the way": (
        chain(
            linear(),
            edges=[("input", "n0"), ("n0", "output"), ("n0", "side"), ("side", "n0")],
            side=neurons(),
        ),
        r"node 'side' \(IF\) is not on the way from 'input' to 'output'",
    ),
    "dead end": (
        chain(linear(), edges=[("input", "n0"), ("n0", "output"), ("n0", "side")], side=linear()),
        "node 'side' must lead from one node",
    ),
    "twice": (
        chain(linear(), edges=[("input", "n0"), ("input", "n0"), ("n0", "output")]),
        "edge input -> n0 is there more than once",
    ),
    "sizes": (chain(linear(3, 2), linear(2, 2)), "node 'n1' takes 2 features, what comes before gives 3"),
    "way back of another size": (
        chain(
            neurons(),
            edges=[("input", "n0"), ("n0", "output"), ("n0", "side"), ("side", "n0")],
            side=linear(3, 2),
        ),
        "through 'side', leads from 2 features to 2, got 2 to 3",
    ),
    "nothing": (chain(edges=[("input", "output")]), "no nodes between"),
    "convolution": (
        chain(nir.Conv1d(3, np.ones((1, 1, 3)), 1, 0, 1, 1, np.ones(1))),
        "node 'n0' is a Conv1d, which snn_core has no module for",
    ),
    "NaN in a weight": (
        chain(nir.Linear(np.full((2, 2), np.nan))),
        r"node 'n0' \(Linear\): weight holds NaN",
    ),
    "weight of three dimensions": (
        chain(nir.Linear(np.ones((2, 2, 2)))),
        r"weight must have shape \[out, in\], got \[2, 2, 2\]",
    ),
    "bias of another size": (
        chain(nir.Affine(np.ones((2, 2)), np.ones(3))),
        r"node 'n0' \(Affine\): bias must have shape \[2\], got \[3\]",
    ),
    "weight of text": (
        chain(nir.Linear(np.full((2, 2), "a"))),
        r"node 'n0' \(Linear\): weight must hold numbers",
    ),
    "threshold below reset": (
        chain(neurons(v_threshold=-1.0)),
        r"node 'n0' \(IF\): IFNode: v_reset must be below",
    ),
    "infinite threshold": (
        chain(neurons(v_threshold=np.inf)),
        r"node 'n0' \(IF\): v_threshold holds NaN or infinity",
    ),
    "tau below one step": (
        chain(neurons(nir.LIF, tau=0.5e-4)),
        r"node 'n0' \(LIF\): LIFNode: tau must be from 1 to infinity",
    ),
    "leak elsewhere": (chain(neurons(nir.LIF, v_leak=0.5)), r"node 'n0' \(LIF\): v_leak must be v_reset = 0"),
    "current-based": (
        chain(nir.CubaLIF(*(np.full(2, value) for value in (2e-4, 2e-4, 1.0, 0.0, 1.0)))),
        r"node 'n0' \(CubaLIF\): w_in must be tau_syn / dt = 2, got 1",
    ),
    "current-based, and r of one neuron": (
        chain(
            nir.CubaLIF(
                *(np.array(value) for value in ([2e-4] * 2, [2e-4] * 2, [2.0, 3.0], [0.0] * 2, [1.0] * 2)),
                w_in=np.full(2, 2.0),
            )
        ),
        r"node 'n0' \(CubaLIF\): r must be 1 or tau_mem / dt = 2, got 3",
    ),
    "current-based without spikes": (
        chain(nir.CubaLI(*(np.full(2, value) for value in (2e-4, 2e-4, 1.0, 0.0)))),
        "node 'n0' is a CubaLI, which snn_core has no module for",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_graphs_are_named(name):
    graph, message = BROKEN[name]
    with pytest.raises(ExchangeError, match=message):
        from_nir(graph)


def test_neurons_that_differ_are_named():
    node = neurons()
    node.v_reset = np.array([0.0, -0.5])
    with pytest.raises(ExchangeError, match=r"node 'n1' \(IF\): v_reset differs from neuron to neuron"):
        from_nir(chain(linear(), node))


def test_no_graph_two_inputs_and_graphs_too_deep():
    with pytest.raises(ExchangeError, match=r"graph must be a nir.NIRGraph, got dict"):
        from_nir({})
    two = chain(linear(), other=nir.Input({"input": np.array([2])}))
    with pytest.raises(ExchangeError, match="the graph must have one Input node, it has 2"):
        from_nir(two)
    graph = chain(linear())
    for _ in range(20):
        graph = chain(graph)
    with pytest.raises(ExchangeError, match="graphs in graphs more than 16 deep"):
        from_nir(graph)
