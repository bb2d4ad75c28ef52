"""What was read off a network is read again after anything has changed: the next call gives what the loop gives."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from types import FunctionType, MethodType

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations

from snn_core import layer
from snn_core.cells import IF
from snn_core.functional import explain, reset_net, scan
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan, Sigmoid, SurrogateFunction


@dataclass(eq=False)
class OwnCell(IF):
    factor: float = 1.0

    def charge(self, x, v):
        return v + 0.75 * x

    def step(self, x, state):
        s, state = super().step(x, state)
        return s / self.factor, state


class OwnNode(IFNode):
    factor = 1.0

    def cell(self, like):
        threshold = self.v_threshold if self.training else 2 * self.v_threshold
        return OwnCell(
            threshold, self.v_reset, self.surrogate_function, self.detach_reset, factor=self.factor
        )


class OwnSurrogate(SurrogateFunction):
    def derivative(self, x):
        return self.alpha * torch.exp(-x.abs())


class Others(LIFNode):
    """Whose methods take the place of other ones."""

    def charge(self, x, v):
        return v + 0.25 * x

    def derivative(self, x):
        return self.alpha * torch.exp(-2 * x.abs())

    def forward(self, x):
        return super().forward(2 * x)


class Doubled(layer.LinearRecurrentContainer):
    def forward(self, x):
        return 2 * super().forward(x)


def joined(x, y):
    return x + 0.5 * y


def make(count: int = 6) -> nn.Sequential:
    """Return a network; its first four modules are the library's own."""
    torch.manual_seed(0)
    modules = [
        nn.Linear(5, 4),
        LIFNode(2.0, surrogate_function=ATan(), v_threshold=0.25),
        layer.LinearRecurrentContainer(IFNode(v_threshold=0.25), 4, 4),
        layer.SynapseFilter(2.0, learnable=True),
        layer.ElementWiseRecurrentContainer(IFNode(v_threshold=0.5), joined),
        OwnNode(v_threshold=0.25, surrogate_function=OwnSurrogate(1.0)),
    ]
    return nn.Sequential(*modules[:count]).double()


X = 3 * torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
WAYS = {
    "one scan": lambda net: scan(X, *net),
    "container": lambda net: layer.MultiStepContainer(net)(X),
    "one by one": lambda net: reduce(scan, net, X),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def loop(net: nn.Sequential) -> Tensor:
    return torch.stack([net(x) for x in X])


def results(way, net: nn.Sequential) -> list[Tensor] | str:
    """Return output, gradients and last states; "refused" where the network does not take the input."""
    reset_net(net)
    try:
        y_seq = way(net)
    except (RuntimeError, TypeError, ValueError):
        return "refused"
    weights = [weight for _, weight in sorted(net.named_parameters()) if weight.requires_grad]
    gradients = torch.autograd.grad(
        y_seq, weights, torch.linspace(-1, 2, y_seq.numel()).to(y_seq).view_as(y_seq)
    )
    states = [module.v for module in net.modules() if hasattr(module, "v")]
    return [one.detach() for one in (y_seq, *gradients, *states)]


def same(way, net: nn.Sequential) -> list[Tensor] | str:
    """Return the results of a network, which are those of the loop."""
    found, expected = results(way, net), results(loop, net)
    if "refused" in (found, expected):
        assert found == expected
    else:
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12, equal_nan=True)
    return found


def of(path, name: str, value):
    """Return a change of an attribute to a value or, in a network, to a function of it; that returns its undoing."""

    def change(net):
        owner = reduce(getattr, path.split("."), net) if isinstance(path, str) else path
        before = getattr(owner, name)
        setattr(
            owner, name, value(before) if isinstance(path, str) and type(value) is FunctionType else value
        )
        if isinstance(before, MethodType):
            return lambda: delattr(owner, name)
        names = (name, {"tau": "w"}.get(name))  # what is trained stays trained otherwise
        return lambda: (
            [getattr(owner, "_parameters", {}).pop(one, None) for one in names],
            setattr(owner, name, before),
        )

    return change


def hook(path: str):
    return lambda net: net.get_submodule(path).register_forward_hook(lambda module, inputs, y: 2 * y).remove


def child(number: int, module: nn.Module):
    return lambda net: net.__setitem__(number, module)


def forward(path: str):
    return of(path, "forward", lambda real: lambda x: 2 * real(x))


def added(value):
    return nn.Parameter(1.0 + torch.as_tensor(value, dtype=torch.float64).detach())


def normed(net):
    parametrizations.weight_norm(net[2].rc)
    nn.init.ones_(net[2].rc.parametrizations.weight.original0)


