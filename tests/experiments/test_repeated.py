"""The published runs repeated: which updates a control skips, how a collapse is replayed, what the summary counts."""

from __future__ import annotations

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
    one_epoch,
    random_skips_of,
    replay,
    state_of,
)
from sequential_fmnist.train import Trainer, TrainingConfig, fit, set_seed
from sequential_fmnist.variants import NetworkSpec

pytestmark = pytest.mark.xdist_group("experiments")

NETWORK = NetworkSpec("feedback", detach_reset="hidden")
TRAINING = TrainingConfig(epochs=2, drop_last=True, seed=3)


def test_random_skips_leave_five_batches_out_and_no_others():
    config, each = dataclasses.replace(TRAINING, epochs=8), 23
    select, left = random_skips_of(config), []
    for epoch in range(config.epochs):
        order = torch.randperm(each * 256, generator=torch.Generator().manual_seed(epoch))
        whole, some = (part.view(-1, 256).tolist() for part in (order, select(epoch, order)))
        left.append(len(whole) - len(some))
        assert some == [batch for batch in whole if batch in some]
    assert sum(left) == SKIPS
    assert max(left) < SKIPS  # spread over the run


def test_a_run_with_random_skips_loses_these_updates(embedded):
    """Weights differ from those of the whole run, and so does the number of samples that were seen."""
    seen, config = [], dataclasses.replace(TRAINING, epochs=1)
    fit(
        NETWORK.build(), embedded[0], config=config, select=lambda _, order: seen.append(order) or order[:512]
    )
    select = random_skips_of(config)
    kept = select(0, seen[0])
    assert len(seen[0]) - len(kept) == SKIPS * 256
    nets = []
    for chosen in (select, None):
        set_seed(3)
        nets.append(NETWORK.build())
        fit(nets[-1], embedded[0], config=config, select=chosen)
    assert not torch.equal(nets[0].fc1.weight, nets[1].fc1.weight)


@one_thread()
def test_a_replay_without_noise_is_the_run_itself(embedded):
    train, test = map(prepared, embedded)
    set_seed(3)
    trainer = Trainer(NETWORK.build(), TRAINING)
    first = one_epoch(trainer, train, test)
    state = state_of(trainer)
    second = one_epoch(trainer, train, test)
    assert replay(TRAINING, state, train, test) == second
    assert replay(TRAINING, state, train, test, 0.5) != second
    assert replay(dataclasses.replace(TRAINING, clip=1e-9), state, train, test) == pytest.approx(
        first, abs=0.1
    )
    set_seed(3)
    whole = fit(NETWORK.build(), *embedded, TRAINING)
    assert [one["test_accuracy"] for one in whole] == [first, second]


def test_a_fall_of_five_points_is_no_collapse():
    assert falls([0.7295, 0.6795, 0.6294, 0.7]) == [COLLAPSE, 0.0501, 0.0]  # 0.7295 - 0.6795 > 0.05


def test_a_summary_counts_replays_that_fall_again_and_takes_a_state_as_one_value():
    falls, not_again = 0.6, 0.71
    state = {"before": 0.75, "after": falls, "exact": falls, "clipped": [not_again], "rule": [0.71]}
    first, second = ([falls, not_again, 0.69, falls], [falls, not_again, not_again, not_again])
    run = {"replayed": [state | {"as is": first}, state | {"as is": second}]}
    found = ReplayTask().more([run])
    assert found["exact"] == 2
    again = found["replays"]["as is"]
    assert (again["collapses"], again["replays"], again["fell"], again["fell_of_each"]) == (2, 8, 4, [3, 1])
    share = again["share"]  # of two states one quarter of the draws has the second twice
    assert (share["mean"], share["low"], share["high"], share["n"]) == (0.5, 0.25, 0.75, 2)
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
    other = case | {"name": "64 epochs, as published, float32", "values": [0.65, 0.66, 0.67]}
    table = repeated_table({"groups": {"feedback_64": [other, case]}}, published)
    assert "76.0 (75.0 to 77.0)" in table
    assert "0 to 5" in table
    first, second = table.splitlines()[2:]
    assert "~~" in first and "~~" not in second
    t = [1 + ((x - 0.7688) / 0.01) ** 2 / (4 / 3) / 2 for x in (0.66, 0.76)]  # both have s = 0.01 and n = 3
    assert float(second.split("|")[-2]) == pytest.approx((t[0] / t[1]) ** 1.5, rel=0.05)
    assert torch.isclose(torch.tensor(run["accuracy"]), torch.tensor(run["curve"][-1]), atol=1e-4)
