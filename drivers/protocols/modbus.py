"""Modbus master: one request, one believed answer.

An answer counts only if unit, function, byte count, length and checksum (or transaction number)
are those that the request demands. What may come late never passes for it: see
`drivers.ports.line` and decision record 0003.

Source: MODBUS Application Protocol Specification V1.1b3; MODBUS over Serial Line V1.02;
MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
"""

import struct
from collections.abc import Sequence
from typing import Final, Protocol

from drivers.errors import BadReply, Misconfigured, Unavailable
from drivers.ports import Port, Scan

RTU_OVERHEAD: Final = 3
"""Bytes that RTU adds to a message: unit and checksum."""

READ_REQUEST_BYTES: Final = RTU_OVERHEAD + 5
"""Function, address, count."""

SINGLE_WRITE_BYTES: Final = RTU_OVERHEAD + 5
"""Function, address, value; the answer is its echo."""

READ_COILS: Final = 1
READ_INPUTS: Final = 2
READ_HOLDING: Final = 3
READ_INPUT: Final = 4
WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
WRITE_COILS: Final = 15

MOST_REGISTERS: Final = 125
MOST_BITS: Final = 2000
MOST_COILS_WRITTEN: Final = 1968

_ERROR_BIT: Final = 0x80
_EXCEPTION_BYTES: Final = 2
_COIL_ON: Final = 0xFF00
_CLICK: Final = 3
"""Bytes that may follow an answer: a transceiver that lets go of the line clicks."""

