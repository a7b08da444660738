"""A quarantine that fills up: what is worth least goes first, and is counted."""

import asyncio
import logging
from functools import partial
from pathlib import Path

import pytest

from cloud import overflow, quarantine, state
from cloud.ledger import Key
from cloud.quarantine import Case, Filter, Held, Kind, Reason
from cloud.state import State

TOPIC = "shuichi/v1/0/g/data"


def garbage(number: int, size: int = 1000) -> Case:
    return Case(
        Kind.MESSAGE, Reason.UNREADABLE, "not zlib", TOPIC, f"{number:0{size}}".encode(), "g"
    )


def counted(number: int, readings: int | None = 7) -> Case:
    """Of a batch in the ledger."""
    case = Case(Kind.MESSAGE, Reason.UNREADABLE, "no senml", TOPIC, b"x" * 1000, "g", "s", number)
    return case._replace(
        readings=readings, ledgered=True, payload=case.payload + str(number).encode()
    )


async def keep(database: State, most: int, *saved: tuple[Case, int]) -> None:
    for case, at_ms in saved:
        await database.run(partial(quarantine.save, cases=[case], now_ms=at_ms))
    await overflow.Limit(database, most).keep(99)


def test_garbage_goes_first_and_what_is_let_go_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with state.opened(tmp_path / "state.db") as database:
            saved = [(counted(n, None if n == 2 else 7), n) for n in (1, 2, 3)]
            saved += [(garbage(n), 10 + n) for n in range(10)]
            await keep(database, 1_000_000, *saved)
            assert await database.run(overflow.count) == 0
            await keep(database, 7 * 1400)  # room for seven, and down to nine tenths of it
            left = await database.run(lambda c: quarantine.find(c, Filter()))
            assert [one.case.batch for one in left] == [None, None, None, 3, 2, 1]
            assert {one.last_at_ms for one in left if one.case.batch is None} == {17, 18, 19}
            assert await database.run(overflow.count) == 7
            assert await database.run(quarantine.held) == {Key("g", "s"): Held(14, 1)}
            await keep(database, 1400)  # the oldest of the others
            left = await database.run(lambda c: quarantine.find(c, Filter()))
            assert left == []
            assert await database.run(overflow.count) == 13
            assert await database.run(lambda c: overflow.count(c, "g")) == 13
            assert await database.run(lambda c: overflow.count(c, "h")) == 0
            assert await database.run(quarantine.held) == {Key("g", "s"): Held(0, 0, 14, 1)}

    asyncio.run(main())


def test_a_flood_is_told_when_it_begins_and_when_it_has_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with state.opened(tmp_path / "state.db") as database:
            limit = overflow.Limit(database, 1_000_000)
            for turn in range(5):
                if turn in (1, 2):
                    many = [garbage(2000 * turn + n) for n in range(1500)]
                    await database.run(partial(quarantine.save, cases=many, now_ms=5))
                await limit.keep(99)

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    begun, ended = (one.message for one in caplog.records if one.name == overflow.log.name)
    assert begun == (
        "the quarantine is over its 1 MB; cases are let go, those without readings first"
    )
    assert ended.endswith(" cases with 0 readings were let go from the quarantine")
    assert 2000 < int(ended.split()[0]) < 2500
