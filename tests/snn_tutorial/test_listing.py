from __future__ import annotations

import pytest

from snn_core.backend import cuda
from snn_tutorial.listing import cuda_source, matched_lines


def test_cuda_function_on_one_line():
    assert cuda_source("is_dense").endswith("{ return s.cell == LINEAR || s.feedback == DENSE; }")


def test_cuda_function_ends_where_it_ends():
    text = cuda_source("to_inputs")
    assert text in cuda.source()
    assert text.count("{") == text.count("}")
    assert text.startswith("// Takes the gradient of the sum of inputs")
    assert text.endswith("\n}")
    assert "end_backward" not in text


def test_cuda_function_is_its_definition_and_not_a_call():
    first, second, *_ = cuda_source("cell_forward").splitlines()
    assert first == "template <class Cell>"
    assert second.startswith("__device__ inline void cell_forward(")


def test_cuda_structure():
    text = cuda_source("If")
    assert text.startswith("struct If : Neuron<If> {")
    assert text.endswith("\n};")
    assert "struct Lif" not in text


def test_unknown_cuda_function():
    with pytest.raises(ValueError, match="the source for CUDA has no scan_sideways"):
        cuda_source("scan_sideways")


def test_matched_lines_are_a_table():
    table = matched_lines(("what", "one", "other"), [("or", "a | b", "c")], ("x = a | b", "c d")).data
    assert table.splitlines() == ["| what | one | other |", "|---|---|---|", r"| or | `a \| b` | `c` |"]


def test_line_that_is_gone_is_refused():
    with pytest.raises(ValueError, match=r"not in the source: s\[m\] = nothing"):
        matched_lines(("what", "one"), [("fire", "s[m] = nothing")], ("s[m] = spike",))
