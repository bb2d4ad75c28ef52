"""A fair start: each network begins where its start says, the search is equal, and planted outcomes come out."""

from __future__ import annotations

import json
import math

import pytest
import torch
from support import ROOT

from sequential_fmnist.experiments.ablation import ABLATION
from sequential_fmnist.experiments.fair import plan
from sequential_fmnist.experiments.fair.controls import CONTROLS
from sequential_fmnist.experiments.fair.networks import (
    BLIND,
    GATED,
    SPIKING,
    MemoryNet,
    MemorySpec,
    OwnRate,
    hidden_for,
    parameters_of,
    time_constants,
)
from sequential_fmnist.experiments.fair.plan import FAIR
from sequential_fmnist.experiments.fair.tasks import Copying, Recall
from sequential_fmnist.experiments.frame import Spec, Study, execute
from sequential_fmnist.experiments.where import WHERE
from sequential_fmnist.train import TrainingConfig
from snn_core.more.neuron import AdaptiveLIFNode
from snn_core.neuron import IFNode, LIFNode


def net(kind: str, start: str, hidden: int = 8, **options) -> MemoryNet:
    torch.manual_seed(0)
    return MemoryNet(MemorySpec(kind, start, hidden, **options), 9, 8, 5)


def neurons(network: MemoryNet) -> torch.nn.Module:
    return next(module for module in network.modules() if isinstance(module, IFNode | LIFNode))


@pytest.mark.parametrize("kind", SPIKING)
def test_the_tutorial_starts_with_if_neurons_and_tau_2(kind):
    network = net(kind, "tutorial")
    assert type(neurons(network)) is IFNode
    assert neurons(network).v_reset == 0
    taus = [value for name, value in time_constants(network).items() if name == "synapse"]
    assert all(tau.tolist() == [2.0] for tau in taus)
    assert len(taus) == ("synapse" in kind or "LINode" in kind or "SynapseFilter" in kind)


@pytest.mark.parametrize("kind", SPIKING)
def test_blind_time_constants_are_log_uniform_whatever_the_distance(kind):
    torch.manual_seed(0)
    found = time_constants(MemoryNet(MemorySpec(kind, "blind", 2_000 if kind == "plain" else 50), 9, 8, 5))
    found.pop("delay", None)
    for tau in found.values():
        assert BLIND[0] * 0.999 <= tau.min() and tau.max() <= BLIND[1] * 1.001
        assert tau.log().mean().item() == pytest.approx(sum(map(math.log, BLIND)) / 2, rel=0.25)
    told = (net(kind, "blind", distance=d).state_dict() for d in (50, 500))
    assert all(torch.equal(a, b) for a, b in zip(*(d.values() for d in told), strict=True))


def test_informed_networks_are_told_the_distance():
    known = {"distance": 70, "membrane": 4.0}
    assert time_constants(net("stateful synapse", "informed", **known))["synapse"] == pytest.approx(280)
    assert time_constants(net("plain", "informed", **known))["membrane"] == pytest.approx(280)
    assert type(neurons(net("plain", "informed", membrane=None))) is IFNode
    loop = net("feedback", "informed", recurrent_gain=0.0).memory[0].rc.weight[:, 8:]
    assert torch.equal(loop, 1.2 * torch.eye(8))


@pytest.mark.parametrize("kind", GATED)
def test_chrono_gates_keep_the_state_for_up_to_t_max_steps(kind):
    """Constant input of 0: a state decays by the gates' 1 - sigmoid(log u) = 1 / (1 + u), u from 1 to T_max - 1."""
    rnn = net(kind, "informed", distance=100).rnn
    keep, h = slice(8, 16), 8
    bias = rnn.bias_ih_l0 + rnn.bias_hh_l0
    u = bias[keep].exp()
    assert u.min() >= 1 and u.max() <= 99
    assert not rnn.weight_hh_l0[keep].any()
    if kind == "LSTM":
        assert torch.allclose(bias[:h], -bias[keep])
        assert not rnn.weight_hh_l0[:h].any()
    state = torch.ones(1, 1, h)
    with torch.no_grad():
        rnn.weight_ih_l0.zero_()
        rnn.weight_hh_l0.zero_()
        for gate in range(2, 4 if kind == "LSTM" else 3):
            (rnn.bias_ih_l0[8 * gate : 8 * gate + 8], rnn.bias_hh_l0[8 * gate : 8 * gate + 8]) = 0, 0
        kept = rnn(torch.zeros(1, 1, 9), state if kind == "GRU" else (state, state))[1]
    cell = kept if kind == "GRU" else kept[1]
    assert torch.allclose(cell.flatten(), u / (1 + u), atol=1e-6)


