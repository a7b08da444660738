"""A controller that speaks NTCIP 1202: an SNMP agent with preempts and special functions.

A call drops to 0 when no SET has come for unitBackupTime. The lowest preempt that is called rules,
then the lowest special function that is on, then the controller's own program.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal

from pydantic import Field

from configs.loader import UserError
from drivers.signals.ntcip1202 import DWELL, NOT_ACTIVE, Oids
from firmware_sim.controllers import Controller, ControllerConfig, Responder, Stage
from firmware_sim.udp_device import open_udp
from wire.aspect import Aspect

Oid = tuple[int, ...]

Speak = Callable[[bytes, str, "Ntcip1202"], bytes | None]
"""`firmware_sim.snmp.answer`."""

NO_ERROR, WRONG_VALUE, NO_CREATION, NOT_WRITABLE = 0, 10, 11, 17
"""Error status of SNMPv2c (RFC 3416, 3)."""

_PHASES: Final = 0xFF
_MAIN_ROAD: Final = 0b0010_0010
"""Phases 2 and 6, which are green while the program rests on the main road."""


class Config(ControllerConfig):
    """Preempt n shows the n-th of `preempts`, special function n the n-th of
    `special_functions`; with nothing called, `rest` shows."""

    kind: Literal["ntcip1202"]
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    community: str = "public"
    backup_time_s: Annotated[int, Field(ge=0, le=65535)]
    preempts: tuple[Aspect, ...] = ()
    special_functions: tuple[Aspect, ...] = ()
    rest: Aspect = Aspect.GREEN


class Ntcip1202(Responder):
    """The controller's objects, and what follows from them."""

    def __init__(self, config: Config, stage: Stage, speak: Speak) -> None:
        super().__init__(stage, config.rest)
        self._config = config
        self._speak = speak
        oids = Oids()
        self._preempts = _rows(oids.preempt_control_state, len(config.preempts))
        self._preempt_states = _rows(oids.preempt_state, len(config.preempts))
        self._functions = _rows(oids.special_function_output_control, len(config.special_functions))
        self._function_states = _rows(
            oids.special_function_output_status, len(config.special_functions)
        )
        self._colours = (
            (*_numbers(oids.phase_status_group_reds), 1),
            (*_numbers(oids.phase_status_group_yellows), 1),
            (*_numbers(oids.phase_status_group_greens), 1),
        )
        self._backup_time = _numbers(oids.unit_backup_time)
        self._calls: dict[Oid, int] = dict.fromkeys((*self._preempts, *self._functions), 0)
        self._served = dict(self._calls)

    def get(self, oid: Oid) -> int | None:
        """The value of an object, None if there is none."""
        return self._objects().get(oid)

    def set(self, values: Mapping[Oid, int]) -> int:
        """Set all, or none and say why: an error status of SNMPv2c."""
        for oid, value in values.items():
            if oid not in self._calls:
                return NOT_WRITABLE if oid in self._objects() else NO_CREATION
            if value not in (0, 1):
                return WRONG_VALUE
        self._calls |= values
        self._serve()
        self._fall_after(self._config.backup_time_s or None, self._back_up)
        return NO_ERROR

    def answer(self, message: bytes) -> bytes | None:
        return self._speak(message, self._config.community, self)

    def _back_up(self) -> None:
        self._calls = dict.fromkeys(self._calls, 0)
        self._serve()

    def _serve(self) -> None:
        if self.fault.obeys(self._stage.t_s()):
            self._served = dict(self._calls)
        wanted = [
            aspect
            for oids, aspects in (
                (self._preempts, self._config.preempts),
                (self._functions, self._config.special_functions),
            )
            for oid, aspect in zip(oids, aspects, strict=True)
            if self._served[oid]
        ]
        self._show(wanted[0] if wanted else self._config.rest)

    def _objects(self) -> dict[Oid, int]:
        states = {
            oid: DWELL if self._served[call] else NOT_ACTIVE
            for oid, call in zip(self._preempt_states, self._preempts, strict=True)
        }
        outputs = {
            oid: self._served[call]
            for oid, call in zip(self._function_states, self._functions, strict=True)
        }
        lamps = dict(zip(self._colours, _lamps(self.shows), strict=True))
        return (
            self._calls | states | outputs | lamps | {self._backup_time: self._config.backup_time_s}
        )


def _lamps(aspect: Aspect) -> tuple[int, int, int]:
    """Phases that are red, yellow, green."""
    match aspect:
        case Aspect.RED:
            return _PHASES, 0, 0
        case Aspect.AMBER | Aspect.FLASHING_AMBER:
            return 0, _PHASES, 0
        case Aspect.GREEN:
            return _PHASES ^ _MAIN_ROAD, 0, _MAIN_ROAD
        case _:
            return 0, 0, 0


def _numbers(dotted: str) -> Oid:
    return tuple(map(int, dotted.split(".")))


def _rows(column: str, count: int) -> tuple[Oid, ...]:
    return tuple((*_numbers(column), row) for row in range(1, count + 1))


@asynccontextmanager
async def open(config: Config, stage: Stage) -> AsyncIterator[Controller]:
    """The controller, on a UDP port of 127.0.0.1. Raises UserError without the SNMP library."""
    try:
        from firmware_sim.snmp import answer  # an extra, not in every install
    except ModuleNotFoundError as error:
        raise UserError(
            f"controller.{stage.name}: ntcip1202 needs {error.name}, which is not installed: "
            "pip install 'shuichi[ntcip]'"
        ) from None
    controller = Ntcip1202(config, stage, answer)
    try:
        async with open_udp(config.port, controller.hear) as controller.address:
            yield controller
    finally:
        controller.close()
