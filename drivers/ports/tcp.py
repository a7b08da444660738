"""A TCP connection: Modbus TCP, or RTU frames through a serial server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal

from pydantic import Field

from drivers.errors import Unavailable
from drivers.ports import Port, PortConfig
from drivers.ports.line import Line
from wire.sockets import CONNECT_ATTEMPT_DELAY_S, keep_alive

_LONGEST_READ: Final = 4096


class Config(PortConfig):
    """`framing` is "tcp" for Modbus TCP and "rtu" for a serial server that passes RTU on as it is.

    `baud` is that of the line behind a serial server; it lengthens the time limits and counts in
    the load that `shuichi edge check` works out. 0: nothing behind it that takes time.
    `devices_set`: somebody has set the devices to that rate, whatever their profiles say.
    """

    kind: Literal["tcp"]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    framing: Literal["tcp", "rtu"] = "tcp"
    baud: Annotated[int, Field(ge=0)] = 0
    devices_set: bool = False
    connect_within_ms: Annotated[int, Field(ge=10, le=60000)] = 3000

    @property
    def byte_s(self) -> float:
        """Time of one character (10 bits) on the line behind a serial server, else 0."""
        return 10 / self.baud if self.baud else 0.0

    @property
    def gap_s(self) -> float:
        """Silence between two RTU frames on the line behind a serial server, else 0."""
        return 3.5 * self.byte_s

    @property
    def open_within_s(self) -> float:
        """`connect_within_ms`, s."""
        return self.connect_within_ms / 1000

    @property
    def answers_numbered(self) -> bool:
        """Modbus TCP numbers them."""
        return self.framing == "tcp"

    @property
    def place(self) -> str:
        """What a person would look for: host and port."""
        return f"{self.host}:{self.port}"


class TcpLine(Line):
    """A TCP connection that is made again when it has ended."""

    may_vanish = True

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name)
        self._config = config
        self._connection: _Connection | None = None
        self.framing, self.byte_s, self.gap_s = config.framing, config.byte_s, config.gap_s

    @property
    def is_open(self) -> bool:
        return self._connection is not None and self._connection.is_open

    async def open(self) -> None:
        config = self._config
        within_s = config.connect_within_ms / 1000
        loop = asyncio.get_running_loop()
        connection = _Connection(self)
        try:
            async with asyncio.timeout(within_s):
                await loop.create_connection(
                    lambda: connection,
                    config.host,
                    config.port,
                    # One address that swallows everything must not take the whole time.
                    happy_eyeballs_delay=min(CONNECT_ATTEMPT_DELAY_S, within_s / 4),
                    interleave=1,
                )
        except TimeoutError:
            raise Unavailable(
                f"{config.place}: no connection within {config.connect_within_ms} ms"
            ) from None
        except OSError as error:
            reason = "connection refused" if isinstance(error, ConnectionRefusedError) else error
            raise Unavailable(f"{config.place}: {reason}") from None
        self._connection = connection
        connection.keep_alive(within_s)

    def write(self, data: bytes) -> None:
        if self._connection is None or not self._connection.write(data):
            self.drop(f"{self._config.place}: connection lost")

    async def close(self) -> None:
        if self._connection is not None:
            self.drop("closed")
            await asyncio.sleep(0)  # asyncio closes the socket in its next round

    def drop(self, why: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self.lost(why)

    def ended(self, connection: "_Connection", error: Exception | None) -> None:
        """A connection has ended; an older one than ours is nothing to us."""
        if connection is self._connection:
            self._connection = None
            self.lost(f"{self._config.place}: connection lost{f' ({error})' if error else ''}")


class _Connection(asyncio.BufferedProtocol):
    """One connection of a line."""

    def __init__(self, line: TcpLine) -> None:
        self._line = line
        self._transport: asyncio.Transport | None = None
        self._incoming = bytearray(_LONGEST_READ)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def keep_alive(self, unanswered_s: float) -> None:
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            keep_alive(sock, unanswered_s)

    def write(self, data: bytes) -> bool:
        """False if it is closed."""
        if (transport := self._transport) is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def abort(self) -> None:
        """End it at once: what is not yet sent must not come later."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._incoming

    def buffer_updated(self, nbytes: int) -> None:
        self._line.received(bytes(self._incoming[:nbytes]))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._line.ended(self, error)


@asynccontextmanager
async def open(name: str, config: Config) -> AsyncIterator[Port]:
    """The port `name`. It is connected by the first exchange, and again after a loss."""
    line = TcpLine(name, config)
    try:
        yield line
    finally:
        await line.close()
