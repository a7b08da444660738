"""Rain sums over sliding windows: by default the national table of rainstorm warnings."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

import msgspec
from pydantic import Field, model_validator

from cloud.alerts import ladder, rain
from cloud.alerts.figures import against, plain
from cloud.alerts.hazard import Hazard
from cloud.alerts.ladder import Rung, Step
from cloud.alerts.rain import Method, Rates, Totals
from cloud.alerts.rule import (
    Finding,
    Positive,
    ReadingRule,
    RuleConfig,
    forward,
    ms,
    trust,
)
from cloud.analysis.rain_counter import NOISE_M, SHORTEST_MS
from configs.loader import Model
from wire.messages import Level
from wire.reading import Quantity, Reading

_HOUR_MS: Final = 3_600_000
_LOW: Final = Step()


class Sum(Model):
    """One level: `over_mm` in `hours`; it ends at `clear_mm` and below, by default at 90 %."""

    hours: Annotated[float, Field(gt=0, le=72)]
    over_mm: Positive
    clear_mm: Positive | None = None

    @model_validator(mode="after")
    def _has_hysteresis(self) -> Self:
        if self.clear_mm is not None and self.clear_mm >= self.over_mm:
            raise ValueError("clear_mm is not below over_mm: it would never clear")
        return self

    def rung(self, level: Level) -> Rung:
        clear_mm = 0.9 * self.over_mm if self.clear_mm is None else self.clear_mm
        return Rung(level, self.over_mm / 1000, clear_mm / 1000)


NATIONAL: Final = {
    Level.BLUE: Sum(hours=12, over_mm=50),
    Level.YELLOW: Sum(hours=6, over_mm=50),
    Level.ORANGE: Sum(hours=3, over_mm=50),
    Level.RED: Sum(hours=3, over_mm=100),
}
"""暴雨预警信号 of the China Meteorological Administration. A city may have its own: that of
Chongqing is not known to us."""


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "rain_sum"`. Without any level the national table holds."""

    kind: Literal["rain_sum"]
    quantity: Literal[Quantity.RAIN_TOTAL, Quantity.RAIN_RATE] = Quantity.RAIN_TOTAL
    blue: Sum | None = None
    yellow: Sum | None = None
    orange: Sum | None = None
    red: Sum | None = None
    bin_min: Annotated[float, Field(ge=1, le=60)] = 5
    gap_min: Annotated[float, Field(ge=1, le=1440)] = 30
    most_mm_min: Positive = 10
    rolls_over_at_mm: Positive | None = None
    """Where the counter begins anew. Ranges of 16 and 32 bits of usual tips are known without."""

    def rules(self, name: str) -> list["RainSum"]:
        given = {level: getattr(self, level.name.lower()) for level in Level}
        sums = {level: one for level, one in given.items() if one is not None} or NATIONAL
        return [
            RainSum(
                **self._scope(name, Hazard.RAINSTORM),
                quantity=self.quantity,
                rungs=tuple(one.rung(level) for level, one in sums.items()),
                windows_ms=tuple(round(one.hours * _HOUR_MS) for one in sums.values()),
                method=Method(
                    bin_ms=ms(60 * self.bin_min),
                    horizon_ms=round(max(one.hours for one in sums.values()) * _HOUR_MS),
                    gap_ms=ms(60 * max(self.gap_min, 2 * self.bin_min)),
                    most=self.most_mm_min / 60_000,
                    rolls_over_at=(
                        None if self.rolls_over_at_mm is None else self.rolls_over_at_mm / 1000
                    ),
                ),
            )
        ]


