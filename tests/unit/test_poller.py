"""The bus: who is read next, what a lamp may overtake, and what a dead device may cost."""

import asyncio
import contextlib
import itertools
import logging
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import loader
from drivers.device import Device
from drivers.errors import BadReply, DriverError
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from edge.agenda import DEAD_SHARE, PROBE_PATIENCE_S, Job
from edge.health import SHORTEST_WAIT_S, SILENT_AFTER, State
from edge.poller import Bus, Heard
from tests import virtual
from tests.scripted_line import ScriptedLine, crc

READ_S = 0.03
WITHIN_S = 0.3
LATE_S = 0.6


def profile(*addresses: int, within_s: float = WITHIN_S) -> Profile:
    """A device that measures at these addresses, each read for itself."""
    quantities = ("depth", "level", "displacement")
    return loader.parse(
        {
            "title": "ruler",
            "source": "this test",
            "line": {"reply_within_ms": round(within_s * 1000), "merge_gap": 0},
            "measure": [
                {"quantity": quantity, "address": address, "unit": "cm"}
                for quantity, address in zip(quantities, addresses, strict=False)
            ],
        },
        Profile,
        "test",
    )


PROFILE = profile(0)


class Wire(ScriptedLine):
    """A line without a wire time, on which every unit answers its own number after a while."""

    def __init__(self):
        super().__init__(byte_s=0.0)
        self.read_s = {}
        self.fails = {}  # unit, or unit and address → "silent", "garbled" or "refuses"
        self.on_start = lambda unit: None
        self.starts = []

    def write(self, data):
        unit, address = data[0], int.from_bytes(data[2:4], "big")
        self.on_start(unit)
        self.starts.append((unit, address, virtual.now()))
        fault = self.fails.get(unit, self.fails.get((unit, address)))
        if fault == "silent":
            self.answers = []
        else:
            body = bytes((unit, 0x83, 2)) if fault == "refuses" else bytes((unit, 3, 2, 0, unit))
            tail = b"\0\0" if fault == "garbled" else crc(body)
            self.answers = [[(self.read_s.get(unit, READ_S), body + tail)]]
        super().write(data)

    def times(self, unit, address=None):
        return [at for who, where, at in self.starts if who == unit and address in (None, where)]


async def until(condition, seconds=20):
    """Until then, in steps of a hundredth of a virtual second."""
    end = virtual.now() + seconds
    while not condition():
        assert virtual.now() < end
        await asyncio.sleep(0.01)


class Field:
    """A bus with one device for each interval, unit ids from 1."""

    def __init__(self, *intervals_s, urgent=(), profile=PROFILE):
        self.wire = Wire()
        self.heard: list[Heard] = []
        jobs = []
        for unit, interval_s in enumerate(intervals_s, 1):
            device = Device(Master(self.wire), profile, unit)
            jobs += [
                Job(f"unit-{unit}", device, block, interval_s, urgent=unit in urgent)
                for block in profile.blocks()
            ]
        self.bus = Bus("bus", jobs, self.heard.append)

    def device(self, unit):
        """What the bus says of a device."""
        return next(one for one in self.bus.state().devices if one.unit == unit)

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
        intervals_s = [interval_s for interval_s, _, _ in jobs]
        field = Field(*intervals_s, profile=profile(0, within_s=1.0))
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


def test_a_lamp_does_not_wait_for_a_probe():
    async def main():
        field = Field(1.0, 1.0)
        field.wire.fails = {2: "silent"}
        lamp = Master(field.wire).for_lamps()
        async with field.running():
            await until(lambda: field.device(2).breaker is State.PROBING)
            await asyncio.sleep(0.05)
            failures, asked_at = field.device(2).failures, virtual.now()
            with contextlib.suppress(DriverError):  # this line answers reads only
                await field.bus.first(lambda: lamp.write_coil(9, 0, True, within_s=0.1))
            assert field.wire.times(9) == [asked_at]
            assert field.device(2).failures == failures  # it had no time to answer
            assert field.device(2).breaker is State.OPEN
            await until(lambda: field.device(2).breaker is State.PROBING, 30)

    virtual.run(main())


def test_a_device_that_answers_again_is_read_as_before(caplog):
    caplog.set_level(logging.INFO, "shuichi.bus")

    async def main():
        field = Field(1.0, 1.0)
        async with field.running():
            await asyncio.sleep(5)
            field.wire.fails = {1: "silent"}
            await asyncio.sleep(60)
            field.wire.fails = {}
            back_at = virtual.now()
            await asyncio.sleep(30)
        times = [at for at in field.wire.times(1) if at >= back_at]
        assert times[0] - back_at <= LATE_S / DEAD_SHARE
        assert len([at for at in times if at >= times[0] + 5]) >= virtual.now() - times[0] - 5 - 2
        values = [heard.values[0] for heard in field.heard if heard.sensor == "unit-1"]
        assert {(v.value, v.reason) for v in values} == {(0.01, ""), (None, "no answer")}

    virtual.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "unit-1: bus: no answer within 100 ms",
        "unit-1: silent; from now on only probed",
        next(r.getMessage() for r in caplog.records if "answers again after" in r.getMessage()),
    ]


