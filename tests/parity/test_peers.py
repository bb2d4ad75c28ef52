"""Neurons and synapses against libraries that we did not write: outputs and gradients in fp64.

Norse and Spyx are compared by what ``store_peers.py`` stored of them. Each test writes a library's own parameters as
ours by differentiable arithmetic, so that the gradients to the library's parameters are compared.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import store_peers
import torch
from store_peers import DT, NORSE, REFRACTORY, SPYX, WEIGHTS, H, N, X
from support import require
from torch import Tensor, nn
from torch.func import functional_call

from snn_core.functional import scan
from snn_core.neuron import AdaptiveLIFNode, CUBALIFNode, LINode
from snn_core.surrogate import ATan, Sigmoid
from snn_core.synapse import DoubleExponentialSynapse, LowPassSynapse

#: The derivative of all of these is 1 - tanh(2 x)^2.
FIRES = {"surrogate_function": Sigmoid(alpha=4.0)}


def leaf(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def trained(value: float = 2.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


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


def assert_stored(library: str, case: str, found: dict[str, Tensor]) -> None:
    with np.load(store_peers.path(library)) as stored:
        expected = {key.partition("/")[2]: stored[key] for key in stored.files if key.startswith(f"{case}/")}
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value.detach(), expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
    assert 0.05 < expected.get("z", np.full(1, 0.5)).mean() < 0.95


def norse_leaves(*names: str) -> dict[str, Tensor]:
    return {name: leaf(NORSE[name]) for name in names}


def at_x() -> Tensor:
    return torch.tensor(X, requires_grad=True)


# Norse


def test_norse_lsnn():
    """Norse's threshold of a step has decayed once more than ours, so that our beta is its beta times rho."""
    p, x = norse_leaves("tau_mem_inv", "tau_adapt_inv", "v_th", "beta"), at_x()
    rho = 1 - DT * p["tau_adapt_inv"]
    weights = {
        "w": torch.logit(DT * p["tau_mem_inv"]),
        "w_adaptation": torch.logit(DT * p["tau_adapt_inv"]),
        "v_threshold": p["v_th"],
        "beta": rho * p["beta"],
    }
    node = AdaptiveLIFNode(trained(), trained(), trained(), v_threshold=trained(), **FIRES)
    ours = stepped(node, weights, x)
    outputs = {"z": ours["output"], "v": ours["v"], "b": p["v_th"] + p["beta"] * ours["a"]}
    assert_stored("norse", "LSNN", with_gradients(outputs, {"x": x} | p))


@pytest.mark.parametrize(("case", "refractory"), [("LIF", 0), ("LIFRefrac", REFRACTORY)])
def test_norse_lif(case, refractory):
    p, x = norse_leaves("tau_mem_inv", "tau_syn_inv", "v_th"), at_x()
    weights = {
        "w": torch.logit(DT * p["tau_mem_inv"]),
        "w_synapse": torch.logit(DT * p["tau_syn_inv"]),
        "v_threshold": p["v_th"],
    }
    node = CUBALIFNode(trained(), trained(), v_threshold=trained(), refractory=refractory, **FIRES)
    ours = stepped(node, weights, x)
    outputs = {"z": ours["output"], "v": ours["v"]}
    assert_stored("norse", case, with_gradients(outputs, {"x": x} | p))


def test_norse_li():
    """Norse's leaky integrator is our low-pass synapse followed by our leaky integrator; it stores the decayed i."""
    p, x = norse_leaves("tau_mem_inv", "tau_syn_inv"), at_x()
    low_pass = LowPassSynapse(2.0, learnable=True)
    i = stepped(low_pass, {"w": torch.logit(DT * p["tau_syn_inv"])}, x)["output"]
    v = stepped(LINode(trained()), {"w": torch.logit(DT * p["tau_mem_inv"])}, i)["output"]
    outputs = {"v": v, "i": (1 - DT * p["tau_syn_inv"]) * i}
    assert_stored("norse", "LI", with_gradients(outputs, {"x": x} | p))


# Spyx, whose neurons fire at the start of the next step: its potential is our h[t]


def late(spikes: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(spikes[:1]), spikes[:-1]])


def test_spyx_alif():
    """Spyx subtracts the threshold after the leak of a step, we before: the difference is a current."""
    p, x_seq = {name: leaf(SPYX[name]) for name in ("beta", "gamma")}, at_x()
    weights = {
        "w": torch.logit(1 - p["beta"]),
        "w_adaptation": torch.logit(1 - p["gamma"]),
        "beta": 1 - p["gamma"],
    }
    node = AdaptiveLIFNode(trained(), trained(), trained(), False, v_reset=None, **FIRES)
    reset, h_seq, s_seq = torch.zeros(N, H, dtype=torch.float64), [], []
    a_seq = [torch.zeros(N, H, dtype=torch.float64)]
    for x in x_seq:
        s_seq.append(functional_call(node, weights, (x - (1 - p["beta"]) * reset,)))
        reset = s_seq[-1] * (1 + weights["beta"] * a_seq[-1])
        h_seq.append(node.v + reset)
        a_seq.append(node.a)
    outputs = {
        "z": late(torch.stack(s_seq)),
        "v": torch.stack(h_seq),
        "t": weights["beta"] * torch.stack(a_seq[:-1]),
    }
    assert_stored("spyx", "ALIF", with_gradients(outputs, {"x": x_seq} | p))


