"""A controller that speaks GB/T 20999-2017 over TCP, UDP or a serial line.

It takes all red, yellow flash and their cancellation, by command pipe or by run mode, and runs its
own program otherwise; with `falls_back_after_s` also when its host has been silent for so long.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from drivers.errors import BadReply
from drivers.ports import Baud
from drivers.ports.serial import Config as Serial
from drivers.protocols import gbt20999 as gbt
from drivers.protocols.gbt20999 import Checksum, Dialect, Frame, Id, Kind, Length, Refusal, Value
from firmware_sim.controllers import Address, Controller, ControllerConfig, Responder, Stage
from firmware_sim.framing import Request
from firmware_sim.serial_device import open_pty
from firmware_sim.tcp_device import open_tcp
from firmware_sim.udp_device import open_udp
from wire.aspect import Aspect

_PIPE: Final = Id(0x12, 1)
_WANTED_MODE: Final = Id(0x11, 4)
_RUN_MODE: Final = Id(0x0D, 2, 2)
_FIXED_CYCLE: Final = 0x21
_BY_PIPE: Final = {0: _FIXED_CYCLE, 1: 0x31, 2: 0x32, 4: 0x33}
_LAMPS: Final = {0x31: Aspect.FLASHING_AMBER, 0x32: Aspect.RED, 0x33: Aspect.OFF}


class Config(ControllerConfig):
    """`program` is what its own program shows. `link` and `baud` are for transport "pty"."""

    kind: Literal["gbt20999"]
    transport: Literal["tcp", "udp", "pty"] = "tcp"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    link: str | None = None
    baud: Baud = 9600
    controller_id: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 1
    checksum: Checksum = Checksum.X1005
    length: Length = Length.WITH_CHECKSUM
    program: Aspect = Aspect.GREEN
    falls_back_after_s: Annotated[float, Field(gt=0)] | None = None

    @property
    def links(self) -> tuple[str, ...]:
        return () if self.link is None else (self.link,)

    @model_validator(mode="after")
    def _has_a_place(self) -> "Config":
        if (self.transport == "pty") != (self.link is not None):
            raise ValueError('transport = "pty" and link go together')
        return self


class Gbt20999(Responder):
    """One controller with one junction."""

    def __init__(self, config: Config, stage: Stage) -> None:
        super().__init__(stage, config.program)
        self._config = config
        self._mode = _FIXED_CYCLE
        self.dialect = Dialect(config.checksum, config.length, escaped=config.transport != "udp")

    def answer(self, message: bytes) -> bytes | None:
        body = message
        try:
            if not self.dialect.escaped:
                body = gbt.take(bytearray(message), self.dialect) or b""
            frame = gbt.decode(body, self.dialect)
        except BadReply:  # here, a question that cannot be believed
            return None
        if frame.controller != self._config.controller_id:
            return None
        self._fall_after(self._config.falls_back_after_s, lambda: self._run(_FIXED_CYCLE))
        match frame.kind:
            case Kind.HEARTBEAT:
                return self._reply(frame, Kind.HEARTBEAT_ANSWER)
            case Kind.QUERY:
                return self._each(frame, self._tell, Kind.QUERY_ANSWER, Kind.QUERY_ERROR)
            case Kind.SET:
                return self._each(frame, self._take, Kind.SET_ANSWER, Kind.SET_ERROR)
        return None

    def _each(
        self, asked: Frame, do: Callable[[Value], bytes | Refusal], well: Kind, ill: Kind
    ) -> bytes:
        found = [(value, do(value)) for value in asked.values]
        if faults := [
            value._replace(content=bytes((said,)))
            for value, said in found
            if isinstance(said, Refusal)
        ]:
            return self._reply(asked, ill, *faults)
        values = [v._replace(content=said) for v, said in found if isinstance(said, bytes)]
        return self._reply(asked, well, *values)

    def _tell(self, value: Value) -> bytes | Refusal:
        if value.id[:3] != _RUN_MODE[:3] or value.id.element > 1:
            return Refusal.NO_SUCH_VALUE
        return bytes((self._mode,))

    def _take(self, value: Value) -> bytes | Refusal:
        code = int.from_bytes(value.content, "big")
        if value.id == _PIPE:
            mode = _BY_PIPE.get(code)
        elif value.id == _WANTED_MODE:
            mode = code if code in _LAMPS or 0x10 <= code < 0x30 else None
        else:
            return Refusal.NO_SUCH_VALUE
        if mode is None:
            return Refusal.BAD_VALUE
        self._run(mode)
        return value.content

    def _run(self, mode: int) -> None:
        if self.fault.obeys(self._stage.t_s()):
            self._mode = mode
        self._show(_LAMPS.get(self._mode, self._config.program))

    def _reply(self, asked: Frame, kind: Kind, *values: Value) -> bytes:
        return gbt.encode(asked._replace(kind=kind, values=values), self.dialect)


class _Stream:
    """Frames on a line where bytes follow each other. An answer is a whole frame already."""

    overhead = 0

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._buffer = bytearray()

    def feed(self, data: bytes, now_s: float) -> Iterator[Request]:
        self._buffer += data
        while (body := gbt.take(self._buffer, self._dialect)) is not None:
            yield Request(0, body)

    def wrap(self, request: Request, pdu: bytes) -> bytes:
        return pdu


@asynccontextmanager
async def open(config: Config, stage: Stage) -> AsyncIterator[Controller]:
    """The controller, on a port of 127.0.0.1 or a pseudo-terminal. Raises LineError."""
    controller = Gbt20999(config, stage)
    try:
        async with _open_line(config, stage, controller) as controller.address:
            yield controller
    finally:
        controller.close()


def _open_line(
    config: Config, stage: Stage, controller: Gbt20999
) -> AbstractAsyncContextManager[Address]:
    if config.transport == "udp":
        return open_udp(config.port, controller.hear)
    if config.transport == "tcp":
        return open_tcp(config.port, lambda: _Stream(controller.dialect), controller.hear)
    assert config.link is not None  # or the config would be at fault
    device = str(stage.folder / config.link)
    settings = Serial(kind="serial", device=device, baud=config.baud)
    return open_pty(settings, controller.hear, lambda: _Stream(controller.dialect))
