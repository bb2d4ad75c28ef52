from __future__ import annotations

import pytest
from numba import njit

from snn_core.backend import cuda, walks
from snn_tutorial.listing import cuda_source, listing, matched_lines, python_source


@njit
def compiled(x):
    y = x + 1  # kept
    return 2 * y


def test_source_of_a_compiled_function_without_remarks_for_linters():
    lines = python_source(compiled).splitlines()
    assert lines == ["@njit", "def compiled(x):", "    y = x + 1  # kept", "    return 2 * y"]


def test_source_from_a_line_on():
    assert python_source(compiled, start="y = x").splitlines() == [
        "    y = x + 1  # kept",
        "    return 2 * y",
    ]
    with pytest.raises(ValueError, match="not in the source: z = x"):
        python_source(compiled, start="z = x")


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


def test_listing_is_source_in_a_terminal_and_colour_on_a_page():
    shown = listing("cpp", "int a = 1;", "if (a < 2) b();")
    assert repr(shown) == "int a = 1;\n\nif (a < 2) b();"
    assert repr(listing("python", "a = 1", "b = 2")) == "a = 1\n\n\nb = 2"
    page = shown._repr_html_()
    assert "font-family: monospace" in page
    assert "&lt;" in page
    assert 'style="color' in page
    assert "class=" not in page.replace('class="highlight"', "")


def test_matched_lines_are_a_table():
    table = matched_lines(("what", "one", "other"), [("or", "a | b", "c")], ("x = a | b", "c d")).data
    assert table.splitlines() == ["| what | one | other |", "|---|---|---|", r"| or | `a \| b` | `c` |"]


def test_line_that_is_gone_is_refused():
    source = python_source(walks._forward_row)
    with pytest.raises(ValueError, match=r"not in the source: s\[m\] = nothing"):
        matched_lines(("what", "one"), [("fire", "s[m] = nothing")], (source,))
