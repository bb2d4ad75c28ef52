"""The container with delays against DelRec, the code of the paper that introduced learned recurrent delays.

What it gave once (https://github.com/alexmaxad/DelRec at e427881, with SpikingJelly 2.0.0) is kept in a file;
``python tests/parity/test_delrec.py FOLDER`` writes it anew, where FOLDER is a copy of that repository.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snn_core.layer import DelayedRecurrentContainer
from snn_core.neuron import LIFNode
from snn_core.surrogate import ATan

KEPT = Path(__file__).with_name("delrec_e427881.npz")
T, N, H = 14, 3, 4
#: With a whole spread DelRec's taps have the sum 1, as ours always have; their first delay is 0, ours 1.
SPREADS = [0.0, 2.0]


@pytest.fixture(scope="module")
def kept() -> dict[str, Tensor]:
    with np.load(KEPT, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("spread", SPREADS)
def test_outputs_and_gradients_equal_those_of_delrec(kept, spread):
    delay = nn.Parameter(kept["neuron delay"] + 1)
    node = LIFNode(tau=2.0, surrogate_function=ATan(), detach_reset=True)
    net = DelayedRecurrentContainer(node, H, H, 12, delay, bias=False).double()
    net.sigma = spread
    with torch.no_grad():
        net.rc.weight.copy_(torch.cat([torch.eye(H), kept["weight"]], dim=1))
    x_seq = kept["x_seq"].requires_grad_()
    y_seq = net.forward_sequence(x_seq)
    gradients = torch.autograd.grad(y_seq, [x_seq, net.delay, net.rc.weight], kept["upstream"])
    assert torch.equal(y_seq, kept[f"neuron, {spread}: y_seq"])
    assert 0.05 < y_seq.mean() < 0.95
    for name, ours in zip(("x_seq", "delay", "weight"), gradients, strict=True):
        theirs = kept[f"neuron, {spread}: gradient of {name}"]
        torch.testing.assert_close(ours[:, H:] if name == "weight" else ours, theirs, rtol=1e-9, atol=1e-13)


def write(folder: str) -> None:
    """Ask DelRec for the spikes and gradients of one layer, and keep them."""
    sys.path.insert(0, folder)
    from spikingjelly.activation_based import neuron, surrogate
    from src.recurrent_neurons import axonal_recdel

    def node(backend: str, **options: Any) -> nn.Module:
        return neuron.LIFNode(**options)

    config = SimpleNamespace(
        step_mode="m", store_v_seq=False, tau=2.0, decay_input=True, v_reset=0.0, v_threshold=1.0,
        surrogate_function=surrogate.ATan(alpha=2.0), detach_reset=True, backend="torch", sigma_init=0.0,
        recurrent_dropout_rate=0.0, use_sig_p=False, rec_delay_init_gain=1.0, init_rec_delay="uniform",
        init_recdel_offset=2.0, max_rec_delay=6.0,
    )  # fmt: skip
    random = np.random.RandomState(9)
    arrays = {
        "x_seq": random.normal(0.5, 2.5, (T, N, H)),
        "upstream": random.normal(size=(T, N, H)),
        "weight": random.normal(size=(H, H)),
        "neuron delay": random.uniform(2, 6, H),
    }
    for spread in SPREADS:
        layer = axonal_recdel(config, H, node).double()
        layer.sigma = spread
        layer.recurrent_weights.data = torch.from_numpy(arrays["weight"])
        layer.recurrent_delays.data = torch.from_numpy(arrays["neuron delay"])
        x_seq = torch.from_numpy(arrays["x_seq"]).requires_grad_()
        y_seq = layer(x_seq)
        leaves = {"x_seq": x_seq, "delay": layer.recurrent_delays, "weight": layer.recurrent_weights}
        gradients = torch.autograd.grad(y_seq, list(leaves.values()), torch.from_numpy(arrays["upstream"]))
        arrays[f"neuron, {spread}: y_seq"] = y_seq.detach().numpy()
        for name, gradient in zip(leaves, gradients, strict=True):
            arrays[f"neuron, {spread}: gradient of {name}"] = gradient.numpy()
    np.savez_compressed(KEPT, **arrays)


if __name__ == "__main__":
    write(sys.argv[1])
