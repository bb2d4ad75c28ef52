"""Modules of other libraries, and a user's own, in our containers: one step after the other, as stepped by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import snntorch
import torch
from spikingjelly.activation_based import neuron as spikingjelly
from torch import Tensor, equal, nn

from snn_core.functional import explain, reset_net, scan, seq_to_ann_forward
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SeqToANNContainer
from snn_core.neuron import IFNode, MultiStepIFNode

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both use what torch has deprecated
    import norse.torch as norse
    import sinabs.layers as sinabs

T, N, K = 8, 3, 5


class Total(nn.Module):
    """Remembers the sum of its inputs, without a word to anybody."""

    def __init__(self) -> None:
        super().__init__()
        self.total: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.total = self.total + x
        return 2 * self.total


class WithState(nn.Module):
    """Keeps the state of a module of Norse, which returns it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.state = module, None

    def forward(self, x: Tensor) -> Tensor:
        y, self.state = self.module(x, self.state)
        return y


class Remembering(nn.Linear):
    """A subclass of a layer without state may have one."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(x) + self.seen


#: Each makes a module that takes one time step ``[N, K]``.
MODULES: dict[str, Callable[[], nn.Module]] = {
    "SpikingJelly's IFNode": spikingjelly.IFNode,
    "SpikingJelly's ParametricLIFNode": lambda: spikingjelly.ParametricLIFNode(v_threshold=0.4),
    "snnTorch's Leaky": lambda: snntorch.Leaky(beta=0.9, init_hidden=True),
    "Norse's LIF cell": lambda: WithState(norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.tensor(0.3)))),
    "Norse's SequentialState": lambda: WithState(norse.SequentialState(nn.Linear(K, K), norse.LIFCell())),
    "Sinabs' IAFSqueeze": lambda: sinabs.IAFSqueeze(batch_size=N),
    "a sum": Total,
    "a subclass of nn.Linear": lambda: Remembering(K, K),
    "our neuron and a sum": lambda: nn.Sequential(IFNode(0.5), Total()),
}


def inputs() -> Tensor:
    return torch.full((T, N, K), 0.3) + 0.4 * torch.rand(T, N, K, generator=torch.Generator().manual_seed(1))


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODULES[name]()


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "MultiStepContainer": MultiStepContainer,
    "a Sequential in MultiStepContainer": lambda module: MultiStepContainer(nn.Sequential(module)),
    "between layers": lambda module: MultiStepContainer(nn.Identity(), module, nn.Flatten()),
}


@pytest.mark.parametrize("way", [*WAYS, "scan"])
@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_stepped_as_by_hand(name: str, way: str):
    expected = torch.stack([by_hand(x) for by_hand in [made(name)] for x in inputs()])
    module = made(name)
    y = scan(inputs(), module) if way == "scan" else WAYS[way](module)(inputs())
    assert expected.any()
    assert equal(y, expected)


def test_spikingjellys_neuron_spikes_when_it_has_charged():
    y = MultiStepContainer(spikingjelly.IFNode())(torch.full((8, 1, 1), 0.3))
    assert y.flatten().tolist() == [0, 0, 0, 1, 0, 0, 0, 1]


def test_a_module_of_spikingjelly_for_sequences_gets_the_sequence():
    x_seq = inputs()
    expected = spikingjelly.IFNode(step_mode="m")(x_seq)
    assert expected.any()
    assert equal(scan(x_seq, nn.Identity(), spikingjelly.IFNode(step_mode="m")), expected)
    with pytest.raises(TypeError, match="IFNode takes whole sequences"):
        LinearRecurrentContainer(spikingjelly.IFNode(step_mode="m"), K, K)


def test_what_a_step_must_give_is_said():
    with pytest.raises(TypeError, match="LIFBoxCell must give a tensor for each time step, got tuple"):
        MultiStepContainer(norse.LIFBoxCell())(inputs())


class Counting(nn.ReLU):
    """A subclass, called as often as it likes to count."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(K, 2), nn.Flatten(), nn.BatchNorm1d(K), nn.LayerNorm(K), nn.Dropout(0.5), nn.ReLU(), nn.Softmax(-1),
        nn.Sequential(nn.Linear(K, 2), nn.Tanh()), nn.utils.parametrizations.weight_norm(nn.Linear(K, 2)),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_layers_of_torch_take_all_steps_in_one_call(layer: nn.Module):
    shapes = []
    layer.register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape)))
    torch.manual_seed(0)
    y = scan(inputs(), layer)
    torch.manual_seed(0)
    assert equal(y, layer(inputs().flatten(0, 1)).unflatten(0, (T, N)))
    assert shapes[0] == (T * N, K)


def test_who_says_that_a_module_has_no_state_is_taken_at_his_word():
    for run in (
        lambda module: SeqToANNContainer(module)(inputs()),
        lambda module: seq_to_ann_forward(inputs(), module),
        lambda module: scan(inputs(), nn.Identity(), SeqToANNContainer(nn.Tanh(), module)),
        lambda module: scan(inputs(), SeqToANNContainer(module), lengths=[T] * N),
    ):
        module = Counting()
        run(module)
        assert module.calls == 1
    scan(inputs(), module := Counting())
    assert module.calls == T
    (decision,) = explain(MultiStepContainer(Counting()), inputs())
    assert "step by step" in decision.reason
    assert "SeqToANNContainer" in decision.reason


@pytest.mark.parametrize("run", [scan, lambda x_seq, module: module(x_seq)])
def test_a_neuron_is_no_layer_without_state(run: Any):
    with pytest.raises(TypeError, match="IFNode has one"):
        run(inputs(), SeqToANNContainer(IFNode()))


# A hook never changes what time is -----------------------------------------------------------------------------------


def test_a_hook_sees_the_sequence_where_parts_take_sequences():
    def outputs(hooked: bool) -> tuple[Tensor, list[Any]]:
        shapes: list[Any] = []
        net = MultiStepContainer(nn.Sequential(MultiStepIFNode(), nn.Sequential(MultiStepIFNode(0.4))))
        if hooked:
            net[0].register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape)))
        return net(torch.full((4, 2, 1), 0.5)), shapes

    y, shapes = outputs(True)
    assert equal(y, outputs(False)[0])
    assert y[:, 0, 0].tolist() == [0, 1, 0, 1]
    assert shapes == [(4, 2, 1)]


def test_a_hook_sees_steps_where_parts_take_steps():
    shapes: list[Any] = []
    net = MultiStepContainer(nn.Sequential(nn.Linear(K, K), IFNode(0.3)))
    expected = net(inputs())
    reset_net(net)
    net[0].register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape)))
    assert equal(net(inputs()), expected)
    assert shapes == [(N, K)] * T


class Block(nn.Module):
    """Says not that it takes sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.sn = MultiStepIFNode()

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.sn(x_seq)


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize(
    "module", [Block(), hooked(nn.Sequential(nn.Linear(K, K), MultiStepIFNode()))], ids=["block", "hooked"]
)
@pytest.mark.parametrize("lengths", [None, [T] * N])
def test_samples_are_never_taken_for_steps(module: nn.Module, lengths: Any):
    with pytest.raises(TypeError, match="holds MultiStepIFNode, which takes whole sequences"):
        scan(inputs(), nn.Identity(), module, lengths=lengths)
