"""A kernel manager whose client does not miss a reply that comes while it sends.

A widget makes nbclient send from within its wait for the cell's reply. jupyter_client sends through a second
object over the same socket, which can swallow the event that announces the reply; nbclient then waits for ever
(github.com/jupyter/nbclient/issues/312). Asking the socket again once a second finds the reply.
"""

from __future__ import annotations

import math
import time
from queue import Empty
from typing import Any

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type, default

#: How long the socket is waited for before it is asked again, in seconds.
POLL_S = 1.0


class PatientChannel(AsyncZMQSocketChannel):
    """A channel that asks its socket again and again while it waits."""

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message, or raise ``queue.Empty`` if none came within ``timeout`` seconds; None waits."""
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            left = end - time.monotonic()
            try:
                return await super().get_msg(timeout=max(0.0, min(POLL_S, left)))
            except Empty:
                if left <= POLL_S:
                    raise


class PatientClient(AsyncKernelClient):
    """A client that waits for replies through a :class:`PatientChannel`."""

    shell_channel_class = Type(PatientChannel)


class PatientManager(AsyncKernelManager):
    """A manager of kernels whose clients are :class:`PatientClient`, for papermill's ``kernel_manager_class``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Kernels warn of a line that others on the machine could read; older releases cannot do without it.
        if self.has_trait("transport_encryption") and zmq.has("curve"):
            self.transport_encryption = "auto"

    @default("client_factory")
    def _default_client_factory(self) -> type[PatientClient]:
        return PatientClient
