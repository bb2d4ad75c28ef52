"""The definition of a layer with feedback, over cells, against the containers that users build."""

from __future__ import annotations

import pytest
import torch

from snn_core import reference
from snn_core.cells import ElementWiseFeedback
from snn_core.checks import Like
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.neuron import IFNode, LIFNode, ParametricLIFNode


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("node", [IFNode, LIFNode, ParametricLIFNode])
@pytest.mark.parametrize("feedback", ["element-wise", "linear"])
def test_a_container_is_its_cell_with_feedback(feedback, node, backend):
    torch.manual_seed(0)
    inner = node(backend=backend).double()
    x_seq, zero = 2 * torch.rand(9, 4, 3, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    cell = inner.cell(Like(zero.shape, zero.dtype, zero.device))
    if feedback == "linear":
        container = LinearRecurrentContainer(inner, 3, 3).double()
        step = reference.linear_feedback(cell.step, container.rc.weight, container.rc.bias)
    else:
        container = ElementWiseRecurrentContainer(inner, torch.add)
        step = ElementWiseFeedback(cell, torch.add).step
    expected, (v, y) = reference.scan(step, x_seq, (zero + cell.initial[0], zero))
    assert torch.equal(MultiStepContainer(container)(x_seq), expected)
    assert torch.equal(container.y, y)
    torch.testing.assert_close(container.sub_module.v, v, rtol=1e-12, atol=0)
