"""Does the store hold what the ledger says? Counted day by day, so that no question is large, and
compared gateway by gateway, so that a loss and a surplus do not cancel."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from cloud import tables, tally, writeoffs
from cloud.errors import Unavailable
from cloud.state import State
from cloud.store import DAY_MS, Counted, Query, Retired, Store
from cloud.tally import Day, Tally

_TRIES: Final = 5
_PAUSE_S: Final = 0.5

_PARTS: Final = 24
"""A day that a store cannot count in its time is counted by the hour."""

Step = Callable[[int, int], None]
"""Told how many days of how many are counted."""


class Mismatch(msgspec.Struct, frozen=True):
    """A gateway whose readings in the store are not those of the ledger: on the day that begins at
    `day_ms`, or over all days, None. As many of both: some are others than those that were sent."""

    gateway: str
    day_ms: int | None
    in_ledger: int
    in_store: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What the state says at one moment."""

    readings: Mapping[str, int]
    """Of each gateway, by the ledger."""
    tallies: Mapping[Day, Tally]
    written_off: Mapping[Day, int]

    @property
    def complete(self) -> set[str]:
        """The gateways all of whose readings are tallied: an older release kept no tallies."""
        sums: dict[str, int] = {}
        for (gateway, _), one in self.tallies.items():
            sums[gateway] = sums.get(gateway, 0) + one.readings
        return {name for name, many in self.readings.items() if sums.get(name, 0) == many}


@dataclass(slots=True)
class Comparison:
    """`in_store` None: the store does not answer, as `fault` says. `in_ledger` is what it is
    compared with, `retired` of it were taken by retention."""

    in_ledger: int = 0
    in_store: int | None = None
    retired: int = 0
    fault: str = ""
    mismatches: list[Mismatch] = field(default_factory=list)


@dataclass(slots=True)
class _Count:
    """What was counted so far, by gateway and day; `_BEFORE` for what lies on no day of the
    ledger."""

    by_gateway: dict[str, dict[int, Counted]] = field(default_factory=dict)

    def put(self, day_ms: int, found: Mapping[str, Counted], gateway: str | None) -> None:
        """The count of a day, of one gateway or of all."""
        names = self.by_gateway if gateway is None else (gateway,)
        for name in [name for name in names if name not in found]:
            self.by_gateway.get(name, {}).pop(day_ms, None)
        for name, one in found.items():
            self.by_gateway.setdefault(name, {})[day_ms] = one

    def put_outside(self, found: Mapping[str, Counted]) -> None:
        """More that lies on no day of the ledger."""
        for name, one in found.items():
            days = self.by_gateway.setdefault(name, {})
            before = days.get(_BEFORE, Counted(0, None)).readings
            days[_BEFORE] = Counted(before + one.readings, None)

    def total(self, gateway: str) -> int:
        return sum(one.readings for one in self.by_gateway.get(gateway, {}).values())

    def copy(self) -> dict[str, dict[int, Counted]]:
        return {name: dict(days) for name, days in self.by_gateway.items()}


_BEFORE: Final = -1
"""Stands for the day of all that lies before the first day of the ledger, and after its last."""


async def compare(
    database: State,
    store: Store,
    gateway: str | None,
    since_ms: int | None,
    step: Step = lambda *_: None,
) -> Comparison:
    """Compare what is of one gateway or of all, where `since_ms` is given only since that day.
    Raises Unavailable for the state alone."""
    known = await database.run(partial(_read, gateway=gateway))
    found = Comparison(in_ledger=sum(known.readings.values()))
    if since_ms is not None and known.readings.keys() - known.complete:
        since_ms = None  # what is not tallied can only be compared as a whole
    try:
        retired = await _retired(store, gateway, known)
        count, known = await _count(database, store, gateway, since_ms, retired, known, step)
    except Unavailable as error:
        found.fault = str(error)
        return found
    found.in_store = sum(map(count.total, count.by_gateway))
    found.retired = sum(retired.values())
    found.in_ledger = sum(known.readings.values())
    if since_ms is not None:
        days = [one for (_, day), one in known.tallies.items() if day >= _day(since_ms)]
        found.in_ledger, found.retired = sum(one.readings for one in days), 0
    found.mismatches = sorted(
        _mismatches(count, known, retired, since_ms), key=lambda one: (one.gateway, one.day_ms or 0)
    )
    return found


async def _count(
    database: State,
    store: Store,
    gateway: str | None,
    since_ms: int | None,
    retired: dict[str, int],
    known: _Known,
    step: Step,
) -> tuple[_Count, _Known]:
    """Count all, and again what does not fit: a service that runs stores in between."""
    count = _Count()
    days = sorted({day for _, day in known.tallies})
    from_ms = (await store.retired(gateway)).since_ms
    if since_ms is not None:
        from_ms = max(from_ms or 0, _day(since_ms))
    slices = [*_slices(days, from_ms)]
    for n, one in enumerate(slices):
        step(n, len(slices))
        await _count_slice(store, count, one, gateway)
    step(len(slices), len(slices))
    for _ in range(_TRIES):
        now = await database.run(partial(_read, gateway=gateway))
        again = {one for one, tallied in now.tallies.items() if known.tallies.get(one) != tallied}
        again |= _doubtful(count, now, retired, since_ms)
        if not again:
            return count, now
        before = count.copy()
        for name, day in sorted(again):
            if day >= (from_ms or 0):
                await _count_slice(store, count, (day, day + DAY_MS), name)
        retired.clear()
        retired.update(await _retired(store, gateway, now))
        if now == known and before == count.by_gateway:
            break  # it is as it is
        known = now
        await asyncio.sleep(_PAUSE_S)  # a service that runs may store in between
    return count, known


