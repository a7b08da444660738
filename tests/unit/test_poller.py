"""The bus: who is read next, what a lamp may overtake, and what a dead device may cost."""

import asyncio
import contextlib
import itertools
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply
from edge.agenda import DEAD_SHARE, PROBE_PATIENCE_S
from edge.health import SILENT_AFTER, State
from tests import virtual
from tests.examples import examples
from tests.fieldbus import JOBS, LATE_S, READ_S, WITHIN_S, Field, profile, until


@examples(40)
@given(JOBS)
def test_urgent_ones_first_and_then_the_earliest_deadline(jobs):
    async def main():
        intervals_s = [interval_s for interval_s, _, _ in jobs]
        urgent = [unit for unit, (_, _, is_urgent) in enumerate(jobs, 1) if is_urgent]
        field = Field(*intervals_s, urgent=urgent, profile=profile(0, within_s=1.0))
        field.wire.read_s = {unit: read_s for unit, (_, read_s, _) in enumerate(jobs, 1)}

        def is_right(unit):
            chosen = field.bus.jobs[unit - 1]
            due = [job for job in field.bus.jobs if job.due <= virtual.now()]
            assert chosen in due
            if not chosen.urgent:
                assert not any(job.urgent for job in due)
            rivals = [job.deadline for job in due if job.urgent == chosen.urgent]
            assert chosen.deadline == min(rivals)

        field.wire.on_start = is_right
        await field.run(20)

    virtual.run(main())


def test_every_sensor_keeps_its_interval():
    async def main():
        field = Field(0.5, 2.0, 1.0, urgent=(1,))
        begin = virtual.now()
        await field.run(60.01)
        for unit, interval_s, slack_s in ((1, 0.5, 0.0), (2, 2.0, 0.25), (3, 1.0, 0.25)):
            times = field.wire.times(unit)
            assert len(times) == pytest.approx(60 / interval_s, abs=1)
            first_due = begin + min(1.0, interval_s) * (unit - 1) / 3
            late = [at - (first_due + i * interval_s) for i, at in enumerate(times)]
            assert min(late) >= -1e-9
            assert max(late) <= slack_s + 2 * READ_S + 1e-9  # the other two, at worst
        firsts = [field.wire.times(unit)[0] for unit in (1, 2, 3)]
        assert max(firsts) - min(firsts) > 0.3  # they do not start in a heap

    virtual.run(main())


def test_all_buses_wake_up_for_several_reads_at_once():
    async def main():
        fields = [Field(*[1.0] * 50), Field(*[2.0] * 50)]
        async with contextlib.AsyncExitStack() as running:
            for field in fields:
                field.wire.read_s = dict.fromkeys(range(1, 51), 0.001)
                await running.enter_async_context(field.running())
            await asyncio.sleep(3)
            start = virtual.now()
            await asyncio.sleep(20)
        starts = [[at for _, _, at in f.wire.starts if at >= start] for f in fields]
        assert [len(one) for one in starts] == pytest.approx([20 * 50, 10 * 50], rel=0.02)
        together = sorted(itertools.chain(*starts))
        pauses = [after - before for before, after in itertools.pairwise(together)]
        assert sum(pause > 0.0011 for pause in pauses) <= 20 * 4 + 1

    virtual.run(main())


@examples(40)
@given(st.floats(0, 3), st.integers(1, 3))
def test_a_lamp_waits_for_the_read_under_way_and_for_nothing_else(after_s, lamps):
    async def main():
        field = Field(0.05, 0.05, 0.05, urgent=(1,))  # always something due
        ran = []

        async def write(lamp):
            ran.append((lamp, virtual.now()))
            await asyncio.sleep(0.05)

        async with field.running():
            await asyncio.sleep(after_s)
            asked_at = virtual.now()
            async with asyncio.TaskGroup() as group:
                for lamp in range(lamps):
                    group.create_task(field.bus.first(partial(write, lamp)))
        assert [lamp for lamp, _ in ran] == list(range(lamps))
        assert ran[0][1] - asked_at <= READ_S + 1e-9
        assert ran[-1][1] - ran[0][1] == pytest.approx(0.05 * (lamps - 1))

    virtual.run(main())


