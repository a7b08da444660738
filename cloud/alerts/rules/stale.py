"""A sensor that delivers nothing to be believed, though its gateway speaks."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from cloud.alerts import devices
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import (
    Colour,
    Finding,
    Place,
    Rule,
    RuleConfig,
    Said,
    Tick,
    ms,
    trust,
)
from wire.messages import Level
from wire.reading import Quantity, Reading

_GRAINS: Final = 20
"""The state is written anew each time so many parts of the time have passed, not each reading."""


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "stale"`."""

    kind: Literal["stale"]
    quantity: Quantity | None = None
    silent_s: Annotated[float, Field(ge=1, le=31_536_000)] = 600
    level: Colour = Level.YELLOW

    def rules(self, name: str) -> list["Stale"]:
        return [
            Stale(
                **self._scope(name, Hazard.EQUIPMENT),
                quantity=self.quantity,
                after_ms=ms(self.silent_s),
                level=self.level,
            )
        ]


class State(msgspec.Struct, frozen=True, tag="stale"):
    """`good_ms` is when something to be believed last came, by the cloud's clock and to a grain;
    `newest_ms` the time of that reading, `quantity` what it measures."""

    good_ms: int | None = None
    newest_ms: int = 0
    reason: str = ""
    level: Level | None = None
    quantity: str = ""


@dataclass(frozen=True, kw_only=True)
class Stale(Rule[State]):
    """A gateway that is silent itself makes none of its sensors stale: it is dead, or cut off, and
    its outbox may have all of their readings."""

    quantity: Quantity | None
    after_ms: int
    level: Level

    hears = frozenset({Reading, Tick})
    memory = State

    def place(self, gateway: str, said: Said) -> Place | None:
        if (
            isinstance(said, Reading)
            and self.quantity in (None, said.quantity)
            and self._covers(gateway, said.site, said.sensor)
        ):
            return Place(gateway, said.site, said.sensor)
        return None

    def step(self, state: State, said: Said, now_ms: int) -> tuple[State, Finding | None]:
        if isinstance(said, Reading):
            return self._hear(state, said, now_ms)
        assert isinstance(said, Tick)
        if state.level is not None or state.good_ms is None:
            return state, None
        silent_ms = said.heard_ms - max(state.good_ms, said.listening_ms)
        if silent_ms < self.after_ms:
            return state, None
        return msgspec.structs.replace(state, level=self.level), self._raised(state, now_ms)

    def _hear(self, state: State, reading: Reading, now_ms: int) -> tuple[State, Finding | None]:
        if reading.at_ms <= state.newest_ms and state.good_ms is not None:
            return state, None  # of a backlog: what is known is newer
        if not trust(reading).raises:
            # One that never delivered is silent from its first missing reading on.
            reason = reading.reason or reading.quality.name.lower()
            good_ms = now_ms if state.good_ms is None else state.good_ms
            if (reason, good_ms) == (state.reason, state.good_ms):
                return state, None
            quantity = str(reading.quantity)
            return (
                msgspec.structs.replace(state, good_ms=good_ms, reason=reason, quantity=quantity),
                None,
            )
        grain_ms = self.after_ms // _GRAINS
        recent = state.good_ms is not None and now_ms - state.good_ms < grain_ms
        if recent and state.level is None and not state.reason:
            return state, None
        newest_ms = max(state.newest_ms, min(reading.at_ms, now_ms))
        finding = None
        if state.level is not None:
            finding = Finding(
                at_ms=reading.at_ms,
                level=None,
                value=None,
                threshold=self.after_ms / 1000,
                unit="s",
                quantity="silence",
                text="readings come again",
                text_zh="读数恢复",
            )
        return State(now_ms, newest_ms, quantity=str(reading.quantity)), finding

    def _raised(self, state: State, now_ms: int) -> Finding:
        assert state.good_ms is not None
        silent_ms = now_ms - state.good_ms
        device = devices.measuring(state.quantity)
        unwatched = devices.UNWATCHED.get(device)
        text = f"{devices.NAMES[device]['en']} has given no reading"
        text_zh = f"{devices.NAMES[device]['zh']}没有可信读数"
        if unwatched is not None:
            text += f", and {unwatched['en']}"
            text_zh += f"，{unwatched['zh']}"
        return Finding(
            at_ms=now_ms,
            level=self.level,
            value=silent_ms / 1000,
            threshold=self.after_ms / 1000,
            unit="s",
            quantity="silence",
            text=text,
            text_zh=text_zh,
            parts={
                "since_ms": state.newest_ms or state.good_ms,
                "reason": state.reason,
                "device": device,
            },
        )
