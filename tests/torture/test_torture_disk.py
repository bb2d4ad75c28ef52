"""Full disks and folders that nobody may write to: every file stays whole or absent, and the error helps."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from support import ROOT, records
from support_data import TINY_FILES, write
from support_disk import Disk, at_line, bound_by_permissions, disk, file_limit
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import __main__ as ablation
from experiments import engine
from experiments.engine import Store
from sequential_fmnist import data, train
from sequential_fmnist.checkpoint import load_checkpoint, save_checkpoint
from sequential_fmnist.files import WriteError, sha256, write_json
from sequential_fmnist.output import OutputFolder
from sequential_fmnist.sources import SUBSET
from sequential_fmnist.training import Trainer, TrainingConfig, fit
from snn_tutorial.page import save_figure
from snn_tutorial.plot import __main__ as plot

pytestmark = pytest.mark.nightly

PAGE = os.sysconf("SC_PAGESIZE")
SEED = 2


class LimitedFiles:
    """A folder on which no file grows beyond what is left: works for everybody, everywhere."""

    kind = "limit on the size of files"

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    @contextlib.contextmanager
    def only(self, room: int, append_to: Path | None = None) -> Iterator[None]:
        """Leave ``room`` bytes to every file; ``append_to`` has what it holds in addition."""
        with file_limit(room + (append_to.stat().st_size if append_to else 0)):
            yield


class SmallDisk:
    """A disk that is full after what is left, in whole pages."""

    kind = "full disk"

    def __init__(self, mounted: Disk) -> None:
        self.root, self._disk = mounted.path, mounted

    @contextlib.contextmanager
    def only(self, room: int, append_to: Path | None = None) -> Iterator[None]:
        """Leave ``room`` bytes to all files together; what is left of the last page of ``append_to`` counts."""
        state = os.statvfs(self.root)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        if append_to:
            room -= -append_to.stat().st_size % PAGE
        self._disk.remount(f"size={max(used + room, PAGE)}")
        try:
            yield
        finally:
            self._disk.remount("size=64m")


@pytest.fixture(autouse=True)
def _close_figures():
    """A figure that could not be written stays open, for whoever wants to write it elsewhere."""
    yield
    plt.close("all")


@pytest.fixture(params=[LimitedFiles, SmallDisk], ids=lambda way: way.kind)
def place(request, tmp_path) -> Iterator[LimitedFiles | SmallDisk]:
    if request.param is LimitedFiles:
        yield LimitedFiles(tmp_path / "place")
        return
    with disk(tmp_path / "place") as mounted:
        if mounted is None:
            pytest.skip("this process may not mount a disk; the limit on the size of files needs no rights")
        yield SmallDisk(mounted)


def contents(folder: Path) -> dict[str, bytes]:
    """All files, hidden ones too, without locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def assert_helps(message: str, path: Path) -> None:
    """The message names the file, the reason and what to do, in one line."""
    assert re.fullmatch(
        rf"cannot write {re.escape(str(path))}: [^:\n]+\. [^\n]+, or write to another folder", message
    )


def one_line(text: str) -> str:
    """Return the only line of ``text`` that is no progress bar."""
    lines = [
        line for line in re.split("[\r\n]+", text) if line.strip() and not re.search(r"\d+/\d+ \[", line)
    ]
    assert len(lines) == 1 and text.endswith(f"{lines[0]}\n"), text
    return lines[0]


def checkpoint(path: Path, version: int) -> None:
    save_checkpoint(path, {"weights": torch.full((5000,), float(version)), "epoch": version})


def results(path: Path, version: int) -> None:
    write_json(path, {"version": version, "accuracy": [version / 7] * 1000})


def figure(path: Path, version: int) -> None:
    drawing, axes = plt.subplots(figsize=(1, 1))
    axes.plot([0, version, 1])
    save_figure(drawing, path)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "a checkpoint": checkpoint, "results": results, "a figure": figure
}  # fmt: skip


