"""The HTTP server. It has a thread and an event loop of its own: whatever strangers do to it, the
alerts' loop does not wait for it, and it never has the descriptors that they need. It asks the one
thread of the state like everybody, a few questions at a time."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn

from cloud import descriptors
from cloud.errors import Unavailable
from cloud.http import secret
from cloud.web.app import app
from cloud.web.connections import KEEP_ALIVE_S, LONGEST_HEAD, Connection, Places
from cloud.web.desk import Desk
from cloud.web.settings import Hook, Web
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.web")

_ENDS_WITHIN_S: Final = 3

MOST_CONNECTIONS: Final = 256
"""At a time; fewer where the process may have few descriptors: see `cloud.descriptors`."""

BACKLOG: Final = 1024
"""Connections that may wait, at the kernel, for us to accept them."""

_ACCEPT_AGAIN_S: Final = 0.2


_RUBBISH: Final = Seldom(60.0)


def _is_a_fault(record: logging.LogRecord) -> bool:
    """A request that is still being read when we end is no fault of ours. That a stranger sends
    what is no HTTP is said once a minute."""
    error = record.exc_info[1] if record.exc_info else None
    if record.levelno == logging.WARNING and error is None:
        return _RUBBISH.says() is not None
    return not isinstance(error, asyncio.CancelledError)


logging.getLogger("uvicorn.error").addFilter(_is_a_fault)


class _Server(uvicorn.Server):
    def connection(self) -> asyncio.Protocol:
        """What speaks on a connection that was accepted."""
        made: Any = self.config.http_protocol_class
        found: asyncio.Protocol = made(
            config=self.config, server_state=self.server_state, app_state={}
        )
        return found

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service has them


def bound(web: Web) -> socket.socket:
    """The listening socket. Raises Unavailable, in one line."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    own = socket.socket(family)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        own.bind((web.host, web.port))
        own.listen(BACKLOG)
    except OSError as error:
        own.close()
        raise Unavailable(f"[web] {web.host}:{web.port}: {error.strerror}") from None
    return own


def secrets_of(
    folder: Path, web: Web, hooks: Mapping[str, Hook]
) -> tuple[str, dict[str, tuple[Hook, str]]]:
    """The API's token ("" for none), and each hook with its secret. Raises Unavailable."""
    token = secret(folder, web.token_file) or ""
    return token, {
        name: (one, secret(folder, one.secret_file) or "") for name, one in hooks.items()
    }


def tokens_of(folder: Path, web: Web) -> dict[str, str]:
    """The token of each program that has one of its own. Raises Unavailable."""
    return {name: secret(folder, one.token_file) or "" for name, one in web.token.items()}


def calendar_token_of(folder: Path, web: Web) -> str:
    """What stands in the addresses of calendars, "" for none. Raises Unavailable."""
    return secret(folder, web.calendar_token_file) or ""


async def serve(desk: Desk, listening: socket.socket) -> None:
    """Answer until cancelled; what is being answered then may end. Raises what ends the server."""
    loop = asyncio.get_running_loop()
    places = Places(descriptors.room_for(MOST_CONNECTIONS))

    def wake() -> None:
        loop.call_soon_threadsafe(desk.wake)

    inside = replace(desk, wake=wake)
    server = _Server(
        uvicorn.Config(
            app(inside),
            http=Connection.of(places),
            ws="none",
            log_config=None,
            access_log=False,
            log_level="warning",
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            timeout_graceful_shutdown=_ENDS_WITHIN_S,
            proxy_headers=False,
        )
    )
    ended = loop.create_future()

    def work() -> None:
        try:
            asyncio.run(_serve(server, listening))
        except BaseException as error:  # noqa: BLE001  # whoever waits for us raises it
            done = partial(_end, ended, error)
        else:
            done = partial(_end, ended, None)
        loop.call_soon_threadsafe(done)

    host, port = listening.getsockname()[:2]
    log.info("serving http://%s:%d", f"[{host}]" if ":" in host else host, port)
    thread = threading.Thread(target=work, name="web", daemon=True)
    thread.start()
    try:
        await asyncio.shield(ended)
    finally:
        server.should_exit = True
        await asyncio.wait((ended,))
        thread.join()


async def _serve(server: _Server, listening: socket.socket) -> None:
    """Accept and serve until the server is to exit."""
    async with _Acceptor(server.connection, listening):
        await server.serve(sockets=[])


class _Acceptor:
    """Accepts one connection at each turn of the loop. asyncio's own server accepts all that wait
    in one go, before anybody can count them, and so runs out of descriptors."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol], listening: socket.socket) -> None:
        self._protocol = protocol
        self._listening = listening
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._seldom = Seldom(60.0)
        self._again: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        self._listening.setblocking(False)
        self._listen()

    async def __aexit__(self, *_: object) -> None:
        self._loop.remove_reader(self._listening)
        if self._again is not None:
            self._again.cancel()
        if self._arriving:
            await asyncio.wait(self._arriving)

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            own, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if self._seldom.says() is not None:
                log.error("no connection can be accepted: %s", error.strerror)
            self._loop.remove_reader(self._listening)
            self._again = self._loop.call_later(_ACCEPT_AGAIN_S, self._listen)
            return
        task = self._loop.create_task(self._connect(own), name="http connection")
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _connect(self, own: socket.socket) -> None:
        try:
            own.setblocking(False)
            await self._loop.connect_accepted_socket(self._protocol, own)
        except OSError:  # it has gone already
            own.close()


def _end(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
