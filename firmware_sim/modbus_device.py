"""A device that answers Modbus requests as its profile says. Pure: values and time are handed in.

Source: MODBUS Application Protocol Specification V1.1b3.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from pymodbus.constants import ExcCodes, ModbusStatus
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsResponse, WriteMultipleCoilsResponse
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersResponse,
    ReadInputRegistersResponse,
    WriteMultipleRegistersResponse,
)

from drivers.errors import BadReply
from drivers.measures import Measure
from drivers.profiles import Profile

READ_COILS: Final = 1
READ_HOLDING: Final = 3
READ_INPUT: Final = 4
WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
WRITE_COILS: Final = 15
WRITE_REGISTERS: Final = 16

_REQUESTS: Final = DecodePDU(is_server=True)


class Answer(NamedTuple):
    """`pdu` goes back to the master. `said` is what it tells a reader: SI by the measure's key,
    rounded to what the registers can hold, None for a missing code."""

    pdu: bytes
    said: Mapping[str, float | None] = MappingProxyType({})


class _RefusalError(Exception):
    def __init__(self, code: ExcCodes) -> None:
        self.code = code


class ModbusDevice:
    """Registers and coils of one device.

    It knows what its profile knows: the registers of its measures (unused ones between them read
    as 0), its settings, which can be written, and its outputs. `now_s` is any clock that never
    goes back, the same in all calls.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._settings = _settings(profile)
        self._readable = {READ_HOLDING: set(self._settings), READ_INPUT: set[int]()}
        for block in profile.blocks():
            self._readable[block.function] |= set(range(block.address, block.address + block.words))
        self._functions = {function for function, known in self._readable.items() if known}
        if self._settings:
            self._functions |= {WRITE_REGISTER, WRITE_REGISTERS}
        self._codes = None if profile.outputs is None else profile.outputs.registers
        self._output_registers = range(0)
        if (outputs := profile.outputs) is not None:
            if outputs.registers is None:
                self._functions |= {READ_COILS, WRITE_COIL, WRITE_COILS}
            else:
                self._functions |= {READ_HOLDING, WRITE_REGISTER}
                self._output_registers = range(outputs.address, outputs.address + outputs.count)
                self._readable[READ_HOLDING] |= set(self._output_registers)
        self._on_until: dict[int, float] = {}

    def answer(
        self,
        request: bytes,
        values: Mapping[str, float],
        now_s: float,
        *,
        obeys: bool = True,
    ) -> Answer | None:
        """The answer to a request (both as PDU: function code first), or None for silence.

        `values` (SI) is what the device senses now, by the measure's key or, for all channels
        alike, by quantity. What is not in it is told with the
        profile's missing code; where there is none, a read of it gets no answer. A device that no
        longer `obeys` answers as ever and leaves its outputs as they are.
        """
        before = dict(self._on_until)
        answer = self._answer(request, values, now_s)
        if not obeys:
            self._on_until = before
        return answer

    def _answer(self, request: bytes, values: Mapping[str, float], now_s: float) -> Answer | None:
        function = request[0]
        try:
            if function not in self._functions:
                raise _RefusalError(ExcCodes.ILLEGAL_FUNCTION)
            pdu = _decode(request)
            match function:
                case 3 | 4:
                    return self._read_registers(pdu, values, now_s)
                case 1:
                    return Answer(_encode(ReadCoilsResponse(bits=self._read_coils(pdu, now_s))))
                case 5:
                    self._write_coil(pdu.address, int.from_bytes(request[3:5], "big"), now_s)
                    return Answer(request)
                case 15:
                    self._write_coils(pdu.address, pdu.bits)
                    return Answer(
                        _encode(WriteMultipleCoilsResponse(address=pdu.address, count=pdu.count))
                    )
                case 6:
                    if pdu.address in self._output_registers:
                        self._write_output(pdu.address, pdu.registers[0], now_s)
                    else:
                        self._write_settings(pdu.address, pdu.registers)
                    return Answer(request)
                case _:
                    self._write_settings(pdu.address, pdu.registers)
                    return Answer(
                        _encode(
                            WriteMultipleRegistersResponse(address=pdu.address, count=pdu.count)
                        )
                    )
        except _RefusalError as refusal:
            return Answer(_encode(ExceptionResponse(function, refusal.code)))

    def outputs(self, now_s: float) -> frozenset[int]:
        """Channels that are on, counted from 0."""
        return frozenset(channel for channel, until in self._on_until.items() if now_s < until)

    def falls_at(self, now_s: float) -> float | None:
        """When the next running pulse ends, None if none runs."""
        return min((t for t in self._on_until.values() if now_s < t < math.inf), default=None)

    def _read_registers(
        self, pdu: ModbusPDU, values: Mapping[str, float], now_s: float
    ) -> Answer | None:
        asked = range(pdu.address, pdu.address + pdu.count)
        if not self._readable[pdu.function_code].issuperset(asked):
            raise _RefusalError(ExcCodes.ILLEGAL_ADDRESS)
        image = self._settings | self._output_image(now_s)
        said: dict[str, float | None] = {}
        for measure in self.profile.measure:
            own = _own_addresses(measure)
            if measure.function != pdu.function_code or own.isdisjoint(asked):
                continue
            value = values.get(measure.key, values.get(measure.quantity))
            if value is None and not measure.missing:
                return None
            image |= measure.encode(value, self._settings)
            if own.issubset(asked):
                said[measure.key] = measure.decode(image)
        registers = [image.get(address, 0) for address in asked]
        if pdu.function_code == READ_HOLDING:
            return Answer(_encode(ReadHoldingRegistersResponse(registers=registers)), said)
        return Answer(_encode(ReadInputRegistersResponse(registers=registers)), said)

    def _read_coils(self, pdu: ModbusPDU, now_s: float) -> list[bool]:
        on = self.outputs(now_s)
        return [channel in on for channel in self._channels(pdu.address, pdu.count)]

    def _write_coil(self, address: int, value: int, now_s: float) -> None:
        outputs = self.profile.outputs
        assert outputs is not None  # or the function would be unknown
        if outputs.pulse_on_address is not None:
            channel = address - outputs.pulse_on_address
            if 0 <= channel < outputs.count:
                if value == 0:
                    raise _RefusalError(ExcCodes.ILLEGAL_VALUE)
                self._on_until[channel] = now_s + value * outputs.pulse_step_ms / 1000
                return
        (channel,) = self._channels(address, 1)
        if value not in (ModbusStatus.ON, ModbusStatus.OFF):
            raise _RefusalError(ExcCodes.ILLEGAL_VALUE)
        self._switch(channel, value == ModbusStatus.ON)

    def _write_coils(self, address: int, states: Sequence[bool]) -> None:
        for channel, on in zip(self._channels(address, len(states)), states, strict=True):
            self._switch(channel, on)

    def _write_output(self, address: int, code: int, now_s: float) -> None:
        assert self._codes is not None
        assert self.profile.outputs is not None
        channel = address - self._output_registers.start
        if self._codes.pulse is not None and 0 <= (steps := code - self._codes.pulse) <= 0xFF:
            self._on_until[channel] = now_s + steps * self.profile.outputs.pulse_step_ms / 1000
        elif code not in (self._codes.on, self._codes.off):
            raise _RefusalError(ExcCodes.ILLEGAL_VALUE)
        elif not now_s < self._on_until.get(channel, -math.inf) < math.inf:
            # Seen on such boards: a plain code does not end a pulse that runs.
            self._switch(channel, code == self._codes.on)

    def _output_image(self, now_s: float) -> dict[int, int]:
        if self._codes is None:
            return {}
        on = self.outputs(now_s)
        return {
            address: self._codes.reads_on if channel in on else self._codes.reads_off
            for channel, address in enumerate(self._output_registers)
        }

    def _switch(self, channel: int, on: bool) -> None:
        """On or off until the next write; a pulse that runs is over."""
        self._on_until[channel] = math.inf if on else -math.inf

    def _channels(self, address: int, count: int) -> range:
        outputs = self.profile.outputs
        assert outputs is not None
        first = address - outputs.address
        if first < 0 or first + count > outputs.count:
            raise _RefusalError(ExcCodes.ILLEGAL_ADDRESS)
        return range(first, first + count)

    def _write_settings(self, address: int, words: Sequence[int]) -> None:
        written = {address + i: word for i, word in enumerate(words)}
        if not written.keys() <= self._settings.keys():
            raise _RefusalError(ExcCodes.ILLEGAL_ADDRESS)
        settings = self._settings | written
        try:
            for measure in self.profile.measure:
                measure.encode(0.0, settings)
        except BadReply:  # a unit or a number of decimals that the profile does not know
            raise _RefusalError(ExcCodes.ILLEGAL_VALUE) from None
        self._settings = settings


