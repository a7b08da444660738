"""Datagrams to one host and port: signal controllers (SNMP, GB/T 20999), Modbus over UDP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal, cast

from pydantic import Field

from drivers.errors import Unavailable
from drivers.ports import Port, PortConfig
from drivers.ports.line import Line

_FOUND_WITHIN_S: Final = 3.0
"""For a host name; an address is found at once."""


class Config(PortConfig):
    """Where the datagrams go. Modbus travels in them as it does over TCP."""

    kind: Literal["udp"]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]

    @property
    def framing(self) -> str:
        """How Modbus travels here."""
        return "tcp"

    @property
    def answers_numbered(self) -> bool:
        """As over TCP."""
        return True

    @property
    def place(self) -> str:
        """What a person would look for: host and port."""
        return f"{self.host}:{self.port}"


class UdpLine(Line):
    """A socket that hears only the host and port to which it speaks. It is made anew when nobody
    answers: the host's name may have got another address."""

    datagrams = True
    may_vanish = True
    byte_s = gap_s = 0.0

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name)
        self._config = config
        self._socket: _Socket | None = None
        self.framing = config.framing

    @property
    def is_open(self) -> bool:
        return self._socket is not None and self._socket.is_open

    async def open(self) -> None:
        config = self._config
        loop = asyncio.get_running_loop()
        made = _Socket(self)
        try:
            async with asyncio.timeout(_FOUND_WITHIN_S):
                await loop.create_datagram_endpoint(
                    lambda: made, remote_addr=(config.host, config.port)
                )
        except TimeoutError:
            raise Unavailable(f"{config.place}: no address within {_FOUND_WITHIN_S:g} s") from None
        except OSError as error:
            raise Unavailable(f"{config.place}: {error}") from None
        self._socket = made

    def write(self, data: bytes) -> None:
        if self._socket is None or not self._socket.is_open:
            self.drop("closed")
        else:
            self._socket.send(data)

    async def close(self) -> None:
        if self._socket is not None:
            self.drop("closed")
            await asyncio.sleep(0)  # asyncio closes the socket in its next round

    def drop(self, why: str) -> None:
        made, self._socket = self._socket, None
        if made is not None:
            made.abort()
        self.lost(why)

    def refused(self, made: "_Socket", error: Exception) -> None:
        """The other host says that nobody listens, or a router that there is no way."""
        if made is self._socket:
            self.lost(f"{self._config.place}: {error}")

    def ended(self, made: "_Socket", error: Exception | None) -> None:
        """A socket has been closed; an older one than ours is nothing to us."""
        if made is self._socket:
            self._socket = None
            self.lost(f"{self._config.place}: {error or 'closed'}")


class _Socket(asyncio.DatagramProtocol):
    """One socket of a line."""

    def __init__(self, line: UdpLine) -> None:
        self._line = line
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data)

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Before 3.12 asyncio's own datagram transport is not one by its class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, _: object) -> None:
        self._line.received(data)

    def error_received(self, error: Exception) -> None:
        self._line.refused(self, error)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._line.ended(self, error)


@asynccontextmanager
async def open(name: str, config: Config) -> AsyncIterator[Port]:
    """The port `name`. Its socket is made by the first exchange."""
    line = UdpLine(name, config)
    try:
        yield line
    finally:
        await line.close()