def test_a_lamp_on_an_idle_bus_does_not_wait():
    async def main():
        field = Field()
        async with field.running():
            await asyncio.sleep(5)
            asked_at = virtual.now()
            await field.bus.first(lambda: asyncio.sleep(0))
            assert virtual.now() == asked_at

    virtual.run(main())


def test_what_a_lamp_raises_reaches_its_caller_and_not_the_bus():
    async def main():
        field = Field(1.0)

        async def fails():
            raise BadReply("garbled")

        async with field.running():
            with pytest.raises(BadReply, match="garbled"):
                await field.bus.first(fails)
            before = len(field.wire.starts)
            await asyncio.sleep(3.5)
            assert len(field.wire.starts) == before + 3

    virtual.run(main())


def test_a_lamp_whose_caller_has_left_is_not_written():
    async def main():
        field = Field(0.5, profile=profile(0, within_s=0.45))
        field.wire.read_s = {1: 0.4}
        ran = []

        async def write():
            ran.append(1)

        async with field.running():
            await asyncio.sleep(0.2)  # a read is under way
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await field.bus.first(write)
            await asyncio.sleep(2)
        assert ran == []

    virtual.run(main())


def test_after_an_overrun_missed_reads_are_not_made_up_for():
    async def main():
        field = Field(1.0, 1.0)
        async with field.running():
            await asyncio.sleep(5)
            await field.bus.first(lambda: asyncio.sleep(20))
            free_at = virtual.now()
            await asyncio.sleep(10)
        for unit, job in enumerate(field.bus.jobs, 1):
            after = [at for at in field.wire.times(unit) if at >= free_at]
            assert 10 <= len(after) <= 12
            assert job.overruns == 1

    virtual.run(main())


def test_a_bus_that_is_always_late_starves_nobody_of_equal_rank():
    async def main():
        field = Field(0.1, 0.1, 0.1, 0.1)
        field.wire.read_s = dict.fromkeys(range(1, 5), 0.2)
        await field.run(80)
        counts = [len(field.wire.times(unit)) for unit in range(1, 5)]
        assert min(counts) >= 0.95 * max(counts)

    virtual.run(main())


def wasted_s(field, dead, start):
    """Bus time that silent devices took since `start`: each question costs its wait and rest."""
    return sum(LATE_S for unit in dead for at in field.wire.times(unit) if at >= start)


@pytest.mark.parametrize(("alive", "dead"), [(3, 1), (2, 2), (1, 3), (8, 60)])
def test_silent_devices_together_waste_a_twentieth_of_the_bus(alive, dead):
    async def main():
        field = Field(*[2.0] * (alive + dead))
        silent = range(alive + 1, alive + dead + 1)
        field.wire.fails = dict.fromkeys(silent, "silent")
        async with field.running():
            await asyncio.sleep(10 + 2 * dead)  # time to find out
            start = virtual.now()
            await asyncio.sleep(1800)
        assert wasted_s(field, silent, start) <= 0.05 * 1800
        for unit in range(1, alive + 1):
            times = [at for at in field.wire.times(unit) if at >= start]
            assert len(times) >= 0.99 * 900
        probes = [len([at for at in field.wire.times(u) if at >= start]) for u in silent]
        assert max(probes) - min(probes) <= 1  # they take turns
        assert sum(probes) >= 0.9 * DEAD_SHARE * 1800 / LATE_S  # and none is forgotten

    virtual.run(main())


