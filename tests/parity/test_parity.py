"""Every backend, and SpikingJelly, against the readable loop, over one table of cases.

Spikes of the element-wise scans are equal to the bit in every precision, since the arithmetic is the same. A recurrent
product adds in another order, so a potential that lies on the threshold to the last digit could fall on the other
side; with the fixed inputs of the table that would show as an unequal spike, and none does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import SURROGATES, TABLE, alone, element_wise, random, recurrent
from executors import COMPILED, EXECUTORS, GPU, SHIM, Executor, assert_equals_the_loop, each, marks, results
from memory_cases import MEMORY

#: One executor for each source of kernels.
DEVICES = [COMPILED, SHIM, GPU]
HALVES = [torch.float16, torch.bfloat16]
BUILDS = {
    "neuron": lambda library: alone(library, "LIF", "ATan"),
    "element-wise": lambda library: element_wise(library, kind="LIF", surrogate="ATan"),
    "recurrent": lambda library: recurrent(library, 40, kind="LIF", surrogate="ATan"),
    "synapse": lambda library: library.multi_step_container(library.synapse_filter(tau=2.0)),
}


def cases_of(executor: Executor) -> Iterator[Any]:
    """Yield the cases that an executor takes, of which most run at night alone if another one does nearly the same."""
    for k, case in enumerate(filter(executor.takes, (TABLE | MEMORY).values())):
        by_night = [pytest.mark.nightly] * (k % executor.every > 0)
        yield pytest.param(
            executor, case, id=f"{executor.name}: {case.name}", marks=marks(executor) + by_night
        )


@pytest.mark.parametrize(("executor", "case"), [one for executor in EXECUTORS for one in cases_of(executor)])
def test_equals_the_loop(executor, case):
    assert_equals_the_loop(executor, case)


@each(DEVICES)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_nan_in_the_input_is_in_the_gradient(executor, surrogate):
    """Of that neuron only. The loop hides it where the surrogate's derivative of NaN is 0."""
    x_seq = random((5, 2, 3))
    x_seq[2, 0] = torch.nan
    x_seq = x_seq.to(executor.device).requires_grad_()
    library = executor.library()
    with executor.running():
        neuron = library.sequence_neurons["IFNode"](surrogate_function=library.surrogates[surrogate]())
        neuron(x_seq).sum().backward()
    assert x_seq.grad[:3, 0].isnan().all()
    assert x_seq.grad[:, 1].isfinite().all()


@each(DEVICES)
@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("layer", ["neuron", "element-wise", "recurrent", "synapse"])
def test_half_precision_is_widened_inside(executor, half, layer):
    """Equal to the kernel in float32 on the same numbers, but for the rounding of what is returned."""
    found = []
    for dtype in (half, torch.float32):
        case = replace(
            TABLE[f"transposed: {layer}"],
            shape=(28, 5, 40),
            dtype=dtype,
            layout=lambda tensor: tensor.to(half).to(tensor.dtype),
            build=BUILDS[layer],
            # Of the last output there would be two gradients, which torch adds in half precision.
            differentiated=("output", "last v") if layer == "neuron" else ("output",),
        )
        module = case.module(executor.library(), executor.device)
        for weight in module.parameters():  # i = x + y W^T: on a GPU torch computes the product with x
            if weight.dim() > 1:
                weight.data[:, : len(weight)] = torch.eye(len(weight))
            else:
                weight.data.zero_()
        with executor.running():
            found.append(results(case, module, executor.device))
    for name, narrow in found[0].items():
        assert narrow.dtype == half
        # Gradients of weights are sums over all steps; a filter's backward pass reads its rounded currents.
        if "0.rc" not in name and (layer != "synapse" or "gradient" not in name):
            assert torch.equal(narrow, found[1][name].to(half)), name
