"""What all ports share: turns, time limits, and rest until no late answer can come."""

import asyncio
import contextlib
import os
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, DriverError, Misconfigured, Unavailable
from drivers.ports import serial
from drivers.protocols.modbus import Master
from tests import virtual
from tests.examples import examples
from tests.scripted_line import BYTE_S, GAP_S, ScriptedLine, rtu

WITHIN_S = 0.1
REST_S = 2 * WITHIN_S + (8 + 7) * BYTE_S
"""From a request, until no late answer can come."""

LATE = rtu("02 03 02 11 11")
OWN = rtu("02 03 02 22 22")
OTHER = rtu("03 03 02 33 33")


async def read(master: Master) -> list[int]:
    """The ruler's depth, cm."""
    return await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S)


def test_silence_costs_its_time_limit_and_then_as_long_a_rest():
    async def main():
        line = ScriptedLine([], [(0.01, rtu("02 03 02 00 1F"))])
        master = Master(line)
        start = virtual.now()
        with pytest.raises(Unavailable, match=r"bus: no answer within 100 ms$"):
            await read(master)
        over = virtual.now()
        assert over - start == pytest.approx((8 + 7) * BYTE_S + WITHIN_S)
        assert line.free_at() - start == pytest.approx(REST_S)
        assert await read(master) == [31]
        assert line.sent_at[1] - start == pytest.approx(REST_S)

    virtual.run(main())


def test_the_rest_lasts_as_long_as_the_profile_says_however_short_the_wait():
    async def main():
        line = ScriptedLine([], [(0.01, OWN)])
        master = Master(line)
        with pytest.raises(Unavailable, match="within 20 ms"):
            await master.read_registers(2, 3, 0, 1, within_s=0.02, late_s=0.7)
        assert await read(master) == [0x2222]
        assert line.sent_at[1] - line.sent_at[0] == pytest.approx(0.7 + 15 * BYTE_S)

    virtual.run(main())


def test_the_line_tells_when_the_last_answer_came_and_how_long_it_took():
    async def main():
        line = ScriptedLine([(8 * BYTE_S + 0.03 + 7 * BYTE_S, OWN)])
        start = virtual.now()
        await read(Master(line))
        assert line.answered_at - start == pytest.approx(15 * BYTE_S + 0.03)
        assert line.answer_s == pytest.approx(0.03)

    virtual.run(main())


def test_after_an_answer_the_line_rests_for_the_gap_only():
    async def main():
        answer = [(0.01, rtu("02 03 02 00 1F"))]
        line = ScriptedLine(answer, [(0.01, rtu("02 83 02"))], answer)
        master = Master(line)
        await read(master)
        with pytest.raises(Misconfigured):
            await read(master)
        await read(master)
        assert line.sent_at[1] - line.sent_at[0] == pytest.approx(0.01 + GAP_S)
        assert line.sent_at[2] - line.sent_at[1] == pytest.approx(0.01 + GAP_S)

    virtual.run(main())


async def _fail(how: str, line: ScriptedLine, master: Master) -> None:
    """An exchange that ends without its answer, at a moment at which one may still come."""
    match how:
        case "silent":
            with pytest.raises(Unavailable):
                await read(master)
        case "garbled":
            line.feed([(0.02, b"\xff\xff")])
            with pytest.raises(BadReply):
                await read(master)
        case "cancelled":
            task = asyncio.create_task(read(master), name="caller")
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        case "lost":
            asyncio.get_running_loop().call_later(0.02, line.break_off, "adapter gone")
            with pytest.raises(Unavailable, match="bus: adapter gone"):
                await read(master)


def left_s(line: ScriptedLine) -> float:
    """How long a late answer to the first request can still come."""
    return line.sent_at[0] + REST_S - virtual.now()


FAILURES = st.sampled_from(["silent", "garbled", "cancelled", "lost"])
STRAYS = st.lists(
    st.tuples(
        st.floats(0.0, REST_S),
        st.one_of(
            st.just(LATE),
            st.integers(1, 6).map(lambda cut: LATE[:cut]),
            st.integers(1, 6).map(lambda cut: LATE[cut:]),
            st.just(rtu("02 83 02")),
            st.binary(min_size=1, max_size=12),
        ),
    ),
    max_size=6,
)


@examples(300)
@given(how=FAILURES, strays=STRAYS)
def test_what_comes_before_the_next_request_is_never_its_answer(how, strays):
    async def main():
        line = ScriptedLine([], [(0.01, OWN)])
        master = Master(line)
        await _fail(how, line, master)
        line.feed([(min(after_s, left_s(line)), data) for after_s, data in strays])
        assert await read(master) == [0x2222]
        assert line.sent_at[1] - line.sent_at[0] >= REST_S - 1e-9

    virtual.run(main())


