"""Two doors for those who want to look: a socket in the state folder, which `shuichi edge status`
and `reload` use, and HTTP for Prometheus. A door that cannot be opened is told and left: the lamp
needs none of them."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from configs.loader import UserError
from edge.status import Status

log: Final = logging.getLogger("shuichi.edge")

ASK_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 60.0
"""A reload may wait for a lamp, and for a slow card."""

_LONGEST_REQUEST: Final = 8192

Answer = Callable[[bytes], Awaitable[bytes]]
"""What is sent for a request: a line on the socket, a head on HTTP."""


class Reloaded(msgspec.Struct, frozen=True):
    """What came of a reload: "" or the faults for which it was refused, a line each."""

    faults: str


class Doors:
    """Opens doors; whoever comes in is served by a task of `group`."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._visits: set[asyncio.Task[None]] = set()
        self._servers: dict[str, asyncio.Server] = {}

    async def socket(self, path: Path, answer: Answer) -> None:
        """For the owner of the gateway and his group."""
        enter = self._door("socket", b"\n", answer)
        try:
            server = await asyncio.start_unix_server(enter, path, limit=_LONGEST_REQUEST)
            os.chmod(path, 0o660)
        except OSError as error:
            log.warning("%s: no `shuichi edge status`: %s", path, error)
        else:
            self._servers["socket"] = server

    async def http(self, host: str, port: int, answer: Answer) -> None:
        """For all who can reach `host`; an open one is closed before."""
        self.close_http()
        enter = self._door("http", b"\r\n\r\n", answer)
        try:
            server = await asyncio.start_server(enter, host, port, limit=_LONGEST_REQUEST)
        except OSError as error:
            log.warning("[metrics] no metrics at %s:%d: %s", host, port, error)
        else:
            self._servers["http"] = server

    def close_http(self) -> None:
        """No metrics any more."""
        if (server := self._servers.pop("http", None)) is not None:
            server.close()

    def close(self) -> None:
        """Close all, and show visitors out."""
        for server in self._servers.values():
            server.close()
        for visit in self._visits:
            visit.cancel()

    def _door(
        self, name: str, end: bytes, answer: Answer
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(ASK_WITHIN_S):
                    request = await reader.readuntil(end)
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    writer.write(await answer(request))
                    await writer.drain()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass  # a visitor who went away, or talked nonsense
            finally:
                writer.close()

        def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visit = self._group.create_task(serve(reader, writer), name=name)
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)

        return enter


class Absent(Exception):
    """No gateway answers at the socket."""


async def ask_status(path: Path) -> Status:
    """How the gateway behind the socket is. Raises Absent."""
    return msgspec.json.decode(await _ask(path, b"status\n"), type=Status)


async def ask_reload(path: Path) -> None:
    """Have the gateway behind the socket read its config again.

    Raises Absent, or UserError with the faults if it stays with the old one.
    """
    faults = msgspec.json.decode(await _ask(path, b"reload\n"), type=Reloaded).faults
    if faults:
        raise UserError(faults)


async def _ask(path: Path, request: bytes) -> bytes:
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise Absent(f"no gateway runs here ({path}: {error.strerror or error})") from None
    try:
        writer.write(request)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            if answer := await reader.read():
                return answer
        raise Absent(f"the gateway ended before it answered ({path})")
    except (OSError, TimeoutError) as error:
        raise Absent(f"the gateway does not answer ({path}: {error})") from None
    finally:
        writer.close()
