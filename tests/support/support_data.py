"""Made-up data that pass for Fashion-MNIST, and a loopback server in place of its mirror."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from sequential_fmnist.files import sha256
from sequential_fmnist.sources import IdxFile
from support import require

from sequential_fmnist import sources
from sequential_fmnist.data import SequentialFashionMNIST

# Read before any test points the cache elsewhere: the full data are only ever read from these folders.
FULL_FOLDERS = (sources.DEBIAN_FOLDER, sources.cache_dir())
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

# Shades as flat as in a real picture, so that packing makes the files smaller.
generator = np.random.default_rng(1)
PIXELS = {
    "training": generator.choice([0, 100, 255], (200, 28, 28)),
    "test": generator.choice([0, 100, 255], (100, 28, 28)),
}
LABELS = {"training": np.arange(200) % 10, "test": np.arange(100)[::-1] // 10}


def idx(values: np.ndarray) -> bytes:
    """The IDX file of ``values``, written independently of the code under test."""
    header = struct.pack(">HBB", 0, 8, values.ndim) + b"".join(struct.pack(">i", n) for n in values.shape)
    return header + values.astype(np.uint8).tobytes()


TINY_FILES = {
    TRAIN_IMAGES: idx(PIXELS["training"]),
    TRAIN_LABELS: idx(LABELS["training"]),
    TEST_IMAGES: idx(PIXELS["test"]),
    TEST_LABELS: idx(LABELS["test"]),
}


def tiny_table(split: str, images: str, labels: str) -> tuple[IdxFile, IdxFile]:
    shape = PIXELS[split].shape
    return (
        IdxFile(images, shape, sha256(TINY_FILES[images])),
        IdxFile(labels, shape[:1], sha256(TINY_FILES[labels])),
    )


TINY = {
    "training": tiny_table("training", TRAIN_IMAGES, TRAIN_LABELS),
    "test": tiny_table("test", TEST_IMAGES, TEST_LABELS),
}


@functools.cache
def pack(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


MD5 = {f"{name}.gz": hashlib.md5(pack(content)).hexdigest() for name, content in TINY_FILES.items()}


@pytest.fixture
def nothing_outside(tmp_path, monkeypatch):
    """No test writes to the real cache, reads the real Debian package or asks a real server."""
    monkeypatch.setenv("SNN_CORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tmp_path / "not installed")
    monkeypatch.setattr(sources, "MIRROR", "http://127.0.0.1:9/")  # nobody listens there
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def tiny(monkeypatch):
    """Let 200 and 100 made-up pictures pass for the full data."""
    monkeypatch.setattr(sources, "FULL", TINY)
    monkeypatch.setattr(sources, "MIRROR_MD5", dict(MD5))


@pytest.fixture(scope="session")
def full_folder() -> Path:
    """A folder that holds the real full data."""
    folder = next((f for f in FULL_FOLDERS if list(f.glob(f"{TRAIN_IMAGES}*"))), None)
    require(
        folder is not None, "the full Fashion-MNIST (Debian's package dataset-fashion-mnist or the cache)"
    )
    return folder


def write(folder: Path, files: dict[str, bytes] = TINY_FILES) -> Path:
    """Write ``files`` into ``folder``, compressing those whose name ends in .gz."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pack(content) if name.endswith(".gz") else content)
    return folder


def gz_names(files: dict[str, bytes] = TINY_FILES) -> dict[str, bytes]:
    return {f"{name}.gz": content for name, content in files.items()}


def cached(tmp_path: Path) -> dict[str, bytes]:
    """The files in the cache, temporary ones too; what a .gz holds, as it was packed by :func:`write`."""
    files = {path.name: path.read_bytes() for path in (tmp_path / "cache").glob("*") if path.is_file()}
    return {name: gzip.decompress(x) if name.endswith(".gz") else x for name, x in files.items()}


def quiet(*arguments, **options) -> SequentialFashionMNIST:
    return SequentialFashionMNIST(*arguments, verbose=False, **options)


def assert_is_tiny(dataset: SequentialFashionMNIST, split: str = "training") -> None:
    assert torch.equal(dataset.images[:, 0], torch.as_tensor(PIXELS[split].astype(np.uint8)))
    assert dataset.labels.tolist() == LABELS[split].tolist()
    assert not dataset.is_subset


@contextlib.contextmanager
def serve(
    files: dict[str, bytes], respond: Callable[[BaseHTTPRequestHandler, bytes], None] | None = None
) -> Iterator[list[str]]:
    """Put a loopback server of ``files`` (compressed by name) in the mirror's place.

    Yields the list of requested paths. ``respond`` writes the response to a known path in place of a proper
    one.
    """
    requests = []
    served = {f"/{name}": pack(content) for name, content in files.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            if self.path not in served:
                self.send_error(404)
            elif respond is not None:
                with contextlib.suppress(OSError):  # the client may hang up
                    respond(self, served[self.path])
            else:
                proper_response(self, served[self.path])

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # Poll often: shutdown waits for the next poll.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    before, sources.MIRROR = sources.MIRROR, f"http://127.0.0.1:{server.server_port}/"
    try:
        yield requests
    finally:
        sources.MIRROR = before
        server.shutdown()
        thread.join()
        server.server_close()


def proper_response(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
