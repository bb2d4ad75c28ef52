from __future__ import annotations

import re

import numpy as np
import pytest

from sequential_fmnist.networks import make_network
from snn_exchange import to_nir
from snn_tutorial.live.graph import graph_walker

GRAPH = to_nir(make_network("plain", hidden=4))
SIZES = {"input": 28, "fc1": 4, "sn1": 4, "fc2": 10, "sn2": 10, "output": 10}


def record(steps: int = 28, images: int = 3) -> dict[str, np.ndarray]:
    return {name: np.zeros((steps, images, size)) for name, size in SIZES.items()}


def test_of_ten_images_is_small_enough_for_a_page():
    html = graph_walker(GRAPH, record(images=10), np.zeros((10, 28, 28))).data
    assert len(re.sub('src="[^"]*"', "", html)) < 300_000


@pytest.mark.parametrize(("steps", "rows"), [(1, 28), (5, 3), (40, 1)])
def test_takes_pictures_of_any_size(steps, rows):
    assert graph_walker(GRAPH, record(steps, 1), np.ones((1, rows, steps))).data


@pytest.mark.parametrize("images", [np.zeros((28, 28)), np.zeros((0, 28, 28)), np.zeros((11, 28, 28))])
def test_one_to_ten_pictures(images):
    with pytest.raises(ValueError, match="images must be 1 to 10 pictures"):
        graph_walker(GRAPH, record(images=len(images)), images)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_pictures_lie_in_0_to_1(wrong):
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        graph_walker(GRAPH, record(), np.full((3, 28, 28), wrong))


def test_record_holds_every_node():
    one_less = record()
    del one_less["sn1"]
    with pytest.raises(ValueError, match="record has no node 'sn1'"):
        graph_walker(GRAPH, one_less, np.zeros((3, 28, 28)))


@pytest.mark.parametrize("shape", [(28, 4), (27, 3, 4), (28, 2, 4), (28, 3, 0)])
def test_record_fits_the_images(shape):
    with pytest.raises(ValueError, match=r"record\['fc1'\] must be \[28, 3, size\]"):
        graph_walker(GRAPH, record() | {"fc1": np.zeros(shape)}, np.zeros((3, 28, 28)))


def test_record_is_finite():
    with pytest.raises(ValueError, match=r"record\['fc1'\] must be finite"):
        graph_walker(GRAPH, record() | {"fc1": np.full((28, 3, 4), np.inf)}, np.zeros((3, 28, 28)))
