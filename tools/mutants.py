"""A sample of a Cosmic Ray session before it runs, and its record afterwards: ``mutants.py sample|record SESSION``."""

from __future__ import annotations

import random
import sys
from collections import Counter
from importlib.metadata import version

from cosmic_ray.work_db import WorkDB, use_db

from experiments.results import provenance, write_json

SEED, MOST = 0, 12


def sample(session: WorkDB, most: int = MOST) -> None:
    """Keep at most so many of the pending changes of each module, no two on a line."""
    found = sorted(session.pending_work_items, key=lambda item: str(item.mutations[0]))
    drawn = {}
    for item in random.Random(SEED).sample(found, len(found)):  # noqa: S311, a sample and no secret
        drawn.setdefault((str(item.mutations[0].module_path), item.mutations[0].start_pos[0]), item)
    kept: Counter[str] = Counter()
    session.clear()
    for (module, _), item in drawn.items():
        if kept[module] < most:
            kept[module] += 1
            session.add_work_item(item)


def record(session: WorkDB, path: str = "results/mutation.json") -> None:
    """Write how many changes were tried in each module, and those that no test noticed."""
    done = [(item.mutations[0], result) for item, result in session.completed_work_items]
    survivors = sorted(
        f"{change.module_path} {change.operator_name.partition('/')[2]}: "
        + " ".join(line[0] + line[1:].strip() for line in result.diff.splitlines()[3:] if line[:1] in "+-")
        for change, result in done
        if not result.is_killed
    )
    counts = {"tried": len(done), "killed": len(done) - len(survivors), "survived": len(survivors)}
    modules = Counter(str(change.module_path) for change, _ in done)
    told = {"tool": f"cosmic-ray {version('cosmic-ray')}", "seed": SEED, **counts, "modules": modules}
    write_json(path, told | {"survivors": survivors, "provenance": provenance()})


if __name__ == "__main__":
    with use_db(sys.argv[2], WorkDB.Mode.open) as session:
        {"sample": sample, "record": record}[sys.argv[1]](session)
