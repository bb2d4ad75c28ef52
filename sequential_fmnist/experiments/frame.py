"""The frame of all experiments: a run and its key, many runs side by side, where results are kept, and what they say.

A study is groups of cases and questions about them. Its runs are in ``results/<name>_runs.jsonl``, what they say is in
``results/<name>.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from sequential_fmnist.checkpoint import set_seed, sha256, writing
from sequential_fmnist.experiments.results import provenance, write_json
from sequential_fmnist.experiments.statistics import compare, estimate, holm
from sequential_fmnist.options import identifying
from sequential_fmnist.train import TrainingConfig

__all__ = ["Case", "Record", "Records", "Spec", "Store", "Study", "command", "execute", "sweep"]

#: What is kept of a run, and all that is kept by the keys of their specs.
Record = dict[str, Any]
Records = Mapping[str, Record]
#: A case by its group, name and kind, and by ``at`` where these do not tell it from others.
Place = tuple[Any, ...]
#: Yields the cases of a group, which may depend on what a search before them has chosen. Its docstring is its question.
Group = Callable[[Records], Iterable["Case"]]
#: Significant digits: more than are ever shown, as what is rounded twice may end on another last digit.
DIGITS = 6
#: What a run repeated need not have again: it says when and how it was computed.
UNMEASURED = {"seconds", "began", "provenance", "fused"}
#: A question counts as decided below this corrected probability.
LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Spec:
    """Everything that decides a run.

    Args:
        network: a dataclass; ``network.build(task)`` returns the module, with new weights.
        task: a dataclass; ``task.run(net, training)`` trains the module and returns what is kept of it, among it an
            ``accuracy``, or raises FloatingPointError. ``task.chance`` is the accuracy that such a run counts with, and
            ``task.more(records)`` what the summary shows besides the usual.
        training: how it is trained; its seed also draws the weights.
    """

    network: Any
    task: Any
    training: TrainingConfig

    def with_seed(self, seed: int) -> Spec:
        """Return the same run with another seed."""
        return dataclasses.replace(self, training=dataclasses.replace(self.training, seed=seed))

    def options(self) -> Record:
        """Return the fields that tell this run from others, ready for JSON, but for the seed.

        Whether steps are fused is not among them: it changes the rounding, as another processor does.
        """
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        options = {name: {"class": type(part).__name__} | identifying(part) for name, part in parts.items()}
        options["training"].pop("fused", None)
        del options["training"]["seed"]
        return options

    def key(self) -> str:
        """Return a short name that is the same for the same run, and for no other: a digest of its options."""
        return key_of(self.options(), self.training.seed)


def key_of(options: Record, seed: int) -> str:
    """Return the key of the spec with these options."""
    return sha256(json.dumps([options, seed], sort_keys=True).encode())[:16]


@dataclasses.dataclass(frozen=True)
class Case:
    """One setting of a group, run once for each seed.

    Args:
        name: what tells it from the others in its group.
        kind: the network.
        spec: the run, with any seed.
        seeds: number of seeds.
        at: the number on the x axis where the group is a curve.
        first: the first of the seeds.
    """

    name: str
    kind: str
    spec: Spec
    seeds: int
    at: int | None = None
    first: int = 0

    def runs(self) -> list[Spec]:
        """Return the specs of all seeds."""
        return [self.spec.with_seed(self.first + k) for k in range(self.seeds)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as runs side by side do: another number of threads rounds in another way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def execute(spec: Spec) -> Record:
    """Run a spec and return its record: what it was, the outcome, when it began, how long it took, and versions.

    A run that ends with a number that is not finite is kept too, with an accuracy of None.
    """
    began, started = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    record: Record = {"key": spec.key(), "seed": spec.training.seed, "spec": spec.options()}
    record["fused"] = spec.training.fused
    set_seed(spec.training.seed)
    try:
        record |= spec.task.run(spec.network.build(spec.task), spec.training)
    except FloatingPointError as error:
        record |= {"accuracy": None, "error": str(error)}
    seconds = round(time.perf_counter() - started, 2)
    return record | {"seconds": seconds, "began": began, "provenance": provenance()}


def sweep(specs: Iterable[Spec], store: Store, jobs: int = 2) -> list[Record]:
    """Execute what is not in ``store`` yet and return the results of all ``specs``, in their order.

    Each result is kept at once, so that a sweep that breaks off resumes where it stopped. ``jobs`` processes run side
    by side, each with one thread.
    """
    wanted = {spec.key(): spec for spec in specs}
    known = store.records()
    missing = [spec for key, spec in wanted.items() if key not in known]
    for record in _side_by_side(missing, jobs):
        store.add(record)
    known = store.records() if missing else known
    return [known[key] for key in wanted]


def _side_by_side(specs: Sequence[Spec], jobs: int) -> Iterator[Record]:
    """Execute specs in ``jobs`` processes and yield each record when it is there."""
    from joblib import Parallel, delayed

    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(execute)(spec) for spec in specs)
    yield from tqdm(results, total=len(specs), unit="run")


class Store:
    """Results as JSON lines, one for each run; a line cut off by a kill or a full disk is dropped when it is read.

    What many runs share, their spec but for the seed and their provenance, stands on a line of its own, under a digest
    that its runs name.

    Args:
        path: the file; made with its folder when the first result comes.
    """

    SHARED = ("spec", "provenance")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._known: set[str] = set()  # digests that are in the file for sure

    def records(self) -> dict[str, Record]:
        """Return the results by the keys of their specs."""
        shared: dict[str, Any] = {}
        records: dict[str, Record] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            with suppress(json.JSONDecodeError):
                record = json.loads(line)
                if "key" in record:
                    records[record["key"]] = record
                else:
                    shared |= record
        for record in records.values():
            record |= {name: shared.get(record[name]) for name in self.SHARED if name in record}
        self._known |= shared.keys()
        return records

    def add(self, record: Record) -> None:
        """Append one result and see it to the disk.

        Raises:
            WriteError: it cannot be written; the results before it stay.
        """
        if not self._known:
            self.records()
        lines, line = [], dict(record)
        for name in self.SHARED:
            if name in record:
                line[name] = sha256(json.dumps(record[name], sort_keys=True).encode())[:8]
                if line[name] not in self._known:
                    lines.append({line[name]: record[name]})
        text = b"".join(json.dumps(one, allow_nan=False).encode() + b"\n" for one in [*lines, line])
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                torn = file.read(1) not in (b"", b"\n")
                file.write(b"\n" + text if torn else text)
                file.flush()
                os.fsync(file.fileno())
        self._known |= {line[name] for name in self.SHARED if name in line}


@dataclasses.dataclass(frozen=True)
class Study:
    """Groups of cases and questions about them. p-values are corrected for the questions of this study alone.

    Args:
        name: of its files.
        groups: each by its name, in the order in which they run.
        questions: each in words, with two places: does the second do better?
        more: returns what else the summary holds, from the records and the folder of results.
        searches: groups whose cases only choose recipes; the summary counts their runs and leaves their cases out.
        pending: planned groups that lack runs: they run only if they are named, and a test does not ask for their runs.
        after: a study before this one, whose runs this one's groups may use: to choose recipes, or as cases.
    """

    name: str
    groups: Mapping[str, Group]
    questions: Mapping[str, tuple[Place, Place]] = dataclasses.field(default_factory=dict)
    more: Callable[[Records, Path], Record] = lambda records, folder: {}
    searches: Sequence[str] = ()
    pending: Sequence[str] = ()
    after: Study | None = None

    def store(self, folder: str | os.PathLike[str] = "results") -> Store:
        """Return where the runs are kept."""
        return Store(Path(folder) / f"{self.name}_runs.jsonl")

    def records(self, folder: str | os.PathLike[str] = "results") -> dict[str, Record]:
        """Return the runs of this study and of that before it, by their keys."""
        return (self.after.records(folder) if self.after else {}) | self.store(folder).records()

    def summary(self, records: Records, folder: str | os.PathLike[str] = "results") -> Record:
        """Return what the cases say whose runs are all there.

        Accuracies are fractions. A run whose loss was not finite counts as chance and is counted in ``failed``.
        """
        groups: dict[str, list[Record]] = {}
        used: set[str] = set()
        for name, group in self.groups.items():
            for case in group(records):
                keys = {spec.key() for spec in case.runs()}
                if keys <= records.keys():
                    used |= keys
                    if name not in self.searches:
                        groups.setdefault(name, []).append(summary_of(case, records))
        summary = {
            "runs": len(used),  # some belong to several groups
            "groups": groups,
            "questions": {name: (self.groups[name].__doc__ or "").strip() for name in groups},
            "comparisons": self._answers(groups),
            **self.more(records, Path(folder)),
            "provenance": values_of(record["provenance"] for key, record in records.items() if key in used),
        }
        return rounded(summary)

    def run(self, *names: str, folder: str | os.PathLike[str] = "results", jobs: int = 2) -> None:
        """Run what is missing of the groups ``names``, of all without any, and write the summary after each."""
        path, before = Path(folder) / f"{self.name}.json", self.after.records(folder) if self.after else {}
        for name in names or [name for name in self.groups if name not in self.pending]:
            cases = self.groups[name](self.records(folder))
            specs = [spec for case in cases for spec in case.runs() if spec.key() not in before]
            print(f"{name}: {len(specs)} runs", flush=True)
            sweep(specs, self.store(folder), jobs)
            write_json(path, self.summary(self.records(folder), folder), width=600)  # a line for each case

    def check(
        self, seed: int, *names: str, folder: str | os.PathLike[str] = "results", jobs: int = 2
    ) -> Iterator[str]:
        """Run again what is kept of the groups ``names`` with this seed, and yield a line for each run.

        A line begins with "same" if everything that the run measured is the same to the last digit, else with
        "differs". Nothing is written.
        """
        known = self.records(folder)
        kept = {
            spec.key(): (f"{name}, {case.name}, {case.kind}", spec)
            for name in names or self.groups
            for case in self.groups[name](known)
            for spec in case.runs()
            if spec.training.seed == seed and spec.key() in known
        }
        for record in _side_by_side([spec for _, spec in kept.values()], jobs):
            now, before = json.loads(json.dumps(record)), known[record["key"]]
            other = [name for name in now.keys() & before.keys() - UNMEASURED if now[name] != before[name]]
            words = f"{'differs' if other else 'same'}: {kept[record['key']][0]}, seed {seed}"
            yield words + (f", accuracy {before['accuracy']}, now {now['accuracy']}" if other else "")

    def _answers(self, groups: Mapping[str, list[Record]]) -> dict[str, Record]:
        """Return the answer to each question whose runs are made."""
        values: dict[Place, list[float]] = {}
        for group, cases in groups.items():
            for case in cases:
                place = (group, case["name"], case["kind"])
                values |= {place: case["values"], (*place, case["at"]): case["values"]}
        asked = {words: pair for words, pair in self.questions.items() if values.keys() >= {*pair}}
        answers = [compare(values[a], values[b]) for a, b in asked.values()]
        corrected = holm([answer.p for answer in answers])
        return {
            words: {"a": a, "b": b, **dataclasses.asdict(answer), "p_holm": p, "decided": p < LEVEL}
            for (words, (a, b)), answer, p in zip(asked.items(), answers, corrected, strict=True)
        }


def summary_of(case: Case, records: Records) -> Record:
    """Return what the runs of a case say, which are all there."""
    runs = [records[spec.key()] for spec in case.runs()]
    values = [case.spec.task.chance if run["accuracy"] is None else run["accuracy"] for run in runs]
    return {
        "name": case.name,
        "kind": case.kind,
        "at": case.at,
        "parameters": next((run["parameters"] for run in runs if "parameters" in run), None),
        "values": values,
        "failed": sum(run["accuracy"] is None for run in runs),
        "accuracy": dataclasses.asdict(estimate(values)),
        **case.spec.task.more(runs),
    }


def rounded(value: Any) -> Any:
    """Return ``value`` with every float in it, at any depth, rounded to ``DIGITS``."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def values_of(dicts: Iterable[Record]) -> dict[str, list[Any]]:
    """Return every value that a name has in any of the dicts."""
    seen: dict[str, list[Any]] = {}
    for each in dicts:
        for name, value in each.items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return seen


