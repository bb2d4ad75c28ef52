"""Three networks on JapaneseVowels: their sizes, that they learn, that lengths matter, and what results/ says."""

from __future__ import annotations

import json
import re

import pytest
import torch
from support import ROOT

from experiments import vowels
from experiments.statistics import estimate
from sequential_fmnist.vowels import JapaneseVowels

RESULTS = json.loads((ROOT / "results" / "vowels.json").read_text())
GUIDE = (ROOT / "docs" / "howto" / "variable_length.md").read_text()


@pytest.mark.parametrize(
    ("kind", "parameters"), [("plain", 3001), ("stateful-synapse", 3002), ("feedback", 2946)]
)
def test_sizes_by_hand(kind, parameters):
    """12 H + H + 9 H + 9; one more time constant; 2 H * H + H more."""
    assert sum(parameter.numel() for parameter in vowels.VowelNet(kind).parameters()) == parameters
    assert RESULTS["networks"][kind]["parameters"] == parameters


@pytest.mark.parametrize("kind", vowels.HIDDEN)
def test_an_utterance_gets_the_same_answer_in_any_batch(kind):
    torch.manual_seed(0)
    net, data = vowels.VowelNet(kind).double(), JapaneseVowels(train=False)
    ((x_seq, lengths, _),) = data.batches(len(data))
    together = net(x_seq.double(), lengths)
    for n in (0, 100, 369):
        alone = net(data[n][0].double()[:, None], lengths[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", vowels.HIDDEN)
def test_training_learns_and_repeats(kind):
    test = JapaneseVowels(train=False)
    once, again = (vowels.train(kind, seed=0, epochs=4) for _ in range(2))
    assert vowels.right(once, test) > 0.7 * len(test)  # chance: 1/9
    assert all(map(torch.equal, once.state_dict().values(), again.state_dict().values()))


def test_the_command_writes_what_it_found(tmp_path, capsys):
    vowels.main(["--seeds", "1", "--epochs", "1", "--out", str(tmp_path / "vowels.json")])
    found = json.loads((tmp_path / "vowels.json").read_text())
    assert found.keys() == RESULTS.keys()
    assert list(found["networks"]) == list(vowels.HIDDEN)
    assert capsys.readouterr().out.count("of 370 utterances") == 3


def test_results_are_those_of_the_code_and_add_up():
    settings = {"epochs": vowels.EPOCHS, "batch": vowels.BATCH, "lr": vowels.LR, "seeds": vowels.SEEDS}
    assert {name: RESULTS[name] for name in settings} == settings
    for kind, network in RESULTS["networks"].items():
        right = [accuracy * 370 for accuracy in network["accuracy"]]
        assert len(right) == vowels.SEEDS
        assert all(abs(count - round(count)) < 0.01 for count in right)
        mean = estimate([round(count) / 370 for count in right])
        assert network["mean"] == {name: pytest.approx(value, abs=1e-5) for name, value in vars(mean).items()}
        assert network["hidden"] == vowels.HIDDEN[kind][1]


def test_every_number_of_the_guides_table_is_that_of_the_results():
    """Read here, not by the tool that writes it."""
    rows = re.findall(
        r"^\| ([\w-]+) \| (\d+) \| ([\d,]+) \| ([\d.]+) \[([\d.]+), ([\d.]+)\] \| (\d+) \|$", GUIDE, re.M
    )
    assert [row[0] for row in rows] == list(RESULTS["networks"])
    for kind, hidden, parameters, *mean, seconds in rows:
        network = RESULTS["networks"][kind]
        assert (int(hidden), int(parameters.replace(",", ""))) == (network["hidden"], network["parameters"])
        assert [float(value) for value in mean] == [
            round(100 * network["mean"][name], 1) for name in ("mean", "low", "high")
        ]
        assert float(seconds) == round(network["seconds"])
    assert f"mean of {RESULTS['seeds']} seeds" in GUIDE
    assert f"{RESULTS['epochs']} epochs" in GUIDE


def test_the_guide_names_the_best_and_what_comes_close():
    means = {kind: network["mean"] for kind, network in RESULTS["networks"].items()}
    best = max(means, key=lambda kind: means[kind]["mean"])
    close = {kind for kind in means if kind != best and means[kind]["high"] >= means[best]["low"]}
    (named, told) = re.search(r"^Highest: ([\w-]+)\. (Its interval .*)$", GUIDE, re.M).groups()
    assert named == best
    assert {kind for kind in means if kind in told} == close
