"""The ledger: which batches of each stream the store has, told exactly."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, CursorResult, Table, bindparam, delete, select, tuple_

from cloud import state, tables
from wire.messages import Gap
from wire.ranges import Intervals, Range


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

    `examined` are batches that the rules have seen and that are not stored yet: their gateway sends
    them again, and the rules do not look at them again.

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
    examined: Intervals = field(default_factory=Intervals)
    whole: int = field(default=0, compare=False)
    """All batches up to it are known to be here, or lost: a search for a hole begins behind it."""

    @property
    def expected(self) -> int:
        """The highest batch that must exist."""
        return max(self.received.highest, self.sealed)

    @property
    def missing(self) -> list[Range]:
        """The batches that must exist, are not declared lost, and that we do not have."""
        return self.received.union(self.lost).missing(self.expected)

    def copy(self) -> "Stream":
        return Stream(  # one by one: each commit copies all that it is about
            self.received.copy(),
            self.readings,
            self.redelivered,
            self.sealed,
            self.readings_sealed,
            self.first_at_ms,
            self.last_at_ms,
            self.lost.copy(),
            self.readings_lost,
            self.newest_ms,
            self.hole,
            self.hole_since_ms,
            self.version,
            self.examined.copy(),
            self.whole,
        )

    def declare(self, gap: Gap) -> None:
        """The gateway says that it has lost something."""
        for first, last in gap.batches:
            self.lost.add_range(first, last)
        self.readings_lost += gap.readings or 0

    def accept(self, number: int, readings: int, now_ms: int, newest_ms: int | None = None) -> None:
        """Batch `number` with so many stored `readings`, the newest of `newest_ms`, is in the
        store, or in quarantine (0)."""
        self.received.add(number)
        if self.examined:
            self.examined.discard(number)
        self.renew(newest_ms)
        self.readings += readings
        if self.first_at_ms is None:
            self.first_at_ms = now_ms
        self.last_at_ms = now_ms

    def take_back(self, number: int) -> None:
        """Batch `number` was not received after all."""
        self.received.discard(number)
        self.whole = min(self.whole, number - 1)

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
        lowest = self.whole + 1
        while (after := self.lost.next_out(self.received.next_out(lowest))) != lowest:
            lowest = after
        self.whole = lowest - 1
        hole = lowest if lowest <= self.expected else None
        if hole != self.hole:
            self.hole, self.hole_since_ms = hole, None if hole is None else now_ms
        elif hole is not None:  # after a clock that was set back it is missing since now
            self.hole_since_ms = min(self.hole_since_ms or now_ms, now_ms)


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
    for key, received in _intervals(connection, tables.ledger, keys).items():
        streams[key].received = received
    for key, examined in _intervals(connection, tables.examined, keys).items():
        streams[key].examined = examined
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
    all_ = sorted(new.items())  # one order for all: two workers wait, and never deadlock
    rows: list[tuple[object, ...]] = []
    for key, now in all_:
        now.version = old[key].version + 1
        rows.append((*key, *_counted(now)))
    swapped = state.upsert_rows(
        connection,
        tables.stream,
        ("gateway", "stream", *_COUNTED),
        rows,
        "WHERE stream.version = excluded.version - 1",
    )
    if swapped != len(rows):
        raise Conflict(f"one of {len(rows)} streams was changed by another worker")
    received = [(key, old[key].received, now.received) for key, now in all_]
    _save_intervals(connection, tables.ledger, received)
    examined = [
        (key, before, now.examined)
        for key, now in all_
        if (before := old[key].examined) or now.examined
    ]
    _save_intervals(connection, tables.examined, examined)


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

_counted: Final = attrgetter(*_COUNTED)


def _save_intervals(
    connection: Connection, table: Table, changed: Iterable[tuple[Key, Intervals, Intervals]]
) -> None:
    """Bring a table of intervals from what it has to what there is now, by stream."""
    gone: list[dict[str, object]] = []
    ranges: list[tuple[object, ...]] = []
    for key, before, after in changed:
        ended, begun = after.since(before)
        gone += [{"of": key.gateway, "in": key.stream, "at": first} for first in ended]
        ranges += [(*key, *one) for one in begun]
    if gone:
        column = table.c
        ended_here = delete(table).where(
            column.gateway == bindparam("of"),
            column.stream == bindparam("in"),
            column.first == bindparam("at"),
        )
        connection.execute(ended_here, gone)
    state.upsert_rows(connection, table, ("gateway", "stream", "first", "last"), ranges)


def _intervals(
    connection: Connection, table: Table, keys: Collection[Key] | None
) -> dict[Key, Intervals]:
    ranges: dict[Key, list[Range]] = {}
    for row in _rows(connection, table, keys):
        ranges.setdefault(Key(row.gateway, row.stream), []).append((row.first, row.last))
    return {key: Intervals.of(found) for key, found in ranges.items()}


def _rows(connection: Connection, table: Table, keys: Collection[Key] | None) -> CursorResult[Any]:
    wanted = select(table).order_by(*table.primary_key)
    if keys is not None:
        wanted = wanted.where(tuple_(table.c.gateway, table.c.stream).in_(keys))
    return connection.execute(wanted)
