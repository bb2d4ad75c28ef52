from __future__ import annotations

import pytest

from snn_core.backend import cuda
from snn_tutorial.listing import cuda_source, matched_lines


def test_cuda_function_on_one_line_with_its_comment():
    first, second = cuda_source("fires").splitlines()
    assert first.startswith("// False for NaN")
    assert second.endswith("{ return h - c.v_threshold >= 0; }")


def test_cuda_function_ends_where_it_ends():
    text = cuda_source("neuron_forward")
    assert text in cuda.SOURCE.read_text()
    assert text.count("{") == text.count("}")
    assert text.endswith("    store(v_last + m, v);\n}")
    assert "neuron_backward" not in text


def test_cuda_function_is_its_definition_and_not_a_call():
    assert cuda_source("charge").startswith("__device__ inline Compute charge(")


def test_unknown_cuda_function():
    with pytest.raises(ValueError, match=r"kernels\.cu has no function neuron_sideways"):
        cuda_source("neuron_sideways")


def test_matched_lines_are_a_table():
    table = matched_lines(("what", "one", "other"), [("or", "a | b", "c")], ("x = a | b", "c d")).data
    assert table.splitlines() == ["| what | one | other |", "|---|---|---|", r"| or | `a \| b` | `c` |"]


def test_line_that_is_gone_is_refused():
    with pytest.raises(ValueError, match=r"not in the source: s\[m\] = nothing"):
        matched_lines(("what", "one"), [("fire", "s[m] = nothing")], ("s[m] = spike",))
