"""What all ports share: one exchange at a time, its time limit, and rest after a failure."""

import asyncio
from abc import ABC, abstractmethod

from drivers.errors import BadReply, DriverError, Unavailable
from drivers.ports import Scan

_REOPEN_AFTER_S = 1.0


class Line(ABC):
    """A byte line. Subclasses open it, write to it, and call `received` and `lost`."""

    framing: str
    datagrams: bool = False
    byte_s: float
    gap_s: float

    def __init__(self, name: str) -> None:
        self.name = name
        self._busy = asyncio.Lock()
        self._buffer = bytearray()
        self._scan: Scan | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._rest_until = 0.0
        self._open_not_before = 0.0
        self._why_closed = ""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether bytes can be written now."""

    @abstractmethod
    async def open(self) -> None:
        """Open the line. Raises Unavailable."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Put bytes on the open line; if it refuses them, it calls `lost`."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the line."""

    async def exchange(
        self, request: bytes, scan: Scan, *, answer_bytes: int, answer_within_s: float
    ) -> bytes:
        """See `drivers.ports.Port.exchange`."""
        loop = asyncio.get_running_loop()
        async with self._busy:
            await self._make_ready(loop)
            on_wire_s = (len(request) + answer_bytes) * self.byte_s
            late_s = answer_within_s + answer_bytes * self.byte_s
            self._scan = scan
            self._answer = answer = loop.create_future()
            try:
                self.write(request)
                async with asyncio.timeout(on_wire_s + answer_within_s):
                    result: bytes = await answer
            except TimeoutError:
                self._rest(late_s)
                heard = f" after {len(self._buffer)} stray bytes" if self._buffer else ""
                raise Unavailable(
                    f"{self.name}: no answer within {answer_within_s * 1000:.0f} ms{heard}"
                ) from None
            except (DriverError, asyncio.CancelledError):
                self._rest(late_s)
                raise
            finally:
                self._scan = self._answer = None
            self._rest(0.0)
            return result

    def received(self, data: bytes) -> None:
        """Bytes came in. Without a request under way they are a late answer or noise."""
        if self._scan is None or self._answer is None or self._answer.done():
            return
        self._buffer += data
        try:
            answer = self._scan(self._buffer)
        except BadReply as error:
            self._answer.set_exception(BadReply(f"{self.name}: {error}"))
            return
        if answer is not None:
            self._answer.set_result(answer)

    def lost(self, why: str) -> None:
        """The line broke: the exchange under way, if any, fails at once."""
        self._why_closed = why
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unavailable(f"{self.name}: {why}"))

    async def _make_ready(self, loop: asyncio.AbstractEventLoop) -> None:
        if (wait := self._rest_until - loop.time()) > 0:
            await asyncio.sleep(wait)
        if not self.is_open:  # asked last: a line can be lost while it rests
            await self._open_again(loop)
        self._buffer.clear()

    async def _open_again(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() >= self._open_not_before:
            try:
                await self.open()
            except Unavailable as error:
                self._why_closed = str(error)
            if self.is_open:  # it may have been lost again at once
                return
            self._open_not_before = loop.time() + _REOPEN_AFTER_S
        raise Unavailable(f"{self.name}: {self._why_closed}")

    def _rest(self, seconds: float) -> None:
        self._rest_until = asyncio.get_running_loop().time() + seconds + self.gap_s
