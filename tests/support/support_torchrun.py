"""torchrun whose store listens on the loopback interface only: ``python support_torchrun.py ARGUMENTS OF TORCHRUN``.

Of itself torch's store listens on every interface of the machine, whatever ``--local-addr`` says, and its launcher
unpickles what it finds in there.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import torch.distributed
from support import environment
from torch.distributed import run
from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend

ANYWHERE = torch.distributed.TCPStore


class LoopbackStore(ANYWHERE):
    """A store that brings a socket of this machine's own where it is the one that listens."""

    def __init__(
        self, host_name: str, port: int, *arguments: Any, is_master: bool = False, **options: Any
    ) -> None:
        if is_master:
            listening = socket.create_server(("127.0.0.1", port))
            port, options["master_listen_fd"] = listening.getsockname()[1], listening.detach()
        super().__init__(host_name, port, *arguments, is_master=is_master, **options)


def torchrun(*argv: object, processes: int = 2) -> subprocess.Popen[str]:
    """Start local processes that talk to each other over the loopback interface only."""
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform.startswith("linux") else {}
    launcher = [__file__, "--standalone", "--local-addr", "127.0.0.1"]
    return subprocess.Popen(
        [sys.executable, *launcher, "--nproc-per-node", str(processes), *map(str, argv)],
        env=environment(**loopback),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit status, output and errors."""
    try:
        output, errors = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun takes its processes along
        process.communicate()
        raise
    return process.returncode, output, errors


def main() -> None:
    """Do what torchrun does."""
    torch.distributed.TCPStore = c10d_rendezvous_backend.TCPStore = LoopbackStore
    run.main()


if __name__ == "__main__":
    main()
