"""A connection to a broker, made without a thread, so that it can be given up at any moment."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

from wire.sockets import CONNECT_ATTEMPT_DELAY_S, keep_alive

AddressInfo = tuple[Any, Any, int, str, Any]
"""As `socket.getaddrinfo` gives it: family, kind, protocol, canonical name, address."""


async def dial(
    host: str, port: int, tls: ssl.SSLContext | None, *, unanswered_s: float
) -> socket.socket:
    """A connected socket that does not block, with TLS if a context is given.

    Tries the addresses of the name by RFC 8305: IPv6 and IPv4 in turn, the next one when the one
    before has failed or has not answered for a quarter of a second; the first that answers is
    taken. So an address that swallows everything costs a moment. The connection ends by itself when
    the other side has not confirmed what was sent for `unanswered_s`. Raises OSError, of which
    socket.gaierror (no such name) and ssl.SSLError are kinds. Sets no time limit; whoever cancels
    it finds nothing left open.
    """
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not addresses:
        raise OSError(f"{host} has no address")
    plain = await _first([partial(_connected, one, unanswered_s) for one in in_turn(addresses)])
    return plain if tls is None else await _secured(plain, host, tls)


def in_turn(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """The families in turn, each in the order in which it was given (RFC 8305, section 4)."""
    families: dict[int, list[AddressInfo]] = {}
    for one in addresses:
        families.setdefault(one[0], []).append(one)
    return [one for some in zip_longest(*families.values()) for one in some if one is not None]


async def _first(attempts: Sequence[Callable[[], Awaitable[socket.socket]]]) -> socket.socket:
    """The socket of the first attempt that succeeds; one more runs each `CONNECT_ATTEMPT_DELAY_S`,
    or as soon as one has failed. Raises the last one's OSError if none does."""
    left = list(reversed(attempts))
    running: set[asyncio.Task[socket.socket]] = set()
    error = OSError("there is no address")
    try:
        while left or running:
            if left:
                running.add(asyncio.create_task(_awaited(left.pop()), name="dial"))
            ended, _ = await asyncio.wait(
                running,
                timeout=CONNECT_ATTEMPT_DELAY_S if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in ended:
                running.discard(task)
                failure = task.exception()
                if failure is None:
                    running |= ended  # there may be more than one
                    running.discard(task)
                    return task.result()
                if not isinstance(failure, OSError):
                    raise failure
                error = failure
    finally:
        await _give_up(running)
    raise error


async def _awaited(attempt: Callable[[], Awaitable[socket.socket]]) -> socket.socket:
    return await attempt()


async def _give_up(attempts: set[asyncio.Task[socket.socket]]) -> None:
    """Leave nothing open."""
    for task in attempts:
        task.cancel()
        task.add_done_callback(_close)
    if attempts:
        await asyncio.wait(attempts)


def _close(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connected(to: AddressInfo, unanswered_s: float) -> socket.socket:
    family, kind, protocol, _, address = to
    plain = socket.socket(family, kind, protocol)
    try:
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(plain, unanswered_s, idle_s=unanswered_s)
        await asyncio.get_running_loop().sock_connect(plain, address)
    except BaseException:
        plain.close()
        raise
    return plain


async def _secured(plain: socket.socket, host: str, tls: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        secure = tls.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                secure.do_handshake()
                return secure
            except ssl.SSLWantReadError:
                await _until_ready(secure, loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await _until_ready(secure, loop.add_writer, loop.remove_writer)
    except BaseException:
        secure.close()
        raise


async def _until_ready(
    sock: socket.socket, add: Callable[..., None], remove: Callable[[socket.socket], bool]
) -> None:
    ready = asyncio.get_running_loop().create_future()
    add(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        remove(sock)
