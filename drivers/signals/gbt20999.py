"""A signal controller that speaks GB/T 20999-2017: all red, yellow flash, or its own program.

The command goes through the command pipe (class 12) or the run mode of the centre's control
(class 11, object 4); what the junction does is read from its run mode. With each command goes a
heartbeat, and none by a clock of its own: who keeps a link alive while nobody decides any more
keeps a stale green alive.

"cancel" gives the junction back to its own program, which is green for somebody, and so is what
follows the death of the gateway where the controller falls back by itself. A second path must
close the road then; `second_path` names it.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from drivers.errors import BadReply, Misconfigured, Unavailable
from drivers.ports import Port, PortConfig, Scan
from drivers.protocols import gbt20999 as gbt
from drivers.protocols.gbt20999 import Checksum, Dialect, Frame, Id, Kind, Length, Refusal, Value
from drivers.signals import FindProfile, Signal, SignalConfig, Wiring, demand_whole, warns
from wire.aspect import Aspect


class Command(StrEnum):
    """What a controller can be told here."""

    CANCEL = "cancel"
    YELLOW_FLASH = "yellow_flash"
    ALL_RED = "all_red"
    LAMPS_OFF = "lamps_off"


PIPE: Final = Id(0x12, 1)
RUN_MODE: Final = Id(0x11, 4)

_BY_PIPE: Final = {
    Command.CANCEL: 0,
    Command.YELLOW_FLASH: 1,
    Command.ALL_RED: 2,
    Command.LAMPS_OFF: 4,
}
_BY_RUN_MODE: Final = {
    Command.CANCEL: 0x20,  # local control, whichever it is
    Command.YELLOW_FLASH: 0x31,
    Command.ALL_RED: 0x32,
    Command.LAMPS_OFF: 0x33,
}
_SEEN_AS: Final = {mode: command for command, mode in _BY_RUN_MODE.items() if mode > 0x30}
_OWN_PROGRAM: Final = range(0x10, 0x30)
"""Run modes of control by the centre and of local control: the junction runs a program."""

_MAY_PASS: Final = (Refusal.FAILED, Refusal.CONTROL_FAILED)
_LARGEST_ANSWER_BYTES: Final = 64

_Byte = Annotated[int, Field(ge=0, le=255)]


def _is_id(text: str) -> str:
    gbt.parse_id(text)
    return text


IdText = Annotated[str, AfterValidator(_is_id)]


class Config(SignalConfig):
    """`falls_back_after_s` is the time after which the controller itself gives up a command whose
    host has gone silent, if it does. `clearance_s` is the yellow and all-red of the controller:
    before, nobody misses the aspect.

    Unsure, and so to be checked on the controller: `checksum` and `length` (implementations
    differ), `run_mode` (class.object.attribute.element of the junction's run mode; element 00 asks
    for all of them), `command_bytes` (one source gives the pipe's value 16 bytes).
    """

    rides_on: ClassVar = ("tcp", "udp", "serial")
    watchdog_key: ClassVar = "falls_back_after_s"

    kind: Literal["gbt20999"]
    port: str
    host_id: _Byte = 1
    controller_id: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 1
    junction_id: _Byte = 1
    within_ms: Annotated[int, Field(ge=20, le=10_000)] = 1000
    checksum: Checksum = Checksum.X1005
    length: Length = Length.WITH_CHECKSUM
    commands: dict[Aspect, Command] = {
        Aspect.GREEN: Command.CANCEL,
        Aspect.FLASHING_AMBER: Command.YELLOW_FLASH,
        Aspect.AMBER: Command.YELLOW_FLASH,
        Aspect.RED: Command.ALL_RED,
    }
    command_by: Literal["command_pipe", "run_mode"] = "command_pipe"
    command_bytes: Annotated[int, Field(ge=1, le=16)] = 1
    run_mode: IdText = "0D.02.02.00"
    falls_back_after_s: Annotated[float, Field(gt=0, le=86400)] | None = None
    second_path: str = ""
    clearance_s: Annotated[float, Field(ge=0, le=120)] = 10

    @property
    def can_show(self) -> Collection[Aspect]:
        return self.commands.keys()

    @property
    def turns_within_s(self) -> float:
        return self.clearance_s

    @property
    def refresh_within_s(self) -> float | None:
        return self.falls_back_after_s

    def show_s(self, port: PortConfig, profile: FindProfile) -> float:
        """Frames of command, heartbeat and query with their answers, few bytes of them escaped."""
        frames = 6 * gbt.EMPTY_FRAME_BYTES + 4 * gbt.VALUE_BYTES + 2 * self.command_bytes
        return frames * port.byte_s + 6 * port.gap_s

    def wait_s(self, profile: FindProfile) -> float:
        return self.within_ms / 1000

    @model_validator(mode="after")
    def _whole(self) -> "Config":
        # Amber and flashing amber may share a command: no other amber is to be had.
        told = {aspect: (command,) for aspect, command in self.commands.items()}
        if self.commands.get(Aspect.AMBER) is self.commands.get(Aspect.FLASHING_AMBER):
            told.pop(Aspect.FLASHING_AMBER, None)
        demand_whole("commands", told)
        for aspect, command in self.commands.items():
            if command is Command.CANCEL and not warns(aspect) and not self.second_path.strip():
                raise ValueError(
                    f"commands: without orders the junction shows its own program, which is "
                    f"{aspect.value} here; say in second_path what closes the road when the "
                    "gateway is dead"
                )
            if command is Command.YELLOW_FLASH and not warns(aspect):
                raise ValueError(f"commands: {aspect.value} by yellow_flash would warn by mistake")
            if warns(aspect) and command in (Command.CANCEL, Command.LAMPS_OFF):
                shown = "its own program" if command is Command.CANCEL else "no lamp"
                raise ValueError(
                    f"commands: {aspect.value} by {command.value} would show {shown}, which warns "
                    "nobody: use yellow_flash or all_red"
                )
            if aspect is Aspect.RED and command is not Command.ALL_RED:
                raise ValueError(f"commands: red cannot be shown by {command.value}")
        return self


class Gbt20999:
    """One junction of one controller."""

    def __init__(self, config: Config, port: Port) -> None:
        self._config = config
        self._port = port
        self._dialect = Dialect(config.checksum, config.length, escaped=not port.datagrams)
        self._run_mode = gbt.parse_id(config.run_mode)
        self._sequence = 0
        self._last: Aspect | None = None

    async def show(self, aspect: Aspect) -> None:
        if (command := self._config.commands.get(aspect)) is None:
            raise Misconfigured(f"the config has no commands.{aspect.value}")
        self._last = aspect
        by_pipe = self._config.command_by == "command_pipe"
        code = (_BY_PIPE if by_pipe else _BY_RUN_MODE)[command]
        content = code.to_bytes(self._config.command_bytes if by_pipe else 1, "big")
        await self._ask(Kind.SET, Value(PIPE if by_pipe else RUN_MODE, content))
        await self._ask(Kind.HEARTBEAT)

    async def read_back(self) -> Aspect | None:
        answer = await self._ask(Kind.QUERY, Value(self._run_mode))
        if len(answer.values) != 1 or answer.values[0].id[:3] != self._run_mode[:3]:
            raise BadReply(f"{self._port.name}: the controller answers for another value")
        if len(content := answer.values[0].content) != 1:
            raise BadReply(
                f"{self._port.name}: {len(content)} bytes of run mode, 1 was due; "
                "give run_mode the element of this junction"
            )
        (mode,) = content
        command = Command.CANCEL if mode in _OWN_PROGRAM else _SEEN_AS.get(mode)
        shown = [a for a, by in self._config.commands.items() if by is command]
        return self._last if self._last in shown else next(iter(shown), None)

    async def _ask(self, kind: Kind, *values: Value) -> Frame:
        config = self._config
        self._sequence = self._sequence % 0xFF + 1
        ids = (config.host_id, config.controller_id, config.junction_id)
        request = gbt.encode(Frame(kind, self._sequence, values, *ids), self._dialect)
        answer = gbt.decode(
            await self._port.exchange(
                request,
                self._scan(kind, self._sequence),
                answer_bytes=_LARGEST_ANSWER_BYTES,
                answer_within_s=config.within_ms / 1000,
                late_s=0.0,
                mistakable=False,  # it bears the number of its question
            ),
            self._dialect,
        )
        if answer.kind != kind + 0x10:
            self._refused(answer)
        return answer

    def _scan(self, kind: Kind, sequence: int) -> Scan:
        """Passes over what the controller says unasked, and late answers to earlier questions."""

        def answer(received: bytearray) -> bytes | None:
            while received and (body := gbt.take(received, self._dialect)) is not None:
                frame = gbt.decode(body, self._dialect)
                if frame.sequence != sequence or frame.kind not in (kind + 0x10, kind + 0x11):
                    continue
                if frame.controller != self._config.controller_id:
                    raise BadReply(
                        f"controller {frame.controller} spoke, "
                        f"{self._config.controller_id} was asked"
                    )
                return body
            return None

        return answer

    def _refused(self, answer: Frame) -> None:
        codes = [value.content[-1] for value in answer.values if value.content]
        code = codes[0] if codes else Refusal.FAILED
        known = code in set(Refusal)
        reason = Refusal(code).name.lower().replace("_", " ") if known else f"error {code:#04x}"
        text = f"{self._port.name}: controller {answer.controller} refuses: {reason}"
        if code in _MAY_PASS:
            raise Unavailable(text)
        raise Misconfigured(text)


@asynccontextmanager
async def open(config: Config, wiring: Wiring) -> AsyncIterator[Signal]:
    """The signal that `config` describes."""
    yield Gbt20999(config, wiring.ports[config.port])
