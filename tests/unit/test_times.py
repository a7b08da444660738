"""No two readings of a series have one time, whatever the clock does: the store would keep one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import lanes
from edge.clock import Source
from edge.lanes import LANES, NEAR_MS, Lanes
from tests.examples import examples
from tests.machine import UTC_MS, FakeMachine
from tests.outbox_gateway import gateway
from wire.reading import Quality, Quantity, Reading


def times(readings):
    return [(one.sensor, one.quantity, one.at_ms) for one in readings]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 5000)),
        st.tuples(st.just("set"), st.sampled_from([-1, -2, -3, -60, -3600, -7200, -86_400, 5])),
        st.tuples(st.just("read"), st.integers(1, 30)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=80,
)


@examples(300)
@given(OPERATIONS)
def test_each_reading_of_a_series_has_a_time_of_its_own(operations):
    now_ms, given, one = UTC_MS, set(), Lanes()
    taken: list[int] = []
    for doing, amount in operations:
        if doing == "wait":
            now_ms += amount
        elif doing == "set":
            now_ms += 1000 * amount
        elif doing == "restart":
            one = Lanes(taken)
        else:
            for _ in range(amount):
                at_ms, true = one.place("a", now_ms)
                assert at_ms not in given
                assert not true or abs(at_ms - now_ms) <= NEAR_MS + 10
                given.add(at_ms)
                reading = Reading("here", "a", Quantity.DEPTH, 1.0, at_ms)
                taken = lanes.note(taken, [reading])


def test_a_clock_that_runs_well_leaves_times_as_they_are():
    one = Lanes()
    for second in range(100):
        assert one.place("a", UTC_MS + 1000 * second) == (UTC_MS + 1000 * second, True)
        assert one.place("b", UTC_MS + 1000 * second + 7) == (UTC_MS + 1000 * second + 5, True)


@pytest.mark.parametrize("back_s", [1, 60, 7200, 86_400])
def test_a_clock_that_is_set_back_shows_the_right_time_until_all_lanes_are_taken(back_s):
    one, given = Lanes(), set()
    for turn in range(LANES + 1):
        for i in range(10):
            asked = UTC_MS + 1000 * back_s * 10 + 500 * i
            at_ms, true = one.place("a", asked)
            assert at_ms not in given
            given.add(at_ms)
            if turn < LANES:
                assert true
                assert abs(at_ms - asked) <= 10 * LANES
    assert not one.place("a", UTC_MS).true


@pytest.mark.parametrize("seed", range(6))
async def test_a_gateway_gives_no_time_twice(tmp_path, seed):
    """Sealer, keeper and outbox, with a clock that is late, is set, and stalls, and reboots."""
    dice = random.Random(seed)
    machine = FakeMachine(utc_ms=UTC_MS if seed % 2 else 7000, up_s=7)
    sealed: list[Reading] = []
    source = Source.TRUSTED if seed % 2 else Source.NTP
    for boot in range(4):
        async with gateway(tmp_path / "o.db", machine, source) as gw:
            seen: dict[object, Reading] = {}
            for _ in range(25):
                match dice.randrange(8):
                    case 0:
                        machine.step(dice.choice([-1, -2, -30, -3600, -7200, -90_000, 3]))
                    case 1 if machine.utc_ms() < UTC_MS / 2:
                        machine.step(UTC_MS / 1000)
                        machine.ntp = True
                    case 2:
                        await gw.sealer.seal()
                    case 3:
                        await gw.look()
                    case 4:
                        for _ in range(5):  # a stall: read at once
                            machine.up_s += 0.0002
                            gw.add_now("rain")
                    case _:
                        gw.add(3, dice.choice(["rain", "ruler"]))
            if machine.utc_ms() < UTC_MS / 2 and boot == 3:
                machine.step(UTC_MS / 1000)
                machine.ntp = True
            await gw.look(3)
            await gw.sealer.seal()
            await gw.look(3)
            for key, batch in (await gw.content()).items():
                seen.update({(key.life, key.number, i): r for i, r in enumerate(batch.readings)})
            sealed = list(seen.values())
        machine = FakeMachine(
            f"boot-{boot + 2}", utc_ms=machine.utc_ms() + 3000, up_s=5, ntp=machine.ntp
        )
    found = times(sealed)
    assert len(found) > 100
    assert len(set(found)) == len(found)


async def test_a_device_that_is_read_twice_in_a_millisecond_gives_two_readings(tmp_path):
    async with gateway(tmp_path / "o.db") as gw:
        for _ in range(10):
            gw.add_now("rain")
        gw.machine.wait(1)
        gw.add_now("rain")
        await gw.sealer.seal()
        found = await gw.readings()
        assert len({one.at_ms for one in found}) == 11
        assert {one.quality for one in found} == {Quality.GOOD}
        assert found[-1].at_ms - found[0].at_ms == 1000
