"""Memory that a training step frees and the next one needs again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MIB = 2**20


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to half a GiB, where it runs on glibc; does nothing elsewhere.

    Each step frees a few MiB at its end. glibc gives them back to the system, and getting them again costs a page
    fault for every 4 KiB, together as much time as the step's arithmetic. The peak of memory does not change.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 512 * _MIB)
        mallopt(_MMAP_THRESHOLD, 32 * _MIB)  # glibc takes no more
