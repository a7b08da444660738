"""All rows of a query, however many, a page at a time."""

from bisect import bisect_left
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from operator import attrgetter
from typing import Final, TypeVar

from cloud.store import Bucket, Query, Rollup, Row, Store

PAGE: Final = 20_000
"""Rows in memory at once; more only where one moment has more."""

_FIRST_MS: Final = 600_000
_Timed = TypeVar("_Timed", Row, Rollup)


def rows(store: Store, query: Query, page: int = PAGE) -> AsyncGenerator[list[Row], None]:
    """The readings that `query` asks for, oldest first, without regard to its limit and order."""
    return _pages(store.read, query, 1, page)


def rollups(
    store: Store, query: Query, bucket: Bucket, page: int = PAGE
) -> AsyncGenerator[list[Rollup], None]:
    """The same of rollups."""

    async def read(some: Query) -> list[Rollup]:
        return await store.rollups(some, bucket)

    # The store takes in all of each bucket that a range touches, wherever its days begin.
    return _pages(read, query, bucket.width_ms, page)


async def _pages(
    read: Callable[[Query], Awaitable[list[_Timed]]], query: Query, step_ms: int, page: int
) -> AsyncGenerator[list[_Timed], None]:
    """Windows of time, side by side, as wide as a page allows. Not pages by limit alone: for each
    of them a store would sort all that is left."""
    whole = replace(query, newest_first=False, limit=1)
    first, last = await read(whole), await read(replace(whole, newest_first=True))
    if not first or not last:
        return
    at_ms, end_ms = first[0].at_ms, last[0].at_ms + step_ms
    width = max(_FIRST_MS // step_ms, 1) * step_ms
    while at_ms < end_ms:
        until_ms = min(at_ms + width, end_ms)
        window = replace(whole, since_ms=at_ms, until_ms=until_ms, limit=page + 1)
        found = await read(window)
        if len(found) > page:  # what is before the last moment is whole all the same
            until_ms = found[-1].at_ms
            width = max(width // 4 // step_ms, 1) * step_ms
            if until_ms == at_ms:
                until_ms = at_ms + step_ms
                found = await read(replace(window, until_ms=until_ms, limit=None))
            else:
                found = found[: bisect_left(found, until_ms, key=attrgetter("at_ms"))]
        elif len(found) <= page // 4:
            width *= 2
        if found:
            yield found
        at_ms = until_ms
