"""What all ports share: one exchange at a time, its time limit, and rest after a failure.

An RTU answer does not say which question it answers. So after a request whose answer did not come,
nothing is asked to which that answer could be mistaken for the answer, until it can come no more
(decision record 0003).
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from drivers.errors import BadReply, DriverError, GivenUp, LineDown, Unavailable
from drivers.ports import Scan

_REOPEN_AFTER_S: Final = 1.0

_SHORTEST_TALK: Final = 4
"""Bytes. Less is the click of a transceiver that lets go of the line, not somebody who speaks."""

_TALK_PAUSE_S: Final = 0.05
"""Bytes further apart than this do not belong together, whatever an adapter's buffer does."""


_FORGOTTEN_AFTER_S: Final = 60.0
"""What comes later than this after a request is nobody's answer any more."""

_LATER_STILL: Final = 1.5
"""A device that was once later than anybody thought may be so much later next time."""


class _Late(NamedTuple):
    """An answer that did not come to what was asked then, and may until then (loop time), of at
    most so many bytes."""

    asked_at: float
    until: float
    longest: int


class Line(ABC):
    """A byte line. Subclasses open it, write to it, and call `received` and `lost`."""

    framing: str
    datagrams: bool = False
    byte_s: float
    gap_s: float

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered_at = 0.0
        self.answer_s = 0.0
        self._busy = asyncio.Lock()
        self._buffer = bytearray()
        self._scan: Scan | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._silent_from = 0.0  # a request may follow what was heard last
        # By the bytes with which an answer begins:
        self._late: dict[bytes, _Late] = {}
        self._latest_s: dict[bytes, float] = {}  # learnt, where it is more than was said
        self._overtaken: dict[bytes, int] = {}  # late answers that may come into this exchange
        self._strays = bytearray()
        self._strayed_at = 0.0
        self._foreign_at = float("-inf")  # somebody else asked, or had the line before us
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

    def expect(self, request: bytes, scan: Scan) -> Scan:
        """What finds the answer to `request` on this line."""
        return scan

    def free_at(self) -> float:
        """See `drivers.ports.Port.free_at`."""
        if not self._late:
            return self._silent_from
        return max(self._silent_from, *(late.until for late in self._late.values()))

    async def exchange(
        self,
        request: bytes,
        scan: Scan,
        *,
        answer_bytes: int,
        answer_within_s: float,
        late_s: float | None = None,
        begins: bytes = b"",
        urgent: bool = False,
        mistakable: bool = True,
    ) -> bytes:
        """See `drivers.ports.Port.exchange`."""
        late_s = 2 * answer_within_s if late_s is None else late_s
        loop = asyncio.get_running_loop()
        async with self._busy:
            if not self._is_ready(loop.time(), late_s):
                await self._make_ready(loop, late_s, begins, urgent, mistakable)
            self._buffer.clear()
            asked_at = loop.time() + len(request) * self.byte_s
            answer_wire_s = answer_bytes * self.byte_s
            self._scan = self.expect(request, scan)
            self._answer = answer = loop.create_future()
            limit = loop.call_at(
                asked_at + answer_within_s + answer_wire_s, self._expire, answer, answer_within_s
            )
            try:
                self.write(request)
                result: bytes = await answer
            except (DriverError, asyncio.CancelledError):
                late_s = max(late_s, self._latest_s.get(begins, 0.0))
                self._expect_late(
                    begins, _Late(asked_at, asked_at + late_s + answer_wire_s, answer_bytes)
                )
                self._stray(bytes(self._buffer), loop.time())
                raise
            finally:
                limit.cancel()
                self._scan = self._answer = None
            self.answer_s = max(0.0, self.answered_at - asked_at - answer_wire_s)
            return result

    def give_up(self, why: str) -> None:
        """See `drivers.ports.Port.give_up`."""
        self._fail(GivenUp(f"{self.name}: {why}"))

    def received(self, data: bytes) -> None:
        """Bytes came in. Without a request under way they are a late answer, noise, or somebody
        else who speaks on this line."""
        now = asyncio.get_running_loop().time()
        self._silent_from = now + self.gap_s
        if self._scan is None or self._answer is None or self._answer.done():
            self._stray(data, now)
            return
        self._buffer += data
        if self._overtaken and not self._drop_overtaken():
            return
        try:
            answer = self._scan(self._buffer)
        except BadReply as error:
            self._fail(BadReply(f"{self.name}: {error}"))
            return
        if answer is not None:
            self.answered_at = now
            self._answer.set_result(answer)

    def lost(self, why: str) -> None:
        """The line broke: the exchange under way, if any, fails at once."""
        self._why_closed = why
        self._fail(Unavailable(f"{self.name}: {why}"))

    def _is_ready(self, now: float, late_s: float) -> bool:
        """Whether nothing at all speaks against a request."""
        return (
            self.is_open
            and not self._late
            and self._silent_from <= now
            and self._foreign_at + late_s <= now
        )

    async def _make_ready(
        self,
        loop: asyncio.AbstractEventLoop,
        late_s: float,
        begins: bytes,
        urgent: bool,
        mistakable: bool,
    ) -> None:
        await self._rest(loop, begins, urgent, mistakable)
        if not self.is_open:  # asked last: a line can be lost while it rests
            await self._open_again(loop)
            self._foreign_at = loop.time()  # whoever had the line before us may have asked
        if mistakable and (foreign := self._foreign_at) + late_s > loop.time():
            await asyncio.sleep(foreign + late_s - loop.time())
            if self._foreign_at != foreign:
                raise Unavailable(f"{self.name}: somebody else speaks on this line")
        self._sort_late(loop.time(), begins)

    def _sort_late(self, now: float, begins: bytes) -> None:
        late = {b: one for b, one in self._late.items() if now < one.until + _FORGOTTEN_AFTER_S}
        self._late = late
        self._overtaken = {
            b: one.longest for b, one in late.items() if now < one.until and b != begins
        }

    async def _rest(
        self, loop: asyncio.AbstractEventLoop, begins: bytes, urgent: bool, mistakable: bool
    ) -> None:
        """Until nothing can come that would be taken for the answer, or disturb it."""
        until = self.free_at()
        if urgent:
            own = self._late.get(begins) if mistakable else None
            until = self._silent_from if own is None else max(self._silent_from, own.until)
        if (wait := until - loop.time()) > 0:
            await asyncio.sleep(wait)

    async def _open_again(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() >= self._open_not_before:
            try:
                await self.open()
            except Unavailable as error:
                self._why_closed = str(error)
            if self.is_open:  # it may have been lost again at once
                return
            self._open_not_before = loop.time() + _REOPEN_AFTER_S
        raise LineDown(f"{self.name}: {self._why_closed}")

    def _expire(self, answer: "asyncio.Future[bytes]", after_s: float) -> None:
        if answer is self._answer:
            heard = f" after {len(self._buffer)} stray bytes" if self._buffer else ""
            self._fail(Unavailable(f"{self.name}: no answer within {after_s * 1000:.0f} ms{heard}"))

    def _fail(self, error: DriverError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _expect_late(self, begins: bytes, late: _Late) -> None:
        before = self._late.get(begins, late)
        self._late[begins] = _Late(
            late.asked_at, max(late.until, before.until), max(late.longest, before.longest)
        )

    def _drop_overtaken(self) -> bool:
        """Take a late answer that an urgent request has overtaken out of the buffer; False while
        more of it must come."""
        for begins, length in self._overtaken.items():
            if begins and self._buffer.startswith(begins):
                if len(self._buffer) < length:
                    return False
                del self._buffer[:length], self._overtaken[begins]
                return bool(self._buffer)
        return True

    def _stray(self, data: bytes, now: float) -> None:
        if now - self._strayed_at > _TALK_PAUSE_S:
            self._strays.clear()
        self._strayed_at = now
        self._strays += data
        if len(self._strays) < _SHORTEST_TALK:
            return
        for begins, late in self._late.items():
            if self._strays.startswith(begins) and len(self._strays) <= late.longest:
                if begins and now > late.until:
                    self._latest_s[begins] = _LATER_STILL * (now - late.asked_at)
                return  # the late answer for which the line rests, or should have
        self._foreign_at = now
