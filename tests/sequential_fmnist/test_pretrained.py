"""Weights that come with the package: what they are, and what is said of damaged ones."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch

from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.pretrained import CARDS, PRETRAINED_FOLDER, PretrainedError, load


@pytest.fixture
def folder(tmp_path):
    """A copy of what the package holds."""
    return shutil.copytree(PRETRAINED_FOLDER, tmp_path / "pretrained")


@pytest.mark.parametrize("kind", TUTORIAL_NETWORKS)
def test_weights_of_the_package_are_what_their_card_says(kind, embedded):
    net, card = load(kind)
    assert not net.training
    assert card["parameters"] == {"plain": 1258, "stateful-synapse": 1259, "feedback": 3338}[kind]
    assert sum(p.numel() for p in net.parameters()) == card["parameters"]
    _, accuracy = evaluate(net, embedded[1])
    # The embedded test images are a tenth of those on the card: three standard errors.
    expected = card["accuracy"]["test"]
    assert abs(accuracy - expected) < 3 * math.sqrt(expected * (1 - expected) / len(embedded[1]))


def test_load_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    load("plain")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("position", [0, -1])
def test_one_flipped_bit_is_found_before_anything_is_read(folder, position, monkeypatch):
    path = folder / "plain.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr("safetensors.torch.load", lambda data: pytest.fail("read before it was checked"))
    with pytest.raises(PretrainedError, match=r"plain\.safetensors are damaged: expected SHA-256 .*, got "):
        load("plain", folder)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        (None, "cannot be read: No such file"),
        ("{", "have no card of plain that can be used"),
        ("{}", "have no card of plain that can be used: 'plain'"),
    ],
)
def test_cards_that_cannot_be_used_are_one_clear_error(folder, cards, message):
    (folder / CARDS).unlink()
    if cards is not None:
        (folder / CARDS).write_text(cards)
    with pytest.raises(PretrainedError, match=message):
        load("plain", folder)


def test_a_card_of_another_network_is_refused(folder):
    cards = json.loads((folder / CARDS).read_text())
    for change, message in (
        ({"alpha": 2.0, "hidden": 16}, r"another network than networks.py has: .*fc1\.weight"),
        ({"neuron": "lif"}, "have no card of plain that can be used: .*'neuron'"),
    ):
        cards["plain"]["spec"] |= change
        (folder / CARDS).write_text(json.dumps(cards))
        with pytest.raises(PretrainedError, match=message):
            load("plain", folder)


def test_missing_weights_are_named(folder):
    (folder / "plain.safetensors").unlink()
    with pytest.raises(PretrainedError, match=r"plain\.safetensors cannot be read: No such file"):
        load("plain", folder)
