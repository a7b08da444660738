"""The HTTP server, as one task among others."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import uvicorn

from cloud.errors import Unavailable
from cloud.http import secret
from cloud.web.app import app
from cloud.web.desk import Desk
from cloud.web.settings import Hook, Web

log: Final = logging.getLogger("shuichi.web")

_ENDS_WITHIN_S: Final = 3


def _is_a_fault(record: logging.LogRecord) -> bool:
    """A request that is still being read when we end is no fault of ours."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)


logging.getLogger("uvicorn.error").addFilter(_is_a_fault)


class _Server(uvicorn.Server):
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
        own.listen()
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


async def serve(desk: Desk, listening: socket.socket) -> None:
    """Answer until cancelled; what is being answered then may end."""
    server = _Server(
        uvicorn.Config(
            app(desk),
            log_config=None,
            access_log=False,
            log_level="warning",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_ENDS_WITHIN_S,
            proxy_headers=False,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="http server")
    host, port = listening.getsockname()[:2]
    log.info("serving http://%s:%d", f"[{host}]" if ":" in host else host, port)
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await asyncio.wait((serving,))
