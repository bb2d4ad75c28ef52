"""Damaged data in every form are refused by name and never cached; an interrupted download leaves nothing half-made."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import gc
import gzip
import logging
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torchvision
from support import ROOT
from support_data import (
    TINY,
    TINY_FILES,
    assert_is_tiny,
    build_package,
    cached,
    gz_names,
    pack,
    program,
    proper_response,
    quiet,
    serve,
    write,
)
from support_disk import at_line

from sequential_fmnist import sources
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.sources import DataError

pytestmark = pytest.mark.usefixtures("nothing_outside")
SEED = 3
PATIENCE_S = 120


@contextlib.contextmanager
def no_longer(what: str) -> Iterator[None]:
    """Turn a block that hangs into an error; one that does not hang is not measured."""

    def stop(number, frame):
        raise AssertionError(f"{what} hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclasses.dataclass
class Good:
    """The undamaged files of a data set: what they hold, by their names, and folders with them, plain and packed."""

    content: dict[str, bytes]
    packed: dict[str, bytes]
    folders: dict[str, Path]  # by the ending of the files' names


@dataclasses.dataclass
class Case:
    """One file to damage: its bytes as they are stored, what they hold, and what it is called."""

    good: Good
    name: str
    ending: str
    random: random.Random

    @property
    def content(self) -> bytes:
        return self.good.content[self.name]

    @property
    def stored(self) -> bytes:
        return self.good.packed[self.name] if self.ending else self.content

    def store(self, content: bytes) -> bytes:
        return gzip.compress(content, 1) if self.ending else content

    def place(self) -> int:
        return self.random.randrange(len(self.stored))


# ---------------------------------------------------------------- mutations of the stored bytes


def truncated(case: Case) -> bytes:
    return case.stored[: case.place()]


def a_byte_short(case: Case) -> bytes:
    return case.stored[:-1]


def extended(case: Case) -> bytes:
    return case.stored + case.random.randbytes(case.random.choice([1, 2, 1000, 100_000]))


def a_bit_flipped(case: Case) -> bytes:
    changed = bytearray(case.stored)
    changed[case.place()] ^= 1 << case.random.randrange(8)
    return bytes(changed)


def many_bits_flipped(case: Case) -> bytes:
    changed = bytearray(case.stored)
    for _ in range(100):
        changed[case.place()] ^= 1 << case.random.randrange(8)
    return bytes(changed)


def noise_in_the_middle(case: Case) -> bytes:
    start, length = case.place(), case.random.randrange(1, 5000)
    return case.stored[:start] + case.random.randbytes(length) + case.stored[start + length :]


def zeros_in_the_middle(case: Case) -> bytes:
    start, length = case.place(), case.random.randrange(1, 100_000)
    return (
        case.stored[:start] + bytes(len(case.stored[start : start + length])) + case.stored[start + length :]
    )


def a_byte_dropped(case: Case) -> bytes:
    place = case.place()
    return case.stored[:place] + case.stored[place + 1 :]


def a_block_twice(case: Case) -> bytes:
    start, length = case.place(), 4096
    return case.stored[: start + length] + case.stored[start:]


def no_bytes(case: Case) -> bytes:
    return b""


def noise(case: Case) -> bytes:
    return case.random.randbytes(len(case.stored))


def a_web_page(case: Case) -> bytes:
    return b"<!DOCTYPE html><html><body>Please log in</body></html>"


# ---------------------------------------------------------------- mutations of what is inside


def is_of_labels(case: Case) -> bool:
    return "labels" in case.name


def another_value(case: Case) -> bytes:
    """A legal file: one pixel or one label is another one."""
    start = 8 if is_of_labels(case) else 16
    changed = bytearray(case.content)
    place = case.random.randrange(start, len(changed))
    changed[place] = (changed[place] + 1) % (10 if is_of_labels(case) else 256)
    return case.store(bytes(changed))


def label_200(case: Case) -> bytes:
    case.name = case.name.replace("images-idx3", "labels-idx1")
    changed = bytearray(case.content)
    changed[case.random.randrange(8, len(changed))] = 200
    return case.store(bytes(changed))


def wrong_magic(case: Case) -> bytes:
    magic = case.random.choice([0, 0x803 ^ 0x802, 0x80D, 0x903, 0x03080000, 0xFFFFFFFF])
    return case.store(struct.pack(">I", magic) + case.content[4:])


def a_header_that_lies(case: Case) -> bytes:
    count = len(case.content)
    if is_of_labels(case):
        header = case.random.choice([(0x801, 0), (0x801, count), (0x801, 2**32 - 1), (0x803, 10, 10, 100)])
    else:
        n = (count - 16) // 784
        header = case.random.choice(
            [
                (0x803, n, 14, 56),
                (0x803, 0, 28, 28),
                (0x803, n * 28, 28, 1),
                (0x803, 2**31, 2**31, 28),
                (0x801, n * 784),
            ]
        )
    header = struct.pack(f">{len(header)}I", *header)
    return case.store(header + case.content[len(header) :])


def little_endian(case: Case) -> bytes:
    size = 8 if is_of_labels(case) else 16
    words = struct.unpack(f">{size // 4}I", case.content[:size])
    return case.store(struct.pack(f"<{size // 4}I", *words) + case.content[size:])


def another_file(case: Case) -> bytes:
    """Files swapped: labels for images, or those of the other split."""
    other = case.random.choice([name for name in case.good.content if name != case.name])
    return case.good.packed[other] if case.ending else case.good.content[other]


def another_order(case: Case) -> bytes:
    """A legal file: the pictures or the labels in another order."""
    start, size = (8, 1) if is_of_labels(case) else (16, 784)
    turn = start + size * case.random.randrange(1, 500)
    return case.store(case.content[:start] + case.content[turn:] + case.content[start:turn])


def packed_or_not(case: Case) -> bytes:
    """A .gz that is not packed, or a packed file without .gz in its name."""
    return case.content if case.ending else case.good.packed[case.name]


# ---------------------------------------------------------------- mutations of a .gz


@functools.cache
def bomb() -> bytes:
    """A gigabyte of zeros in a megabyte."""
    return gzip.compress(bytes(64 << 20), 1) * 16


def a_bomb(case: Case) -> bytes:
    return bomb()


def a_bomb_behind_the_data(case: Case) -> bytes:
    return case.stored + bomb()


def garbage_behind(case: Case) -> bytes:
    return case.stored + b"\1" + case.random.randbytes(100)


def another_member_behind(case: Case) -> bytes:
    return case.stored + gzip.compress(case.random.choice([b"\0", case.content[:1000]]))


def only_a_first_member(case: Case) -> bytes:
    return gzip.compress(case.content[: len(case.content) // 2], 1)


def members_in_another_order(case: Case) -> bytes:
    half = len(case.content) // 2
    return gzip.compress(case.content[half:], 1) + gzip.compress(case.content[:half], 1)


def empty_members(case: Case) -> bytes:
    return gzip.compress(b"") * 1000


def packed_twice(case: Case) -> bytes:
    return gzip.compress(case.stored, 1)


def wrong_checksum(case: Case) -> bytes:
    return case.stored[:-8] + struct.pack("<I", case.random.getrandbits(32)) + case.stored[-4:]


def wrong_length(case: Case) -> bytes:
    return case.stored[:-4] + struct.pack("<I", (len(case.content) + case.random.randrange(1, 99)))


def a_name_without_end(case: Case) -> bytes:
    """The header says that a name follows, and no zero ends it."""
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 500_000


def no_deflate(case: Case) -> bytes:
    return case.stored[:2] + b"\x07" + case.stored[3:]


BYTES: dict[str, Callable[[Case], bytes]] = {
    function.__name__: function
    for function in (
        truncated, a_byte_short, extended, a_bit_flipped, many_bits_flipped, noise_in_the_middle, zeros_in_the_middle,
        a_byte_dropped, a_block_twice, no_bytes, noise, a_web_page,
        another_value, label_200, wrong_magic, a_header_that_lies, little_endian, another_file, another_order,
        packed_or_not,
    )
}  # fmt: skip
GZ_BYTES: dict[str, Callable[[Case], bytes]] = {
    function.__name__: function
    for function in (
        a_bomb, a_bomb_behind_the_data, garbage_behind, another_member_behind, only_a_first_member,
        members_in_another_order, empty_members, packed_twice, wrong_checksum, wrong_length, a_name_without_end,
        no_deflate,
    )
}  # fmt: skip


# ---------------------------------------------------------------- what is no file, or a very large one


def nothing(path: Path) -> None:
    pass


def a_folder(path: Path) -> None:
    path.mkdir()


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"1")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def links_in_a_circle(path: Path) -> None:
    other = path.with_name("other")
    path.symlink_to(other)
    other.symlink_to(path)


def a_link_to_a_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def a_link_to_zeros_without_end(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_noise_without_end(path: Path) -> None:
    path.symlink_to("/dev/urandom")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to(path.with_name("pipe"))


def a_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


def a_terabyte_of_nothing(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


SPECIAL: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (
        nothing, a_folder, a_full_folder, a_link_to_nothing, a_link_to_itself, links_in_a_circle, a_link_to_a_folder,
        a_link_to_zeros_without_end, a_link_to_noise_without_end, a_pipe, a_link_to_a_pipe, a_socket,
        a_terabyte_of_nothing,
    )
}  # fmt: skip


#: Kinds of damage to a file whose name ends like this.
KINDS = {"": [*BYTES, *SPECIAL], ".gz": [*BYTES, *GZ_BYTES, *SPECIAL, "a_terabyte_of_zeros_behind"]}
#: Where no more may be read than the file should have.
LARGE = {
    "a_bomb", "a_bomb_behind_the_data", "a_name_without_end", "a_link_to_zeros_without_end", "empty_members",
    "a_link_to_noise_without_end", "a_terabyte_of_nothing", "a_terabyte_of_zeros_behind",
}  # fmt: skip

#: Where there is nothing that could be named: the source counts as empty.
MISSING = {"nothing", "a_link_to_nothing", "a_link_to_itself", "links_in_a_circle"}


def put(kind: str, case: Case, folder: Path) -> Path | None:
    """Put the damaged file into ``folder`` and return its path; None if this case has by chance changed nothing.

    Whether it has is asked of gzip itself.
    """
    content = (BYTES | GZ_BYTES).get(kind, lambda case: case.stored)(case)
    path = folder / (case.name + case.ending)
    if kind in SPECIAL:
        SPECIAL[kind](path)
        return path
    path.write_bytes(content)
    if kind == "a_terabyte_of_zeros_behind":  # allowed, but Python's gzip skips them one by one
        os.truncate(path, 1 << 40)
    elif kind in BYTES:
        with contextlib.suppress(OSError, EOFError, zlib.error):
            if (gzip.decompress(content) if case.ending else content) == case.content:
                return None
    return path


def group(kind: str) -> str:
    if kind in SPECIAL:
        return "no_or_endless_files"
    if kind in GZ_BYTES or kind == "a_terabyte_of_zeros_behind":
        return "archives_that_lie"
    return (
        "changed_bytes" if list(BYTES).index(kind) < list(BYTES).index("another_value") else "other_contents"
    )


@contextlib.contextmanager
def little_memory(size: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 4 * size + (16 << 20)
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- the real data


@pytest.fixture(scope="module")
def good(full_folder, tmp_path_factory, request) -> Iterator[Good]:
    """The real data; the largest file, 47 MB, only when the tests run in full."""
    files = [file for pair in sources.FULL.values() for file in pair]
    if not request.config.getoption("--torture"):
        files = [file for file in files if file.shape != (60000, 28, 28)]
    folders = {"": tmp_path_factory.mktemp("plain"), ".gz": tmp_path_factory.mktemp("packed")}
    found = Good({}, {}, folders)
    for file in files:
        plain, packed = full_folder / file.name, full_folder / f"{file.name}.gz"
        content = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
        found.content[file.name] = content
        found.packed[file.name] = packed.read_bytes() if packed.exists() else gzip.compress(content, 1)
        (folders[""] / file.name).write_bytes(content)
        (folders[".gz"] / packed.name).write_bytes(found.packed[file.name])
    yield found
    for folder in folders.values():
        shutil.rmtree(folder)


def test_damaged_real_files_are_refused(good, torture, tmp_path):
    """Whatever is wrong with a file, the error names it and what to do, and nothing reaches the cache."""
    kinds = [(kind, ending) for ending, all_kinds in KINDS.items() for kind in all_kinds]
    random.Random(SEED).shuffle(kinds)
    wanted, counts, harmless = torture.count(fast=40, full=500), collections.Counter(), 0
    number = 0
    while counts.total() < wanted:
        kind, ending = kinds[number % len(kinds)]
        choose = random.Random(f"{SEED} {number}")
        case = Case(
            good, choose.choice([name for name in good.content if name.startswith("t10k")]), ending, choose
        )
        if number % 8 == 7 and len(good.content) == 4:
            case.name = case.name.replace("t10k", "train")
        where = f"case {number}, {kind}, {case.name}{ending}"
        number += 1
        root = tmp_path / "data"
        folder = choose.choice([root, root / "FashionMNIST" / "raw"])
        folder.mkdir(parents=True)
        path = put(kind, case, folder)
        split = "training" if case.name.startswith("train") else "test"
        size = sum(file.size for file in sources.FULL[split])
        for file in sources.FULL[split]:
            if file.name != case.name:
                (folder / (file.name + ending)).symlink_to(good.folders[ending] / (file.name + ending))
        load = functools.partial(SequentialFashionMNIST, root, split == "training", cache=True, verbose=False)
        with (
            no_longer(where),
            little_memory(size) if kind in LARGE else contextlib.nullcontext(),
        ):
            if path is None:
                harmless += 1
                assert len(load()) == len(case.content) // (1 if is_of_labels(case) else 784), where
                shutil.rmtree(tmp_path / "cache")
            else:
                counts[group(kind)] += 1
                with pytest.raises(DataError) as caught:
                    print(where, load().source)  # printed when it is not refused
                message = str(caught.value)
                assert (case.name if kind == "nothing" else f"{path}: ") in message, where
                assert "Fetch the file again, or leave data_path out" in message and "\n" not in message, (
                    where
                )
                assert cached(tmp_path) == {}, where
        shutil.rmtree(root)
    torture.figure(
        item=3,
        what="damaged files of the real Fashion-MNIST: refused by name with the fix, none cached",
        files=counts.total(),
        kinds=min(number, len(kinds)),
        **counts,
        changed_nothing_by_chance=harmless,
        seed=SEED,
    )


# ---------------------------------------------------------------- all the ways that data come


@pytest.fixture
def tiny_good(tmp_path, tiny) -> Good:
    folders = {"": write(tmp_path / "plain"), ".gz": write(tmp_path / "packed", gz_names())}
    return Good(TINY_FILES, {name: pack(content) for name, content in TINY_FILES.items()}, folders)


def tiny_cases(good: Good, ending: str, kinds: list[str], count: int) -> Iterator[tuple[str, Case]]:
    for number in range(count):
        choose = random.Random(f"{SEED} {number}")
        kind = kinds[number % len(kinds)]
        yield kind, Case(good, choose.choice([file.name for file in TINY["training"]]), ending, choose)


def test_a_damaged_cache_is_never_used_and_mended(tiny_good, torture, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tiny_good.folders[".gz"])
    cache = tmp_path / "cache"
    count = torture.count(fast=len(KINDS[""]), full=300)
    for number, (kind, case) in enumerate(tiny_cases(tiny_good, "", KINDS[""], count)):
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        path = put(kind, case, cache)
        for file in TINY["training"]:
            if file.name != case.name:
                (cache / file.name).write_bytes(TINY_FILES[file.name])
        caplog.clear()
        where = f"case {number}, {kind}, {case.name}"
        with (
            no_longer(where),
            little_memory(len(case.content)) if kind in LARGE else contextlib.nullcontext(),
        ):
            assert_is_tiny(quiet(source="full"))
        assert path is None or kind in MISSING or f"{path}: " in caplog.text, where
        if "folder" in kind and "link" not in kind:
            assert "Remove the folder of that name" in caplog.text, where
        else:
            # Some put a second file there.
            left = {name: content for name, content in cached(tmp_path).items() if name in TINY_FILES}
            assert left == {file.name: TINY_FILES[file.name] for file in TINY["training"]}, where
    torture.figure(
        item=3, what="damaged files in the cache: named, never used, replaced from the next source", files=count,
        seed=SEED,
    )  # fmt: skip


def test_a_damaged_installed_package_is_never_used(tiny_good, torture, tmp_path, monkeypatch):
    count = torture.count(fast=len(KINDS[".gz"]), full=300)
    for number, (kind, case) in enumerate(tiny_cases(tiny_good, ".gz", KINDS[".gz"], count)):
        folder = tmp_path / "installed"
        folder.mkdir()
        path = put(kind, case, folder)
        for file in TINY["training"]:
            if file.name != case.name:
                shutil.copy(tiny_good.folders[".gz"] / f"{file.name}.gz", folder)
        monkeypatch.setattr(sources, "DEBIAN_FOLDER", folder)
        where = f"case {number}, {kind}, {case.name}"
        with (
            no_longer(where),
            little_memory(len(case.content)) if kind in LARGE else contextlib.nullcontext(),
        ):
            if path is None:
                assert_is_tiny(quiet(source="full"))
            else:
                with pytest.raises(DataError) as caught:
                    print(where, quiet(source="full", cache=True).source)
                assert (case.name if kind == "nothing" else f"{path}: ") in str(caught.value), where
                assert "apt-get install --reinstall dataset-fashion-mnist" in str(caught.value), where
        assert cached(tmp_path) == {}, where
        shutil.rmtree(folder)
    torture.figure(
        item=3,
        what="damaged files in Debian's installed package: refused by name, none cached",
        files=count,
        seed=SEED,
    )


def test_a_damaged_mirror_is_never_used(tiny_good, torture, tmp_path):
    kinds = [*BYTES, *GZ_BYTES]
    count = torture.count(fast=len(kinds), full=300)
    body = {}

    def respond(handler, good: bytes) -> None:
        proper_response(handler, body.get(handler.path, good))

    with serve(gz_names(), respond):
        for number, (kind, case) in enumerate(tiny_cases(tiny_good, ".gz", kinds, count)):
            where = f"case {number}, {kind}, {case.name}"
            body.clear()
            folder = tmp_path / "served"
            folder.mkdir()
            path = put(kind, case, folder)
            body[f"/{case.name}.gz"] = (folder / f"{case.name}.gz").read_bytes()
            with (
                no_longer(where),
                little_memory(len(case.content)) if kind in LARGE else contextlib.nullcontext(),
            ):
                if path is None:
                    assert_is_tiny(quiet(source="full"))
                    shutil.rmtree(tmp_path / "cache")
                else:
                    with pytest.raises(DataError, match=f"/{case.name}.gz: .* The mirror is not as expected"):
                        print(where, quiet(source="full").source)
            assert cached(tmp_path) == {}, where
            shutil.rmtree(folder)
        body.clear()
        assert_is_tiny(quiet(source="full"))
    torture.figure(
        item=3,
        what="damaged downloads: refused by address, none cached, then a good one works",
        files=count,
        seed=SEED,
    )


# ---------------------------------------------------------------- interruptions


def assert_only_whole_files(cache: dict[str, bytes]) -> None:
    for name, content in cache.items():
        assert name.startswith(".") or content == TINY_FILES[name]


# An exception between a block's last line and its exit lets Python close things later, and it says so.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("way", ["download", "package"])
def test_an_interruption_at_any_line_leaves_nothing_half_made(
    tiny, torture, tmp_path, monkeypatch, caplog, way
):
    # A record would keep its error, and with it the files that the interrupted frames had open.
    caplog.set_level(logging.CRITICAL, sources.logger.name)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(sources, "CHUNK_BYTES", 4000)  # more lines while a download runs
    if way == "package":
        package = build_package(tmp_path, gz_names())
        program(tmp_path, "apt-get", f'cp "{package}" x.deb')
    own = ("sequential_fmnist/sources.py", "sequential_fmnist/files.py")
    asked = {file.name for file in TINY["training"]}
    choose, raised = random.Random(SEED), collections.Counter()
    count = torture.count(fast=20, full=200)
    with serve(gz_names() if way == "download" else {}):
        with at_line(-1, lambda: None, own) as lines:
            quiet(source="full")
        for number in range(count):
            shutil.rmtree(tmp_path / "cache")
            error = choose.choice(
                [KeyboardInterrupt, MemoryError, SystemExit, OSError(5, "Input/output error")]
            )
            line = choose.randrange(1, lines[0] + 1)

            def interrupt(error=error):
                raise error

            where = f"case {number}: {error!r} at line {line} of {lines[0]}"
            try:
                with at_line(line, interrupt, own):
                    dataset = quiet(source="full")
            except (KeyboardInterrupt, MemoryError, SystemExit, OSError, DataError) as caught:
                raised[type(caught).__name__] += 1
            else:
                assert_is_tiny(dataset)
            assert_only_whole_files(cached(tmp_path))
            assert list(temporary.iterdir()) == [], where
            assert_is_tiny(quiet(source="full"))
            quiet(source="full", cache=True)
            assert asked <= cached(tmp_path).keys() <= TINY_FILES.keys(), where
    gc.collect()  # here, where Python may say so
    assert raised.total() > 0
    torture.figure(
        item=3, what=f"{way} interrupted by an exception at a random line: nothing half-made, the next call works",
        interruptions=count, seed=SEED,
    )  # fmt: skip


KILLS = """
import os, random, shutil, signal, sys, tempfile
from pathlib import Path

