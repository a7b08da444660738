"""A gateway that the broker has lost, or of which nothing was heard."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from cloud.alerts.devices import Device
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import (
    Colour,
    Finding,
    GatewayRule,
    Heard,
    RuleConfig,
    Said,
    Tick,
    ms,
)
from wire.messages import GatewayState, Level, Status

_GRAINS: Final = 20


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "gateway_dead"`."""

    kind: Literal["gateway_dead"]
    silent_s: Annotated[float, Field(ge=1, le=31_536_000)] = 300
    lost_s: Annotated[float, Field(ge=0, le=31_536_000)] = 60
    level: Colour = Level.ORANGE

    def rules(self, name: str) -> list["GatewayDead"]:
        return [
            GatewayDead(
                **self._scope(name, Hazard.EQUIPMENT),
                silent_ms=ms(self.silent_s),
                lost_ms=ms(self.lost_s),
                level=self.level,
            )
        ]


class State(msgspec.Struct, frozen=True, tag="gateway_dead"):
    """`heard_ms` is when the gateway itself was last heard, `lost_ms` when the broker said that it
    is lost, both by the cloud's clock; `said_ms` the time in its last status, by which one that
    the broker repeats is known."""

    heard_ms: int = 0
    lost_ms: int | None = None
    said_ms: int = 0
    stopped: bool = False
    level: Level | None = None


@dataclass(frozen=True, kw_only=True)
class GatewayDead(GatewayRule[State]):
    """What we could not hear, because we did not listen, is nobody's silence."""

    silent_ms: int
    lost_ms: int
    level: Level

    hears = frozenset({Status, Heard, Tick})
    memory = State

    def step(self, state: State, said: Said, now_ms: int) -> tuple[State, Finding | None]:
        if isinstance(said, Tick):
            return self._wait(state, said, now_ms)
        if isinstance(said, Heard):
            return self._alive(state, now_ms)
        assert isinstance(said, Status)
        if said.at_ms == state.said_ms and state.heard_ms:
            return state, None  # retained, and known
        if said.state is GatewayState.LOST:
            lost_ms = now_ms if state.lost_ms is None else state.lost_ms
            return msgspec.structs.replace(state, lost_ms=lost_ms, said_ms=said.at_ms), None
        stopped = said.state is GatewayState.STOPPED
        state = msgspec.structs.replace(state, said_ms=said.at_ms, stopped=stopped)
        if said.clock_trusted and now_ms - said.at_ms >= self.silent_ms:
            return state, None  # it has waited at the broker: its gateway may be dead since
        return self._alive(state, now_ms)

    def _alive(self, state: State, now_ms: int) -> tuple[State, Finding | None]:
        is_recent = now_ms - state.heard_ms < self.silent_ms // _GRAINS
        if is_recent and state.level is None and state.lost_ms is None:
            return state, None
        after = State(now_ms, None, state.said_ms, state.stopped)
        if state.level is None:
            return after, None
        return after, Finding(
            at_ms=now_ms,
            level=None,
            value=None,
            threshold=self.silent_ms / 1000,
            unit="s",
            quantity="silence",
            text="the equipment is heard again",
            text_zh="监测设备恢复通信",
        )

    def _wait(self, state: State, tick: Tick, now_ms: int) -> tuple[State, Finding | None]:
        if state.level is not None:
            return state, None
        silent_ms = now_ms - max(state.heard_ms, tick.listening_ms)
        lost_ms = None if state.lost_ms is None else now_ms - state.lost_ms
        if lost_ms is not None and lost_ms >= self.lost_ms:
            value_ms, threshold_ms = lost_ms, self.lost_ms
            since_ms = state.lost_ms
        elif silent_ms >= self.silent_ms:
            value_ms, threshold_ms = silent_ms, self.silent_ms
            since_ms = state.heard_ms or now_ms
        else:
            return state, None
        text = "the equipment has not been heard, and nobody knows what it measures"
        text_zh = "监测设备失去联系，现场数据中断，情况不明"
        if state.stopped:
            text = "the equipment has been switched off, and nothing is measured"
            text_zh = "监测设备已停机，现场无监测"
        finding = Finding(
            at_ms=now_ms,
            level=self.level,
            value=value_ms / 1000,
            threshold=threshold_ms / 1000,
            unit="s",
            quantity="silence",
            text=text,
            text_zh=text_zh,
            parts={
                "heard_ms": state.heard_ms or None,
                "lost_ms": state.lost_ms,
                "since_ms": since_ms,
                "device": Device.ALL,
            },
        )
        return msgspec.structs.replace(state, level=self.level), finding
