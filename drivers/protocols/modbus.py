"""Modbus master: one request, one believed answer.

pymodbus builds and reads the messages and computes the checksum; its transaction layer is left
out, because an RTU answer that comes late passes there for the answer to the next request
(decision record 0003). Here an answer counts only if unit, function, byte count, length and
checksum (or transaction number) are those that the request demands.

Source: MODBUS Application Protocol Specification V1.1b3; MODBUS over Serial Line V1.02;
MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
"""

import struct
from collections.abc import Sequence
from typing import Final, Protocol

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    WriteMultipleCoilsRequest,
    WriteMultipleCoilsResponse,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from drivers.errors import BadReply, Misconfigured, Unavailable
from drivers.ports import Port, Scan

RTU_OVERHEAD: Final = 3
"""Bytes that RTU adds to a message: unit and checksum."""

READ_REQUEST_BYTES: Final = RTU_OVERHEAD + 5
"""Function, address, count."""

SINGLE_WRITE_BYTES: Final = RTU_OVERHEAD + 5
"""Function, address, value; the answer is its echo."""

_ERROR_BIT: Final = 0x80
_COIL_ON: Final = 0xFF00
_MBAP: Final = struct.Struct(">HHHB")
_WILL_NOT: Final[dict[int, str]] = {
    ExcCodes.ILLEGAL_FUNCTION: "does not know this function",
    ExcCodes.ILLEGAL_ADDRESS: "has no such register",
    ExcCodes.ILLEGAL_VALUE: "does not take this value or count",
}
"""Exceptions that come again however often one asks; all others may pass."""


def read_answer_bytes(registers: int) -> int:
    """Length of the RTU frame that answers a read of so many registers."""
    return RTU_OVERHEAD + 2 + 2 * registers


def relay_cycle_bytes(coils: int) -> int:
    """Length of the RTU frames that write so many coils and read them back, answers included."""
    packed = (coils + 7) // 8
    write = RTU_OVERHEAD + 6 + packed + RTU_OVERHEAD + 5
    return write + READ_REQUEST_BYTES + RTU_OVERHEAD + 2 + packed


class Framing(Protocol):
    """How a message travels: with a checksum (RTU) or with a transaction number (TCP)."""

    def wrap(self, unit: int, message: bytes) -> bytes:
        """The frame that carries `message` to `unit`."""
        ...

    def scan(self, unit: int, function: int, length: int) -> Scan:
        """Finds the answer to the frame last wrapped: `length` bytes, or 2 of an exception."""
        ...


class Rtu:
    """Unit, message, CRC-16 with the low byte first."""

    def wrap(self, unit: int, message: bytes) -> bytes:
        frame = bytes((unit,)) + message
        return frame + _checksum(frame)

    def scan(self, unit: int, function: int, length: int) -> Scan:
        def answer(received: bytearray) -> bytes | None:
            if len(received) < 2:
                return None
            if received[0] != unit:
                raise BadReply(f"unit {received[0]} spoke, unit {unit} was asked")
            need = RTU_OVERHEAD + _length(received[1], function, length)
            if len(received) < need:
                return None
            if len(received) > need:
                raise BadReply(f"{len(received)} bytes, {need} were due")
            if _checksum(received[:-2]) != received[-2:]:
                raise BadReply(f"unit {unit}: wrong checksum")
            return bytes(received[1:-2])

        return answer


class Tcp:
    """MBAP header: transaction number, protocol 0, length, unit."""

    def __init__(self) -> None:
        self._transaction = 0

    def wrap(self, unit: int, message: bytes) -> bytes:
        self._transaction = self._transaction % 0xFFFF + 1
        return _MBAP.pack(self._transaction, 0, len(message) + 1, unit) + message

    def scan(self, unit: int, function: int, length: int) -> Scan:
        expected = self._transaction

        def answer(received: bytearray) -> bytes | None:
            while len(received) > _MBAP.size:
                transaction, protocol, size, speaker = _MBAP.unpack_from(received)
                if protocol != 0 or not 2 <= size <= 254:
                    raise BadReply(f"not a Modbus TCP frame: {received[:8].hex(' ')}")
                if len(received) < (end := _MBAP.size - 1 + size):
                    return None
                message = bytes(received[_MBAP.size : end])
                del received[:end]
                if transaction != expected:
                    continue  # the late answer to a request that was given up
                if speaker != unit:
                    raise BadReply(f"unit {speaker} spoke, unit {unit} was asked")
                if len(message) != _length(message[0], function, length):
                    raise BadReply(f"unit {unit}: {len(message)} bytes, {length} were due")
                return message
            return None

        return answer


