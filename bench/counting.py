"""A way to a server on which every byte is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Count:
    """Bytes so far, towards the server and back. What TCP and IP add is not among them."""

    def __init__(self) -> None:
        self.up = 0
        self.down = 0


@asynccontextmanager
async def counting(port: int, target: int) -> AsyncIterator[Count]:
    """Leads from `port` to `target`, both of 127.0.0.1."""
    count = Count()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if up:
                    count.up += len(data)
                else:
                    count.down += len(data)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(
            pump(reader, server_writer, up=True), pump(server_reader, writer, up=False)
        )

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield count
    finally:
        server.close()
