"""The frame: keys with every field, results that survive a kill, runs that are not repeated, statistics by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from scipy import stats
from support import ROOT

from sequential_fmnist.experiments import frame
from sequential_fmnist.experiments.fair.networks import MemorySpec
from sequential_fmnist.experiments.fair.tasks import Recall
from sequential_fmnist.experiments.frame import (
    Case,
    Spec,
    Store,
    Study,
    command,
    execute,
    key_of,
    sweep,
)
from sequential_fmnist.experiments.images import ImageTask
from sequential_fmnist.experiments.statistics import Estimate, compare, estimate, further_run, holm, share
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.options import option
from sequential_fmnist.train import TrainingConfig
from sequential_fmnist.variants import NetworkSpec

pytestmark = pytest.mark.xdist_group("experiments")

QUICK = ImageTask(source="embedded")


def quick(kind: str = "plain", seed: int = 0) -> Spec:
    """A run of one epoch on the embedded subset."""
    return Spec(NetworkSpec(kind), QUICK, TrainingConfig(epochs=1, seed=seed))


def fake(spec: Spec) -> dict[str, Any]:
    """A result that needs no training: the seed decides."""
    accuracy = 0.5 + spec.training.seed / 100
    run = {
        "key": spec.key(),
        "seed": spec.training.seed,
        "spec": spec.options(),
        "provenance": {"torch": "2"},
    }
    return run | {"accuracy": accuracy, "parameters": 1, "train_accuracy": 0.5, "spikes": None}


# Keys


OTHER = {
    "model": "feedback", "backend": "torch", "kind": "feedback", "surrogate_function": "sigmoid", "tau_mode": "frozen",
    "readout": "membrane", "opt": "adam", "lrs": "none", "loss": "cross-entropy", "order": "row", "device": "cuda",
    "split": "validation", "source": "auto", "detach_reset": "none", "cosa_tmax": 3, "clip": 1.0, "last": 7,
    "start": "blind", "membrane": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(("network", "task"), [(NetworkSpec(), ImageTask()), (MemorySpec(), Recall())])
def test_every_field_is_in_the_key(network, task):
    spec = Spec(network, task, TrainingConfig())
    keys = {spec.key()}
    for part in ("network", "task", "training"):
        default = getattr(spec, part)
        for field in dataclasses.fields(default):
            value = getattr(default, field.name)
            other = (not value) if isinstance(value, bool) else OTHER.get(field.name, value)
            if other == value:
                other = value + 1
            changed = dataclasses.replace(default, **{field.name: other})
            keys.add(dataclasses.replace(spec, **{part: changed}).key())
    fields = sum(len(dataclasses.fields(part)) for part in vars(spec).values())
    assert len(keys) == 1 + fields - 1  # all but fused, which only changes the rounding
    assert key_of(json.loads(json.dumps(spec.options())), spec.training.seed) == spec.key()


def test_a_key_does_not_depend_on_a_default():
    """A default that changes must not give kept runs to another spec."""
    options = quick().options()
    assert options["training"]["lr"] == 0.1
    assert options["network"]["class"] == "NetworkSpec"
    assert "seed" not in options["training"]


def test_a_new_option_changes_no_key_of_a_kept_run():
    @dataclasses.dataclass(frozen=True)
    class Younger(TrainingConfig):
        warmup: int = option(0, "epochs", 0, since=2)

    Younger.__name__ = "TrainingConfig"  # as if the field stood there
    spec = quick()
    same, other = (
        dataclasses.replace(spec, training=Younger(epochs=1, warmup=warmup)).key() for warmup in (0, 5)
    )
    assert same == spec.key() != other


def test_a_fused_run_is_kept_under_the_key_of_the_loop_and_says_so():
    spec = quick()
    fused = dataclasses.replace(spec, training=dataclasses.replace(spec.training, fused=True))
    assert fused.key() == spec.key()
    records = [execute(one) for one in (spec, fused)]
    assert [record["fused"] for record in records] == [False, True]
    assert records[0]["accuracy"] == pytest.approx(
        records[1]["accuracy"], abs=0.01
    )  # rounding may move a spike


# Keeping results


def test_store_gives_back_what_was_added_and_writes_once_what_runs_share(tmp_path):
    path = tmp_path / "folder" / "runs.jsonl"
    assert Store(path).records() == {}
    made = [fake(quick(seed=seed)) | {"provenance": {"torch": "22322"[seed]}} for seed in range(5)]
    for record in made:
        Store(path).add(record)
    assert list(Store(path).records().values()) == made
    assert path.read_text().count('"class"') == 3  # network, task and training, in one line
    assert path.read_text().count("\n") == 5 + 1 + 2


def test_a_line_cut_off_anywhere_costs_that_line_only(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    first, second, third = ({"key": key, "curve": [0.25, 0.5]} for key in "abc")
    store.add(first)
    whole = store.path.read_bytes()
    store.add(second)
    both = store.path.read_bytes()
    for end in range(len(whole), len(both)):
        store.path.write_bytes(both[:end])
        complete = end == len(both) - 1  # only the line's end is missing
        expected = {"a": first} | ({"b": second} if complete else {})
        assert store.records() == expected
        store.add(third)
        assert store.records() == expected | {"c": third}


def test_a_result_that_json_cannot_say_is_refused_before_the_file_is_touched(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    store.add({"key": "a"})
    with pytest.raises(ValueError, match="JSON compliant"):
        store.add({"key": "b", "accuracy": math.nan})
    assert store.path.read_text() == '{"key": "a"}\n'


# Sweeps


KILLED = """
import sys, time
from pathlib import Path
from sequential_fmnist.experiments import frame
from sequential_fmnist.experiments.frame import Spec, Store
from sequential_fmnist.train import TrainingConfig

