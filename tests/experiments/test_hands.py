"""Drawings by a script: their styles, and what a network sees of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.experiments.hands import SHAPES, SIDE, Hand, drawing, drawings, said, seen
from sequential_fmnist.experiments.waiting import BLANK, LAST, SPEC, Waits
from sequential_fmnist.variants import NetworkSpec, fold

SQUARE = [60, 60, 200, 60, 200, 200, 60, 200, 60, 60]


def test_an_outline_is_enlarged_and_filled():
    small = seen([[value // 4 for value in SQUARE]])
    assert (small == seen([SQUARE])).all()
    assert 0 < small[14, 14] < small[:4, 14].max() == small.max()


def test_a_small_gap_counts_as_closed_and_a_wide_one_does_not():
    side = [60, 60, 200, 60, 200, 200, 60, 200]
    assert seen([[*side, 60, 72]])[14, 14] > 0
    assert seen([[*side, 60, 150]])[14, 14] == 0


def test_strokes_are_not_joined():
    apart = seen([[60, 60, 200, 60], [60, 200, 200, 200]])
    assert not apart[10:18].any()


@pytest.mark.parametrize("name", SHAPES)
def test_every_garment_is_drawn_on_the_pad_in_many_ways(name):
    found = [drawing(Hand(f"test {k}"), name) for k in range(20)]
    for strokes in found:
        assert all(len(stroke) % 2 == 0 and stroke for stroke in strokes)
        values = np.concatenate(strokes)
        assert values.min() >= 0 and values.max() <= 255
        assert seen(strokes).any()
    assert len({str(strokes) for strokes in found}) == 20
    assert drawing(Hand("test 0"), name) == found[0]


def test_seeds_are_apart_and_classes_equally_frequent():
    first, second = ([*drawings(seed, 30)] for seed in (1, 2))
    assert [label for label, _ in first] == [k % 10 for k in range(30)]
    assert not {str(strokes) for _, strokes in first} & {str(strokes) for _, strokes in second}
    assert set(SHAPES) == set(SequentialFashionMNIST.classes)


@pytest.mark.parametrize("kind", ["plain", "stateful-synapse", "feedback"])
def test_a_network_that_waits_answers_from_the_last_outputs(kind):
    net = Waits(fold(NetworkSpec(kind, hidden=8, readout="membrane", batch_norm=True).build())).eval()
    images = torch.rand(3, 1, SIDE, SIDE)
    for net.blanks in (0, 5, BLANK):
        padded = torch.nn.functional.pad(images, (0, net.blanks))
        from sequential_fmnist.networks import columns_as_sequence
        from snn_core.functional import reset_net, scan

        reset_net(net)
        y_seq = scan(columns_as_sequence(padded), *net.layers)
        reset_net(net)
        torch.testing.assert_close(net(images), y_seq[-LAST:].mean(0), rtol=1e-4, atol=1e-5)
        reset_net(net)
    assert SPEC.tau == BLANK


@pytest.mark.parametrize(
    ("best", "share", "answer"), [("Coat", 0.5, "a top"), ("Coat", 0.9, "Coat"), ("Dress", 0.5, "Dress")]
)
def test_an_unsure_answer_of_garments_that_are_alike_is_a_top(best, share, answer):
    shares = np.full(10, (1 - share) / 9)
    shares[SequentialFashionMNIST.classes.index(best)] = share
    assert said(shares) == answer
