"""One store for InfluxDB 1.x, 2.x and 3.x: it says whom it talks to, keeps rollups alike in each,
and blames the right one for what is refused."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cloud import account
from cloud.errors import Rejected, Unavailable
from cloud.store import Bucket, Query, marks, rollup_influx
from tests.contract.test_stores import HOUR0, NOW, Kept, by_hand, influx_v1, opened, reading, row
from tests.httpserver import Answer
from tests.influxplayed import Played
from tests.services import Service
from wire.reading import Quality

HOUR_MS = Bucket.HOUR.width_ms


@pytest.fixture(params=[2, 3])
def played(request: pytest.FixtureRequest, shared_influxd: Service) -> Iterator[Played]:
    with Played(shared_influxd.url, request.param) as server:
        yield server


def bucket_of(folder: Path) -> str:
    return f"b{abs(hash(str(folder)))}"


@asynccontextmanager
async def used(server: Played, folder: Path, **more: Any) -> AsyncIterator[Kept]:
    config = {
        "kind": "influx",
        "api": "v2",
        "url": server.url,
        "bucket": bucket_of(folder),
        "org": "city",
        **more,
    }
    async with opened(config, folder) as (database, store):
        yield Kept(database, store, "g")


async def test_rollups_are_kept_in_2_and_3_as_in_1(played: Played, tmp_path: Path) -> None:
    written = [
        reading(
            value=None if n % 17 == 0 else (n % 29) / 8,
            quality=Quality.MISSING if n % 17 == 0 else Quality(n % 4 + 1),
            at_ms=HOUR0 - HOUR_MS + n * 31_000,
            sensor=f"r{n % 2}",
        )
        for n in range(200)
    ]
    async with used(played, tmp_path) as kept:
        await kept.write(*written[::2])
        await kept.store.upkeep(NOW)
        await kept.write(*written[1::2])
        rows = [row("g", one) for one in written]
        for bucket in Bucket:
            found = await kept.rollups(bucket)
            wanted = by_hand(rows, bucket)
            assert [one[:6] + one[7:] for one in found] == [one[:6] + one[7:] for one in wanted]
            means = [one.mean for one in wanted if one.mean is not None]
            assert [one.mean for one in found if one.mean is not None] == pytest.approx(means)
        played.queries.clear()
        await kept.store.upkeep(NOW)
        assert played.queries == []  # nothing was touched, so nothing is asked
        await kept.store.rollups(Query(), Bucket.MINUTE)
        (asked,) = played.queries
        assert "GROUP BY" not in asked  # they are read, not worked out


async def test_a_minute_is_asked_for_once_after_it_is_over(
    shared_influxd: Service, tmp_path: Path
) -> None:
    with Played(shared_influxd.url, 2) as played:
        async with used(played, tmp_path) as kept:
            start = HOUR0
            for second in range(0, 180, 10):
                await kept.write(reading(at_ms=start + second * 1000))
                await kept.store.upkeep(start + second * 1000 + 500)
            await kept.store.upkeep(start + 180_000 + marks.GRACE_MS)
            worked_out = [one for one in played.queries if "GROUP BY time(60000ms)" in one]
            assert len(worked_out) == 3


async def test_the_running_hour_is_made_of_its_minutes(played: Played, tmp_path: Path) -> None:
    async with used(played, tmp_path) as kept:
        for minute in range(3):
            await kept.write(reading(value=float(minute), at_ms=HOUR0 + minute * 60_000))
        await kept.store.upkeep(HOUR0 + 200_000)  # the hour is not over
        (hour,) = await kept.store.rollups(Query(), Bucket.HOUR)
        assert (hour.at_ms, hour.min, hour.mean, hour.max, hour.counted) == (HOUR0, 0, 1, 2, 3)
        assert [one async for one in kept_hours(kept)] == []
        await kept.store.upkeep(HOUR0 + HOUR_MS + marks.GRACE_MS)
        assert [one async for one in kept_hours(kept)] == [hour]


async def kept_hours(kept: Kept) -> AsyncIterator[Any]:
    """Those that lie on the server."""
    store: Any = kept.store
    opened_store = await store.open() if hasattr(store, "open") else store
    for one in await opened_store._kept._influxql.kept(Query(), Bucket.HOUR):
        yield one


async def test_one_rollup_that_is_refused_holds_no_other(
    shared_influxd: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = HOUR0 + 60_000
    honest = rollup_influx._line

    def line(one: Any) -> str:
        return honest(one).replace("min=", "min=x") if one.at_ms == bad else honest(one)

    monkeypatch.setattr(rollup_influx, "_line", line)
    async with opened(influx_v1(shared_influxd), tmp_path) as (database, store):
        kept = Kept(database, store, "g")
        await kept.write(*(reading(at_ms=HOUR0 + n * 60_000) for n in range(4)))
        await store.upkeep(NOW)
        found = await store.rollups(Query(), Bucket.MINUTE)
        assert [one.at_ms for one in found] == [HOUR0, HOUR0 + 120_000, HOUR0 + 180_000]
        many, why = await database.run(marks.aside)
        assert many == 1
        assert "unable to parse" in why
        taken = await account.take(database, store)
        (problem,) = [one for one in taken.problems if "1 rollup refused by the store" in one]
        assert "unable to parse" in problem
        assert [one for one in await store.faults() if "each hour: 1; " in one]
        monkeypatch.setattr(rollup_influx, "_line", honest)
        await store.upkeep(NOW + rollup_influx.SET_ASIDE_MS)
        assert len(await store.rollups(Query(), Bucket.MINUTE)) == 4
        (hour,) = await store.rollups(Query(), Bucket.HOUR)
        assert hour.counted == 4
        assert await database.run(marks.aside) == (0, "")
        taken = await account.take(database, store)
        assert not [one for one in taken.problems if "refused" in one]


REFUSALS = {
    "a sixth database": (
        Answer(
            400,
            b'{"error": "catalog update error: Adding a new database would exceed limit of 5"}',
        ),
        Unavailable,
    ),
    "series, 1.x": (
        Answer(
            400,
            b'{"error": "partial write: max-series-per-database limit exceeded: (1000000) '
            b'dropped=1"}',
        ),
        Unavailable,
    ),
    "no right": (Answer(403, b'{"code": "forbidden", "message": "insufficient"}'), Unavailable),
    "no bucket": (
        Answer(404, b'{"code": "not found", "message": "bucket not found"}'),
        Unavailable,
    ),
    "too much": (Answer(429, b'{"message": "quota"}'), Unavailable),
    "a conflict of types": (
        Answer(
            422,
            b'{"code": "unprocessable entity", "message": "failure writing points to '
            b'database: partial write: field type conflict: input field dropped=1"}',
        ),
        Rejected,
    ),
    "a tab in a name, 3.x": (
        Answer(400, b'{"error": "parsing for line protocol failed"}'),
        Rejected,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_is_the_servers_fault_condemns_no_reading(
    name: str, played: Played, tmp_path: Path
) -> None:
    answer, wanted = REFUSALS[name]
    async with used(played, tmp_path) as kept:
        played.refuses[bucket_of(tmp_path)] = answer
        with pytest.raises(wanted) as raised:
            await kept.write(reading())
        assert str(answer.status) in str(raised.value)
        played.refuses.clear()
        await kept.write(reading())
        assert await kept.count() == 1


async def test_words_that_nobody_knows_are_tried_with_a_line_of_our_own(
    shared_influxd: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later release may put it in other words: where our own line is taken, the others are to
    blame."""
    with Played(shared_influxd.url, 2) as played:
        taken = Played._write
        strange = Answer(400, b'{"message": "the frobnicator says no"}')

        def write(self: Played, bucket: str, precision: str, body: bytes) -> Answer:
            return strange if b"depth" in body else taken(self, bucket, precision, body)

        monkeypatch.setattr(Played, "_write", write)
        async with used(played, tmp_path) as kept:
            with pytest.raises(Rejected, match="frobnicator"):
                await kept.write(reading())
            monkeypatch.setattr(Played, "_write", lambda *_: strange)
            with pytest.raises(Unavailable, match="frobnicator"):
                await kept.write(reading())


