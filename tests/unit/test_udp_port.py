"""The port of kind udp, with a socket at its other end."""

import asyncio
import socket

import pytest

from configs import loader
from drivers.errors import Unavailable
from drivers.ports import Port, udp
from firmware_sim.framing import Request
from firmware_sim.lines import Sending
from firmware_sim.udp_device import open_udp


def config(port: int) -> udp.Config:
    return loader.parse({"kind": "udp", "host": "127.0.0.1", "port": port}, udp.Config, "test")


def echo(request: Request, _: object) -> list[Sending]:
    return [Sending(0.0, request.pdu.upper(), lambda: None)]


def whole(received: bytearray) -> bytes | None:
    answer = bytes(received)
    received.clear()
    return answer


async def ask(line: Port, request: bytes, within_s: float = 1.0) -> bytes:
    return await line.exchange(
        request, whole, answer_bytes=10, answer_within_s=within_s, late_s=0.0, mistakable=False
    )


async def test_a_datagram_is_answered_and_the_socket_comes_back_after_a_close() -> None:
    async with open_udp(0, echo) as (_, port), udp.open("p", config(port)) as line:
        assert await ask(line, b"one") == b"ONE"
        await line.close()
        assert await ask(line, b"two") == b"TWO"


async def test_a_host_where_nobody_listens_is_known_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with udp.open("p", config(port)) as line:
        with pytest.raises(Unavailable, match=f"p: 127.0.0.1:{port}: .*refused"):
            await ask(line, b"hello", within_s=600.0)  # which would be "no answer within"
        async with open_udp(port, echo):
            assert await ask(line, b"again") == b"AGAIN"


async def test_a_stranger_is_not_heard() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        async with udp.open("p", config(silent.getsockname()[1])) as line:
            asking = asyncio.create_task(ask(line, b"hello", within_s=0.3), name="asking")
            loop = asyncio.get_running_loop()
            _, ours = await loop.sock_recvfrom(silent, 100)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"STRANGER", ours)
            with pytest.raises(Unavailable, match="no answer within 300 ms"):
                await asking
