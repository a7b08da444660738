"""Two ways to look at a gateway: a socket in the state folder, which `shuichi edge status` and
`reload` use, and HTTP for Prometheus. One that cannot be opened is reported and tried again: the
signals need none of them."""

import asyncio
import contextlib
import logging
import os
import socket
import stat
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

MOST_VISITS: Final = 32
"""At a door at once; who comes then is sent away."""

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 30.0
LOOK_EVERY_S: Final = 5.0
"""How often we look whether the socket's file is still there."""

_LONGEST_REQUEST: Final = 8192

Answer = Callable[[bytes], Awaitable[bytes]]
"""What is sent for a request: a line on the socket, a head on HTTP."""

Enter = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class Reloaded(msgspec.Struct, frozen=True):
    """What came of a reload: "" or the faults for which it was refused, a line each."""

    faults: str


class Door:
    """One door, kept open by `run`. `failed` takes what an answer raised that it should not."""

    def __init__(self, answer: Answer, failed: Callable[[BaseException], None]) -> None:
        self._answer = answer
        self._failed = failed
        self._visits: set[asyncio.Task[None]] = set()

    async def socket(self, path: Path) -> None:
        """Keep a socket open for the owner of the gateway and his group, for ever."""

        async def open_it() -> asyncio.Server:
            # In a thread, as all that a disk may hold up: the buses must not wait for it.
            own = await asyncio.to_thread(_bound, path)
            try:
                return await asyncio.start_unix_server(
                    self._enter(b"\n"), sock=own, limit=_LONGEST_REQUEST
                )
            except BaseException:
                own.close()
                raise

        await self._keep(
            f"{path}: no `shuichi edge status`", open_it, lambda: os.path.lexists(path)
        )

    async def http(self, host: str, port: int) -> None:
        """Keep a port open for all who can reach `host`, for ever."""

        async def open_it() -> asyncio.Server:
            enter = self._enter(b"\r\n\r\n")
            return await asyncio.start_server(enter, host, port, limit=_LONGEST_REQUEST)

        await self._keep(f"[metrics] no metrics at {host}:{port}", open_it, lambda: True)

    async def _keep(
        self,
        absent: str,
        open_it: Callable[[], Awaitable[asyncio.Server]],
        is_there: Callable[[], bool],
    ) -> None:
        delay_s, is_told = FIRST_DELAY_S, False
        while True:
            try:
                server = await open_it()
            except (OSError, ValueError, OverflowError) as error:
                if not is_told:
                    log.warning("%s: %s; trying again", absent, error)
                is_told = True
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)
                continue
            if is_told:
                log.info("%s: it is open now", absent.partition(": ")[0])
            delay_s, is_told = FIRST_DELAY_S, False
            try:
                await _as_long_as(is_there)
            finally:
                server.close()
                for visit in self._visits:
                    visit.cancel()

    def _enter(self, end: bytes) -> Enter:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(ASK_WITHIN_S):
                    request = await reader.readuntil(end)
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    writer.write(await self._answer(request))
                    await writer.drain()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass  # a visitor who went away, or talked nonsense
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - a visit ends nobody
                self._failed(error)
            finally:
                writer.close()

        def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._visits) >= MOST_VISITS:
                writer.close()
                return
            visit = asyncio.create_task(serve(reader, writer), name="visit")
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)

        return enter


async def _as_long_as(holds: Callable[[], bool]) -> None:
    while await asyncio.to_thread(holds):  # noqa: ASYNC110 - nobody tells of a removed file
        await asyncio.sleep(LOOK_EVERY_S)


def _bound(path: Path) -> socket.socket:
    """A socket at `path`, in place of one that a dead gateway has left there."""
    own = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.remove(path)
        own.bind(str(path))
        os.chmod(path, 0o660)
        own.setblocking(False)
    except BaseException:
        own.close()
        raise
    return own


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
    except PermissionError:
        raise Absent(
            f"{path}: you may not ask this gateway: run this as root, as its user, or as a member "
            "of its group"
        ) from None
    except FileNotFoundError:
        raise Absent(
            f"no gateway runs here: there is no {path}; `shuichi edge run` starts one, --config "
            "names the config of another"
        ) from None
    except ConnectionRefusedError:
        raise Absent(
            f"no gateway runs here: the one that made {path} has ended; `shuichi edge run` starts "
            "one"
        ) from None
    except OSError as error:
        raise Absent(f"no gateway runs here: {path}: {error.strerror or error}") from None
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
