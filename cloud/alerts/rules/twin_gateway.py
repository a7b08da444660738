"""Two machines that use one gateway's id, as after the copy of a memory card.

Each boot of a machine begins a stream, and a gateway never goes back to an earlier one. So a stream
that speaks again after another one has spoken belongs to a second machine. The broker ends the
session of one machine whenever the other connects: they take turns, and each statement counts.
"""

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
    RuleConfig,
    Said,
    Tick,
    ms,
    span,
    span_zh,
)
from wire.messages import GatewayState, Level, Status

_MOST_STREAMS: Final = 8
"""That are remembered: those that spoke last."""

_GRAIN_MS: Final = 60_000
"""A status that is no newer than the last of its stream by so much says nothing: so the state is
written once a minute, and what the broker delivers again is not taken for a return."""

_RETURNS: Final = 2
"""Returns to an earlier stream that make two machines; one may be a message that came late."""


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "twin_gateway"`. Without such a table it holds as well."""

    kind: Literal["twin_gateway"]
    over_after_s: Annotated[float, Field(ge=60, le=31_536_000)] = 1800
    level: Colour = Level.ORANGE

    def rules(self, name: str) -> list["TwinGateway"]:
        scope = self._scope(name, Hazard.EQUIPMENT)
        return [TwinGateway(**scope, over_after_ms=ms(self.over_after_s), level=self.level)]


class State(msgspec.Struct, frozen=True, tag="twin_gateway"):
    """`streams` are those that spoke last, the newest at the end: name, machine, and the time in
    its last status (ms). `returns` counts how often an earlier one spoke again, the last time at
    `last_ms` (the cloud's clock)."""

    streams: tuple[tuple[str, str, int], ...] = ()
    returns: int = 0
    last_ms: int = 0
    level: Level | None = None


@dataclass(frozen=True, kw_only=True)
class TwinGateway(GatewayRule[State]):
    """By the statuses of the gateway. One that the broker has kept, or delivers again, is older
    than the last of its stream and counts nothing."""

    over_after_ms: int
    level: Level

    hears = frozenset({Status, Tick})
    memory = State

    def step(self, state: State, said: Said, now_ms: int) -> tuple[State, Finding | None]:
        if isinstance(said, Tick):
            return self._over(state, now_ms)
        assert isinstance(said, Status)
        if not said.stream or said.state is GatewayState.LOST:
            return state, None
        known = {name: (machine, at_ms) for name, machine, at_ms in state.streams}
        if said.stream in known and said.at_ms < known[said.stream][1] + _GRAIN_MS:
            return state, None
        returned = said.stream in known and state.streams[-1][0] != said.stream
        known.pop(said.stream, None)
        others = [(name, machine, at_ms) for name, (machine, at_ms) in known.items()]
        streams = (*others, (said.stream, said.machine, said.at_ms))[-_MOST_STREAMS:]
        if not returned:
            return msgspec.structs.replace(state, streams=streams), None
        recent = now_ms - state.last_ms < self.over_after_ms
        returns = state.returns + 1 if recent else 1
        state = State(streams, returns, now_ms, state.level)
        if state.level is not None or returns < _RETURNS:
            return state, None
        first, second = (_named(machine, name) for name, machine, _ in streams[-2:])
        return msgspec.structs.replace(state, level=self.level), Finding(
            at_ms=now_ms,
            level=self.level,
            value=None,
            threshold=None,
            unit="/",
            quantity="twin_gateway",
            text=f"two machines, {first} and {second}, have used one id, and their readings are"
            " mixed up: give one of them another id",
            text_zh=f"两台监测设备（{first}、{second}）共用一个编号，数据混在一起，"
            "请更改其中一台的编号",
            parts={"first": first, "second": second, "device": Device.ALL},
        )

    def _over(self, state: State, now_ms: int) -> tuple[State, Finding | None]:
        if state.level is None or now_ms - state.last_ms < self.over_after_ms:
            return state, None
        return msgspec.structs.replace(state, level=None, returns=0), Finding(
            at_ms=now_ms,
            level=None,
            value=None,
            threshold=None,
            unit="/",
            quantity="twin_gateway",
            text=f"one machine alone has used this id for {span(self.over_after_ms)}",
            text_zh=f"{span_zh(self.over_after_ms)}内仅一台设备使用该编号",
        )


def _named(machine: str, stream: str) -> str:
    return machine or f"stream-{stream[:8]}"
