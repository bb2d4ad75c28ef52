"""Runs many specs side by side and keeps each result at once, so that a broken-off sweep resumes where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from joblib import Parallel, delayed, parallel_config
from tqdm.auto import tqdm

from experiments.results import Store
from experiments.runs import Record, Spec, execute


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Let joblib send its work to the dask scheduler at ``address``; None keeps it on this machine.

    Raises:
        OSError: nothing answers at ``address``.
    """
    if address is None:
        yield
        return
    from dask.distributed import Client

    # joblib's backend takes the client that was made last.
    with Client(address), parallel_config("dask"):
        yield


def sweep(specs: Iterable[Spec], store: Store, jobs: int = 2, scheduler: str | None = None) -> list[Record]:
    """Execute what is not in ``store`` yet and return the results of all ``specs``, in their order.

    Args:
        specs: the runs; the same one twice is executed once.
        store: where results are and go.
        jobs: processes side by side on this machine, each with one thread.
        scheduler: address of a dask scheduler, as in tcp://host:8786, whose workers execute the runs instead.
    """
    wanted = {spec.key(): spec for spec in specs}
    known = store.records()
    missing = [spec for key, spec in wanted.items() if key not in known]
    if missing:
        _execute(missing, store, jobs, scheduler)
        known = store.records()
    return [known[key] for key in wanted]


def _execute(missing: Sequence[Spec], store: Store, jobs: int, scheduler: str | None) -> None:
    with cluster(scheduler):
        parallel = Parallel(n_jobs=-1 if scheduler else jobs, return_as="generator_unordered")
        for record in tqdm(
            parallel(delayed(execute)(spec) for spec in missing), total=len(missing), unit="run"
        ):
            store.add(record)