CHANGES = {
    "threshold": of("1", "v_threshold", 0.5), "threshold in a loop": of("2.sub_module", "v_threshold", 0.5),
    "soft reset": of("1", "v_reset", None), "detached reset": of("1", "detach_reset", True),
    "tau": of("1", "tau", 3.0), "trained tau": of("1", "tau", added),
    "trained threshold": of("1", "v_threshold", added),
    "surrogate that is a function": of("1", "surrogate_function", lambda _: lambda x: 0.3 * x),
    "alpha": of("1.surrogate_function", "alpha", 3.0), "surrogate": of("1", "surrogate_function", Sigmoid(1.0)),
    "parameter": of("0", "weight", added), "parameter in a loop": of("2.rc", "weight", added),
    "parameter of a synapse": of("3", "w", added), "no bias": of("2.rc", "bias", None),
    "in place": lambda net: nn.init.ones_(net[0].weight) is None,
    "in place in a loop": lambda net: nn.init.ones_(net[2].rc.weight) is None,
    "data": of("2.rc.weight", "data", lambda weight: weight + 1),
    "data of another dtype": of("0.weight", "data", lambda weight: weight.float()),
    "data of another shape": of("2.rc.weight", "data", lambda weight: weight[:, :4]),
    "frozen": lambda net: net[0].requires_grad_(False).requires_grad_, "parametrized": normed,
    "hook": hook("0"), "hook on a neuron": hook("1"), "hook on a surrogate": hook("1.surrogate_function"),
    "hook on weights in a loop": hook("2.rc"), "hook in a loop": hook("2.sub_module"),
    "hook on all": lambda _: register_module_forward_hook(lambda m, _, y: 2 * y if type(m) is nn.Linear else y).remove,
    "hook before": lambda net: net[2].register_forward_pre_hook(lambda module, inputs: 2 * inputs[0]).remove,
    "hook on a gradient": lambda net: net[1].register_full_backward_hook(lambda m, g, _: (2 * g[0],)).remove,
    "hook before a gradient": lambda net: net[3].register_full_backward_pre_hook(lambda m, g: (2 * g[0],)).remove,
    "class of a container": of("2", "__class__", Doubled),
    "forward": forward("0"), "forward of a neuron": forward("1"), "forward in a loop": forward("2.rc"),
    "forward of a surrogate": forward("1.surrogate_function"),
    "derivative of a surrogate": of("1.surrogate_function", "derivative", lambda real: lambda x: 2 * real(x)),
    "child": child(1, IFNode(v_threshold=0.5)), "child that no kernel knows": child(1, nn.ReLU()),
    "child in a loop": of("2", "sub_module", LIFNode(3.0)), "class of a child": of("1", "__class__", Others),
    "class attribute": of(ATan, "derivative", Others.derivative),
}  # fmt: skip
OWN = {
    "own function": of("4", "element_wise_function", lambda _: operator.sub),
    "own training": lambda net: net.eval().train, "own alpha": of("5.surrogate_function", "alpha", 3.0),
    "own number": of("5", "factor", 0.5), "own hook": hook("5.surrogate_function"),
    "own attribute": of(OwnNode, "factor", 0.5), "own method": of(OwnCell, "charge", Others.charge),
    "own derivative": of(OwnSurrogate, "derivative", Others.derivative),
    "own code": of(joined, "__code__", (lambda x, y: x - 0.25 * y).__code__),
    "own code of a cell": of(OwnCell.charge, "__code__", Others.charge.__code__),
    "own code of a surrogate": of(OwnSurrogate.derivative, "__code__", Others.derivative.__code__),
}  # fmt: skip


#: Each change, in a network of the library's own modules alone or with a user's, called in one of the ways.
CASES = [
    (name, count, list(WAYS)[(k + count // 6) % len(WAYS)])
    for k, name in enumerate(CHANGES | OWN)
    for count in ((4, 6) if name in CHANGES else (6,))
]


@pytest.mark.parametrize(("name", "count", "how"), CASES)
def test_the_next_call_after_a_change_is_that_of_the_loop(name, count, how):
    net, way = make(count), WAYS[how]
    assert all(decision.fused for decision in explain(layer.MultiStepContainer(net), X))
    before = same(way, net)
    undo = (CHANGES | OWN)[name](net)
    try:
        after = same(way, net)
        assert after == "refused" or len(after) != len(before) or not all(map(torch.equal, before, after))
        same(way, net)
    finally:
        if undo:
            undo()
    assert not undo or all(map(torch.equal, before, same(way, net)))


@every_way
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_a_mode_of_torch_changes_one_call_alone(way, mode):
    net, fresh = make(), make()
    for _ in range(2):
        reset_net(net), reset_net(fresh)
        with mode():
            y_seq, expected = way(net), way(fresh)
        assert y_seq.dtype == expected.dtype and torch.equal(y_seq, expected)
        same(way, net)


@every_way
def test_minus_zero_is_not_zero(way):
    net = nn.Sequential(nn.Linear(5, 4), OwnNode(v_threshold=0.25)).double()
    net[1].factor = 0.0
    before = same(way, net)[0].nan_to_num()
    net[1].factor = -0.0
    assert torch.equal(same(way, net)[0].nan_to_num(), -before)
