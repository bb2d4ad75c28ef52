"""What SpikingJelly 2.0.0 has and the table of cases does not: smooth surrogates, potentials, the number behind tau."""

from __future__ import annotations

import pytest
import torch
from cases import NEURONS, RESETS, alone, currents
from executors import LOOP, PEER


@pytest.fixture(scope="module")
def libraries():
    """snn_core and SpikingJelly."""
    with PEER.running():
        return LOOP.library(), PEER.library()


@pytest.mark.parametrize("reset", list(RESETS)[:3])
@pytest.mark.parametrize("kind", NEURONS)
def test_potentials_in_two_sequences_in_a_row(kind, reset, libraries):
    ours, theirs = (
        alone(library, kind, "Sigmoid", store_v_seq=True, **RESETS[reset]) for library in libraries
    )
    v_seq, x_seq = [], currents(3.0, 0.5)((10, 5, 4))
    for x in (x_seq, -x_seq):
        assert torch.equal(ours(x), theirs(x))
        v_seq.append(theirs.v_seq)  # theirs begins anew with each call, ours goes on
    torch.testing.assert_close(ours.v_seq, torch.cat(v_seq), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["ATan", "Rectangle", "Sigmoid", "Triangle"])
def test_smooth_surrogate(name, alpha, libraries):
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)
    ours, theirs = (library.surrogates[name](alpha=alpha, spiking=False) for library in libraries)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tau", [1.2, 2.0, 100.0])
def test_synapse_filter_keeps_a_learnable_tau_in_the_same_number(tau, libraries):
    ours, theirs = (library.synapse_filter(tau=tau, learnable=True).w for library in libraries)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
