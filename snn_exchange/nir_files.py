"""NIR files: read as data, never as instructions, and written whole or not at all.

A NIR file is an HDF5 file, which a process of its own reads (``hdf5_child.py``): no file, however damaged, ends this
one.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sequential_fmnist.checkpoint import atomic_write
from snn_exchange.common import ExchangeError, need

if TYPE_CHECKING:
    import nir

__all__ = ["read_nir", "write_nir"]

#: What a file may hold: 256 MiB are the weights of 8,000 x 8,000 recurrent neurons.
MAX_BYTES = 2**28
#: How long a file may take to be read: the HDF5 library goes round in circles in some damaged ones.
READ_LIMIT_S = 30
_CHILD = Path(__file__).with_name("hdf5_child.py")


def write_nir(path: str | os.PathLike[str], graph: nir.NIRGraph) -> None:
    """Write a graph to a file, which appears only once it is complete.

    Raises:
        OSError: the folder cannot be created or written, or the disk is full.
        TypeError: ``graph`` is none of NIR.
    """
    library, content = need("nir"), io.BytesIO()
    if not isinstance(graph, library.NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}: to_nir(net) makes one")
    library.write(content, graph)
    with atomic_write(path) as file:
        file.write(content.getvalue())


def read_nir(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> nir.NIRGraph:
    """Read a graph from a file. Nothing is executed from it, and no other file is opened for it.

    Args:
        path: an HDF5 file, as :func:`write_nir` or ``nir.write`` makes it.
        max_bytes: how large all that it unpacks to may be.

    Raises:
        ExchangeError: the file is damaged, too large, or not a NIR graph; the message names the file.
        OSError: it cannot be read.
    """
    nir, path = need("nir"), os.fspath(path)
    with Path(path).open("rb"):
        pass  # raises what is wrong if there is no such file
    # -P: what is imported comes from where this process has its packages, never from a folder of scripts.
    command = [sys.executable, "-P", str(_CHILD), path, str(max_bytes)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=READ_LIMIT_S, check=True)  # noqa: S603, our own file
        return nir.read(io.BytesIO(done.stdout), type_check=False)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        why = f"not a NIR file, or damaged: {last or f'HDF5 ended with status {error.returncode}'}"
        raise ExchangeError(f"{path}: {why}") from error
    except subprocess.TimeoutExpired as error:
        raise ExchangeError(
            f"{path}: not a NIR file, or damaged: not read within {READ_LIMIT_S} s"
        ) from error
    except Exception as error:  # NIR checks by assert, and stumbles over what it does not check
        raise ExchangeError(f"{path}: not a graph that nir {nir.version} knows: {error!r}") from error
