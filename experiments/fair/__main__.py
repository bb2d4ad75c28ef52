"""``python -m experiments.fair``: runs what is missing, group after group."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.engine import Store, sweep
from experiments.fair.plan import GROUPS

RUNS = Path("results") / "fair_runs.jsonl"


def main() -> None:
    """Run the groups that are named, or all."""
    store = Store(RUNS)
    for name in sys.argv[1:] or GROUPS:
        specs = [spec for case in GROUPS[name](store.records()) for spec in case.runs()]
        print(f"{name}: {len(specs)} runs", flush=True)
        sweep(specs, store)


if __name__ == "__main__":
    main()
