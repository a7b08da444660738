"""Simulated devices, asked as a master would ask them: PDU in, PDU out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from configs import loader
from drivers.measures import Measure
from drivers.profiles import Block, Profile, available, find
from firmware_sim.modbus_device import ModbusDevice
from tests.examples import examples
from wire.reading import Quantity

PROFILES = {name: find(name) for name in available()}
MEASURING = [name for name, profile in PROFILES.items() if profile.measure]
LARGEST_RAW = {
    "u16": 0xFFFE,
    "i16": 0x7FFE,
    "u32": 0xFFFFFFFE,
    "i32": 0x7FFFFFFE,
    "sm32": 0xFFFFFF,
    "metre_bcd_cm": 0x9999,
}
"""By type, the largest raw value that no device uses for "missing". A float has none."""


def ask(device: ModbusDevice, pdu: str, now_s: float = 0.0, **values: float) -> str | None:
    """Hex in, hex out."""
    answer = device.answer(
        bytes.fromhex(pdu), {Quantity(name): value for name, value in values.items()}, now_s
    )
    return None if answer is None else answer.pdu.hex(" ")


def read(device: ModbusDevice, block: Block, values: dict[str, float]) -> dict[int, int]:
    """Registers by address, as pymodbus reads them out of the answer."""
    kind = ReadHoldingRegistersRequest if block.function == 3 else ReadInputRegistersRequest
    request: ModbusPDU = kind(address=block.address, count=block.words)
    answer = device.answer(bytes((block.function,)) + request.encode(), values, 0.0)
    assert answer is not None
    response = DecodePDU(is_server=False).decode(answer.pdu)
    assert response is not None
    assert not response.isError()
    return dict(enumerate(response.registers, block.address))


def told(measure: Measure, raw: int, settings: dict[int, int]) -> float:
    """What `raw` in the registers of a measure means, SI."""
    words = [raw] if measure.words == 1 else [raw >> 16, raw & 0xFFFF]
    if measure.word_order == "low_first":
        words.reverse()
    value = measure.decode({**settings, **dict(enumerate(words, measure.address))})
    assert value is not None
    return value


@pytest.mark.parametrize("name", MEASURING)
@given(share=st.floats(0, 1))
@examples(50)
def test_a_value_survives_the_registers_within_their_resolution(name: str, share: float) -> None:
    profile = PROFILES[name]
    device = ModbusDevice(profile)
    for block in profile.blocks():
        for measure in block.measures:
            resolution = abs(
                told(measure, 1, profile.settings) - told(measure, 0, profile.settings)
            )
            low, high = measure.valid_range_si
            if measure.type in LARGEST_RAW:
                high = min(high, told(measure, LARGEST_RAW[measure.type], profile.settings))
            value = low + share * (high - low)
            read_back = measure.decode(read(device, block, {measure.quantity: value}))
            assert read_back == pytest.approx(value, rel=1e-9, abs=0.5001 * resolution)


@pytest.mark.parametrize("name", MEASURING)
def test_a_missing_signal_is_told_by_its_code_or_by_silence(name: str) -> None:
    profile = PROFILES[name]
    device = ModbusDevice(profile)
    for block in profile.blocks():
        if all(measure.missing for measure in block.measures):
            registers = read(device, block, {})
            assert all(measure.decode(registers) is None for measure in block.measures)
        else:
            kind = ReadHoldingRegistersRequest if block.function == 3 else ReadInputRegistersRequest
            request = kind(address=block.address, count=block.words)
            pdu = bytes((block.function,)) + request.encode()
            assert device.answer(pdu, {}, 0.0) is None


def test_what_was_said_is_rounded_as_the_registers_round_it() -> None:
    device = ModbusDevice(PROFILES["ruler-cm-9600"])
    answer = device.answer(bytes.fromhex("03 0000 0001"), {Quantity.DEPTH: 0.3149}, 0.0)
    assert answer is not None
    assert answer.said == {Quantity.DEPTH: 0.31}
    missing = device.answer(bytes.fromhex("03 0000 0001"), {}, 0.0)
    assert missing is not None
    assert missing.said == {Quantity.DEPTH: None}


def test_half_a_value_is_not_said() -> None:
    device = ModbusDevice(PROFILES["rain-sen0575"])
    half = device.answer(bytes.fromhex("04 0008 0001"), {Quantity.RAIN_TOTAL: 0.0123}, 0.0)
    assert half is not None
    assert half.said == {}
    assert half.pdu.hex() == "0402" + f"{123000 & 0xFFFF:04x}"


@pytest.mark.parametrize(
    ("profile", "request_pdu", "refusal"),
    [
        ("ruler-cm-9600", "04 0000 0001", "84 01"),  # the profile knows holding registers only
        ("ruler-cm-9600", "01 0000 0001", "81 01"),
        ("ruler-cm-9600", "02 0000 0001", "82 01"),
        ("ruler-cm-9600", "05 0000 ff00", "85 01"),
        ("ruler-cm-9600", "06 0000 0001", "86 01"),  # a ruler without settings
        ("ruler-cm-9600", "2b 0e 01 00", "ab 01"),
        ("ruler-cm-9600", "41", "c1 01"),
        ("ruler-cm-9600", "03 0001 0001", "83 02"),
        ("ruler-cm-9600", "03 0000 0002", "83 02"),
        ("ruler-cm-9600", "03 ffff 0002", "83 02"),
        ("ruler-cm-9600", "03 0000 0000", "83 03"),
        ("ruler-cm-9600", "03 0000 007e", "83 03"),  # 126 registers
        ("ruler-cm-9600", "03 0000 00", "83 03"),  # too short
        ("ruler-cm-9600", "03 0000 0001 00", "83 03"),  # too long
        ("level-qdy30a", "06 0004 0001", "86 02"),  # a measured value cannot be written
        ("level-qdy30a", "10 0003 0002 04 0001 0001", "90 02"),
        ("level-qdy30a", "10 0002 0002 02 0011 0000", "90 03"),  # byte count of one register
        ("level-qdy30a", "06 0002 0063", "86 03"),  # no such unit
        ("level-qdy30a", "06 0003 000a", "86 03"),  # ten decimals
        ("relay-waveshare-8ch", "03 0000 0001", "83 01"),
        ("relay-waveshare-8ch", "01 0000 0009", "81 02"),
        ("relay-waveshare-8ch", "05 0008 ff00", "85 02"),
        ("relay-waveshare-8ch", "05 0000 0001", "85 03"),  # neither on nor off
        ("relay-waveshare-8ch", "05 0000 ff", "85 03"),
        ("relay-waveshare-8ch", "05 0208 0001", "85 02"),  # pulse of a ninth channel
        ("relay-waveshare-8ch", "05 0200 0000", "85 03"),  # pulse of no length
        ("relay-waveshare-8ch", "0f 0004 0008 01 ff", "8f 02"),
        ("relay-waveshare-8ch", "0f 0000 0009 01 ff", "8f 03"),  # nine coils in one byte
        ("relay-lctech-8ch", "05 0200 0001", "85 02"),  # it has no pulses
        ("relay-laskakit-8ch", "01 0000 0008", "81 01"),  # it has registers in place of coils
        ("relay-laskakit-8ch", "06 0009 0100", "86 02"),
        ("relay-laskakit-8ch", "06 0001 0300", "86 03"),  # toggle, which we never use
        ("relay-laskakit-8ch", "03 0000 0001", "83 02"),
        ("relay-laskakit-8ch", "03 0001 0009", "83 02"),
    ],
)
def test_refusals(profile: str, request_pdu: str, refusal: str) -> None:
    device = ModbusDevice(PROFILES[profile])
    assert ask(device, request_pdu, depth=0.1, level=1.0) == refusal
    assert device.outputs(0.0) == frozenset()


def test_coils_are_written_and_read_back() -> None:
    relay = ModbusDevice(PROFILES["relay-waveshare-8ch"])
    assert ask(relay, "01 0000 0008") == "01 01 00"
    assert ask(relay, "05 0000 ff00") == "05 00 00 ff 00"
    assert ask(relay, "0f 0002 0003 01 05") == "0f 00 02 00 03"
    assert relay.outputs(0.0) == {0, 2, 4}
    assert ask(relay, "01 0000 0008") == "01 01 15"
    assert ask(relay, "01 0002 0002") == "01 01 01"
    assert ask(relay, "05 0002 0000") == "05 00 02 00 00"
    assert ask(relay, "01 0000 0008") == "01 01 11"


def test_a_pulse_falls_back_by_itself_and_a_rewrite_extends_it() -> None:
    relay = ModbusDevice(PROFILES["relay-waveshare-8ch"])
    assert ask(relay, "05 0201 0007", now_s=100.0) == "05 02 01 00 07"
    assert relay.outputs(100.699) == {1}
    assert relay.falls_at(100.0) == pytest.approx(100.7)
    assert ask(relay, "05 0201 0007", now_s=100.5) is not None
    assert relay.outputs(101.199) == {1}
    assert ask(relay, "01 0000 0008", now_s=101.199) == "01 01 02"
    assert relay.outputs(101.201) == frozenset()
    assert ask(relay, "01 0000 0008", now_s=101.201) == "01 01 00"
    assert relay.falls_at(101.201) is None


def test_a_plain_write_ends_a_pulse() -> None:
    relay = ModbusDevice(PROFILES["relay-waveshare-8ch"])
    ask(relay, "05 0200 0007", now_s=0.0)
    ask(relay, "05 0000 ff00", now_s=0.1)
    assert relay.outputs(math.inf) == frozenset()
    assert relay.outputs(1e9) == {0}
    ask(relay, "05 0200 0007", now_s=0.2)
    ask(relay, "05 0000 0000", now_s=0.3)
    assert relay.outputs(0.4) == frozenset()


def test_channels_that_are_registers_are_written_with_codes_and_read_back_as_states() -> None:
    relay = ModbusDevice(PROFILES["relay-laskakit-8ch"])
    assert ask(relay, "06 0001 0100") == "06 00 01 01 00"
    assert ask(relay, "06 0003 0100") == "06 00 03 01 00"
    assert ask(relay, "03 0001 0004") == "03 08 00 01 00 00 00 01 00 00"
    assert ask(relay, "06 0001 0200") == "06 00 01 02 00"
    assert relay.outputs(0.0) == {2}


def test_a_timed_register_ends_by_itself_or_by_a_pulse_of_no_length() -> None:
    relay = ModbusDevice(PROFILES["relay-laskakit-8ch"])
    assert ask(relay, "06 0001 0602", now_s=10.0) == "06 00 01 06 02"
    assert relay.falls_at(10.0) == pytest.approx(12.0)
    ask(relay, "06 0001 0200", now_s=10.5)  # a plain off leaves a pulse alone
    assert relay.outputs(11.9) == {0}
    assert relay.outputs(12.1) == frozenset()
    ask(relay, "06 0001 0602", now_s=20.0)
    ask(relay, "06 0001 0600", now_s=20.1)
    assert relay.outputs(20.2) == frozenset()


def test_a_device_that_does_not_obey_answers_as_if_it_did() -> None:
    relay = ModbusDevice(PROFILES["relay-waveshare-8ch"])
    answer = relay.answer(bytes.fromhex("05 0000 ff00"), {}, 0.0, obeys=False)
    assert answer is not None
    assert answer.pdu.hex() == "050000ff00"
    assert relay.outputs(0.0) == frozenset()


def test_settings_that_a_master_writes_change_how_the_value_is_told() -> None:
    gauge = ModbusDevice(PROFILES["level-qdy30a"])
    assert ask(gauge, "03 0002 0003", level=1.234) == "03 06 00 10 00 03 04 d2"
    assert ask(gauge, "06 0003 0001") == "06 00 03 00 01"
    assert ask(gauge, "03 0002 0003", level=1.234) == "03 06 00 10 00 01 00 0c"
    assert ask(gauge, "10 0002 0002 04 0011 0000") == "10 00 02 00 02"  # mmH2O, no decimals
    assert ask(gauge, "03 0002 0003", level=1.234) == "03 06 00 11 00 00 04 d2"
    assert ask(gauge, "03 0003 0001") == "03 02 00 00"  # needs no water


def test_settings_without_a_factory_value_fit_the_measure() -> None:
    tables = PROFILES["level-qdy30a"].model_dump(mode="json", exclude={"factory"})
    profile = loader.parse(tables, Profile, "test")
    assert ask(ModbusDevice(profile), "03 0002 0003", level=12.0) == "03 06 00 10 00 00 00 0c"


def test_unused_registers_between_two_measures_read_as_zero() -> None:
    tables = {
        "title": "two in one",
        "source": "this test",
        "measure": [
            {"quantity": "depth", "address": 0, "unit": "cm"},
            {"quantity": "level", "address": 3, "unit": "cm"},
        ],
    }
    device = ModbusDevice(loader.parse(tables, Profile, "test"))
    assert ask(device, "03 0000 0004", depth=0.01, level=0.02) == "03 08 00 01 00 00 00 00 00 02"
    assert ask(device, "03 0000 0005", depth=0.01, level=0.02) == "83 02"


@pytest.mark.parametrize("kind", ["u16", "i16", "u32", "i32", "sm32", "metre_bcd_cm", "f32"])
def test_a_value_beyond_the_type_is_its_largest(kind: str) -> None:
    tables = {"quantity": "depth", "address": 0, "type": kind, "unit": "cm"}
    measure = loader.parse(tables, Measure, "test")
    for beyond in (1e300, math.inf):
        most = measure.decode(measure.encode(beyond))
        least = measure.decode(measure.encode(-beyond))
        assert most is not None
        assert least is not None
        assert least <= 0 < most < 1e300
        assert measure.encode(most) == measure.encode(beyond)