def _settings(profile: Profile) -> dict[int, int]:
    """The settings registers by address. Where the profile has no factory value for one that a
    measure needs: no decimals, and the code of the measure's own unit."""
    needed: dict[int, int] = {}
    for measure in profile.measure:
        if measure.decimals_address is not None:
            needed[measure.decimals_address] = 0
        if measure.unit_address is not None:
            by_unit = {unit: int(code) for code, unit in measure.unit_codes.items()}
            needed[measure.unit_address] = by_unit.get(measure.unit, min(by_unit.values()))
    return needed | profile.settings


def _own_addresses(measure: Measure) -> set[int]:
    return set(range(measure.address, measure.address + measure.words))


def _decode(request: bytes) -> ModbusPDU:
    """Raises a refusal for a request that contradicts itself: count, byte count, length."""
    body = request[1:]
    try:
        kind = _REQUESTS.lookupPduClass(b"\0" + request)
        assert kind is not None  # pymodbus knows all of our functions
        pdu = kind()
        pdu.decode(body)
        again = pdu.encode()
    except (ModbusException, ValueError, IndexError, struct.error):
        raise _RefusalError(ExcCodes.ILLEGAL_VALUE) from None
    # pymodbus reads any coil value as on or off; for a pulse it is a number.
    comparable = len(body) if request[0] != WRITE_COIL else 2
    if len(again) != len(body) or again[:comparable] != body[:comparable]:
        raise _RefusalError(ExcCodes.ILLEGAL_VALUE)
    return pdu


def _encode(response: ModbusPDU) -> bytes:
    return bytes((response.function_code,)) + response.encode()
