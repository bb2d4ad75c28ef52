"""Where the bytes of Fashion-MNIST come from: each source in its order, each file checked against SHA-256."""

from __future__ import annotations

import gzip
import io
import logging
import math
import os
import shutil
import stat
import struct
import subprocess
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NamedTuple

from filelock import FileLock
from tqdm.auto import tqdm

from sequential_fmnist.files import atomic_write, naming, remove_leftovers, sha256

logger = logging.getLogger(__name__)


class DataError(ValueError):
    """The data are missing or damaged; the message names the file, what was expected, what found, the fix."""


@dataclass(frozen=True)
class IdxFile:
    """What one uncompressed IDX file must be: its name, the shape of its values (bytes), and its SHA-256."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The file's first bytes: a magic number (unsigned bytes, so many dimensions) and the dimensions."""
        return struct.pack(f">{1 + len(self.shape)}I", 0x800 | len(self.shape), *self.shape)

    @property
    def size(self) -> int:
        """The size of the whole file in bytes."""
        return len(self.header) + math.prod(self.shape)

    @property
    def largest_packed(self) -> int:
        """A size that no .gz of this file has: packing lengthens no file by more than a few bytes."""
        return 2 * self.size + CHUNK_BYTES


def _pair(prefix: str, count: int, images_sha256: str, labels_sha256: str) -> tuple[IdxFile, IdxFile]:
    """Return the image file and the label file of one split."""
    return (
        IdxFile(f"{prefix}-images-idx3-ubyte", (count, 28, 28), images_sha256),
        IdxFile(f"{prefix}-labels-idx1-ubyte", (count,), labels_sha256),
    )