@pytest.mark.parametrize("kind", [*SPIKING, *GATED])
@pytest.mark.parametrize("start", ["tutorial", "blind", "informed"])
def test_sizes_and_recipes_are_equal(kind, start):
    hidden = hidden_for(kind, start, 9, 8, plan.PARAMETERS)
    sizes = [
        parameters_of(MemoryNet(MemorySpec(kind, start, n, membrane=1.0), 9, 8, 5))
        for n in (hidden, hidden + 1)
    ]
    assert sizes[0] <= plan.PARAMETERS < sizes[1]
    recipes = plan.recipes_of(kind, start)
    assert len({json.dumps(recipe, sort_keys=True) for recipe in recipes}) == 12


@pytest.mark.parametrize("task", [Recall(7), Copying(7)], ids=["recall", "copying"])
def test_nothing_but_the_cue_tells_the_answer(task):
    """Without noise the steps after the cue are the same for every sequence, and the fixed sets are two."""
    x_seq, target = task.clean(torch.Generator().manual_seed(0), 50)
    after = x_seq[len(x_seq) - task.window - task.distance :]
    assert (after == after[:, :1]).all()
    assert len(after[: -task.window]) == 7
    assert not after[: -task.window].any()
    assert target.shape == ((task.window, 50) if task.each else (50,))
    first, second = (task.fixed(split)[0][0] for split in ("validation", "test"))
    assert not torch.equal(first, second)


def test_a_synapse_learns_a_short_recall():
    training = TrainingConfig(epochs=200, batch_size=32, lr=0.01, opt="adam", loss="cross-entropy", clip=1.0)
    record = execute(Spec(MemorySpec("stateful synapse", "blind", 40), Recall(10), training))
    assert record["accuracy"] > 0.9
    assert record["steps"] in (100, 200)
    ((start, end),) = [record["learned"]["synapse"]]
    assert start != end


def test_the_best_recipe_is_taken_and_the_test_set_chooses_nothing():
    runs = plan._searched("recall", "feedback", "blind")
    assert {spec.task.split for specs in runs for spec in specs} == {"validation"}
    records = {spec.key(): {"accuracy": 0.5, "steps": 1000} for specs in runs for spec in specs}
    assert plan.chosen(records, "recall", "feedback", "informed") is None
    for spec in runs[7]:
        records[spec.key()] = {"accuracy": 0.6, "steps": 1000}
    for spec in runs[3]:
        records[spec.key()] = {"accuracy": None}
    assert plan.chosen(records, "recall", "feedback", "blind") == 7
    spec = plan.final(records, "recall", "feedback", "blind", 500)
    assert (spec.task.split, spec.task.distance) == ("test", 500)
    assert spec.training.lr == plan.RECIPES[7]["lr"]


@pytest.mark.parametrize("study", [FAIR, WHERE, CONTROLS], ids=lambda study: study.name)
def test_the_seeds_of_the_search_count_nowhere_else(study: Study):
    for record in study.store(ROOT / "results").records().values():
        assert (record["seed"] in plan.SEARCH_SEEDS) == (record["spec"]["task"]["split"] == "validation")
        assert record["seed"] in plan.SEARCH_SEEDS or record["seed"] >= plan.FIRST


