"""A way to a server that can be made bad: it holds back what passes, slows it, or is not there."""

import asyncio
import contextlib
import socket
import threading
from enum import Enum, auto
from types import TracebackType
from typing import Self

from tests.services import HOST, free_port


class Way(Enum):
    """How the way is."""

    OPEN = auto()
    SILENT = auto()
    """It takes connections and lets nothing through: those that were open are half open now."""
    SLOW = auto()
    """50 bytes in a tenth of a second, and little room for what waits."""
    SHUT = auto()
    """Nobody listens; what was open is reset."""


class FaultProxy:
    """Listens on `port`, from entry to exit of the `with` block; leads to `target` of `host`."""

    def __init__(self, target: int, host: str = HOST) -> None:
        self.port = free_port()
        self._target = target
        self._host = host
        self._way = Way.OPEN
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fault proxy")
        self._started = threading.Event()

    def make(self, way: Way) -> None:
        """From now on the way is like that, also for the connections that are open."""
        asyncio.run_coroutine_threadsafe(self._make(way), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        await self._make(Way.OPEN)
        self._started.set()
        await self._stop.wait()
        await self._make(Way.SHUT)

    async def _make(self, way: Way) -> None:
        self._way = way
        self._changed.set()
        self._changed = asyncio.Event()
        if way is Way.SHUT and self._server is not None:
            self._server.close()
            self._server = None
            for writer in self._writers:
                writer.transport.abort()
        elif way is not Way.SHUT and self._server is None:
            listener = socket.create_server((HOST, self.port))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._server = await asyncio.start_server(self._serve, sock=listener, limit=1024)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        try:
            await self._passable()
            answers, there = await asyncio.open_connection(self._host, self._target)
            self._writers.add(there)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, there), name="there")
                group.create_task(self._pump(answers, writer), name="back")
        except* OSError:
            pass
        finally:
            for one in (writer, there):
                if one is not None:
                    self._writers.discard(one)
                    one.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while True:
            await self._passable()
            slow = self._way is Way.SLOW
            data = await source.read(50 if slow else 65536)
            await self._passable()
            sink.write(data)
            await sink.drain()
            if not data:
                raise ConnectionResetError
            if slow:
                await asyncio.sleep(0.1)

    async def _passable(self) -> None:
        while self._way is Way.SILENT:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._changed.wait()
