"""Runs of the command line in processes that are struck by a signal, and what must be equal in the end.

The processes are forked from a server that has imported torch already, so that a run takes a second, not four.
"""

from __future__ import annotations

import functools
import io
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support import ROOT, visible
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from sequential_fmnist import train
from sequential_fmnist.training import Trainer

#: Five epochs of twelve steps, and all that a run can write.
CLI = ("--source", "embedded", "--epochs", "5", "-b", "500", "--tb")


@dataclass(frozen=True)
class Strike:
    """A process sends itself signals at the nth call of something, see :func:`_instrument`."""

    point: str
    nth: int
    signals: tuple[signal.Signals, ...] = (signal.SIGKILL,)


class _Strikes:
    """Counts the calls and strikes at the chosen one."""

    def __init__(self, strike: Strike | None) -> None:
        self.strike, self.calls = strike, Counter()

    def due(self, point: str) -> bool:
        self.calls[point] += 1
        return self.strike is not None and (point, self.calls[point]) == (self.strike.point, self.strike.nth)

    def __call__(self, point: str) -> None:
        if self.due(point):
            self.now()

    def now(self) -> None:
        for number in self.strike.signals:
            os.kill(os.getpid(), number)


def _instrument(strikes: _Strikes) -> None:
    """Make this process count, and strike at, everything that a run does to its files, and its steps."""

    def around(owner: Any, name: str, before: str | None, after: str | None) -> None:
        function = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            if before:
                strikes(before)
            result = function(*args, **options)
            if after:
                strikes(after)
            return result

        setattr(owner, name, call)

    around(Trainer, "_step", "a step", None)
    around(os, "fsync", "a flush to the disk", None)
    around(os, "replace", "a replacement", "a file replaced")
    around(os, "unlink", "a removal", "a file removed")
    around(train, "_load", "loading the data", None)
    around(train, "fit", "the start", "the end")

    class Half(io.BufferedWriter):
        def __init__(self, path: Path, mode: str, what: str) -> None:
            super().__init__(io.FileIO(path, mode))
            self.what = what

        def write(self, data: bytes) -> int:
            if strikes.due(f"half of {self.what}"):
                super().write(data[: len(data) // 2])
                self.flush()
                strikes.now()
                data = data[len(data) // 2 :]  # a signal that does not kill lets the write continue
            return super().write(data)

    open_ = Path.open

    def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if mode == "xb":  # .latest.pt.0123456789abcdef.part
            file = Half(path, mode, path.name.removeprefix(".").rsplit(".", 2)[0])
            strikes("an empty file")
            return file
        return open_(path, mode, *args, **options)

    Path.open = opened


def _run(
    argv: Sequence[str],
    output: Path,
    strike: Strike | None,
    calls: Path | None,
    environment: dict[str, str],
) -> None:
    os.environ.update(environment)
    # As a shell starts a command; the server may have been started in the background, where Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    descriptor = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1), os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own would outlive a kill
    strikes = _Strikes(strike)
    _instrument(strikes)
    try:
        status = train.main(argv)
    except SystemExit as error:
        status = error.code
    if calls:
        calls.write_text(json.dumps(strikes.calls))
    sys.stdout.flush()
    sys.stdout.flush()
    os._exit(status)


class Command:
    """Starts runs of the command line, each in a process of its own."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["support_kills_server"])
        paths = [str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
        with pytest.MonkeyPatch.context() as patch:
            # The server looks for its modules where its environment says.
            patch.setenv("PYTHONPATH", os.pathsep.join(paths))
            # A killed process leaves a lock of numba's to Python's tracker, which removes it and says so.
            patch.setenv("PYTHONWARNINGS", "ignore::UserWarning")
            process = self.context.Process(target=int)
            process.start()
            process.join()

    def start(
        self,
        argv: Sequence[object],
        output: Path,
        strike: Strike | None = None,
        calls: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> multiprocessing.Process:
        """Start ``python -m sequential_fmnist argv``, which writes what it says to ``output``.

        Args:
            argv: arguments.
            output: a file.
            strike: when the process is to strike itself.
            calls: file for the number of calls of each point, written at the end.
            environment: variables to set.
        """
        arguments = [*map(str, argv)], output, strike, calls, environment or {}
        process = self.context.Process(target=_run, args=arguments)
        process.start()
        return process

    def __call__(self, argv: Sequence[object], output: Path, **options: Any) -> int:
        """Run it to its end and return the exit status, negative for a signal."""
        process = self.start(argv, output, **options)
        process.join()
        return process.exitcode


def wait_for(condition: Callable[[], bool], process: multiprocessing.Process | None = None) -> None:
    """Wait until ``condition`` holds; an AssertionError if that takes minutes or ``process`` ends before it."""
    for _ in range(12000):
        if condition():
            return
        assert process is None or process.is_alive(), "the process ended too early"
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return steps and values of everything that TensorBoard shows of a run."""
    log = EventAccumulator(str(folder / "tb"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return where two checkpoints differ in a bit or a type."""
    if type(one) is not type(other):
        return [f"{where}: {type(one)} and {type(other)}"]
    if isinstance(one, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: {sorted(one)} and {sorted(other)}"]
        return [found for key in one for found in differences(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{where}: {len(one)} and {len(other)}"]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, pair in pairs for found in differences(*pair, f"{where}/{i}")]
    return [] if one == other else [f"{where}: {one} and {other}"]


def assert_same_run(folder: Path, expected: Path) -> None:
    """Check that two folders hold the same run to the bit, and that nothing half-written is left."""
    hidden = {path.name for path in folder.iterdir() if path.name.startswith(".")}
    assert hidden <= {".lock"}
    assert visible(folder) == visible(expected)
    for name in ("metrics.jsonl", "config.json"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    for name in ("latest.pt", "best.pt"):
        one, other = (torch.load(path / name, weights_only=True) for path in (folder, expected))
        assert differences(one, other, name) == []
    assert scalars(folder) == scalars(expected)
    assert len(list((folder / "tb").iterdir())) == 1


command_line = functools.cache(Command)


def draw(random_: random.Random, calls: dict[str, int], share: float = 1.0) -> Strike:
    """Choose a moment: one kind of call as likely as another, then one of its calls, of which a share is to come."""
    point = random_.choice(sorted(calls))
    return Strike(point, random_.randint(1, max(1, int(share * calls[point]))))