@examples(100)
@given(how=FAILURES, cut=st.integers(1, 6), together=st.booleans())
def test_the_tail_of_a_late_answer_never_becomes_a_value(how, cut, together):
    """It spoils the answer behind it, or is passed over as stray bytes."""

    async def main():
        tail = LATE[cut:]
        spoilt = [(0.01, tail + OWN)] if together else [(0.005, tail), (0.01, OWN)]
        line = ScriptedLine([], spoilt, [(0.01, OWN)])
        master = Master(line)
        await _fail(how, line, master)
        line.feed([(left_s(line), LATE[:cut])])
        with contextlib.suppress(DriverError):
            assert await read(master) == [0x2222]
            line.answers = [[(0.01, OWN)]]
        assert await read(master) == [0x2222]

    virtual.run(main())


@examples(100)
@given(st.floats(0.0, 0.2))
def test_a_caller_that_leaves_at_any_moment_leaves_a_usable_line(leaves_after_s):
    """While the line rests, while it waits for the answer, and when it has come."""

    async def main():
        line = ScriptedLine([], [(0.02, LATE)])
        master = Master(line)
        await _fail("silent", line, master)
        rested = line.sent_at[0] + REST_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(leaves_after_s):
                assert await read(master) == [0x1111]
        if len(line.sent) == 2 and virtual.now() < line.sent_at[1] + 0.02:
            rested = line.sent_at[1] + REST_S
        line.answers = [[(0.01, OWN)]]
        assert await read(master) == [0x2222]
        assert line.sent_at[-1] >= rested - 1e-9

    virtual.run(main())


def test_callers_take_turns():
    async def main():
        answers = [rtu(f"{unit:02x} 03 02 00 {unit:02x}") for unit in range(1, 6)]
        line = ScriptedLine(*([(0.01, answer)] for answer in answers))
        master = Master(line)
        results = await asyncio.gather(
            *(master.read_registers(unit, 3, 0, 1, within_s=WITHIN_S) for unit in range(1, 6))
        )
        assert results == [[unit] for unit in range(1, 6)]

    virtual.run(main())


def test_a_line_lost_while_it_rests_is_opened_again():
    async def main():
        line = ScriptedLine([], [(0.01, OWN)])
        master = Master(line)
        with pytest.raises(Unavailable):
            await read(master)
        asyncio.get_running_loop().call_later(WITHIN_S / 2, line.break_off, "connection lost")
        assert await read(master) == [0x2222]
        assert line.opened == 1

    virtual.run(main())


def test_a_line_that_takes_no_bytes_is_unavailable():
    async def main():
        line = ScriptedLine()
        line.refuses = "write failed"
        with pytest.raises(Unavailable, match=r"^bus: write failed$"):
            await read(Master(line))
        assert not line.is_open

    virtual.run(main())


def test_a_serial_line_that_fails_at_the_write_is_unavailable():
    adapter, terminal = os.openpty()

    async def main():
        config = serial.Config(kind="serial", device=os.ttyname(terminal))
        async with serial.open("bus", config) as port:
            await port.open()
            os.close(adapter)
            with pytest.raises(Unavailable, match=r"^bus: write failed: Input/output error$"):
                await read(Master(port))

    try:
        virtual.run(main())
    finally:
        os.close(terminal)


def test_a_line_that_cannot_be_opened_is_tried_once_a_second():
    async def main():
        line = ScriptedLine([(0.01, OWN)])
        master = Master(line)
        await line.close()
        line.refuses = "no such port"
        for _ in range(30):
            with pytest.raises(Unavailable, match=r"^bus: no such port$"):
                await read(master)
            await asyncio.sleep(0.1)
        assert line.opened == 3
        line.refuses = None
        await asyncio.sleep(1.0)
        assert await read(master) == [0x2222]

    virtual.run(main())


@pytest.mark.parametrize("waits_s", [(0.5, 0.1), (0.1, 0.5)])
def test_each_exchange_has_its_own_limit_whatever_that_of_the_one_before_was(waits_s):
    async def main():
        line = ScriptedLine([(0.01, OWN)], [], framing="tcp", byte_s=0.0)
        line.gap_s = 0.0
        scan = iter([b"1", None]).__next__
        for wait_s in waits_s:
            asked_at = virtual.now()
            asking = line.exchange(b"?", lambda _: scan(), answer_bytes=1, answer_within_s=wait_s)
            if wait_s == waits_s[0]:
                assert await asking == b"1"
                continue
            with pytest.raises(Unavailable, match=rf"within {wait_s * 1000:.0f} ms"):
                await asking
            assert virtual.now() - asked_at == pytest.approx(wait_s)

    virtual.run(main())


def test_answers_that_come_in_time_do_not_cost_a_timer_each():
    async def main():
        loop, line = asyncio.get_running_loop(), ScriptedLine(*[[(0.001, OWN)]] * 20)
        line.gap_s = 0.0
        with mock.patch.object(loop, "call_at", wraps=loop.call_at) as timers:
            for _ in range(20):
                await read(Master(line))
        assert timers.call_count < 20 + 5  # 20 are those of the scripted answers

    virtual.run(main())
