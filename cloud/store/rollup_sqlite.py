"""Rollups and retention of the embedded store, in SQL of its own.

Minutes are made of readings, hours of minutes. While an hour is whole, what is due in it is made
anew, so that late and replaced readings come out exactly. Where retention has taken the finer
level away, late readings are folded into what is kept, and go in the same transaction: each is
counted once, whenever it comes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    SmallInteger,
    Table,
)

from cloud.state import State
from cloud.store import DAY_MS, Bucket, Retention, marks
from cloud.store.marks import Mark

metadata: Final = MetaData()

_T = TypeVar("_T")


def _table(bucket: Bucket) -> Table:
    return Table(
        f"rollup_{bucket.level}",
        metadata,
        Column("series", Integer, primary_key=True),
        Column("at_ms", BigInteger, primary_key=True),
        Column("low", Float),
        Column("high", Float),
        Column("total", Float),
        Column("count", Integer, nullable=False),
        Column("bad", Integer, nullable=False),
        Column("missing", Integer, nullable=False),
        Column("worst", SmallInteger),
        sqlite_with_rowid=False,
    )


tables: Final = {bucket: _table(bucket) for bucket in Bucket}

_ONE_GO_S: Final = 0.02
"""A transaction takes on nothing further after so long: ingest waits for its turn meanwhile."""

_HOUR_MS: Final = Bucket.HOUR.value

_OF_GATEWAY: Final = (
    " WHERE series IN (SELECT id FROM series WHERE gateway = :gateway)"
    " AND at_ms >= :since_ms AND at_ms < :until_ms"
)
_GOOD: Final = "CASE WHEN quality <> 4 THEN value END"
_MADE: Final = {
    Bucket.MINUTE: (
        f"min({_GOOD}), max({_GOOD}), sum({_GOOD}), count({_GOOD}),"
        " count(value) - count(CASE WHEN quality <> 4 THEN value END), count(*) - count(value),"
        " max(CASE WHEN value IS NOT NULL THEN quality END) FROM reading"
    ),
    Bucket.HOUR: (
        "min(low), max(high), sum(total), sum(count), sum(bad), sum(missing), max(worst)"
        " FROM rollup_minute"
    ),
}
_ANEW: Final = ", ".join(
    f"{name} = excluded.{name}"
    for name in ("low", "high", "total", "count", "bad", "missing", "worst")
)
_FOLDED: Final = (
    "low = min(ifnull(low, excluded.low), ifnull(excluded.low, low)),"
    " high = max(ifnull(high, excluded.high), ifnull(excluded.high, high)),"
    " total = ifnull(total + excluded.total, ifnull(total, excluded.total)),"
    " count = count + excluded.count, bad = bad + excluded.bad,"
    " missing = missing + excluded.missing,"
    " worst = max(ifnull(worst, excluded.worst), ifnull(excluded.worst, worst))"
)


def _make(bucket: Bucket, how: str) -> str:
    return (
        f"INSERT INTO rollup_{bucket.level}"
        " (series, at_ms, low, high, total, count, bad, missing, worst)"
        f" SELECT series, at_ms / {bucket.value} * {bucket.value} AS begun, {_MADE[bucket]}"
        f"{_OF_GATEWAY} GROUP BY series, begun ON CONFLICT (series, at_ms) DO UPDATE SET {how}"
    )


_REMAKE: Final = {bucket: _make(bucket, _ANEW) for bucket in Bucket}
_FOLD: Final = {bucket: _make(bucket, _FOLDED) for bucket in Bucket}
_SOURCE: Final = {Bucket.MINUTE: "raw", Bucket.HOUR: "minute"}
_KEPT: Final = {"raw": "reading", "minute": "rollup_minute", "hour": "rollup_hour"}
"""Table of each level, the finest first."""

_STEPS_MS: Final = {"raw": _HOUR_MS, "minute": DAY_MS, "hour": 30 * DAY_MS}
"""So much of a level goes at least in one transaction, of one gateway: whole hours, always."""


async def settle(state: State, now_ms: int) -> None:
    """Bring the rollups whose time is over up to what was written before the call."""
    for bucket in Bucket:
        waiting = await state.run(partial(marks.due, bucket=bucket, now_ms=now_ms))
        waiting.sort(key=lambda one: (-(one.at_ms // _HOUR_MS), one.gateway, one.at_ms))
        while waiting:
            settled = await _gently(state, partial(_settle_some, bucket=bucket, waiting=waiting))
            waiting = waiting[settled:]


async def expire(state: State, retention: Retention, now_ms: int) -> None:
    """Let go what is older than `retention` says."""
    for level, cutoff_ms in retention.cutoffs(now_ms).items():
        for gateway, oldest_ms in await state.run(partial(_oldest, level=level)):
            left: int | None = oldest_ms
            while left is not None and left < cutoff_ms:
                work = partial(_expire_some, gateway=gateway, level=level, cutoff_ms=cutoff_ms)
                left = await _gently(state, work)


async def _gently(state: State, work: Callable[[Connection], _T]) -> _T:
    """Do a piece of work, then leave the database to the others for as long as it took."""
    begun = time.monotonic()
    done = await state.run(work)
    await asyncio.sleep(time.monotonic() - begun)
    return done


def _settle_some(connection: Connection, bucket: Bucket, waiting: Sequence[Mark]) -> int:
    """Settle as many as fit into one go, the marks of one gateway and hour together, those of one
    at least. Returns how many."""
    begun = time.monotonic()
    settled = 0
    for _, group in groupby(waiting, _place):
        some = list(group)
        _settle(connection, bucket, some)
        settled += len(some)
        if time.monotonic() - begun > _ONE_GO_S:
            break
    return settled


def _place(mark: Mark) -> tuple[str, int]:
    return mark.gateway, mark.at_ms // _HOUR_MS


def _settle(connection: Connection, bucket: Bucket, some: Sequence[Mark]) -> None:
    """Settle marks of one level, gateway and hour."""
    gateway = some[0].gateway
    since_ms = min(one.at_ms for one in some)
    until_ms = max(one.at_ms for one in some) + bucket.value
    _roll_up(connection, gateway, bucket, since_ms, until_ms)
    if bucket is Bucket.MINUTE:
        marks.touch(connection, Bucket.HOUR, [(gateway, since_ms // _HOUR_MS * _HOUR_MS)])
    marks.done(connection, some)


def _roll_up(
    connection: Connection, gateway: str, bucket: Bucket, since_ms: int, until_ms: int
) -> None:
    """Make the rollups of a range, within an hour, from the level below, as far as that is still
    there."""
    source = _SOURCE[bucket]
    asked = {"gateway": gateway, "since_ms": since_ms, "until_ms": until_ms}
    if since_ms >= marks.horizon(connection, gateway, source):
        connection.exec_driver_sql(_REMAKE[bucket], asked)
    else:
        connection.exec_driver_sql(_FOLD[bucket], asked)
        _drop(connection, gateway, source, since_ms, until_ms)


def _drop(connection: Connection, gateway: str, level: str, since_ms: int, until_ms: int) -> None:
    asked = {"gateway": gateway, "since_ms": since_ms, "until_ms": until_ms}
    dropped = connection.exec_driver_sql(f"DELETE FROM {_KEPT[level]}{_OF_GATEWAY}", asked).rowcount
    if level == "raw":
        marks.retire(connection, {gateway: dropped})


def _oldest(
    connection: Connection, level: str, gateway: str | None = None
) -> list[tuple[str, int]]:
    """The gateways that have something in a level, or the one, each with the oldest time of it."""
    found = connection.exec_driver_sql(
        "SELECT gateway, min(oldest) FROM (SELECT gateway, (SELECT min(at_ms) FROM"
        f" {_KEPT[level]} WHERE series = series.id) AS oldest FROM series"
        " WHERE :gateway IS NULL OR gateway = :gateway) WHERE oldest IS NOT NULL GROUP BY gateway",
        {"gateway": gateway},
    )
    return [(name, at_ms) for name, at_ms in found]


def _expire_some(connection: Connection, gateway: str, level: str, cutoff_ms: int) -> int | None:
    """Take away the oldest hours of a level, as many as fit into one go. Returns the oldest time
    that is left."""
    begun = time.monotonic()
    while True:
        left = next((at_ms for _, at_ms in _oldest(connection, level, gateway)), None)
        if left is None or left >= cutoff_ms or time.monotonic() - begun > _ONE_GO_S:
            return left
        _expire(
            connection,
            gateway,
            level,
            min(left // _HOUR_MS * _HOUR_MS + _STEPS_MS[level], cutoff_ms),
        )


def _expire(connection: Connection, gateway: str, level: str, until_ms: int) -> None:
    """Take a level away up to there, and what is finer with it: it came late, and is in the
    rollups once they are settled."""
    for bucket in Bucket:
        while waiting := marks.due(connection, bucket, gateway=gateway, before_ms=until_ms):
            _settle_some(connection, bucket, waiting)
    for one in _KEPT:
        _drop(connection, gateway, one, 0, until_ms)
        marks.advance(connection, gateway, one, until_ms)
        if one == level:
            break
