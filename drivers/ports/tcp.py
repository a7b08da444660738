"""A TCP connection: Modbus TCP, or RTU frames through a serial server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal

from pydantic import Field

from drivers.errors import Unavailable
from drivers.ports import Port, PortConfig
from drivers.ports.line import Line

_LONGEST_READ: Final = 4096


class Config(PortConfig):
    """`framing` is "tcp" for Modbus TCP and "rtu" for a serial server that passes RTU on as it is.

    `baud` is that of the line behind a serial server; it lengthens the time limits and counts in
    the load that `shuichi edge check` works out. 0: nothing behind it that takes time.
    """

    kind: Literal["tcp"]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    framing: Literal["tcp", "rtu"] = "tcp"
    baud: Annotated[int, Field(ge=0)] = 0
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
    def place(self) -> str:
        """What a person would look for: host and port."""
        return f"{self.host}:{self.port}"


class TcpLine(Line, asyncio.BufferedProtocol):
    """A TCP connection that is made again when it has ended."""

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name)
        self._config = config
        self._transport: asyncio.Transport | None = None
        self._incoming = bytearray(_LONGEST_READ)
        self.framing, self.byte_s, self.gap_s = config.framing, config.byte_s, config.gap_s

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def open(self) -> None:
        config = self._config
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(config.connect_within_ms / 1000):
                await loop.create_connection(lambda: self, config.host, config.port)
        except TimeoutError:
            raise Unavailable(
                f"{config.place}: no connection within {config.connect_within_ms} ms"
            ) from None
        except OSError as error:
            reason = "connection refused" if isinstance(error, ConnectionRefusedError) else error
            raise Unavailable(f"{config.place}: {reason}") from None

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._incoming

    def buffer_updated(self, nbytes: int) -> None:
        self.received(bytes(self._incoming[:nbytes]))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.lost(f"{self._config.place}: connection lost{f' ({error})' if error else ''}")


@asynccontextmanager
async def open(name: str, config: Config) -> AsyncIterator[Port]:
    """The port `name`. It is connected by the first exchange, and again after a loss."""
    line = TcpLine(name, config)
    try:
        yield line
    finally:
        await line.close()
