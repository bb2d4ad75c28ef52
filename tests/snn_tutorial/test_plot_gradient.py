from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from snn_core.surrogate import ATan, Triangle
from snn_tutorial.plot import gradient as draw


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def values(axes, label: str) -> list[float]:
    (found,) = (line for line in axes.get_lines() if line.get_label() == label)
    return list(found.get_ydata())


def test_surrogates_show_function_and_derivative():
    functions = [ATan(), Triangle()]
    above, below = draw.surrogates(functions).axes
    for number, function in enumerate(functions):
        x = torch.as_tensor(below.get_lines()[number].get_xdata())
        assert below.get_lines()[number].get_ydata() == pytest.approx(function.derivative(x).numpy())
        assert above.get_lines()[number + 1].get_ydata() == pytest.approx(function.primitive(x).numpy())
    assert set(above.get_lines()[0].get_ydata()) == {0, 1}


def test_staircase_marks_the_weight():
    axes = draw.staircase(np.array([0.0, 1.0]), [3.0, 4.0], now=0.5).axes[0]
    assert [list(line.get_ydata()) for line in axes.get_lines()[:1]] == [[3, 4]]
    assert list(axes.get_lines()[1].get_xdata()) == [0.5, 0.5]


def test_spread_leaves_out_images_without_gradient():
    norms = torch.tensor([[1.0, 2.0, 9.0, 50.0], [1.0, 3.0, 8.0, 0.0]])
    (axes,) = draw.gradient_spread({"feedback": norms}).axes
    assert values(axes, "median image") == [2, 3]
    assert values(axes, "largest") == [9, 8]


def test_step_norms_have_a_panel_and_a_colour_for_each_way_to_train():
    axes = draw.step_norms({"cut": [0.1, 0.2], "attached": [0.3, 0.4]}).axes
    assert [list(part.get_lines()[0].get_ydata()) for part in axes] == [[0.1, 0.2], [0.3, 0.4]]
    assert axes[0].get_lines()[0].get_color() != axes[1].get_lines()[0].get_color()
    assert axes[0].get_yscale() == "log"


def test_stretch_shows_median_and_largest_of_all_images():
    (axes,) = draw.stretch({"cut": torch.tensor([[1.0, 2.0, 9.0], [2.0, 4.0, 50.0]])}).axes
    assert values(axes, "cut, median") == [2, 4]
    assert values(axes, "cut, largest") == [9, 50]
    assert list(axes.get_lines()[0].get_xdata()) == [1, 2]
