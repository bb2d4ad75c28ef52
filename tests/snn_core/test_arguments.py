"""What is refused: one error at once, of the documented kind, that names the module and the argument."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from torch import nn

from snn_core import layer, neuron, surrogate, synapse
from snn_core.functional import reset_net, scan
from snn_core.more.convolution import ConvRecurrentContainer
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.more.synapse import DoubleExponentialSynapse
from snn_core.neuron import IFNode, MultiStepIFNode

NAN, INF = math.nan, math.inf
NUMBERS = ["2", NAN, [1.5, NAN], [], ["a"], torch.ones(2, requires_grad=True) * 2]
SIZES = [0, -1, 2.5, "2", None]
FLAGS = [1, None, "yes"]
#: Values that arguments do not take, by name or else by the kind of their default.
WRONG: dict[Any, list[Any]] = {
    "v_reset": ["None", NAN, 1.0, INF],
    "refractory": [-1, 257, 1.0],
    "surrogate_function": [surrogate.ATan, 2.0],
    "backend": ["cupyy", None, 1],
    "max_delay": SIZES,
    "delays": [*NUMBERS[:-1], 0.5, 6, [1.0, 2.0]],
    "in_features": SIZES,
    "out_features": SIZES,
    "sub_module": [IFNode, torch.relu, MultiStepIFNode()],
    "element_wise_function": ["add", 3],
    bool: FLAGS,
    float: NUMBERS,
}
GIVEN = {
    "sub_module": IFNode(),
    "in_features": 4,
    "out_features": 4,
    "max_delay": 5,
    "element_wise_function": torch.add,
}
KINDS = [getattr(module, name) for module in (neuron, synapse) for name in module.__all__]
KINDS = [kind for kind in KINDS if kind not in (neuron.SpikingNeuron, synapse.StatefulSynapse)]
KINDS += [
    layer.ElementWiseRecurrentContainer, layer.LinearRecurrentContainer, DelayedRecurrentContainer,
    DoubleExponentialSynapse,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_wrong_argument_is_named(kind):
    arguments = inspect.signature(kind).parameters
    given = {name: value for name, value in GIVEN.items() if name in arguments}
    for name, argument in arguments.items():
        wrong = WRONG.get(name, WRONG.get(type(argument.default), []))
        # A time constant is at least 1.
        for value in [*wrong, 0.5, -2, [2.0, 0.5]] if "tau" in name else wrong:
            with pytest.raises((TypeError, ValueError), match=f"{name}|one step at a time is fed"):
                kind(**given | {name: value})
                pytest.fail(f"took {name}={value}")


#: Modules for steps ``[N, 4]``.
STEPPED = {
    "IFNode": IFNode,
    "SynapseFilter": synapse.SynapseFilter,
    "ElementWiseRecurrentContainer": lambda: layer.ElementWiseRecurrentContainer(IFNode(), torch.add),
    "LinearRecurrentContainer": lambda: layer.LinearRecurrentContainer(IFNode(), 4, 4),
    "DelayedRecurrentContainer": lambda: DelayedRecurrentContainer(IFNode(), 4, 4, 2),
}
each_stepped = pytest.mark.parametrize("name", STEPPED)


@each_stepped
@pytest.mark.parametrize("run", ["forward", "forward_sequence", "scan"])
def test_a_wrong_input_is_named(name, run):
    module = STEPPED[name]()
    call = (lambda x: scan(x, module)) if run == "scan" else getattr(module, run)
    numbers = torch.zeros(3, 2, 4)
    for x in ([[[0.0] * 4]], numbers.long(), numbers.bool(), numbers.cfloat(), "x", None):
        with pytest.raises(TypeError, match=r"\bx(_seq)? must"):
            call(x)
    if run != "forward":
        for x in (torch.tensor(0.0), torch.zeros(8), torch.zeros(0, 2, 4)):
            with pytest.raises(ValueError, match="x_seq must have"):
                call(x)


@each_stepped
@pytest.mark.parametrize("run", ["forward", "forward_sequence"])
def test_a_state_of_another_batch_says_to_call_reset_net(name, run):
    module, x_seq = STEPPED[name](), torch.zeros(3, 2, 4)
    call = getattr(module, run)
    call(x_seq if run == "forward_sequence" else x_seq[0])
    others = [x_seq[:, :1]] if module.state_dict() else [x_seq[:, :1], x_seq.double(), x_seq.to("meta")]
    for other in others:
        with pytest.raises(ValueError, match=r": state \w+ has .*: call reset_net\(net\) between batches$"):
            call(other if run == "forward_sequence" else other[0])
    reset_net(module)
    assert call(others[0] if run == "forward_sequence" else others[0][0]).shape[-1] == 4


X = torch.zeros(5, 2, 3)
CALLS = [
    (lambda: IFNode(v_threshold=0.0, v_reset=None), "v_threshold must be above 0 with the soft reset"),
    (lambda: setattr(neuron.LIFNode(), "tau", 0.25), "LIFNode: tau must be from 1 to infinity, got 0.25"),
    (lambda: IFNode(v_threshold=[1.0] * 4)(X[0]), r"IFNode: v_threshold has shape \[4\]"),
    (lambda: neuron.LIFNode(nn.Parameter(torch.full((4,), 2.0))).forward_sequence(X), "LIFNode: .* shape"),
    (lambda: synapse.LowPassSynapse([2.0] * 4)(X[0]), r"LowPassSynapse: tau has shape \[4\]"),
    (lambda: STEPPED["LinearRecurrentContainer"]()(X[0]), "last dimension must be in_features=4"),
    (lambda: layer.LinearRecurrentContainer(IFNode(), 3, 2)(X[0]), "last dimension must be out_features=2"),
    (lambda: ConvRecurrentContainer(IFNode(), 2, 2, 3)(X[0]), r"it must be \[N, in_channels=2, H, W\]"),
    (lambda: layer.SeqToANNContainer(nn.Sequential(nn.Linear(3, 3), IFNode()))(X), "must have no state"),
    (lambda: IFNode(backend="cpu").forward_sequence(X.to("meta")), "the input is on meta: use backend 'auto'"),
    (lambda: scan(X, IFNode(), lengths=[6, 1]), "lengths must lie between 1 and T = 5"),
    (lambda: scan(X, IFNode(), lengths=[1, 2, 3]), "lengths must be one number for each sample"),
    (lambda: scan(X, IFNode(), lengths=[1.0, 2.0]), "lengths must be whole numbers"),
    (lambda: scan(X, IFNode(), lengths=torch.eye(5, 2).bool()), "lengths, given as a mask, must be True"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CALLS, ids=[message for _, message in CALLS])
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
