"""What goes wrong in a bus task costs a read, never the bus; and what a device does answer is said
as it is."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import loader
from drivers.device import Device
from drivers.errors import BadReply, LineDown, Refused, Unavailable
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from edge.agenda import Job
from edge.health import State
from edge.poller import Bus, Heard
from tests import virtual
from tests.examples import examples
from tests.fieldbus import READ_S, Field, profile
from tests.scripted_line import ScriptedLine, crc, rtu, tcp

DEPTH = rtu("02 03 02 00 1F")


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError(6, "ENXIO"), "no line"), (ValueError("odd"), "bad reply")]
)
def test_whatever_a_read_raises_costs_that_read_and_is_told_once(
    monkeypatch, caplog, error, reason
):
    async def fail(*_, **__):
        raise error

    async def main():
        field = Field(1.0, 1.0)
        monkeypatch.setattr(field.bus.jobs[0].device, "read", fail)
        await field.run(10.5)
        values = [heard.values[0] for heard in field.heard if heard.sensor == "unit-1"]
        assert {value.reason for value in values} == {reason}
        assert len(values) >= 2
        assert len(field.wire.times(2)) >= 10

    virtual.run(main())
    assert len([r for r in caplog.records if r.exc_info]) == 1


def test_whatever_becomes_of_a_reading_the_next_one_is_made(caplog):
    def fail(heard):
        raise RuntimeError("no space left")

    async def main():
        field = Field(1.0)
        bus = Bus("bus", field.bus.jobs, fail)
        field.bus = bus
        await field.run(10.5)
        assert len(field.wire.times(1)) >= 10

    virtual.run(main())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(5, "EIO")])
def test_whatever_an_action_raises_is_the_callers(error):
    async def fail():
        raise error

    async def main():
        field = Field(1.0)
        async with field.running():
            with pytest.raises((BadReply, LineDown)):
                await field.bus.first(fail)
            await asyncio.sleep(3)
            assert len(field.wire.times(1)) >= 3

    virtual.run(main())


def test_a_line_that_is_lost_during_a_read_is_no_devices_fault():
    async def main():
        field = Field(0.5)

        def hang_up(_):
            asyncio.get_running_loop().call_later(0.01, field.wire.break_off, "hung up")

        field.wire.on_start = hang_up
        await field.run(10)
        assert field.device(1).breaker is State.CLOSED
        assert field.device(1).failed == 0
        assert {heard.values[0].reason for heard in field.heard} == {"no line"}

    virtual.run(main())


def test_the_state_says_that_there_is_no_line_and_why():
    async def main():
        field = Field(1.0)
        state = field.bus.state()
        assert (state.line, state.line_since_s, state.line_error) == ("open", None, "")
        async with field.running():
            await asyncio.sleep(2)
            field.wire.refuses = "no such port"
            field.wire.break_off("the adapter is gone")
            assert field.bus.state().line == "down"
            assert field.bus.state().line_error == "the adapter is gone"
            await asyncio.sleep(60)
            state = field.bus.state()
            assert (state.line, state.line_error) == ("down", "no such port")
            assert state.line_since_s == pytest.approx(60)
            field.wire.refuses = None
            await asyncio.sleep(5)
            state = field.bus.state()
            assert (state.line, state.line_error) == ("open", "")
            assert state.line_since_s is not None
            assert state.line_since_s <= 5

    virtual.run(main())


def test_a_bus_that_reads_nothing_has_a_line_too():
    async def main():
        wire = ScriptedLine()
        wire.break_off("gone")
        assert Bus("lamps", [], lambda _: None, port=wire).state().line == "down"
        assert Bus("lamps", [], lambda _: None).state().line == "closed"

    virtual.run(main())


# Stray bytes

STRAYS = st.binary(min_size=1, max_size=7)


@examples(300)
@given(strays=STRAYS, cut=st.integers(0, 14), click=st.binary(max_size=3))
def test_a_few_bytes_before_an_answer_are_passed_over_and_counted(strays, cut, click):
    heard = strays + DEPTH + click
    pieces = [(0.01, heard[:cut]), (0.012, heard[cut:])]

    async def main():
        line = ScriptedLine([(s, piece) for s, piece in pieces if piece])
        values = await Master(line).read_registers(2, 3, 0, 1, within_s=0.3)
        assert values == [31]
        assert line.strays == len(strays) or heard.find(DEPTH) != len(strays)

    # What begins as the answer does, or as its echo, is for the checksum.
    if not (strays[0] == 2 and (len(strays) == 1 or strays[1] in (3, 0x83))):
        virtual.run(main())


@examples(300)
@given(
    before=st.binary(max_size=30),
    bad=st.binary(min_size=7, max_size=7),
    cuts=st.integers(0, 30),
)
def test_no_frame_is_found_that_was_not_sent(before, bad, cuts):
    """Whatever comes: a value is only what a whole frame of the unit says."""
    heard = before + bad

    async def main():
        line = ScriptedLine([(0.01, heard[:cuts]), (0.011, heard[cuts:])])
        with pytest.raises((BadReply, Unavailable)):
            await Master(line).read_registers(2, 3, 0, 1, within_s=0.3)

    if not any(heard[i : i + 3] == b"\2\3\2" for i in range(len(heard))):
        virtual.run(main())


@pytest.mark.parametrize("split", range(9))
def test_the_answer_to_another_masters_request_is_not_taken_for_ours(split):
    """Its request is read as strays before an answer, wherever our own request fell into it."""
    request, answer = rtu("02 03 00 05 00 01"), rtu("02 03 02 11 11")

    async def main():
        line = ScriptedLine()
        if split:
            line.feed([(0.0, request[:split])])
        line.feed([(0.012, request[split:] + answer)])
        await asyncio.sleep(0.01)
        with pytest.raises((BadReply, Unavailable)):
            await Master(line).read_registers(2, 3, 0, 1, within_s=0.3)

    virtual.run(main())


def test_stray_bytes_are_told_once_and_counted_in_the_state(caplog):
    async def main():
        field = Field(1.0)
        field.wire.on_start = lambda _: field.wire.feed([(0.005, b"\0\xff")])
        await field.run(9.5)
        state = field.bus.state()
        assert state.failed == 0
        assert state.strays == state.devices[0].strays == 2 * len(field.heard)

    virtual.run(main())
    assert [r.getMessage() for r in caplog.records] == [
        "unit-1: 2 stray bytes before the answer: check the cable and its termination"
    ]


# What a device does answer


def merged(gap=4):
    return loader.parse(
        {
            "title": "three values",
            "source": "this test",
            "line": {"merge_gap": gap},
            "measure": [
                {"quantity": "depth", "address": 0, "unit": "cm"},
                {"quantity": "level", "address": 1, "unit": "cm"},
                {"quantity": "displacement", "address": 5, "unit": "cm"},
            ],
        },
        Profile,
        "test",
    )


class Holes(ScriptedLine):
    """Has only the registers 0, 1 and 5; keeps what was asked for."""

    def __init__(self):
        super().__init__(byte_s=0.0)
        self.asked = []

    def write(self, data):
        address, count = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
        self.asked.append((address, count))
        if {*range(address, address + count)} <= {0, 1, 5}:
            words = b"".join(i.to_bytes(2, "big") for i in range(address, address + count))
            body = data[:2] + bytes((2 * count,)) + words
        else:
            body = bytes((data[0], data[1] | 0x80, 2))
        self.answers = [[(READ_S, body + crc(body))]]
        super().write(data)


def test_a_merged_read_that_is_refused_is_split_and_the_hole_is_never_asked_for_again(caplog):
    async def main():
        wire = Holes()
        heard: list[Heard] = []

        def jobs():
            device = Device(Master(wire), merged(), 1)
            (block,) = device.profile.blocks()
            return [Job("here", device, block, 1.0, urgent=False)]

        bus = Bus("bus", jobs(), heard.append)
        task = asyncio.create_task(bus.run(), name="bus")
        await asyncio.sleep(10)
        bus.change(jobs())  # a reload that changes nothing
        await asyncio.sleep(10)
        task.cancel()
        await asyncio.wait((task,))
        assert wire.asked.count((0, 6)) == 1
        assert set(wire.asked) == {(0, 6), (0, 2), (5, 1)}
        assert wire.asked.count((5, 1)) >= 18
        last = {v.quantity.value: v.value for one in heard[-2:] for v in one.values}
        assert last == {"depth": 0.0, "level": 0.01, "displacement": 0.05}
        assert bus.state().devices[0].breaker is State.CLOSED

    virtual.run(main())
    (told,) = [r.getMessage() for r in caplog.records]
    assert "address 0, 6 registers" in told
    assert "merge_gap = 4" in told


def test_a_refused_read_names_function_address_and_count():
    async def main():
        device = Device(Master(Holes()), merged(), 1)
        (block,) = device.profile.blocks()
        with pytest.raises(Refused, match=r"function 3, address 0, 6 registers.*merge_gap = 4"):
            await device.read(block)
        with pytest.raises(Refused, match=r"address 7, 1 register, exception 2\)$"):
            await Master(Holes()).read_registers(1, 3, 7, 1, within_s=0.3)

    virtual.run(main())


@pytest.mark.parametrize("code", [4, 5, 6, 7, 8])
def test_a_device_that_says_not_now_is_not_silent(code, caplog):
    caplog.set_level(logging.INFO)

    async def main():
        field = Field(1.0, 1.0)
        real = ScriptedLine.write

        def say(wire, data):
            if data[0] == 1:
                body = bytes((1, 0x83, code))
                wire.answers = [[(READ_S, body + crc(body))]]
            real(wire, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ScriptedLine, "write", say)
            await field.run(20.5)
        assert field.device(1).breaker is State.CLOSED
        assert len(field.wire.times(1)) >= 20
        reasons = {heard.values[0].reason for heard in field.heard if heard.sensor == "unit-1"}
        assert reasons == {"busy"}

    virtual.run(main())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("code", [10, 11])
def test_a_gateway_that_speaks_for_a_unit_does_not_make_it_alive(code):
    async def main():
        line = ScriptedLine([(0.01, rtu(f"02 83 {code:02x}"))])
        with pytest.raises(Unavailable, match="cannot be reached"):
            await Master(line).read_registers(2, 3, 0, 1, within_s=0.3)

    virtual.run(main())


def test_an_answer_to_another_transaction_is_said_to_be_one():
    async def main():
        line = ScriptedLine([(0.01, tcp(DEPTH, 7))], framing="tcp", byte_s=0.0)
        with pytest.raises(Unavailable, match=r"no answer.*unit 2 answered transaction 7, 1 was"):
            await Master(line).read_registers(2, 3, 0, 1, within_s=0.1)

    virtual.run(main())


def test_a_profile_without_holes_is_not_split():
    (block,) = profile(0).blocks()
    assert block.apart() == (block,)
    (block,) = merged().blocks()
    assert [(one.address, one.words) for one in block.apart()] == [(0, 2), (5, 1)]
