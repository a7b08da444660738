"""A receiver of webhooks that remembers what it was told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from cloud.channels import Message


class Sink:
    """An HTTP server that takes each message once, by its idempotency key; `came_s` says when
    (monotonic clock), by key."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.came_s: dict[str, float] = {}
        self.requests = 0
        self._visits: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Its port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]
            for writer in self._visits.values():
                writer.close()
            if visits := [task for task in self._visits if task is not None]:
                await asyncio.wait(visits)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        self._visits[own] = writer
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(fields["content-length"]))
                message = msgspec.json.decode(body, type=Message)
                self.requests += 1
                self.messages.setdefault(message.key, message)
                self.came_s.setdefault(message.key, time.monotonic())
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever it was has gone
        finally:
            writer.close()
            del self._visits[own]
