"""When readings were taken whose gateway's clock is wrong.

Somebody may set the clock of a gateway, or lie to its NTP. What it measures is as true as before,
but by its times the readings are of tomorrow, or older than what is known, and no rule would look
at them. So the rules see them at the time at which they were taken by our clock; quarantine and
store have them as they came.

A status says what time it is by the clock of its gateway, but it may have waited at the broker. So
a clock is wrong only if two statuses came as far apart as they say; one that is set back by so much
begins a new stream. Where nobody knows how wrong a clock is, what was sealed after all that its
stream has brought is taken for new.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import replace

from cloud.alerts.rule import ServiceFault
from cloud.ledger import Key
from wire.messages import Batch, Event, GatewayState, Status
from wire.reading import Reading

NAME: Final = "clock_wrong"

FAR_MS: Final = 3_300_000
"""A gateway follows a clock that is set back by an hour or less so that its times never go back."""

APART_MS: Final = 1000
SLACK_MS: Final = 500
"""Two statuses that came apart by less say nothing; the way to us takes them longer or shorter."""

_STREAMS: Final = 8192
"""Of which the last status is remembered."""

_T = TypeVar("_T", Reading, Event)


class _Said(NamedTuple):
    """A status came at `now_ms` and said that it was `at_ms`."""

    now_ms: int
    at_ms: int


class Clocks:
    """Those of the gateways of one shard, by stream."""

    def __init__(self) -> None:
        self._said: dict[Key, _Said] = {}
        self._behind: dict[Key, int] = {}
        self._wrong: set[str] = set()  # gateways, by what they said last
        self._standing: set[str] = set()
        self._mended: set[str] = set()

    def inherit(self, standing: Iterable[ServiceFault]) -> None:
        """An earlier process has reported these: they must end too."""
        self._standing |= {one.gateway for one in standing}

    def faults(self) -> list[ServiceFault]:
        """Of which gateways the clock is wrong, and of which no longer, since the last time."""
        begun, ended = self._wrong - self._standing, self._mended & self._standing
        self._standing = (self._standing | begun) - ended
        self._mended.clear()
        found = [ServiceFault(NAME, True, gateway) for gateway in sorted(begun)]
        return found + [ServiceFault(NAME, False, gateway) for gateway in sorted(ended)]

    def hear(self, statuses: Iterable[Status], now_ms: int) -> None:
        """What gateways say of the time, now. A last will was written long ago."""
        for status in statuses:
            if status.stream and status.state is not GatewayState.LOST:
                self._hear(Key(status.gateway, status.stream), _Said(now_ms, status.at_ms))

    def behind_ms(self, key: Key) -> int:
        """By how much the clock of a stream is behind ours, 0 where it is right as far as it is
        known; below 0 it is ahead."""
        return self._behind.get(key, 0)

    def shown(
        self, batch: Batch, undated: Iterable[Reading | Event], now_ms: int, *, is_newest: bool
    ) -> Batch:
        """What the rules are to see of `batch` and of what else came with it, whose times cannot be
        true; `is_newest`: nothing that its stream has brought was sealed later."""
        behind_ms = self.behind_ms(Key(batch.gateway, batch.stream))
        lost = [*undated]
        if behind_ms <= 0 and not lost:
            return batch
        if not behind_ms and not is_newest:
            return batch  # of a backlog, and nobody knows of when
        # A rule that has looked at this moment looks at the next one only.
        most_ms = now_ms + 1
        later_ms = behind_ms or most_ms - max(one.at_ms for one in lost)
        readings = [_moved(one, later_ms, most_ms) for one in lost if isinstance(one, Reading)]
        events = [_moved(one, later_ms, most_ms) for one in lost if isinstance(one, Event)]
        # Of one that is ahead, what is not of the future was dated before it was set.
        others_ms = max(behind_ms, 0)
        readings[:0] = (_moved(one, others_ms, most_ms) for one in batch.readings)
        events[:0] = (_moved(one, others_ms, most_ms) for one in batch.events)
        return replace(batch, readings=tuple(readings), events=tuple(events))

    def _hear(self, key: Key, said: _Said) -> None:
        before = self._said.pop(key, None)
        if before is not None and before.at_ms == said.at_ms:
            self._said[key] = before  # the broker repeats it
            return
        self._said[key] = said
        if len(self._said) > _STREAMS:
            oldest = next(iter(self._said))
            del self._said[oldest]
            self._behind.pop(oldest, None)
        behind_ms = said.now_ms - said.at_ms
        if abs(behind_ms) < FAR_MS:
            self._behind.pop(key, None)
            self._wrong.discard(key.gateway)
            if key.gateway in self._standing:
                self._mended.add(key.gateway)
        elif before is not None and _agree(before, said):
            self._behind[key] = behind_ms
            self._mended.discard(key.gateway)
            if len(self._wrong) < _STREAMS:
                self._wrong.add(key.gateway)
        elif abs(behind_ms - self._behind.get(key, 0)) >= FAR_MS:
            self._behind.pop(key, None)


def _agree(before: _Said, after: _Said) -> bool:
    """Whether as much time has passed by both clocks: they were not set meanwhile, and the statuses
    have not waited for us."""
    ours_ms, its_ms = after.now_ms - before.now_ms, after.at_ms - before.at_ms
    return ours_ms >= APART_MS and abs(ours_ms - its_ms) <= SLACK_MS + ours_ms // 4


def _moved(one: _T, later_ms: int, most_ms: int) -> _T:
    return replace(one, at_ms=min(one.at_ms + later_ms, most_ms)) if later_ms else one
