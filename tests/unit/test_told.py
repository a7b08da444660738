"""What is kept of a status: when the gateway itself was heard."""

from functools import partial
from pathlib import Path

from sqlalchemy import select

from cloud import state, tables, told
from cloud.intake import Intake
from tests.rules import NOW
from wire.messages import GatewayState, Status

HOUR_MS = 3_600_000


async def heard_after(folder: Path, *said: tuple[Status, int]) -> int:
    async with state.opened(folder / "cloud.db") as database:
        for status, now_ms in said:
            save = partial(told.save_states, intake=Intake(statuses=[status]), shard="0")
            await database.run(partial(save, now_ms=now_ms))
        wanted = select(tables.gateway.c.received_at_ms)
        return await database.run(lambda c: c.execute(wanted).scalar_one())


def online(at_ms: int, *, trusted: bool = True) -> Status:
    return Status("g", GatewayState.ONLINE, at_ms, "s", clock_trusted=trusted)


async def test_a_retained_status_is_as_old_as_it_says(tmp_path: Path) -> None:
    assert await heard_after(tmp_path, (online(NOW), NOW + 8 * HOUR_MS)) == NOW


async def test_a_status_that_is_on_time_was_heard_now(tmp_path: Path) -> None:
    assert await heard_after(tmp_path, (online(NOW - 500), NOW)) == NOW


async def test_a_clock_that_is_not_trusted_does_not_date_it(tmp_path: Path) -> None:
    assert await heard_after(tmp_path, (online(0, trusted=False), NOW)) == NOW


async def test_a_last_will_is_no_sign_of_life(tmp_path: Path) -> None:
    lost = Status("g", GatewayState.LOST, NOW)
    assert await heard_after(tmp_path, (online(NOW), NOW), (lost, NOW + HOUR_MS)) == NOW
