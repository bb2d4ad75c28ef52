"""Where the bytes of Fashion-MNIST come from: each source in its order, each file checked against SHA-256."""

from __future__ import annotations

import gzip
import logging
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sequential_fmnist.files import atomic_write, sha256

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


def _pair(prefix: str, count: int, images_sha256: str, labels_sha256: str) -> tuple[IdxFile, IdxFile]:
    images = IdxFile(f"{prefix}-images-idx3-ubyte", (count, 28, 28), images_sha256)
    return images, IdxFile(f"{prefix}-labels-idx1-ubyte", (count,), labels_sha256)


# The digests are of the uncompressed bytes, because the .gz files differ between Debian and upstream while
# the IDX files inside do not.
FULL: dict[str, tuple[IdxFile, IdxFile]] = {
    "training": _pair("train", 60000, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "test": _pair("t10k", 10000, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}  # fmt: skip
SUBSET: dict[str, tuple[IdxFile, IdxFile]] = {
    "training": _pair("train", 6000, "cf313073c7eb485392848071d5c433571d7166043e971e3345b095cc30518084",
        "097b93fbcf9bd5bc648b1a457ddc55c9e4ab49afb33f9ecae8ce068399a75e3a"),
    "test": _pair("t10k", 1000, "7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef",
        "3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909"),
}  # fmt: skip

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
# torchvision's, with the MD5 digests of its .gz files.
MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
MIRROR_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
NETWORK_TIMEOUT_S = 20


class Found(NamedTuple):
    """What a source gave: verified uncompressed files by name, and in words where they came from."""

    files: dict[str, bytes]
    origin: str
    is_subset: bool = False
    is_cached: bool = False


def cache_dir() -> Path:
    """Return the cache folder: $SNN_CORE_CACHE, else $XDG_CACHE_HOME/snn_core, else ~/.cache/snn_core.

    Raises:
        RuntimeError: the user has no home folder and neither variable is set.
    """
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("SNN_CORE_CACHE") or shared / "snn_core").expanduser()


def load_idx(path: str | os.PathLike[str], file: IdxFile, fix: str) -> bytes:
    """Return the uncompressed bytes of ``path`` (.gz or plain) once they are known to be those of ``file``.

    However large ``path`` is, no more than ``file.size + 1`` bytes are read or unpacked. ``fix`` is the sentence
    that tells the user what to do about an error.

    Raises:
        DataError: the file is missing, unreadable or not byte for byte what it should be.
    """
    path = Path(path)
    largest = file.size + (1 << 16)  # packing lengthens no file by more
    try:
        # Opening a pipe may wait for ever, and unpacking skips any number of zeros one by one.
        if path.exists() and not (path.is_file() and path.stat().st_size <= largest):
            raise OSError("a folder, a pipe, a device or a much larger file")
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as stream:
            content = stream.read(file.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: expected a file of {file.size:,} bytes or its .gz, found: {found}. {fix}"
        ) from error
    header = content[: len(file.header)]
    if len(content) != file.size:
        fault = f"{file.size:,} bytes, found {f'{len(content):,}' if len(content) < file.size else 'more'}"
    elif header != file.header:
        fault = f"the IDX header {file.header.hex(' ', 4)}, found {header.hex(' ', 4)}"
    elif (digest := sha256(content)) != file.sha256:
        fault = f"SHA-256 {file.sha256}, found {digest}"
    else:
        return content
    raise DataError(f"{path}: expected {fault}. {fix}")


def _place(folder: Path, file: IdxFile) -> Path | None:
    """Return where ``folder``, a torchvision root or a folder of IDX files, has ``file``, plain or as .gz."""
    places = [raw / file.name for raw in (folder / "FashionMNIST" / "raw", folder)]
    packed = [place.with_name(f"{place.name}.gz") for place in places]
    return next(filter(os.path.lexists, [*places, *packed]), None)


def _load(folder: Path, files: Sequence[IdxFile], origin: str, fix: str, **flags: bool) -> Found:
    found = {file.name: load_idx(_place(folder, file) or folder / file.name, file, fix) for file in files}
    return Found(found, origin, **flags)


# A source raises DataError where what it has is damaged, and another error where it has nothing.
def _from_cache(split: str, progress: bool) -> Found:
    folder = cache_dir()
    if not any(_place(folder, file) for file in FULL[split]):
        raise FileNotFoundError(f"the {split} split is not in the cache {folder}")
    return _load(folder, FULL[split], f"the cache ({_shown(folder)})", "It is fetched anew.", is_cached=True)


def _from_debian(split: str, progress: bool) -> Found:
    if not DEBIAN_FOLDER.is_dir():
        raise FileNotFoundError(f"Debian's package {DEBIAN_PACKAGE} is not installed")
    fix = f"Run: apt-get install --reinstall {DEBIAN_PACKAGE}"
    return _load(DEBIAN_FOLDER, FULL[split], f"Debian package {DEBIAN_PACKAGE} ({DEBIAN_FOLDER})", fix)


def _from_mirror(split: str, progress: bool) -> Found:
    import pooch  # only a download needs it

    pooch.get_logger().setLevel(logging.WARNING)  # it would print the user's home folder
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=NETWORK_TIMEOUT_S)
    files = {}
    try:
        for file in FULL[split]:
            name = f"{file.name}.gz"
            known = f"md5:{MIRROR_MD5[name]}"
            path = pooch.retrieve(MIRROR + name, known, name, cache_dir(), downloader=downloader)
            files[file.name] = load_idx(path, file, "The mirror is not as expected.")
    except (OSError, ValueError) as error:  # ValueError: another MD5, or a redirection to nonsense
        raise OSError(f"the mirror {MIRROR} failed: {error}") from error
    return Found(files, f"the mirror {MIRROR}", is_cached=True)