import torchvision
from support_data import TINY, TINY_FILES, cached, quiet
from support_disk import at_line

from sequential_fmnist import sources

folder, temporary, mirror, seed, count = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
sources.FULL, sources.DEBIAN_FOLDER = TINY, folder / "nowhere"
torchvision.datasets.FashionMNIST.mirrors = [mirror] if mirror else []
sources.CHUNK_BYTES = 4000


def load():
    return quiet(source="full")


def ours():
    '''What the package was unpacked into; torch has folders there, too.'''
    return list(temporary.glob(sources.SCRATCH + "*"))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


with at_line(-1, die, (".py",)) as lines:
    load()
choose, left = random.Random(int(seed)), 0
for number in range(int(count)):
    shutil.rmtree(folder / "cache")
    line = choose.randrange(1, lines[0] + 1)
    where = f"case {number}: line {line} of {lines[0]}"
    if (child := os.fork()) == 0:
        with at_line(line, die, (".py",)):
            load()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), where
    left += sum(name.endswith(".part") for name in cached(folder))
    for name, content in cached(folder).items():
        assert name.endswith(".part") or content == TINY_FILES[name], where
    for scratch in ours():
        left += 1
        os.utime(scratch, (0, 0))  # as if the machine had gone on for an hour
    dataset = load()
    assert len(dataset) == 200, where
    # What had reached the cache is taken from there, and the package is not asked for.
    assert not ours() or dataset.source.startswith("the cache"), where
    for scratch in ours():
        shutil.rmtree(scratch)
    assert {file.name for file in TINY["training"]} <= cached(folder).keys() <= TINY_FILES.keys(), where
