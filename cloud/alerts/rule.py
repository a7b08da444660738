"""What an alert rule is: what it hears, what it remembers, what it finds. Pure.

    state, finding = rule.step(state, said, now_ms)

`said` is anything of `Said`, `now_ms` the cloud's time (UTC, ms since 1970). The state is a frozen
struct that goes through JSON; a finding comes whenever the level changes, and only then.

What all rules keep to: a suspect reading may raise and never clears (to warn on doubt is safe, to
end a warning on doubt is not); a bad or missing one does neither; time only goes forward, so that a
backlog that arrives after live data neither raises nor clears.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec
from pydantic import BeforeValidator, Field, StringConstraints

from cloud.alerts.hazard import Hazard
from configs.loader import Model
from wire.messages import Event, Gap, InterlockState, Level, Status
from wire.reading import Quality, Quantity, Reading
from wire.topics import NAME_PATTERN


class Heard(NamedTuple):
    """The cloud took something from this gateway just now, whatever it was."""


class Hole(NamedTuple):
    """How a stream stands in the ledger: `missing` batches, the lowest of them missing since
    `since_ms` (the cloud's time), None if there is none."""

    stream: str
    missing: int
    since_ms: int | None


class Tick(NamedTuple):
    """Time has passed. The cloud last heard the gateway at `heard_ms`, and has listened without a
    break since `listening_ms`: what it could not hear before says nothing."""

    heard_ms: int
    listening_ms: int


SERVICE: Final = "cloud-service"
"""Stands where a gateway stands, for a fault of the service itself."""


class ServiceFault(NamedTuple):
    """What the service observes of itself or of a gateway's traffic: a fault begins or ends.

    `name` is one of `cloud.alerts.rules.service.FAULTS`. `gateway` is the one concerned, `SERVICE`
    for the service itself; `subject` tells several faults of one name apart ("shard-0"). `detail`
    has the figures, with the unit in the key. Who reports says the same again without harm.
    """

    name: str
    active: bool
    gateway: str = SERVICE
    subject: str = ""
    detail: Mapping[str, str | int | float | None] = {}


Said = Reading | Event | Status | InterlockState | Gap | Heard | Hole | Tick | ServiceFault
"""All that a rule may hear."""


class Place(NamedTuple):
    """What an alert is about: a series of one rule. A gateway has no site and no sensor."""

    gateway: str
    site: str = ""
    sensor: str = ""


class Finding(msgspec.Struct, frozen=True):
    """The level of a rule over one place changes.

    `level` holds from now on, None is normal. `value` was compared with `threshold`, both in `unit`
    (SI, as SenML spells it), each None where there is none. `quantity` names what the value is.
    `text` and `text_zh` are a line for people, in English and in Chinese, `parts` its figures, with
    the unit in the key. `at_ms` is the UTC time of what caused it.
    """

    at_ms: int
    level: Level | None
    value: float | None
    threshold: float | None
    unit: str
    quantity: str
    text: str
    text_zh: str
    parts: dict[str, str | int | float | None] = {}


class Trust(NamedTuple):
    """What a reading may do to a level."""

    raises: bool
    clears: bool


_TRUST: Final = {
    Quality.GOOD: Trust(True, True),
    Quality.NOT_EVALUATED: Trust(True, True),
    Quality.SUSPECT: Trust(True, False),
    Quality.BAD: Trust(False, False),
    Quality.MISSING: Trust(False, False),
}
NO_TRUST: Final = Trust(False, False)


def trust(reading: Reading) -> Trust:
    """How far `reading` is believed."""
    return NO_TRUST if reading.value is None else _TRUST[reading.quality]


def forward(newest_ms: int, at_ms: int, now_ms: int) -> int | None:
    """The time up to which has been looked, after something of `at_ms`; None if that is not new.

    What comes from the future (of a gateway whose clock is wrong) counts, but does not outdate
    what follows it.
    """
    return None if at_ms <= newest_ms else max(newest_ms, min(at_ms, now_ms))


StateT = TypeVar("StateT", bound=msgspec.Struct)


@dataclass(frozen=True, kw_only=True)
class Rule(ABC, Generic[StateT]):
    """One rule of the config. It holds for each place by itself; `gateway`, `site` and `sensor`
    limit it to those that are named."""

    name: str
    hazard: Hazard
    gateway: str | None = None
    site: str | None = None
    sensor: str | None = None

    part: ClassVar[str] = ""
    """Tells rules apart that one kind comes to."""

    hears: ClassVar[frozenset[type]]
    """Which of `Said` `place` must be asked about; readings and ticks among them if wanted."""

    memory: ClassVar[type[msgspec.Struct]]
    """The state, whose defaults are the beginning. Its tag says whose it is: a rule that gets
    another kind begins anew."""

    @abstractmethod
    def place(self, gateway: str, said: Said) -> Place | None:
        """Of which place `said` is, None if it is of no concern. What is said of a reading holds
        for its whole series: gateway, site, sensor and quantity."""

    @abstractmethod
    def step(self, state: StateT, said: Said, now_ms: int) -> tuple[StateT, Finding | None]:
        """The state after `said`, and how the level changes by it."""

    def now(self, state: StateT, reading: Reading) -> Finding | None:
        """What the rule finds at present, at the level that holds, after `reading`: for messages
        that are composed later than the level began. None where it has nothing newer to say."""
        return None

    def _covers(self, gateway: str, site: str = "", sensor: str = "") -> bool:
        return (
            self.gateway in (None, gateway)
            and self.site in (None, site)
            and self.sensor in (None, sensor)
        )


@dataclass(frozen=True, kw_only=True)
class ReadingRule(Rule[StateT]):
    """A rule over the readings of each sensor of one quantity."""

    quantity: Quantity

    hears = frozenset({Reading})

    def place(self, gateway: str, said: Said) -> Place | None:
        if (
            isinstance(said, Reading)
            and said.quantity is self.quantity
            and self._covers(gateway, said.site, said.sensor)
        ):
            return Place(gateway, said.site, said.sensor)
        return None

    def step(self, state: StateT, said: Said, now_ms: int) -> tuple[StateT, Finding | None]:
        assert isinstance(said, Reading)
        return self.look(state, said, now_ms)

    @abstractmethod
    def look(self, state: StateT, reading: Reading, now_ms: int) -> tuple[StateT, Finding | None]:
        """`step` for the one thing that such a rule hears."""


@dataclass(frozen=True, kw_only=True)
class GatewayRule(Rule[StateT]):
    """A rule over each gateway as a whole. `site` is the one whose people are told."""

    def place(self, gateway: str, said: Said) -> Place | None:
        return Place(gateway, self.site or "") if self.gateway in (None, gateway) else None


def _by_colour(value: Any) -> Any:
    colours = {level.name.lower(): level for level in Level}
    if not isinstance(value, str) or value not in colours:
        raise ValueError(f"{value!r} is not one of {', '.join(colours)}")
    return colours[value]


Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Colour = Annotated[Level, BeforeValidator(_by_colour)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RuleConfig(Model):
    """What every `[rule.<name>]` has: its kind, which is the name of the file that knows it, and
    what it is limited to."""

    kind: str
    hazard: Hazard | None = None
    gateway: Name | None = None
    site: Name | None = None
    sensor: Name | None = None

    @abstractmethod
    def rules(self, name: str) -> Sequence[Rule[Any]]:
        """The rule, or its parts, in SI units; all of that name."""

    def _scope(self, name: str, hazard: Hazard) -> dict[str, Any]:
        """What each rule is made with; `hazard` unless the config says another."""
        return {
            "name": name,
            "hazard": self.hazard or hazard,
            "gateway": self.gateway,
            "site": self.site,
            "sensor": self.sensor,
        }


def ms(seconds: float) -> int:
    return round(seconds * 1000)


def span(milliseconds: float) -> str:
    """A length of time for people: "40 s", "12 min", "3.5 h", "2 d"."""
    seconds = milliseconds / 1000
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def span_zh(milliseconds: float) -> str:
    """The same in Chinese: "40秒", "12分钟", "3.5小时", "2天"."""
    number, unit = span(milliseconds).split()
    return number + {"d": "天", "h": "小时", "min": "分钟", "s": "秒"}[unit]
