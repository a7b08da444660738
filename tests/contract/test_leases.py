"""Leases, on both kinds of state: one holder at a time, whatever happens to it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from cloud import shards, state
from cloud.database import Place
from cloud.errors import Unavailable
from cloud.shards import Held, Lease, Leases, Lost
from cloud.state import State
from cloud.tables import lease
from tests.services import Postgres
from tests.waiting import until

LASTS_S = 1.2  # long enough for a machine that does much else


@pytest.fixture
def place(shared_postgres: Postgres) -> Place:
    return shared_postgres.database(uuid.uuid4().hex)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_place(request: pytest.FixtureRequest, tmp_path: Path, place: Place) -> Place:
    return tmp_path / "cloud.db" if request.param == "sqlite" else place


@asynccontextmanager
async def two(place: Place) -> AsyncIterator[tuple[State, State]]:
    """Two that share a state."""
    async with state.opened(place) as one, state.opened(place) as other:
        yield one, other


class Worker:
    """One that does the work of a lease, and tells by which generation."""

    def __init__(self, database: State, lasts_s: float = LASTS_S) -> None:
        self.leases = Leases(database, lasts_s)
        self.at_work: Lease | None = None
        self.begun: list[int] = []
        self.failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.leases.keep("shard 0", self.work), name="worker")

    async def work(self, lease: Lease) -> None:
        self.at_work = lease
        self.begun.append(lease.generation)
        self.failing = asyncio.get_running_loop().create_future()
        try:
            await self.failing
        finally:
            self.at_work = None

    def fail(self, error: Exception) -> None:
        self.failing.set_exception(error)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def test_a_lease_is_had_by_one_until_it_is_given_back_and_each_time_by_a_new_generation(
    any_place: Place,
) -> None:
    async with state.opened(any_place) as database:
        one, other = Leases(database, 60), Leases(database, 60)
        first = await database.run(lambda c: one._take(c, "shard 0"))
        assert first == Lease("shard 0", 1)
        assert await database.run(lambda c: other._take(c, "shard 1")) == Lease("shard 1", 1)
        held = await database.run(lambda c: other._take(c, "shard 0"))
        assert isinstance(held, Held)
        assert held.owner == one.owner
        assert 59_000 < held.for_ms <= 60_000
        await database.run(first.check)
        assert await database.run(lambda c: one._prolong(c, first, by_s=0))
        second = await database.run(lambda c: other._take(c, "shard 0"))
        assert second == Lease("shard 0", 2)
        await database.run(second.check)
        with pytest.raises(Lost):
            await database.run(first.check)
        assert not await database.run(lambda c: one._prolong(c, first))


async def test_the_second_waits_says_so_once_and_takes_over_from_one_that_stops(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(place) as (database, beside):
        first = Worker(database, 3.0)
        await until(lambda: first.at_work)
        second = Worker(beside, 3.0)
        await asyncio.sleep(4.0)  # longer than a lease lasts: it is renewed
        assert first.begun == [1]
        assert second.begun == []
        told = [one.getMessage() for one in caplog.records if "waiting" in one.getMessage()]
        assert told == [f"shard 0: {first.leases.owner} has it; waiting until it is free"]
        await first.stop()
        await until(lambda: second.at_work)
        assert second.begun == [2]
        await second.stop()


async def test_one_that_is_gone_without_a_word_is_waited_for_and_fenced_off(place: Place) -> None:
    async with two(place) as (database, beside):
        gone = Leases(database, LASTS_S)
        lease = await database.run(lambda c: gone._take(c, "shard 0"))
        assert isinstance(lease, Lease)
        await database.run(lease.check)
        held = await beside.run(lambda c: Leases(beside, LASTS_S)._take(c, "shard 0"))
        assert isinstance(held, Held)
        assert held.owner == gone.owner
        assert 0 < held.for_ms <= LASTS_S * 1000
        second = Worker(beside)
        await until(lambda: second.at_work)
        with pytest.raises(Lost):
            await database.run(lease.check)
        assert not await database.run(lambda c: gone._prolong(c, lease))
        assert second.at_work is not None
        await beside.run(second.at_work.check)
        await second.stop()


async def test_whoever_learns_that_another_has_it_stops_at_once(place: Place) -> None:
    async with two(place) as (database, beside):
        first = Worker(database)
        await until(lambda: first.at_work)
        thief = Leases(beside, 60)
        await beside.run(Leases._freed)
        assert isinstance(await beside.run(lambda c: thief._take(c, "shard 0")), Lease)
        await until(lambda: first.at_work is None)
        assert first.begun == [1]
        await first.stop()


class Deaf:
    """A state that does not answer, as soon as it is told so."""

    shared = True

    def __init__(self, database: State) -> None:
        self.database = database
        self.trouble: Callable[[], Any] | None = None

    async def run(self, work: Callable[[Connection], Any]) -> Any:
        if self.trouble is not None:
            await self.trouble()
        return await self.database.run(work)


async def hang() -> None:
    await asyncio.Event().wait()


async def refuse() -> None:
    raise Unavailable("it is away")


@pytest.mark.parametrize("trouble", [hang, refuse])
async def test_one_that_cannot_renew_stops_before_its_lease_ends_and_goes_on_when_it_can(
    trouble: Callable[[], Any], place: Place
) -> None:
    async with two(place) as (database, beside):
        deaf = Deaf(database)
        worker = Worker(deaf, 3.0)  # type: ignore[arg-type]  # it has all that leases use
        await until(lambda: worker.at_work)
        lease = worker.at_work
        assert lease is not None
        deaf.trouble = trouble
        await until(lambda: worker.at_work is None)
        found = await beside.run(lambda c: Leases(beside, LASTS_S)._take(c, "shard 0"))
        assert isinstance(found, Held)  # by the database it had some time left
        deaf.trouble = None
        await until(lambda: worker.at_work)
        assert worker.begun == [1, 2]
        await worker.stop()


async def test_work_that_finds_itself_fenced_off_or_without_a_database_is_begun_anew(
    place: Place,
) -> None:
    async with two(place) as (database, _):
        worker = Worker(database)
        for generation, failure in ((1, Lost("fenced off")), (2, Unavailable("it is away"))):
            await until(lambda: worker.at_work)
            assert worker.begun[-1] == generation
            worker.fail(failure)
            await until(lambda: worker.at_work is None)
        await until(lambda: worker.at_work)
        assert worker.begun == [1, 2, 3]
        await worker.stop()


async def test_any_other_failure_of_the_work_is_not_hidden(place: Place) -> None:
    async with two(place) as (database, _):
        worker = Worker(database)
        await until(lambda: worker.at_work)
        worker.fail(LookupError("ours to mend"))
        with pytest.raises(ExceptionGroup) as caught:
            await worker.task
        assert caught.group_contains(LookupError)
        # And the lease is free for whoever is better.
        again = Leases(database, LASTS_S)
        assert isinstance(await database.run(lambda c: again._take(c, "shard 0")), Lease)


async def test_in_a_file_that_nobody_shares_the_leases_of_the_dead_are_free(tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        dead = Leases(database, 60)
        await database.run(lambda c: dead._take(c, "shard 0"))
    async with state.opened(tmp_path / "cloud.db") as database:
        leases = Leases(database, 60)
        await leases.begin()
        found = await database.run(lambda c: leases._take(c, "shard 0"))
    assert found == Lease("shard 0", 2)


async def test_a_clock_of_the_database_that_was_set_back_keeps_no_shard_from_others(
    any_place: Place,
) -> None:
    async with state.opened(any_place) as database:
        gone = Leases(database, LASTS_S)
        taken = await database.run(partial(gone._take, name="shard 0"))
        assert isinstance(taken, Lease)

        def set_back(connection: Connection) -> None:
            connection.execute(update(lease).values(until_ms=lease.c.until_ms + 3_600_000))

        await database.run(set_back)
        (found,) = await database.run(partial(shards.unheld, names=["0"]))
        assert found.shard == "0"
        again = await database.run(partial(Leases(database, LASTS_S)._take, name="shard 0"))
        assert isinstance(again, Lease)
        assert again.generation == taken.generation + 1
        with pytest.raises(Lost):
            await database.run(taken.check)
