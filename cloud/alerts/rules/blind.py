"""A site that sees nothing while it rains hard: a danger of its own."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

import msgspec
from pydantic import Field, model_validator

from cloud.alerts import rain
from cloud.alerts.figures import plain
from cloud.alerts.rain import Method, Rates, Totals
from cloud.alerts.rule import (
    Colour,
    Finding,
    Name,
    Place,
    Positive,
    Rule,
    RuleConfig,
    Said,
    Tick,
    forward,
    ms,
    span,
    span_zh,
    trust,
)
from cloud.alerts.rules.threshold import HAZARDS
from wire.messages import Level
from wire.reading import Quantity, Reading

_BINS: Final = 12
_GRAINS: Final = 20

_UNKNOWN: Final = {
    Quantity.DEPTH: ("how deep the water is", "积水深度"),
    Quantity.LEVEL: ("how high the river stands", "河道水位"),
}
"""What is not known: in English, in Chinese."""


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "blind"`: the rulers of `site`, or its `sensor` alone, and the
    rain at the gauges of `rain_site` (a neighbour; by default the same), or at its `rain_sensor`.
    Rulers and gauges must send to the same shard. `gateway` has no meaning here."""

    kind: Literal["blind"]
    site: Name
    quantity: Literal[Quantity.DEPTH, Quantity.LEVEL] = Quantity.DEPTH
    silent_s: Annotated[float, Field(ge=1, le=86_400)] = 120
    rain_site: Name | None = None
    rain_sensor: Name | None = None
    rain_quantity: Literal[Quantity.RAIN_TOTAL, Quantity.RAIN_RATE] = Quantity.RAIN_TOTAL
    over_mm: Positive = 5
    clear_mm: Positive = 2
    window_min: Annotated[float, Field(ge=1, le=1440)] = 30
    most_mm_min: Positive = 10
    level: Colour = Level.RED

    @model_validator(mode="after")
    def _has_hysteresis(self) -> Self:
        if self.clear_mm >= self.over_mm:
            raise ValueError("clear_mm is not below over_mm: it would never clear")
        return self

    def rules(self, name: str) -> list["Blind"]:
        window_ms = ms(60 * self.window_min)
        scope = self._scope(name, HAZARDS[self.quantity])
        return [
            Blind(
                **scope | {"gateway": None},
                quantity=self.quantity,
                silent_ms=ms(self.silent_s),
                rain_site=self.rain_site or self.site,
                rain_sensor=self.rain_sensor,
                rain_quantity=self.rain_quantity,
                over=self.over_mm / 1000,
                clear=self.clear_mm / 1000,
                window_ms=window_ms,
                method=Method(window_ms // _BINS, window_ms, window_ms, self.most_mm_min / 60_000),
                level=self.level,
            )
        ]


class Gauge(msgspec.Struct, frozen=True):
    """One rain gauge: the time of its newest reading, and what it counted."""

    newest_ms: int
    memory: Totals | Rates


class State(msgspec.Struct, frozen=True, tag="blind"):
    """`seen` is when each ruler last said something to be believed, by the cloud's clock and to a
    grain; `began_ms` when the rule began to look."""

    began_ms: int | None = None
    seen: dict[str, int] = {}
    gauges: dict[str, Gauge] = {}
    level: Level | None = None


@dataclass(frozen=True, kw_only=True)
class Blind(Rule[State]):
    """Blind is a site none of whose rulers was believable for `silent_ms`, whether they are silent,
    broken, or behind a gateway that is dead. The alert ends when a ruler sees again, or when the
    rain is known to be over: a gauge that falls silent too ends nothing."""

    quantity: Quantity
    silent_ms: int
    rain_site: str
    rain_sensor: str | None
    rain_quantity: Quantity
    over: float
    clear: float
    window_ms: int
    method: Method
    level: Level

    hears = frozenset({Reading, Tick})
    memory = State

    def place(self, gateway: str, said: Said) -> Place | None:
        # One place for all gateways: rain and water may come from different ones.
        if isinstance(said, Reading) and (self._is_ruler(said) or self._is_gauge(said)):
            return Place("", self.site or "", self.sensor or "")
        return None

    def step(self, state: State, said: Said, now_ms: int) -> tuple[State, Finding | None]:
        if state.began_ms is None:
            state = msgspec.structs.replace(state, began_ms=now_ms)
        if isinstance(said, Reading):
            state = self._hear(state, said, now_ms)
        if state.level is not None:
            finding = self._over(state, now_ms)
        elif isinstance(said, Tick):  # a reading cannot know for how long we have listened
            finding = self._begun(state, now_ms, said.listening_ms)
        else:
            finding = None
        return self._told(state, finding), finding

    def _hear(self, state: State, reading: Reading, now_ms: int) -> State:
        if reading.value is None or not trust(reading).raises:
            return state
        if self._is_ruler(reading):
            # Only what is as young as it must be shows that the site sees now.
            seen_ms = state.seen.get(reading.sensor, 0)
            fresh = now_ms - reading.at_ms < self.silent_ms
            if fresh and now_ms - seen_ms >= self.silent_ms // _GRAINS:
                return msgspec.structs.replace(state, seen=state.seen | {reading.sensor: now_ms})
            return state
        kind = Totals if self.rain_quantity is Quantity.RAIN_TOTAL else Rates
        name = reading.sensor
        gauge = state.gauges.get(name, Gauge(0, kind()))
        newest_ms = forward(gauge.newest_ms, reading.at_ms, now_ms) or gauge.newest_ms
        before = gauge.memory if isinstance(gauge.memory, kind) else kind()
        at_ms = min(reading.at_ms, now_ms)
        memory = rain.add(before, at_ms, reading.value, newest_ms, self.method)
        gauges = state.gauges | {name: Gauge(newest_ms, memory)}
        return msgspec.structs.replace(state, gauges=gauges)

    def _begun(self, state: State, now_ms: int, listening_ms: int) -> Finding | None:
        silent_ms = now_ms - max(self._seen(state), listening_ms)
        fallen = self._rain(state, now_ms)
        if silent_ms < self.silent_ms or fallen is None or fallen < self.over:
            return None
        what, what_zh = _UNKNOWN[self.quantity]
        rain_mm = plain(round(fallen * 1000, 1))
        text = (
            f"nobody has known {what}: no gauge gives a reading, and it rains hard, "
            f"{rain_mm} mm in {span(self.window_ms)}"
        )
        text_zh = (
            f"{what_zh}没有可信读数，情况不明；强降雨，{span_zh(self.window_ms)}内{rain_mm}毫米"
        )
        finding = self._finding(now_ms, self.level, fallen, text, text_zh)
        finding.parts["since_ms"] = now_ms - silent_ms
        return finding

    def _over(self, state: State, now_ms: int) -> Finding | None:
        fallen = self._rain(state, now_ms)
        if now_ms - self._seen(state) < self.silent_ms:
            return self._finding(now_ms, None, fallen, "it is measured again", "监测恢复")
        if fallen is None or fallen > self.clear:
            return None
        rain_mm, window = plain(round(fallen * 1000, 1)), span(self.window_ms)
        text = f"still not measured, but it hardly rains: {rain_mm} mm in {window}"
        text_zh = f"监测仍未恢复，但雨势已弱，{span_zh(self.window_ms)}内{rain_mm}毫米"
        return self._finding(now_ms, None, fallen, text, text_zh)

    @staticmethod
    def _seen(state: State) -> int:
        return max(state.seen.values(), default=state.began_ms or 0)

    def _rain(self, state: State, now_ms: int) -> float | None:
        """The most that a gauge counted in the window; None if none of them speaks."""
        return max(
            (
                rain.fallen(one.memory, one.newest_ms, [self.window_ms], self.method)[0].depth
                for one in state.gauges.values()
                if now_ms - one.newest_ms < self.window_ms
            ),
            default=None,
        )

    @staticmethod
    def _told(state: State, finding: Finding | None) -> State:
        return state if finding is None else msgspec.structs.replace(state, level=finding.level)

    def _finding(
        self, now_ms: int, level: Level | None, fallen: float | None, text: str, text_zh: str
    ) -> Finding:
        return Finding(
            at_ms=now_ms,
            level=level,
            value=fallen,
            threshold=self.clear if level is None else self.over,
            unit="m",
            quantity="rain_while_blind",
            text=text,
            text_zh=text_zh,
            parts={
                "window_min": self.window_ms / 60_000,
                "rain_mm": None if fallen is None else round(fallen * 1000, 2),
            },
        )

    def _is_ruler(self, reading: Reading) -> bool:
        return (
            reading.quantity is self.quantity
            and reading.site == self.site
            and self.sensor in (None, reading.sensor)
        )

    def _is_gauge(self, reading: Reading) -> bool:
        return (
            reading.quantity is self.rain_quantity
            and reading.site == self.rain_site
            and self.rain_sensor in (None, reading.sensor)
        )
