"""The bus and its devices: who is believed to be alive, and what is told of it."""

import asyncio
import contextlib
import logging

import pytest

from drivers.device import Device
from drivers.errors import DriverError
from drivers.protocols.modbus import Master
from edge.agenda import DEAD_SHARE, Job
from edge.health import SHORTEST_WAIT_S, State
from tests import virtual
from tests.fieldbus import LATE_S, READ_S, WITHIN_S, Field, profile, until


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
        "unit-1: bus: unit 1 has no such register (function 3, address 10, 1 register, exception 2)"
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

    virtual.run(main())
