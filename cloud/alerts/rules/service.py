"""What the service observes of itself and of its gateways' traffic, as findings of equipment.

Whoever observes a fault decides when it begins and ends; here it gets its level and its text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec

from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import Colour, Finding, Place, Rule, RuleConfig, Said, ServiceFault
from wire.messages import Level

_Detail = Mapping[str, Any]


class Text(NamedTuple):
    """What people read when a fault begins and when it is over: English, then Chinese. A name in
    braces stands for a figure of the fault's detail, `{channel}` for the channel that it is of."""

    begins: str
    begins_zh: str
    ends: str
    ends_zh: str


FAULTS: Final = {
    "store_away": Text(
        "the store has taken nothing for {away_s} s; alerts go on, readings wait at the gateways",
        "存储已{away_s}秒无法写入；预警照常，数据暂存于网关",
        "the store takes readings again",
        "存储恢复写入",
    ),
    "readings_refused": Text(
        "{readings} readings went to quarantine within {minutes} min: {reason}",
        "{minutes}分钟内{readings}条读数被隔离",
        "its readings are stored again",
        "读数恢复入库",
    ),
    "quota_exceeded": Text(
        "the gateway sends more than its quota allows ({quota}); the surplus is refused",
        "网关发送量超出配额，超出部分未接收",
        "the gateway keeps to its quotas again",
        "网关发送量恢复正常",
    ),
    "ack_not_taken": Text(
        "the gateway does not believe acknowledgements, for they are not proven by its key:"
        " {pending} batches wait there and come again and again",
        "网关未接受入库确认，数据批次反复重发",
        "the gateway takes acknowledgements again",
        "网关恢复接受入库确认",
    ),
    "shard_without_worker": Text(
        "no worker serves the shard: its gateways' readings raise no alert",
        "该分区无处理进程，所属网关的数据不会触发预警",
        "a worker serves the shard again",
        "该分区已恢复处理",
    ),
    "part_failing": Text(
        "a part of the service fails again and again: {error}",
        "服务的一个部件反复出错",
        "the part of the service works again",
        "服务部件恢复正常",
    ),
    "channel_failing": Text(
        "channel {channel} takes no messages to people: {error}",
        "渠道“{channel}”发不出通知，请检查",
        "channel {channel} takes messages to people again",
        "渠道“{channel}”恢复发送",
    ),
    "alerting_late": Text(
        "messages to people are late: {messages} wait, the oldest for {late_s} s",
        "通知发送延迟：{messages}条待发，最早一条已等待{late_s}秒",
        "messages to people go out in time again",
        "通知发送恢复及时",
    ),
    "config_faulty": Text(
        "the config has faults; the service runs without what they concern: {faults}",
        "配置有误，服务以可用部分运行",
        "the config has no faults any more",
        "配置已恢复正常",
    ),
    "clock_implausible": Text(
        "the clock of this server shows {utc}: readings cannot be dated by it",
        "服务器时钟明显错误",
        "the clock of this server is plausible again",
        "服务器时钟恢复正常",
    ),
}
"""By name. `Watch.report` raises KeyError for a fault that is not here: a mistake of ours."""


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "service"`: the level of each fault. Without such a table the
    faults have these levels all the same."""

    kind: Literal["service"]
    store_away: Colour = Level.ORANGE
    readings_refused: Colour = Level.ORANGE
    quota_exceeded: Colour = Level.YELLOW
    ack_not_taken: Colour = Level.YELLOW
    shard_without_worker: Colour = Level.RED
    part_failing: Colour = Level.ORANGE
    channel_failing: Colour = Level.ORANGE
    alerting_late: Colour = Level.ORANGE
    config_faulty: Colour = Level.ORANGE
    clock_implausible: Colour = Level.ORANGE

    def rules(self, name: str) -> list["Fault"]:
        scope = self._scope(name, Hazard.EQUIPMENT)
        return [Fault(**scope, part=fault, level=getattr(self, fault)) for fault in FAULTS]


class State(msgspec.Struct, frozen=True, tag="service"):
    """`level` is that of the fault while it stands."""

    level: Level | None = None


@dataclass(frozen=True, kw_only=True)
class Fault(Rule[State]):
    """One kind of fault, by its name: `part`."""

    level: Level
    part: str  # type: ignore[misc]  # of each instance: the faults differ in nothing else

    hears = frozenset({ServiceFault})
    memory = State

    def place(self, gateway: str, said: Said) -> Place | None:
        """The gateway and the subject."""
        if not isinstance(said, ServiceFault) or said.name != self.part:
            return None
        if self.gateway not in (None, gateway):
            return None
        return Place(gateway, self.site or "", said.subject)

    def step(self, state: State, said: Said, now_ms: int) -> tuple[State, Finding | None]:
        assert isinstance(said, ServiceFault)
        if said.active is (state.level is not None):
            return state, None
        text = FAULTS[self.part]
        begins = said.active
        # By its end only the subject is known.
        figures = _Figures({"channel": said.subject.removeprefix("channel "), **said.detail})
        return State(self.level if begins else None), Finding(
            at_ms=now_ms,
            level=self.level if begins else None,
            value=None,
            threshold=None,
            unit="/",
            quantity=self.part,
            text=(text.begins if begins else text.ends).format_map(figures),
            text_zh=(text.begins_zh if begins else text.ends_zh).format_map(figures),
            parts=dict(said.detail),
        )


class _Figures(dict[str, Any]):
    """A figure that the observer did not have."""

    def __missing__(self, key: str) -> str:
        return "?"
