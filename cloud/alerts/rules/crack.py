"""How fast a crack opens, and how that speed grows.

Times are days, lengths m. The increment of a day is taken over 24 h (so that what the sun does to
steel and concrete every day cancels), once an hour at most, and the median of the last three holds:
one wild reading moves nothing.
"""

from bisect import bisect_right
from dataclasses import dataclass
from math import atan, degrees
from statistics import median
from typing import Annotated, Final, Literal, NamedTuple, Self

import msgspec
from pydantic import Field, model_validator

from cloud.alerts import ladder
from cloud.alerts.figures import against
from cloud.alerts.hazard import Hazard
from cloud.alerts.ladder import Band, Graded, Rung, Step
from cloud.alerts.rule import (
    Colour,
    Finding,
    NotNegative,
    Positive,
    ReadingRule,
    forward,
    trust,
)
from configs.loader import Model
from wire.messages import Level
from wire.reading import Quantity, Reading

_HOUR_MS: Final = 3_600_000
_DAY_H: Final = 24
_LONGEST_H: Final = 3 * _DAY_H
"""An increment over a gap longer than this tells nothing of a day."""

_HORIZON_H: Final = _LONGEST_H + 3 * _DAY_H
_MEDIAN_OF: Final = 3


class Multiples(Model):
    """Levels as multiples of V0."""

    blue: Positive | None = None
    yellow: Positive | None = None
    orange: Positive | None = None
    red: Positive | None = None


class Acceleration(Model):
    """A level of its own for a speed that grows, in mm/day each day."""

    level: Colour = Level.ORANGE
    over_mm_day2: Positive
    clear_mm_day2: NotNegative = 0

    @model_validator(mode="after")
    def _has_hysteresis(self) -> Self:
        if self.clear_mm_day2 >= self.over_mm_day2:
            raise ValueError("clear_mm_day2 is not below over_mm_day2: it would never clear")
        return self


class Config(Graded):
    """`[rule.<name>]` with `kind = "crack"`: levels in `over_mm_day`, or by `v0_mm_day` and
    `multiples`.

    V0 is max(1.5 mean, mean + 2 sigma) of the speed in steady creep (Xu Qiang 2009): it comes from
    the survey of the slope. Multiples of 1, 5 and 10 are in use for yellow, orange and red; where
    blue ends and yellow begins is UNCERTAIN, so there is no blue unless it is given. The tangent
    angle of the same author, with the axes scaled by the steady speed v, is arctan(speed / v): his
    45, 80 and 85 degrees are multiples of 1, 5.67 and 11.43 of v.
    """

    kind: Literal["crack"]
    v0_mm_day: Positive | None = None
    multiples: Multiples = Multiples(yellow=1, orange=5, red=10)
    clear_share: Annotated[float, Field(gt=0, lt=1)] = 0.8
    acceleration: Acceleration | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        own = [level for level in Level if getattr(self, level.name.lower()) is not None]
        if (self.v0_mm_day is not None) == bool(own):
            raise ValueError(
                "needs either levels (red = { over_mm_day, clear_mm_day }) or v0_mm_day"
            )
        self._speeds()
        return self

    def rules(self, name: str) -> list["Crack"]:
        return [
            Crack(
                **self._scope(name, Hazard.LANDSLIDE),
                quantity=Quantity.DISPLACEMENT,
                speeds=self._speeds(),
                accelerations=self._accelerations(),
                dwell=self._dwell,
                v0=None if self.v0_mm_day is None else self.v0_mm_day / 1000,
            )
        ]

    def _speeds(self) -> tuple[Rung, ...]:
        if self.v0_mm_day is None:
            return self._rungs("m/d")
        given = [(level, getattr(self.multiples, level.name.lower())) for level in Level]
        rungs = tuple(
            Band(
                over_mm_day=self.v0_mm_day * times,
                clear_mm_day=self.v0_mm_day * times * self.clear_share,
            ).rung(level)
            for level, times in given
            if times is not None
        )
        ladder.in_order(rungs)
        return rungs

    def _accelerations(self) -> tuple[Rung, ...]:
        if (one := self.acceleration) is None:
            return ()
        over, clear = one.over_mm_day2 / 1000, one.clear_mm_day2 / 1000
        return (Rung(one.level, over, clear, "acceleration"),)


class State(msgspec.Struct, frozen=True, tag="crack"):
    """`hours` are (hour since 1970, opening at its first reading in m), ascending."""

    newest_ms: int = 0
    level: Level | None = None
    standing: dict[str, Step] = {}
    hours: tuple[tuple[int, float], ...] = ()


class Motion(NamedTuple):
    """Speed in m/d, and its growth in m/d each day, None where the past is too short."""

    speed: float
    acceleration: float | None


def motion(hours: tuple[tuple[int, float], ...]) -> Motion | None:
    """How the crack opens at the last of `hours`; None where the past is too short."""
    speed = _speed(hours, len(hours))
    if speed is None:
        return None
    day_before = bisect_right(hours, hours[-1][0] - _DAY_H, key=_hour)
    earlier = _speed(hours, day_before)
    if earlier is None:
        return Motion(speed, None)
    days = (hours[-1][0] - hours[day_before - 1][0]) / _DAY_H
    return Motion(speed, (speed - earlier) / days)


