"""How long the torch loop and the fused scan take, for a grid of sizes: a view of recorded times.

``python -m snn_tutorial.live.timing`` records them, with one thread, in under two minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython.display import HTML

from experiments.command import Parser, number, target
from experiments.results import provenance, write_json
from snn_tutorial.live import view
from snn_tutorial.measure import LAYERS, keep_freed_memory, loop_and_fused
from snn_tutorial.plot.kernels import bars

#: The rest is the command's.
__all__ = ["PATH", "recorded_times"]

PATH = Path("results") / "layer_times.json"
#: What is measured: the order is that of the axes in the file.
SIZES: dict[str, tuple[int, ...]] = {"steps": (7, 28, 112), "samples": (1, 32, 256), "hidden": (8, 32, 128)}
#: Rounds of each timing, and the seconds after which no other round begins.
ROUNDS, BUDGET = 15, 1.0


def recorded_times(recorded: Mapping[str, Any]) -> HTML:
    """Return a view of recorded times, with a choice of layer, time steps, samples and hidden size.

    Args:
        recorded: ``results/layer_times.json``.

    Raises:
        ValueError: it is not what ``python -m snn_tutorial.live.timing`` writes.
    """
    missing = [name for name in (*SIZES, "milliseconds", "provenance") if not recorded.get(name)]
    if missing:
        raise ValueError(
            f"recorded has no {', '.join(missing)}: `python -m snn_tutorial.live.timing` writes them"
        )
    shape = (*(len(recorded[name]) for name in SIZES), 2)
    for layer, times in recorded["milliseconds"].items():
        found = np.array(times, float)
        if found.shape != shape or not (found > 0).all():
            raise ValueError(
                f"recorded must hold times above 0 of shape {list(shape)}, not so those of {layer}"
            )
    (layer, times), where = next(iter(recorded["milliseconds"].items())), recorded["provenance"]
    T, N, hidden = (recorded[name][len(recorded[name]) // 2] for name in SIZES)
    loop, fused = np.array(times)[tuple(n // 2 for n in shape[:3])] / 1e3
    return view(
        "timing",
        {
            "layers": list(recorded["milliseconds"]),
            **{name: recorded[name] for name in SIZES},
            "milliseconds": list(recorded["milliseconds"].values()),
            "machine": f"{where['processor']}, one thread, torch {where['torch']}, snn_core {where['snn_core']}",
        },
        bars({"torch loop": loop, "fused scan": fused}, f"{layer}: {T} steps, {N} samples, {hidden} hidden"),
        "time of forward and backward through a layer, in the torch loop and fused",
    )


def measured(
    budget: float = BUDGET, measure: Callable[..., Mapping[str, float]] = loop_and_fused
) -> dict[str, Any]:
    """Return the median milliseconds of the loop and of the fused scan for each of the layers and all sizes.

    Args:
        budget: seconds of each timing after which no other round begins.
        measure: what takes the times, see :func:`snn_tutorial.measure.loop_and_fused`.
    """
    shape, found = [len(values) for values in SIZES.values()], {}
    for layer in LAYERS:
        times = [list(measure(layer, *sizes, ROUNDS, budget).values()) for sizes in product(*SIZES.values())]
        # Four digits: more is noise.
        rounded = [[float(f"{1e3 * t:.4g}") for t in pair] for pair in times]
        found[layer] = np.reshape(rounded, (*shape, 2)).tolist()
        print(f"{layer}: {len(times)} sizes", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the times."""
    parser = Parser(prog="python -m snn_tutorial.live.timing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--budget",
        type=number(0),
        default=BUDGET,
        help=f"seconds of each timing after which no other round begins (default: {BUDGET:g})",
    )
    parser.add_argument("--out", type=target, default=PATH, help=f"file to write (default: {PATH})")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    wall, own = time.perf_counter(), time.process_time()
    milliseconds = measured(args.budget)
    share = (time.process_time() - own) / (time.perf_counter() - wall)
    print(f"this process had {share:.0%} of a core while it measured")
    settings = {**SIZES, "rounds": ROUNDS, "budget_seconds": args.budget, "core_share": round(share, 3)}
    write_json(args.out, {**settings, "milliseconds": milliseconds, "provenance": provenance()})


if __name__ == "__main__":
    main()
