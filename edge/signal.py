"""Keeps a signal at the aspect that its interlock wants, and believes it only by read-back."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from drivers.errors import DriverError, LineDown
from drivers.signals import Signal
from edge import clock
from edge.notify import BEAT_EVERY_S, Beat
from edge.poller import Bus
from wire.aspect import Aspect

RETRY_AFTER_S: Final = 0.25
"""The first repeat comes at once: what spoilt the attempt is over most of the time. This is the
pause before the second."""

SLOWEST_RETRY_S: Final = 5.0

FIND_WITHIN_S: Final = 3.0
"""So long a signal is asked what it shows. One that does not say may show the most restrictive
aspect, and is treated so."""

Tell = Callable[[str, str, dict[str, str | int | float | bool | None]], None]
"""`tell(kind, text, detail)` records an event."""


class SignalKeeper:
    """Writes, reads back, refreshes. `bus` is the bus on which the signal rides, if any; `beat` is
    called each time round, at least every `BEAT_EVERY_S` and the longest attempt. A signal that
    answers is missed only once it has had `turns_within_s` to turn.

    `wanted` is what was last asked for, `asked_at` when (monotonic), `cause` why. `may_lower` says
    whether the water is known: until it is, nothing is written that could be less restrictive than
    what the signal shows.
    """

    def __init__(
        self,
        site: str,
        signal: Signal,
        bus: Bus | None,
        refresh_every_s: float,
        tell: Tell,
        beat: Beat = lambda: None,
        turns_within_s: float = 0.0,
    ) -> None:
        self.site = site
        self.confirmed: Aspect | None = None
        self.wanted: Aspect | None = None
        self.asked_at = clock.monotonic()
        self.cause = ""
        self.on_seen: Callable[[], None] = lambda: None
        self.on_found: Callable[[Aspect], None] = lambda _: None
        self.may_lower = True
        self.is_looking = True
        self._signal = signal
        self._bus = bus
        self._refresh_every_s = refresh_every_s
        self._tell = tell
        self._beat = beat
        self._turns_within_s = turns_within_s
        self._turning = False
        self._no_line = False
        self._since = 0.0
        self._changed = asyncio.Event()
        self._obeys = asyncio.Event()

    def want(self, aspect: Aspect, since: float, cause: str) -> None:
        """Show `aspect`; `since` is the monotonic time of the reading that asked for it first."""
        if aspect is not self.wanted:
            self.wanted, self._since, self.cause = aspect, since, cause
            self.asked_at = clock.monotonic()
            self._obeys.clear()
            self._changed.set()

    def allow_lower(self) -> None:
        """The water is known: whatever is wanted may be written."""
        if not self.may_lower:
            self.may_lower = True
            self._changed.set()

    async def obeyed(self) -> None:
        """Wait until the signal was seen to show what was last wanted."""
        await self._obeys.wait()

    async def run(self) -> None:
        """Keep the signal as wanted, for ever."""
        await self._find()
        told_of: Aspect | None = None
        wanted: Aspect | None = None
        failing = False
        failed_at = 0.0
        delay = 0.0
        while True:
            self._beat()
            if self.wanted is None:
                await self._wait(BEAT_EVERY_S)
                continue
            self._changed.clear()
            if self.wanted is not wanted:
                delay = 0.0
            wanted, since, cause = self.wanted, self._since, self.cause
            trouble = await self._try(wanted)
            if trouble is None:
                if told_of is not wanted:
                    self._confirm(wanted, since, cause)
                elif failing:  # it was confirmed before: the stopwatch runs from the loss
                    self._confirm(wanted, failed_at, "signal obeys again")
                told_of, failing, delay = wanted, False, 0.0
                await self._wait(self._refresh_every_s)
            else:
                if self._turning and clock.monotonic() - self.asked_at < self._turns_within_s:
                    await self._wait(RETRY_AFTER_S)
                    continue
                if not failing:
                    failed_at = clock.monotonic()
                    self._tell(
                        "signal_unconfirmed",
                        f"{wanted.value} is not confirmed: {trouble}",
                        {"wanted": wanted.value},
                    )
                failing = True
                await self._wait(delay)
                # Where there is no line, an attempt costs nobody anything.
                slower_s = 0.0 if self._no_line else 2 * delay
                delay = min(max(slower_s, RETRY_AFTER_S), SLOWEST_RETRY_S)

    async def _find(self) -> None:
        """Before anything is written: what does the signal show? Asked until it says so, or until
        what is wanted may be written in any case."""
        until = clock.monotonic() + FIND_WITHIN_S
        delay = 0.0
        found = await self._look()
        while found is None and not self._may_write():
            if clock.monotonic() >= until:
                found = Aspect.RED
                break
            self._changed.clear()
            await self._wait(delay)
            delay = RETRY_AFTER_S
            if not self._may_write():
                found = await self._look()
        self.is_looking = False
        if found is not None:
            self.on_found(found)

    def _may_write(self) -> bool:
        return self.may_lower or self.wanted is Aspect.RED

    async def _look(self) -> Aspect | None:
        """What it shows; None if it is silent, or shows no aspect of ours."""
        found: Aspect | None = None

        async def look() -> None:
            nonlocal found
            found = await self._signal.read_back()

        self._beat()
        with contextlib.suppress(Exception):
            await (look() if self._bus is None else self._bus.first(look))
        return found

    async def _try(self, wanted: Aspect) -> str | None:
        """None if the signal was seen to show `wanted`, else what is wrong."""
        seen: Aspect | None = None
        self._no_line = False

        async def show_and_look() -> None:
            nonlocal seen
            await self._signal.show(wanted)
            seen = await self._signal.read_back()

        try:
            await (show_and_look() if self._bus is None else self._bus.first(show_and_look))
        except Exception as error:  # noqa: BLE001 - whatever a library raises: it is tried again
            self._saw(None)
            self._turning = False
            self._no_line = isinstance(error, LineDown)
            return str(error) if isinstance(error, DriverError) else repr(error)
        self._saw(seen)
        self._turning = seen is not wanted
        if seen is wanted:
            if wanted is self.wanted:
                self._obeys.set()
            return None
        return f"it shows {seen.value if seen else 'no known aspect'}"

    def _saw(self, seen: Aspect | None) -> None:
        if seen is not self.confirmed:
            self.confirmed = seen
            self.on_seen()

    def _confirm(self, aspect: Aspect, since: float, cause: str) -> None:
        latency_ms = round((clock.monotonic() - since) * 1000, 1)
        self._tell(
            "aspect_confirmed",
            f"{aspect.value} confirmed by read-back after {latency_ms:g} ms",
            {"aspect": aspect.value, "cause": cause, "latency_ms": latency_ms},
        )

    async def _wait(self, seconds: float) -> None:
        """Until something else is wanted, at most so long."""
        end = clock.monotonic() + seconds
        while not self._changed.is_set() and (now := clock.monotonic()) < end:
            self._beat()
            try:
                async with asyncio.timeout_at(min(end, now + BEAT_EVERY_S)):
                    await self._changed.wait()
            except TimeoutError:
                pass
