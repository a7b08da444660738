"""A signal controller that speaks NTCIP 1202: preempts and special functions over SNMP.

An aspect is a set of preempts that are called and of special function outputs that are on; all
others that any aspect uses are let go of in the same message. The controller drops them all when
no SET has reached it for unitBackupTime, and goes back to its own program: a dead gateway releases
whatever it had closed. So the map must warn with nothing called, or a second path must close the
road (`second_path` names it).
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, NamedTuple

from pydantic import Field, StringConstraints, model_validator

from configs.loader import Model, UserError
from drivers.errors import BadReply, Misconfigured
from drivers.signals import FindProfile, Signal, SignalConfig, Wiring, demand_whole, warns
from wire.aspect import Aspect

if TYPE_CHECKING:
    from drivers.protocols.snmp import Manager

Oid = tuple[int, ...]
Dotted = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)+$")]
Number = Annotated[int, Field(ge=1, le=255)]

_ASC: Final = "1.3.6.1.4.1.1206.4.2.1"
"""devices.asc of NTCIP 1202: actuated signal controllers."""

NOT_ACTIVE: Final = 2
"""preemptState of a preempt that is neither called nor served."""

DWELL: Final = 6
"""preemptState of a preempt that shows what it is for."""


class Oids(Model):
    """Where the objects are: columns, to which the number of a row is added, and one scalar.

    Source: NTCIP 1202 v02, ASC MIB. That preemptState is column 16 and unitBackupTime object 3 is
    taken from copies of the MIB, not from the standard itself: set them here if yours differ.
    """

    preempt_control_state: Dotted = f"{_ASC}.6.3.1.2"
    preempt_state: Dotted = f"{_ASC}.6.2.1.16"
    special_function_output_control: Dotted = f"{_ASC}.3.14.1.3"
    special_function_output_status: Dotted = f"{_ASC}.3.14.1.4"
    phase_status_group_reds: Dotted = f"{_ASC}.1.4.1.2"
    phase_status_group_yellows: Dotted = f"{_ASC}.1.4.1.3"
    phase_status_group_greens: Dotted = f"{_ASC}.1.4.1.4"
    unit_backup_time: Dotted = f"{_ASC}.3.3.0"


class Calls(Model):
    """What an aspect calls."""

    preempts: tuple[Number, ...] = ()
    special_functions: tuple[Number, ...] = ()

    @property
    def picture(self) -> "Picture":
        return Picture(frozenset(self.preempts), frozenset(self.special_functions))


class Picture(NamedTuple):
    """Preempts in service, and special function outputs that are on."""

    preempts: frozenset[int]
    special_functions: frozenset[int]


NOTHING: Final = Picture(frozenset(), frozenset())


class Config(SignalConfig):
    """`backup_time_s` is unitBackupTime as set on the controller, 0 if its timer is off.

    Read-back "status" believes preemptState and specialFunctionOutputStatus: a preempt counts once
    its state is one of `preempt_active`. "phases" believes the lamps of `phases` as the phase
    status groups tell them: any green is green, then any yellow is amber, then all red is red.
    `clearance_s` is the yellow and all-red of the controller: before, nobody misses the aspect.
    """

    rides_on: ClassVar = ("udp",)
    watchdog_key: ClassVar = "backup_time_s"

    kind: Literal["ntcip1202"]
    port: str
    version: Literal["1", "2c"] = "2c"
    community: Annotated[str, Field(min_length=1)] = "public"
    within_ms: Annotated[int, Field(ge=20, le=10_000)] = 1000
    backup_time_s: Annotated[int, Field(ge=0, le=65535)]
    aspects: dict[Aspect, Calls]
    read_back: Literal["status", "phases"] = "status"
    preempt_active: Annotated[tuple[int, ...], Field(min_length=1)] = (DWELL,)
    phases: tuple[Number, ...] = ()
    second_path: str = ""
    clearance_s: Annotated[float, Field(ge=0, le=120)] = 10
    oids: Oids = Oids()

    @property
    def can_show(self) -> Collection[Aspect]:
        return self.aspects.keys()

    @property
    def turns_within_s(self) -> float:
        return self.clearance_s

    @property
    def refresh_within_s(self) -> float | None:
        return float(self.backup_time_s) or None

    @property
    def pictures(self) -> dict[Picture, Aspect]:
        """The aspect that each set of calls shows."""
        return {calls.picture: aspect for aspect, calls in self.aspects.items()}

    def wait_s(self, profile: FindProfile) -> float:
        return self.within_ms / 1000

    @model_validator(mode="after")
    def _whole(self) -> "Config":
        demand_whole("aspects", {aspect: calls.picture for aspect, calls in self.aspects.items()})
        if not warns(at_rest := self.pictures.get(NOTHING)) and not self.second_path.strip():
            shown = "its own program" if at_rest is None else at_rest.value
            raise ValueError(
                f"aspects: when the gateway is dead, nothing is called and {shown} shows; give {{}}"
                " to red, amber or flashing_amber, or say in second_path what closes the road then"
            )
        if NOT_ACTIVE in self.preempt_active:
            raise ValueError(f"preempt_active: {NOT_ACTIVE} is the state of an idle preempt")
        if (self.read_back == "phases") != bool(self.phases):
            raise ValueError('read_back = "phases" and a list of phases go together')
        told = {Aspect.GREEN, Aspect.AMBER, Aspect.RED}
        if self.phases and (untold := self.aspects.keys() - told):
            raise ValueError(
                f'read_back = "phases" cannot tell {", ".join(a.value for a in untold)}: '
                "leave it out, or read back the status"
            )
        return self


class Ntcip1202:
    """One controller. What is set and what is read are lists that the config decides."""

    def __init__(self, config: Config, manager: "Manager") -> None:
        self._manager = manager
        self._config = config
        self._pictures = config.pictures
        oids = config.oids
        preempts = sorted(frozenset().union(*(p.preempts for p in self._pictures)))
        functions = sorted(frozenset().union(*(p.special_functions for p in self._pictures)))
        self._settings = {
            aspect: {_row(oids.preempt_control_state, n): n in picture.preempts for n in preempts}
            | {
                _row(oids.special_function_output_control, n): n in picture.special_functions
                for n in functions
            }
            for picture, aspect in self._pictures.items()
        }
        self._preempt_states = {n: _row(oids.preempt_state, n) for n in preempts}
        self._function_states = {n: _row(oids.special_function_output_status, n) for n in functions}
        self._backup_time = _numbers(oids.unit_backup_time)
        self._groups = sorted({(phase + 7) // 8 for phase in config.phases})

    async def show(self, aspect: Aspect) -> None:
        if (settings := self._settings.get(aspect)) is None:
            raise Misconfigured(f"the config has no aspects.{aspect.value}")
        await self._manager.set({oid: int(on) for oid, on in settings.items()})

    async def read_back(self) -> Aspect | None:
        by_phases = self._config.read_back == "phases"
        wanted = (
            [_row(column, group) for column in self._colours() for group in self._groups]
            if by_phases
            else [*self._preempt_states.values(), *self._function_states.values()]
        )
        found = await self._manager.get([self._backup_time, *wanted])
        if (timer := found[self._backup_time]) != self._config.backup_time_s:
            raise Misconfigured(
                f"unitBackupTime is {timer} s on the controller, "
                f"backup_time_s says {self._config.backup_time_s}"
            )
        return self._seen_by_phases(found) if by_phases else self._seen_by_status(found)

    def _seen_by_status(self, found: Mapping[Oid, int]) -> Aspect | None:
        """None also while the controller is on its way into or out of a preempt."""
        states = {n: found[oid] for n, oid in self._preempt_states.items()}
        active = frozenset(n for n, state in states.items() if state in self._config.preempt_active)
        if any(states[n] != NOT_ACTIVE for n in states if n not in active):
            return None
        outputs = {n: found[oid] for n, oid in self._function_states.items()}
        for n, state in outputs.items():
            if state not in (0, 1):
                raise BadReply(f"specialFunctionOutputStatus.{n} is {state}")
        return self._pictures.get(Picture(active, frozenset(n for n in outputs if outputs[n])))

    def _seen_by_phases(self, found: Mapping[Oid, int]) -> Aspect | None:
        reds, yellows, greens = (
            {
                phase
                for phase in self._config.phases
                if found[_row(column, (phase + 7) // 8)] >> (phase - 1) % 8 & 1
            }
            for column in self._colours()
        )
        if greens:
            return Aspect.GREEN
        if yellows:
            return Aspect.AMBER
        return Aspect.RED if reds == set(self._config.phases) else None

    def _colours(self) -> tuple[str, str, str]:
        oids = self._config.oids
        return (
            oids.phase_status_group_reds,
            oids.phase_status_group_yellows,
            oids.phase_status_group_greens,
        )


def _numbers(dotted: str) -> Oid:
    return tuple(map(int, dotted.split(".")))


def _row(column: str, row: int) -> Oid:
    return (*_numbers(column), row)


@asynccontextmanager
async def open(config: Config, wiring: Wiring) -> AsyncIterator[Signal]:
    """The signal that `config` describes. Raises UserError if the SNMP library is not there."""
    try:
        from drivers.protocols.snmp import Manager  # an extra, not in every install
    except ModuleNotFoundError as error:
        raise UserError(
            f"interlock.{wiring.site}.signal: ntcip1202 needs {error.name}, which is not "
            "installed: pip install 'shuichi[ntcip]'"
        ) from None
    manager = Manager(
        wiring.ports[config.port],
        version=config.version,
        community=config.community,
        within_s=config.within_ms / 1000,
    )
    yield Ntcip1202(config, manager)
