"""The ablation's engine: results that survive a kill, runs that are not repeated, data that stay apart, statistics."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from support import ROOT

from experiments import __main__ as command
from experiments import engine, grid, runs
from experiments.engine import sweep
from experiments.grid import GROUPS, cases
from experiments.networks import NetworkSpec, build
from experiments.report import write
from experiments.results import Store
from experiments.runs import DataSpec, RunSpec, execute, train
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.train import TrainingConfig

pytestmark = pytest.mark.xdist_group("experiments")

QUICK = DataSpec(source="embedded")


def quick(kind: str = "plain", seed: int = 0, **options) -> RunSpec:
    """A run of one epoch on the embedded subset."""
    return RunSpec(NetworkSpec(kind, **options), TrainingConfig(epochs=1, seed=seed), QUICK)


def fake(spec: RunSpec) -> dict:
    """A result that needs no training."""
    return {"key": spec.key(), "seed": spec.training.seed, "accuracy": 0.5, "provenance": {"torch": "2"}}


def lasting(records: list[dict]) -> list[dict]:
    """Results without what differs from one execution to the next."""
    return [{name: r[name] for name in r.keys() - {"seconds", "provenance"}} for r in records]


@pytest.fixture
def one_thread():
    """Runs take one thread for themselves; give the others theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# Keeping results


def test_store_gives_back_what_was_added(tmp_path):
    store = Store(tmp_path / "folder" / "runs.jsonl")
    assert store.records() == {}
    first, second = {"key": "a", "accuracy": 0.5, "curve": [0.1, 0.5]}, {"key": "b", "accuracy": None}
    store.add(first)
    store.add(second)
    assert store.records() == Store(store.path).records() == {"a": first, "b": second}
    assert store.path.read_text().count("\n") == 2


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
        store.add(second)
        assert store.records() == {"a": first, "b": second, "c": third}


