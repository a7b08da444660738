"""The gateway's outbox at work, with a disk that fills and fails and a clock that comes late: what
is sealed stays, what is lost is counted and told, and nothing raises."""

import random

import pytest

from bench import uplink_bytes
from edge.clock import Source
from edge.config import OutboxConfig
from edge.shelf import LOCAL, Priority, Shelf
from tests.machine import UTC_MS, FakeMachine
from tests.outbox_gateway import gateway
from wire.codec import decode_batch
from wire.messages import Event
from wire.reading import Quality

pytestmark = pytest.mark.asyncio


async def test_each_priority_has_batches_of_its_own_and_an_event_takes_what_waits(tmp_path):
    async with gateway(tmp_path / "o.db") as gw:
        await gw.sealer.seal()
        gw.add(2, "rain")
        gw.add(3, "ruler")
        assert gw.sealer.unsealed == 5
        await gw.sealer.seal()
        gw.add(1, "rain")
        gw.sealer.tell(Event(gw.clock.now(), "s", "k", "t"))
        await gw.sealer.seal()
        shapes = [(Shelf(b.place), len(decode_batch(b.payload).readings)) for b in gw.offered]
        assert shapes == [
            (Shelf.EVENT, 0),  # the time is known
            (Shelf.INTERLOCK, 3),
            (Shelf.ROUTINE, 2),
            (Shelf.EVENT, 1),
        ]


# The clock


async def test_what_was_sealed_before_the_time_was_known_is_dated_and_sent_then(tmp_path):
    machine = FakeMachine(utc_ms=7000, up_s=7)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        gw.add(3)
        await gw.sealer.seal()
        gw.add(2)
        await gw.look()
        content = await gw.content()
        assert [key.place for key in content] == [Shelf.ROUTINE + LOCAL]
        assert (gw.offered, gw.outbox.sendable, gw.outbox.position.pending) == ([], 0, 1)
        machine.step(UTC_MS / 1000)
        machine.ntp = True
        await gw.look(3)
        await gw.sealer.seal()
        found = await gw.readings()
        assert [r.at_ms for r in found] == [UTC_MS + 8000 + 1000 * i for i in range(5)]
        assert {r.quality for r in found} == {Quality.GOOD}
        assert gw.outbox.sendable == gw.outbox.position.pending
        assert gw.told == ["clock_trusted"]


async def test_a_process_that_died_before_the_time_was_known_is_dated_by_the_next(tmp_path):
    machine = FakeMachine(utc_ms=0, up_s=7)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        gw.add(3)
        await gw.sealer.seal()
    machine.shown_ms, machine.ntp = UTC_MS + machine.up_s * 1000, True
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        await gw.look()
    machine.ntp = False  # and this one finds no network, but what the other has learned
    machine.step(-1000)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        assert gw.clock.trusted
        found = await gw.readings()
        assert [r.at_ms for r in found] == [UTC_MS + 8000, UTC_MS + 9000, UTC_MS + 10_000]
        assert len({b.stream for b in (await gw.content()).values()}) == 1


async def test_a_boot_that_never_knew_the_time_is_dated_by_a_guess_that_says_so(tmp_path):
    machine = FakeMachine("boot-1")
    async with gateway(tmp_path / "o.db", machine) as gw:
        gw.add(1)
        await gw.sealer.seal()
    last_ms = machine.utc_ms()
    machine = FakeMachine("boot-2", utc_ms=0, up_s=5)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        gw.add(5)  # until 10 s after the boot
        await gw.sealer.seal()
    machine = FakeMachine("boot-3", utc_ms=last_ms + 60_000, up_s=20, ntp=True)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        await gw.look(3)
        await gw.sealer.seal()
        found = await gw.readings()
        # 40 s between the two known moments, 10 of which the boot lasted: 15 on either side.
        assert [r.at_ms - last_ms for r in found] == [
            0,
            *(15_000 + ms for ms in range(6000, 11000, 1000)),
        ]
        assert [r.quality for r in found] == [Quality.GOOD] + 5 * [Quality.SUSPECT]
        assert gw.told == ["clock_placed", "clock_trusted"]
        (placed,) = [
            e for b in (await gw.content()).values() for e in b.events if e.kind == "clock_placed"
        ]
        assert placed.detail["error_ms"] == 15_000
        assert len({b.stream for b in (await gw.content()).values()}) == 3