class Master:
    """Reads and writes the devices on one port. Every call is one exchange, without a retry.

    Raises Unavailable (silence, or the device is busy), BadReply (an answer that cannot be
    believed) or Misconfigured (the device works and refuses).
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._framing: Framing = Tcp() if port.framing == "tcp" else Rtu()

    async def read_registers(
        self, unit: int, function: int, address: int, count: int, *, within_s: float
    ) -> list[int]:
        """`count` registers from `address`: holding (function 3) or input (function 4)."""
        request: ModbusPDU
        answer: ReadHoldingRegistersResponse
        if function == ReadHoldingRegistersRequest.function_code:
            request = ReadHoldingRegistersRequest(address=address, count=count)
            answer = ReadHoldingRegistersResponse()
        else:
            request = ReadInputRegistersRequest(address=address, count=count)
            answer = ReadInputRegistersResponse()
        message = await self._ask(unit, request, 2 + 2 * count, within_s)
        if message[1] != 2 * count:
            raise BadReply(f"unit {unit}: {message[1]} bytes of registers, {2 * count} were due")
        answer.decode(message[1:])
        return list(answer.registers)

    async def read_coils(
        self, unit: int, address: int, count: int, *, within_s: float
    ) -> list[bool]:
        """`count` coils from `address` (function 1)."""
        length = (count + 7) // 8
        request = ReadCoilsRequest(address=address, count=count)
        message = await self._ask(unit, request, 2 + length, within_s)
        if message[1] != length:
            raise BadReply(f"unit {unit}: {message[1]} bytes of coils, {length} were due")
        answer = ReadCoilsResponse()
        answer.decode(message[1:])
        return list(answer.bits[:count])

    async def write_coils(
        self, unit: int, address: int, values: Sequence[bool], *, within_s: float
    ) -> None:
        """Switch neighbouring coils in one message (function 15). The echo proves receipt only."""
        request = WriteMultipleCoilsRequest(address=address, bits=list(values))
        message = await self._ask(unit, request, 5, within_s)
        answer = WriteMultipleCoilsResponse()
        answer.decode(message[1:])
        if (answer.address, answer.count) != (address, len(values)):
            raise BadReply(f"unit {unit} confirms another write than the one sent")

    async def write_coil(self, unit: int, address: int, on: bool, *, within_s: float) -> None:
        """Switch one coil (function 5). The echo proves receipt only."""
        await self.write_coil_value(unit, address, _COIL_ON if on else 0, within_s=within_s)

    async def write_coil_value(
        self, unit: int, address: int, value: int, *, within_s: float
    ) -> None:
        """Function 5 with a value of the maker's own, such as a pulse length."""
        try:
            request = struct.pack(">BHH", 5, address, value)
        except struct.error:
            raise Misconfigured(
                f"{self._port.name}: coil {address} or its value {value} is not of 16 bits"
            ) from None
        if await self._ask_bytes(unit, request, len(request), within_s) != request:
            raise BadReply(f"unit {unit} confirms another write than the one sent")

    async def write_register(self, unit: int, address: int, value: int, *, within_s: float) -> None:
        """Write one register (function 6)."""
        request = WriteSingleRegisterRequest(address=address, registers=[value])
        message = await self._ask(unit, request, 5, within_s)
        answer = WriteSingleRegisterResponse()
        answer.decode(message[1:])
        if (answer.address, answer.registers) != (address, [value]):
            raise BadReply(f"unit {unit} confirms another write than the one sent")

    async def _ask(self, unit: int, request: ModbusPDU, length: int, within_s: float) -> bytes:
        try:
            message = bytes((request.function_code,)) + request.encode()
        except (ModbusException, ValueError, struct.error) as error:
            raise Misconfigured(f"{self._port.name}: {error}") from error
        return await self._ask_bytes(unit, message, length, within_s)

    async def _ask_bytes(self, unit: int, message: bytes, length: int, within_s: float) -> bytes:
        """The answer's message, function code first. `length` is what is due, in bytes."""
        function = message[0]
        frame = self._framing.wrap(unit, message)
        answer = await self._port.exchange(
            frame,
            self._framing.scan(unit, function, length),
            answer_bytes=RTU_OVERHEAD + length,
            answer_within_s=within_s,
        )
        if answer[0] & _ERROR_BIT:
            where = f"{self._port.name}: unit {unit}"
            if (reason := _WILL_NOT.get(answer[1])) is not None:
                raise Misconfigured(
                    f"{where} {reason} (function {function}, exception {answer[1]})"
                )
            raise Unavailable(f"{where} is busy or has failed (exception {answer[1]})")
        return answer


def _length(spoken: int, function: int, length: int) -> int:
    if spoken == function:
        return length
    if spoken == function | _ERROR_BIT:
        return 2
    raise BadReply(f"function {spoken} was answered, {function} was asked")


def _checksum(frame: bytes | bytearray) -> bytes:
    return FramerRTU.compute_CRC(bytes(frame)).to_bytes(2, "big")
