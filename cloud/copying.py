"""Copies readings from one store into another, whatever kinds they are."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from cloud import state, tables
from cloud.state import State
from cloud.store import Points, Query, Row, Store, stream
from cloud.store.names import is_readable, shown
from wire.reading import Quality, Reading


class Copied(NamedTuple):
    """How a copy ended: how many readings each side has in the range. So many were `left_out`,
    under names such as `unreadable`, which no store is given."""

    source: int
    target: int
    left_out: int = 0
    unreadable: str = ""


async def copy(
    name: str,
    source: Store,
    target: Store,
    database: State,
    query: Query,
    progress: Callable[[int], None],
) -> Copied:
    """Copy what `query` asks for, oldest first, from where an earlier call of this `name` stopped,
    and make the rollups of it.

    How far it has come is committed to `database`, the target's state, with each page; a page that
    is written twice replaces itself. `progress` is told how many readings more are there, first
    those that are not copied again. Raises Unavailable, Rejected; the next call goes on from there.
    """
    next_ms = await database.run(lambda connection: _position(connection, name))
    left_out, unreadable = 0, ""
    rest = query
    if next_ms is not None:
        rest = replace(query, since_ms=max(next_ms, query.since_ms or 0))
        progress(await source.count(replace(query, until_ms=rest.since_ms)))
    pages: AsyncGenerator[list[Row], None] = stream.rows(source, rest)
    async with aclosing(pages):
        async for page in pages:
            position = partial(_keep, name=name, next_ms=page[-1].at_ms + 1)
            good = [row for row in page if all(map(is_readable, row[1:4]))]
            if len(good) < len(page):
                left_out += len(page) - len(good)
                unreadable = unreadable or _unreadable(page)
            await target.write(_points(good), position)
            progress(len(page))
    await database.run(lambda connection: _forget(connection, name))
    numbers = (await source.count(query), await target.count(query))
    copied = Copied(*numbers, left_out, unreadable)
    await target.upkeep(time.time_ns() // 1_000_000)  # its rollups are asked for before it serves
    return copied


def _unreadable(page: list[Row]) -> str:
    """The first name of a page that no store is given, as people may be shown it."""
    return next(shown(name) for row in page for name in row[1:4] if not is_readable(name))


def _points(page: list[Row]) -> list[Points]:
    by_gateway = attrgetter("gateway")
    return [
        Points(
            gateway,
            [
                Reading(
                    row.site, row.sensor, row.quantity, row.value, row.at_ms, Quality(row.quality)
                )
                for row in rows
            ],
        )
        for gateway, rows in groupby(sorted(page, key=by_gateway), by_gateway)
    ]


def _position(connection: Connection, name: str) -> int | None:
    table = tables.copy_position
    found = connection.execute(select(table.c.next_ms).filter_by(source=name)).scalar()
    return None if found is None else int(found)


def _keep(connection: Connection, name: str, next_ms: int) -> None:
    state.upsert(connection, tables.copy_position, [{"source": name, "next_ms": next_ms}])


def _forget(connection: Connection, name: str) -> None:
    connection.execute(delete(tables.copy_position).filter_by(source=name))
