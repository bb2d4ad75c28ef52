"""What is special about the kernels for the CPU: their threads, and rows of weights that are added where a spike is."""

from __future__ import annotations

import subprocess
import sys

import numba
import numpy as np
import pytest
import torch
from executors import compiled, interpreted
from support_networks import output_and_gradients
from torch import nn

from snn_core.backend import walks
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SeqToANNContainer, SynapseFilter
from snn_core.neuron import IFNode, MultiStepIFNode


@pytest.fixture(autouse=True)
def _fused():
    with compiled():
        yield


@pytest.mark.parametrize(
    "build",
    [
        lambda: MultiStepContainer(LinearRecurrentContainer(IFNode(backend="numba"), 8, 8)),
        lambda: MultiStepContainer(SynapseFilter(2.0, True, backend="numba")),
        lambda: nn.Sequential(SeqToANNContainer(nn.Linear(8, 8)), MultiStepIFNode(backend="numba")),
    ],
    ids=["recurrent", "synapse", "linear"],
)
def test_number_of_threads_does_not_change_a_bit(build):
    before, found = torch.get_num_threads(), []
    x_seq = 3 * torch.randn(20, 700, 8)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            module = build()
            found.append(output_and_gradients(module, x_seq, module.parameters()))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_use_as_many_threads_as_torch(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        IFNode(backend="numba").forward_sequence(torch.rand(3, 4))
        assert numba.get_num_threads() == min(threads, numba.config.NUMBA_NUM_THREADS)
    finally:
        torch.set_num_threads(before)


@pytest.mark.nightly
@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_leave_the_number_of_threads_of_torch_alone(threads):
    code = f"""
import torch
torch.set_num_threads({threads})
from snn_core.neuron import IFNode
IFNode(backend="numba").forward_sequence(torch.rand(3, 4000))
assert torch.get_num_threads() == {threads}, torch.get_num_threads()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("spikes", range(10))
def test_rows_of_any_number_of_spikes_are_added(spikes):
    chance = np.random.default_rng(spikes)
    y, rows, current = np.zeros(9), chance.normal(size=(9, 5)), chance.normal(size=5)
    y[chance.permutation(9)[:spikes]] = 1
    expected = current + y @ rows
    with interpreted():
        walks._add_spiking_rows(current, y, rows, np.empty(9, np.int64))
    np.testing.assert_allclose(current, expected, rtol=1e-12)
