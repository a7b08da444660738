"""A gateway that does not know the time: its readings wait until it does."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from pydantic import Field

from cloud.alerts import trouble
from cloud.alerts.devices import Device
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import Colour, Finding, GatewayRule, RuleConfig, Said, Tick, ms
from cloud.alerts.trouble import Trouble
from wire.messages import GatewayState, Level, Status


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "clock_untrusted"`."""

    kind: Literal["clock_untrusted"]
    after_s: Annotated[float, Field(ge=0, le=31_536_000)] = 900
    level: Colour = Level.YELLOW

    def rules(self, name: str) -> list["ClockUntrusted"]:
        scope = self._scope(name, Hazard.EQUIPMENT)
        return [ClockUntrusted(**scope, after_ms=ms(self.after_s), level=self.level)]


@dataclass(frozen=True, kw_only=True)
class ClockUntrusted(GatewayRule[Trouble]):
    """By the status of the gateway and the clock of the cloud. A gateway that was lost says
    nothing of its clock."""

    after_ms: int
    level: Level

    hears = frozenset({Status, Tick})
    memory = Trouble

    def step(self, state: Trouble, said: Said, now_ms: int) -> tuple[Trouble, Finding | None]:
        if isinstance(said, Status):
            if said.state is GatewayState.LOST:
                return state, None
            if said.clock_trusted:
                state = msgspec.structs.replace(state, since_ms=None)
            elif state.since_ms is None:
                state = msgspec.structs.replace(
                    state,
                    since_ms=now_ms,
                    text="the equipment has not known the time: its readings raise no alert",
                    text_zh="监测设备时间未校准，读数暂存现场，不会触发预警",
                    parts={"device": Device.ALL},
                )
        well, well_zh = "the equipment knows the time again", "监测设备时间已校准"
        return trouble.judge(state, now_ms, self.after_ms, self.level, "clock", well, well_zh)
