"""Files from elsewhere: hostile, broken and cut off. Each is one clear error that names the file, and nothing runs."""

from __future__ import annotations

import random
import signal

import h5py
import nir
import numpy as np
import pytest
from support import count

from sequential_fmnist.networks import make_network
from snn_exchange import ExchangeError, from_nir, nir_files, read_nir, to_nir, write_nir

pytestmark = pytest.mark.xdist_group("exchange")


@pytest.fixture
def path(tmp_path):
    """A good file."""
    write_nir(tmp_path / "net.nir", to_nir(make_network("feedback", hidden=4)))
    return tmp_path / "net.nir"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Some damaged files HDF5 reads for ever: where no limit ends that, a test fails in place of hanging."""

    def late(*_):
        pytest.fail("a file was read without a limit")

    monkeypatch.setattr(nir_files, "READ_LIMIT_S", 4)
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(count(fast=90, full=7200))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def change(path, place, value=None, **options):
    """Write another value, a data set with these options, or none."""
    with h5py.File(path, "a") as file:
        del file[f"node/{place}"]
        if options:
            file.create_dataset(f"node/{place}", **options)
        elif value is not None:
            file[f"node/{place}"] = value


def refuse(path, message, **options):
    with pytest.raises(ExchangeError, match=message) as caught:
        from_nir(read_nir(path, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_old_nir_is_not_taken_for_a_damaged_file(path, monkeypatch):
    monkeypatch.setattr(nir, "read", lambda path: None)
    refuse(path, r"needs the package nir from 1\.0\.8 on, and has 1\.")


def test_other_and_missing_files(path):
    for content in (b"", b"PK\x03\x04 a zip file", path.read_bytes()[:-100]):
        path.write_bytes(content)
        assert str(path) in refuse(path, "not a NIR file, or damaged: ")
    with pytest.raises(FileNotFoundError, match=r"gone\.nir"):
        read_nir(path.with_name("gone.nir"))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("nodes/fc1/type", "os.system", r"net\.nir: not a graph that nir .* knows: AssertionError"),
        ("nodes/fc1/weight", None, r"net\.nir: not a graph that nir .* knows: TypeError..Affine.*'weight'"),
        ("nodes/sn1", None, "the graph cannot be read: .*'sn1' which does not exist"),
        ("metadata/snn_core/dt", "soon", "the graph cannot be read: dt must be a number, got .*'soon'"),
    ],
)
def test_changed_files(place, value, message, path):
    change(path, place, value)
    refuse(path, message)


def test_bomb_is_not_unpacked(path):
    """A terabyte of zeros in a file of a few kB, and twenty million letters that are one string."""
    zeros = {"shape": (2**20, 2**18), "dtype": "f4", "chunks": (2**10, 2**10), "compression": "gzip"}
    change(path, "nodes/fc1/weight", **zeros)
    assert path.stat().st_size < 200_000
    refuse(path, "/node/nodes/fc1/weight: the file unpacks to more than max_bytes=268,435,456")
    change(path, "nodes/fc1/weight", np.zeros((4, 28)))
    change(path, "edges", data=[["x" * 50_000] * 2] * 200, dtype=h5py.string_dtype())
    refuse(path, "/node/edges: the file unpacks to more than max_bytes=10,000,000", max_bytes=10_000_000)


def test_values_in_other_files_are_not_read(path, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["weight"] = np.ones((4, 28))
    layout = h5py.VirtualLayout((4, 28), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "weight", (4, 28))
    for make in (
        lambda file, place: file.__setitem__(place, h5py.ExternalLink(str(secret), "/weight")),
        lambda file, place: file.__setitem__(place, h5py.SoftLink("/node/nodes/fc2/weight")),
        lambda file, place: file.create_dataset(place, (4, 28), "f4", external=[(str(secret), 0, 448)]),
        lambda file, place: file.create_virtual_dataset(place, layout),
    ):
        change(path, "nodes/fc1/weight")
        with h5py.File(path, "a") as file:
            make(file, "node/nodes/fc1/weight")
        refuse(path, "/node/nodes/fc1/weight: its values are elsewhere")


def test_group_in_itself_and_data_of_other_kinds(path):
    with h5py.File(path, "a") as file:
        file["node/nodes/fc1/again"] = file["node"]
    refuse(path, "not a NIR file, or damaged: ")
    change(path, "nodes/fc1/again", shape=(3,), dtype=h5py.vlen_dtype("f4"))
    refuse(path, "/node/nodes/fc1/again: holds neither numbers nor text")


@pytest.mark.parametrize(
    ("code", "message"),
    [("import os; os.abort()", "HDF5 ended with status -6$"), ("while True: pass", "not read within 1 s$")],
    ids=["crash", "endless"],
)
def test_what_ends_the_reading_process_is_an_error_here(code, message, path, tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text(code)
    monkeypatch.setattr(nir_files, "_CHILD", child)
    monkeypatch.setattr(nir_files, "READ_LIMIT_S", 1)
    refuse(path, message)


def test_random_damage_is_an_error_or_a_network(path):
    """Bits flip anywhere in the file: never another exception.

    In some of these files the HDF5 library never comes to an end, or ends its process.
    """
    good, seed, refused = path.read_bytes(), 5, 0
    generator = random.Random(seed)
    files = count(fast=20, full=1500)
    for number in range(files):
        damaged = bytearray(good)
        for _ in range(generator.choice([1, 1, 8])):
            damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            from_nir(read_nir(path))
        except ExchangeError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, file {number}: {error!r}") from error
    assert 0 < refused < files
