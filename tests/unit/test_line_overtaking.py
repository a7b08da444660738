"""What an urgent request may overtake, and who else may speak on a line."""

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, DriverError, GivenUp, LineDown, Unavailable
from drivers.ports import serial
from drivers.protocols.modbus import Master
from tests import virtual
from tests.examples import examples
from tests.scripted_line import BYTE_S, GAP_S, ScriptedLine, rtu

WITHIN_S = 0.1
LATE_S = 0.5
RULER_LATE = rtu("02 03 02 11 11")
RULER = rtu("02 03 02 22 22")
COILS = rtu("01 01 01 05")
COILS_LATE = rtu("01 01 01 02")
WRITTEN = rtu("01 05 00 00 FF 00")


async def read_ruler(master: Master, *, urgent: bool = False) -> list[int]:
    return await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S, late_s=LATE_S, urgent=urgent)


async def read_coils(master: Master) -> list[bool]:
    return await master.read_coils(1, 0, 3, within_s=WITHIN_S, late_s=LATE_S)


async def switch(master: Master) -> None:
    await master.write_coil(1, 0, True, within_s=WITHIN_S)


async def missed(call) -> float:
    """A call whose answer does not come; when that was clear."""
    with pytest.raises(Unavailable, match="no answer"):
        await call
    return virtual.now()


def test_a_lamp_does_not_wait_for_the_rest_after_another_units_silence():
    async def main():
        line = ScriptedLine([], [(0.01, WRITTEN)], [(0.01, COILS)], [(0.01, RULER)])
        master = Master(line)
        over = await missed(read_ruler(master))
        lamp = master.for_lamps()
        await switch(lamp)
        assert await read_coils(lamp) == [True, False, True]
        assert line.sent_at[1] == over
        assert line.sent_at[2] - line.sent_at[1] == pytest.approx(0.01 + GAP_S)
        assert await read_ruler(master) == [0x2222]  # which waits as before
        assert line.sent_at[3] - line.sent_at[0] == pytest.approx(LATE_S + 15 * BYTE_S)

    virtual.run(main())


def test_a_write_that_is_repeated_believes_the_echo_of_either():
    async def main():
        line = ScriptedLine([], [(0.01, WRITTEN)])
        lamp = Master(line).for_lamps()
        over = await missed(switch(lamp))
        await switch(lamp)
        assert virtual.now() == pytest.approx(over + 0.01)

    virtual.run(main())


def test_an_urgent_read_waits_for_its_own_late_answer_and_a_write_for_nothing():
    async def main():
        line = ScriptedLine([], [(0.01, WRITTEN)], [(0.01, COILS)])
        lamp = Master(line).for_lamps()
        over = await missed(read_coils(lamp))
        await switch(lamp)
        assert line.sent_at[1] == over
        assert await read_coils(lamp) == [True, False, True]
        assert line.sent_at[2] - line.sent_at[0] == pytest.approx(LATE_S + 14 * BYTE_S)

    virtual.run(main())


@examples(200)
@given(late_at=st.floats(0.0, 0.03), own_at=st.floats(0.0, 0.03), cuts=st.sets(st.integers(1, 12)))
def test_a_late_answer_that_is_overtaken_is_dropped_or_costs_the_exchange(late_at, own_at, cuts):
    async def main():
        arriving = sorted([(late_at, RULER_LATE), (own_at, COILS)])
        heard = b"".join(data for _, data in arriving)
        edges = sorted({0, len(heard), len(arriving[0][1]), *cuts})
        chunks = [
            (arriving[a >= len(arriving[0][1])][0] + 1e-6 * a, heard[a:b])
            for a, b in itertools.pairwise(edges)
        ]
        line = ScriptedLine([], chunks, [(0.01, COILS)])
        master = Master(line)
        await missed(read_ruler(master))
        lamp = master.for_lamps()
        assert await read_coils(lamp) == [True, False, True]  # whichever of the two came first

    virtual.run(main())


@examples(200)
@given(noise=st.binary(max_size=20), late=st.sampled_from([b"", RULER_LATE, rtu("02 83 06")]))
def test_a_collision_never_becomes_a_value(noise, late):
    async def main():
        mixed = bytes(a ^ b for a, b in itertools.zip_longest(late, noise, fillvalue=0))
        line = ScriptedLine([], [(0.01, mixed), (0.02, COILS)])
        master = Master(line)
        await missed(read_ruler(master))
        with contextlib.suppress(DriverError):
            assert await read_coils(master.for_lamps()) == [True, False, True]

    virtual.run(main())