folder, hang = Path(sys.argv[1]), sys.argv[2] == "hang"

def execute(spec):
    with (folder / "trace").open("a") as file:
        file.write(f"{spec.training.seed}\\n")
    if hang and spec.training.seed == 4:
        (folder / "hanging").touch()
        time.sleep(60)
    return {"key": spec.key(), "seed": spec.training.seed}

frame.execute = execute
specs = [Spec(TrainingConfig(), TrainingConfig(), TrainingConfig(seed=seed)) for seed in range(8)]
found = frame.sweep(specs, Store(folder / "runs.jsonl"), jobs=1)
print([record["seed"] for record in found])
"""


def test_after_kill_9_nothing_is_repeated_and_nothing_is_lost(tmp_path):
    argv = [sys.executable, "-c", KILLED, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    first = subprocess.Popen([*argv, "hang"], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "hanging").exists():
            assert first.poll() is None, "the sweep ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    kept = (tmp_path / "runs.jsonl").read_bytes()
    assert [json.loads(line)["seed"] for line in kept.splitlines()] == [0, 1, 2, 3]

    again = subprocess.run([*argv, "resume"], env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == "[0, 1, 2, 3, 4, 5, 6, 7]"
    assert (tmp_path / "runs.jsonl").read_bytes().startswith(kept)
    # Seed 4, which was running, is the only one that was executed twice.
    assert (tmp_path / "trace").read_text().split() == list("012344567")


@pytest.mark.nightly
def test_two_jobs_give_exactly_the_results_of_one(tmp_path):
    specs, found = [quick(kind, seed) for kind in TUTORIAL_NETWORKS for seed in (0, 1)], []
    for jobs in (1, 2):
        records = sweep(specs, Store(tmp_path / f"{jobs}.jsonl"), jobs)
        found.append([{k: r[k] for k in r.keys() - {"seconds", "began", "provenance"}} for r in records])
    assert found[0] == found[1]
    assert len({record["accuracy"] for record in found[0]}) > 3
    assert all(record["provenance"]["torch_threads"] == 1 for record in records)
    assert {"commit", "torch", "processor"} <= records[0]["provenance"].keys()
    assert records[0]["began"].startswith("20")


# Studies


def groups(seeds):
    def networks(_):
        """Does a network count?"""
        for kind in TUTORIAL_NETWORKS:
            yield Case("quick", kind, quick(kind), seeds, first=10 * TUTORIAL_NETWORKS.index(kind))

    return {"networks": networks}


PLACES = {kind: ("networks", "quick", kind) for kind in TUTORIAL_NETWORKS}
ONE = {"synapse over plain": (PLACES["plain"], PLACES["stateful-synapse"])}
TWO = ONE | {"feedback over synapse": (PLACES["stateful-synapse"], PLACES["feedback"])}


def test_a_study_runs_what_is_missing_once_and_says_what_it_found(tmp_path, monkeypatch, capsys):
    executed = []
    monkeypatch.setattr(frame, "execute", lambda spec: executed.append(spec.key()) or fake(spec))
    study = Study("mine", groups(4), TWO)
    for _ in range(2):
        command(study, argv=["networks", "--jobs", "1", "--folder", str(tmp_path)])
        assert len(executed) == len(set(executed)) == 12
    found = json.loads((tmp_path / "mine.json").read_text())
    assert found["runs"] == 12
    assert found["questions"] == {"networks": "Does a network count?"}
    assert [case["values"][0] for case in found["groups"]["networks"]] == [0.5, 0.6, 0.7]
    answer = found["comparisons"]["feedback over synapse"]
    assert answer["decided"] is False
    assert answer["gain"]["mean"] == pytest.approx(0.1)
    with pytest.raises(SystemExit, match="2"):
        command(study, argv=["sizes"])
    assert "no group sizes: there are networks" in capsys.readouterr().err


def test_a_pending_group_runs_only_if_it_is_named(tmp_path, monkeypatch):
    executed = []
    monkeypatch.setattr(frame, "execute", lambda spec: executed.append(spec.key()) or fake(spec))
    study = Study("mine", groups(1), pending=("networks",))
    for words, count in (((), 0), (("networks",), 3)):
        command(study, argv=[*words, "--jobs", "1", "--folder", str(tmp_path)])
        assert len(executed) == count


def test_check_runs_again_what_is_kept_with_a_seed_and_names_what_differs(tmp_path, monkeypatch, capsys):
    def options(*words):
        return [*words, "--jobs", "1", "--folder", str(tmp_path)]

    study = Study("mine", groups(2))
    monkeypatch.setattr(frame, "execute", fake)
    command(study, argv=options())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as left:
        command(study, argv=options("--check", "11"))
    assert left.value.code == 0
    assert "same: networks, quick, stateful-synapse, seed 11\n0 of 1 runs" in capsys.readouterr().out
    monkeypatch.setattr(frame, "execute", lambda spec: fake(spec) | {"accuracy": 0.61 + 1e-15, "seconds": 3})
    with pytest.raises(SystemExit) as left:
        command(study, argv=options("networks", "--check", "11"))
    assert left.value.code == 1
    assert (
        "differs: networks, quick, stateful-synapse, seed 11, accuracy 0.61, now" in capsys.readouterr().out
    )
    with pytest.raises(SystemExit, match="2"):
        command(study, argv=options("--check", "7"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_question_more_changes_no_p_of_another_study():
    records = {spec.key(): fake(spec) for case in groups(6)["networks"]({}) for spec in case.runs()}
    alone, both = (Study("mine", groups(6), asked).summary(records) for asked in (ONE, TWO))
    other = Study("other", groups(6), ONE).summary(records)
    (question,) = ONE
    assert both["comparisons"][question]["p_holm"] == pytest.approx(2 * both["comparisons"][question]["p"])
    assert alone["comparisons"] == other["comparisons"]
    assert alone["comparisons"][question]["p_holm"] == alone["comparisons"][question]["p"]


def test_a_failed_run_counts_as_chance_and_missing_runs_leave_a_case_out(tmp_path):
    case = next(iter(groups(3)["networks"]({})))
    records = {spec.key(): fake(spec) for spec in case.runs()}
    records[case.runs()[1].key()] |= {"accuracy": None, "error": "not finite"}
    found = Study("mine", groups(3), ONE).summary(records)
    (only,) = found["groups"]["networks"]
    assert (only["kind"], only["values"], only["failed"]) == ("plain", [0.5, 0.1, 0.52], 1)
    assert found["comparisons"] == {}


# Statistics


def test_estimate_by_hand():
    # Mean 2, standard deviation 1, t = 4.302653 for 2 degrees of freedom.
    found, half = estimate([1.0, 2.0, 3.0]), 4.302653 / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-6)
    assert estimate([0.75]) == Estimate(0.75, None, None, 1)
    assert estimate([0.5, 0.5]) == Estimate(0.5, 0.5, 0.5, 2)
    with pytest.raises(ValueError, match="values is empty"):
        estimate([])


def test_share_by_hand():
    """Of ten of ten runs: the lower end is the p for which p^10 is 0.025."""
    found = share([0.95] * 10, 0.95)
    assert (found.mean, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025**0.1, abs=1e-6)
    assert share([0.94, 0.95], 0.95).mean == 0.5


def test_prediction_interval_by_hand():
    low, high, density = further_run([1.0, 2.0, 3.0], 2.0)
    assert (low + high) / 2 == pytest.approx(2)
    assert high - 2 == pytest.approx(4.302653 * math.sqrt(4 / 3), abs=1e-5)
    assert density == pytest.approx(1 / math.sqrt(8) / math.sqrt(4 / 3))  # t of 2 degrees of freedom at 0


def test_compare_by_hand():
    a, b = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]
    found = compare(a, b)
    assert found.gain.mean == pytest.approx(0.4)
    assert found.p == pytest.approx(2 / math.comb(8, 4))  # all of b above all of a: 2 of 70 orders
    assert (found.above, compare([0.1, 0.5], [0.5, 0.2]).above) == (1, 2.5 / 4)
    assert found.gain.low == pytest.approx(0.4 - stats.t.ppf(0.975, 6) * math.sqrt(1 / 60 / 2), abs=1e-6)
    assert compare([0.5, 0.5], [0.5, 0.5]).p == 1
    with pytest.raises(ValueError, match="got 2 and 1"):
        compare([0.5, 0.6], [0.5])


def test_holm_by_hand():
    """Smallest first: 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not fall below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []
