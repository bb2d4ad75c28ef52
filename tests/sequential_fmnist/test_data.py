"""Fashion-MNIST: every source, in order, and nothing but the right bytes."""

from __future__ import annotations

import functools
import gzip
import hashlib
import logging
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import require
from support_data import (
    LABELS,
    PIXELS,
    TEST_IMAGES,
    TEST_LABELS,
    TINY,
    TINY_FILES,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    assert_is_tiny,
    cached,
    gz_names,
    idx,
    pack,
    proper_response,
    quiet,
    serve,
    write,
)
from tqdm import tqdm

from sequential_fmnist import data, sources
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.sources import DataError, IdxFile, load_idx

ROOT = Path(data.__file__).parents[1]
MIRROR = sources.MIRROR  # before any test replaces it
pytestmark = pytest.mark.usefixtures("nothing_outside")


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """The folder of Debian's installed package, with the made-up files."""
    folder = write(tmp_path / "installed", gz_names())
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", folder)
    return folder


# ---------------------------------------------------------------- what a data set is


@pytest.mark.parametrize(("train", "count"), [(True, 60000), (False, 10000)])
def test_the_full_data_and_the_subset_which_is_the_first_of_each_class(full_folder, train, count):
    dataset = quiet(full_folder, train=train, source="full")
    assert dataset.images.shape == (count, 1, 28, 28) and dataset.images.dtype == torch.uint8
    assert dataset.labels.shape == (count,) and dataset.labels.dtype == torch.int64
    assert torch.bincount(dataset.labels).tolist() == [count // 10] * 10
    assert len(dataset) == count and not dataset.is_subset
    assert dataset.classes[dataset[0][1]] == "Ankle boot"

    subset = quiet(train=train, source="embedded")
    seen, places = [0] * 10, []
    for place, label in enumerate(dataset.labels.tolist()):
        seen[label] += 1
        if seen[label] <= count // 100:
            places.append(place)
    assert torch.equal(subset.images, dataset.images[places])
    assert torch.equal(subset.labels, dataset.labels[places])


def test_installed_debian_package_is_used(full_folder, monkeypatch, tmp_path):
    require((full_folder / f"{TEST_IMAGES}.gz").exists(), "Debian's package dataset-fashion-mnist")
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", full_folder)
    dataset = quiet(train=False)
    assert dataset.source == f"Debian package dataset-fashion-mnist ({full_folder})"
    assert cached(tmp_path) == {}


def test_classes_mirror_and_digests_are_those_of_torchvision():
    theirs = pytest.importorskip("torchvision").datasets.FashionMNIST
    assert list(SequentialFashionMNIST.classes) == theirs.classes
    assert dict(theirs.resources) == sources.MIRROR_MD5
    assert MIRROR in theirs.mirrors


def test_items_are_bytes_over_255_with_an_int_label(tiny, tmp_path):
    dataset = quiet(write(tmp_path / "d"))
    for place in (0, 7, -1):
        image, label = dataset[place]
        assert image.dtype == torch.float32 and image.shape == (1, 28, 28)
        assert torch.equal(image[0], torch.tensor(PIXELS["training"][place] / 255, dtype=torch.float32))
        assert type(label) is int and label == LABELS["training"][place]
    with pytest.raises(IndexError):
        dataset[200]


def test_a_loader_makes_batches_of_it(tiny, tmp_path):
    images, labels = next(iter(torch.utils.data.DataLoader(quiet(write(tmp_path / "d")), batch_size=8)))
    assert images.shape == (8, 1, 28, 28) and labels.tolist() == list(range(8))


def test_row_order_is_the_transpose(tiny, tmp_path):
    folder = write(tmp_path / "d")
    column, row = quiet(folder), quiet(folder, order="row")
    assert (column.order, row.order) == ("column", "row")
    assert torch.equal(row.images, column.images.mT) and not torch.equal(row.images, column.images)
    assert torch.equal(row.labels, column.labels)
    assert row.images.is_contiguous() and column.images.is_contiguous()


@pytest.mark.parametrize("options", [{"order": "rows"}, {"source": "web"}])
def test_unknown_words_are_refused(options):
    with pytest.raises(ValueError, match=f"not '{next(iter(options.values()))}'"):
        quiet(**options)


# ---------------------------------------------------------------- what it says


def test_one_line_says_the_source(tiny, tmp_path, capsys):
    folder = write(tmp_path / "d")
    SequentialFashionMNIST(folder, train=False)
    assert capsys.readouterr() == (f"Fashion-MNIST, test split: 100 images from the folder {folder}\n", "")


@pytest.mark.parametrize(
    ("train", "size"), [(True, "6,000 of 60,000 training"), (False, "1,000 of 10,000 test")]
)
@pytest.mark.parametrize("source", ["auto", "embedded"])
def test_the_subset_says_that_it_is_one(capsys, train, size, source):
    dataset = SequentialFashionMNIST(train=train, source=source)
    assert dataset.is_subset
    printed, errors = capsys.readouterr()
    warning = f"{size} images (a real subset); accuracies are not comparable with full-data results"
    assert warning in printed and printed.count("\n") == 1 and errors == ""


def test_nothing_is_printed_unless_verbose(tiny, tmp_path, capsys):
    with serve(gz_names()):
        quiet()
    quiet(write(tmp_path / "d"))
    quiet(source="embedded")
    assert capsys.readouterr() == ("", "")


def test_the_home_folder_is_not_spelt_out(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path / "home" / "d")
    assert quiet(tmp_path / "home" / "d").source == "the folder ~/d"
    assert quiet("~/d").source == "the folder ~/d"
    write(tmp_path / "homely")
    assert quiet(tmp_path / "homely").source == f"the folder {tmp_path / 'homely'}"


# ---------------------------------------------------------------- data_path


LAYOUTS = {
    "torchvision root": lambda name: f"FashionMNIST/raw/{name}",
    "plain": lambda name: name,
    "gz": lambda name: f"{name}.gz",
    "mixed": lambda name: f"{name}.gz" if "labels" in name else name,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("as_type", [str, Path])
def test_layouts_of_data_path(tiny, tmp_path, layout, as_type):
    write(tmp_path / "d", {LAYOUTS[layout](name): content for name, content in TINY_FILES.items()})
    for train, split in ((True, "training"), (False, "test")):
        dataset = quiet(as_type(tmp_path / "d"), train=train)
        assert_is_tiny(dataset, split)
        assert dataset.source == f"the folder {tmp_path / 'd'}"
    assert cached(tmp_path) == {}


def test_only_the_asked_split_is_read(tiny, tmp_path):
    folder = write(tmp_path / "d", {name: TINY_FILES[name] for name in (TEST_IMAGES, TEST_LABELS)})
    assert_is_tiny(quiet(folder, train=False), "test")
    with pytest.raises(DataError, match=TRAIN_IMAGES):
        quiet(folder)


@pytest.mark.parametrize("source", ["auto", "full"])
def test_a_wrong_data_path_is_an_error_although_there_are_other_sources(tiny, installed, tmp_path, source):
    write(tmp_path / "cache")
    with pytest.raises(DataError, match=r"wrong/train-images-idx3-ubyte: .* found: No such file .*data_path"):
        quiet(tmp_path / "wrong", source=source)


def test_data_path_and_the_embedded_subset_exclude_each_other(tiny, tmp_path):
    with pytest.raises(DataError, match="exclude each other"):
        quiet(write(tmp_path / "d"), source="embedded")


def test_the_subset_does_not_pass_for_full_data():
    with pytest.raises(DataError, match="expected 47,040,016 bytes, found 4,704,016"):
        quiet(sources.EMBEDDED_FOLDER)


# ---------------------------------------------------------------- damage


def replace_bytes(position: int, new: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        assert content[position : position + len(new)] != new
        content[position : position + len(new)] = new
        path.write_bytes(content)

    return damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_garbage(path: Path) -> None:
    path.write_bytes(b"<html>Please log in</html>" * 10)


def spoil_the_checksum(path: Path) -> None:
    replace_bytes(len(path.read_bytes()) - 8, b"\1\2\3\4")(path)


flip_a_pixel = replace_bytes(16 + 28 * 28 * 3 + 100, bytes([PIXELS["training"][3].flat[100] ^ 1]))
PLAIN_DAMAGE = [
    pytest.param(TRAIN_IMAGES, flip_a_pixel, "expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}", id="pixel"),
    pytest.param(TRAIN_LABELS, replace_bytes(8, b"\xc8"), "expected SHA-256", id="label 200"),
    pytest.param(TRAIN_IMAGES, truncate, "expected 156,816 bytes, found 156,815", id="truncated"),
    pytest.param(TRAIN_LABELS, lengthen, "expected 208 bytes, found more", id="too long"),
    pytest.param(
        TRAIN_IMAGES,
        replace_bytes(8, struct.pack(">II", 14, 56)),
        "expected the IDX header 00000803 000000c8 0000001c 0000001c, found 00000803 000000c8 0000000e 00000038",
        id="14 x 56",
    ),
    pytest.param(
        TRAIN_LABELS,
        replace_bytes(2, b"\x0d"),
        "header 00000801 000000c8, found 00000d01 000000c8",
        id="floats",
    ),
    pytest.param(TRAIN_LABELS, empty, "expected 208 bytes, found 0", id="empty"),
    pytest.param(TRAIN_IMAGES, make_directory, "found: a folder, a pipe, a device", id="directory"),
    pytest.param(TRAIN_IMAGES, make_garbage, "expected 156,816 bytes, found 260", id="web page"),
]
GZ_DAMAGE = [
    pytest.param(TRAIN_IMAGES, make_garbage, "its .gz, found: Not a gzipped file", id="gz web page"),
    pytest.param(TRAIN_IMAGES, truncate, "its .gz, found: Compressed file ended", id="gz truncated"),
    pytest.param(TRAIN_LABELS, spoil_the_checksum, "its .gz, found: CRC check failed", id="gz checksum"),
    pytest.param(TRAIN_IMAGES, replace_bytes(20, b"\xff" * 200), "expected ", id="gz noise"),
    pytest.param(TRAIN_LABELS, empty, "expected 208 bytes, found 0", id="gz empty"),
    pytest.param(TRAIN_IMAGES, make_directory, "found: a folder, a pipe, a device", id="gz directory"),
]


@pytest.mark.parametrize(
    ("suffix", "name", "damage", "message"),
    [pytest.param("", *p.values, id=p.id) for p in PLAIN_DAMAGE]
    + [pytest.param(".gz", *p.values, id=p.id) for p in GZ_DAMAGE],
)
def test_damage_is_refused_with_file_reason_and_fix(tiny, tmp_path, suffix, name, damage, message):
    folder = write(tmp_path / "d", {name + suffix: content for name, content in TINY_FILES.items()})
    assert_is_tiny(quiet(folder))
    damage(folder / (name + suffix))
    with pytest.raises(DataError, match=message) as caught:
        quiet(folder)
    assert str(folder / (name + suffix)) in str(caught.value)
    assert "leave data_path out" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(position=st.integers(0, 207), change=st.integers(1, 255))
def test_no_changed_byte_is_accepted(position, change):
    content = bytearray(TINY_FILES[TRAIN_LABELS])
    content[position] ^= change
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TRAIN_LABELS
        path.write_bytes(content)
        with pytest.raises(DataError):
            load_idx(path, TINY["training"][1], "")
        content[position] ^= change
        path.write_bytes(content)
        assert load_idx(path, TINY["training"][1], "") == content


@pytest.mark.parametrize(
    ("content", "found"),
    [(bytes(64 << 20), "a much larger file"), (gzip.compress(bytes(8 << 20)), "more")],
    ids=["plain", "gz"],
)
def test_a_huge_file_is_not_read_to_its_end(tmp_path, content, found):
    path = tmp_path / ("huge.gz" if found == "more" else "huge")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"found.* {found}"):
            load_idx(path, IdxFile("huge", (1000,), ""), "")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- the cache


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"SNN_CORE_CACHE": "/a/b", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/a/b"),
        ({"SNN_CORE_CACHE": "~/b", "HOME": "/h"}, "/h/b"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/snn_core"),
        ({"SNN_CORE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/snn_core"),
        ({"HOME": "/h"}, "/h/.cache/snn_core"),
    ],
)
def test_the_cache_folder(monkeypatch, variables, folder):
    for name in ("SNN_CORE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sources.cache_dir() == Path(folder)


@pytest.mark.parametrize("where", ["data_path", "Debian"])
def test_local_data_are_cached_only_on_request(tiny, tmp_path, monkeypatch, where):
    folder = write(tmp_path / "d", gz_names())
    if where == "Debian":
        monkeypatch.setattr(sources, "DEBIAN_FOLDER", folder)
    data_path = folder if where == "data_path" else None
    quiet(data_path)
    assert cached(tmp_path) == {}
    quiet(data_path, cache=True)
    assert cached(tmp_path) == {name: TINY_FILES[name] for name in (TRAIN_IMAGES, TRAIN_LABELS)}
    dataset = quiet()
    assert_is_tiny(dataset)
    assert dataset.source == f"the cache ({tmp_path / 'cache'})"


def test_the_subset_is_never_cached(tmp_path):
    quiet(source="embedded", cache=True)
    quiet(cache=True)
    assert cached(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "damage", "message"), [p for p in PLAIN_DAMAGE if p.values[1] is not make_directory]
)
def test_a_damaged_cache_file_is_replaced(tiny, installed, tmp_path, caplog, name, damage, message):
    damage(write(tmp_path / "cache") / name)
    dataset = quiet()
    assert_is_tiny(dataset)
    assert dataset.source.startswith("Debian package")
    assert cached(tmp_path) == TINY_FILES
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "\n" not in record.message
    assert re.search(f"cache/{name}: .*{message}.* It is fetched anew.", record.message)


def test_a_damaged_cache_file_is_not_used_where_nothing_can_replace_it(tiny, tmp_path, caplog):
    flip_a_pixel(write(tmp_path / "cache") / TRAIN_IMAGES)
    assert quiet().is_subset
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_half_a_cache_is_filled(tiny, installed, tmp_path, caplog):
    (write(tmp_path / "cache") / TRAIN_LABELS).unlink()
    assert quiet().source.startswith("Debian package")
    assert cached(tmp_path) == TINY_FILES
    (record,) = caplog.records
    assert re.search(f"cache/{TRAIN_LABELS}: .* found: No such file .* It is fetched anew.", record.message)


@pytest.mark.parametrize("cache", ["occupied/cache", "~no-such-user-here/cache"])
def test_an_unwritable_cache_is_one_warning(tiny, installed, tmp_path, monkeypatch, caplog, cache):
    (tmp_path / "occupied").write_bytes(b"a file where a folder would have to be")
    monkeypatch.setenv("SNN_CORE_CACHE", cache if cache.startswith("~") else str(tmp_path / cache))
    assert_is_tiny(quiet(cache=True))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith("the data are not cached: ") and "\n" not in record.message


def test_an_interrupted_write_to_the_cache_leaves_nothing(tiny, tmp_path, monkeypatch, caplog):
    def disk_full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", disk_full)
    assert_is_tiny(quiet(write(tmp_path / "d"), cache=True))
    assert cached(tmp_path) == {}
    assert "No space left on device" in caplog.text


# ---------------------------------------------------------------- the mirror


def test_the_mirror_gives_the_asked_split_and_it_is_cached(tiny, tmp_path, capsys, monkeypatch):
    # Tests see no bars otherwise.
    monkeypatch.setattr("pooch.downloaders.tqdm", functools.partial(tqdm, disable=False))
    with serve(gz_names()) as requests:
        dataset = SequentialFashionMNIST(train=False)
        assert requests == [f"/{TEST_IMAGES}.gz", f"/{TEST_LABELS}.gz"]
        assert_is_tiny(dataset, "test")
        assert dataset.is_cached and re.fullmatch(r"the mirror http://127\.0\.0\.1:\d+/", dataset.source)
        assert cached(tmp_path) == gz_names({name: TINY_FILES[name] for name in (TEST_IMAGES, TEST_LABELS)})
        assert quiet(train=False).source.startswith("the cache")
        assert len(requests) == 2
    printed, errors = capsys.readouterr()
    assert printed.count("\n") == 1 and dataset.source in printed
    assert errors.count("100%") == 2 and str(tmp_path) not in errors, "bars, and no names of folders"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_mirror_replaces_a_damaged_cache(tiny, tmp_path, caplog, suffix):
    files = {name + suffix: content for name, content in TINY_FILES.items()}
    truncate(write(tmp_path / "cache", files) / f"{TRAIN_LABELS}{suffix}")
    with serve(gz_names()) as requests:
        assert_is_tiny(quiet())
        assert len(caplog.records) == 1
        assert f"/{TRAIN_LABELS}.gz" in requests
    assert_is_tiny(dataset := quiet())
    assert dataset.source.startswith("the cache") and len(caplog.records) == 1


def cut_short(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[:-10])


def silent(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    time.sleep(0.5)


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (cut_short, "10 more expected"),
        (
            lambda handler, body: proper_response(handler, b"<html>Please log in</html>"),
            "MD5 hash of",
        ),
        (
            lambda handler, body: proper_response(handler, pack(idx(PIXELS["training"][::-1]))),
            "MD5 hash of",
        ),
        (silent, "timed out"),
        (lambda handler, body: handler.wfile.write(b"what?\r\n\r\n"), "what"),
        (lambda handler, body: handler.send_error(503), "503"),
    ],
)
def test_a_bad_mirror_is_passed_over_and_named(tiny, tmp_path, monkeypatch, respond, reason):
    monkeypatch.setattr(sources, "NETWORK_TIMEOUT_S", 0.25)
    with serve(gz_names(), respond):
        with pytest.raises(DataError, match=rf"the mirror http://127\.0\.0\.1:\d+/ failed: .*{reason}"):
            quiet(source="full")
        assert cached(tmp_path) == {}
        assert quiet().is_subset
    with serve(gz_names()):
        assert_is_tiny(quiet(source="full"))


def test_the_bytes_of_a_mirror_are_checked_although_its_digest_fits(tiny, tmp_path, monkeypatch):
    """MD5 can be forged; what counts is SHA-256."""
    other = idx(PIXELS["training"][::-1])
    name = f"{TRAIN_IMAGES}.gz"
    monkeypatch.setitem(sources.MIRROR_MD5, name, hashlib.md5(pack(other)).hexdigest())
    with serve(gz_names() | {name: other}):
        with pytest.raises(
            DataError, match=f"failed: .*{name}: expected SHA-256 .* The mirror is not as exp"
        ):
            quiet(source="full")
        assert quiet().is_subset


def test_without_pooch_there_is_no_mirror(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match="import of pooch halted"):
        quiet(source="full")
    assert quiet().is_subset


# ---------------------------------------------------------------- all sources together


def test_sources_are_tried_in_order(tiny, installed, tmp_path):
    write(tmp_path / "cache")
    with serve(gz_names()) as requests:
        assert quiet().source.startswith("the cache")
        shutil.rmtree(tmp_path / "cache")
        assert quiet().source == f"Debian package dataset-fashion-mnist ({installed})"
        shutil.rmtree(installed)
        assert not requests
        assert quiet().source.startswith("the mirror")
        shutil.rmtree(tmp_path / "cache")
    assert quiet().source.startswith("the embedded subset")


def test_a_damaged_installed_package_is_reported_and_passed_over(tiny, installed, caplog):
    truncate(installed / f"{TRAIN_IMAGES}.gz")
    with serve(gz_names()):
        dataset = quiet()
    assert dataset.source.startswith("the mirror")
    (record,) = caplog.records
    assert "apt-get install --reinstall dataset-fashion-mnist" in record.message


def test_embedded_asks_nobody(tiny, tmp_path):
    write(tmp_path / "cache")
    with serve(gz_names()) as requests:
        assert quiet(source="embedded").is_subset
    assert not requests


def test_full_names_every_source_that_failed_and_the_fix(tiny, tmp_path, caplog):
    with pytest.raises(DataError) as caught:
        quiet(source="full")
    message = str(caught.value)
    for part in (str(tmp_path / "cache"), "is not installed", f"{sources.MIRROR} failed: ", "data_path"):
        assert part in message
    assert "apt-get install dataset-fashion-mnist" in message and "\n" not in message
    with caplog.at_level(logging.INFO):
        assert quiet().is_subset
    assert message in caplog.text, "the reasons for taking the subset are not logged"


# ---------------------------------------------------------------- the embedded subset


def test_the_subset_is_balanced_and_small():
    for train, per_class in ((True, 600), (False, 100)):
        dataset = quiet(train=train, source="embedded")
        assert dataset.images.shape == (10 * per_class, 1, 28, 28)
        assert torch.bincount(dataset.labels).tolist() == [per_class] * 10
    files = list(sources.EMBEDDED_FOLDER.glob("*.gz"))
    assert len(files) == 4 and sum(path.stat().st_size for path in files) < 4_000_000
    for path in files:
        assert path.read_bytes()[3:8] == bytes(5), "a file name or a time in the header"


# ---------------------------------------------------------------- the command line


def test_the_command_caches_both_splits_and_says_their_source(tiny, tmp_path, capsys):
    with serve(gz_names()):
        assert data.main([]) == 0
    assert cached(tmp_path) == gz_names()
    first, second = capsys.readouterr().out.splitlines()
    assert re.match("Fashion-MNIST, training split: 200 images from the mirror ", first)
    assert re.match("Fashion-MNIST, test split: 100 images from the mirror ", second)


def test_the_command_takes_a_folder(tiny, tmp_path, capsys):
    assert data.main(["--data-path", str(write(tmp_path / "d"))]) == 0
    assert cached(tmp_path) == TINY_FILES
    assert capsys.readouterr().out.count(str(tmp_path / "d")) == 2


@pytest.mark.parametrize("arguments", [["--source", "full"], ["--data-path", "wrong", "--source", "full"]])
def test_the_command_fails_with_one_line(tiny, capsys, arguments):
    assert data.main(arguments) == 1
    printed, errors = capsys.readouterr()
    assert printed == "" and errors.count("\n") == 1 and len(errors) > 60


def test_the_command_as_a_module_and_no_pooch_before_it_is_needed(tmp_path):
    code = """
import runpy, sys
sys.argv[1:] = ["--source", "embedded"]
try:
    runpy.run_module("sequential_fmnist.data", run_name="__main__")
finally:
    assert not {"pooch", "torchvision"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(" images")[0] for line in done.stdout.splitlines()] == [
        "Fashion-MNIST, training split: 6,000",
        "Fashion-MNIST, test split: 1,000",
    ]
    assert cached(tmp_path) == {}
