"""The gateway's two clocks: monotonic time for what is decided, UTC for what is told.

A gateway without a clock battery starts in 1970 and learns the time from the network. Until the
kernel says that it is synchronised, `Clock` gives times in ms since the boot; from then on UTC, as
monotonic time plus an offset. The offset follows the system's clock only while that can be
believed, so that a network outage costs no more than the drift of the crystal.

Within a stream UTC never goes back. Where the system's clock is set back by an hour or less (a leap
second, a correction), our UTC runs at half speed until the truth has caught up with it, and
readings that are more than a second off are marked suspect. Further back is another matter: then a
new stream begins, and in it time goes back.
"""

import ctypes
import os
import sys
import time
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol

TOLD_FROM_MS: Final = 500
"""A difference that is told as a jump: more than NTP slews away (RFC 5905 steps from 128 ms)."""

ABSORBED_UP_TO_MS: Final = 3_600_000
SUSPECT_FROM_MS: Final = 1000

NOT_BEFORE_MS: Final = 1_735_689_600_000
"""2025-01-01: older than this program. A clock that shows less has lost its battery."""

NOT_AFTER_MS: Final = NOT_BEFORE_MS + 50 * 365 * 86_400_000


def utc_ms() -> int:
    """UTC in whole milliseconds since 1970, from the system's clock, be it right or not."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds that never run backwards; the event loop's own time base."""
    return time.monotonic()


class Source(StrEnum):
    """When the system's clock is believed.

    NTP: once the kernel says that it is synchronised. RTC: at once, because a battery keeps it, but
    what the kernel says later is better. TRUSTED: always.
    """

    NTP = "ntp"
    RTC = "rtc"
    TRUSTED = "trusted"


class Machine(Protocol):
    """What a clock asks of the machine."""

    @property
    def boot(self) -> str: ...

    def monotonic(self) -> float: ...

    def utc_ms(self) -> int: ...

    def synchronised(self) -> bool: ...


class ThisMachine:
    """The machine that we run on. On Linux the kernel tells its boot and whether chrony,
    systemd-timesyncd or ntpd keeps its clock (adjtimex, man page 2); elsewhere nobody tells."""

    def __init__(self) -> None:
        try:
            self.boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            # A boot of its own for every process: what is not synchronised cannot be carried on.
            self.boot = f"{os.getpid()}-{time.time_ns()}"

    def monotonic(self) -> float:
        return monotonic()

    def utc_ms(self) -> int:
        return utc_ms()

    def synchronised(self) -> bool:
        return sys.platform == "linux" and kernel_synchronised()


class Jump(NamedTuple):
    """The system's clock was set by so much. One that is not `absorbed` makes our UTC go back."""

    step_ms: int
    absorbed: bool


