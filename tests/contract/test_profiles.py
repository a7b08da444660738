"""Every profile keeps the promises of its datasheet's bytes, on both sides of the wire."""

import pytest
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteSingleRegisterRequest,
)

from drivers.outputs import Outputs
from drivers.profiles import Example, Profile, available, find
from firmware_sim.modbus_device import ModbusDevice

NAMES = sorted(available())
EXAMPLES = [(name, example) for name in NAMES for example in find(name).example]
ANSWERED = [(name, example) for name, example in EXAMPLES if example.reply is not None]


def frame(hex_bytes: str) -> tuple[int, bytes]:
    """Unit and PDU of an RTU frame whose checksum must be right."""
    data = bytes.fromhex(hex_bytes)
    assert FramerRTU.compute_CRC(data[:-2]).to_bytes(2, "big") == data[-2:]
    return data[0], data[1:-2]


def pdu(message: ModbusPDU) -> bytes:
    return bytes((message.function_code,)) + message.encode()


def in_si(profile: Profile, example: Example) -> dict[str, float]:
    """The example's values in SI; what has none is left out."""
    measures = {measure.key: measure for measure in profile.measure}
    values = {}
    for quantity, value in example.values.items():
        if value is not None:
            # The upper bound of a measure is given in its unit and told in SI.
            bounds = {"valid_min": None, "valid_max": value}
            values[quantity] = measures[quantity].model_copy(update=bounds).valid_range_si[1]
    return values


def expected_request(profile: Profile, example: Example) -> bytes:
    outputs = profile.outputs
    match example.does:
        case "read":
            requests = []
            for measure in profile.measure:
                kind = (
                    ReadHoldingRegistersRequest
                    if measure.function == 3
                    else ReadInputRegistersRequest
                )
                requests.append(pdu(kind(address=measure.address, count=measure.words)))
            # Of several measures the datasheet may read any.
            given = frame(example.request)[1]
            return given if given in requests else requests[0]
        case "read_outputs":
            assert outputs is not None
            return pdu(ReadCoilsRequest(address=outputs.address, count=outputs.count))
        case "switch":
            assert outputs is not None
            return switch(outputs, example.channel, example.on)
        case "pulse_on":
            assert outputs is not None
            if (codes := outputs.registers) is not None:
                assert codes.pulse is not None
                address = outputs.address + example.channel
                pulse = codes.pulse + example.pulses
                return pdu(WriteSingleRegisterRequest(address=address, registers=[pulse]))
            assert outputs.pulse_on_address is not None
            address = outputs.pulse_on_address + example.channel
            coil = pdu(WriteSingleCoilRequest(address=address, bits=[True]))
            return coil[:3] + example.pulses.to_bytes(2, "big")


def switch(outputs: Outputs, channel: int, on: bool) -> bytes:
    address = outputs.address + channel
    if (codes := outputs.registers) is not None:
        code = codes.on if on else codes.off
        return pdu(WriteSingleRegisterRequest(address=address, registers=[code]))
    return pdu(WriteSingleCoilRequest(address=address, bits=[on]))


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_what_it_is_and_gives_an_example(name: str) -> None:
    profile = find(name)
    assert profile.title
    assert profile.source
    assert profile.example


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_the_request_is_the_one_that_we_would_send(name: str, example: Example) -> None:
    profile = find(name)
    unit, given = frame(example.request)
    assert unit == profile.line.unit_id
    assert given == expected_request(profile, example)


@pytest.mark.parametrize(("name", "example"), ANSWERED)
def test_the_reply_means_what_the_example_says(name: str, example: Example) -> None:
    profile = find(name)
    assert example.reply is not None
    unit, reply = frame(example.reply)
    assert unit == profile.line.unit_id
    response = DecodePDU(is_server=False).decode(reply)
    assert response is not None
    match example.does:
        case "read":
            start = int.from_bytes(frame(example.request)[1][1:3], "big")
            registers = profile.settings | dict(enumerate(response.registers, start))
            si = in_si(profile, example)
            assert example.values
            for measure in profile.measure:
                if measure.key in example.values:
                    expected = si.get(measure.key)
                    assert measure.decode(registers) == (
                        expected if expected is None else pytest.approx(expected)
                    )
        case "read_outputs":
            assert isinstance(response, ReadCoilsResponse)
            assert example.outputs is not None
            assert {i for i, on in enumerate(response.bits) if on} == set(example.outputs)
        case _:
            assert reply == frame(example.request)[1]


@pytest.mark.parametrize(("name", "example"), ANSWERED)
def test_the_simulated_device_gives_the_same_reply(name: str, example: Example) -> None:
    profile = find(name)
    assert example.reply is not None
    device = ModbusDevice(profile)
    for channel in example.outputs or ():
        assert profile.outputs is not None
        device.answer(switch(profile.outputs, channel, True), {}, 0.0)
    answer = device.answer(frame(example.request)[1], in_si(profile, example), 0.0)
    assert answer is not None
    assert answer.pdu == frame(example.reply)[1]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_the_simulated_device_takes_every_request(name: str, example: Example) -> None:
    profile = find(name)
    device = ModbusDevice(profile)
    values = {measure.key: measure.valid_range_si[1] / 2 for measure in profile.measure}
    answer = device.answer(frame(example.request)[1], values, 0.0)
    assert answer is not None
    assert answer.pdu[0] < 0x80
    if example.does in ("switch", "pulse_on"):
        assert (example.channel in device.outputs(0.0)) == example.on


@pytest.mark.parametrize("name", NAMES)
def test_the_merged_reads_fetch_every_measure(name: str) -> None:
    profile = find(name)
    device = ModbusDevice(profile)
    fetched = set()
    for block in profile.blocks():
        kind = ReadHoldingRegistersRequest if block.function == 3 else ReadInputRegistersRequest
        values = {measure.key: 0.0 for measure in block.measures}
        answer = device.answer(pdu(kind(address=block.address, count=block.words)), values, 0.0)
        assert answer is not None
        response = DecodePDU(is_server=False).decode(answer.pdu)
        assert response is not None
        registers = dict(enumerate(response.registers, block.address))
        for measure in block.measures:
            assert measure.decode(registers) == pytest.approx(0.0, abs=1e-3)
            fetched.add(measure.key)
    assert fetched == {measure.key for measure in profile.measure}