def _speed(hours: tuple[tuple[int, float], ...], end: int) -> float | None:
    """The median of the last increments before index `end`, m/d."""
    found = [_increment(hours, i) for i in range(max(end - _MEDIAN_OF, 0), end)]
    known = [one for one in found if one is not None]
    return median(known) if len(known) == _MEDIAN_OF else None


def _increment(hours: tuple[tuple[int, float], ...], i: int) -> float | None:
    hour, opening = hours[i]
    j = bisect_right(hours, hour - _DAY_H, key=_hour) - 1
    if j < 0 or hour - hours[j][0] > _LONGEST_H:
        return None
    return (opening - hours[j][1]) * _DAY_H / (hour - hours[j][0])


def _hour(point: tuple[int, float]) -> int:
    return point[0]


@dataclass(frozen=True, kw_only=True)
class Crack(ReadingRule[State]):
    """Late readings fill hours that have none, and count in what follows."""

    speeds: tuple[Rung, ...]
    accelerations: tuple[Rung, ...]
    dwell: ladder.Dwell
    v0: float | None

    memory = State

    def look(self, state: State, reading: Reading, now_ms: int) -> tuple[State, Finding | None]:
        trusted = trust(reading)
        if reading.value is None or not trusted.raises:
            return state, None
        newest_ms = forward(state.newest_ms, reading.at_ms, now_ms)
        hours = self._with(state.hours, min(reading.at_ms, now_ms), reading.value, state.newest_ms)
        if hours is state.hours:  # nothing new is known
            return state, None
        if newest_ms is None:
            return msgspec.structs.replace(state, hours=hours), None
        found = motion(hours)
        if found is None:
            return State(newest_ms, state.level, state.standing, hours), None
        known = self.accelerations if found.acceleration is not None else ()
        rungs = (*self.speeds, *known)
        values = [found.speed] * len(self.speeds) + [found.acceleration or 0.0] * len(known)
        standing = {
            **state.standing,
            **ladder.climb(rungs, state.standing, values, newest_ms, trusted, self.dwell),
        }
        turn = ladder.turn(rungs, state.level, standing, values)
        if turn is None:
            return State(newest_ms, state.level, standing, hours), None
        finding = self._finding(reading, found, turn.rung, turn.level, turn.threshold)
        return State(newest_ms, turn.level, standing, hours), finding

    def now(self, state: State, reading: Reading) -> Finding | None:
        found = motion(state.hours)
        rungs = [
            one
            for one in (*self.speeds, *self.accelerations)
            if state.level is None
            or (one.level is state.level and state.standing.get(one.name, ladder.Step()).active)
        ]
        if found is None or not rungs or reading.value is None:
            return None
        return self._finding(reading, found, rungs[0], state.level, rungs[0].over)

    @staticmethod
    def _with(
        hours: tuple[tuple[int, float], ...], at_ms: int, opening: float, newest_ms: int
    ) -> tuple[tuple[int, float], ...]:
        hour = at_ms // _HOUR_MS
        oldest = max(hour, newest_ms // _HOUR_MS) - _HORIZON_H
        at = bisect_right(hours, hour, key=_hour)
        if hour < oldest or (at and hours[at - 1][0] == hour):
            return hours
        filled = (*hours[:at], (hour, opening), *hours[at:])
        return tuple(one for one in filled if one[0] >= oldest)

    def _finding(
        self,
        reading: Reading,
        found: Motion,
        rung: Rung,
        level: Level | None,
        threshold: float,
    ) -> Finding:
        speed, growth = found.speed * 1000, found.acceleration
        by_growth = rung.key == "acceleration" and growth is not None
        text = f"the crack opens {speed:.1f} mm a day"
        text_zh = f"裂缝每天增大{speed:.1f}毫米"
        parts: dict[str, str | int | float | None] = {
            "crack_mm": round((reading.value or 0.0) * 1000, 3),
            "rate_mm_d": round(speed, 3),
        }
        if growth is not None:
            if growth * 1000 >= 0.05:  # less is told as 0.0
                text += ", faster each day"
                text_zh += "，且逐日加快"
            parts["acceleration_mm_day2"] = round(growth * 1000, 3)
        if self.v0 is not None:
            angle = degrees(atan(found.speed / self.v0))
            parts["v0_mm_day"] = self.v0 * 1000
            parts["tangent_deg"] = round(angle, 1)
        if level is not None and not by_growth:
            text += against(level, f"{rung.over * 1000:g} mm a day", "en")
            text_zh += against(level, f"每天{rung.over * 1000:g}毫米", "zh")
        return Finding(
            at_ms=reading.at_ms,
            level=level,
            value=growth if by_growth and growth is not None else found.speed,
            threshold=threshold,
            unit="m/d2" if by_growth else "m/d",
            quantity="crack_acceleration" if by_growth else "crack_speed",
            text=text,
            text_zh=text_zh,
            parts=parts,
        )