def test_the_breaker_is_one_a_device_however_many_blocks_it_has():
    async def main():
        field = Field(1.0, 1.0, profile=profile(0, 10, 20))
        field.wire.fails = {1: "silent"}
        async with field.running():
            await asyncio.sleep(20)
            assert len(field.wire.times(1)) <= SILENT_AFTER + 2
            assert field.device(1).breaker is State.OPEN
            assert field.device(2).breaker is State.CLOSED
            await asyncio.sleep(200)
            asked = [where for unit, where, _ in field.wire.starts if unit == 1]
            assert set(asked[SILENT_AFTER:]) == {0, 10, 20}  # one block may be what it dislikes
            field.wire.fails = {}
            await asyncio.sleep(20)
            start = virtual.now()
            await asyncio.sleep(10)
            for address in (0, 10, 20):
                assert len([at for at in field.wire.times(1, address) if at >= start]) >= 9

    virtual.run(main())


def test_a_device_in_doubt_is_asked_the_same_again():
    """An answer that comes later than anybody thought then still says what was asked."""

    async def main():
        field = Field(1.0, profile=profile(0, 10, 20))
        async with field.running():
            await asyncio.sleep(5)
            field.wire.fails = {1: "silent"}
            await until(lambda: field.device(1).failures == 1)
            (unit, doubted, _) = field.wire.starts[-1]
            await until(lambda: field.device(1).failures == 2)
            assert field.wire.starts[-1][:2] == (unit, doubted)
            field.wire.fails = {}
            await asyncio.sleep(5)
            assert {where for _, where, at in field.wire.starts if at > virtual.now() - 2} == {
                *(0, 10, 20)
            }

    virtual.run(main())


def test_a_block_that_is_never_answered_costs_its_neighbours_nothing():
    async def main():
        field = Field(1.0, 1.0, profile=profile(0, 10, 20))
        field.wire.fails = {(1, 10): "silent"}
        async with field.running():
            await asyncio.sleep(60)
            start = virtual.now()
            await asyncio.sleep(600)
        mute = [at for at in field.wire.times(1, 10) if at >= start]
        assert 0.9 * DEAD_SHARE * 600 <= len(mute) * LATE_S <= 0.05 * 600
        for address in (0, 20):
            assert len([at for at in field.wire.times(1, address) if at >= start]) >= 0.98 * 600
        assert field.device(1).breaker is State.CLOSED

    virtual.run(main())


def test_alone_on_its_bus_a_silent_device_is_probed_often():
    async def main():
        field = Field(1.0)
        field.wire.fails = {1: "silent"}
        await field.run(60)
        assert len(field.wire.times(1)) >= 40

    virtual.run(main())


def test_after_an_outage_of_all_everybody_is_back_soon():
    async def main():
        field = Field(*[1.0] * 20)
        field.wire.fails = dict.fromkeys(range(1, 21), "silent")
        async with field.running():
            await asyncio.sleep(300)
            assert not any(field.device(unit).breaker is State.CLOSED for unit in range(1, 21))
            field.wire.fails = {}
            await asyncio.sleep(10)
            assert all(field.device(unit).breaker is State.CLOSED for unit in range(1, 21))

    virtual.run(main())


@pytest.mark.parametrize(
    ("interval_s", "latest_s"), [(1.0, READ_S), (0.35, READ_S), (0.25, WITHIN_S)]
)
def test_a_probe_waits_for_a_moment_at_which_it_delays_no_ruler(interval_s, latest_s):
    async def main():
        field = Field(interval_s, 5.0, urgent=(1,))
        async with field.running():
            await asyncio.sleep(5)
            field.wire.fails = {2: "silent"}
            await asyncio.sleep(60)
            assert field.device(2).breaker is State.OPEN
            start = virtual.now()
            await asyncio.sleep(600)
        ruler = [at for at in field.wire.times(1) if at >= start]
        gaps = [after - before for before, after in itertools.pairwise(ruler)]
        assert max(gaps) <= interval_s + latest_s + 1e-6
        probes = [at for at in field.wire.times(2) if at >= start]
        pause_s = LATE_S / DEAD_SHARE + PROBE_PATIENCE_S + 5
        assert len(probes) >= 600 // pause_s  # it is not starved

    virtual.run(main())
