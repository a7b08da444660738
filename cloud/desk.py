"""The desk: who wants something written asks here.

SQLite has room for one process that writes, so a running service does the writing for the command
line too: it listens at a socket beside its state, one JSON line each way. Where no service runs,
or where the state is on a server that many share, the command line does it by itself, with the same
operations.
"""

import asyncio
import getpass
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from cloud.config import Setup
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.store import Store
from configs.loader import UserError

if TYPE_CHECKING:  # it is long to import, and most who ask here want no alerts
    from cloud.alerts.dispatch import Dispatch
    from cloud.alerts.testsend import Sender

log: Final = logging.getLogger("shuichi.cloud")

SOCKET: Final = "cloud.sock"
ASK_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 600.0
"""A retry of many cases asks the store many times."""

_LONGEST_REQUEST: Final = 4 * 1024 * 1024

OrderT = TypeVar("OrderT", bound=msgspec.Struct)
AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class Clerk(NamedTuple):
    """Who serves at the desk: what an operation works with, who has asked for it, how the dispatch
    is told that there is news; and that dispatch, and who sends test messages, where a service
    runs."""

    setup: Setup
    database: State
    store: Store
    who: str
    wake: Callable[[], None] = lambda: None
    dispatch: "Dispatch | None" = None
    tests: "Sender | None" = None


class Operation(NamedTuple, Generic[OrderT, AnswerT]):
    """One thing that can be asked for. `run` raises Unavailable, Rejected, or UserError for an
    order that cannot be carried out."""

    name: str
    order: type[OrderT]
    answer: type[AnswerT]
    run: Callable[[Clerk, OrderT], Awaitable[AnswerT]]


class _Request(msgspec.Struct):
    operation: str
    who: str
    order: msgspec.Raw


class _Reply(msgspec.Struct):
    """`error` is "" or why there is no answer."""

    error: str = ""
    answer: msgspec.Raw = msgspec.Raw(b"null")


class _Absent(Exception):
    """Nobody is at the socket."""


def socket_of(setup: Setup) -> Path:
    """Where the service of this config listens."""
    place = setup.database
    beside = place.parent if isinstance(place, Path) else setup.folder
    return (
        setup.folder / setup.config.state.socket if setup.config.state.socket else beside / SOCKET
    )


def me() -> str:
    """Who sits before this command line."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


async def ask(setup: Setup, operation: Operation[OrderT, AnswerT], order: OrderT) -> AnswerT:
    """Have the service carry out `order`, or do it here where none runs. Raises UserError."""
    try:
        reply = await _ask(socket_of(setup), _Request(operation.name, me(), _raw(order)))
    except _Absent:
        return await _here(setup, operation, order)
    if reply.error:
        raise UserError(reply.error)
    return msgspec.json.decode(reply.answer, type=operation.answer)


async def _here(setup: Setup, operation: Operation[OrderT, AnswerT], order: OrderT) -> AnswerT:
    from cloud.service import opened  # which imports us: it keeps a desk

    try:
        async with opened(setup) as (database, store):
            return await operation.run(Clerk(setup, database, store, me()), order)
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None


@asynccontextmanager
async def open_desk(
    setup: Setup,
    database: State,
    store: Store,
    *operations: Operation[Any, Any],
    wake: Callable[[], None] = lambda: None,
    dispatch: "Dispatch | None" = None,
    tests: "Sender | None" = None,
) -> AsyncIterator[None]:
    """Serve `operations` at the socket. One that cannot be opened is told and left: what is asked
    there can wait, the readings cannot."""
    known = {one.name: one for one in operations}

    async def answer(line: bytes) -> _Reply:
        try:
            request = msgspec.json.decode(line, type=_Request)
            operation = known[request.operation]
            order = msgspec.json.decode(request.order, type=operation.order)
        except KeyError as error:
            return _Reply(
                f"the service that runs knows no operation {error}: is it of this release?"
            )
        except msgspec.MsgspecError as error:
            return _Reply(f"the service that runs does not understand: {error}")
        clerk = Clerk(setup, database, store, request.who, wake, dispatch, tests)
        try:
            return _Reply(answer=_raw(await operation.run(clerk, order)))
        except (Unavailable, Rejected, UserError) as error:
            return _Reply(str(error))
        except Exception:  # a seam: what one visitor brings about must not end the service
            log.exception("%s for %s has failed", request.operation, request.who)
            return _Reply(f"{request.operation} has failed: the log of the service says how")

    async with _Door(socket_of(setup), answer):
        yield


class _Door:
    """A socket; each visitor is served by a task of its own until the door is closed."""

    def __init__(self, path: Path, answer: Callable[[bytes], Awaitable[_Reply]]) -> None:
        self._path = path
        self._answer = answer
        self._visits: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> None:
        try:
            own = _bound(self._path)
            self._server = await asyncio.start_unix_server(
                self._enter, sock=own, limit=_LONGEST_REQUEST
            )
        except OSError as error:
            log.warning(
                "%s: no `shuichi quarantine` or `shuichi alert` while this runs: %s",
                self._path,
                error,
            )

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for visit in self._visits:
            visit.cancel()
        if self._visits:
            await asyncio.wait(self._visits)

    def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="desk")
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                line = await reader.readuntil(b"\n")
            writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a visitor who went away, or talked nonsense
        finally:
            writer.close()


def _bound(path: Path) -> socket.socket:
    """A socket at `path`, in place of what a dead service has left there, for our user only. Nobody
    can come in before it listens."""
    own = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        own.bind(str(path))
        path.chmod(0o600)
    except OSError:
        own.close()
        raise
    return own


async def _ask(path: Path, request: _Request) -> _Reply:
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        raise _Absent from None
    except OSError as error:
        if error.errno is None:  # too long a path for a socket, so nobody can be there
            raise _Absent from None
        raise UserError(f"{path}: the service cannot be asked: {error.strerror}") from None
    try:
        writer.write(msgspec.json.encode(request) + b"\n")
        async with asyncio.timeout(ANSWER_WITHIN_S):
            if answer := await reader.read():
                return msgspec.json.decode(answer, type=_Reply)
        raise UserError(f"{path}: the service ended before it answered")
    except (OSError, TimeoutError, msgspec.MsgspecError) as error:
        raise UserError(f"{path}: the service does not answer: {error}") from None
    finally:
        writer.close()


def _raw(one: msgspec.Struct) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(one))
