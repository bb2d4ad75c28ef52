"""The source of the CPU kernels run by Python itself, against the torch loop.

Where numba compiles a kernel, an index outside an array goes unnoticed and no tool sees which lines ran. Here numpy
checks every index, blocks are so small that a walk takes several, and the figures of coverage and of the mutation run
reach into the kernels. Only the tile of a matrix product, which is written in LLVM's instructions, is replaced.
"""

from __future__ import annotations

import ctypes
import math
import types

import numpy as np
import pytest
import torch
from support import require
from test_backend import (
    NEURONS,
    SURROGATES,
    TOLERANCE,
    assert_fused_equals_loop,
    every_dtype,
    every_neuron,
    every_reset,
    random,
    results,
)
from torch import nn

from snn_core import backend as backends
from snn_core.functional import reset_net, seq_to_ann_forward
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan


def array_at(address: int, shape: tuple[int, ...], like: np.floating) -> np.ndarray:
    """What ``tile.array_at`` gives a kernel: the array at an address."""
    size = math.prod(shape) * like.dtype.itemsize
    memory = (ctypes.c_char * size).from_address(address) if size else b""
    return np.frombuffer(memory, like.dtype).reshape(shape)


def lanes(array: np.ndarray) -> int:
    """Two numbers in a vector, so that small matrices have edges."""
    return 2


def _places(start: int, rows: int, row: int, columns: int, column: int) -> np.ndarray:
    found = start + row * np.arange(rows)[:, None] + column * np.arange(columns)
    assert found.size == 0 or found.min() >= 0
    return found


def add_tile(a, p, row, step, terms, b, q, b_row, first, f, f_row, out, o, out_row, rows, columns):
    """What ``tile.add_tile`` computes, with numpy."""
    columns = min(columns, 2 * lanes(out))
    left, right = a[_places(p, rows, row, terms, step)], b[_places(q, terms, b_row, columns, 1)]
    total = first[_places(f, rows, f_row, columns, 1)] + left @ right
    out[_places(o, rows, out_row, columns, 1)] = total


@pytest.fixture(autouse=True)
def _kernels_in_python(monkeypatch):
    require(backends.NUMBA_IS_INSTALLED, "numba")
    from snn_core.backend import cpu, products, walks

    for module in (walks, products):
        for name, kernel in vars(module).copy().items():
            if isinstance(getattr(kernel, "py_func", None), types.FunctionType):
                monkeypatch.setattr(module, name, kernel.py_func)
        monkeypatch.setattr(module, "array_at", array_at)
    for name, value in {"add_tile": add_tile, "lanes": lanes, "ROWS": 3, "BLOCK": 4, "PARTS": 3}.items():
        monkeypatch.setattr(products, name, value)
    for name, value in {"COLUMNS": 8, "SAMPLES": 2, "EVENT_DRIVEN_FROM": 8}.items():
        monkeypatch.setattr(walks, name, value)
    monkeypatch.setattr(cpu, "_known", set())
    monkeypatch.setattr(cpu, "PATIENCE", 600.0)  # nothing is compiled, so nothing is to be said


@every_neuron
@every_reset
@every_dtype
@pytest.mark.parametrize("recurrence", ["none", "element-wise"])
def test_neurons(kind, v_reset, detach_reset, dtype, recurrence):
    def build(backend):
        options = {"v_reset": v_reset, "detach_reset": detach_reset, "surrogate_function": ATan()}
        neuron = NEURONS[kind](backend=backend, **options)
        return neuron if recurrence == "none" else ElementWiseRecurrentContainer(neuron, torch.add)

    v, y = (random(3, 7, dtype=dtype, seed=seed) for seed in (1, 2))
    state = {"v": v} if recurrence == "none" else {"sub_module.v": v, "y": y}
    x_seq = 1.5 * random(5, 3, 7, dtype=dtype)
    assert_fused_equals_loop(build, x_seq, state, launched="neuron_sequence")


