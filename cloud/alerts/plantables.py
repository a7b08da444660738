"""The tables of a response plan, as people write them."""

from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints, field_validator

from cloud.alerts import caparea
from cloud.alerts import duty as duties
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.publicwords import Doing
from cloud.channels import Language
from configs.loader import Model
from wire.messages import Level
from wire.topics import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Text = Annotated[str, Field(min_length=1)]
Minutes = Annotated[float, Field(gt=0, le=10_080, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]

_COLOURS: Final = {level.name.lower(): level for level in Level}


def _by_colour(value: Any) -> Any:
    if not isinstance(value, str) or value not in _COLOURS:
        raise ValueError(f"{value!r} is not one of {', '.join(_COLOURS)}")
    return _COLOURS[value]


Colour = Annotated[
    Level, BeforeValidator(_by_colour), PlainSerializer(lambda level: level.name.lower())
]


class Tier(StrEnum):
    """The kinds of areas, from the nearest to the site up."""

    GRID = "grid"
    VILLAGE = "village"
    TOWNSHIP = "township"
    DISTRICT = "district"
    CITY = "city"

    @property
    def rank(self) -> int:
        """0 (nearest to the site) to 4."""
        return _RANK[self]


_RANK: Final = {tier: rank for rank, tier in enumerate(Tier)}


class Area(Model):
    """`[area.<name>]`. A call climbs to `escalates_to`, without it to the parent."""

    name: Text
    name_en: str = ""
    kind: Tier
    parent: Name | None = None
    escalates_to: Name | None = None


class Value(Model):
    """What stands in a placeholder: one text for all, or one for each language."""

    zh: Text
    en: Text

    def of(self, language: Language) -> str:
        """The text in that language."""
        return self.zh if language == "zh" else self.en


def _of_all(value: Any) -> Any:
    return {"zh": value, "en": value} if isinstance(value, str) else value


class Site(Model):
    """`[site.<name>]`. `values` fills placeholders of its own in the instructions. Where it is, for
    CAP: `polygon`, `circle` (see `caparea`), and `geocode`, codes by the names of
    their systems.
    """

    name: Text
    name_en: str = ""
    area: Name
    hazards: tuple[Hazard, ...]
    values: dict[str, Annotated[Value, BeforeValidator(_of_all)]] = {}
    polygon: str | None = None
    circle: str | None = None
    geocode: dict[str, Text] = {}

    @field_validator("polygon")
    @classmethod
    def _is_polygon(cls, text: str | None) -> str | None:
        if text is not None:
            caparea.polygon(text)
        return text

    @field_validator("circle")
    @classmethod
    def _is_circle(cls, text: str | None) -> str | None:
        if text is not None:
            caparea.circle(text)
        return text

    @cached_property
    def place(self) -> caparea.Area:
        """Where a warning of it holds, without what no receiver could draw: `plan check` tells of
        that, and the rest is published."""
        return caparea.sound(
            caparea.Area(
                () if self.polygon is None else (caparea.polygon(self.polygon),),
                () if self.circle is None else (caparea.circle(self.circle),),
                tuple(self.geocode.items()),
            )
        )


class DutyTable(Model):
    """`[duty.<name>]`: a shift that contacts share. `on` has times for exceptional dates."""

    windows: tuple[str, ...]
    on: dict[str, tuple[str, ...]] = {}

    @field_validator("windows")
    @classmethod
    def _are_windows(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        for window in windows:
            duties.weekly(window)
        return windows

    @field_validator("on")
    @classmethod
    def _are_dates(cls, on: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for day, times in on.items():
            to_date(day)
            for time in times:
                duties.span(time)
        return on

    def shift(self) -> duties.Shift:
        """The same, as duty is worked out with it."""
        return duties.Shift(self.windows, {to_date(day): times for day, times in self.on.items()})


class Channel(Model):
    """`[channel.<name>]`: a channel of `cloud.toml`; which address of a contact it needs (none for
    a group's robot), and how long after the first channel of a contact it is used, if the call is
    still unanswered then. A tier and a contact may have an `after_s` of their own."""

    address: Text | None = None
    after_s: Seconds = 0


class Contact(Model):
    """`[contact.<name>]`. `duty` names shifts; without any, a contact is always on duty. `public`:
    it is no person but a loudspeaker or a board, which tells the public what to do and is not
    waited for. `after_s`: by channel, in place of what the tier and the channel say."""

    name: Text
    name_en: str = ""
    area: Name
    roles: tuple[Text, ...] = ()
    language: Language | None = None
    channels: Annotated[tuple[Name, ...], Field(min_length=1)]
    address: dict[str, str] = {}
    duty: tuple[Name, ...] = ()
    away: tuple[str, ...] = ()
    public: bool = False
    after_s: dict[Name, Seconds] = {}

    @field_validator("away")
    @classmethod
    def _are_dates(cls, away: tuple[str, ...]) -> tuple[str, ...]:
        for day in away:
            to_date(day)
        return away


class TierRule(Model):
    """`[tier.<kind>]`: how long somebody has to answer, by stage, and how often they are called
    before and after that. `after_s`: by channel, in place of what the channel says."""

    answer_within_min: dict[Stage, Minutes] = {}
    retry_every_min: Minutes = 2
    ring_every_min: Annotated[float, Field(ge=1, le=1440)] = 10
    after_s: dict[Name, Seconds] = {}


class Tops(Model):
    """The highest tier that a level climbs to; without it, the top."""

    blue: Tier | None = None
    yellow: Tier | None = None
    orange: Tier | None = None
    red: Tier | None = None


class Within(Model):
    """Minutes by level; none: never."""

    blue: Minutes | None = None
    yellow: Minutes | None = None
    orange: Minutes | None = None
    red: Minutes | None = None


class HazardRule(Model):
    """`[hazard.<hazard>]`: the levels that it has, how high each climbs, and within how many
    minutes after an answer a result is awaited."""

    levels: tuple[Colour, ...] = tuple(Level)
    climbs_to: Tops = Tops()
    result_within_min: Within | None = None


class Instruction(Model):
    """`[[instruction]]`: what to do, for all of these levels and tiers."""

    hazard: Hazard
    levels: tuple[Colour, ...] = tuple(Level)
    tiers: tuple[Tier, ...] = tuple(Tier)
    zh: Text
    en: Text


class PublicInstruction(Model):
    """`[[public_instruction]]`: what everybody is advised to do, in CAP documents. `responses` are
    CAP's codes of it, without any those of `publicwords`."""

    hazard: Hazard
    levels: tuple[Colour, ...] = tuple(Level)
    stages: tuple[Stage, ...] = tuple(Stage)
    responses: tuple[Doing, ...] = ()
    zh: Text
    en: Text


class Tell(Model):
    """`[[tell]]`: who of the ladder is told, without being asked to answer."""

    at: Annotated[tuple[Literal["raise", "climb", "clear"], ...], Field(min_length=1)]
    roles: Annotated[tuple[Text, ...], Field(min_length=1)]
    levels: tuple[Colour, ...] = tuple(Level)
    hazards: tuple[Hazard, ...] = tuple(Hazard)


class Which(Model):
    """Alerts: of these hazards, at these levels, found by these rules of the config (without any:
    by all)."""

    hazards: Annotated[tuple[Hazard, ...], Field(min_length=1)]
    levels: Annotated[tuple[Colour, ...], Field(min_length=1)] = tuple(Level)
    rules: tuple[Name, ...] = ()


class Inhibit(Model):
    """`[[inhibit]]`: while an alert of `source` stands, and somebody knows of it, nobody is called
    for an alert of `target` at the same place. `same`: their sites are one; the site of the target
    lies in the area of that of the source; they are found by one gateway. `reason` is shown."""

    reason: Text
    source: Which
    target: Which
    same: Literal["site", "area", "gateway"]


def to_date(text: str) -> date:
    """The date of `2026-10-01`. Raises ValueError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2026-10-01") from None
