"""Files from elsewhere: hostile, broken and cut off. Each is one clear error that names the file, and nothing runs."""

from __future__ import annotations

import contextlib
import pickle
import random

import h5py
import nir
import numpy as np
import pytest
import torch

from sequential_fmnist.networks import make_network
from snn_exchange import ExchangeError, from_nir, from_spikingjelly, nir_files, read_nir, to_nir, write_nir

pytestmark = pytest.mark.xdist_group("exchange")


@pytest.fixture
def path(tmp_path):
    """A good file."""
    write_nir(tmp_path / "net.nir", to_nir(make_network("feedback", hidden=4)))
    return tmp_path / "net.nir"


def refuse(path, message):
    with pytest.raises(ExchangeError, match=message) as caught:
        from_nir(read_nir(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_good_file_is_read_as_nir_reads_it(path):
    ours, theirs = read_nir(path), nir.read(path)
    assert ours.edges == theirs.edges
    assert list(ours.nodes) == list(theirs.nodes)
    for name, node in ours.nodes.items():
        other = theirs.nodes[name]
        assert type(node) is type(other)
        for what in ("weight", "bias", "r", "v_threshold", "v_reset"):
            if hasattr(node, what):
                np.testing.assert_array_equal(getattr(node, what), getattr(other, what))
    assert ours.metadata["snn_core"]["dt"] == theirs.metadata["snn_core"]["dt"] == 1e-4


def test_file_of_another_library_without_our_notes_is_read(tmp_path):
    graph = nir.NIRGraph.from_list(nir.Linear(np.ones((2, 3), np.float32)), nir.IF(np.ones(2), np.ones(2)))
    nir.write(tmp_path / "other.nir", graph)
    assert len(from_nir(read_nir(tmp_path / "other.nir"))) == 2


def test_other_and_cut_off_files(path):
    for content in (b"", b"PK\x03\x04 a zip file", pickle.dumps(print), path.read_bytes()[:-100]):
        path.write_bytes(content)
        refuse(path, "not a NIR file, or damaged")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.nir"):
        read_nir(tmp_path / "gone.nir")
    refuse(tmp_path, "not a file")


CHANGES = {
    "unknown type": ("nodes/fc1/type", "os.system", "node 'fc1': NIR has no type 'os.system'"),
    "type of a function": ("nodes/fc1/type", "write", "node 'fc1': NIR has no type 'write'"),
    "base type": ("nodes/fc1/type", "NIRNode", "node 'fc1': NIR has no type 'NIRNode'"),
    "missing weight": ("nodes/fc1/weight", None, r"node 'fc1' \(Affine\) is broken: .*weight"),
    "missing bias": ("nodes/fc1/bias", None, r"node 'fc1' \(Affine\) is broken: .*bias"),
    "missing type": ("nodes/sn1/type", None, "node 'sn1': NIR has no type None"),
    "missing node": ("nodes/sn1", None, "there is no node 'sn1'"),
    "no nodes": ("nodes", None, "the graph must have nodes and edges"),
    "no edges": ("edges", None, "the graph must have nodes and edges"),
    "edges of numbers": ("edges", np.zeros((3, 2)), "edges must be pairs of names"),
    "NaN": ("nodes/fc1/weight", np.full((4, 28), np.nan), r"node 'fc1' \(Affine\): weight holds NaN"),
    "shape": (
        "nodes/fc1/weight",
        np.zeros((5, 28)),
        r"node 'fc1' \(Affine\): bias must have shape \[5\], got \[4\]",
    ),
    "dt": ("metadata/snn_core/dt", "soon", "graph: dt must be a number, got 'soon'"),
    "text": ("nodes/fc1/weight", "rm -rf /", r"node 'fc1' \(Affine\)"),
    "unknown field": ("nodes/fc1/run", "import os", r"node 'fc1' \(Affine\) is broken: .*run"),
    "unknown field of the graph": ("type_check", 0, "the graph: unknown field 'type_check'"),
    "sizes of neurons": (
        "nodes/sn1/r",
        np.ones(5),
        r"node 'sn1' \(IF\) is broken: All parameters must have the same shape",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_files(name, path):
    place, value, message = CHANGES[name]
    with h5py.File(path, "a") as file:
        if f"node/{place}" in file:
            del file[f"node/{place}"]
        if value is not None:
            file[f"node/{place}"] = value
    with pytest.raises(ExchangeError, match=message):
        from_nir(read_nir(path))


def test_bomb_is_not_unpacked(path):
    """A terabyte of zeros in a file of a few kB."""
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc1/weight"]
        file.create_dataset(
            "node/nodes/fc1/weight",
            shape=(2**20, 2**18),
            dtype="f4",
            chunks=(2**10, 2**10),
            compression="gzip",
        )
    assert path.stat().st_size < 200_000
    refuse(path, "/node/nodes/fc1/weight: the file unpacks to more than max_bytes=268,435,456")


def test_text_counts_too(path):
    """Five million letters and a million bytes of zeros, which are packed: together too many, each alone not."""
    with h5py.File(path, "a") as file:
        del file["node/edges"], file["node/nodes/fc1/weight"]
        file.create_dataset("node/nodes/fc1/weight", data=np.zeros((500, 500), "f4"), compression="gzip")
        file.create_dataset("node/edges", data=[["x" * 50_000] * 2] * 50, dtype=h5py.string_dtype())
    assert path.stat().st_size < 5_500_000
    with pytest.raises(ExchangeError, match="unpacks to more than max_bytes=5,500,000"):
        read_nir(path, max_bytes=5_500_000)


def test_large_file_is_not_even_opened(path):
    with pytest.raises(ExchangeError, match=r"net\.nir: has [\d,]+ bytes, more than max_bytes=100"):
        read_nir(path, max_bytes=100)


def test_links_to_other_files_are_not_followed(path, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["weight"] = np.ones((4, 28))
    for link in (h5py.ExternalLink(str(secret), "/weight"), h5py.SoftLink("/node/nodes/fc2/weight")):
        with h5py.File(path, "a") as file:
            del file["node/nodes/fc1/weight"]
            file["node/nodes/fc1/weight"] = link
        refuse(path, "/node/nodes/fc1/weight: points elsewhere")


def test_values_in_other_files_are_not_read(path, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"a secret of 448 bytes" * 30)
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc1/weight"]
        file.create_dataset("node/nodes/fc1/weight", (4, 28), "f4", external=[(str(secret), 0, 448)])
    refuse(path, "its values are in another file")
    layout = h5py.VirtualLayout((4, 28), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "weight", (4, 28))
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc1/weight"]
        file.create_virtual_dataset("node/nodes/fc1/weight", layout)
    refuse(path, "its values are in another file")


def test_groups_nested_too_deep_or_in_themselves(path):
    with h5py.File(path, "a") as file:
        file.create_group("node/metadata/" + "/".join("x" * 60))
    refuse(path, "nested too deep")
    with h5py.File(path, "a") as file:
        del file["node/metadata/x"]
        file["node/nodes/fc1/again"] = file["node"]
    refuse(path, "/node/nodes/fc1/again: the same object stands in two places")


def test_data_of_other_kinds(path):
    for dtype in (np.dtype([("a", "f4"), ("b", "i4")]), h5py.ref_dtype, h5py.vlen_dtype("f4"), "empty"):
        with h5py.File(path, "a") as file:
            file.pop("node/metadata/odd", None)
            if dtype == "empty":
                file["node/metadata/odd"] = h5py.Empty("f4")
            else:
                file.create_dataset("node/metadata/odd", (3,), dtype)
        refuse(path, "/node/metadata/odd: (holds neither numbers nor text|empty)")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "or damaged: -6 of h5py, no message$"),
        ("while True: pass", "or damaged: not read within 1 s$"),
        ("raise MemoryError", "or damaged: 1 of h5py, MemoryError$"),
    ],
    ids=["crash", "endless", "error"],
)
def test_what_ends_the_reading_process_is_an_error_here(code, message, path, tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text(code)
    monkeypatch.setattr(nir_files, "_CHILD", child)
    monkeypatch.setattr(nir_files, "READ_LIMIT_S", 1)
    refuse(path, message)


def test_modules_beside_the_files_are_not_imported(path, monkeypatch):
    for name in ("h5py", "json", "numpy"):
        path.with_name(f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(path.parent)
    assert "fc1" in read_nir(path).nodes


def test_random_damage_is_an_error_or_a_network(path, torture, monkeypatch):
    """Bits flip anywhere in the file: never another exception, never more than a network of the same size.

    In some of these files the HDF5 library never comes to an end, or ends its process.
    """
    monkeypatch.setattr(nir_files, "READ_LIMIT_S", 10)
    good = path.read_bytes()
    seed = 5
    generator = random.Random(seed)
    count, refused = torture.count(fast=15, full=1500), 0
    for number in range(count):
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
    assert 0 < refused < count


def test_write_is_whole_or_nothing(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_nir(path, to_nir(make_network("plain", hidden=4)))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_same_network_same_bytes(tmp_path):
    net = make_network("feedback", hidden=4)
    for name in ("a.nir", "b.nir"):
        write_nir(tmp_path / name, to_nir(net))
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


class Trap:
    """Pickle that creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_runs_from_a_file_of_weights(tmp_path):
    torch.save({"fc.0.weight": Trap(tmp_path / "trapped")}, tmp_path / "net.pt")
    with pytest.raises(ExchangeError, match=r"net\.pt: not a file of weights, or damaged: "):
        from_spikingjelly(tmp_path / "net.pt")
    assert not (tmp_path / "trapped").exists()
    with contextlib.closing(torch.load(tmp_path / "net.pt", weights_only=False)["fc.0.weight"]):
        assert (tmp_path / "trapped").exists()  # the trap works
