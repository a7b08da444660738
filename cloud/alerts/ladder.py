"""Several levels in one rule, each with a threshold, a lower one at which it ends, and dwell. Pure.

Each rung stands by itself; the highest that is active is the level. So a level that falls passes
through the ones below it, each of which ends at its own clear threshold.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, Self

import msgspec
from pydantic import Field, model_validator

from cloud.alerts.rule import Finite, RuleConfig, Trust
from configs.loader import Model
from wire.messages import Level


class Rung(NamedTuple):
    """Active from `over` on, until the value is at `clear` or below."""

    level: Level
    over: float
    clear: float
    key: str = ""

    @property
    def name(self) -> str:
        """Under which its standing is kept: it outlives a config in which others come and go."""
        return self.key or self.level.name.lower()


class Dwell(NamedTuple):
    """For how long the value must be over, or clear, before the rung turns, ms. Only readings
    count: the last of those that were over must be so much later than the first."""

    over_ms: int = 0
    clear_ms: int = 0


NO_DWELL: Final = Dwell()


class Step(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """How one rung stands. Since `since_ms` the value has asked for the other."""

    active: bool = False
    since_ms: int | None = None


Standing = Mapping[str, Step]
"""By the names of the rungs; one that is not there is not active."""


class Turn(NamedTuple):
    """The level changes: `rung` was climbed (`rose`), or left."""

    level: Level | None
    rung: Rung
    value: float
    rose: bool

    @property
    def threshold(self) -> float:
        return self.rung.over if self.rose else self.rung.clear


def climb(
    rungs: Sequence[Rung],
    standing: Standing,
    values: Sequence[float],
    at_ms: int,
    trust: Trust,
    dwell: Dwell = NO_DWELL,
) -> dict[str, Step]:
    """How the rungs stand after `values`, one for each."""
    return {
        rung.name: _turned(rung, standing.get(rung.name, _LOW), value, at_ms, trust, dwell)
        for rung, value in zip(rungs, values, strict=True)
    }


def level(rungs: Sequence[Rung], standing: Standing) -> Level | None:
    """The highest level that is active."""
    return max((r.level for r in rungs if standing.get(r.name, _LOW).active), default=None)


def turn(
    rungs: Sequence[Rung], told: Level | None, standing: Standing, values: Sequence[float]
) -> Turn | None:
    """What there is to tell, if `told` was told last."""
    after = level(rungs, standing)
    if after == told:
        return None
    rose = after is not None and (told is None or after > told)
    decisive = after if rose else told
    # A level that a new config no longer has is left at the threshold of the highest that it has.
    rung, value = max(
        zip(rungs, values, strict=True),
        key=lambda one: (
            one[0].level == decisive and standing[one[0].name].active == rose,
            one[0].level == decisive,
            one[0].level,
        ),
    )
    return Turn(after, rung, value, rose)


_LOW: Final = Step()


def _turned(rung: Rung, step: Step, value: float, at_ms: int, trust: Trust, dwell: Dwell) -> Step:
    if step.active:
        asks, may_turn, may_stay = value <= rung.clear, trust.clears, trust.raises
        needed_ms = dwell.clear_ms
    else:
        asks, may_turn, may_stay = value >= rung.over, trust.raises, trust.clears
        needed_ms = dwell.over_ms
    if not asks:
        return Step(step.active) if may_stay and step.since_ms is not None else step
    if not may_turn:
        return step
    since_ms = at_ms if step.since_ms is None else step.since_ms
    if at_ms - since_ms >= needed_ms:
        return Step(not step.active)
    return Step(step.active, since_ms)


_SUFFIXES: Final = {
    "m": ("m", 1.0),
    "cm": ("m", 100.0),
    "mm": ("m", 1000.0),
    "mm_h": ("m/s", 3_600_000.0),
    "mm_day": ("m/d", 1000.0),
    "c": ("Cel", 1.0),
    "v": ("V", 1.0),
    "hz": ("Hz", 1.0),
}
"""Ending of a key → the unit it stands for, and how many of it make one."""


class Band(Model):
    """One level: `over_…` and `clear_…`, each once, in the unit that its key names."""

    over_m: Finite | None = None
    over_cm: Finite | None = None
    over_mm: Finite | None = None
    over_mm_h: Finite | None = None
    over_mm_day: Finite | None = None
    over_c: Finite | None = None
    over_v: Finite | None = None
    over_hz: Finite | None = None
    clear_m: Finite | None = None
    clear_cm: Finite | None = None
    clear_mm: Finite | None = None
    clear_mm_h: Finite | None = None
    clear_mm_day: Finite | None = None
    clear_c: Finite | None = None
    clear_v: Finite | None = None
    clear_hz: Finite | None = None

    @model_validator(mode="after")
    def _has_hysteresis(self) -> Self:
        over, clear = self._one("over"), self._one("clear")
        if over.unit != clear.unit:
            raise ValueError(f"{over.key} and {clear.key} are not of one dimension")
        if clear.value >= over.value:
            raise ValueError(f"{clear.key} is not below {over.key}: it would never clear")
        return self

    @property
    def unit(self) -> str:
        return self._one("over").unit

    def rung(self, level: Level) -> Rung:
        return Rung(level, self._one("over").value, self._one("clear").value)

    def _one(self, word: str) -> "_Threshold":
        keys = {f"{word}_{suffix}": suffix for suffix in _SUFFIXES}
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(keys)}")
        (key,) = given
        unit, per_unit = _SUFFIXES[keys[key]]
        return _Threshold(key, unit, getattr(self, key) / per_unit)


class _Threshold(NamedTuple):
    key: str
    unit: str
    value: float


class Graded(RuleConfig):
    """A rule with levels: each is a table `blue`, `yellow`, `orange` or `red`."""

    blue: Band | None = None
    yellow: Band | None = None
    orange: Band | None = None
    red: Band | None = None
    over_for_s: float = Field(default=0, ge=0, allow_inf_nan=False)
    clear_for_s: float = Field(default=0, ge=0, allow_inf_nan=False)

    def _rungs(self, unit: str) -> tuple[Rung, ...]:
        """The levels, mildest first. Raises ValueError if they are not in `unit`, or not in
        order."""
        bands = [(level, getattr(self, level.name.lower())) for level in Level]
        given = [(level, band) for level, band in bands if band is not None]
        if not given:
            raise ValueError("has no level: give a table blue, yellow, orange or red")
        fitting = ", ".join(f"over_{s}" for s, (one, _) in _SUFFIXES.items() if one == unit)
        for level, band in given:
            if band.unit != unit:
                raise ValueError(f"{level.name.lower()} is not in a unit that fits: {fitting}")
        rungs = tuple(band.rung(level) for level, band in given)
        in_order(rungs)
        return rungs

    @property
    def _dwell(self) -> Dwell:
        return Dwell(round(self.over_for_s * 1000), round(self.clear_for_s * 1000))


def in_order(rungs: Sequence[Rung]) -> None:
    """Raises ValueError unless each level lies over the milder one."""
    for below, above in pairwise(rungs):
        if above.over <= below.over or above.clear < below.clear:
            names = above.level.name.lower(), below.level.name.lower()
            raise ValueError("{} does not lie over {}".format(*names))