def _find_full(split: str, cache: bool, progress: bool) -> Found:
    """Return the full split from the first source that has it; ``cache`` it, or replace what was damaged there."""
    reasons, cache_is_damaged = [], False
    for source in (_from_cache, _from_debian, _from_mirror):
        try:
            found = source(split, progress)
        except DataError as error:
            logger.warning("%s", error)
            reasons.append(str(error))
            cache_is_damaged |= source is _from_cache
        except (OSError, RuntimeError, ImportError) as error:
            reasons.append(str(error))
        else:
            return _stored(found) if cache_is_damaged or (cache and not found.is_cached) else found
    raise DataError(
        f"the full Fashion-MNIST was not found: {'; '.join(reasons)}. Fix: apt-get install {DEBIAN_PACKAGE}, "
        "or give data_path a folder with the four files of https://github.com/zalandoresearch/fashion-mnist"
    )


def _stored(found: Found) -> Found:
    """Write what was found to the cache; where that fails, warn and continue with it in memory."""
    try:
        for name, content in found.files.items():
            with atomic_write(cache_dir() / name) as file:
                file.write(content)
    except (OSError, RuntimeError) as error:
        logger.warning("the data are not cached: %s (SNN_CORE_CACHE names the cache's folder)", error)
        return found
    return found._replace(is_cached=True)


def _shown(path: Path) -> str:
    """Write the home folder as ~, so that a saved notebook does not name anybody's home."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111, as it stays a ~ where there is no home
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def find(
    data_path: str | os.PathLike[str] | None, split: str, source: str, cache: bool, progress: bool
) -> Found:
    """Return the files of ``split`` ("training" or "test"), as SequentialFashionMNIST's arguments ask for them.

    Raises:
        DataError: see :class:`sequential_fmnist.data.SequentialFashionMNIST`.
    """
    if data_path is not None:
        if source == "embedded":
            raise DataError('data_path and source="embedded" exclude each other. Fix: leave one of them out')
        folder = Path(data_path).expanduser()
        fix = (
            "Fetch the file again, or leave data_path out; data_path is a torchvision root, "
            "or a folder of the four IDX files or of their .gz files."
        )
        found = _load(folder, FULL[split], f"the folder {_shown(folder)}", fix)
        return _stored(found) if cache else found
    if source != "embedded":
        try:
            return _find_full(split, cache, progress)
        except DataError as error:
            if source == "full":
                raise
            logger.info("%s", error)
    count, total = SUBSET[split][0].shape[0], FULL[split][0].shape[0]
    origin = (
        f"the embedded subset: {count:,} of {total:,} {split} images (a real subset); "
        "accuracies are not comparable with full-data results"
    )
    return _load(EMBEDDED_FOLDER, SUBSET[split], origin, "Install snn_core again.", is_subset=True)
