"""What all ports share: one exchange at a time, its time limit, and rest after a failure.

An RTU answer does not say which question it answers. So after a request whose answer did not come,
nothing is asked to which that answer could be mistaken for the answer, until it can come no more
(decision record 0003).
"""

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from drivers.errors import BadReply, DriverError, GivenUp, LineDown, Spoilt, Unavailable
from drivers.ports import LineState, Received, Scan

log: Final = logging.getLogger("shuichi.port")

REOPEN_AFTER_S: Final = 1.0
"""A line that could not be opened is not tried again sooner."""

_SHORTEST_TALK: Final = 4
"""Bytes. Less is the click of a transceiver that lets go of the line, not somebody who speaks."""

MOST_KEPT: Final = 2048
"""Bytes. No answer is so long; a line may babble without end."""

_TALK_PAUSE_S: Final = 0.05
"""Bytes further apart than this do not belong together, whatever an adapter's buffer does."""


_LOOP_STEP_S: Final = 0.001
"""What the event loop's clock is rounded up to (epoll, man page 2)."""

_EXACT_UP_TO_S: Final = 0.005

_FORGOTTEN_AFTER_S: Final = 60.0
"""What comes later than this after a request is nobody's answer any more."""

_LATER_STILL: Final = 1.5
"""A device that was once later than anybody thought may be so much later next time."""

_DEAF_AFTER: Final = 3
"""Exchanges in a row in which no unit said anything, after which a connection is made anew: the
other side may have vanished without a word. As long as that changes nothing, twice as many each
time, up to `_DEAF_AT_MOST`."""

_DEAF_AT_MOST: Final = 24


class _Late(NamedTuple):
    """An answer that did not come to what was asked then, and may until then (loop time), of at
    most so many bytes."""

    asked_at: float
    until: float
    longest: int


