"""The command ``python -m experiments``, or ``make ablation``: runs what is missing and writes what it says."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.engine import sweep
from experiments.fair import plan
from experiments.fair import report as fair
from experiments.grid import GROUPS
from experiments.report import SUMMARY, write
from experiments.results import Store
from experiments.runs import Case, Record

RUNS = Path("results") / "ablation_runs.jsonl"
#: Groups of chapter 07, then of chapter 08.
ALL = (*GROUPS, *plan.GROUPS)


def _cases(name: str, records: dict[str, Record]) -> Iterable[Case]:
    return GROUPS[name]() if name in GROUPS else plan.GROUPS[name](records)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the ablation. Runs whose results are there are not repeated; break it off and go on at any time."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=main.__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"{', '.join(ALL)} (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default: 2)")
    parser.add_argument(
        "--runs",
        type=Path,
        default=RUNS,
        help=f"file of results (default: {RUNS}); those of chapter 08 stand beside it",
    )
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f"argument --jobs: must be at least 1, got {args.jobs}")
    if unknown := sorted(set(args.groups) - set(ALL)):
        parser.error(f"no group {', '.join(unknown)}: there are {', '.join(ALL)}")
    try:
        for name in args.groups or ALL:
            store = Store(args.runs if name in GROUPS else args.runs.with_name(fair.RUNS.name))
            # Cases of chapter 08 depend on what a search before them chose.
            specs = [spec for case in _cases(name, store.records()) for spec in case.runs()]
            print(f"{name}: {len(specs)} runs", flush=True)
            sweep(specs, store, args.jobs)
            if name in GROUPS:
                write(store.records(), args.runs.with_name(SUMMARY.name))
            else:
                fair.write(store.records(), args.runs.with_name(fair.SUMMARY.name))
    except OSError as error:  # no space on the disk
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
