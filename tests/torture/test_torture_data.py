"""Damaged data in every form are refused by name and never used; an interrupted download leaves nothing half-made."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import gzip
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT
from support_data import (
    TINY,
    TINY_FILES,
    assert_is_tiny,
    cached,
    gz_names,
    pack,
    proper_response,
    quiet,
    serve,
    write,
)

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
    def of_labels(self) -> bool:
        return "labels" in self.name

    @property
    def stored(self) -> bytes:
        return self.good.packed[self.name] if self.ending else self.content

    def store(self, content: bytes) -> bytes:
        return gzip.compress(content, 1) if self.ending else content

    def place(self) -> int:
        return self.random.randrange(len(self.stored))

    def overwritten(self, most: int, new: Callable[[int], bytes]) -> bytes:
        """The stored bytes with fewer than ``most`` of them, somewhere, replaced by new ones."""
        start = self.place()
        end = min(len(self.stored), start + self.random.randrange(1, most))
        return self.stored[:start] + new(end - start) + self.stored[end:]


# ---------------------------------------------------------------- mutations of the stored bytes, and of what is inside


def bits_flipped(case: Case, count: int) -> bytes:
    changed = bytearray(case.stored)
    for _ in range(count):
        changed[case.place()] ^= 1 << case.random.randrange(8)
    return bytes(changed)


def another_value(case: Case) -> bytes:
    """A legal file: one pixel or one label is another one."""
    changed = bytearray(case.content)
    place = case.random.randrange(8 if case.of_labels else 16, len(changed))
    changed[place] = (changed[place] + 1) % (10 if case.of_labels else 256)
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
    size, n = len(case.content), (len(case.content) - 16) // 784
    labels = [(0x801, 0), (0x801, size), (0x801, 2**32 - 1), (0x803, 10, 10, 100)]
    images = [(0x803, n, 14, 56), (0x803, 0, 28, 28), (0x803, n * 28, 28, 1), (0x803, 2**31, 2**31, 28)]
    images.append((0x801, n * 784))
    header = case.random.choice(labels if case.of_labels else images)
    packed = struct.pack(f">{len(header)}I", *header)
    return case.store(packed + case.content[len(packed) :])


def little_endian(case: Case) -> bytes:
    words = 2 if case.of_labels else 4
    header = struct.unpack_from(f">{words}I", case.content)
    return case.store(struct.pack(f"<{words}I", *header) + case.content[4 * words :])


def another_file(case: Case) -> bytes:
    """Files swapped: labels for images, or those of the other split."""
    other = case.random.choice([name for name in case.good.content if name != case.name])
    return case.good.packed[other] if case.ending else case.good.content[other]


def another_order(case: Case) -> bytes:
    """A legal file: the pictures or the labels in another order."""
    start, size = (8, 1) if case.of_labels else (16, 784)
    turn = start + size * case.random.randrange(1, 500)
    return case.store(case.content[:start] + case.content[turn:] + case.content[start:turn])


STORED: dict[str, Callable[[Case], bytes]] = {
    "truncated": lambda case: case.stored[: case.place()],
    "a_byte_short": lambda case: case.stored[:-1],
    "extended": lambda case: case.stored + case.random.randbytes(case.random.choice([1, 2, 1000, 100_000])),
    "a_bit_flipped": lambda case: bits_flipped(case, 1),
    "many_bits_flipped": lambda case: bits_flipped(case, 100),
    "noise_in_the_middle": lambda case: case.overwritten(5000, case.random.randbytes),
    "zeros_in_the_middle": lambda case: case.overwritten(100_000, bytes),
    "a_byte_dropped": lambda case: case.overwritten(2, lambda one: b""),
    "a_block_twice": lambda case: case.stored[: (start := case.place()) + 4096] + case.stored[start:],
    "no_bytes": lambda case: b"",
    "noise": lambda case: case.random.randbytes(len(case.stored)),
    "a_web_page": lambda case: b"<!DOCTYPE html><html><body>Please log in</body></html>",
}  # fmt: skip
INSIDE: dict[str, Callable[[Case], bytes]] = {
    function.__name__: function
    for function in (
        another_value, label_200, wrong_magic, a_header_that_lies, little_endian, another_file, another_order,
    )
} | {
    # A .gz that is not packed, or a packed file without .gz in its name.
    "packed_or_not": lambda case: case.content if case.ending else case.good.packed[case.name],
}  # fmt: skip


@functools.cache
def bomb() -> bytes:
    """A gigabyte of zeros in a megabyte."""
    return gzip.compress(bytes(64 << 20), 1) * 16


def halves(case: Case) -> tuple[bytes, bytes]:
    middle = len(case.content) // 2
    return case.content[:middle], case.content[middle:]


ARCHIVES: dict[str, Callable[[Case], bytes]] = {
    "a_bomb": lambda case: bomb(),
    "a_bomb_behind_the_data": lambda case: case.stored + bomb(),
    "garbage_behind": lambda case: case.stored + b"\1" + case.random.randbytes(100),
    "another_member_behind": lambda case: case.stored + gzip.compress(case.random.choice([b"\0", case.content[:1000]])),
    "only_a_first_member": lambda case: gzip.compress(halves(case)[0], 1),
    "members_in_another_order": lambda case: b"".join(gzip.compress(half, 1) for half in halves(case)[::-1]),
    "empty_members": lambda case: gzip.compress(b"") * 1000,
    "packed_twice": lambda case: gzip.compress(case.stored, 1),
    "wrong_checksum": lambda case: case.stored[:-8] + struct.pack("<I", case.random.getrandbits(32)) + case.stored[-4:],
    "wrong_length": lambda case: case.stored[:-4] + struct.pack("<I", len(case.content) + case.random.randrange(1, 99)),
    # The header says that a name follows, and no zero ends it.
    "a_name_without_end": lambda case: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 500_000,
    "no_deflate": lambda case: case.stored[:2] + b"\x07" + case.stored[3:],
    "a_terabyte_of_zeros_behind": lambda case: case.stored,  # see put
}  # fmt: skip


# ---------------------------------------------------------------- what is no file, or a very large one


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"1")


def links_in_a_circle(path: Path) -> None:
    path.symlink_to(other := path.with_name("other"))
    other.symlink_to(path)


def a_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(pipe := path.with_name("pipe"))
    path.symlink_to(pipe)


def a_terabyte_of_nothing(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "a_folder": Path.mkdir,
    "a_full_folder": a_full_folder,
    "a_link_to_nothing": lambda path: path.symlink_to("nothing"),
    "a_link_to_itself": lambda path: path.symlink_to(path),
    "links_in_a_circle": links_in_a_circle,
    "a_link_to_a_folder": lambda path: path.symlink_to(path.parent),
    "a_link_to_zeros_without_end": lambda path: path.symlink_to("/dev/zero"),
    "a_link_to_noise_without_end": lambda path: path.symlink_to("/dev/urandom"),
    "a_pipe": os.mkfifo,
    "a_link_to_a_pipe": a_link_to_a_pipe,
    "a_socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a_terabyte_of_nothing": a_terabyte_of_nothing,
}

GROUPS = {
    "changed_bytes": STORED, "other_contents": INSIDE, "archives_that_lie": ARCHIVES, "no_or_endless_files": SPECIAL,
}  # fmt: skip
#: Kinds of damage to a file whose name ends like this.
KINDS = {"": [*STORED, *INSIDE, *SPECIAL], ".gz": [*STORED, *INSIDE, *ARCHIVES, *SPECIAL]}
#: Where no more may be read than the file should have.
LARGE = {
    "a_bomb", "a_bomb_behind_the_data", "a_name_without_end", "a_link_to_zeros_without_end", "empty_members",
    "a_link_to_noise_without_end", "a_terabyte_of_nothing", "a_terabyte_of_zeros_behind",
}  # fmt: skip


def put(kind: str, case: Case, folder: Path) -> Path | None:
    """Put the damaged file into ``folder`` and return its path; None if this case has by chance changed nothing.

    Whether it has is asked of gzip itself.
    """
    if kind in SPECIAL:
        SPECIAL[kind](path := folder / (case.name + case.ending))
        return path
    content = (STORED | INSIDE | ARCHIVES)[kind](case)
    path = folder / (case.name + case.ending)  # now, as the case may have taken another file
    path.write_bytes(content)
    if kind == "a_terabyte_of_zeros_behind":
        os.truncate(path, 1 << 40)
    elif kind not in ARCHIVES:
        with contextlib.suppress(OSError, EOFError, zlib.error):
            if (gzip.decompress(content) if case.ending else content) == case.content:
                return None
    return path


@contextlib.contextmanager
def watched(where: str, kind: str, size: int) -> Iterator[None]:
    """The block neither hangs nor, where the file is huge, takes much more memory than ``size``."""
    with no_longer(where):
        if kind not in LARGE:
            yield
            return
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < 4 * size + (16 << 20), where
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
    wanted, counts, harmless = torture.count(fast=20, full=500), collections.Counter(), 0
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
        with watched(where, kind, size):
            if path is None:
                harmless += 1
                assert len(load()) == len(case.content) // (1 if case.of_labels else 784), where
                shutil.rmtree(tmp_path / "cache")
            else:
                counts[next(name for name, kinds in GROUPS.items() if kind in kinds)] += 1
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


def tiny_cases(good: Good, ending: str, kinds: list[str], count: int) -> Iterator[tuple[str, str, Case]]:
    for number in range(count):
        choose = random.Random(f"{SEED} {number}")
        kind = kinds[number % len(kinds)]
        case = Case(good, choose.choice([file.name for file in TINY["training"]]), ending, choose)
        yield f"case {number}, {kind}, {case.name}", kind, case


def put_with_the_other(kind: str, case: Case, folder: Path) -> Path | None:
    """The damaged file, and beside it the other one of the split as it should be."""
    folder.mkdir()
    path = put(kind, case, folder)
    for file in TINY["training"]:
        if file.name != case.name:
            shutil.copy(case.good.folders[case.ending] / (file.name + case.ending), folder)
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_damaged_cache_is_never_used_and_is_repaired(
    tiny_good, torture, tmp_path, monkeypatch, caplog, ending
):
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tiny_good.folders[".gz"])
    cache = tmp_path / "cache"
    count = torture.count(fast=len(KINDS[ending]), full=300)
    for where, kind, case in tiny_cases(tiny_good, ending, KINDS[ending], count):
        shutil.rmtree(cache, ignore_errors=True)
        caplog.clear()
        path = put_with_the_other(kind, case, cache)
        with watched(where, kind, len(case.content)):
            assert_is_tiny(quiet(source="full"))
        assert path is None or (case.name if kind == "nothing" else f"{path}: ") in caplog.text, where
        if kind in ("a_folder", "a_full_folder") and not ending:
            assert "Remove the folder of that name" in caplog.text, where
        else:
            caplog.clear()
            dataset = quiet(source="full")
            assert_is_tiny(dataset)
            assert dataset.source.startswith("the cache") and not caplog.text, where
    torture.figure(
        item=3, what=f"damaged {ending or 'plain'} files in the cache: named, never used, replaced",
        files=count, seed=SEED,
    )  # fmt: skip


def test_a_damaged_installed_package_is_never_used(tiny_good, torture, tmp_path, monkeypatch):
    count = torture.count(fast=len(KINDS[".gz"]), full=300)
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", folder := tmp_path / "installed")
    for where, kind, case in tiny_cases(tiny_good, ".gz", KINDS[".gz"], count):
        path = put_with_the_other(kind, case, folder)
        with watched(where, kind, len(case.content)):
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
        item=3, what="damaged files in Debian's installed package: refused by name, none cached", files=count, seed=SEED
    )  # fmt: skip


def test_a_damaged_mirror_is_never_used(tiny_good, torture, tmp_path):
    """What arrives is not what torchvision's MD5 digests are of."""
    kinds = [kind for kind in KINDS[".gz"] if kind not in SPECIAL and not kind.startswith("a_terabyte")]
    count = torture.count(fast=len(kinds), full=300)
    body = {}
    with serve(gz_names(), lambda handler, good: proper_response(handler, body.get(handler.path, good))):
        for where, kind, case in tiny_cases(tiny_good, ".gz", kinds, count):
            content = (STORED | INSIDE | ARCHIVES)[kind](case)
            body = {f"/{case.name}.gz": content}
            with watched(where, kind, len(case.content)):
                if content == case.stored:
                    assert_is_tiny(quiet(source="full"))
                else:
                    with pytest.raises(DataError, match=f"the mirror .* failed: MD5 .*{case.name}.gz"):
                        print(where, quiet(source="full").source)
            assert f"{case.name}.gz" not in cached(tmp_path) or content == case.stored, where
            shutil.rmtree(tmp_path / "cache")
        body = {}
        assert_is_tiny(quiet(source="full"))
    torture.figure(
        item=3, what="damaged downloads: refused by name, not cached, then a good one works", files=count, seed=SEED
    )  # fmt: skip