_MBAP: Final = struct.Struct(">HHHB")
_THREE: Final = struct.Struct(">BHH")
_WORDS: Final = [struct.Struct(f">{count}H") for count in range(MOST_REGISTERS + 1)]
_WILL_NOT: Final[dict[int, str]] = {
    1: "does not know this function",
    2: "has no such register",
    3: "does not take this value or count",
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


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def checksum(frame: bytes | bytearray) -> int:
    """CRC-16 of a frame, which stands behind it with its low byte first; 0 of one with its own
    checksum (MODBUS over Serial Line V1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


class Framing(Protocol):
    """How a message travels: with a checksum (RTU) or with a transaction number (TCP).

    `numbered` answers tell to which request they belong.
    """

    numbered: bool

    def wrap(self, unit: int, message: bytes) -> bytes:
        """The frame that carries `message` to `unit`."""
        ...

    def scan(self, unit: int, head: bytes, length: int) -> Scan:
        """Finds the answer to the frame last wrapped: `length` bytes that begin with `head`, the
        function first, or an exception."""
        ...


class Rtu:
    """Unit, message, CRC-16 with the low byte first."""

    numbered = False

    def __init__(self) -> None:
        self._sent = b""

    def wrap(self, unit: int, message: bytes) -> bytes:
        frame = bytes((unit,)) + message
        self._sent = frame + checksum(frame).to_bytes(2, "little")
        return self._sent

    def scan(self, unit: int, head: bytes, length: int) -> Scan:
        sent = self._sent

        def answer(received: bytearray) -> bytes | None:
            if len(received) < 2:
                return None
            if received[0] != unit:
                raise BadReply(f"unit {received[0]} spoke, unit {unit} was asked")
            is_exception = received[1] == head[0] | _ERROR_BIT
            need = RTU_OVERHEAD + (_EXCEPTION_BYTES if is_exception else length)
            if not is_exception and not head.startswith(received[1 : 1 + len(head)]):
                if not sent.startswith(received[: len(sent)]):
                    raise _unlike(unit, received[1:], head)
                if len(received) >= len(sent):
                    raise BadReply("the line echoes what is sent: set echo = true for this port")
                return None
            if len(received) < need:
                return None
            if len(received) > need + _CLICK:
                raise BadReply(f"{len(received)} bytes, {need} were due")
            if checksum(received[:need]) != 0:
                raise BadReply(f"unit {unit}: wrong checksum")
            return bytes(received[1 : need - 2])

        return answer


class Tcp:
    """MBAP header: transaction number, protocol 0, length, unit."""

    numbered = True

    def __init__(self) -> None:
        self._transaction = 0

    def wrap(self, unit: int, message: bytes) -> bytes:
        self._transaction = self._transaction % 0xFFFF + 1
        return _MBAP.pack(self._transaction, 0, len(message) + 1, unit) + message

    def scan(self, unit: int, head: bytes, length: int) -> Scan:
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
                is_exception = message[0] == head[0] | _ERROR_BIT
                need = _EXCEPTION_BYTES if is_exception else length
                if message[0] == head[0] and len(message) != need:
                    raise BadReply(f"unit {unit}: {len(message)} bytes, {need} were due")
                if not is_exception and not message.startswith(head):
                    raise _unlike(unit, message, head)
                return message
            return None

        return answer


class Master:
    """Reads and writes the devices on one port. Every call is one exchange, without a retry.

    `within_s` is how long to wait for the answer, `late_s` how late it could come at worst (None:
    twice as long). Raises Unavailable (silence, or the device is busy), BadReply (an answer that
    cannot be believed) or Misconfigured (the device works and refuses).
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self._framing: Framing = Tcp() if port.framing == "tcp" else Rtu()
        self._is_urgent = False

    def for_lamps(self) -> "Master":
        """The same master, whose requests do not wait for the rest after other devices' silence."""
        urgent = Master(self.port)
        urgent._framing, urgent._is_urgent = self._framing, True  # one row of transaction numbers
        return urgent

    async def read_registers(
        self,
        unit: int,
        function: int,
        address: int,
        count: int,
        *,
        within_s: float,
        late_s: float | None = None,
        urgent: bool = False,
    ) -> list[int]:
        """`count` registers from `address`: holding (function 3) or input (function 4)."""
        if not 1 <= count <= MOST_REGISTERS:
            raise Misconfigured(f"{self.port.name}: {count} registers are not 1 to 125")
        head = bytes((function, 2 * count))
        request = self._pack(function, address, count)
        answer = await self._ask(
            unit, request, head, 2 + 2 * count, within_s, late_s, urgent or self._is_urgent
        )
        return list(_WORDS[count].unpack_from(answer, 2))

    async def read_coils(
        self, unit: int, address: int, count: int, *, within_s: float, late_s: float | None = None
    ) -> list[bool]:
        """`count` coils from `address` (function 1)."""
        return await self._read_bits(READ_COILS, unit, address, count, within_s, late_s)

    async def read_inputs(
        self, unit: int, address: int, count: int, *, within_s: float, late_s: float | None = None
    ) -> list[bool]:
        """`count` discrete inputs from `address` (function 2)."""
        return await self._read_bits(READ_INPUTS, unit, address, count, within_s, late_s)

    async def write_coils(
        self, unit: int, address: int, values: Sequence[bool], *, within_s: float
    ) -> None:
        """Switch neighbouring coils in one message (function 15). The echo proves receipt only."""
        if not 1 <= len(values) <= MOST_COILS_WRITTEN:
            raise Misconfigured(
                f"{self.port.name}: {len(values)} coils are not 1 to {MOST_COILS_WRITTEN}"
            )
        head = self._pack(WRITE_COILS, address, len(values))
        length = (len(values) + 7) // 8
        packed = sum(on << coil for coil, on in enumerate(values))
        request = head + bytes((length,)) + packed.to_bytes(length, "little")
        await self._write(unit, request, head, within_s)

    async def write_coil(self, unit: int, address: int, on: bool, *, within_s: float) -> None:
        """Switch one coil (function 5). The echo proves receipt only."""
        await self.write_coil_value(unit, address, _COIL_ON if on else 0, within_s=within_s)

    async def write_coil_value(
        self, unit: int, address: int, value: int, *, within_s: float
    ) -> None:
        """Function 5 with a value of the maker's own, such as a pulse length."""
        request = self._pack(WRITE_COIL, address, value)
        await self._write(unit, request, request, within_s)

    async def write_register(self, unit: int, address: int, value: int, *, within_s: float) -> None:
        """Write one register (function 6)."""
        request = self._pack(WRITE_REGISTER, address, value)
        await self._write(unit, request, request, within_s)

    async def _read_bits(
        self,
        function: int,
        unit: int,
        address: int,
        count: int,
        within_s: float,
        late_s: float | None,
    ) -> list[bool]:
        if not 1 <= count <= MOST_BITS:
            raise Misconfigured(f"{self.port.name}: {count} bits are not 1 to {MOST_BITS}")
        length = (count + 7) // 8
        request = self._pack(function, address, count)
        answer = await self._ask(
            unit, request, bytes((function, length)), 2 + length, within_s, late_s, self._is_urgent
        )
        packed = int.from_bytes(answer[2:], "little")
        return [bool(packed >> bit & 1) for bit in range(count)]

    async def _write(self, unit: int, request: bytes, echo: bytes, within_s: float) -> None:
        """Nobody believes a write before it was read back, so its echo cannot be mistaken."""
        answer = await self._ask(
            unit, request, echo[:1], len(echo), within_s, None, self._is_urgent, mistakable=False
        )
        if answer != echo:
            raise BadReply(f"unit {unit} confirms another write than the one sent")

    async def _ask(
        self,
        unit: int,
        message: bytes,
        head: bytes,
        length: int,
        within_s: float,
        late_s: float | None,
        urgent: bool,
        *,
        mistakable: bool = True,
    ) -> bytes:
        """The answer's message, function code first: `length` bytes that begin with `head`."""
        port, framing = self.port, self._framing
        if framing.numbered and not port.byte_s:
            late_s = 0.0  # and there is no line behind that a late answer would keep busy
        frame = framing.wrap(unit, message)
        answer = await port.exchange(
            frame,
            framing.scan(unit, head, length),
            answer_bytes=RTU_OVERHEAD + length,
            answer_within_s=within_s,
            late_s=late_s,
            begins=b"" if framing.numbered else frame[:2],
            urgent=urgent,
            mistakable=mistakable and not framing.numbered,
        )
        if answer[0] & _ERROR_BIT:
            where = f"{port.name}: unit {unit}"
            if (reason := _WILL_NOT.get(answer[1])) is not None:
                raise Misconfigured(f"{where} {reason} (function {head[0]}, exception {answer[1]})")
            raise Unavailable(f"{where} is busy or has failed (exception {answer[1]})")
        return answer

    def _pack(self, function: int, address: int, value: int) -> bytes:
        try:
            return _THREE.pack(function, address, value)
        except struct.error:
            raise Misconfigured(
                f"{self.port.name}: address {address} or value {value} is not of 16 bits"
            ) from None


def _unlike(unit: int, message: bytes | bytearray, head: bytes) -> BadReply:
    if message[0] != head[0]:
        return BadReply(f"function {message[0]} was answered, {head[0]} was asked")
    return BadReply(f"unit {unit}: {message[1]} bytes of data, {head[1]} were due")
