"""What is refused: one error at once, of the documented kind, that names the module and the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from snn_core import layer, neuron, surrogate, synapse
from snn_core.functional import reset_net, scan, seq_to_ann_forward
from snn_core.neuron import IFNode, MultiStepIFNode

NAN, INF = math.nan, math.inf
STARTS = ["2", NAN, INF, [1.5, NAN], [], ["a"], [[1.5], [1.5, 2.0]]]
NUMBERS = [*STARTS, torch.ones(2, requires_grad=True) * 2]
#: Fixed time constants may be infinite, trained ones not.
TAUS, TAUS_AT_FIRST = (
    [*(one for one in numbers if one is not INF), 0.5, -2, [2.0, 0.5]] for numbers in (NUMBERS, STARTS)
)
SIZES = [0, -1, 2.5, "2", None]
FLAGS = [1, None, "yes"]

#: For each class: how it is built, and values that its arguments do not take.
BUILDS: dict[str, tuple[Callable[..., nn.Module], dict[str, list[Any]]]] = {
    "IFNode": (
        IFNode,
        {
            "v_threshold": NUMBERS,
            "v_reset": ["None", NAN, 1.0, INF],
            "detach_reset": FLAGS,
            "surrogate_function": [surrogate.ATan, 2.0],
            "refractory": [-1, 257, 1.0],
            "store_v_seq": FLAGS,
            "backend": ["cupyy", None, 1],
        },
    ),
    "MultiStepLIFNode": (neuron.MultiStepLIFNode, {"tau": TAUS, "decay_input": FLAGS}),
    "ParametricLIFNode": (neuron.ParametricLIFNode, {"init_tau": [*TAUS_AT_FIRST, 1.0, INF]}),
    "AdaptiveLIFNode": (neuron.AdaptiveLIFNode, {"tau_adaptation": TAUS, "beta": NUMBERS}),
    "LINode": (neuron.LINode, {"tau": [*TAUS, nn.Parameter(torch.tensor(0.5))], "backend": ["gpu"]}),
    "SynapseFilter": (
        synapse.SynapseFilter,
        {"tau": [*TAUS_AT_FIRST, [[2.0]]], "learnable": FLAGS, "backend": ["gpu"]},
    ),
    "DoubleExponentialSynapse": (
        synapse.DoubleExponentialSynapse,
        {"tau_rise": [*TAUS_AT_FIRST, 1e6], "tau_decay": [*TAUS_AT_FIRST, 1.5, [1e6, 1.5]]},
    ),
    "ElementWiseRecurrentContainer": (
        lambda sub_module=None, element_wise_function=torch.add, **options: (
            layer.ElementWiseRecurrentContainer(sub_module or IFNode(), element_wise_function, **options)
        ),
        {
            "sub_module": [IFNode, torch.relu, MultiStepIFNode()],
            "element_wise_function": ["add", 3],
            "weight": [*NUMBERS, True],
        },
    ),
    "LinearRecurrentContainer": (
        lambda sub_module=None, **options: layer.LinearRecurrentContainer(
            sub_module or IFNode(), **({"in_features": 4, "out_features": 4} | options)
        ),
        {
            "sub_module": [IFNode, torch.relu, MultiStepIFNode()],
            "in_features": SIZES,
            "out_features": SIZES,
            "bias": FLAGS,
        },
    ),
    "DelayedRecurrentContainer": (
        lambda max_delay=5, **options: layer.DelayedRecurrentContainer(IFNode(), 4, 4, max_delay, **options),
        {"max_delay": SIZES, "delays": [*NUMBERS, 0.5, 6, [1.0, 2.0]], "learn_delays": FLAGS},
    ),
}


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, (_, bad) in BUILDS.items() for argument in bad]
)
def test_a_wrong_argument_is_named(name, argument):
    build, bad = BUILDS[name]
    for value in bad[argument]:
        with pytest.raises((TypeError, ValueError), match=f"{argument}|one step at a time is fed"):
            build(**{argument: value})
            pytest.fail(f"took {value}")


#: Modules for steps ``[N, 4]``.
STEPPED = {
    "IFNode": IFNode,
    "SynapseFilter": synapse.SynapseFilter,
    "ElementWiseRecurrentContainer": lambda: layer.ElementWiseRecurrentContainer(IFNode(), torch.add),
    "LinearRecurrentContainer": lambda: layer.LinearRecurrentContainer(IFNode(), 4, 4),
    "DelayedRecurrentContainer": lambda: layer.DelayedRecurrentContainer(IFNode(), 4, 4, 2),
}
each_stepped = pytest.mark.parametrize("name", STEPPED)


@each_stepped
@pytest.mark.parametrize("run", ["forward", "forward_sequence", "scan", "container"])
def test_a_wrong_input_is_named(name, run):
    module = STEPPED[name]()
    call = {
        "scan": lambda x: scan(x, module),
        "container": layer.MultiStepContainer(module),
    }.get(run) or getattr(module, run)
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
    (lambda: IFNode(v_threshold=0.0, v_reset=None), "v_threshold with the soft reset must be .*positive"),
    (lambda: IFNode(v_threshold=[1.0, -0.5], v_reset=None), "v_threshold with the soft reset must be .*above 0"),
    (lambda: setattr(neuron.LIFNode(), "tau", 0.25), "LIFNode: tau must be from 1 to infinity, got 0.25"),
    (lambda: setattr(IFNode(), "v_threshold", NAN), "IFNode: v_threshold must be a finite number"),
    (lambda: IFNode(v_threshold=[1.0] * 4)(X[0]), r"IFNode: v_threshold has shape \[4\]"),
    (lambda: neuron.LIFNode(nn.Parameter(torch.full((4,), 2.0))).forward_sequence(X), "LIFNode: .* shape"),
    (lambda: neuron.AdaptiveLIFNode(beta=[1.0] * 4)(X[0]), r"AdaptiveLIFNode: beta has shape \[4\]"),
    (lambda: synapse.LowPassSynapse([2.0] * 4)(X[0]), "LowPassSynapse: tau has 4 channels"),
    (lambda: synapse.DoubleExponentialSynapse([2.0] * 2, [4.0] * 3), "tau_rise has 2 channels, tau_decay 3"),
    (lambda: STEPPED["LinearRecurrentContainer"]()(X[0]), "last dimension must be in_features=4"),
    (lambda: layer.LinearRecurrentContainer(IFNode(), 3, 2)(X[0]), "last dimension must be out_features=2"),
    (lambda: layer.LinearRecurrentContainer(IFNode(), 4, 3, self_connections=False), "equal to out_features"),
    (
        lambda: layer.ElementWiseRecurrentContainer(nn.Linear(3, 5), torch.add)(X[0]),
        "sub_module must keep the shape",
    ),
    (
        lambda: layer.ElementWiseRecurrentContainer(IFNode(), torch.add, [0.5, 1.0]).forward_sequence(X),
        r"weight has shape \[2\]",
    ),
    (lambda: layer.ConvRecurrentContainer(IFNode(), 2, 2, 3)(X[0]), r"it must be \[N, in_channels=2, H, W\]"),
    (lambda: layer.SeqToANNContainer(nn.Sequential(nn.Linear(3, 3), IFNode()))(X), "must have no state"),
    (lambda: seq_to_ann_forward(X[0, 0], nn.Tanh()), "x_seq must have shape"),
    (lambda: IFNode(backend="numba").forward_sequence(X.to("meta")), "the input is on meta: use backend 'auto'"),
    (lambda: scan(X, IFNode(), lengths=[6, 1]), "lengths must lie between 1 and T = 5"),
    (lambda: scan(X, IFNode(), lengths=[1, 0]), "lengths must lie between 1 and T = 5"),
    (lambda: scan(X, IFNode(), lengths=[1, 2, 3]), "lengths must be one number for each sample"),
    (lambda: scan(X, IFNode(), lengths=[1.0, 2.0]), "lengths must be whole numbers"),
    (lambda: scan(X, IFNode(), lengths=torch.eye(5, 2).bool()), "lengths, given as a mask, must be True"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CALLS, ids=[message for _, message in CALLS])
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