# ---------------------------------------------------------------- full disks


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_leaves_the_last_good_file(place, torture, what):
    path, put = place.root / "folder" / "file", WRITERS[what]
    put(path, 1)
    new = contents(place.root)
    put(path, 0)
    old = contents(place.root)
    size, choose = len(new["folder/file"]), random.Random(SEED)
    rooms = [0, *(choose.randrange(2 * size) for _ in range(torture.count(fast=6, full=150))), 3 * size]
    refused = 0
    for room in rooms:
        put(path, 0)
        try:
            with place.only(room):
                put(path, 1)
        except WriteError as error:
            assert_helps(str(error), path)
            assert contents(place.root) == old, f"{room} bytes left"
            refused += 1
        else:
            assert contents(place.root) == new, f"{room} bytes left"
    assert 0 < refused < len(rooms)
    torture.figure(
        item=2,
        what=f"{place.kind} while {what} is written: the last good file stays, and no other",
        writes=len(rooms),
        refused=refused,
        seed=SEED,
    )


def result(number: int, size: int) -> dict[str, object]:
    """A record whose line has ``size`` bytes."""
    record = {"key": str(number), "curve": ""}
    return record | {"curve": "x" * (size - 1 - len(json.dumps(record)))}


def test_a_full_disk_in_the_middle_of_a_line(place, torture, tmp_path):
    """The line is dropped when the file is read, and the file is continued after it."""
    size = 200
    rooms = sorted(random.Random(SEED).sample(range(size - 1), torture.count(fast=10, full=size - 1)))
    for room in rooms:
        store = Store(place.root / f"{room}.jsonl")
        # The disk is full at the end of a page, and so in the middle of a line.
        kept = [result(0, 3 * PAGE - room)]
        store.add(kept[0])
        with pytest.raises(WriteError) as caught, place.only(room, append_to=store.path):
            store.add(result(1, size))
        assert_helps(str(caught.value), store.path)
        assert list(store.records().values()) == kept, f"{room} bytes left"
        assert store.path.stat().st_size == 3 * PAGE, "the line is not torn"
        for number in (1, 2):
            store.add(result(number, size))
        assert list(store.records().values()) == [*kept, result(1, size), result(2, size)], (
            f"{room} bytes left"
        )
    torture.figure(
        item=2,
        what=f"{place.kind} in the middle of a line of the ablation's results: dropped, and the file is continued",
        lines=len(rooms),
        seed=SEED,
    )


def test_the_ablation_ends_with_one_line_and_can_be_continued(place, monkeypatch, capsys):
    executed = []

    def execute(spec):
        executed.append(spec.key())
        return {"key": spec.key(), "changed": {}, "seed": spec.training.seed, "accuracy": 0.5}

    monkeypatch.setattr(engine, "execute", execute)
    monkeypatch.setattr(ablation, "write", lambda *arguments: None)
    runs = place.root / "runs.jsonl"
    argv = ["reproduction", "--jobs", "1", "--runs", str(runs)]
    with pytest.raises(SystemExit) as ended, place.only(PAGE - 60):
        ablation.main(argv)
    assert ended.value.code == 1
    start = "python -m experiments: error: "
    message = one_line(capsys.readouterr().err)
    assert message.startswith(start)
    assert_helps(message.removeprefix(start), runs)
    kept = Store(runs).records()
    assert len(kept) == len(executed) - 1 > 0
    ablation.main(argv)
    # Only the run whose line was lost is executed twice.
    assert len(executed) == len(set(executed)) + 1 == len(Store(runs).records()) + 1


