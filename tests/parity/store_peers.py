"""Store what Norse computes, which the environment of the tests does not have.

``python tests/parity/store_peers.py``, in an environment that has the library (and torch, but not snn_core), writes
``tests/parity/norse.npz``: for each case outputs, and gradients of a weighted sum of them to the input and the
parameters, in fp64. ``test_peers.py`` computes the same from the same numbers.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).with_name("norse.npz")
T, N, H = 30, 3, 4
#: Length of Norse's time step, and its parameters: time constants in 1/s, times DT they are in 1/steps.
DT = 0.001
NORSE = {"tau_mem_inv": 400.0, "tau_syn_inv": 300.0, "tau_adapt_inv": 100.0, "v_th": 1.0, "beta": 0.7}
REFRACTORY = 3

X = np.random.RandomState(11).normal(0.6, 2.0, (T, N, H))
#: Weights of the outputs in the sum that is differentiated: of spikes, of the potential, of the third output.
WEIGHTS = np.random.RandomState(12).normal(size=(3, T, N, H))


def norse() -> dict[str, Any]:
    """Return results of Norse's LSNN, LIF, LIF with refractory period, and LI; surrogate 1 - tanh(2 x)^2."""
    import torch
    from norse.torch.functional import leaky_integrator, lif, lif_refrac, lsnn

    def case(build, names, parts=("z", "v")):
        values = {name: torch.tensor(NORSE[name], dtype=torch.float64, requires_grad=True) for name in names}
        x = torch.tensor(X, requires_grad=True)
        outputs = [torch.stack(part) for part in zip(*build(x, values), strict=True)]
        loss = sum((torch.tensor(w) * y).sum() for w, y in zip(WEIGHTS, outputs, strict=False))
        gradients = torch.autograd.grad(loss, [x, *values.values()])
        found = dict(zip(parts, outputs, strict=True))
        found |= {f"gradient of {name}": g for name, g in zip(["x", *names], gradients, strict=True)}
        return {name: value.detach().numpy() for name, value in found.items()}

    zero, fixed = (
        torch.zeros(N, H, dtype=torch.float64),
        {"v_leak": torch.tensor(0.0), "v_reset": torch.tensor(0.0)},
    )
    fires = {"method": "tanh", "alpha": 2.0}

    def run_lsnn(x, p):
        # A current that is gone after one step, and arrives one step late: so the first is there already.
        p = lsnn.LSNNParameters(tau_syn_inv=torch.tensor(1 / DT), **p, **fixed, **fires)
        state = lsnn.LSNNFeedForwardState(v=zero, i=x[0], b=zero + p.v_th)
        for t in range(T):
            z, state = lsnn.lsnn_feed_forward_step(x[t + 1] if t + 1 < T else zero, state, p, DT)
            yield z, state.v, state.b

    def run_lif(x, p):
        p = lif.LIFParameters(**p, **fixed, **fires)
        state = lif.LIFFeedForwardState(v=zero, i=zero)
        for t in range(T):
            z, state = lif.lif_feed_forward_step(x[t], state, p, DT)
            yield z, state.v

    def run_refractory(x, p):
        own = lif.LIFParameters(**p, **fixed, **fires)
        p = lif_refrac.LIFRefracParameters(own, torch.tensor(float(REFRACTORY), dtype=torch.float64))
        state = lif_refrac.LIFRefracFeedForwardState(lif.LIFFeedForwardState(v=zero, i=zero), zero)
        for t in range(T):
            z, state = lif_refrac.lif_refrac_feed_forward_step(x[t], state, p, DT)
            state = state._replace(rho=state.rho.detach())  # Norse differentiates the counter, too
            yield z, state.lif.v

    def run_li(x, p):
        p = leaky_integrator.LIParameters(**p, v_leak=torch.tensor(0.0))
        state = leaky_integrator.LIState(v=zero, i=zero)
        for t in range(T):
            _, state = leaky_integrator.li_feed_forward_step(x[t], state, p, DT)
            yield state.v, state.i

    return {
        "LSNN": case(run_lsnn, ("tau_mem_inv", "tau_adapt_inv", "v_th", "beta"), ("z", "v", "b")),
        "LIF": case(run_lif, ("tau_mem_inv", "tau_syn_inv", "v_th")),
        "LIFRefrac": case(run_refractory, ("tau_mem_inv", "tau_syn_inv", "v_th")),
        "LI": case(run_li, ("tau_mem_inv", "tau_syn_inv"), ("v", "i")),
    }


if __name__ == "__main__":
    arrays = {f"{case}/{name}": value for case, found in norse().items() for name, value in found.items()}
    assert all(value.dtype == np.float64 for value in arrays.values()), arrays
    np.savez_compressed(PATH, version=np.array(version("norse")), **arrays)