print(left)
"""


@pytest.mark.parametrize("way", ["download", "package"])
def test_a_kill_at_any_line_leaves_nothing_half_made(torture, tmp_path, monkeypatch, way):
    """SIGKILL before a random line of Python, ours or a library's, of a process that gets the data."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    if way == "package":
        package = build_package(tmp_path, gz_names())
        program(tmp_path, "apt-get", f'cp "{package}" x.deb')
    count = torture.count(fast=10, full=150)
    with serve(gz_names()):
        mirror = torchvision.datasets.FashionMNIST.mirrors[-1] if way == "download" else ""
        done = subprocess.run(
            [sys.executable, "-c", KILLS, str(tmp_path), str(temporary), mirror, str(SEED), str(count)],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])},
            text=True, capture_output=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    torture.figure(
        item=3, what=f"{way} interrupted by SIGKILL at a random line: nothing half-made, the next call works",
        kills=count, left_temporary_files_until_then=int(done.stdout), seed=SEED,
    )  # fmt: skip


def test_what_a_kill_left_of_a_package_is_removed_in_time(tiny, torture, tmp_path, monkeypatch):
    """Not at once: another process may be unpacking."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    package = build_package(tmp_path, gz_names())
    program(tmp_path, "apt-get", f'cp "{package}" x.deb')
    old, new, other = (
        tmp_path / name for name in (f"{sources.SCRATCH}old", f"{sources.SCRATCH}new", "other")
    )
    for folder in (old, new, other):
        write(folder / "usr")
    for folder in (old, other):
        os.utime(folder, (time.time() - 3600,) * 2)
    assert_is_tiny(quiet(source="full"))
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)
    torture.figure(
        item=3, what="unpacked packages that a kill left in the temporary folder: removed later", folders=1
    )
