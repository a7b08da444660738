"""A device that answers datagrams."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from firmware_sim.framing import Request
from firmware_sim.lines import Hear, LineError
from firmware_sim.tcp_device import HOST


@asynccontextmanager
async def open_udp(port: int, hear: Hear) -> AsyncIterator[tuple[str, int]]:
    """Answer whoever asks; yields host and port (a free one for port 0).

    Raises LineError if the port is taken.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Answering(hear), local_addr=(HOST, port)
        )
    except OSError as error:
        raise LineError(
            f"{HOST}:{port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from None
    try:
        yield transport.get_extra_info("sockname")[:2]
    finally:
        transport.close()


class _Answering(asyncio.DatagramProtocol):
    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Before 3.12 asyncio's own datagram transport is not one by its class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def datagram_received(self, data: bytes, who: tuple[str, int]) -> None:
        for sending in self._hear(Request(0, data), lambda answer: answer):
            self._loop.call_later(sending.delay_s, self._send, sending.data, who, sending.left)

    def _send(self, data: bytes, who: tuple[str, int], left: Callable[[], None]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, who)
            left()