def test_runs_that_count_follow_the_search_and_planted_contrasts_come_out():
    records = {}
    for group in ("fair-recall-search", "fair-recall"):
        for case in FAIR.groups[group](records):
            level = 0.9 if (case.name, case.kind) == ("blind", "stateful synapse") else 0.1
            for spec in case.runs():
                made = {"accuracy": level + spec.training.seed / 1e4, "steps": 100, "learned": {}}
                records[spec.key()] = made | {"spec": spec.options(), "provenance": {}}
    found = FAIR.summary(records)
    assert found["runs"] == len(records) == 7 * 3 * 48 + 3 * 3 * (5 * 20 + 2 * 10)
    contrasts = list(found["comparisons"].values())
    assert [each["decided"] for each in contrasts] == [False, True, False, False, False, False]
    assert contrasts[1]["p_holm"] == pytest.approx(6 * contrasts[1]["p"])
    assert "fair-recall-search" not in found["groups"]


# Controls of chapters 07 and 08


def test_a_case_that_the_first_study_has_is_not_run_again():
    known, old = ABLATION.records(ROOT / "results"), 0
    for case in WHERE.groups["waited"](known):
        keys = [spec.key() for spec in case.runs()]
        assert all(key in known for key in keys) == (case.first == 0)
        old += case.first == 0
    assert old == 3


def test_each_control_changes_one_thing():
    whole = time_constants(net("stateful synapse", "blind", 200))["synapse"]
    assert whole.max() / whole.min() > 100
    one = time_constants(net("stateful synapse", "blind, one tau", 200))["synapse"]
    assert one.tolist() == pytest.approx([(BLIND[0] * BLIND[1]) ** 0.5] * 200)
    assert time_constants(net("stateful synapse", "blind", 200, learned=False)) == {}
    soft, hard = (net("stateful synapse", start, 200).memory[0] for start in ("blind", "blind, hard reset"))
    assert (soft.v_reset, hard.v_reset) == (None, 0)
    assert torch.equal(soft.tau, hard.tau)


def test_slow_states_of_read_out_and_threshold_begin_as_a_synapse_does():
    known = {"distance": 70, "membrane": 1.0}
    for kind, place, number in (
        ("plain, leaky read-out", "read-out", 8),
        ("adaptive threshold", "threshold", 200),
    ):
        found = time_constants(net(kind, "informed", 200, **known))
        assert found[place].tolist() == pytest.approx([280] * number)
        assert found["membrane"].tolist() == pytest.approx([70] * 200)
    assert type(net("plain, leaky read-out", "blind").memory[0]) is LIFNode
    assert type(net("adaptive threshold", "tutorial").memory[0]) is AdaptiveLIFNode


def test_delays_are_fixed_or_train_at_a_rate_of_their_own():
    fixed, own = (
        net(f"feedback, {words}", "blind", 200) for words in ("fixed delays", "delays at a rate of their own")
    )
    assert "delay" not in time_constants(fixed)
    training = TrainingConfig(epochs=10, lr=0.01, opt="adam")
    assert fixed.pace(training) is None
    pace, loop = own.pace(training), own.memory[0]
    optimizer, before = torch.optim.Adam(own.parameters(), lr=0.01), loop.delay.detach().clone()
    sigmas = [loop.sigma]
    for _ in range(5):
        optimizer.zero_grad()
        (loop.delay.sum() + own.fc2.weight.sum()).backward()
        optimizer.step()
        pace()
        sigmas.append(loop.sigma)
    # Adam's step is its learning rate where the gradient stays the same.
    assert (before - loop.delay).detach().tolist() == pytest.approx([5 * OwnRate.RATE] * 200, rel=1e-3)
    assert sigmas == pytest.approx([loop.max_delay / 3 * (1 - k / 5) for k in range(6)])
    assert pace.is_over


def test_training_does_not_end_while_delays_are_spread(monkeypatch):
    monkeypatch.setattr(Copying, "measure", lambda *_: 1.0)
    spec = MemorySpec("feedback, delays at a rate of their own", "blind", 4, max_delay=8)
    training = TrainingConfig(epochs=400, batch_size=2, lr=0.01, opt="adam", loss="cross-entropy")
    task = Copying(1)
    assert task.train(spec.build(task), training) == 200
    assert FAIR is CONTROLS.after
