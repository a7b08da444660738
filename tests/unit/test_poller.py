"""The bus: who is read next, what a lamp may overtake, and what a dead device may cost."""

import asyncio
import contextlib
import logging
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import loader
from drivers.device import Device
from drivers.errors import BadReply, DriverError, Misconfigured, Unavailable
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from edge import poller
from edge.poller import Bus, Heard, Job
from tests import virtual
from tests.scripted_line import ScriptedLine

READ_S = 0.03
WITHIN_S = 0.3
PROFILE = loader.parse(
    {
        "title": "ruler",
        "source": "this test",
        "line": {"reply_within_ms": round(WITHIN_S * 1000)},
        "measure": [{"quantity": "depth", "address": 0, "unit": "cm"}],
    },
    Profile,
    "test",
)
(BLOCK,) = PROFILE.blocks()


class Wire(Master):
    """Answers by unit id. Silence costs the time limit, and as long a rest before the next read."""

    def __init__(self):
        super().__init__(ScriptedLine())
        self.read_s = {}
        self.fails = {}
        self.on_start = lambda unit: None
        self.starts = []
        self.dead_s = 0.0
        self._rest_s = 0.0
        self._is_busy = False

    async def read_registers(self, unit, function, address, count, *, within_s):
        assert not self._is_busy, "two exchanges at once"
        self._is_busy = True
        try:
            self.on_start(unit)
            self.starts.append((unit, virtual.now()))
            await asyncio.sleep(self._rest_s)
            self._rest_s = 0.0
            if (error := self.fails.get(unit)) is None:
                await asyncio.sleep(self.read_s.get(unit, READ_S))
                return [unit]
            if isinstance(error, Unavailable):
                await asyncio.sleep(within_s)
                self._rest_s = within_s
                self.dead_s += 2 * within_s
            raise error
        finally:
            self._is_busy = False

    def times(self, unit):
        return [at for who, at in self.starts if who == unit]


class Field:
    """A bus with one device for each interval, unit ids from 1."""

    def __init__(self, *intervals_s, urgent=()):
        self.wire = Wire()
        self.heard: list[Heard] = []
        jobs = [
            Job(f"unit-{unit}", Device(self.wire, PROFILE, unit), BLOCK, s, urgent=unit in urgent)
            for unit, s in enumerate(intervals_s, 1)
        ]
        self.bus = Bus("bus", jobs, self.heard.append)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.bus.run(), name="bus")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def run(self, seconds):
        async with self.running():
            await asyncio.sleep(seconds)


JOBS = st.lists(
    st.tuples(st.floats(0.05, 5), st.floats(0.001, 0.3), st.booleans()), min_size=1, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(JOBS)
def test_urgent_ones_first_and_then_the_earliest_deadline(jobs):
    async def main():
        field = Field(*(interval_s for interval_s, _, _ in jobs))
        field.wire.read_s = {unit: read_s for unit, (_, read_s, _) in enumerate(jobs, 1)}
        for job, (_, _, urgent) in zip(field.bus.jobs, jobs, strict=True):
            job.urgent = urgent

        def is_right(unit):
            chosen = field.bus.jobs[unit - 1]
            due = [job for job in field.bus.jobs if job.due <= virtual.now()]
            assert chosen in due
            if not chosen.urgent:
                assert not any(job.urgent for job in due)
            rivals = [job.due for job in due if job.urgent == chosen.urgent]
            assert chosen.due == min(rivals)

        field.wire.on_start = is_right
        await field.run(20)

    virtual.run(main())


def test_every_sensor_keeps_its_interval():
    async def main():
        field = Field(0.5, 2.0, 1.0)
        await field.run(60.01)
        for unit, interval_s in ((1, 0.5), (2, 2.0), (3, 1.0)):
            times = field.wire.times(unit)
            assert len(times) == pytest.approx(60 / interval_s, abs=1)
            late = [at - (times[0] + i * interval_s) for i, at in enumerate(times)]
            assert max(late) <= 2 * READ_S  # the other two, at worst
        firsts = [field.wire.times(unit)[0] for unit in (1, 2, 3)]
        assert max(firsts) - min(firsts) > 0.3  # they do not start in a heap

    virtual.run(main())


@settings(max_examples=40, deadline=None)
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
        field = Field(0.5)
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


@pytest.mark.parametrize("dead", [1, 2, 3])
def test_silent_devices_together_cost_a_twentieth_of_the_bus(dead):
    async def main():
        field = Field(*[1.0] * 4)
        field.wire.fails = {unit: Unavailable("no answer") for unit in range(1, dead + 1)}
        async with field.running():
            await asyncio.sleep(10)  # time to find out
            field.wire.dead_s = 0.0
            start = virtual.now()
            await asyncio.sleep(1200)
        # One probe more or less is 0.6 s of these 20 minutes.
        assert field.wire.dead_s <= poller.DEAD_SHARE * 1200 + 0.6
        for unit in range(dead + 1, 5):
            times = [at for at in field.wire.times(unit) if at >= start]
            assert len(times) >= 0.99 * 1200
        for unit in range(1, dead + 1):
            assert len([at for at in field.wire.times(unit) if at >= start]) >= 1200 / 60

    virtual.run(main())


def test_a_device_that_answers_again_is_read_as_before(caplog):
    caplog.set_level(logging.INFO, "shuichi.bus")

    async def main():
        field = Field(1.0, 1.0)
        async with field.running():
            await asyncio.sleep(5)
            field.wire.fails = {1: Unavailable("bus: no answer within 300 ms")}
            await asyncio.sleep(60)
            field.wire.fails = {}
            back_at = virtual.now()
            await asyncio.sleep(30)
        times = [at for at in field.wire.times(1) if at >= back_at]
        assert times[0] - back_at <= 2 * WITHIN_S / poller.DEAD_SHARE
        assert len([at for at in times if at >= times[0] + 5]) >= virtual.now() - times[0] - 5 - 2
        values = [heard.values[0] for heard in field.heard if heard.sensor == "unit-1"]
        assert {(v.value, v.reason) for v in values} == {(0.01, ""), (None, "no answer")}

    virtual.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "unit-1: bus: no answer within 300 ms",
        "unit-1: silent; from now on only probed",
        next(r.getMessage() for r in caplog.records if "answers again after" in r.getMessage()),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("x"), "no answer"),
        (BadReply("x"), "bad reply"),
        (Misconfigured("x"), "refused"),
    ],
)
def test_a_failed_read_is_heard_as_missing_values_with_the_reason(error: DriverError, reason):
    async def main():
        field = Field(1.0)
        field.wire.fails = {1: error}
        start = virtual.now()
        await field.run(0.5)
        (heard,) = field.heard
        assert [(v.value, v.reason) for v in heard.values] == [(None, reason)]
        took_s = WITHIN_S if isinstance(error, Unavailable) else 0.0
        assert heard.at - start == pytest.approx(took_s)
        assert heard.at_ms == pytest.approx(heard.at * 1000, abs=1)

    virtual.run(main())
