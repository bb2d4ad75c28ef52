"""Runs many specs side by side and keeps each result at once, so that a broken-off sweep resumes where it stopped."""

from __future__ import annotations

from collections.abc import Iterable

from joblib import Parallel, delayed
from tqdm import tqdm

from experiments.results import Store
from experiments.runs import Record, Spec, execute


def sweep(specs: Iterable[Spec], store: Store, jobs: int = 2) -> list[Record]:
    """Execute what is not in ``store`` yet and return the results of all ``specs``, in their order.

    Args:
        specs: the runs; the same one twice is executed once.
        store: where results are and go.
        jobs: processes side by side, each with one thread.
    """
    wanted = {spec.key(): spec for spec in specs}
    known = store.records()
    missing = [spec for key, spec in wanted.items() if key not in known]
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(execute)(spec) for spec in missing
    )
    for record in tqdm(results, total=len(missing), unit="run"):
        store.add(record)
    if missing:
        known = store.records()
    return [known[key] for key in wanted]
