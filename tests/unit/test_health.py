"""What the service observes of itself: shards without a worker, parts that fail, config faults."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select, update

from cloud import config, health, shards, state, tables
from cloud.alerts import keptplans
from cloud.alerts.watch import Watch
from cloud.health import Health
from cloud.shards import Lease, Leases
from cloud.state import State
from tests.plans import small
from tests.waiting import until


async def rows(database: State) -> list[Any]:
    return await database.run(lambda c: [*c.execute(select(tables.alert)).all()])


async def set_lease(database: State, **values: Any) -> None:
    await database.run(lambda c: c.execute(update(tables.lease).values(**values)))


async def test_a_shard_is_missed_without_a_holder_and_with_one_that_does_nothing(
    tmp_path: Path,
) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:

        async def reasons(*names: str) -> dict[str, str]:
            found = await database.run(lambda c: shards.unheld(c, names))
            return {one.shard: one.reason for one in found}

        assert await reasons("0", "1") == dict.fromkeys("01", "nobody has ever served it")
        leases = Leases(database, 60)
        taken = await database.run(lambda c: leases._take(c, "shard 0"))
        assert isinstance(taken, Lease)
        assert await reasons("0") == {}
        leases._worked["shard 0"] = -1e6  # for long, by the clock of the process
        assert await database.run(lambda c: leases._prolong(c, taken))
        assert await reasons("0") == {"0": "its worker takes nothing in from the broker"}
        leases.worked("shard 0")
        assert await database.run(lambda c: leases._prolong(c, taken))
        assert await reasons("0") == {}
        assert await database.run(lambda c: leases._prolong(c, taken, by_s=0))
        await asyncio.sleep(0.01)
        assert await reasons("0") == {"0": "nobody holds its lease"}
        # One that a config named yesterday is still missed, one of last week is not.
        assert await reasons() == {"0": "nobody holds its lease"}
        await set_lease(database, until_ms=0)
        assert await reasons() == {}


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EVERY_S", 0.02)


@pytest.mark.usefixtures("quickly")
async def test_each_fault_is_a_finding_that_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "cloud.toml").write_text("")
    rules = config.read(tmp_path / "cloud.toml").config.rules
    failing = {"web": "OSError: no"}
    woken: list[int] = []
    async with state.opened(tmp_path / "cloud.db") as database:
        lease = await database.run(lambda c: Leases(database, 60)._take(c, "alerts"))
        assert isinstance(lease, Lease)

        def one() -> Health:
            return Health(
                *(database, lease, Watch(rules), ("0",), 0.0, (("part_failing", lambda: failing),)),
                *(["channel.sms.url: is missing"], lambda: woken.append(1)),
            )

        task = asyncio.create_task(one().run(), name="health")

        async def all_there() -> bool:
            return len(await rows(database)) == 3

        await until(all_there)
        found = {row.part: row for row in await rows(database)}
        assert set(found) == {"shard_without_worker", "part_failing", "config_faulty"}
        assert {row.hazard for row in found.values()} == {"equipment"}
        assert found["shard_without_worker"].level == "red"
        assert woken
        # The process is killed; the next one finds the shard served and its parts at work.
        task.cancel()
        await asyncio.wait([task])
        failing.clear()
        await database.run(lambda c: Leases(database, 60)._take(c, "shard 0"))
        task = asyncio.create_task(one().run(), name="health")

        async def ended() -> bool:
            done = {row.part for row in await rows(database) if row.cleared_at_ms is not None}
            return done == {"shard_without_worker", "part_failing"}

        await until(ended)
        task.cancel()
        await asyncio.wait([task])
        changes = await database.run(
            lambda c: [*c.execute(select(tables.alert_change.c.parts)).scalars()]
        )
        assert any("is missing" in str(msgspec.json.decode(one)) for one in changes)


async def test_the_last_good_plan_is_the_one_that_came_into_force_last(tmp_path: Path) -> None:
    first, second = small(2), small(3)
    async with state.opened(tmp_path / "cloud.db") as database:
        assert await database.run(keptplans.last_good) is None
        for plan, at_ms in ((first, 1), (second, 2), (first, 3)):
            await database.run(partial(keptplans.come_into_force, plan=plan, now_ms=at_ms))
        assert await database.run(keptplans.last_good) == first
        bad = {"version": "bad", "content": "{}", "used_ms": 4}
        await database.run(lambda c: c.execute(insert(tables.plan).values(bad)))
        assert await database.run(keptplans.last_good) == first


async def test_messages_that_wait_too_long_are_a_fault(tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:

        def wait(connection: Any, not_before_ms: int, incident: str = "") -> None:
            connection.execute(
                insert(tables.outgoing).values(
                    key=str(not_before_ms),
                    incident=incident,
                    contact="li",
                    channel="sms",
                    parts="[]",
                    message="",
                    sends="[]",
                    made_ms=0,
                    not_before_ms=not_before_ms,
                    outcome="",
                    detail="",
                )
            )

        now_ms = 1_750_000_000_000
        await database.run(lambda c: wait(c, now_ms - health.LATE_MS + 1))
        assert await database.run(lambda c: health.late(c, ("sms",), now_ms)) == []
        await database.run(lambda c: wait(c, now_ms - 3 * health.LATE_MS))
        await database.run(lambda c: wait(c, now_ms - 9 * health.LATE_MS, "i.exercise"))
        (fault,) = await database.run(lambda c: health.late(c, ("sms",), now_ms))
        assert fault.name == "alerting_late"
        assert fault.detail == {"messages": 1, "late_s": 180}
