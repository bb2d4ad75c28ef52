"""Taps of delays against the package DCLS 0.1.1, whose kernels have one weight at a learned, interpolated place.

What it gave once is kept in a file; ``python tests/parity/test_dcls.py`` writes it anew where DCLS is installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snn_core.more.delays import delay_taps

KEPT = Path(__file__).with_name("dcls_0_1_1.npz")
D, SPREADS = 7, {"linear": 0.0, "spread": 1.5}
#: DCLS adds 1e-7 to the sum that a spread kernel is divided by.
TOLERANCES = {"linear": 1e-12, "spread": 1e-6}


@pytest.fixture(scope="module")
def kept() -> dict[str, torch.Tensor]:
    with np.load(KEPT, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("kind", SPREADS)
def test_delayed_weights_and_their_gradients_equal_those_of_dcls(kept, kind):
    delay = kept["delay"].requires_grad_()
    weight = kept["weight"].requires_grad_()
    kernel = (weight * delay_taps(delay, D, SPREADS[kind])).movedim(0, -1)
    of_delay, of_weight = torch.autograd.grad(kernel, [delay, weight], kept["upstream"])
    same = {"rtol": TOLERANCES[kind], "atol": 1e-12}
    torch.testing.assert_close(kernel, kept[f"{kind} kernel"], **same)
    torch.testing.assert_close(of_delay, kept[f"{kind} gradient of delay"], **same)
    torch.testing.assert_close(of_weight, kept[f"{kind} gradient of weight"], **same)
    assert of_delay.count_nonzero() == of_delay.numel()


def write() -> None:
    """Ask DCLS for kernels ``[4, 5, D]`` and their gradients, and keep them."""
    from DCLS.construct.modules import ConstructKernel1d

    random = np.random.RandomState(7)
    arrays = {
        "delay": random.uniform(1, D, (4, 5)),
        "weight": random.normal(size=(4, 5)),
        "upstream": random.normal(size=(4, 5, D)),
    }
    for kind, version in {"linear": "v0", "spread": "max"}.items():
        position = torch.from_numpy(arrays["delay"] - 1 - D // 2).requires_grad_()
        weight = torch.from_numpy(arrays["weight"]).requires_grad_()
        construct = ConstructKernel1d(4, 5, 1, 1, [D], version)
        places = position.reshape(1, 4, 5, 1)
        kernel = construct(weight.reshape(4, 5, 1), places, torch.full_like(places, SPREADS[kind]))
        gradients = torch.autograd.grad(kernel, [position, weight], torch.from_numpy(arrays["upstream"]))
        names = (f"{kind} kernel", f"{kind} gradient of delay", f"{kind} gradient of weight")
        arrays |= {
            name: array.detach().numpy() for name, array in zip(names, (kernel, *gradients), strict=True)
        }
    np.savez_compressed(KEPT, **arrays)


if __name__ == "__main__":
    write()
