"""snn_core gives what spikingjelly 2.0.0 gave, kept in golden/, also where spikingjelly is not installed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden.make_golden import GOLDEN, golden_arrays
from support import require
from support_networks import OURS, assert_same_results, golden_cases, run_case
from torch import Tensor

CASES = golden_cases()


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def test_golden_file_holds_the_cases_that_are_compared_and_no_other(golden):
    assert {name.split("/")[0] for name in golden} == set(CASES)


def test_golden_file_is_small():
    assert GOLDEN.stat().st_size < 300_000


@pytest.mark.parametrize("name", CASES)
def test_snn_core_gives_the_golden_results(name, golden):
    case = replace(CASES[name], x=torch.from_numpy(golden[f"{name}/x"]))
    actual = run_case(case, OURS, under(golden, f"{name}/weights/"))
    assert_same_results(actual, under(golden, f"{name}/results/"))


def test_make_golden_reproduces_the_golden_file(golden):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    made = golden_arrays()
    assert made.keys() == golden.keys()
    for name, array in made.items():
        np.testing.assert_allclose(array, golden[name], rtol=1e-12, atol=1e-14, err_msg=name)
