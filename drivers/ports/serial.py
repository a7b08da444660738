"""A serial line: RS-485 or RS-232, through a USB adapter or the board's own UART."""

import asyncio
import contextlib
import os
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal

import serial
from pydantic import Field

from drivers.errors import BadReply, Unavailable
from drivers.ports import Baud, Port, PortConfig, Scan
from drivers.ports.line import Line

FASTEST_WITH_CHARACTER_GAP: Final = 19200
"""Above this rate the silence between RTU frames is fixed (Modbus over Serial Line, 2.5.1.1)."""

_FIXED_GAP_S: Final = 0.00175
_PARITY: Final = {
    "none": serial.PARITY_NONE,
    "even": serial.PARITY_EVEN,
    "odd": serial.PARITY_ODD,
}


class Config(PortConfig):
    """`device` is a path such as /dev/ttyUSB0, better one under /dev/serial/by-id.

    `echo`: the adapter hears itself, so that what is sent comes back before the answer. `gap_ms`
    is the silence before a request, unless given that of the standard; with 0, devices that are
    slow to notice the end of an answer to somebody else may not hear the request behind it.

    `devices_set`: somebody has set the devices to this baud, parity and stop_bits, although their
    profiles leave the factory with others.
    """

    kind: Literal["serial"]
    device: Annotated[str, Field(min_length=1)]
    baud: Baud = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    echo: bool = False
    devices_set: bool = False
    gap_ms: Annotated[float, Field(ge=0, le=1000)] | None = None

    @property
    def byte_s(self) -> float:
        """Time of one character: start bit, 8 data bits, parity, stop bits."""
        return (9 + (self.parity != "none") + self.stop_bits) / self.baud

    @property
    def gap_s(self) -> float:
        """Silence between two RTU frames: 3.5 characters, or 1.75 ms above 19200 baud."""
        if self.gap_ms is not None:
            return self.gap_ms / 1000
        return 3.5 * self.byte_s if self.baud <= FASTEST_WITH_CHARACTER_GAP else _FIXED_GAP_S

    @property
    def framing(self) -> str:
        """How Modbus travels on this line."""
        return "rtu"

    @property
    def place(self) -> str:
        """What a person would look for: the device's path."""
        return self.device


class SerialLine(Line):
    """A serial port of the kernel, read without a thread."""

    exact_gap = True

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name)
        self._config = config
        self._serial: serial.Serial | None = None
        self.framing, self.byte_s, self.gap_s = config.framing, config.byte_s, config.gap_s

    @property
    def is_open(self) -> bool:
        return self._serial is not None

    def expect(self, request: bytes, scan: Scan) -> Scan:
        return _behind(request, scan) if self._config.echo else scan

    async def open(self) -> None:
        config = self._config
        try:
            opened = serial.Serial(
                config.device,
                config.baud,
                parity=_PARITY[config.parity],
                stopbits=config.stop_bits,
                timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as error:
            raise Unavailable(f"{config.device}: {_reason(error, config.device)}") from None
        try:
            asyncio.get_running_loop().add_reader(opened.fileno(), self._readable)
        except (OSError, ValueError) as error:
            _close(opened)
            raise Unavailable(f"{config.device}: {error}") from None
        self._serial = opened

    def write(self, data: bytes) -> None:
        if self._serial is None:
            self.drop("closed")
            return
        try:
            taken = os.write(self._serial.fileno(), data)
        except (OSError, ValueError) as error:
            self.drop(f"write failed: {_text(error)}")
            return
        if taken < len(data):
            self.drop(f"write failed: the adapter took {taken} of {len(data)} bytes")

    async def close(self) -> None:
        if self._serial is not None:
            self.drop("closed")

    def drop(self, why: str) -> None:
        opened, self._serial = self._serial, None
        if opened is not None:
            with contextlib.suppress(OSError, ValueError):
                asyncio.get_running_loop().remove_reader(opened.fileno())
            _close(opened)
        self.lost(why)

    def _readable(self) -> None:
        if self._serial is None:
            return
        try:
            data = os.read(self._serial.fileno(), 4096)
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self.drop(f"read failed: {_text(error)}")
            return
        if data:
            self.received(data)
        else:
            self.drop("the adapter is gone")


@asynccontextmanager
async def open(name: str, config: Config) -> AsyncIterator[Port]:
    """The port `name`. The line itself is opened by the first exchange, and again after a loss."""
    line = SerialLine(name, config)
    try:
        yield line
    finally:
        await line.close()


def _behind(request: bytes, scan: Scan) -> Scan:
    """Looks for the answer behind what was sent ourselves."""
    heard_itself = False

    def answer(received: bytearray) -> bytes | None:
        nonlocal heard_itself
        if not heard_itself:
            if not request.startswith(received[: len(request)]):
                raise BadReply("the echo is not what was sent: did somebody else speak?")
            if len(received) < len(request):
                return None
            del received[: len(request)]
            heard_itself = True
        return scan(received)

    return answer


def _close(opened: serial.Serial) -> None:
    with contextlib.suppress(OSError, ValueError, termios.error):
        opened.close()  # of an adapter that is gone this can fail


def _text(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _reason(error: Exception, device: str) -> str:
    if not os.path.exists(device):
        return "no such port; is the adapter plugged in? (ls /dev/serial/by-id)"
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return "permission denied; add the user to the group dialout"
    if isinstance(error, termios.error):
        return "the adapter does not take this baud, parity or stop_bits"
    if "exclusively lock" in str(error):
        return "in use by another program"
    return str(error)