# The digests are of the uncompressed bytes, because the .gz files differ between Debian and upstream while
# the IDX files inside do not.
FULL: dict[str, tuple[IdxFile, IdxFile]] = {
    "training": _pair(
        "train",
        60000,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "test": _pair(
        "t10k",
        10000,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
SUBSET: dict[str, tuple[IdxFile, IdxFile]] = {
    "training": _pair(
        "train",
        6000,
        "cf313073c7eb485392848071d5c433571d7166043e971e3345b095cc30518084",
        "097b93fbcf9bd5bc648b1a457ddc55c9e4ab49afb33f9ecae8ce068399a75e3a",
    ),
    "test": _pair(
        "t10k",
        1000,
        "7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef",
        "3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909",
    ),
}

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_CONTENT = "usr/share/datasets/fashion-mnist"
SCRATCH = "snn_core-apt-"
DEBIAN_FOLDER = Path("/") / DEBIAN_CONTENT
APT_TIMEOUT_S = 300
NETWORK_TIMEOUT_S = 20
CACHE_TIMEOUT_S = 60
CHUNK_BYTES = 1 << 16


class Found(NamedTuple):
    """What a source gave: verified uncompressed files by name, and in words where they came from."""

    files: dict[str, bytes]
    origin: str
    downloaded: bool = False
    is_subset: bool = False
    is_cached: bool = False


def cache_dir() -> Path:
    """Return the cache folder: $SNN_CORE_CACHE, else $XDG_CACHE_HOME/snn_core, else ~/.cache/snn_core.

    Raises:
        OSError: the user has no home folder and neither variable is set.
    """
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(os.environ.get("SNN_CORE_CACHE") or Path(shared) / "snn_core").expanduser()
    except RuntimeError as error:
        raise OSError("no home folder for the cache; set SNN_CORE_CACHE") from error


def load_idx(path: str | os.PathLike[str], file: IdxFile, fix: str) -> bytes:
    """Return the uncompressed bytes of ``path`` (.gz or plain) once they are known to be those of ``file``.

    At most ``file.size + 1`` bytes are read, or unpacked, however large the file is; and from nothing but a file, as
    a pipe may never answer. ``fix`` is the sentence that tells the reader of an error what to do.

    Raises:
        DataError: the file is missing, unreadable or not byte for byte what it should be.
    """
    path = Path(path)
    expected = f"expected a file of {file.size:,} bytes or its .gz"
    try:
        status = path.stat()
        # Opening a pipe may wait for ever, and unpacking skips any number of zeros or empty parts byte by byte.
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise DataError(f"{path}: {expected}, found a pipe, a device or a socket. {fix}")
        if status.st_size > file.largest_packed:
            raise DataError(f"{path}: {expected}, found more than {file.largest_packed:,}. {fix}")
        with path.open("rb") as stream:
            return _verified(stream, str(path), file, fix)
    except OSError as error:
        raise DataError(f"{path}: {expected}, found: {error.strerror}. {fix}") from error


def _verified(stream: BinaryIO, name: str, file: IdxFile, fix: str) -> bytes:
    """Read ``stream``, unpacked if ``name`` ends in .gz; return its bytes if they are ``file``'s."""
    source = gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream
    try:
        content = source.read(file.size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{name}: expected a gzip archive, found: {error}. {fix}") from error
    fault = _fault(content, file)
    if fault is not None:
        raise DataError(f"{name}: {fault}. {fix}")
    return content


def _fault(content: bytes, file: IdxFile) -> str | None:
    """Say how ``content`` differs from ``file``; size and header first, as they explain more than a hash."""
    if len(content) != file.size:
        found = f"{len(content):,}" if len(content) < file.size else "more"
        return f"expected {file.size:,} bytes, found {found}"
    if not content.startswith(file.header):
        expected, found = (struct.unpack_from(f">{1 + len(file.shape)}I", x) for x in (file.header, content))
        return f"expected the IDX header (magic, dimensions) {expected}, found {found}"
    digest = sha256(content)
    return None if digest == file.sha256 else f"expected SHA-256 {file.sha256}, found {digest}"


def _load_folder(folder: Path, files: Sequence[IdxFile], fix: str) -> dict[str, bytes]:
    """Load ``files`` from a torchvision root, or from a folder of IDX files, each plain or .gz."""
    loaded = {}
    for file in files:
        plain = (folder / "FashionMNIST" / "raw" / file.name, folder / file.name)
        places = [path.with_name(path.name + suffix) for path in plain for suffix in ("", ".gz")]
        # Not Path.exists, which raises where a folder may not be entered; load_idx then says so properly. A link
        # that leads nowhere is better named than a file that nobody made.
        there = [place for found in (os.path.exists, os.path.lexists) for place in places if found(place)]
        path = there[0] if there else folder / file.name
        loaded[file.name] = load_idx(path, file, fix)
    return loaded


def _from_cache(split: str, progress: bool) -> Found:
    folder = cache_dir()
    if not all((folder / file.name).exists() for file in FULL[split]):
        raise FileNotFoundError(f"the {split} split is not in the cache {folder}")
    files = {file.name: load_idx(folder / file.name, file, "It is fetched anew.") for file in FULL[split]}
    return Found(files, f"the cache ({_shown(folder)})", is_cached=True)


def _from_debian_folder(split: str, progress: bool) -> Found:
    if not DEBIAN_FOLDER.is_dir():
        raise FileNotFoundError(f"Debian's package {DEBIAN_PACKAGE} is not installed")
    fix = f"Run: apt-get install --reinstall {DEBIAN_PACKAGE}"
    files = _load_folder(DEBIAN_FOLDER, FULL[split], fix)
    return Found(files, f"Debian package {DEBIAN_PACKAGE} ({DEBIAN_FOLDER})")


def _from_debian_archive(split: str, progress: bool) -> Found:
    apt_get, dpkg_deb = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt_get is None or dpkg_deb is None:
        raise FileNotFoundError("there is no apt-get with dpkg-deb")
    _remove_old_scratch()
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as temporary:
        # Without these options a network that swallows packets would hold apt-get for minutes.
        patience = ["-o", "Acquire::Retries=0", "-o", f"Acquire::http::Timeout={NETWORK_TIMEOUT_S}"]
        _run([apt_get, "-q", *patience, "download", DEBIAN_PACKAGE], temporary)
        for archive in Path(temporary).glob("*.deb"):
            _run([dpkg_deb, "-x", str(archive), "."], temporary)
        # Both splits, since both have just been downloaded: the other is then found in the cache.
        files = [file for pair in FULL.values() for file in pair]
        fix = f"Debian's package {DEBIAN_PACKAGE} is not as expected."
        loaded = _load_folder(Path(temporary) / DEBIAN_CONTENT, files, fix)
    return Found(loaded, f"Debian package {DEBIAN_PACKAGE} (unpacked without installing it)", downloaded=True)


def _remove_old_scratch() -> None:
    """Remove what killed processes left of the package; no living one has needed its folder for so long."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with suppress(OSError):
            if time.time() - folder.lstat().st_mtime > 4 * APT_TIMEOUT_S:
                shutil.rmtree(folder)


def _run(command: list[str], folder: str) -> None:
    """Run ``command`` in ``folder``; raise OSError, with its last line if it fails, or if it is too slow."""
    try:
        done = subprocess.run(  # noqa: S603, the commands are those above, given as lists
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=APT_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} took more than {APT_TIMEOUT_S} s") from error
    if done.returncode != 0:
        last_line = (done.stdout.strip().splitlines() or ["no message"])[-1]
        raise OSError(f"{command[0]} failed: {last_line}")


def _from_mirrors(split: str, progress: bool) -> Found:
    try:
        from torchvision.datasets import FashionMNIST
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision built for another torch
        raise FileNotFoundError(
            f"torchvision, which knows the mirrors, cannot be imported ({error})"
        ) from error
    archives = {archive.removesuffix(".gz"): archive for archive, _ in FashionMNIST.resources}
    failures = []
    for mirror in FashionMNIST.mirrors:
        try:
            files = {f.name: _download(mirror + archives[f.name], f, progress) for f in FULL[split]}
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirection to nonsense, too
            failures.append(f"{mirror} failed: {error}")
        else:
            return Found(files, f"the mirror {mirror}", downloaded=True)
    raise FileNotFoundError("; ".join(failures))


def _download(url: str, file: IdxFile, progress: bool) -> bytes:
    """Fetch and unpack one .gz, reading no more than ``file`` could need."""
    content = bytearray()
    with (
        urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_S) as response,  # noqa: S310, torchvision's address
        tqdm.wrapattr(response, "read", response.length, desc=file.name, disable=not progress) as stream,
    ):
        while chunk := stream.read(min(CHUNK_BYTES, file.size + 1 - len(content))):
            content += chunk
    return _verified(io.BytesIO(content), url, file, "The mirror is not as expected.")


# Tried from the first to the last. A source raises OSError where it has nothing to give, and DataError where
# what it has is damaged.
FULL_SOURCES: tuple[Callable[[str, bool], Found], ...] = (
    _from_cache,
    _from_debian_folder,
    _from_debian_archive,
    _from_mirrors,
)


def _find_full(split: str, cache: bool, progress: bool) -> Found:
    """Return the full split from the first source that has it, and cache it where that is due."""
    reasons = []
    for source in FULL_SOURCES:
        try:
            found = source(split, progress)
        except DataError as error:
            logger.warning("%s", error)
            reasons.append(str(error))
        except OSError as error:
            reasons.append(str(error))
        else:
            if not found.is_cached and (cache or found.downloaded or _has_stale_cache(split)):
                return _stored(found)
            return found
    raise DataError(
        f"the full Fashion-MNIST was not found: {'; '.join(reasons)}. Fix: apt-get install {DEBIAN_PACKAGE}, "
        "or give data_path a folder with the four files of https://github.com/zalandoresearch/fashion-mnist"
    )


def _has_stale_cache(split: str) -> bool:
    """Whether files stand in the cache that was of no use: one is damaged, or one of the two is missing."""
    try:
        return any((cache_dir() / file.name).exists() for file in FULL[split])
    except OSError:
        return False


def _stored(found: Found) -> Found:
    """Write what was found to the cache; where that fails, say so and go on with it in memory."""
    try:
        folder = cache_dir()
        with naming(folder / ".lock"):
            folder.mkdir(parents=True, exist_ok=True)
            # One process at a time, so that what a killed one left can be told from what another one writes.
            with FileLock(folder / ".lock", timeout=CACHE_TIMEOUT_S):
                for name, content in found.files.items():
                    remove_leftovers(folder / name)
                    with atomic_write(folder / name) as file:
                        file.write(content)
    except OSError as error:
        logger.warning("the data are not cached: %s (SNN_CORE_CACHE names the cache's folder)", error)
        return found
    return found._replace(is_cached=True)


def _from_data_path(folder: Path, split: str, cache: bool) -> Found:
    fix = (
        "Fetch the file again, or leave data_path out; data_path is a torchvision root, "
        "or a folder of the four IDX files or of their .gz files."
    )
    found = Found(_load_folder(folder, FULL[split], fix), f"the folder {_shown(folder)}")
    return _stored(found) if cache else found


def _from_embedded(split: str) -> Found:
    files = _load_folder(EMBEDDED_FOLDER, SUBSET[split], "Install snn_core again.")
    count, total = SUBSET[split][0].shape[0], FULL[split][0].shape[0]
    origin = (
        f"the embedded subset: {count:,} of {total:,} {split} images (a real subset); "
        "accuracies are not comparable with full-data results"
    )
    return Found(files, origin, is_subset=True)


def _shown(path: Path) -> str:
    """Write the home folder as ~, so that a saved notebook does not name anybody's home."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # outside the home folder, or there is none
        return str(path)


def find(
    data_path: str | os.PathLike[str] | None, split: str, source: str, cache: bool, progress: bool
) -> Found:
    """Return the files of ``split`` ("training" or "test") from the source that the arguments ask for.

    Args:
        data_path: a folder that is then the only source, or None.
        split: "training" or "test".
        source: "auto", "full" (never the embedded subset) or "embedded".
        cache: whether files that were not downloaded are cached too.
        progress: whether a download shows a bar.

    Raises:
        DataError: see :class:`sequential_fmnist.data.SequentialFashionMNIST`.
    """
    if source == "embedded":
        if data_path is not None:
            raise DataError('data_path and source="embedded" exclude each other. Fix: leave one of them out')
        return _from_embedded(split)
    if data_path is not None:
        return _from_data_path(Path(data_path).expanduser(), split, cache)
    try:
        return _find_full(split, cache, progress)
    except DataError as error:
        if source == "full":
            raise
        logger.info("%s", error)
        return _from_embedded(split)
