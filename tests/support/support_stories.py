"""Stories of the laboratory, trained in Node as a page does: ``python tests/support/support_stories.py`` records them.

With ``--search SEEDS`` it trains the feedback network with many seeds and both optimizers, as when the first story was
chosen. A page's arithmetic is that of IEEE 754 in double precision, so a seed gives the same curves in every browser.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_tutorial import load_results, save_results
from snn_tutorial.live import literal
from snn_tutorial.live.learner import OPTIMIZERS
from snn_tutorial.live.train import UPDATES, kinds_and_worker, lesson, settings_of

#: Seed and optimizer with which the feedback network collapses.
COLLAPSE: dict[str, Any] = {"seed": 0, "optimizer": 1, "lr": OPTIMIZERS["Adam"]}
#: Names, what a reader is asked or told before, and the settings.
STORIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "Collapse",
        "One of the three will lose half of what it knows. Which one, and in which epoch?",
        COLLAPSE,
    ),
    (
        "Cure it: limit the norm",
        "The same seed, and a gradient of norm 1 at most. Dashed: the collapse.",
        COLLAPSE | {"updates": 1},
    ),
    (
        "Cure it: skip updates",
        "The same seed; updates that float16 cannot hold are skipped. Dashed: the collapse.",
        COLLAPSE | {"updates": len(UPDATES) - 1},
    ),
    (
        "Make them wait",
        "56 blank columns follow each image, then they answer. Which one will be ahead?",
        {"seed": 0, "blank": 56},
    ),
)
#: Takes a job, and writes a line for each epoch.
SCRIPT = """const heard = [];
globalThis.addEventListener = (name, hear) => heard.push(hear);
globalThis.postMessage = ({loss, accuracy, failed}) => {
  console.log(failed ? JSON.stringify(failed) : JSON.stringify([Number(loss.toFixed(5)), accuracy]));
};
"""


def curve(kind: str, seed: int, settings: dict[str, float], epochs: int | None = None) -> list[list[float]]:
    """Return train loss and test accuracy after each epoch."""
    job = lesson() | {"kind": list(TUTORIAL_NETWORKS).index(kind), "seed": seed, "settings": settings}
    job["schedule"] = job["schedule"][:epochs]
    script = f"{SCRIPT}{kinds_and_worker()[2]}\nheard[0]({{data: {literal(job)}}});"
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and not isinstance(lines[-1], str), done.stderr or lines[-1]
    return lines


def falls(found: Sequence[Sequence[float]]) -> list[float]:
    """Return by how much the accuracy fell in each epoch after the first."""
    return [before[1] - after[1] for before, after in pairwise(found)]


def settings(story: dict[str, Any]) -> dict[str, float]:
    return settings_of(**{key: value for key, value in story.items() if key != "seed"})


def record() -> list[dict[str, Any]]:
    rows = []
    for name, says, story in STORIES:
        curves = [curve(kind, story["seed"], settings(story)) for kind in TUTORIAL_NETWORKS]
        row = {"name": name, "says": says, "seed": story["seed"]}
        rows.append(row | {"settings": settings(story), "curves": curves})
        print(name, row["says"], flush=True)
    return rows


def search(seeds: int) -> list[dict[str, Any]]:
    rows = []
    for seed in range(seeds):
        for number, (optimizer, lr) in enumerate(OPTIMIZERS.items()):
            found = curve("feedback", seed, settings_of(optimizer=number, lr=lr))
            fell = falls(found)
            row = {"seed": seed, "optimizer": optimizer, "last": found[-1][1], "fall": round(max(fell), 3)}
            rows.append(row | {"epoch": fell.index(max(fell)) + 2})
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", type=int, metavar="SEEDS")
    seeds = parser.parse_args().search
    kept = load_results("results", "stories")
    kept |= {"search": search(seeds)} if seeds else {"stories": record()}
    save_results("results", "stories", kept)
