"""The command ``python -m experiments``, or ``make ablation``: runs what is missing and writes what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.command import Parser, target, whole
from experiments.engine import Store, sweep
from experiments.grid import GROUPS, cases
from experiments.long import grid as long
from experiments.long import report as long_report
from experiments.report import SUMMARY, write

RUNS = Path("results") / "ablation_runs.jsonl"
#: Groups of chapter 07, then of chapter 08.
ALL = GROUPS | long.GROUPS


def main(argv: Sequence[str] | None = None) -> None:
    """Run the ablation. Runs whose results are there are not repeated; break it off and go on at any time."""
    parser = Parser(prog="python -m experiments", description=main.__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"{', '.join(ALL)} (default: all)")
    parser.add_argument("--jobs", type=whole(1, 1024), default=2, help="processes side by side (default: 2)")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="dask scheduler to send the runs to, as in tcp://host:8786"
    )
    parser.add_argument(
        "--runs",
        type=target,
        default=RUNS,
        help=f"file of results (default: {RUNS}); those of chapter 08 stand beside it",
    )
    args = parser.parse_args(argv)
    try:
        chosen = cases(args.groups or None, ALL)
    except ValueError as error:
        parser.error(str(error))
    try:
        for name in chosen:
            is_long = name in long.GROUPS
            store = Store(args.runs.with_name(long_report.RUNS.name) if is_long else args.runs)
            group = cases([name], ALL)[name]  # again, since a search may have chosen its recipes meanwhile
            specs = [spec for case in group for spec in case.runs()]
            print(f"{name}: {len(specs)} runs", flush=True)
            sweep(specs, store, args.jobs, args.scheduler)
            if name == "long-search":
                long.choose(store.records())
            if is_long:
                long_report.write(store.records(), args.runs.with_name(long_report.SUMMARY.name))
            else:
                write(store.records(), args.runs.with_name(SUMMARY.name))
    except OSError as error:  # no scheduler, no space on the disk
        parser.fail(error)


if __name__ == "__main__":
    main()
