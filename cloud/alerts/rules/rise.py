"""How fast water rises: centimetres in a window, by a slope that one wild reading cannot move."""

from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Annotated, Final, Literal, Self

import msgspec
from pydantic import Field, model_validator

from cloud.alerts import ladder
from cloud.alerts.figures import FIGURES
from cloud.alerts.ladder import Dwell, Graded, Rung, Step
from cloud.alerts.rule import Finding, ReadingRule, forward, ms, span, span_zh, trust
from cloud.alerts.rules.threshold import HAZARDS, over_of
from wire.messages import Level
from wire.reading import UNITS, Quantity, Reading

_SLOTS: Final = 12
"""A window keeps the first reading of each slot, and the newest one of all."""

_FEWEST: Final = 5
"""With four points one wild reading still moves the median slope, with five it does not."""


class Config(Graded):
    """`[rule.<name>]` with `kind = "rise"`: `over_cm` and the like are rises in `window_min`."""

    kind: Literal["rise"]
    quantity: Literal[Quantity.DEPTH, Quantity.LEVEL, Quantity.DISPLACEMENT] = Quantity.DEPTH
    window_min: Annotated[float, Field(gt=0, le=1440)] = 5

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._rungs("m")
        return self

    def rules(self, name: str) -> list["Rise"]:
        return [
            Rise(
                **self._scope(name, HAZARDS[self.quantity]),
                quantity=self.quantity,
                rungs=self._rungs("m"),
                dwell=self._dwell,
                window_ms=ms(60 * self.window_min),
            )
        ]


class State(msgspec.Struct, frozen=True, tag="rise"):
    """`points` are (at_ms, m), ascending, not older than a window."""

    newest_ms: int = 0
    level: Level | None = None
    standing: dict[str, Step] = {}
    points: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rise(ReadingRule[State]):
    """The slope is the median over all pairs of points (Theil 1950, Sen 1968), which bears that
    one point in five is wild; it is told as the rise in `window_ms`, m. Points must span half of
    the window. After a gap as long as the window nothing is known, and nothing changes, until
    there are points enough."""

    rungs: tuple[Rung, ...]
    dwell: Dwell
    window_ms: int

    memory = State

    def look(self, state: State, reading: Reading, now_ms: int) -> tuple[State, Finding | None]:
        newest_ms = forward(state.newest_ms, reading.at_ms, now_ms)
        trusted = trust(reading)
        if newest_ms is None or reading.value is None or not trusted.raises:
            return state, None
        points = self._kept(state.points, newest_ms, reading.value)
        rise = self._rise(points)
        if rise is None:
            return State(newest_ms, state.level, state.standing, points), None
        values = [rise] * len(self.rungs)
        standing = ladder.climb(self.rungs, state.standing, values, newest_ms, trusted, self.dwell)
        turn = ladder.turn(self.rungs, state.level, standing, values)
        if turn is None:
            return State(newest_ms, state.level, standing, points), None
        finding = self._finding(reading, rise, turn.level, turn.threshold)
        return State(newest_ms, turn.level, standing, points), finding

    def now(self, state: State, reading: Reading) -> Finding | None:
        rise = self._rise(state.points)
        if rise is None or reading.value is None:
            return None
        level = self.rungs[0].level if state.level is None else state.level
        over = over_of(self.rungs, level)
        return None if over is None else self._finding(reading, rise, state.level, over)

    def _kept(
        self, points: tuple[tuple[int, float], ...], at_ms: int, value: float
    ) -> tuple[tuple[int, float], ...]:
        slot_ms = max(self.window_ms // _SLOTS, 1)
        young = [one for one in points if one[0] > at_ms - self.window_ms]
        # The newest of before gives way unless it was the first of its slot.
        if len(young) > 1 and young[-1][0] // slot_ms == young[-2][0] // slot_ms:
            del young[-1]
        if young and young[-1][0] == at_ms:
            del young[-1]
        return (*young, (at_ms, value))

    def _rise(self, points: tuple[tuple[int, float], ...]) -> float | None:
        if len(points) < _FEWEST or points[-1][0] - points[0][0] < self.window_ms / 2:
            return None
        return self.window_ms * median(
            (b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2)
        )

    def _finding(
        self, reading: Reading, rise: float, level: Level | None, threshold: float
    ) -> Finding:
        assert reading.value is not None  # else it would have moved nothing
        figure = FIGURES[self.quantity]
        by = rise if abs(rise * figure.per_si) >= 0.5 * 10**-figure.digits else 0.0
        verb, verb_zh = ("down", "回落") if by < 0 else ("up", "上涨")
        if self.quantity is Quantity.DISPLACEMENT:
            verb_zh = "缩小" if by < 0 else "增大"
        text = f"{verb} {figure.shown(abs(by))} within {span(self.window_ms)}"
        text_zh = f"{span_zh(self.window_ms)}内{verb_zh}{figure.shown(abs(by), 'zh')}"
        if by == 0:
            text, text_zh = "no longer rising", "不再上涨"
        return Finding(
            at_ms=reading.at_ms,
            level=level,
            value=rise,
            threshold=threshold,
            unit=UNITS[self.quantity],
            quantity=f"{self.quantity}_rise",
            text=f"{figure.now(reading.value, 'en')}, {text}",
            text_zh=f"{figure.now(reading.value, 'zh')}，{text_zh}",
            parts={
                "window_s": self.window_ms / 1000,
                figure.placeholder: round(reading.value * figure.per_si, 2),
            },
        )