def test_spyx_cuba_lif():
    p, x = {name: leaf(SPYX[name]) for name in ("alpha", "beta")}, at_x()
    weights = {"w": torch.logit(1 - p["beta"]), "w_synapse": torch.logit(1 - p["alpha"])}
    node = CUBALIFNode(trained(), trained(), decay_input=False, v_reset=None, **FIRES)
    ours = stepped(node, weights, x)
    outputs = {"z": late(ours["output"]), "v": ours["v"] + ours["output"], "i": ours["i"]}
    assert_stored("spyx", "CuBaLIF", with_gradients(outputs, {"x": x} | p))


def test_spyx_li():
    p, x = {"beta": leaf(SPYX["beta"])}, at_x()
    ours = stepped(LINode(trained(), decay_input=False), {"w": torch.logit(1 - p["beta"])}, x)
    outputs = {"y": ours["output"], "v": ours["v"]}
    assert_stored("spyx", "LI", with_gradients(outputs, {"x": x} | p))


# snnTorch and SpikingJelly, which the tests have


def assert_agree(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(
            value, theirs[name], rtol=1e-9, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}"
        )


def snntorch():
    require(importlib.util.find_spec("snntorch") is not None, "snntorch")
    import snntorch

    # Its own surrogate functions give spikes, and take gradients, in fp32.
    return snntorch, {"spike_grad": ATan(), "learn_threshold": True}


RESETS = {"zero": 0.0, "subtract": None, "none": "none"}


def moderate_x(scale: float) -> Tensor:
    """Return currents after which no potential is still above the threshold when the threshold was subtracted."""
    return torch.tensor(scale * X, requires_grad=True)


@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("reset", RESETS)
def test_snntorch_synaptic(reset, per_neuron):
    library, options = snntorch()
    shape = (H,) if per_neuron else ()
    alpha, beta, threshold = (
        torch.linspace(low, low + 0.1, H, dtype=torch.float64)[:: 1 if per_neuron else H].reshape(shape)
        for low in (0.55, 0.7, 1.0)
    )
    theirs = library.Synaptic(
        alpha, beta, threshold=threshold, learn_alpha=True, learn_beta=True, reset_mechanism=reset,
        reset_delay=False, **options,
    )  # fmt: skip
    x, syn, mem, outputs = moderate_x(0.2), *theirs.reset_mem(), []
    for step in x:
        s, syn, mem = theirs(step, syn, mem)
        outputs.append((s, mem, syn))
    outputs = dict(zip("svi", map(torch.stack, zip(*outputs, strict=True)), strict=True))
    if reset == "subtract":
        assert (outputs["v"] < threshold).all()
    parts = {"x": x, "alpha": theirs.alpha, "beta": theirs.beta, "threshold": theirs.threshold}
    expected = with_gradients(outputs, parts)

    x = moderate_x(0.2)
    leaves = {"x": x} | {
        name: value.detach().requires_grad_() for name, value in parts.items() if name != "x"
    }
    node = CUBALIFNode(
        nn.Parameter(1 / (1 - beta)), nn.Parameter(1 / (1 - alpha)), False, v_threshold=nn.Parameter(threshold),
        v_reset=RESETS[reset], surrogate_function=ATan(),
    )  # fmt: skip
    weights = {
        "w": torch.logit(1 - leaves["beta"]),
        "w_synapse": torch.logit(1 - leaves["alpha"]),
        "v_threshold": leaves["threshold"],
    }
    torch.testing.assert_close(weights["w"], node.w)  # what the module makes of the time constants
    found = stepped(node, weights, x)
    found = with_gradients({"s": found["output"], "v": found["v"], "i": found["i"]}, leaves)
    assert 0.05 < found["s"].mean() < 0.95
    assert_agree(found, expected)


def test_snntorch_alpha():
    """Its membrane without a reset is a double exponential, scaled by log(alpha) / log(beta / alpha) + 1."""
    library, options = snntorch()
    first = (torch.tensor(value, dtype=torch.float64) for value in (0.9, 0.6))
    theirs = library.Alpha(*first, reset_mechanism="none", **options)
    leaves = {"x": at_x(), "alpha": leaf(0.9), "beta": leaf(0.6)}
    theirs.alpha, theirs.beta = leaves["alpha"], leaves["beta"]
    states, outputs = theirs.reset_mem(), []
    for step in leaves["x"]:
        _, *states = theirs(step, *states)
        outputs.append(states[-1])
    norm = torch.log(leaves["alpha"]) / torch.log(leaves["beta"] / leaves["alpha"]) + 1
    expected = with_gradients({"v": torch.stack(outputs) / norm}, leaves)

    leaves = {"x": at_x(), "alpha": leaf(0.9), "beta": leaf(0.6)}
    decay, rise = 1 / (1 - leaves["alpha"]), 1 / (1 - leaves["beta"])
    synapse = DoubleExponentialSynapse(2.5, 10.0, learnable=True)
    weights = {"w_decay": torch.logit(1 / decay), "w_rise": torch.logit((rise - 1) / (decay - 1))}
    torch.testing.assert_close(weights["w_rise"].float(), synapse.w_rise)
    current = stepped(synapse, weights, leaves["x"])["output"]
    peak = leaves["alpha"] ** 4 - leaves["beta"] ** 4  # p^n - q^n at n = ceil(ln 4 / ln 1.5) = 4
    assert_agree(with_gradients({"v": peak * current}, leaves), expected)


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
    assert_agree(outputs[1], outputs[0])


def test_spikingjelly_non_spiking_lif():
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly")
    from spikingjelly.activation_based import neuron

    outputs = []
    for node in (lambda x: torch.stack(neuron.NonSpikingLIFNode(2.5)(x)), lambda x: scan(x, LINode(2.5))):
        x = at_x()
        outputs.append(with_gradients({"v": node(x)}, {"x": x}))
    assert_agree(outputs[1], outputs[0])
