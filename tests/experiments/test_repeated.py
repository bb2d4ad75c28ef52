"""The published runs repeated: which updates a control skips, how a collapse is replayed, what the summary counts."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from sequential_fmnist.data import prepared
from sequential_fmnist.evaluate import COLLAPSE, falls
from sequential_fmnist.experiments.evidence import repeated_table
from sequential_fmnist.experiments.frame import execute, one_thread
from sequential_fmnist.experiments.repeated import (
    REPEATED,
    SKIPS,
    RepeatedTask,
    ReplayTask,
    SkipsAtRandom,
    replay,
    run_until,
)
from sequential_fmnist.train import Trainer, TrainingConfig, set_seed
from sequential_fmnist.variants import NetworkSpec

pytestmark = pytest.mark.xdist_group("experiments")

NETWORK = NetworkSpec("feedback", detach_reset="hidden")
TRAINING = TrainingConfig(epochs=2, drop_last=True, seed=3)


def test_random_skips_leave_five_batches_out_and_no_others(embedded):
    data = prepared(embedded[0])
    each, config = len(data) // 256, dataclasses.replace(TRAINING, epochs=8)
    orders = {}
    for kind in (SkipsAtRandom, Trainer):
        trainer = kind(NETWORK.build(), config)
        orders[kind] = []
        for trainer.epoch in range(config.epochs):
            orders[kind] += [
                tuple(batch) for batch in trainer._order(data)[: each * 256].view(-1, 256).tolist()
            ]
    assert len(orders[Trainer]) - len(orders[SkipsAtRandom]) == SKIPS
    assert set(orders[SkipsAtRandom]) < set(orders[Trainer])


@one_thread()
def test_a_replay_without_noise_is_the_run_itself(embedded):
    train, test = map(prepared, embedded)
    set_seed(3)
    trainer = Trainer(NETWORK.build(), TRAINING)
    run_until(trainer, train, test, 1)
    state = copy.deepcopy(trainer.net), copy.deepcopy(trainer.optimizer.state_dict()), 1
    run_until(trainer, train, test, 2)
    assert replay(TRAINING, *state, train, test) == trainer.history[-1]["test_accuracy"]
    assert replay(TRAINING, *state, train, test, size=0.5) != trainer.history[-1]["test_accuracy"]
    assert replay(dataclasses.replace(TRAINING, clip=1e-9), *state, train, test) == pytest.approx(
        trainer.history[0]["test_accuracy"], abs=0.1
    )


def test_a_fall_of_five_points_is_no_collapse():
    assert falls([0.7295, 0.6795, 0.6294, 0.7]) == [COLLAPSE, 0.0501, 0.0]  # 0.7295 - 0.6795 > 0.05


def test_a_summary_counts_replays_that_fall_again():
    falls, not_again = 0.6, 0.7
    run = {"replayed": [{"before": 0.75, "after": falls, "exact": falls, "rule": [not_again + 0.01],
                         "as is": [falls, not_again + 0.01, not_again - 0.01], "clipped": []}]}  # fmt: skip
    found = ReplayTask().more([run])
    assert found["exact"] == 1
    assert found["replays"]["as is"] == {"collapses": 1, "replays": 3, "fell": 2, "fell_of_each": [2]}
    assert found["replays"]["rule"]["fell"] == 0


def test_a_run_keeps_its_skipped_updates_and_the_table_shows_them():
    spec = dataclasses.replace(
        next(iter(REPEATED.groups["feedback_64"]({}))).spec,
        task=RepeatedTask(source="embedded"),
        training=dataclasses.replace(TRAINING, skip_overflow=True),
    )
    run = execute(spec)
    assert run["skipped"] == [0, 0]
    case = {"name": "64 epochs, as published, rule", "kind": "feedback", "values": [0.75, 0.76, 0.77],
            **spec.task.more([run, run | {"skipped": [3, 2]}, run])}  # fmt: skip
    published = {"runs": {"64 epochs": {"right": {"feedback": 7688}, "images": 10_000}}}
    table = repeated_table({"groups": {"feedback_64": [case]}}, published)
    assert "76.0 (75.0 to 77.0)" in table
    assert "0 to 5" in table
    assert "~~" not in table
    assert torch.isclose(torch.tensor(run["accuracy"]), torch.tensor(run["curve"][-1]), atol=1e-4)