class Line(ABC):
    """A byte line. Subclasses open it, write to it, and call `received` and `lost`.

    `exact_gap`: the silence between two frames is so short that a millisecond counts.
    `may_vanish`: the other side can go away without a sign, so that a silent line is opened anew.
    """

    framing: str
    datagrams: bool = False
    exact_gap: bool = False
    may_vanish: bool = False
    byte_s: float
    gap_s: float

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered_at = 0.0
        self.answer_s = 0.0
        self.strays = 0
        self._busy = asyncio.Lock()
        self._buffer = Received()
        self._scan: Scan | None = None
        self._answer_within_s = 0.0
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._settling: asyncio.TimerHandle | None = None
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
        self._changed_at: float | None = None  # when it was opened or lost
        self._silences = 0
        self._deaf_after = _DEAF_AFTER
        self._faults: set[type[Exception]] = set()

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

    def drop(self, why: str) -> None:
        """Let go of the line at once, and call `lost`."""
        self.lost(why)

    def state(self) -> LineState:
        """See `drivers.ports.Port.state`."""
        return LineState(self.is_open, self._changed_at, "" if self.is_open else self._why_closed)

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
            now = loop.time()
            if not self._is_ready(now, late_s):
                await self._make_ready(loop, late_s, begins, urgent, mistakable)
                if not self.is_open:  # whatever was found before: it has rested meanwhile
                    raise LineDown(f"{self.name}: {self._why_closed}")
                now = loop.time()
            talks = now - self._strayed_at <= _TALK_PAUSE_S
            self._buffer.renew(len(self._strays) if talks else 0)
            asked_at = now + len(request) * self.byte_s
            answer_wire_s = answer_bytes * self.byte_s
            self._answer_within_s = answer_within_s
            self._deadline = asked_at + answer_within_s + answer_wire_s
            self._scan = self.expect(request, scan)
            self._answer = answer = loop.create_future()
            if self._rings_at > self._deadline:
                self._set_alarm(loop)
            try:
                self._put(request)
                result: bytes = await answer
            except (DriverError, asyncio.CancelledError):
                late_s = max(late_s, self._latest_s.get(begins, 0.0))
                self._expect_late(
                    begins, _Late(asked_at, asked_at + late_s + answer_wire_s, answer_bytes)
                )
                self._stray(bytes(self._buffer), loop.time())
                raise
            finally:
                if self._settling is not None:
                    self._settle(None)
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
        self._silences, self._deaf_after = 0, _DEAF_AFTER
        is_answer = not self.datagrams or len(data) <= MOST_KEPT
        if self._scan is None or self._answer is None or self._answer.done() or not is_answer:
            self._stray(data, now)
            return
        if self._settling is not None:
            self._settle(None)
        self._buffer += data
        if now > self._deadline:  # it has waited until somebody woke up: nobody knows how long
            self._fail(Unavailable(f"{self.name}: the answer came after its time"))
            return
        if self._overtaken and not self._drop_overtaken():
            return
        self._look(self._scan, now)

    def lost(self, why: str) -> None:
        """The line broke: the exchange under way, if any, fails at once."""
        self._why_closed = why
        if not self.is_open:
            self._changed_at = asyncio.get_running_loop().time()
        self._fail(LineDown(f"{self.name}: {why}"))

    def _look(self, scan: Scan, now: float) -> None:
        """Whether the answer is there now."""
        try:
            answer = scan(self._buffer)
        except Spoilt as error:
            self._settle(BadReply(f"{self.name}: {error}"))
        except BadReply as error:
            self._fail(BadReply(f"{self.name}: {error}"))
        except Exception as error:  # noqa: BLE001 - a fault of ours costs this answer
            self._tell_fault(error)
            self._fail(BadReply(f"{self.name}: {type(error).__name__}: {error}"))
        else:
            if answer is None:
                if len(self._buffer) > MOST_KEPT:
                    self._fail(BadReply(f"{self.name}: {len(self._buffer)} bytes and no answer"))
            elif self._answer is not None:
                self.answered_at, self.strays = now, self._buffer.strays
                self._answer.set_result(answer)

    def _put(self, request: bytes) -> None:
        """Write; whatever a library raises, the line is lost, and no more than that."""
        try:
            self.write(request)
        except Exception as error:  # noqa: BLE001
            self._tell_fault(error)
            self.drop(f"write failed: {type(error).__name__}: {error}")

    def _tell_fault(self, error: Exception) -> None:
        if type(error) not in self._faults:
            self._faults.add(type(error))
            log.error("%s: %r", self.name, error, exc_info=error, extra={"port": self.name})

    def _settle(self, error: BadReply | None) -> None:
        """Fail with `error` unless more bytes come before a pause ends; None: more have come."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        if error is not None:
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(_TALK_PAUSE_S, self._fail, error)

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
        if not self.is_open:  # a line can be lost while it rests
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
        if (wait_s := until - loop.time()) > 0:
            await self._pause(loop, wait_s)

    async def _pause(self, loop: asyncio.AbstractEventLoop, wait_s: float) -> None:
        """The loop wakes up as much as a millisecond late, which between two frames is half of the
        silence: the last of it is slept without the loop."""
        if not self.exact_gap or wait_s > _EXACT_UP_TO_S:
            await asyncio.sleep(wait_s)
            return
        until = loop.time() + wait_s
        if wait_s > _LOOP_STEP_S:
            await asyncio.sleep(wait_s - _LOOP_STEP_S)
        if (left_s := until - loop.time()) > 0:
            time.sleep(min(left_s, _LOOP_STEP_S))  # noqa: ASYNC251
        if (left_s := until - loop.time()) > 0:
            await asyncio.sleep(left_s)

    async def _open_again(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() >= self._open_not_before:
            try:
                await self.open()
            except Unavailable as error:
                self._why_closed = str(error)
            except Exception as error:  # noqa: BLE001
                self._tell_fault(error)
                self._why_closed = f"{type(error).__name__}: {error}"
            if self.is_open:  # it may have been lost again at once
                self._changed_at, self._silences = loop.time(), 0
                return
            if self._changed_at is None:
                self._changed_at = loop.time()
            self._open_not_before = loop.time() + REOPEN_AFTER_S
        raise LineDown(f"{self.name}: {self._why_closed}")

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake up by the deadline. An alarm that rings before it is kept, and set anew when it
        rings: nearly every answer comes in time, and an alarm for each would cost too much."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings_at = self._deadline
        self._alarm = loop.call_at(self._rings_at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        rang_at, self._rings_at, self._alarm = self._rings_at, math.inf, None
        if self._answer is None or self._answer.done():
            return
        if rang_at < self._deadline:  # that of an earlier exchange
            self._set_alarm(loop)
        else:
            self._expire()

    def _expire(self) -> None:
        heard = f" after {len(self._buffer)} stray bytes" if self._buffer else ""
        if self._buffer.remark:
            heard += f", but {self._buffer.remark}"
        within_ms = f"{self._answer_within_s * 1000:.0f} ms"
        self._fail(Unavailable(f"{self.name}: no answer within {within_ms}{heard}"))
        self._silences += 1
        if self.may_vanish and self._silences >= self._deaf_after:
            self._deaf_after = min(2 * self._deaf_after, _DEAF_AT_MOST)
            self.drop(f"nobody has answered {self._silences} requests: connecting anew")

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
        self._strays += data[: MOST_KEPT - len(self._strays)]
        if len(self._strays) < _SHORTEST_TALK:
            return
        for begins, late in self._late.items():
            if self._strays.startswith(begins) and len(self._strays) <= late.longest:
                if begins and now > late.until:
                    self._latest_s[begins] = _LATER_STILL * (now - late.asked_at)
                return  # the late answer for which the line rests, or should have
        self._foreign_at = now
