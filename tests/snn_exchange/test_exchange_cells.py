"""Neurons and synapses beyond the three networks as nodes of NIR, and what NIR cannot say."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from support import require
from support_networks import random_currents
from torch import nn

from snn_core.layer import LinearRecurrentContainer, MultiStepContainer
from snn_core.neuron import (
    AdaptiveLIFNode,
    CUBALIFNode,
    IFNode,
    LIFNode,
    LINode,
    MultiStepCUBALIFNode,
    MultiStepLINode,
    MultiStepParametricLIFNode,
    ParametricLIFNode,
)
from snn_core.synapse import DoubleExponentialSynapse, LowPassSynapse
from snn_exchange import ExchangeError, from_nir, read_nir, to_nir, write_nir

nir = pytest.importorskip("nir")


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


#: What is written, the node that it becomes, and the module that is read again.
MODULES = [
    pytest.param(lambda: IFNode(v_threshold=[0.5, 0.7, 1.0]), "IF", IFNode, id="IF, thresholds"),
    pytest.param(lambda: LIFNode([2.0, 3.0, 7.3]), "LIF", LIFNode, id="LIF, taus"),
    pytest.param(lambda: LIFNode([2.0, 3.0, 7.3], False), "LIF", LIFNode, id="LIF, taus, whole input"),
    pytest.param(lambda: LIFNode(parameter(2.0, 3.0, 7.3)), "LIF", LIFNode, id="LIF, trained taus"),
    pytest.param(lambda: ParametricLIFNode(2.5), "LIF", LIFNode, id="PLIF"),
    pytest.param(lambda: MultiStepParametricLIFNode([2.0, 3.0, 7.3]), "LIF", LIFNode, id="PLIF, taus"),
    pytest.param(lambda: CUBALIFNode(3.0, 2.5), "CubaLIF", CUBALIFNode, id="CUBA-LIF"),
    pytest.param(
        lambda: MultiStepCUBALIFNode(
            [2.0, 3.0, 7.3], parameter(5.0, 2.0, 2.5), False, v_reset=-0.5, v_threshold=parameter(0.5, 0.7, 1.0)
        ),
        "CubaLIF", CUBALIFNode, id="CUBA-LIF of each neuron",
    ),
    pytest.param(lambda: LINode(2.5), "LI", LINode, id="LI"),
    pytest.param(lambda: MultiStepLINode([2.0, 3.0, 7.3], False), "LI", LINode, id="LI of each neuron"),
    pytest.param(lambda: LowPassSynapse(2.5), "LI", LowPassSynapse, id="low pass"),
    pytest.param(lambda: LowPassSynapse([2.0, 3.0, 7.3], learnable=True), "LI", LowPassSynapse, id="low passes"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("build", "node", "kind"), MODULES)
def test_modules_are_written_and_read_again(build, node, kind, dtype, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), build()).to(dtype)
    graph = to_nir(net)
    assert type(graph.nodes["layer_1"]).__name__ == node
    write_nir(tmp_path / "net.nir", graph)
    back = from_nir(read_nir(tmp_path / "net.nir"))
    assert type(back[1][0]) is kind
    x_seq = 3 * random_currents(12, 5, 4).to(dtype)
    with torch.no_grad():
        expected = (
            MultiStepContainer(net)(x_seq) if not hasattr(type(net[1]), "takes_sequences") else net(x_seq)
        )
        torch.testing.assert_close(back(x_seq), expected, rtol=1e-5, atol=1e-6)
    if not hasattr(net[1], "v_threshold"):
        return
    assert 0.02 < expected.mean() < 0.98
    ours, theirs = (torch.as_tensor(one.v_threshold, dtype=dtype) for one in (net[1], back[1][0]))
    assert torch.equal(ours, theirs)


def test_current_based_neuron_as_a_node():
    node = to_nir(nn.Sequential(nn.Linear(2, 2), CUBALIFNode([2.0, 4.0], 5.0, v_reset=-0.5)), dt=1e-3).nodes[
        "layer_1"
    ]
    for what, values in {
        "tau_mem": [2e-3, 4e-3], "tau_syn": [5e-3, 5e-3], "w_in": [5.0, 5.0], "r": [1.0, 1.0],
        "v_leak": [-0.5, -0.5], "v_reset": [-0.5, -0.5],
    }.items():  # fmt: skip
        assert getattr(node, what).tolist() == pytest.approx(values, rel=1e-6)
    whole = to_nir(nn.Sequential(nn.Linear(2, 2), CUBALIFNode([2.0, 4.0], 5.0, False))).nodes["layer_1"]
    assert whole.r.tolist() == [2.0, 4.0]


def test_current_based_neuron_by_nirs_equations():
    """Euler's method on the node itself gives the same potentials."""
    net = nn.Sequential(nn.Linear(2, 3), CUBALIFNode(3.0, 2.5, v_threshold=0.4)).double()
    node, dt = to_nir(net).nodes["layer_1"], 1e-4
    x_seq = random_currents(12, 1, 2)
    current = net[0](x_seq).detach().numpy()[:, 0]
    i, v = 0.0, 0.0
    for t, x in enumerate(x_seq):
        with torch.no_grad():
            s = net(x)
        i = i + dt / node.tau_syn * (-i + node.w_in * current[t])
        v = v + dt / node.tau_mem * (node.v_leak - v + node.r * i)
        fires = v > node.v_threshold
        v = fires * node.v_reset + (1 - fires) * v
        assert s[0].tolist() == fires.tolist()
        assert net[1].v[0].tolist() == pytest.approx(v.tolist(), rel=1e-12, abs=1e-14)


