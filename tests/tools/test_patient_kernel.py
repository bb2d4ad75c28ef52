"""The runner's channel finds a reply that a send over the same socket has hidden."""

from __future__ import annotations

import asyncio
import time
from queue import Empty

import patient_kernel
import pytest
import zmq
import zmq.asyncio
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import Session
from patient_kernel import PatientChannel, PatientManager


async def receive_while_sending(channel_class: type[AsyncZMQSocketChannel], wait: float) -> str:
    """Wait for a reply that arrives, unseen by the event loop, just before the waiting side sends."""
    with zmq.asyncio.Context() as context, zmq.Context() as peers:
        session = Session(key=b"k")
        peer, socket = peers.socket(zmq.PAIR), context.socket(zmq.PAIR)
        peer.linger = socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{peer.bind_to_random_port('tcp://127.0.0.1')}")
        channel = channel_class(socket, session)
        try:
            channel.send(session.msg("request"))
            session.recv(peer, mode=0)
            waiting = asyncio.create_task(channel.get_msg())
            await asyncio.sleep(0.2)
            session.send(peer, "reply")
            time.sleep(0.2)  # holds the event loop, which must not see the reply come
            channel.send(session.msg("comm_msg"))
            message = await asyncio.wait_for(waiting, wait)
            return message["msg_type"]
        finally:
            peer.close()
            socket.close()


def test_plain_channel_misses_the_reply_and_ours_finds_it(monkeypatch):
    monkeypatch.setattr(patient_kernel, "POLL_S", 0.1)
    with pytest.raises(TimeoutError):
        asyncio.run(receive_while_sending(AsyncZMQSocketChannel, wait=1))
    assert asyncio.run(receive_while_sending(PatientChannel, wait=10)) == "reply"


def test_timeout_is_kept():
    async def nothing() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.PAIR) as socket:
            socket.bind_to_random_port("tcp://127.0.0.1")
            await PatientChannel(socket, Session(key=b"k")).get_msg(timeout=0.3)

    with pytest.raises(Empty):
        asyncio.run(nothing())


def test_manager_makes_clients_with_our_channel():
    assert PatientManager().client_factory().shell_channel_class is PatientChannel
