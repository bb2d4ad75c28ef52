"""The table of what has a memory says what the classes do."""

from __future__ import annotations

import re

import pytest
import states_table
import torch
from states_table import build, equation, fused, kinds, parameters, source, step_for
from torch import nn

from snn_core import layer, neuron
from snn_core.checks import check_number
from snn_core.functional import states
from snn_core.neuron import IFNode


class Base(IFNode):
    r"""Another neuron.

    .. math::
        h[t] &= v[t-1] + x[t] \\
        s[t] &= 0

    Source: somebody. https://example.org/paper.
    """

    def __init__(self, tau: float = 2.0, learn_scale: bool = False, **options: object) -> None:
        super().__init__(**options)
        if isinstance(tau, nn.Parameter):
            self.w = tau
        if learn_scale:
            self.scale = nn.Parameter(torch.ones(()))


class Derived(Base):
    """It says nothing of its own."""

    def __init__(self, gain: float = 1.0, **options: object) -> None:
        super().__init__(**options)
        self.gain = check_number("gain", gain)


def test_every_single_step_module_has_a_row():
    found = list(kinds())
    assert {neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode} <= set(found)
    assert {
        layer.SynapseFilter,
        layer.LinearRecurrentContainer,
        layer.ElementWiseRecurrentContainer,
    } <= set(found)
    assert not {neuron.SpikingNeuron, neuron.MultiStepIFNode} & set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("kind", [*kinds()], ids=lambda kind: kind.__name__)
def test_a_row_lists_the_states_that_a_step_leaves(kind):
    module = build(kind)
    step = step_for(module)
    assert states(module) == {}
    module(step)
    own = [name for name in states(module) if not name.startswith("sub_module.")]
    (row,) = [
        row for row in states_table.states_table().splitlines() if row.startswith(f"| `{kind.__name__}`")
    ]
    assert len(own) > 0
    assert row.split(" | ")[2] == ", ".join(f"`{name}`" for name in own)


def test_rows_by_hand():
    rows = states_table.states_table().splitlines()
    paper = "arxiv.org/abs/2003.02944"
    assert (
        r"| `SynapseFilter` | $I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t]$ | `out_i` | `w` | "
        f"[{paper}](https://{paper}) | yes |"
    ) in rows
    assert any(
        row.startswith("| `IFNode`, `MultiStepIFNode` | $h[t] = v[t-1] + x[t]$ | `v` |") for row in rows
    )
    assert all(row.count(" | ") == 5 for row in rows if "|---" not in row)


def test_what_a_class_hands_on_counts_as_its_own():
    assert {"gain", "tau", "learn_scale", "v_threshold"} <= states_table.arguments(Derived).keys()
    assert [name for name in parameters(Derived) if name in ("w", "scale", "gain")] == ["w", "scale"]
    assert parameters(layer.LinearRecurrentContainer) == ["rc.weight", "rc.bias"]


def test_equation_and_source_come_from_the_docstring():
    assert equation(Base) == r"h[t] = v[t-1] + x[t] \qquad s[t] = 0"
    with pytest.raises(ValueError, match="Derived must have an equation"):
        equation(Derived)
    assert re.fullmatch(r"\[arxiv\S+\]\(https://\S+\)", source(neuron.ParametricLIFNode))


def test_what_is_not_fused_says_why():
    assert fused(IFNode) == "yes"

    class Doubled(IFNode):
        def forward(self, x):
            return super().forward(2 * x)

    assert fused(Doubled).startswith("no: it has hooks, or a forward of its own")


def test_a_class_that_no_step_fits_is_named():
    class Narrow(IFNode):
        def forward(self, x):
            raise ValueError("only samples of 7 x 7 x 7")

    with pytest.raises(ValueError, match="Narrow takes none of the steps"):
        step_for(Narrow())