def _doubtful(
    count: _Count, known: _Known, retired: Mapping[str, int], since_ms: int | None
) -> set[Day]:
    """The days to be counted again: those that do not fit, and of a gateway that does not fit as a
    whole its last two."""
    days: set[Day] = set()
    for one in _mismatches(count, known, retired, since_ms):
        if one.day_ms is not None:
            days.add((one.gateway, one.day_ms))
        else:
            own = sorted(day for name, day in known.tallies if name == one.gateway)
            days |= {(one.gateway, day) for day in own[-2:]}
    return {one for one in days if one[1] != _BEFORE}


def _mismatches(
    count: _Count, known: _Known, retired: Mapping[str, int], since_ms: int | None
) -> Iterator[Mismatch]:
    """What does not fit."""
    complete = known.complete
    tallies: dict[str, dict[int, Tally]] = {}
    for (name, day), tallied in known.tallies.items():
        tallies.setdefault(name, {})[day] = tallied
    written_off: dict[str, dict[int, int]] = {}
    for (name, day), many in known.written_off.items():
        written_off.setdefault(name, {})[day] = many
    for name in sorted(known.readings.keys() | count.by_gateway.keys()):
        ledgered, off = known.readings.get(name, 0), written_off.get(name, {})
        gone = retired.get(name, 0)
        if name in complete or not ledgered:
            days = _Days(tallies.get(name, {}), count.by_gateway.get(name, {}), off, gone)
            yield from _of_days(name, days, since_ms)
        elif ledgered - sum(off.values()) != count.total(name) + gone:
            yield Mismatch(name, None, ledgered - sum(off.values()), count.total(name))


class _Days(NamedTuple):
    """Of one gateway, by day; and what retention took of it."""

    tallies: Mapping[int, Tally]
    counted: Mapping[int, Counted]
    written_off: Mapping[int, int]
    retired: int


def _of_days(name: str, days: _Days, since_ms: int | None) -> Iterator[Mismatch]:
    """What retention took is missing on the oldest days."""
    retired = days.retired
    for day in sorted(days.tallies.keys() | days.counted.keys()):
        tallied = days.tallies.get(day, Tally())
        counted = days.counted.get(day, Counted(0, 0))
        expected = tallied.readings - days.written_off.get(day, 0)
        gone = min(retired, max(0, expected - counted.readings))
        retired -= gone
        if since_ms is not None and day < _day(since_ms):
            continue
        is_whole = tallied.readings == counted.readings
        differs = counted.offsets_ms not in (None, tallied.offsets_ms) and is_whole
        if expected - gone != counted.readings or (differs and day != _BEFORE):
            yield Mismatch(name, day, expected - gone, counted.readings)


async def _count_slice(
    store: Store, count: _Count, span: tuple[int | None, int | None], gateway: str | None
) -> None:
    since_ms, until_ms = span
    query = Query(gateway=gateway, since_ms=since_ms, until_ms=until_ms)
    if since_ms is None or until_ms is None or until_ms - since_ms > DAY_MS:
        # It holds nothing of ours: usually there is nothing at all.
        count.put_outside(await store.counted(query))
        return
    try:
        found = await store.counted(query)
    except Unavailable:
        found = await _by_the_hour(store, query, since_ms, until_ms)
    count.put(since_ms, found, gateway)


async def _by_the_hour(
    store: Store, query: Query, since_ms: int, until_ms: int
) -> dict[str, Counted]:
    """A day in parts. Raises Unavailable if the store cannot do even that."""
    width = -(-(until_ms - since_ms) // _PARTS)
    sums: dict[str, Counted] = {}
    for begin in range(since_ms, until_ms, width):
        part = changed(query, since_ms=begin, until_ms=min(begin + width, until_ms))
        for name, one in (await store.counted(part)).items():
            before = sums.get(name, Counted(0, 0))
            offsets = None
            if one.offsets_ms is not None and before.offsets_ms is not None:
                offsets = before.offsets_ms + one.offsets_ms + one.readings * (begin - since_ms)
            sums[name] = Counted(before.readings + one.readings, offsets)
    return sums


def _slices(days: Collection[int], from_ms: int | None) -> Iterator[tuple[int | None, int | None]]:
    """All of time since `from_ms`: each day of the ledger by itself, and what lies between."""
    begin = from_ms
    for day in days:
        if from_ms is not None and day < from_ms:
            continue
        if begin is None or begin < day:
            yield begin, day
        yield day, day + DAY_MS
        begin = day + DAY_MS
    yield begin, None


async def _retired(store: Store, gateway: str | None, known: _Known) -> dict[str, int]:
    """What retention took of each gateway."""
    names: Iterable[str] = known.readings if gateway is None else (gateway,)
    whole: Retired = await store.retired(gateway)
    if not whole.readings:
        return {}
    return {name: (await store.retired(name)).readings for name in names}


def _read(connection: Connection, gateway: str | None) -> _Known:
    table = tables.stream
    sums = select(table.c.gateway, func.sum(table.c.readings)).group_by(table.c.gateway)
    if gateway is not None:
        sums = sums.where(table.c.gateway == gateway)
    readings = {name: int(many) for name, many in connection.execute(sums).all()}
    tallies = tally.load(connection, gateway)
    return _Known(readings, tallies, writeoffs.load(connection, gateway))


def _day(at_ms: int) -> int:
    return at_ms // DAY_MS * DAY_MS
