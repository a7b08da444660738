"""Losses that are known and over: a person closes them, with a reason, and the account is right
again. A batch that never comes is declared lost as its gateway would have declared it; a difference
between ledger and store is written off by gateway and day."""

import time
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from cloud import ledger, quarantine, tables
from cloud.desk import Clerk, Operation
from cloud.ledger import Key, Stream
from cloud.quarantine import Held
from cloud.tally import Day
from configs.text import clean
from wire.ranges import Intervals, Range

ALL_DAYS: Final = -1
"""Stands for the day where it is not known on which it was."""

BY_HAND: Final = 0
"""Stands for the batch in which a gateway declares a gap; theirs begin at 1."""


class Lost(msgspec.Struct, frozen=True):
    """Of one stream: batches that will never come. If nothing is missing then, the readings that
    were sealed and are nowhere are closed too."""

    gateway: str
    stream: str
    batches: tuple[Range, ...] = ()


class Differs(msgspec.Struct, frozen=True):
    """So many readings of the ledger are not in the store (less than 0: are there in excess)."""

    gateway: str
    day_ms: int
    readings: int


class Close(msgspec.Struct, frozen=True):
    """What is closed, by whom and why."""

    person: str
    reason: str
    lost: tuple[Lost, ...] = ()
    differs: tuple[Differs, ...] = ()


class Closed(msgspec.Struct, frozen=True):
    """How much was."""

    batches: int
    readings: int


def load(connection: Connection, gateway: str | None = None) -> dict[Day, int]:
    """What was written off, by gateway and day."""
    table = tables.written_off
    wanted = select(table.c.gateway, table.c.day_ms, func.sum(table.c.readings))
    if gateway is not None:
        wanted = wanted.where(table.c.gateway == gateway)
    rows = connection.execute(wanted.group_by(table.c.gateway, table.c.day_ms)).all()
    return {(name, int(day_ms)): int(many) for name, day_ms, many in rows}


async def close(clerk: Clerk, asked: Close) -> Closed:
    """Write it down, in one transaction."""
    return await clerk.database.run(partial(_close, asked=asked))


CLOSE: Final = Operation("account.close", Close, Closed, close)


def _close(connection: Connection, asked: Close) -> Closed:
    now_ms = time.time_ns() // 1_000_000
    streams = ledger.load(connection, {Key(one.gateway, one.stream) for one in asked.lost})
    held = quarantine.held(connection) if asked.lost else {}
    batches = readings = 0
    for one in asked.lost:
        missing = Intervals.of(streams[Key(one.gateway, one.stream)].missing)
        closed = [part for first, last in one.batches for part in _within(missing, first, last)]
        stream = streams[Key(one.gateway, one.stream)]
        for first, last in closed:
            stream.lost.add_range(first, last)
        left = _left(stream, held.get(Key(one.gateway, one.stream), Held()))
        batches += sum(last - first + 1 for first, last in closed)
        readings += left or 0
        if closed or left:
            _declare(connection, one, closed, left, asked, now_ms)
    if asked.differs:
        who = {"person": clean(asked.person, 200), "reason": clean(asked.reason), "at_ms": now_ms}
        rows = [msgspec.structs.asdict(one) | who for one in asked.differs]
        connection.execute(insert(tables.written_off), rows)
        readings += sum(abs(one.readings) for one in asked.differs)
    return Closed(batches, readings)


def _left(stream: Stream, held: Held) -> int | None:
    """The readings of a stream that are nowhere, None while that cannot be known."""
    if stream.missing or stream.sealed < stream.expected:
        return None
    if held.unknown or held.dropped_unknown:
        return None
    found = stream.readings + held.readings + held.dropped + stream.readings_lost
    return max(0, stream.readings_sealed - found)


def _declare(
    connection: Connection,
    one: Lost,
    closed: list[Range],
    left: int | None,
    asked: Close,
    now_ms: int,
) -> None:
    """As a gap that no gateway has sent."""
    gap, key = tables.gap, {"gateway": one.gateway, "stream": one.stream}
    highest = select(func.max(gap.c.position)).filter_by(**key, batch=BY_HAND)
    position = connection.execute(highest).scalar_one_or_none()
    row = {
        "batch": BY_HAND,
        "position": 0 if position is None else position + 1,
        "reason": f"closed by {clean(asked.person, 200)}: {clean(asked.reason)}",
        "from_ms": now_ms,
        "to_ms": now_ms,
        "readings": left,
        "batches": msgspec.json.encode(closed).decode(),
    }
    connection.execute(insert(gap), [key | row])
    # Whoever holds the stream in memory must load it again.
    stream = tables.stream
    connection.execute(update(stream).filter_by(**key).values(version=stream.c.version + 1))


def _within(missing: Intervals, first: int, last: int) -> list[Range]:
    """The parts of `first` .. `last` that are missing."""
    return [(max(a, first), min(b, last)) for a, b in missing if a <= last and b >= first]
