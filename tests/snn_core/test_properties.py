"""Laws that hold for all inputs, tried on many by hypothesis."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_core.neuron import MultiStepIFNode, MultiStepLIFNode

law = settings(max_examples=40, deadline=None, derandomize=True)

seeds = st.integers(0, 2**31)
thresholds = st.sampled_from([0.7, 1.0, 2.5])


@st.composite
def sequences(draw, dtypes=(torch.float32, torch.float64, torch.bfloat16)):
    """Input currents ``[T, N, *]`` that make a neuron fire now and then."""
    generator = torch.Generator().manual_seed(draw(seeds))
    features = st.lists(st.integers(1, 4), max_size=2)
    shape = [draw(st.integers(1, 6)), draw(st.integers(0, 3)), *draw(features)]
    x_seq = torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 0.5
    return x_seq.to(draw(st.sampled_from(dtypes)))


@law
@given(sequences(dtypes=(torch.float64,)), thresholds, seeds)
def test_soft_reset_conserves_charge(x_seq, v_threshold, seed):
    node = MultiStepIFNode(v_threshold=v_threshold, v_reset=None)
    v = torch.randn(x_seq.shape[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    node.v = v
    s_seq = node(x_seq)
    torch.testing.assert_close(x_seq.sum(0), node.v - v + v_threshold * s_seq.sum(0), rtol=0, atol=1e-12)


@law
@given(sequences(), thresholds, st.sampled_from([0.0, -0.3]), st.sampled_from([1.1, 2.0, 7.0]), st.booleans())
def test_hard_reset_leaves_exactly_v_reset_where_there_was_a_spike(
    x_seq, v_threshold, v_reset, tau, decay_input
):
    node = MultiStepLIFNode(tau, decay_input, v_threshold=v_threshold, v_reset=v_reset, store_v_seq=True)
    s_seq = node(x_seq)
    v_after_spikes = node.v_seq[s_seq == 1]
    assert torch.equal(v_after_spikes, torch.full_like(v_after_spikes, node.v_reset))
    assert (node.v_seq[s_seq == 0] < node.v_threshold).all()
