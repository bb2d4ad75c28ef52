"""A dask cluster for tests, which only this machine can reach."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def loopback_cluster() -> Iterator[Any]:
    """Yield a dask cluster of two processes that only this machine can reach.

    dask has no token: what keeps others out is the address. Without its dashboard it serves nothing but counters.
    """
    from dask.distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        memory_limit=None,
    ) as local:
        yield local
