"""The controls of chapters 07 and 08: what each takes away; the committed summaries are those of their runs."""

from __future__ import annotations

import pytest
import torch
from support import ROOT

from sequential_fmnist.experiments.ablation import ABLATION
from sequential_fmnist.experiments.fair.controls import CONTROLS
from sequential_fmnist.experiments.fair.networks import BLIND, MemoryNet, MemorySpec, OwnRate, time_constants
from sequential_fmnist.experiments.fair.plan import FAIR
from sequential_fmnist.experiments.fair.tasks import Copying
from sequential_fmnist.experiments.frame import Study
from sequential_fmnist.experiments.where import WHERE
from sequential_fmnist.train import TrainingConfig
from snn_core.more.neuron import AdaptiveLIFNode
from snn_core.neuron import LIFNode

RESULTS = ROOT / "results"


def net(kind: str, start: str, **options) -> MemoryNet:
    torch.manual_seed(0)
    return MemoryNet(MemorySpec(kind, start, 200, **options), 9, 8, 5)


@pytest.mark.parametrize("study", [WHERE, CONTROLS], ids=lambda study: study.name)
def test_runs_that_count_have_seeds_of_their_own(study: Study):
    for record in study.store(RESULTS).records().values():
        assert record["seed"] >= 100 or record["spec"]["task"]["split"] == "validation"


def test_a_case_that_the_first_study_has_is_not_run_again():
    known, old = ABLATION.records(RESULTS), 0
    for case in WHERE.groups["waited"](known):
        keys = [spec.key() for spec in case.runs()]
        assert all(key in known for key in keys) == (case.first == 0)
        old += case.first == 0
    assert old == 3


def test_each_control_changes_one_thing():
    whole = time_constants(net("stateful synapse", "blind"))["synapse"]
    assert whole.max() / whole.min() > 100
    one = time_constants(net("stateful synapse", "blind, one tau"))["synapse"]
    assert one.tolist() == pytest.approx([(BLIND[0] * BLIND[1]) ** 0.5] * 200)
    assert time_constants(net("stateful synapse", "blind", learned=False)) == {}
    soft, hard = (net("stateful synapse", start).memory[0] for start in ("blind", "blind, hard reset"))
    assert (soft.v_reset, hard.v_reset) == (None, 0)
    assert torch.equal(soft.tau, hard.tau)


def test_slow_states_of_read_out_and_threshold_begin_as_a_synapse_does():
    known = {"distance": 70, "membrane": 1.0}
    for kind, place, number in (
        ("plain, leaky read-out", "read-out", 8),
        ("adaptive threshold", "threshold", 200),
    ):
        found = time_constants(net(kind, "informed", **known))
        assert found[place].tolist() == pytest.approx([280] * number)
        assert found["membrane"].tolist() == pytest.approx([70] * 200)
    assert type(net("plain, leaky read-out", "blind").memory[0]) is LIFNode
    assert type(net("adaptive threshold", "tutorial").memory[0]) is AdaptiveLIFNode


def test_delays_are_fixed_or_train_at_a_rate_of_their_own():
    fixed, own = (
        net(f"feedback, {words}", "blind") for words in ("fixed delays", "delays at a rate of their own")
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
