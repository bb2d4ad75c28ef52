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
    """Clone HEAD twice and run `make tutorial` and `make test`; each sets up its own environment, first and alone."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "VIRTUAL_ENV" and not name.startswith("MAKE")
    }
    load, seconds, packages = os.getloadavg()[0], {}, {}
    for command, environment_of in (("tutorial", ".site"), ("test", ".dev")):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", folder], check=True)  # noqa: S607
            started = time.perf_counter()
            for target in (f".venv/{environment_of}", command):
                subprocess.run(["make", target], cwd=folder, env=environment, check=True)  # noqa: S607
                seconds[command] = round(time.perf_counter() - started, 1)
                packages.setdefault(command, {"seconds": seconds[command], "megabytes": megabytes(folder)})
            print(f"make {command}: {seconds[command]:.0f} s, of these {packages[command]}", flush=True)
    found = {"seconds": seconds, "packages": packages, "load_before": load, "provenance": provenance()}
    write_json(ROOT / "results" / "times.json", found)


def megabytes(folder: str) -> int:
    """Return how much the files of a folder take on the disk."""
    return round(sum(path.lstat().st_blocks for path in Path(folder).rglob("*")) * 512 / 1e6)


if __name__ == "__main__":
    main()
