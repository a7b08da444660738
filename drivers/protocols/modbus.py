"""Modbus master: one request, one believed answer.

An answer counts only if unit, function, byte count, length and checksum (or transaction number)
are those that the request demands. What may come late never passes for it: see
`drivers.ports.line` and decision record 0003.

Source: MODBUS Application Protocol Specification V1.1b3; MODBUS over Serial Line V1.02;
MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
"""

import struct
from collections.abc import Sequence
from typing import Final

from drivers.errors import BadReply, DriverError, Misconfigured, NotNow, Refused, Unavailable
from drivers.ports import Port
from drivers.protocols.modbus_framing import ERROR_BIT as ERROR_BIT
from drivers.protocols.modbus_framing import RTU_OVERHEAD as RTU_OVERHEAD
from drivers.protocols.modbus_framing import Framing
from drivers.protocols.modbus_framing import Rtu as Rtu
from drivers.protocols.modbus_framing import Tcp as Tcp
from drivers.protocols.modbus_framing import checksum as checksum

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

_COIL_ON: Final = 0xFF00
_THREE: Final = struct.Struct(">BHH")
_WORDS: Final = [struct.Struct(f">{count}H") for count in range(MOST_REGISTERS + 1)]
_WILL_NOT: Final[dict[int, str]] = {
    1: "does not know this function",
    2: "has no such register",
    3: "does not take this value or count",
}
"""Exceptions that come again however often one asks; all others may pass."""

NO_SUCH_REGISTER: Final = 2
_NOT_NOW: Final[dict[int, str]] = {
    4: "has failed",
    5: "needs more time",
    6: "is busy",
    7: "cannot do this",
    8: "has found a fault in its memory",
}
"""Exceptions of a device that answers. Others, such as 10 and 11, come from a gateway between, for
a unit that does not."""

_ADDRESSED: Final = {
    READ_COILS: "coils",
    READ_INPUTS: "inputs",
    READ_HOLDING: "registers",
    READ_INPUT: "registers",
    WRITE_COILS: "coils",
}
"""What a request with an address and a count is about."""


def read_answer_bytes(registers: int) -> int:
    """Length of the RTU frame that answers a read of so many registers."""
    return RTU_OVERHEAD + 2 + 2 * registers


def relay_cycle_bytes(coils: int) -> int:
    """Length of the RTU frames that write so many coils and read them back, answers included."""
    packed = (coils + 7) // 8
    write = RTU_OVERHEAD + 6 + packed + RTU_OVERHEAD + 5
    return write + READ_REQUEST_BYTES + RTU_OVERHEAD + 2 + packed


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
        if answer[0] & ERROR_BIT:
            raise _exception(f"{port.name}: unit {unit}", message, answer[1])
        return answer

    def _pack(self, function: int, address: int, value: int) -> bytes:
        try:
            return _THREE.pack(function, address, value)
        except struct.error:
            raise Misconfigured(
                f"{self.port.name}: address {address} or value {value} is not of 16 bits"
            ) from None


def _exception(where: str, request: bytes, code: int) -> DriverError:
    """What an exception says about a request, which begins with function, address and, of many,
    their count."""
    function, address, count = _THREE.unpack_from(request)
    what = f"function {function}, address {address}"
    if (kind := _ADDRESSED.get(function)) is not None:
        what += f", {count} {kind if count > 1 else kind[:-1]}"
    what += f", exception {code}"
    if (reason := _WILL_NOT.get(code)) is not None:
        return Refused(f"{where} {reason} ({what})", code)
    if (reason := _NOT_NOW.get(code)) is not None:
        return NotNow(f"{where} {reason} ({what})")
    return Unavailable(f"{where} cannot be reached, says the gateway before it ({what})")