def test_a_wait_can_be_given_up():
    async def main():
        line = ScriptedLine([], [(0.01, WRITTEN)])
        master = Master(line)
        start = virtual.now()
        asyncio.get_running_loop().call_later(0.02, line.give_up, "the lamp goes first")
        with pytest.raises(GivenUp, match="bus: the lamp goes first"):
            await read_ruler(master)
        await switch(master.for_lamps())
        assert line.sent_at[1] - start == pytest.approx(0.02)
        assert line.free_at() - start == pytest.approx(LATE_S + 15 * BYTE_S)
        line.give_up("nobody waits")

    virtual.run(main())


def test_a_device_that_is_later_than_its_profile_says_is_waited_for_longer_from_then_on():
    async def main():
        line = ScriptedLine([], [], [(0.01, RULER)])
        master = Master(line)
        await missed(read_ruler(master))
        line.feed([(0.9, RULER_LATE)])
        await asyncio.sleep(2)
        await missed(read_ruler(master))
        late_s = 15 * BYTE_S + WITHIN_S + 0.9
        assert await read_ruler(master) == [0x2222]
        assert line.sent_at[2] - line.sent_at[1] >= 1.4 * late_s

    virtual.run(main())


REQUEST = rtu("02 03 00 05 00 01")
"""Somebody else asks our ruler for another register."""


@examples(200)
@given(asked_at=st.floats(-0.6, 0.05), answer_after=st.floats(0.001, LATE_S))
def test_the_answer_to_another_master_is_not_taken(asked_at, answer_after):
    async def main():
        line = ScriptedLine([(0.01, RULER)], [(0.01, RULER)])
        master = Master(line)
        line.feed([(asked_at + 0.6, REQUEST), (asked_at + 0.6 + answer_after, RULER_LATE)])
        await asyncio.sleep(0.6)
        values = []
        for _ in range(2):
            with contextlib.suppress(BadReply, Unavailable):
                values += await read_ruler(master)
        assert set(values) <= {0x2222}

    virtual.run(main())


def test_a_line_on_which_another_master_never_rests_is_unavailable():
    async def main():
        line = ScriptedLine(*[[(0.01, RULER)]] * 3)
        master = Master(line)
        line.feed([(0.2 * i, REQUEST) for i in range(20)])
        await asyncio.sleep(1)
        with pytest.raises(Unavailable, match="bus: somebody else speaks on this line"):
            await read_ruler(master)
        await switch_blindly(master)
        await asyncio.sleep(4)
        assert await read_ruler(master) == [0x2222]

    virtual.run(main())


async def switch_blindly(master: Master) -> None:
    """A lamp is switched all the same; that nobody could confirm it is another matter."""
    at = virtual.now()
    with pytest.raises(DriverError):
        await switch(master.for_lamps())
    assert virtual.now() - at <= WITHIN_S + 16 * BYTE_S + GAP_S


def test_clicks_on_an_idle_line_keep_nobody_waiting():
    async def main():
        line = ScriptedLine([(0.01, RULER)])
        line.feed([(0.1 * i, b"\0\xff") for i in range(10)])
        await asyncio.sleep(0.95)
        at = virtual.now()
        assert await read_ruler(Master(line)) == [0x2222]
        assert line.sent_at[0] == at

    virtual.run(main())


def test_who_had_the_line_before_us_may_still_be_answered():
    async def main():
        line = ScriptedLine([(0.01, WRITTEN)], [(0.01, COILS)])
        lamp = Master(line).for_lamps()
        await line.close()
        line.refuses = "no such port"
        with pytest.raises(LineDown, match="bus: no such port"):
            await read_coils(lamp)
        line.refuses = None
        await asyncio.sleep(1)
        opened_at = virtual.now()
        await switch(lamp)
        line.feed([(0.2, COILS_LATE)])
        with pytest.raises(Unavailable, match="somebody else"):
            await read_coils(lamp)
        assert await read_coils(lamp) == [True, False, True]
        assert line.sent_at[0] == opened_at
        assert line.sent_at[1] - opened_at == pytest.approx(0.01 + 0.2 + LATE_S)

    virtual.run(main())


@pytest.mark.parametrize("at_once", [1, 5, 8, 15])
def test_an_echo_is_skipped_where_the_port_has_one(at_once):
    request = rtu("02 03 00 00 00 01 84 39")
    heard: list[bytes] = []

    def scan(received: bytearray) -> bytes | None:
        heard.append(bytes(received))
        return bytes(received) if len(received) == len(RULER) else None

    line = serial.SerialLine("bus", serial.Config(kind="serial", device="none", echo=True))
    look = line.expect(request, scan)
    received, answer = bytearray(), None
    for i in range(0, 15, at_once):
        received += (request + RULER)[i : i + at_once]
        answer = look(received)
    assert answer == RULER
    assert all(RULER.startswith(part) for part in heard)
    with pytest.raises(BadReply, match="the echo is not what was sent"):
        line.expect(request, scan)(bytearray(RULER))
