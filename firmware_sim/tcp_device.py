"""Devices behind a TCP port: Modbus TCP, or RTU frames as a serial server passes them on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Final

from firmware_sim.framing import RTU_OVERHEAD, Framing, Request
from firmware_sim.lines import Hear, LineError

HOST: Final = "127.0.0.1"


@asynccontextmanager
async def open_tcp(
    port: int,
    framing: Callable[[], Framing],
    hear: Hear,
    *,
    byte_s: float = 0.0,
    gap_s: float = 0.0,
) -> AsyncIterator[tuple[str, int]]:
    """Serve any number of clients, each with a `framing` of its own; yields host and port (a free
    one for port 0).

    With the time of a character (`byte_s`) and of the silence after a frame (`gap_s`) there is a
    serial line behind the port: one request at a time, each as long as it takes there.
    Raises LineError if the port is taken.
    """
    clients: set[asyncio.Task[None]] = set()
    line = _TcpLine(framing, hear, byte_s, gap_s)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(line.serve(reader, writer), name=f"sim-client-of-{port}")
        clients.add(client)
        client.add_done_callback(clients.discard)

    try:
        server = await asyncio.start_server(connected, HOST, port)
    except OSError as error:
        raise LineError(
            f"{HOST}:{port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from None
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        ending = list(clients)
        for client in ending:
            client.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await server.wait_closed()


class _TcpLine:
    def __init__(
        self, framing: Callable[[], Framing], hear: Hear, byte_s: float, gap_s: float
    ) -> None:
        self._framing = framing
        self._hear = hear
        self._byte_s, self._gap_s = byte_s, gap_s
        self._turn = asyncio.Lock() if byte_s else nullcontext()
        self._loop = asyncio.get_running_loop()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framing = self._framing()
        with suppress(ConnectionError):  # the client has gone: nobody to tell
            try:
                while data := await reader.read(4096):
                    for request in framing.feed(data, self._loop.time()):
                        async with self._turn:
                            await self._exchange(framing, request, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    async def _exchange(
        self, framing: Framing, request: Request, writer: asyncio.StreamWriter
    ) -> None:
        on_wire_s = (len(request.pdu) + RTU_OVERHEAD) * self._byte_s
        heard_s = self._loop.time() + on_wire_s + self._gap_s
        await self._until(heard_s)
        for delay_s, data, left, late_s in self._hear(request, partial(framing.wrap, request)):
            on_wire_s = (len(data) - framing.overhead + RTU_OVERHEAD) * self._byte_s
            sent_s = heard_s + delay_s + on_wire_s
            if late_s:
                self._loop.call_at(sent_s + late_s, self._send, writer, data, left)
            else:
                await self._until(sent_s)
                self._send(writer, data, left)

    def _send(self, writer: asyncio.StreamWriter, data: bytes, left: Callable[[], None]) -> None:
        if not writer.is_closing():
            writer.write(data)
            left()

    async def _until(self, deadline_s: float) -> None:
        if (wait_s := deadline_s - self._loop.time()) > 0:
            await asyncio.sleep(wait_s)
