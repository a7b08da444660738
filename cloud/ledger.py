"""The ledger: which batches of each stream the store has, told exactly."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import msgspec
from sqlalchemy import Connection, CursorResult, Table, bindparam, delete, select, tuple_

from cloud import state, tables
from wire.messages import Gap

Range = tuple[int, int]
"""A closed interval of batch numbers."""


class Intervals:
    """A set of integers, kept as the fewest closed intervals; ascending, disjoint, not adjacent."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for number in sorted(numbers):
            self.add(number)

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> Self:
        """From ranges that are ascending, disjoint and not adjacent already."""
        made = cls()
        for first, last in ranges:
            made._firsts.append(first)
            made._lasts.append(last)
        return made

    def copy(self) -> Self:
        made = type(self).__new__(type(self))  # each commit copies those of all its streams
        made._firsts, made._lasts = self._firsts.copy(), self._lasts.copy()
        return made

    def add(self, number: int) -> None:
        """Put `number` in; nothing happens if it is there."""
        firsts, lasts = self._firsts, self._lasts
        at = bisect_right(firsts, number)  # the interval before `at` begins at or below `number`
        if at and number <= lasts[at - 1]:
            return
        joins_before = at > 0 and lasts[at - 1] == number - 1
        joins_after = at < len(firsts) and firsts[at] == number + 1
        if joins_before and joins_after:
            lasts[at - 1] = lasts[at]
            del firsts[at], lasts[at]
        elif joins_before:
            lasts[at - 1] = number
        elif joins_after:
            firsts[at] = number
        else:
            firsts.insert(at, number)
            lasts.insert(at, number)

    def add_range(self, first: int, last: int) -> None:
        """Put all of `first` .. `last` in."""
        before = bisect_left(self._lasts, first - 1)  # the first interval that touches the range
        after = bisect_right(self._firsts, last + 1)
        if before < after:
            first = min(first, self._firsts[before])
            last = max(last, self._lasts[after - 1])
        self._firsts[before:after] = [first]
        self._lasts[before:after] = [last]

    def missing(self, up_to: int) -> list[Range]:
        """The ranges of 1 .. `up_to` that are not in the set."""
        holes, expected = [], 1
        for first, last in self:
            if expected > up_to:
                break
            if first > expected:
                holes.append((expected, min(first - 1, up_to)))
            expected = last + 1
        if expected <= up_to:
            holes.append((expected, up_to))
        return holes

    def next_out(self, number: int) -> int:
        """The lowest number from `number` on that is not in the set."""
        at = bisect_left(self._lasts, number)
        inside = at < len(self._firsts) and self._firsts[at] <= number
        return self._lasts[at] + 1 if inside else number

    @property
    def highest(self) -> int:
        """The greatest number in the set, 0 if it is empty."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._firsts) and self._firsts[at] <= number

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes; this is how Python spells it

    def __repr__(self) -> str:
        return f"Intervals.of({list(self)})"


class Key(NamedTuple):
    """One life of an outbox, as the topic and the batch name it."""

    gateway: str
    stream: str


@dataclass(slots=True)
class Stream:
    """What is known of one stream.

    `received` are the batches that were stored or put into quarantine, `readings` those of the
    stored ones, `redelivered` counts batches that came again and were dropped. `sealed` and
    `readings_sealed` are the gateway's own word. `lost` are batches that the gateway has declared
    will never come, `readings_lost` the readings of all its gaps that it could count. Times are
    the cloud's, of the first and the last batch that was not dropped. `version` counts the commits
    that changed it, 0 before the first.

    `newest_ms` is the time of the newest reading that was stored. `hole` is the lowest batch that
    is missing, if any, and since `hole_since_ms` (the cloud's time) it has been the lowest.
    """

    received: Intervals = field(default_factory=Intervals)
    readings: int = 0
    redelivered: int = 0
    sealed: int = 0
    readings_sealed: int = 0
    first_at_ms: int | None = None
    last_at_ms: int | None = None
    lost: Intervals = field(default_factory=Intervals)
    readings_lost: int = 0
    newest_ms: int | None = None
    hole: int | None = None
    hole_since_ms: int | None = None
    version: int = 0

    @property
    def expected(self) -> int:
        """The highest batch that must exist."""
        return max(self.received.highest, self.sealed)

    @property
    def missing(self) -> list[Range]:
        """The batches that must exist, are not declared lost, and that we do not have."""
        known = self.received.copy()
        for first, last in self.lost:
            known.add_range(first, last)
        return known.missing(self.expected)

    def copy(self) -> "Stream":
        made = Stream(self.received.copy(), lost=self.lost.copy())
        for name in _COUNTED:
            setattr(made, name, getattr(self, name))
        made.readings_lost = self.readings_lost
        return made

    def declare(self, gap: Gap) -> None:
        """The gateway says that it has lost something."""
        for first, last in gap.batches:
            self.lost.add_range(first, last)
        self.readings_lost += gap.readings or 0

    def accept(self, number: int, readings: int, now_ms: int, newest_ms: int | None = None) -> None:
        """Batch `number` with so many stored `readings`, the newest of `newest_ms`, is in the
        store, or in quarantine (0)."""
        self.received.add(number)
        self.renew(newest_ms)
        self.readings += readings
        if self.first_at_ms is None:
            self.first_at_ms = now_ms
        self.last_at_ms = now_ms

    def expect(self, sealed: int, readings_sealed: int) -> None:
        """The gateway says that it has sealed so much. It may say so late, and again."""
        self.sealed = max(self.sealed, sealed)
        self.readings_sealed = max(self.readings_sealed, readings_sealed)

    def renew(self, newest_ms: int | None) -> None:
        """A reading of that time is stored."""
        if newest_ms is not None and newest_ms > (self.newest_ms or 0):
            self.newest_ms = newest_ms

    def look_for_hole(self, now_ms: int) -> None:
        """Note which batch is the lowest that is missing, and since when."""
        lowest = 1
        while (after := self.lost.next_out(self.received.next_out(lowest))) != lowest:
            lowest = after
        hole = lowest if lowest <= self.expected else None
        if hole != self.hole:
            self.hole, self.hole_since_ms = hole, None if hole is None else now_ms


class Conflict(Exception):
    """Somebody else has changed a stream since it was loaded: load it again, and think again."""


def load(connection: Connection, keys: Collection[Key] | None = None) -> dict[Key, Stream]:
    """The streams with these keys, those that are not known as new ones; or all that there are."""
    streams = {key: Stream() for key in keys or ()}
    for row in _rows(connection, tables.stream, keys):
        streams[Key(row.gateway, row.stream)] = Stream(
            readings=row.readings,
            redelivered=row.redelivered,
            sealed=row.sealed,
            readings_sealed=row.readings_sealed,
            first_at_ms=row.first_at_ms,
            last_at_ms=row.last_at_ms,
            newest_ms=row.newest_ms,
            hole=row.hole,
            hole_since_ms=row.hole_since_ms,
            version=row.version,  # read first: what is read after it is as new, or newer
        )
    ranges: dict[Key, list[Range]] = {}
    for row in _rows(connection, tables.ledger, keys):
        ranges.setdefault(Key(row.gateway, row.stream), []).append((row.first, row.last))
    for key, received in ranges.items():
        streams[key].received = Intervals.of(received)
    for row in _rows(connection, tables.gap, keys):
        batches = msgspec.json.decode(row.batches, type=tuple[Range, ...])
        streams[Key(row.gateway, row.stream)].declare(
            Gap(row.reason, row.from_ms, row.to_ms, row.readings, batches)
        )
    return streams


def save(connection: Connection, new: Mapping[Key, Stream], old: Mapping[Key, Stream]) -> None:
    """Write the streams of `new`, which were as `old` has them, and give each its next version.

    Raises Conflict, and nothing must be committed, if one of them is not in the database as `old`
    has it: two workers can handle a stream at once, and it is still counted exactly.
    """
    streams: list[dict[str, object]] = []
    ranges: list[dict[str, object]] = []
    joined: list[dict[str, object]] = []
    for key, now in sorted(new.items()):  # one order for all: two workers wait, and never deadlock
        now.version = old[key].version + 1
        names = key._asdict()
        streams.append(names | {name: getattr(now, name) for name in _COUNTED})
        before, after = dict(old[key].received), dict(now.received)
        joined += [{"of": key.gateway, "in": key.stream, "at": at} for at in before.keys() - after]
        ranges += [names | {"first": at, "last": to} for at, to in after.items() - before.items()]
    swapped = state.upsert(
        connection, tables.stream, streams, "WHERE stream.version = excluded.version - 1"
    )
    if swapped != len(streams):
        raise Conflict(f"one of {len(streams)} streams was changed by another worker")
    if joined:
        connection.execute(_JOINED, joined)
    state.upsert(connection, tables.ledger, ranges)


_JOINED: Final = delete(tables.ledger).where(
    tables.ledger.c.gateway == bindparam("of"),
    tables.ledger.c.stream == bindparam("in"),
    tables.ledger.c.first == bindparam("at"),
)

_COUNTED: Final = (
    "readings",
    "redelivered",
    "sealed",
    "readings_sealed",
    "first_at_ms",
    "last_at_ms",
    "newest_ms",
    "hole",
    "hole_since_ms",
    "version",
)


def _rows(connection: Connection, table: Table, keys: Collection[Key] | None) -> CursorResult[Any]:
    wanted = select(table).order_by(*table.primary_key)
    if keys is not None:
        wanted = wanted.where(tuple_(table.c.gateway, table.c.stream).in_(keys))
    return connection.execute(wanted)