def test_recurrent_container_of_current_based_neurons():
    net = MultiStepContainer(nn.Linear(4, 3), LinearRecurrentContainer(CUBALIFNode(3.0, 2.5), 3, 3))
    x_seq = random_currents(12, 5, 4).float()
    with torch.no_grad():
        assert torch.equal(from_nir(to_nir(net))(x_seq), net(x_seq))


def test_spikingjelly_reads_a_current_based_neuron():
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly")
    from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), CUBALIFNode(4.0, 2.0, False))
    theirs = import_from_nir(to_nir(net), dt=1e-4)
    state, rates = None, []
    for x in random_currents(12, 5, 4).float():
        found, state = theirs(x, state)
        rates.append(found.mean())
        assert torch.equal(found, net(x))
    assert sum(rates) > 0.5


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (AdaptiveLIFNode(), "layer_1: NIR has no node for a AdaptiveLIFNode"),
        (DoubleExponentialSynapse(), "layer_1: NIR has no node for a DoubleExponentialSynapse"),
        (
            IFNode(refractory=2),
            "layer_1: NIR's neurons reset and have no refractory period, got refractory=2",
        ),
        (
            LIFNode(v_reset="none"),
            "layer_1: NIR's neurons reset and have no refractory period, got v_reset='none'",
        ),
        (CUBALIFNode(v_reset=None), r"layer_1: NIR cannot say it exactly: .*allow=\['soft-reset'\]"),
        (LINode([2.0] * 4), r"layer_1: has numbers for neurons in the shape \[4\], NIR needs \[3\]"),
        (LowPassSynapse([2.0] * 4), r"layer_1: has numbers for neurons in the shape \[4\], NIR needs \[3\]"),
    ],
)
def test_what_nir_cannot_say_is_refused(module, message):
    with pytest.raises(ExchangeError, match=message):
        to_nir(nn.Sequential(nn.Linear(4, 3), module))


@pytest.mark.parametrize("module", [LINode(), LowPassSynapse(), CUBALIFNode()])
def test_size_of_a_network_that_begins_with_cells_is_asked_for(module):
    with pytest.raises(ExchangeError, match=f"begins with {type(module).__name__}, so say the size"):
        to_nir(nn.Sequential(module))
    assert to_nir(nn.Sequential(module), in_features=2).nodes["layer_0"].r.shape == (2,)
