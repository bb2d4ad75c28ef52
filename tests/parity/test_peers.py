"""Neurons against libraries that we did not write: outputs and gradients in fp64.

Each test writes a library's own parameters as ours by differentiable arithmetic, so that the gradients to the library's
parameters are compared.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from support import require
from torch import Tensor, nn
from torch.func import functional_call

from snn_core.more.neuron import CUBALIFNode
from snn_core.surrogate import ATan

T, N, H = 30, 3, 4
X = np.random.RandomState(11).normal(0.6, 2.0, (T, N, H))
#: Weights of the outputs in the sum that is differentiated: of spikes, of the potential, of the current.
WEIGHTS = np.random.RandomState(12).normal(size=(3, T, N, H))


def stepped(node: nn.Module, weights: dict[str, Tensor], x_seq: Tensor) -> dict[str, Tensor]:
    """Return the output and every state of every step, of a module with these tensors for its parameters."""
    assert dict(node.named_parameters()).keys() == weights.keys()
    found: dict[str, list[Tensor]] = {"output": []}
    for x in x_seq:
        found["output"].append(functional_call(node, weights, (x,)))
        for name in node.states:
            found.setdefault(name, []).append(getattr(node, name))
    return {name: torch.stack(values) for name, values in found.items()}


def with_gradients(outputs: dict[str, Tensor], leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    loss = sum((torch.tensor(w) * y).sum() for w, y in zip(WEIGHTS, outputs.values(), strict=False))
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return outputs | {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}


def at_x() -> Tensor:
    return torch.tensor(X, requires_grad=True)


SAME = {"rtol": 1e-9, "atol": 1e-12}
RESETS = {"zero": 0.0, "subtract": None, "none": "none"}


@pytest.mark.parametrize("reset", RESETS)
def test_snntorch_synaptic(reset):
    """Of which each neuron has its own numbers."""
    require(importlib.util.find_spec("snntorch") is not None, "snntorch")
    import snntorch

    alpha, beta, threshold = (torch.linspace(low, low + 0.1, H).double() for low in (0.55, 0.7, 1.0))
    theirs = snntorch.Synaptic(
        alpha, beta, threshold=threshold, learn_alpha=True, learn_beta=True, learn_threshold=True,
        reset_mechanism=reset, reset_delay=False,
        spike_grad=ATan(),  # its own surrogate functions give spikes, and take gradients, in fp32
    )  # fmt: skip
    # After such currents no potential is still above the threshold when that was subtracted.
    x = torch.tensor(0.2 * X, requires_grad=True)
    parts = {"x": x, "alpha": theirs.alpha, "beta": theirs.beta, "threshold": theirs.threshold}
    leaves = {name: value.detach().clone().requires_grad_() for name, value in parts.items()}
    syn, mem = theirs.reset_mem()
    outputs = []
    for step in x:
        s, syn, mem = theirs(step, syn, mem)
        outputs.append((s, mem, syn))
    outputs = dict(zip("svi", map(torch.stack, zip(*outputs, strict=True)), strict=True))
    node = CUBALIFNode(
        nn.Parameter(1 / (1 - beta)), nn.Parameter(1 / (1 - alpha)), False, v_threshold=nn.Parameter(threshold),
        v_reset=RESETS[reset], surrogate_function=ATan(),
    )  # fmt: skip
    weights = {
        "w": torch.logit(1 - leaves["beta"]),
        "w_synapse": torch.logit(1 - leaves["alpha"]),
        "v_threshold": leaves["threshold"],
    }
    found = stepped(node, weights, leaves["x"])
    found = {"s": found["output"], "v": found["v"], "i": found["i"]}
    assert 0.05 < found["s"].mean() < 0.95
    torch.testing.assert_close(with_gradients(found, leaves), with_gradients(outputs, parts), **SAME)


@pytest.mark.parametrize("v_reset", [0.0, None])
def test_spikingjelly_cuba_lif(v_reset):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly")
    from spikingjelly.activation_based import neuron, surrogate

    theirs = neuron.CUBALIFNode(0.5, 0.75, 0.5, v_reset, surrogate.ATan())
    ours = CUBALIFNode(4.0, 2.0, False, v_threshold=0.5, v_reset=v_reset, surrogate_function=ATan())
    outputs = []
    for node, current in ((theirs, "c"), (ours, "i")):
        found, x_seq = [], at_x()
        for x in x_seq:
            found.append((node(x), node.v, getattr(node, current)))
        found = dict(zip("svi", map(torch.stack, zip(*found, strict=True)), strict=True))
        outputs.append(with_gradients(found, {"x": x_seq}))
    assert 0.05 < outputs[0]["s"].mean() < 0.95
    torch.testing.assert_close(outputs[1], outputs[0], **SAME)
