"""A quantity over a threshold: water on the road, a river, a crack, a temperature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import msgspec
from pydantic import model_validator

from cloud.alerts import ladder
from cloud.alerts.figures import FIGURES, LANGUAGES, against
from cloud.alerts.hazard import Hazard
from cloud.alerts.ladder import NO_DWELL, Dwell, Graded, Rung, Step
from cloud.alerts.rule import Finding, ReadingRule, forward, trust
from cloud.channels import Language
from wire.messages import Level
from wire.reading import UNITS, Quantity, Reading

HAZARDS: Final = {
    Quantity.DEPTH: Hazard.UNDERPASS,
    Quantity.LEVEL: Hazard.RIVER,
    Quantity.RAIN_TOTAL: Hazard.RAINSTORM,
    Quantity.RAIN_RATE: Hazard.RAINSTORM,
    Quantity.DISPLACEMENT: Hazard.LANDSLIDE,
    Quantity.FREQUENCY: Hazard.LANDSLIDE,
    Quantity.TEMPERATURE: Hazard.EQUIPMENT,
    Quantity.VOLTAGE: Hazard.EQUIPMENT,
}


class Config(Graded):
    """`[rule.<name>]` with `kind = "threshold"`."""

    kind: Literal["threshold"]
    quantity: Quantity

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._rungs(UNITS[self.quantity])
        return self

    def rules(self, name: str) -> list["Threshold"]:
        return [
            Threshold(
                **self._scope(name, HAZARDS[self.quantity]),
                quantity=self.quantity,
                rungs=self._rungs(UNITS[self.quantity]),
                dwell=self._dwell,
            )
        ]


class State(msgspec.Struct, frozen=True, tag="threshold"):
    """`newest_ms` is the time up to which the rule has looked, `level` what it told last."""

    newest_ms: int = 0
    level: Level | None = None
    standing: dict[str, Step] = {}


@dataclass(frozen=True, kw_only=True)
class Threshold(ReadingRule[State]):
    """Values in the SI unit of `quantity`."""

    rungs: tuple[Rung, ...]
    dwell: Dwell = NO_DWELL

    memory = State

    def look(self, state: State, reading: Reading, now_ms: int) -> tuple[State, Finding | None]:
        trusted = trust(reading)
        if reading.value is None or not trusted.raises:
            return state, None  # what comes late and was read before still counts
        newest_ms = forward(state.newest_ms, reading.at_ms, now_ms)
        if newest_ms is None:
            return state, None
        values = [reading.value] * len(self.rungs)
        standing = ladder.climb(self.rungs, state.standing, values, newest_ms, trusted, self.dwell)
        turn = ladder.turn(self.rungs, state.level, standing, values)
        if turn is None:
            return State(newest_ms, state.level, standing), None
        finding = self._finding(reading, turn.level, turn.threshold)
        return State(newest_ms, turn.level, standing), finding

    def now(self, state: State, reading: Reading) -> Finding | None:
        if reading.value is None:
            return None
        level = self.rungs[0].level if state.level is None else state.level
        over = over_of(self.rungs, level)
        return None if over is None else self._finding(reading, state.level, over)

    def _finding(self, reading: Reading, level: Level | None, threshold: float) -> Finding:
        assert reading.value is not None
        text = {tongue: self._text(reading.value, level, tongue) for tongue in LANGUAGES}
        return Finding(
            at_ms=reading.at_ms,
            level=level,
            value=reading.value,
            threshold=threshold,
            unit=UNITS[self.quantity],
            quantity=self.quantity,
            text=text["en"],
            text_zh=text["zh"],
            parts={"held_s": self.dwell.over_ms / 1000},
        )

    def _text(self, value: float, level: Level | None, language: Language) -> str:
        figure = FIGURES[self.quantity]
        text = figure.now(value, language)
        if level is None:
            return text
        over = over_of(self.rungs, level)
        if over is None:
            return text
        return text + against(level, figure.limit(over, language), language)


def over_of(rungs: Sequence[Rung], level: Level) -> float | None:
    """Where a level begins, None if the rule does not have it any more."""
    return max((one.over for one in rungs if one.level is level), default=None)