# ---------------------------------------------------------------- interruptions

KILLS = """
import contextlib, os, random, shutil, signal, sys
from pathlib import Path

from support_data import MD5, TINY, TINY_FILES, cached, gz_names, quiet
from support_disk import at_line

from sequential_fmnist import sources

folder, sources.MIRROR, seed, count, way, how = Path(sys.argv[1]), *sys.argv[2:]
sources.FULL, sources.MIRROR_MD5, sources.DEBIAN_FOLDER = TINY, MD5, folder / "nowhere"
whole = TINY_FILES | gz_names()


def load():
    return quiet(folder / "data" if way == "copy" else None, source="full", cache=True)


def die():
    if how == "Ctrl-C":
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGKILL)


with at_line(-1, die, (".py",)) as lines:
    load()
choose, left = random.Random(int(seed)), 0
for number in range(int(count)):
    shutil.rmtree(folder / "cache")
    line = choose.randrange(1, lines[0] + 1)
    where = f"case {number}: line {line} of {lines[0]}"
    if (child := os.fork()) == 0:
        with contextlib.suppress(KeyboardInterrupt), at_line(line, die, (".py",)):
            load()
        os._exit(0)
    assert os.waitpid(child, 0)[1] in (0, signal.SIGKILL), where
    for path in (folder / "cache").glob("*"):
        if path.name in whole:
            assert cached(folder)[path.name] == whole[path.name], where
        else:
            left += 1
            path.unlink()  # so that a name of chance with .gz at its end is not unpacked
    assert len(load()) == 200, where
    dataset = quiet(source="full")
    assert len(dataset) == 200 and dataset.source.startswith("the cache"), where
print(left)
"""


@pytest.mark.parametrize(
    ("way", "how"), [("download", "SIGKILL"), ("copy", "SIGKILL"), ("download", "Ctrl-C")]
)
def test_an_interruption_at_any_line_leaves_nothing_half_made(torture, tmp_path, way, how):
    """Before a random line of Python, ours or a library's, of a process that fills the cache."""
    write(tmp_path / "data")
    count = torture.count(fast=10, full=150)
    with serve(gz_names()):
        argv = [sys.executable, "-c", KILLS, str(tmp_path), sources.MIRROR, str(SEED), str(count), way, how]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
        done = subprocess.run(
            argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, text=True, capture_output=True
        )
    assert done.returncode == 0, done.stderr
    torture.figure(
        item=3, what=f"{way} to the cache, {how} at a random line: nothing half-made, the next call works",
        interruptions=count, left_temporary_files=int(done.stdout), seed=SEED,
    )  # fmt: skip
