"""River stage against the station's warning (警戒水位) and guarantee (保证水位) levels."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cloud.alerts import ladder
from cloud.alerts.hazard import Hazard
from cloud.alerts.ladder import NO_DWELL, Dwell, Rung
from cloud.alerts.rule import (
    Colour,
    Finding,
    Finite,
    NotNegative,
    Positive,
    ReadingRule,
    RuleConfig,
    forward,
    ms,
    trust,
)
from cloud.alerts.rules.threshold import State
from wire.messages import Level
from wire.reading import Quantity, Reading

NAMES = {"fortify": "设防水位", "warning": "警戒水位", "guarantee": "保证水位"}


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "stage"`. All levels are heights above `datum`; the gauge's
    zero lies `gauge_zero_m` above it, from the station's own survey: offsets between datums differ
    from place to place. `datum_en` is its name in English. Which colour belongs to which level
    is not fixed nationally."""

    kind: Literal["stage"]
    datum: Annotated[str, Field(min_length=1)]
    datum_en: str = ""
    gauge_zero_m: Finite
    fortify_m: Finite | None = None
    warning_m: Finite
    guarantee_m: Finite
    fortify_level: Colour = Level.BLUE
    warning_level: Colour = Level.YELLOW
    guarantee_level: Colour = Level.RED
    clear_lower_cm: Positive = 10
    over_for_s: NotNegative = 0
    clear_for_s: NotNegative = 0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        marks = self._marks()
        for below, above in pairwise(marks):
            if above.over <= below.over:
                raise ValueError(f"{above.key}_m is not above {below.key}_m")
            if above.level <= below.level:
                raise ValueError(f"{above.key}_level is not above {below.key}_level")
        return self

    def rules(self, name: str) -> list["Stage"]:
        return [
            Stage(
                **self._scope(name, Hazard.RIVER),
                quantity=Quantity.LEVEL,
                datum=self.datum,
                datum_en=self.datum_en or self.datum,
                zero_m=self.gauge_zero_m,
                rungs=self._marks(),
                dwell=Dwell(ms(self.over_for_s), ms(self.clear_for_s)),
            )
        ]

    def _marks(self) -> tuple[Rung, ...]:
        lower = self.clear_lower_cm / 100
        marks = [
            (self.fortify_level, self.fortify_m, "fortify"),
            (self.warning_level, self.warning_m, "warning"),
            (self.guarantee_level, self.guarantee_m, "guarantee"),
        ]
        return tuple(Rung(c, over, over - lower, key) for c, over, key in marks if over is not None)


@dataclass(frozen=True, kw_only=True)
class Stage(ReadingRule[State]):
    """`zero_m` and the rungs are heights above `datum`, m."""

    datum: str
    datum_en: str
    zero_m: float
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
        values = [self.zero_m + reading.value] * len(self.rungs)
        standing = ladder.climb(self.rungs, state.standing, values, newest_ms, trusted, self.dwell)
        turn = ladder.turn(self.rungs, state.level, standing, values)
        if turn is None:
            return State(newest_ms, state.level, standing), None
        finding = self._finding(reading, turn.level, turn.rung.key, turn.threshold)
        return State(newest_ms, turn.level, standing), finding

    def now(self, state: State, reading: Reading) -> Finding | None:
        known = (one for one in self.rungs if state.level in (None, one.level))
        rung = next(known, None)  # the lowest mark, where none is reached any more
        if rung is None or reading.value is None:
            return None
        return self._finding(reading, state.level, rung.key, rung.over)

    def _finding(
        self, reading: Reading, level: Level | None, mark: str, threshold: float
    ) -> Finding:
        assert reading.value is not None
        over = {rung.key: rung.over for rung in self.rungs}
        value = self.zero_m + reading.value
        margin = round(value - over[mark], 2)
        if margin == 0:
            text = f"at the {mark} level"
            text_zh = f"已达{NAMES[mark]}"
        elif margin > 0:
            text = f"{margin:.2f} m over the {mark} level"
            text_zh = f"超{NAMES[mark]}{margin:.2f}米"
        else:
            text = f"{-margin:.2f} m under the {mark} level"
            text_zh = f"低于{NAMES[mark]}{-margin:.2f}米"
        parts: dict[str, str | int | float | None] = {
            "stage_m": round(value, 3),
            "datum": self.datum,
            "datum_en": self.datum_en,
            "gauge_m": reading.value,
            "gauge_zero_m": self.zero_m,
            "mark": NAMES[mark],
        }
        parts |= {f"{key}_m": height for key, height in over.items()}
        return Finding(
            at_ms=reading.at_ms,
            level=level,
            value=value,
            threshold=threshold,
            unit="m",
            quantity="stage",
            text=f"water level {value:.2f} m, {text}",
            text_zh=f"水位{value:.2f}米，{text_zh}",
            parts=parts,
        )