@pytest.mark.parametrize(
    ("major", "api", "mend"),
    [(1, "v2", 'api = "v1" and database'), (2, "v1", "bucket and token_file"), (3, "v1", "bucket")],
)
async def test_a_server_of_another_kind_is_named(
    major: int, api: str, mend: str, shared_influxd: Service, tmp_path: Path
) -> None:
    names = {"database": "d", "bucket": "d", "org": "city"}
    with Played(shared_influxd.url, major) as played:
        config = {"kind": "influx", "url": played.url, "api": api, **names}
        async with opened(config, tmp_path) as (_, store):
            with pytest.raises(Unavailable, match="is InfluxDB") as raised:
                await store.check()
            assert mend in str(raised.value)


async def test_a_rotated_token_is_read_again(played: Played, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    played.tokens = {"old"}
    async with used(played, tmp_path, token_file="token") as kept:
        await kept.write(reading(0))
        played.tokens = {"new"}
        with pytest.raises(Unavailable, match="401"):
            await kept.write(reading(1))
        with pytest.raises(Unavailable, match="401"):
            await kept.read()
        (tmp_path / "token").write_text("new")
        await kept.write(reading(1))
        assert len(await kept.read()) == 2


async def test_a_check_proves_each_right_by_use(played: Played, tmp_path: Path) -> None:
    name = bucket_of(tmp_path)
    async with used(played, tmp_path) as kept:
        await kept.write(reading())
        assert await kept.store.faults() == []
        for place in (name, f"{name}/minute", f"{name}/hour"):
            played.refuses[place] = Answer(403, b'{"message": "insufficient permissions"}')
            (fault,) = await kept.store.faults()
            assert f"needs the right to write to '{place}'" in fault
            played.refuses[place] = Answer(404, b'{"message": "bucket not found"}')
            (fault,) = await kept.store.faults()
            assert ("cloud init" in fault) is (place != name)
            played.refuses[place] = Answer(204)  # taken, and not to be found
            (fault,) = await kept.store.faults()
            assert f"what is written to '{place}' cannot be read" in fault
            played.refuses.clear()
        assert await kept.count() == 1  # none of it is a reading