async def test_a_clock_set_far_back_begins_a_stream_with_what_waits(tmp_path):
    async with gateway(tmp_path / "o.db") as gw:
        gw.add(2)
        await gw.sealer.seal()
        gw.add(2)
        gw.machine.step(-86_400)
        await gw.look()
        gw.add(1)
        await gw.sealer.seal()
        by_stream: dict[int, list[int]] = {}
        for key, batch in (await gw.content()).items():
            by_stream.setdefault(key.life, []).extend(r.at_ms for r in batch.readings)
        first, second = by_stream.values()
        assert len(first) == 2
        assert first == sorted(first)
        assert len(second) == 3
        assert second == sorted(second)
        assert second[0] < first[0]
        assert gw.told == ["clock_trusted", "clock_jump"]


# Bounds


async def test_limits_are_kept_by_thinning_first_and_the_cloud_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.keeper.MB", 128 * 1024)
    async with gateway(tmp_path / "o.db", routine_mb=1, seal_at_readings=10_000, event_mb=1) as gw:
        for _ in range(40):
            gw.add(400)
            await gw.sealer.seal()
            await gw.look()
        await gw.look(20)
        sizes = await gw.outbox.run(lambda file: file.books.sizes(Priority.ROUTINE))
        assert sum(sizes) <= 128 * 1024
        assert min(sizes[:2]) > 0
        assert await gw.readings()
        gaps = await gw.gaps()
        assert {gap.reason for gap in gaps} == {"outbox full"}
        kept = len(await gw.readings())
        assert kept + sum(gap.readings for gap in gaps) == 40 * 400
        assert gw.outbox.readings_lost == sum(gap.readings for gap in gaps)
        offered = [g for b in gw.offered for g in decode_batch(b.payload).gaps]
        assert offered == gaps  # it goes to the cloud like any other event


async def test_what_is_too_old_is_dropped_and_told(tmp_path):
    async with gateway(tmp_path / "o.db", routine_days=1, interlock_days=5) as gw:
        await gw.sealer.seal()
        gw.add(3, "rain")
        gw.add(4, "ruler")
        await gw.sealer.seal()
        gw.machine.wait(2 * 86_400)
        await gw.look(10)
        (gap,) = await gw.gaps()
        assert (gap.reason, gap.readings) == ("too old", 3)
        assert len(await gw.readings()) == 4


@pytest.mark.parametrize("step_s", [40 * 86_400, 20 * 365 * 86_400])
async def test_a_clock_that_was_set_ahead_makes_nothing_old(tmp_path, step_s):
    async with gateway(tmp_path / "o.db", routine_days=30) as gw:
        gw.add(3)
        await gw.sealer.seal()
        gw.machine.wait(86_400)
        gw.machine.step(step_s)
        await gw.look(12)
        gw.machine.wait(3600)
        await gw.look(12)
        assert "clock_jump" in gw.told
        gw.machine.step(-step_s)
        await gw.look(12)
        assert await gw.gaps() == []
        assert len(await gw.readings()) == 3


async def test_a_gateway_that_has_just_started_drops_nothing_for_its_age(tmp_path):
    machine = FakeMachine()
    async with gateway(tmp_path / "o.db", machine) as gw:
        gw.add(3)
        await gw.sealer.seal()
    machine.step(400 * 86_400)  # an empty battery, or a wrong server
    async with gateway(tmp_path / "o.db", machine) as gw:
        await gw.look(12)
        assert await gw.gaps() == []


async def test_three_days_of_a_hundred_sensors_fit(tmp_path):
    dice, begin_ms, seconds = random.Random(1), UTC_MS, 60
    said = [r for s in range(seconds) for _, r in uplink_bytes.readings(dice, s, begin_ms)]
    async with gateway(tmp_path / "o.db") as gw:
        await gw.sealer.seal()
        for i in range(0, len(said), 150):
            for reading in said[i : i + 150]:
                gw.sealer.add(reading)
            await gw.sealer.seal()
        sizes = await gw.outbox.run(lambda file: file.books.sizes(Priority.ROUTINE))
        assert sum(sizes) / seconds * 3 * 86_400 < OutboxConfig().routine_mb * 1024 * 1024 / 2


async def test_room_that_an_outage_has_taken_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.keeper.UNUSED_BYTES", 256 * 1024)
    async with gateway(tmp_path / "o.db", seal_at_readings=10_000) as gw:
        await gw.look()
        for _ in range(6):
            gw.add(10_000, "ruler")
            await gw.sealer.seal()
        await gw.outbox.forget([(1, 100)])
        gw.add(1)
        await gw.sealer.seal()
        pages = (await gw.outbox.run(lambda file: file.ask("PRAGMA page_count")))[0][0]
        await gw.look(3)
        less = (await gw.outbox.run(lambda file: file.ask("PRAGMA page_count")))[0][0]
        assert pages > 1500
        assert less < 1100 + 256  # the reserve of 1 MB, and what need not be given back
        assert len(await gw.readings()) == 1


# A disk that is full
