"""Write what spikingjelly 2.0.0 gives for the golden cases: ``python tests/golden/make_golden.py``."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from support_networks import golden_cases, run_case, seeded_weights, spikingjelly_library

VERSION = "2.0.0"
GOLDEN = Path(__file__).with_name(f"spikingjelly_{VERSION.replace('.', '_')}.npz")


def golden_arrays() -> dict[str, np.ndarray]:
    """Run the golden cases in spikingjelly.

    Returns:
        Arrays by the names ``case/x``, ``case/weights/parameter`` and ``case/results/result``.
    """
    found = version("spikingjelly")
    if found != VERSION:
        raise RuntimeError(f"the golden file is that of spikingjelly {VERSION}, found {found}")
    library = spikingjelly_library()
    arrays = {}
    for name, case in golden_cases().items():
        arrays[f"{name}/x"] = case.x.numpy()
        for parameter, values in seeded_weights(case.build(library)).items():
            arrays[f"{name}/weights/{parameter}"] = values.numpy()
        for result, values in run_case(case, library).items():
            arrays[f"{name}/results/{result}"] = values.numpy()
    return arrays


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **golden_arrays())
    print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes")
