"""`cloud.toml`: what a person writes about the aggregator. Nothing here touches a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from cloud.alerts.rule import Rule as AlertRule
from cloud.channels import ChannelConfig
from cloud.store import StoreConfig, sqlite
from configs import loader
from configs.loader import Fault, Kind, Model
from wire.messages import Level
from wire.mqtt import Broker
from wire.reading import UNITS, Quantity
from wire.topics import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_SUFFIXES: Final = {
    "m": ("m", 1),
    "cm": ("m", 100),
    "mm": ("m", 1000),
    "mm_h": ("m/s", 3_600_000),
}
"""Ending of a key → the SI unit it stands for, and how many of it make one."""


class Ingest(Model):
    """One worker serves one shard. The broker keeps our session for `keep_session_s`."""

    shard: Name = "0"
    keep_session_s: Annotated[int, Field(ge=60, le=604_800)] = 86_400


class StateConfig(Model):
    """The cloud's own database; relative to the config's folder."""

    path: Annotated[str, Field(min_length=1)] = "cloud.db"


class Rule(Model):
    """`[rule.<name>]`: raise at `over_…` and above, clear at `clear_…` and below. Each is written
    once, in the unit that its key names."""

    quantity: Quantity
    level: Level
    site: Name | None = None
    sensor: Name | None = None
    over_m: Finite | None = None
    over_cm: Finite | None = None
    over_mm: Finite | None = None
    over_mm_h: Finite | None = None
    clear_m: Finite | None = None
    clear_cm: Finite | None = None
    clear_mm: Finite | None = None
    clear_mm_h: Finite | None = None

    @field_validator("level", mode="before")
    @classmethod
    def _by_colour(cls, value: Any) -> Any:
        colours = {level.name.lower(): level for level in Level}
        if value not in colours:
            raise ValueError(f"{value!r} is not one of {', '.join(colours)}")
        return colours[value]

    @model_validator(mode="after")
    def _has_hysteresis(self) -> Self:
        over, clear = self._one("over"), self._one("clear")
        if clear.si >= over.si:
            raise ValueError(f"{clear.key} is not below {over.key}: it would never clear")
        return self

    def named(self, name: str) -> AlertRule:
        """The rule as it is applied, in SI units."""
        return AlertRule(
            name=name,
            quantity=self.quantity,
            over=self._one("over").si,
            clear=self._one("clear").si,
            level=self.level,
            site=self.site,
            sensor=self.sensor,
        )

    def _one(self, word: str) -> "_Threshold":
        fitting = [s for s, (unit, _) in _SUFFIXES.items() if unit == UNITS[self.quantity]]
        if not fitting:
            raise ValueError(f"there are no thresholds for {self.quantity} yet")
        known = {suffix: getattr(self, f"{word}_{suffix}") for suffix in _SUFFIXES}
        given = {suffix: value for suffix, value in known.items() if value is not None}
        if len(given) != 1 or not given.keys() <= set(fitting):
            choice = " or ".join(f"{word}_{suffix}" for suffix in fitting)
            raise ValueError(f"a rule on {self.quantity} needs exactly one of {choice}")
        ((suffix, value),) = given.items()
        return _Threshold(f"{word}_{suffix}", value / _SUFFIXES[suffix][1])


class _Threshold(NamedTuple):
    key: str
    si: float


class Config(Model):
    """The whole of `cloud.toml`."""

    broker: Broker = Broker()
    ingest: Ingest = Ingest()
    state: StateConfig = StateConfig()
    store: Annotated[StoreConfig, Kind("cloud.store")] = sqlite.Config(kind="sqlite")
    rule: dict[Name, Rule] = {}
    channel: dict[Name, Annotated[ChannelConfig, Kind("cloud.channels")]] = {}

    @property
    def rules(self) -> list[AlertRule]:
        return [one.named(name) for name, one in self.rule.items()]


class Setup(NamedTuple):
    """A config and the folder in which its relative paths begin."""

    config: Config
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / self.config.state.path


def read(file: Path) -> Setup:
    """The config in `file`. Raises ConfigError with all of its faults."""
    return Setup(loader.load(file, Config, _between), file.parent)


def _between(config: Config) -> Iterator[Fault]:
    """What is wrong between parts that are right one by one."""
    if config.rule and not config.channel:
        yield Fault("channel", "is missing: there are rules, but nobody would be told")
