"""Run the README's two commands as a newcomer would, in a fresh clone, and write their times to results/times.json."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from sequential_fmnist.experiments.results import provenance, write_json

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Clone HEAD twice and run `make tutorial` and `make test`; each sets up its own environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "VIRTUAL_ENV" and not name.startswith("MAKE")
    }
    seconds = {}
    for command in ("tutorial", "test"):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)  # noqa: S607
            started = time.perf_counter()
            subprocess.run(["make", command], cwd=folder, env=environment, check=True)  # noqa: S607
            seconds[command] = round(time.perf_counter() - started, 1)
            print(f"make {command}: {seconds[command]:.0f} s", flush=True)
    write_json(ROOT / "results" / "times.json", {"seconds": seconds, "provenance": provenance()})


if __name__ == "__main__":
    main()