def command(*studies: Study, argv: Sequence[str] | None = None) -> None:
    """Run what is missing of the studies, and write what they say; interrupt it and resume at any time.

    With ``--check`` run again what is kept, compare, and leave with 1 if a run differs.
    """
    names = [name for study in studies for name in study.groups]
    parser = argparse.ArgumentParser(
        description="Run what is missing of the studies, and write what they say."
    )
    parser.add_argument("groups", nargs="*", metavar="group", help=f"{', '.join(names)} (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default: 2)")
    parser.add_argument("--folder", type=Path, default="results", help="of results (default: results)")
    words = "run again what is kept with this seed, and compare to the last digit; writes nothing"
    parser.add_argument("--check", type=int, metavar="SEED", help=words)
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f"argument --jobs: must be at least 1, got {args.jobs}")
    if unknown := sorted(set(args.groups) - set(names)):
        parser.error(f"no group {', '.join(unknown)}: there are {', '.join(names)}")
    options, lines = {"folder": args.folder, "jobs": args.jobs}, []
    try:
        for study in studies:
            if mine := [
                name for name in study.groups if name in (args.groups or {*names} - {*study.pending})
            ]:
                if args.check is None:
                    study.run(*mine, **options)
                else:
                    for line in study.check(args.check, *mine, **options):
                        lines.append(line)
                        print(line, flush=True)
    except OSError as error:  # no space on the disk
        raise SystemExit(f"error: {error}") from error
    if args.check is not None:
        if not lines:
            parser.error(f"no run with seed {args.check} is kept")
        differ = sum(line.startswith("differs") for line in lines)
        print(f"{differ} of {len(lines)} runs with seed {args.check} differ")
        raise SystemExit(differ > 0)
