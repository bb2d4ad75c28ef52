"""Which sockets a process and its children listen on. Run by torchrun, the first process prints those of all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import psutil
from sequential_fmnist.distributed import join


def listening(root: psutil.Process) -> set[tuple[str, int]]:
    """Return address and port of every socket on which a process or one below it listens."""
    found = set()
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {
                (one.laddr.ip, one.laddr.port)
                for one in process.net_connections("inet")
                if one.status == psutil.CONN_LISTEN
            }
    return found


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


if __name__ == "__main__":
    with join("cpu") as ranks:
        import torch

        torch.distributed.barrier()
        if ranks.first:
            print(json.dumps(sorted(listening(psutil.Process().parent()))), flush=True)
        torch.distributed.barrier()  # the second process stays until it has been seen