def assert_whole(run: Path) -> None:
    """Every file of a run can be read to its end, and there is none that does not belong to it."""
    for path in run.rglob("*"):
        if path.suffix == ".pt":
            load_checkpoint(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            assert records(run)
        else:
            assert path.name == ".lock", path


def test_a_full_disk_while_a_network_trains(place, torture, few, monkeypatch, capsys, tmp_path):
    """The run ends with one line; with room again it is resumed and ends with what an undisturbed run has."""
    monkeypatch.setattr(train, "SequentialFashionMNIST", lambda *_, train, **__: few[0] if train else few[1])
    argv = ["--epochs", "3", "--cosa-tmax", "3", "--hidden", "8", "--output-dir"]
    whole = tmp_path / "whole"
    assert train.main([*argv, str(whole)]) == 0
    sizes = [len(content) for content in contents(whole).values()]
    largest = 2 * max(sizes) if place.kind == LimitedFiles.kind else sum(sizes) + 4 * max(sizes)
    choose, broken, resumed = random.Random(SEED), 0, 0
    runs = torture.count(fast=5, full=100)
    for number in range(runs):
        folder, room = place.root / f"run{number}", choose.randrange(largest)
        capsys.readouterr()
        with place.only(room):
            code = train.main([*argv, str(folder)])
        if code:
            broken += 1
            message = one_line(capsys.readouterr().err)
            path = re.search(r"cannot write (.*?): ", message)[1]
            assert_helps(message.removeprefix("python -m sequential_fmnist: error: "), Path(path))
            assert path.startswith(str(folder))
            assert_whole(folder)
            latest = folder / "latest.pt"
            resumed += latest.exists()
            assert (
                train.main([*argv, str(folder), *(["--resume", str(latest)] if latest.exists() else [])]) == 0
            )
        assert records(folder) == records(whole), f"run {number} with {room} bytes"
        for name in ("latest.pt", "best.pt"):
            assert load_checkpoint(folder / name)["epoch"] == load_checkpoint(whole / name)["epoch"]
        shutil.rmtree(folder)
    assert broken > 0
    torture.figure(
        item=2,
        what=f"{place.kind} while a network trains: one line, whole files, and after it the same end",
        runs=runs,
        broken_off=broken,
        resumed=resumed,
        seed=SEED,
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_while_tensorboard_is_written(place, torture, few):
    """Its thread may show a traceback, but the call that ends an epoch raises; a resumed run has the whole log."""
    config, run = TrainingConfig(epochs=2, lrs="none"), place.root / "run"
    fit(config, *few, output_dir=run, tensorboard=True)
    output = OutputFolder(run, Trainer(config), tensorboard=True, resumed=True)
    with pytest.raises(WriteError) as caught, output, place.only(0):
        output._log([{"epoch": float(epoch), "test_accuracy": 0.5} for epoch in range(1000)])
    assert_helps(str(caught.value), run / "tb")
    _, history = fit(
        dataclasses.replace(config, epochs=3), *few, output_dir=run, tensorboard=True, resume=True
    )
    events = EventAccumulator(str(run / "tb")).Reload().Scalars("test_accuracy")
    assert [(e.step, pytest.approx(e.value)) for e in events] == [
        (r["epoch"], r["test_accuracy"]) for r in history
    ]
    torture.figure(
        item=2,
        what=f"{place.kind} while TensorBoard's log is written: the call raises, a resumed run has the whole log",
        runs=1,
    )


def test_a_full_disk_while_the_figures_are_drawn(place, torture, capsys):
    figures = place.root / "figures"
    names = [path.name for path in (ROOT / "figures").iterdir()]
    choose = random.Random(SEED)
    for number in range(torture.count(fast=1, full=15)):
        figures.mkdir()
        for name in names:
            (figures / name).write_bytes(b"old")
        room = choose.randrange(
            1000 if number == 0 else 100_000 if place.kind == LimitedFiles.kind else 500_000
        )
        with pytest.raises(SystemExit) as ended, place.only(room):
            plot.main(["--results", str(ROOT / "results"), "--figures", str(figures)])
        assert ended.value.code == 1
        message = one_line(capsys.readouterr().err)
        failed = Path(re.search(r"cannot write (.*?): ", message)[1])
        assert_helps(message.removeprefix("python -m snn_tutorial.plot: error: "), failed)
        assert sorted(contents(figures)) == sorted(names)
        assert failed.read_bytes() == b"old", f"{room} bytes left"
        for path in figures.iterdir():
            # What ends a PNG and a GIF file.
            assert path.read_bytes() == b"old" or path.read_bytes().endswith((b"IEND\xaeB`\x82", b";")), path
        shutil.rmtree(figures)
        plt.close("all")
    torture.figure(
        item=2,
        what=f"{place.kind} while the figures are drawn: one line, every file whole or the old one",
        runs=torture.count(fast=1, full=15),
        seed=SEED,
    )


def assert_warned(message: str, cache: Path) -> None:
    start, end = "the data are not cached: ", " (SNN_CORE_CACHE names the cache's folder)"
    assert message.startswith(start) and message.endswith(end)
    path = Path(re.search(r"cannot write (.*?): ", message)[1])
    assert path.parent == cache
    assert_helps(message.removeprefix(start).removesuffix(end), path)


def test_a_full_disk_while_the_data_are_cached(
    place, torture, tiny, nothing_outside, tmp_path, monkeypatch, caplog
):
    """The command that fills the cache fails; who only uses the data is warned, and has them."""
    folder = write(tmp_path / "data")
    sizes = [len(content) for content in TINY_FILES.values()]
    largest = max(sizes) if place.kind == LimitedFiles.kind else sum(sizes)
    choose, refused = random.Random(SEED), 0
    rooms = [2 * largest, *(choose.randrange(largest) for _ in range(torture.count(fast=5, full=300)))]
    for number, room in enumerate(rooms):
        cache = place.root / str(number)
        monkeypatch.setenv("SNN_CORE_CACHE", str(cache))
        caplog.clear()
        with place.only(room):
            code = data.main(["--data-path", str(folder)])
        left = contents(cache) if cache.exists() else {}
        assert all(TINY_FILES[name] == content for name, content in left.items()), f"{room} bytes left"
        assert code == (0 if left == TINY_FILES else 1), f"{room} bytes left"
        if code:
            refused += 1
            (record,) = caplog.records
            assert_warned(record.message, cache)
            with place.only(room):
                assert len(data.SequentialFashionMNIST(folder, cache=True, verbose=False)) == 200
        shutil.rmtree(cache, ignore_errors=True)
    assert 0 < refused < len(rooms)
    torture.figure(
        item=2,
        what=f"{place.kind} while the data are cached: one line, every file whole or absent",
        runs=len(rooms),
        refused=refused,
        seed=SEED,
    )


def test_the_commands_themselves(torture, full_folder, tmp_path):
    """As a user runs them: status 1 and one line, with the real data and no room in a file for a picture."""
    commands = {
        "sequential_fmnist.data": ["--data-path", str(full_folder)],
        "sequential_fmnist.train": ["--source", "embedded", "--epochs", "1", "--output-dir", str(tmp_path / "run")],
        "snn_tutorial.plot": ["--results", str(ROOT / "results"), "--figures", str(tmp_path / "figures")],
    }  # fmt: skip
    chosen = list(commands) if torture.count(0, 1) else ["sequential_fmnist.train"]
    # A count of the lines that it reaches has no room either.
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    for module in chosen:
        argv = [sys.executable, "-m", module, *commands[module]]
        with file_limit(3000):
            done = subprocess.run(argv, cwd=ROOT, env=environment, text=True, capture_output=True)
        assert done.returncode == 1
        assert "cannot write " in one_line(done.stderr)
        assert not list(tmp_path.rglob("*.part"))
    torture.figure(
        item=2, what="full disk, commands as a user runs them: status 1, one line", commands=len(chosen)
    )


# Where the exception comes between a block's last line and its exit, Python closes the file later and says so.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_write_interrupted_before_any_of_its_lines(torture, tmp_path):
    """No temporary file stays, and neither the old file nor the process's umask is another one."""
    write_json(tmp_path / "file", "old")
    mask = os.umask(0o022)

    def interrupt() -> None:
        raise KeyboardInterrupt

    try:
        with at_line(-1, interrupt, ("sequential_fmnist/files.py",)) as lines:
            write_json(tmp_path / "file", "old")
        for line in range(1, lines[0] + 1, 1 if torture.full else 5):
            with pytest.raises(KeyboardInterrupt), at_line(line, interrupt, ("sequential_fmnist/files.py",)):
                write_json(tmp_path / "file", "new")
            gc.collect()
            left = contents(tmp_path)
            assert left in ({"file": b'"old"\n'}, {"file": b'"new"\n'}), f"line {line} of {lines[0]}"
            assert os.umask(0o022) == 0o022, f"line {line} of {lines[0]}"
            write_json(tmp_path / "file", "old")
    finally:
        os.umask(mask)
    torture.figure(item=2, what="Ctrl-C before every line that runs in a write of a file", lines=lines[0])


# ---------------------------------------------------------------- where nobody may write


@pytest.fixture(params=["permission bits", "read-only disk", "/proc"])
def forbid(request, tmp_path) -> Iterator[tuple[Path, Callable[[], contextlib.AbstractContextManager[None]]]]:
    """A folder, and a context in which nobody may write to it, root neither."""
    folder = tmp_path / "place"

    @contextlib.contextmanager
    def by_bits() -> Iterator[None]:
        paths = [folder, *folder.rglob("*")]
        for path in paths:
            path.chmod(0o555)
        try:
            with bound_by_permissions():
                yield
        finally:
            for path in paths:
                path.chmod(0o755)

    @contextlib.contextmanager
    def by_mount() -> Iterator[None]:
        mounted.remount("ro")
        try:
            yield
        finally:
            mounted.remount("rw")

    if request.param == "permission bits":
        folder.mkdir()
        yield folder, by_bits
    elif request.param == "/proc":
        yield Path("/proc/snn_core"), contextlib.nullcontext
    else:
        with disk(folder) as mounted:
            if mounted is None:
                pytest.skip("this process may not mount a disk; permission bits need no rights")
            yield mounted.path, by_mount


def test_nobody_may_write(
    forbid, torture, request, few, tiny, nothing_outside, monkeypatch, capsys, caplog, tmp_path
):
    folder, forbidden = forbid
    writable = folder.parent != Path("/proc")

    def append(path: Path, version: int) -> None:
        Store(path).add({"key": str(version)})

    writers = WRITERS | {"a line of results": append}
    for what, put in writers.items():
        path = folder / what.replace(" ", "-") / "file"
        if writable:
            put(path, 0)
        before = contents(folder)
        with pytest.raises(WriteError) as caught, forbidden():
            put(path, 1)
        assert_helps(str(caught.value), path)
        assert contents(folder) == before

    monkeypatch.setattr(train, "SequentialFashionMNIST", lambda *_, train, **__: few[0] if train else few[1])
    argv = ["--epochs", "2", "--hidden", "8", "--tb", "--output-dir", str(folder / "run")]
    if writable:
        assert train.main([*argv, "--epochs", "1"]) == 0
        argv += ["--resume", str(folder / "run" / "latest.pt")]
    before = contents(folder)
    capsys.readouterr()
    with forbidden():
        assert train.main(argv) == 1
    start = "python -m sequential_fmnist: error: "
    message = one_line(capsys.readouterr().err)
    assert message.startswith(start)
    path = Path(re.search(r"cannot write (.*?): ", message)[1])
    assert_helps(message.removeprefix(start), path)
    assert path.parent == folder / "run"

    monkeypatch.setenv("SNN_CORE_CACHE", str(folder / "cache"))
    argv = ["--data-path", str(write(tmp_path / "data"))]
    if writable:
        write(folder / "cache", {"t10k-labels-idx1-ubyte": b"old"})
    cached = contents(folder)
    with forbidden():
        assert data.main(argv) == 1
    (record,) = caplog.records
    assert_warned(record.message, folder / "cache")
    assert contents(folder) == cached
    torture.figure(
        item=2,
        what=f"folder that nobody may write to, root neither ({request.node.callspec.id}): nothing changes, one line",
        kinds_of_files=len(writers) + 2,
    )


# ---------------------------------------------------------------- many at once

FILL = """
import os, sys
from sequential_fmnist import data, sources

sources.FULL = {"training": sources.SUBSET["test"]}
processes, rounds = map(int, sys.argv[1:])
ready, go = os.pipe()


def fill():
    warnings = []
    sources.logger.warning = lambda *message: warnings.append(message)
    os.read(ready, 1)  # all start when the parent closes the pipe
    for _ in range(rounds):
        data.SequentialFashionMNIST(sources.EMBEDDED_FOLDER, cache=True, verbose=False)
        dataset = data.SequentialFashionMNIST(source="full", verbose=False)
        assert dataset.source.startswith("the cache"), dataset.source
    assert not warnings, warnings


children = []
for _ in range(processes):
    if (child := os.fork()) == 0:
        os.close(go)
        try:
            fill()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(go)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_that_fill_one_cache_never_see_half_a_file(torture, tmp_path, monkeypatch, processes):
    monkeypatch.setenv("SNN_CORE_CACHE", str(tmp_path / "shared"))
    rounds = torture.count(fast=5, full=100)
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(processes), str(rounds)], cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    left = contents(tmp_path / "shared")
    assert {name: sha256(content) for name, content in left.items()} == {
        file.name: file.sha256 for file in SUBSET["test"]
    }
    torture.figure(
        item=2,
        what=f"{processes} processes write and read one cache at once: none sees half a file",
        writes=processes * rounds,
    )