def test_provenance_is_written_once_and_belongs_to_each_result(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    made = [{"key": key, "provenance": {"torch": torch}} for key, torch in zip("abcd", "2232", strict=True)]
    for record in made:
        Store(store.path).add(record)
    assert list(store.records().values()) == made
    lines = store.path.read_text().splitlines()
    assert [line.startswith('{"provenance": ') for line in lines] == [True, False, False, True, False, False]


def test_a_result_that_json_cannot_say_is_refused_before_the_file_is_touched(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    store.add({"key": "a"})
    with pytest.raises(ValueError, match="JSON compliant"):
        store.add({"key": "b", "accuracy": math.nan})
    assert store.path.read_text() == '{"key": "a"}\n'


KILLED = """
import sys, time
from pathlib import Path
from experiments import engine
from experiments.results import Store
from experiments.runs import RunSpec
from sequential_fmnist.train import TrainingConfig

folder, hang = Path(sys.argv[1]), sys.argv[2] == "hang"

def execute(spec):
    with (folder / "trace").open("a") as file:
        file.write(f"{spec.training.seed}\\n")
    if hang and spec.training.seed == 4:
        (folder / "hanging").touch()
        time.sleep(60)
    return {"key": spec.key(), "seed": spec.training.seed}

engine.execute = execute
specs = [RunSpec(training=TrainingConfig(seed=seed)) for seed in range(8)]
found = engine.sweep(specs, Store(folder / "runs.jsonl"), jobs=1)
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

    again = subprocess.run([*argv, "go on"], env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == "[0, 1, 2, 3, 4, 5, 6, 7]"
    assert (tmp_path / "runs.jsonl").read_bytes().startswith(kept)
    # Seed 4, which was running, is the only one that was executed twice.
    assert (tmp_path / "trace").read_text().split() == list("012344567")


# Names of runs


OTHER = {
    "kind": "feedback", "surrogate_function": "sigmoid", "tau_mode": "frozen",
    "readout": "membrane", "model": "feedback", "opt": "adam", "lrs": "none", "loss": "cross-entropy",
    "order": "row", "device": "cuda", "backend": "torch", "split": "validation", "source": "embedded",
    "last": 7, "detach_reset": "none", "cosa_tmax": 3, "clip": 1.0, "momentum": 0.5, "detach_readout": False,
}  # fmt: skip


def other_value(name: str, value: object) -> object:
    """A valid value of a field that is not its default."""
    if isinstance(value, bool):
        return not value
    return OTHER[name] if name in OTHER else value + 1


def changed_by_one_field() -> dict[str, RunSpec]:
    """A run for each field of a run, differing from the default run in nothing else."""
    found = {}
    for part in dataclasses.fields(RunSpec):
        default = getattr(RunSpec(), part.name)
        for field in dataclasses.fields(default):
            change = {field.name: other_value(field.name, getattr(default, field.name))}
            if field.name == "cuda_graph":
                change |= {"device": "cuda"}  # which it asks for
            found[f"{part.name}.{field.name}"] = RunSpec(
                **{part.name: dataclasses.replace(default, **change)}
            )
    return found


def test_key_differs_by_every_field():
    specs = {"nothing": RunSpec()} | changed_by_one_field()
    assert len(specs) == 1 + sum(
        len(dataclasses.fields(part)) for part in (NetworkSpec, TrainingConfig, DataSpec)
    )
    keys = {name: spec.key() for name, spec in specs.items()}
    assert len(set(keys.values())) == len(keys)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys.values())
    assert len({RunSpec(training=TrainingConfig(seed=seed)).key() for seed in range(50)}) == 50


def test_key_says_the_same_for_the_same_run_however_it_was_written():
    written = RunSpec(NetworkSpec(hidden=32), TrainingConfig(lr=0.1, seed=0), DataSpec(delay=0))
    assert written.key() == RunSpec().key()
    assert written.changed() == {}


def test_results_in_the_repository_carry_the_names_of_their_runs():
    for file, option in (("ablation_runs.jsonl", "data"), ("fair_runs.jsonl", "task")):
        records = Store(ROOT / "results" / file).records()
        assert records
        for key, record in records.items():
            text = json.dumps([record["changed"], record["seed"]], sort_keys=True)
            assert hashlib.sha256(text.encode()).hexdigest()[:16] == key
            assert record["provenance"]["torch"]
            # A run on the embedded subset must not be shown as a result.
            assert "source" not in record["changed"].get(option, {})
    # Written down, so that a change of how keys are made does not orphan the results.
    search = RunSpec(training=TrainingConfig(epochs=8), data=DataSpec(split="validation"))
    assert search.key() == "689e8622ee903b05"


def test_summary_in_the_repository_is_that_of_the_runs(tmp_path):
    write(Store(ROOT / "results" / "ablation_runs.jsonl").records(), tmp_path / "ablation.json")
    kept = (ROOT / "results" / "ablation.json").read_bytes()
    assert (tmp_path / "ablation.json").read_bytes() == kept
    assert len(kept) < 100_000


# Sweeps


def test_sweep_executes_what_is_missing_once_and_keeps_the_order(tmp_path, monkeypatch):
    executed = []
    monkeypatch.setattr(engine, "execute", lambda spec: executed.append(spec.training.seed) or fake(spec))
    store = Store(tmp_path / "runs.jsonl")
    sweep([quick(seed=1)], store, jobs=1)
    found = sweep([quick(seed=seed) for seed in (2, 1, 0, 2)], store, jobs=1)
    assert executed == [1, 2, 0]
    assert [record["seed"] for record in found] == [2, 1, 0]
    sweep([quick(seed=seed) for seed in (0, 1, 2)], Store(store.path), jobs=1)
    assert executed == [1, 2, 0]


def test_results_are_kept_when_a_later_run_breaks(tmp_path, monkeypatch):
    def breaks(spec):
        if spec.training.seed == 2:
            raise RuntimeError("broken")
        return fake(spec)

    monkeypatch.setattr(engine, "execute", breaks)
    store = Store(tmp_path / "runs.jsonl")
    with pytest.raises(RuntimeError, match="broken"):
        sweep([quick(seed=seed) for seed in range(4)], store, jobs=1)
    assert {record["seed"] for record in store.records().values()} == {0, 1}


SPECS = [quick(kind, seed) for kind in NETWORKS for seed in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[dict]:
    """The results of SPECS, executed one after the other."""
    before = torch.get_num_threads()
    found = sweep(SPECS, Store(tmp_path_factory.mktemp("alone") / "runs.jsonl"), jobs=1)
    torch.set_num_threads(before)
    return found


def test_two_jobs_give_exactly_the_results_of_one(alone, tmp_path):
    side_by_side = sweep(SPECS, Store(tmp_path / "runs.jsonl"), jobs=2)
    assert lasting(side_by_side) == lasting(alone)
    assert len({record["accuracy"] for record in alone}) > 3


def test_unknown_group_is_one_line_and_names_the_groups(capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(["sizes"])
    assert exit_.value.code == 2
    assert "no group sizes: there are best, reproduction" in capsys.readouterr().err


# One run


def test_a_run_keeps_what_it_says(alone, one_thread, embedded):
    spec = quick("feedback", 1)
    record = alone[SPECS.index(spec)]
    net, history = train(spec)
    test = embedded[1]
    spikes = net.hidden_spikes(test.images.float() / 255).sum().item() / len(test)
    for module in net.modules():
        if hasattr(module, "reset"):
            module.reset()
    assert record["key"] == spec.key()
    assert record["changed"] == {
        "network": {"kind": "feedback"},
        "training": {"epochs": 1, "seed": 1},
        "data": {"source": "embedded"},
    }
    assert (record["seed"], record["parameters"]) == (1, 3338)
    assert record["accuracy"] == evaluate(net, test)[1] == history[-1]["test_accuracy"]
    assert record["curve"] == [round(history[-1]["test_accuracy"], 4)]
    assert record["train_accuracy"] == history[-1]["train_accuracy"]
    assert record["spikes"] == pytest.approx(spikes)
    assert spikes > 1
    assert record["seconds"] > 0
    assert record["provenance"]["torch_threads"] == 1


def test_batch_normalisation_is_folded_away_in_what_is_kept(one_thread):
    record = execute(quick(batch_norm=True))
    assert record["parameters"] == 1258
    assert record["accuracy"] == pytest.approx(record["curve"][-1], abs=0.002)  # rounding may move a spike


def test_a_run_that_diverges_is_kept_as_one_that_failed(one_thread, tmp_path):
    network = NetworkSpec(readout="membrane", scale=1e40)  # infinite in fp32
    record = execute(RunSpec(network, TrainingConfig(epochs=1, loss="cross-entropy"), QUICK))
    assert record["accuracy"] is None
    assert "is not finite" in record["error"]
    Store(tmp_path / "runs.jsonl").add(record)


# Data


class Numbered:
    """100 training images and 30 test images, each of which can be told from the others."""

    loaded: list[bool]

    def __init__(self, train, order="column", source="auto", verbose=True):
        self.loaded.append(train)
        n = 100 if train else 30
        self.labels = torch.arange(n) + (0 if train else 1000)
        self.images = self.labels.view(n, 1, 1, 1).expand(n, 1, 28, 28)

    def __len__(self):
        return len(self.labels)


@pytest.fixture
def numbered(monkeypatch):
    monkeypatch.setattr(Numbered, "loaded", [], raising=False)
    monkeypatch.setattr(runs, "SequentialFashionMNIST", Numbered)
    return Numbered.loaded


def split(spec: DataSpec):
    return runs.splits.__wrapped__(spec)  # past the cache


def test_validation_images_are_not_trained_on_and_the_test_set_is_never_loaded(numbered):
    train_part, held = split(DataSpec(split="validation"))
    assert numbered == [True]
    assert (len(train_part), len(held)) == (90, 10)
    assert sorted(torch.cat([train_part.labels, held.labels]).tolist()) == list(range(100))
    for part in (train_part, held):
        assert torch.equal(part.images[:, 0, 0, 0], part.labels)
    again = split(DataSpec(split="validation", delay=3))[1]
    assert torch.equal(again.labels, held.labels)  # the same images whatever is done to them
    assert not torch.equal(held.labels.sort().values, torch.arange(10))


def test_the_test_split_is_all_of_both(numbered):
    train_part, test = split(DataSpec())
    assert sorted(numbered) == [False, True]
    assert torch.equal(train_part.labels, torch.arange(100))
    assert torch.equal(test.labels, torch.arange(30) + 1000)


def test_a_whole_run_on_validation_images_never_loads_the_test_set(monkeypatch, one_thread):
    loaded, real = [], runs.SequentialFashionMNIST

    def spy(train, **options):
        loaded.append(train)
        return real(train=train, **options)

    monkeypatch.setattr(runs, "SequentialFashionMNIST", spy)
    runs.splits.cache_clear()
    spec = dataclasses.replace(quick(), data=dataclasses.replace(QUICK, split="validation"))
    assert 0 < execute(spec)["accuracy"] < 1
    assert loaded == [True]


def test_delay_appends_blank_columns(embedded):
    for given, data in zip(embedded, split(dataclasses.replace(QUICK, delay=5)), strict=True):
        assert data.images.shape[1:] == (1, 28, 33)
        assert data.images.dtype == torch.uint8
        assert torch.equal(data.images[..., :28], given.images)
        assert not data.images[..., 28:].any()
        assert torch.equal(data.labels, given.labels)


def test_permuted_columns_are_in_one_fixed_random_order(embedded):
    parts = split(dataclasses.replace(QUICK, permuted=True))
    orders = []
    for given, data in zip(embedded, parts, strict=True):
        columns = given.images[:200].permute(3, 0, 1, 2).flatten(1)
        permuted = data.images[:200].permute(3, 0, 1, 2).flatten(1)
        same = (permuted.unsqueeze(1) == columns.unsqueeze(0)).all(2)
        assert torch.equal(same.sum(0), torch.ones(28, dtype=torch.int64))
        orders.append(same.int().argmax(1))
    assert torch.equal(orders[0], orders[1])
    assert (orders[0] != torch.arange(28)).sum() > 20
    late = split(dataclasses.replace(QUICK, permuted=True, delay=2))[1]
    assert torch.equal(late.images[..., :28], parts[1].images)  # the blank columns still come last


def test_order_row_turns_the_images(embedded):
    for given, data in zip(embedded, split(dataclasses.replace(QUICK, order="row")), strict=True):
        assert torch.equal(data.images, given.images.transpose(2, 3))
    assert not torch.equal(data.images, given.images)


# The grid


def test_every_case_has_a_name_seeds_and_keys_of_its_own():
    for name, group in cases().items():
        assert GROUPS[name].__doc__
        assert len({(case.kind, case.name) for case in group}) == len(group)
        for case in group:
            specs = case.runs()
            assert [spec.training.seed - case.first for spec in specs] == list(range(case.seeds))
            assert len({spec.key() for spec in specs}) == case.seeds >= 1
            assert case.kind == case.spec.network.kind


def test_wider_plain_network_has_about_the_parameters_of_the_feedback_network():
    counts = [
        sum(p.numel() for p in build(spec).parameters())
        for spec in (NetworkSpec("plain", hidden=grid.MATCHED), NetworkSpec("feedback"))
    ]
    assert counts == [3364, 3338]


def test_the_command_executes_each_run_once_and_the_runs_that_count_follow_the_search(tmp_path, monkeypatch):
    executed = []

    def outcome(spec):
        executed.append(spec.key())
        found = fake(spec) | {
            "changed": spec.changed(),
            "seconds": 1.0,
            "steps": 100,
            "parameters": 1,
            "learned": {},
        }
        return found | {"train_accuracy": 0.5, "spikes": None, "curve": [0.5]}

    monkeypatch.setattr(engine, "execute", outcome)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a thousand waits for the disk
    path = tmp_path / "runs.jsonl"
    argv = ["best", "fair-copying-search", "fair-copying", "--jobs", "1", "--runs", str(path)]
    command.main(argv)
    assert len(executed) == len(set(executed)) == 30 + 768 + 480
    before = path.read_text()
    command.main(argv)
    assert path.read_text() == before
    assert len(executed) == len(set(executed))
