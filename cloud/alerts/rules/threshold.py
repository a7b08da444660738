"""A quantity over a threshold: water on the road, a river, a crack, a temperature."""

from dataclasses import dataclass
from typing import Final, Literal, Self

import msgspec
from pydantic import model_validator

from cloud.alerts import ladder
from cloud.alerts.figures import FIGURES
from cloud.alerts.hazard import Hazard
from cloud.alerts.ladder import NO_DWELL, Dwell, Graded, Rung, Step
from cloud.alerts.rule import Finding, ReadingRule, forward, span, span_zh, trust
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
        newest_ms = forward(state.newest_ms, reading.at_ms, now_ms)
        if newest_ms is None:
            return state, None
        if reading.value is None:
            return State(newest_ms, state.level, state.standing), None
        values = [reading.value] * len(self.rungs)
        standing = ladder.climb(
            self.rungs, state.standing, values, newest_ms, trust(reading), self.dwell
        )
        turn = ladder.turn(self.rungs, state.level, standing, values)
        if turn is None:
            return State(newest_ms, state.level, standing), None
        return State(newest_ms, turn.level, standing), self._finding(reading, turn)

    def _finding(self, reading: Reading, turn: ladder.Turn) -> Finding:
        unit = UNITS[self.quantity]
        held_ms = self.dwell.over_ms if turn.rose else self.dwell.clear_ms
        where = "at or over" if turn.rose else "at or under"
        held = f" for {span(held_ms)}" if held_ms else ""
        figure = FIGURES[self.quantity]
        where_zh = "达到或超过" if turn.rose else "降至"
        held_zh = f"，持续{span_zh(held_ms)}" if held_ms else ""
        return Finding(
            at_ms=reading.at_ms,
            level=turn.level,
            value=turn.value,
            threshold=turn.threshold,
            unit=unit,
            quantity=self.quantity,
            text=f"{self.quantity} {turn.value:.4g} {unit}, "
            f"{where} {turn.threshold:.4g} {unit}{held}",
            text_zh=f"{figure.zh} {figure.shown(turn.value)}，"
            f"{where_zh} {figure.shown(turn.threshold)}{held_zh}",
            parts={"held_s": held_ms / 1000},
        )
