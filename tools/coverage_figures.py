"""Turn coverage's report into results/coverage.json; fail where tests reach too few lines or branches of snn_core."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sequential_fmnist.files import write_json
from sequential_fmnist.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "coverage.json"
#: Percent of lines, and of branches, that tests must reach.
FLOOR = 95.0


def share(covered: int, total: int) -> float:
    """Return a share in percent; all of nothing is 100."""
    return round(100 * covered / total, 2) if total else 100.0


def shares(summary: dict[str, int]) -> dict[str, float]:
    """Return the percentages of lines and branches from a summary in coverage's report."""
    return {
        "lines": share(summary["covered_lines"], summary["num_statements"]),
        "branches": share(summary["covered_branches"], summary["num_branches"]),
    }


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of coverage's report."""
    totals = report["totals"]
    return {
        **shares(totals),
        "floor": FLOOR,
        "statements": totals["num_statements"],
        "arcs": totals["num_branches"],
        "coverage": report["meta"]["version"],
        "modules": {
            name: shares(found["summary"]) | {"missing_lines": found["missing_lines"]}
            for name, found in sorted(report["files"].items())
        },
    }


def main() -> int:
    """Read the report named on the command line; return 1 below the floor."""
    found = figures(json.loads(Path(sys.argv[1]).read_text()))
    write_json(RESULTS, found | {"provenance": provenance()})
    print(f"lines {found['lines']} %, branches {found['branches']} % of snn_core, written to {RESULTS}")
    if min(found["lines"], found["branches"]) < FLOOR:
        print(f"error: tests must reach {FLOOR:.0f} % of both", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
