"""Batches that the ledger misses, and readings that a gateway declares lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import Field

from cloud.alerts import gatewaywords, trouble
from cloud.alerts.devices import Device
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import (
    Colour,
    Finding,
    GatewayRule,
    Hole,
    Rule,
    RuleConfig,
    Said,
    Tick,
    ms,
    span,
    span_zh,
)
from cloud.alerts.trouble import Trouble
from wire.limits import NUMBER
from wire.messages import Gap, Level


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "ledger_gap"`. A backlog that drains beside live data is missing
    while it waits: `missing_s` must be longer than an outage takes to be made up for. A declared
    loss cannot be mended: it is told for `lost_for_s`."""

    kind: Literal["ledger_gap"]
    missing_s: Annotated[float, Field(ge=1, le=31_536_000)] = 3600
    missing_level: Colour = Level.YELLOW
    lost_level: Colour = Level.YELLOW
    lost_for_s: Annotated[float, Field(ge=1, le=31_536_000)] = 3600

    def rules(self, name: str) -> Sequence[Rule[Any]]:
        scope = self._scope(name, Hazard.EQUIPMENT)
        return [
            Missing(**scope, after_ms=ms(self.missing_s), level=self.missing_level),
            Lost(**scope, hold_ms=ms(self.lost_for_s), level=self.lost_level),
        ]


_WHY: Final = {
    "disk full": "its storage is full",
    "disk refused": "its storage cannot be written",
    "outbox full": "too many of them waited",
    "outbox damaged": "what waited was damaged",
    "too old": "they have waited for too long",
}
"""Why readings are lost, in plain English."""

_MISSING: Final = "some readings have not arrived: nobody knows what happened then"
_MISSING_ZH: Final = "部分监测数据没有收到，这段时间的情况不明"

_MOST_STREAMS: Final = 100
"""With a hole that are remembered of one gateway; an honest one has a few."""


class Holes(msgspec.Struct, frozen=True, tag="holes"):
    """Of each stream that has a hole: since when, and how many batches are missing."""

    streams: dict[str, tuple[int, int]] = {}
    trouble: Trouble = Trouble()


@dataclass(frozen=True, kw_only=True)
class Missing(GatewayRule[Holes]):
    """Batches that must exist and do not come."""

    after_ms: int
    level: Level

    part: ClassVar[str] = "missing"
    hears = frozenset({Hole, Tick})
    memory = Holes

    def step(self, state: Holes, said: Said, now_ms: int) -> tuple[Holes, Finding | None]:
        streams, wrong = state.streams, state.trouble
        if isinstance(said, Hole):
            streams = _with(streams, said)
            missing = sum(batches for _, batches in streams.values())
            wrong = msgspec.structs.replace(
                wrong,
                since_ms=min((since for since, _ in streams.values()), default=None),
                text=_MISSING if missing else "",
                text_zh=_MISSING_ZH if missing else "",
                parts={"batches": missing, "device": Device.ALL} if missing else {},
            )
        wrong, finding = trouble.judge(
            wrong,
            now_ms,
            self.after_ms,
            self.level,
            "missing",
            "no readings are missing any more",
            "缺失的数据已补齐",
        )
        if (streams, wrong) == (state.streams, state.trouble):
            return state, finding
        return Holes(streams, wrong), finding


def _with(streams: dict[str, tuple[int, int]], said: Hole) -> dict[str, tuple[int, int]]:
    """The same once a stream is as it says. The oldest stay where there are too many."""
    hole = None if said.since_ms is None else (said.since_ms, said.missing)
    if streams.get(said.stream) == hole:
        return streams
    others = {name: one for name, one in streams.items() if name != said.stream}
    if hole is None or len(others) >= _MOST_STREAMS:
        return others
    return others | {said.stream: hole}


class Losses(msgspec.Struct, frozen=True, tag="losses"):
    """What was declared since the last was over; `readings` is None where nobody knows."""

    last_ms: int | None = None
    readings: int | None = 0
    level: Level | None = None


@dataclass(frozen=True, kw_only=True)
class Lost(GatewayRule[Losses]):
    """Readings that were taken and could not be kept."""

    hold_ms: int
    level: Level

    part: ClassVar[str] = "lost"
    hears = frozenset({Gap, Tick})
    memory = Losses

    def step(self, state: Losses, said: Said, now_ms: int) -> tuple[Losses, Finding | None]:
        if isinstance(said, Gap):
            known = said.readings is not None and state.readings is not None
            total = (state.readings or 0) + (said.readings or 0)
            readings = min(total, NUMBER) if known else None
            after = Losses(now_ms, readings, self.level)
            return after, None if state.level else self._raised(said, now_ms)
        if state.last_ms is None or now_ms - state.last_ms < self.hold_ms:
            return state, None
        number = "an unknown number of" if state.readings is None else state.readings
        text = f"no more readings were lost for {span(self.hold_ms)}; {number} are lost"
        lost_zh = "数量不明的读数" if state.readings is None else f"{state.readings}条读数"
        text_zh = f"{span_zh(self.hold_ms)}内未再丢失数据，共丢失{lost_zh}"
        count = None if state.readings is None else float(state.readings)
        return Losses(), Finding(now_ms, None, count, None, "/", "readings_lost", text, text_zh)

    def _raised(self, gap: Gap, now_ms: int) -> Finding:
        return Finding(
            at_ms=now_ms,
            level=self.level,
            value=None if gap.readings is None else float(gap.readings),
            threshold=None,
            unit="/",
            quantity="readings_lost",
            text=f"the equipment has lost readings for good: {_WHY.get(gap.reason, gap.reason)}",
            text_zh=f"监测设备丢失部分读数，原因是{gatewaywords.loss(gap.reason)}，无法找回",
            parts={
                "reason": gap.reason,
                "from_ms": gap.from_ms,
                "to_ms": gap.to_ms,
                "device": Device.ALL,
            },
        )