class State(msgspec.Struct, frozen=True, tag="rain_sum"):
    """`newest_ms` is the time up to which the rule has looked, `level` what it told last. `sums`
    are those of the rungs as last summed up, at `summed_ms`, when the gauge read `value`."""

    newest_ms: int = 0
    level: Level | None = None
    standing: dict[str, Step] = {}
    gauge: Totals | Rates | None = None
    sums: tuple[float, ...] = ()
    summed_ms: int = 0
    value: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RainSum(ReadingRule[State]):
    """Depths in m; `windows_ms` has one for each rung.

    Late readings are put where they belong, and count in the next sum. A level ends by a reading
    of the gauge only: one that keeps silent leaves it as it is.
    """

    rungs: tuple[Rung, ...]
    windows_ms: tuple[int, ...]
    method: Method

    memory = State

    def look(self, state: State, reading: Reading, now_ms: int) -> tuple[State, Finding | None]:
        trusted = trust(reading)
        newest_ms = forward(state.newest_ms, reading.at_ms, now_ms)
        if reading.value is None or not trusted.raises:
            return state, None
        gauge = rain.add(
            self._gauge(state),
            min(reading.at_ms, now_ms),
            reading.value,
            newest_ms or state.newest_ms,
            self.method,
        )
        if newest_ms is None:
            return msgspec.structs.replace(state, gauge=gauge), None
        state = msgspec.structs.replace(state, newest_ms=newest_ms, gauge=gauge)
        if self._cannot_turn(state, reading.value):
            return state, None
        fallen = rain.fallen(gauge, newest_ms, self.windows_ms, self.method)
        # What cannot be told apart never raises above blue by itself.
        sums = tuple(
            one.depth + (one.doubtful if rung.level is Level.BLUE else 0.0)
            for rung, one in zip(self.rungs, fallen, strict=True)
        )
        standing = ladder.climb(self.rungs, state.standing, sums, newest_ms, trusted)
        turn = ladder.turn(self.rungs, state.level, standing, sums)
        level = state.level if turn is None else turn.level
        state = State(newest_ms, level, standing, gauge, sums, newest_ms, reading.value)
        if turn is None:
            return state, None
        at = self.rungs.index(turn.rung)
        of_level = self._at(turn.level) if turn.level is not None else None
        at = at if of_level is None else of_level
        finding = self._finding(reading.at_ms, turn.level, at, sums[at], fallen[at])
        return state, msgspec.structs.replace(finding, threshold=turn.threshold)

    def now(self, state: State, reading: Reading) -> Finding | None:
        at = 0 if state.level is None else self._at(state.level)
        if at is None or state.gauge is None:
            return None
        (fallen,) = rain.fallen(state.gauge, state.newest_ms, (self.windows_ms[at],), self.method)
        depth = fallen.depth + (fallen.doubtful if state.level is Level.BLUE else 0.0)
        return self._finding(state.newest_ms, state.level, at, depth, fallen)

    def _at(self, level: Level) -> int | None:
        return next((n for n, rung in enumerate(self.rungs) if rung.level is level), None)

    def _cannot_turn(self, state: State, value: float) -> bool:
        """Whether no level can begin by this reading, in a bin in which has been summed up already:
        so are most readings, and to sum up for each of them would be dear."""
        if len(state.sums) != len(self.rungs) or (
            state.newest_ms // self.method.bin_ms != state.summed_ms // self.method.bin_ms
        ):
            return False
        if self.quantity is Quantity.RAIN_RATE:
            return value == 0
        since, passed_ms = value - state.value, state.newest_ms - state.summed_ms
        possible = self.method.most * max(passed_ms, SHORTEST_MS) / 1000
        if not 0 <= since <= possible:  # another counter, a reset or noise: no need for haste
            return passed_ms < SHORTEST_MS
        return all(
            total + since < rung.over or state.standing.get(rung.name, _LOW).active
            for rung, total in zip(self.rungs, state.sums, strict=True)
        )

    def _gauge(self, state: State) -> rain.Gauge:
        kind = Totals if self.quantity is Quantity.RAIN_TOTAL else Rates
        return state.gauge if isinstance(state.gauge, kind) else kind()

    def _finding(
        self, at_ms: int, level: Level | None, at: int, depth: float, fallen: rain.Fallen
    ) -> Finding:
        hours = self.windows_ms[at] / _HOUR_MS
        over = self.rungs[at].over
        # What is not known makes a sum a lower bound, or a guess; how much of it, `parts` say.
        about = about_zh = ""
        if fallen.spread > NOISE_M or fallen.doubtful > NOISE_M:
            about, about_zh = "about ", "约"
        elif fallen.unknown_ms > self.method.gap_ms:
            about, about_zh = "at least ", "至少"
        text = f"{about}{plain(round(depth * 1000, 1))} mm of rain in {hours:g} h"
        text_zh = f"过去{hours:g}小时雨量{about_zh}{plain(round(depth * 1000, 1))}毫米"
        if level is not None:
            text += against(level, f"{over * 1000:g} mm", "en")
            text_zh += against(level, f"{over * 1000:g}毫米", "zh")
        return Finding(
            at_ms=at_ms,
            level=level,
            value=depth,
            threshold=over,
            unit="m",
            quantity="rain_sum",
            text=text,
            text_zh=text_zh,
            parts={
                "rain_mm": round(fallen.depth * 1000, 2),
                "window_h": hours,
                "unknown_min": round(fallen.unknown_ms / 60_000, 1),
                "spread_mm": round(fallen.spread * 1000, 2),
                "doubtful_mm": round(fallen.doubtful * 1000, 2),
            },
        )
