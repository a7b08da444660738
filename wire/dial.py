"""A connection to a broker, made without a thread, so that it can be given up at any moment."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any


async def dial(
    host: str, port: int, tls: ssl.SSLContext | None, *, unanswered_s: float
) -> socket.socket:
    """A connected socket that does not block, with TLS if a context is given.

    Tries each address of the name in turn. The connection ends by itself when the other side has
    not confirmed what was sent for `unanswered_s`. Raises OSError, of which socket.gaierror (no
    such name) and ssl.SSLError are kinds. Sets no time limit; whoever cancels it finds nothing
    left open.
    """
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    error = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in addresses:
        try:
            plain = await _connected(socket.socket(family, kind, protocol), address, unanswered_s)
        except OSError as refusal:
            error = refusal
        else:
            return plain if tls is None else await _secured(plain, host, tls)
    raise error


async def _connected(plain: socket.socket, address: Any, unanswered_s: float) -> socket.socket:
    try:
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(unanswered_s * 1000)
        )  # RFC 5482: without it the kernel repeats for a quarter of an hour
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
