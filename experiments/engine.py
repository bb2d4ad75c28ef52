"""Runs many specs side by side and keeps each result at once, so that a broken-off sweep goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config
from tqdm.auto import tqdm

from experiments.runs import Record, Spec, execute
from sequential_fmnist.checkpoint import sha256, writing


class Store:
    """Results as JSON lines, one for each run; a line cut off by a kill or a full disk is dropped when it is read.

    Provenance is the same for many runs. It stands on a line of its own, under a digest that its runs name.

    Args:
        path: the file; made with its folder when the first result comes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._places: set[str] = set()  # digests of provenances that are in the file for sure

    def records(self) -> dict[str, Record]:
        """Return the results by the keys of their specs, each with its provenance."""
        lines = self._lines()
        places = _places(lines)
        found = {line["key"]: line for line in lines if "key" in line}
        for record in found.values():
            if isinstance(record.get("provenance"), str):  # else a line of an older file, which has it whole
                record["provenance"] = places.get(record["provenance"], {})
        return found

    def add(self, record: Record) -> None:
        """Append one result and see it to the disk.

        Raises:
            WriteError: it cannot be written; the results before it stay.
        """
        lines = [record]
        if "provenance" in record:
            where = record["provenance"]
            digest = sha256(json.dumps(where, sort_keys=True).encode())[:8]
            lines = [record | {"provenance": digest}]
            if digest not in self._places and digest not in _places(self._lines()):
                lines.insert(0, {"provenance": {digest: where}})
        text = b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                torn = file.read(1) not in (b"", b"\n")
                file.write(b"\n" + text if torn else text)
                file.flush()
                os.fsync(file.fileno())
        if "provenance" in record:
            self._places.add(lines[-1]["provenance"])

    def _lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found


def _places(lines: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return every provenance on a line of its own by its digest."""
    return {name: where for line in lines if "key" not in line for name, where in line["provenance"].items()}


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