@every_reset
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("size", [5, 19], ids=["dense", "rows that spiked"])
def test_recurrent_layers(v_reset, detach_reset, surrogate, size):
    def build(backend):
        torch.manual_seed(3)
        options = {"v_reset": v_reset, "detach_reset": detach_reset, "surrogate_function": surrogate()}
        return LinearRecurrentContainer(NEURONS["LIF"](backend=backend, **options), size, size)

    state = {"sub_module.v": random(3, size, seed=1), "y": random(3, size, seed=2)}
    assert_fused_equals_loop(build, 3 * random(4, 3, size), state, launched="recurrent_neuron_sequence")


@pytest.mark.parametrize("spikes", range(10))
def test_rows_of_any_number_of_spikes_are_added(spikes):
    from snn_core.backend import walks

    chance = np.random.default_rng(spikes)
    y, rows, current = np.zeros(9), chance.normal(size=(9, 5)), chance.normal(size=5)
    y[chance.permutation(9)[:spikes]] = 1
    expected = current + y @ rows
    walks._add_spiking_rows(current, y, rows, np.empty(9, np.int64))
    np.testing.assert_allclose(current, expected, rtol=1e-12)


@every_dtype
@pytest.mark.parametrize("tau", [2.0, [1.5, 2.0, 100.0]], ids=["one tau", "tau per channel"])
@pytest.mark.parametrize("shape", [(5, 2, 3), (1, 2, 3), (3, 5, 3, 2)])
def test_synapse_filters(tau, shape, dtype):
    spikes = (random(*shape, dtype=dtype) > 0.5).to(dtype)
    assert_fused_equals_loop(
        lambda backend: SynapseFilter(tau, True, backend=backend),
        spikes, {"out_i": random(*shape[1:], dtype=dtype, seed=1)},
        spikes=False, launched="synapse_filter_sequence",
    )  # fmt: skip


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "columns_in", "columns_out"), [(1, 1, 1), (7, 4, 5), (13, 9, 2), (0, 3, 4)])
def test_linear_layers(rows, columns_in, columns_out, bias, dtype):
    layer = nn.Linear(columns_in, columns_out, bias).to(dtype)
    found = []
    for backend in ("torch", "numba"):
        x = random(2, rows, columns_in, dtype=dtype).requires_grad_()
        y_seq = seq_to_ann_forward(x, layer, backend)
        loss = (y_seq * random(*y_seq.shape, dtype=dtype, seed=7)).sum()
        found.append([y_seq.detach(), *torch.autograd.grad(loss, [x, *layer.parameters()])])
    for theirs, ours in zip(*found, strict=True):
        assert (ours - theirs).norm() <= TOLERANCE[dtype] * theirs.norm() + 1e-12


@pytest.mark.parametrize("recurrent", [False, True])
def test_gradient_that_nothing_asks_of_the_last_potential(recurrent):
    found = []
    for backend in ("torch", "numba"):
        torch.manual_seed(0)
        module = IFNode(surrogate_function=ATan(), backend=backend)
        module = (LinearRecurrentContainer(module, 3, 3) if recurrent else module).double()
        x_seq = random(4, 2, 3).requires_grad_()
        (module.forward_sequence(x_seq) * random(4, 2, 3, seed=5)).sum().backward()
        found.append(x_seq.grad)
    torch.testing.assert_close(*found, rtol=1e-10, atol=0)


def results_without_reset(node, x_seq):
    """Return the spikes and the last potential."""
    return torch.cat([node.forward_sequence(x_seq), node.v.unsqueeze(0)])


def test_a_second_batch_begins_where_the_state_was_left():
    nodes = [IFNode(backend=backend) for backend in ("torch", "numba")]
    for seed in (0, 1):
        x_seq = random(4, 3, 7, seed=seed)
        loop, fused = (results_without_reset(node, x_seq) for node in nodes)
        assert torch.equal(loop, fused)
    reset_net(nodes[1])
    assert not torch.equal(results(nodes[1], x_seq, {})[0], fused)