class Clock:
    """Trusted or not, and then UTC. Call `look` every second or so, and `trust` when it says
    that the time is known."""

    def __init__(self, machine: Machine, source: Source) -> None:
        self.boot = machine.boot
        self.trusted = False
        self._machine = machine
        self._source = source
        self._offset_ms = 0
        self._known_ms: int | None = None
        self._newest_ms = 0
        self._was_synchronised = False
        self._steady_since = 0.0
        # Where UTC was set back, and what it then showed: from there it runs at half speed.
        self._set_back: tuple[int, int] | None = None

    def recall(self, offset_ms: int | None, newest_ms: int) -> None:
        """What the disk remembers: the offset, if an earlier process of this boot knew it, and the
        newest UTC that was ever given."""
        self._known_ms = offset_ms
        self._newest_ms = newest_ms

    def candidate(self) -> int | None:
        """The offset of this boot if it can be known now, else None."""
        offset_ms = self._sample()
        shown_ms = self._now_ms() + offset_ms
        plausible = NOT_BEFORE_MS <= shown_ms <= NOT_AFTER_MS
        if self._source is Source.RTC and not self._machine.synchronised():
            # An empty battery begins again at some date of its maker.
            plausible &= shown_ms >= self._newest_ms - ABSORBED_UP_TO_MS
        return offset_ms if plausible and self._believable() else self._known_ms

    def trust(self, offset_ms: int, not_before_ms: int = 0) -> bool:
        """From now on give UTC, later than `not_before_ms`, which was the last one given in this
        stream. False if that is so far off that a new stream must begin, in which UTC may go
        back."""
        self._offset_ms = offset_ms
        self._steady_since = self._machine.monotonic()
        self.trusted = True
        back_ms = not_before_ms - (self._now_ms() + offset_ms)
        if 0 <= back_ms <= ABSORBED_UP_TO_MS:
            self._set_back = (self._now_ms(), not_before_ms + 1)
        return back_ms <= ABSORBED_UP_TO_MS

    def look(self) -> Jump | None:
        """Follow the system's clock if it can be believed; tell if it has jumped. Only for a clock
        that is trusted."""
        if not self._believable():
            return None
        now_ms, offset_ms = self._now_ms(), self._sample()
        step_ms = offset_ms - self._offset_ms
        if not NOT_BEFORE_MS <= now_ms + offset_ms <= NOT_AFTER_MS:
            return None
        if step_ms < 0:
            shown_ms = self._utc_ms(now_ms)
            absorbed = shown_ms - (now_ms + offset_ms) <= ABSORBED_UP_TO_MS
            self._set_back = (now_ms, shown_ms) if absorbed else None
        self._offset_ms = offset_ms
        if abs(step_ms) < TOLD_FROM_MS:
            return None
        if abs(step_ms) > ABSORBED_UP_TO_MS:
            self._steady_since = self._machine.monotonic()
        return Jump(step_ms, step_ms > 0 or self._set_back is not None)

    @property
    def steady_s(self) -> float:
        """For how long UTC has been known and was not set by more than an hour."""
        return self._machine.monotonic() - self._steady_since if self.trusted else 0.0

    @property
    def offset_ms(self) -> int:
        """UTC in ms at this boot's monotonic 0, as far as it is known."""
        return self._offset_ms

    def stamp(self, at: float) -> int:
        """For the monotonic time `at`, s: UTC in ms, or ms since the boot if nobody knows it."""
        at_ms = int(at * 1000)
        return self._utc_ms(at_ms) if self.trusted else at_ms

    def now(self) -> int:
        """The stamp of this moment."""
        return self.stamp(self._machine.monotonic())

    def best_utc_ms(self) -> int:
        """For a message that says beside it whether the clock is trusted: UTC, or the system's
        idea of it."""
        return self.now() if self.trusted else max(self._machine.utc_ms(), NOT_BEFORE_MS)

    def sure(self, at: float) -> bool:
        """Whether a stamp is, if it is UTC at all, as good as the clock itself."""
        if not self.trusted or self._set_back is None:
            return True
        at_ms = int(at * 1000)
        return self._utc_ms(at_ms) - (at_ms + self._offset_ms) <= SUSPECT_FROM_MS

    def _utc_ms(self, at_ms: int) -> int:
        true_ms = at_ms + self._offset_ms
        if self._set_back is None:
            return true_ms
        since_ms, shown_ms = self._set_back
        passed_ms = at_ms - since_ms
        return max(true_ms, shown_ms + (passed_ms // 2 if passed_ms > 0 else passed_ms))

    def _sample(self) -> int:
        """The system's UTC at our monotonic 0, ms: of a few looks the one that took least time, for
        we may be interrupted between the two clocks."""
        looks = []
        for _ in range(3):
            before = self._machine.monotonic()
            utc_ms = self._machine.utc_ms()
            after = self._machine.monotonic()
            looks.append((after - before, utc_ms - round((before + after) * 500)))
        return min(looks)[1]

    def _believable(self) -> bool:
        synchronised = self._machine.synchronised()
        self._was_synchronised |= synchronised
        match self._source:
            case Source.TRUSTED:
                return True
            case Source.RTC:
                return synchronised or not self._was_synchronised
            case _:
                return synchronised

    def _now_ms(self) -> int:
        return int(self._machine.monotonic() * 1000)


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, for a `long` of whatever size."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),  # more than any kernel writes
    )


_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def kernel_synchronised() -> bool:
    """What adjtimex says: the state is not TIME_ERROR and STA_UNSYNC is not set. The kernel sets it
    by itself when its clock has not been corrected for so long that it may be 16 s off."""
    timex = _Timex()  # modes 0: only look
    state = _libc().adjtimex(ctypes.byref(timex))
    return state not in (-1, _TIME_ERROR) and not timex.status & _STA_UNSYNC