def test_a_device_that_gets_slower_is_not_given_up_for_it():
    async def main():
        field = Field(0.5, 0.5)
        async with field.running():
            await asyncio.sleep(10)
            assert field.device(1).wait_s == SHORTEST_WAIT_S
            field.wire.read_s = {1: 0.25}
            await asyncio.sleep(10)
        values = [heard.values[0].value for heard in field.heard if heard.sensor == "unit-1"]
        assert values.count(None) == 1
        assert 0.25 < field.device(1).wait_s <= WITHIN_S
        assert field.device(1).failed == 1

    virtual.run(main())


def test_without_a_line_no_device_is_blamed(caplog):
    caplog.set_level(logging.INFO, "shuichi.bus")

    async def main():
        field = Field(1.0, 1.0)
        async with field.running():
            await asyncio.sleep(5)
            field.wire.break_off("adapter gone")
            field.wire.refuses = "no such port"
            await asyncio.sleep(60)
            assert [field.device(unit).breaker for unit in (1, 2)] == [State.CLOSED] * 2
            missing = [heard.values[0] for heard in field.heard if heard.values[0].value is None]
            assert {value.reason for value in missing} == {"no line"}
            assert 118 <= len(missing) <= 122  # each at its time
            field.wire.refuses = None
            await asyncio.sleep(5)
            assert field.heard[-1].values[0].value is not None

    virtual.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "bus: no such port",
        "bus: the line is back",
    ]


def test_what_a_device_refuses_is_told_once_and_is_no_silence(caplog):
    async def main():
        field = Field(1.0, profile=profile(0, 10))
        field.wire.fails = {(1, 10): "refuses"}
        await field.run(30)
        assert field.device(1).breaker is State.CLOSED
        assert len(field.wire.times(1, 10)) >= 29

    virtual.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "unit-1: bus: unit 1 has no such register (function 3, exception 2)"
    ]


def test_a_new_config_leaves_alone_what_it_does_not_change():
    async def main():
        field = Field(1.0, 1.0, 1.0)
        field.wire.fails = {1: "silent"}
        first, second, third = field.bus.jobs
        async with field.running():
            await asyncio.sleep(10)
            again = Device(Master(field.wire), profile(0), 1)
            other = Device(Master(field.wire), profile(0), 3)
            fourth = Device(Master(field.wire), profile(0), 4)
            field.bus.change(
                [
                    Job("unit-1", again, first.block, 1.0, urgent=False),
                    Job("unit-3", other, third.block, 0.5, urgent=True),
                    Job("unit-4", fourth, first.block, 1.0, urgent=False),
                ]
            )
            start = virtual.now()
            await asyncio.sleep(20)
        assert field.bus.jobs[0] is first
        assert field.device(1).breaker is State.OPEN
        asked = {unit: [at for at in field.wire.times(unit) if at > start] for unit in range(1, 5)}
        assert len(asked[1]) <= 2
        assert asked[2] == []
        assert len(asked[3]) >= 38
        assert len(asked[4]) >= 19
        assert second not in field.bus.jobs

    virtual.run(main())


def test_the_state_tells_how_bus_and_devices_are():
    async def main():
        field = Field(1.0, 2.0)
        field.wire.read_s = {1: 0.02, 2: 0.04}
        await field.run(60)
        state = field.bus.state()
        assert state.port == "bus"
        assert state.busy == pytest.approx(0.02 / 1 + 0.04 / 2, abs=0.005)
        assert state.cycle_s == pytest.approx(0.06)
        assert (state.overruns, state.failed) == (0, 0)
        assert state.median_s == pytest.approx(0.02, abs=1e-6)
        assert state.p95_s == pytest.approx(0.04, abs=1e-6)
        one, two = state.devices
        assert (one.sensor, one.unit, one.breaker, two.sensor) == ("unit-1", 1, "closed", "unit-2")
        assert two.cycle_s == pytest.approx(2.0)
        assert two.median_s == pytest.approx(0.04, abs=1e-6)

    virtual.run(main())


@pytest.mark.parametrize(
    ("fault", "reason", "took_s"),
    [
        ("silent", "no answer", WITHIN_S),
        ("garbled", "bad reply", READ_S),
        ("refuses", "refused", READ_S),
    ],
)
def test_a_failed_read_is_heard_as_missing_values_with_the_reason(fault, reason, took_s):
    async def main():
        field = Field(1.0)
        field.wire.fails = {1: fault}
        start = virtual.now()
        await field.run(0.5)
        (heard,) = field.heard
        assert [(v.value, v.reason) for v in heard.values] == [(None, reason)]
        assert heard.at - start == pytest.approx(took_s)
        assert heard.at_ms == pytest.approx(heard.at * 1000, abs=1)

    virtual.run(main())


def test_a_reading_carries_the_time_at_which_its_answer_came():
    """Not the time at which somebody got round to it."""

    async def main():
        field = Field(1.0)
        start = virtual.now()
        # As if the loop were busy for a while just when the answer has come.
        asyncio.get_running_loop().call_at(start + READ_S + 1e-9, virtual.pass_by, 0.2)
        await field.run(0.5)
        (heard,) = field.heard
        assert heard.at - start == pytest.approx(READ_S)
        assert heard.at_ms == pytest.approx((start + READ_S) * 1000, abs=1)

    virtual.run(main())
