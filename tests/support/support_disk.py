"""Disks that are full, folders that nobody may write to, and interruptions, for tests of root and everybody else."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CAP_DAC_OVERRIDE = 1 << 1
CAPABILITY_VERSION_3 = 0x20080522
# Without a source, "none", mount would give the first mount's options again, which a user may not set.
_HOLD = """
mount -t tmpfs -o size=64m,mode=1777 none "$1" && echo 0
while read -r options; do mount -t tmpfs -o "remount,$options" none "$1"; echo $?; done
"""


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, as on a full disk: what is written before that arrives. Needs no rights.

    Python ignores the signal that would end the process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Disk:
    """A disk of a few pages of memory at ``path``, mounted where only one waiting process has it.

    This process and its children reach it through /proc, so that nothing is left when that process has ended.
    """

    def __init__(self, folder: Path) -> None:
        rights = [] if os.geteuid() == 0 else ["--map-root-user"]
        self._holder = subprocess.Popen(
            ["unshare", "--mount", *rights, "sh", "-c", _HOLD, "sh", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.mounted = self._holder.stdout.readline() == "0\n"
        self.path = Path(f"/proc/{self._holder.pid}/root{folder}")

    def remount(self, options: str) -> None:
        """Change mount options, such as size=8k, ro or rw."""
        self._holder.stdin.write(f"{options}\n")
        self._holder.stdin.flush()
        assert self._holder.stdout.readline() == "0\n", f"cannot remount with {options}"

    def close(self) -> None:
        self._holder.communicate()


@contextmanager
def disk(folder: Path) -> Iterator[Disk | None]:
    """A :class:`Disk`, or None where this process may not mount one, as in most containers."""
    if shutil.which("unshare") is None:
        yield None
        return
    folder.mkdir()
    mounted = Disk(folder)
    try:
        yield mounted if mounted.mounted and os.access(mounted.path, os.W_OK) else None
    finally:
        mounted.close()


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Let this thread obey the permission bits of files, even as root."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    header, sets = _CapabilityHeader(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    effective = sets[0]
    sets[0] &= ~CAP_DAC_OVERRIDE
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(ctypes.byref(header), sets) == 0


@contextmanager
def at_line(number: int, act: Callable[[], None], files: tuple[str, ...]) -> Iterator[list[int]]:
    """Call ``act`` before line ``number`` of those that run in ``files`` (by the ends of their names)."""
    lines = [0]

    def local(frame, event, argument):
        if event == "line":
            lines[0] += 1
            if lines[0] == number:
                sys.settrace(None)
                act()
        return local

    def trace(frame, event, argument):
        return local if frame.f_code.co_filename.endswith(files) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)
