"""The training tools do what their equations say, and nothing to a network that does not use them."""

from __future__ import annotations

import copy
import importlib.util

import pytest
import torch
from support import require
from support_networks import output_and_gradients, random_images
from torch import nn

from sequential_fmnist.networks import columns_as_sequence, make_network
from snn_core.functional import explain, reset_net, scan
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SeqToANNContainer
from snn_core.more.batch_norm import MultiStepBatchNorm, fold_batch_norm
from snn_core.more.monitor import LayerActivity, Monitor
from snn_core.neuron import IFNode, MultiStepIFNode
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


def test_a_network_gives_the_same_bits_with_a_monitor():
    images = 3 * random_images(3).abs().float()
    net = make_network("stateful-synapse", backend="torch")
    expected = net(images)
    reset_net(net)
    with Monitor(net, "sn1", "sn2", net.sy1[0], v=True) as monitor:
        assert torch.equal(net(images), expected)
    reset_net(net)
    assert (list(monitor.outputs), list(monitor.v)) == (["sn1", "sn2", "sy1.0"], ["sn1", "sn2"])
    hidden = scan(columns_as_sequence(images), net.fc1, net.sn1, backend="torch")
    assert torch.equal(monitor.outputs["sn1"], hidden) and 0 < hidden.mean() < 1


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


# Batch normalisation -------------------------------------------------------------------------------------------------


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
        "conv without bias": nn.Sequential(
            SeqToANNContainer(nn.Conv1d(3, 5, 3, bias=False), nn.BatchNorm1d(5)), neuron()
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
    seen = folded(x_seq)
    assert torch.equal(seen, net(x_seq)) and 0 < seen.mean() < 1
    reset_net(folded)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in folded.modules())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    decisions = explain(folded, x_seq)
    assert all(decision.fused for decision in decisions if not decision.kind.startswith(("Conv", "Seq")))
    if "conv" not in name:
        assert {decision.scan for decision in decisions} == {1}


class OwnNorm(MultiStepBatchNorm):
    """A normalisation that computes something else."""

    def forward(self, x_seq):
        return 2 * super().forward(x_seq)


@pytest.mark.parametrize(
    "net, message",
    [
        (nn.Sequential(nn.Linear(3, 3), nn.Dropout(), MultiStepBatchNorm(3)), "got Dropout"),
        (nn.Sequential(nn.Linear(3, 3), OwnNorm(3)), "must be a BatchNorm of torch or MultiStepBatchNorm"),
        (Chain(nn.Linear(3, 3), MultiStepBatchNorm(3)), "must stand in a chain"),
    ],
)
def test_folding_refuses(net, message):
    with pytest.raises(ValueError, match=message):
        fold_batch_norm(net.eval())
