"""What the service observes of itself and of its gateways' traffic, as findings of equipment.

Whoever observes a fault decides when it begins and ends; here it gets its level and its text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec

from cloud.alerts.devices import Device
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import Colour, Finding, Place, Rule, RuleConfig, Said, ServiceFault
from wire.messages import Level

_Detail = Mapping[str, Any]


class Text(NamedTuple):
    """What people read when a fault begins and when it is over: English, then Chinese. A name in
    braces stands for a figure of the fault's detail, `{channel}` or `{shard}` for what it is of. No
    figure that grows: people read it an hour later too."""

    begins: str
    begins_zh: str
    ends: str
    ends_zh: str
    device: Device


FAULTS: Final = {
    "store_away": Text(
        "the database has taken nothing: readings wait on site, and alerts go on",
        "数据库无法写入，监测数据暂存现场，预警不受影响",
        "the database takes readings again",
        "数据库恢复写入",
        Device.SERVICE,
    ),
    "readings_refused": Text(
        "readings have been refused and raise no alert: they cannot be right",
        "部分读数有误被拒收，不会触发预警",
        "its readings are taken again",
        "读数恢复正常接收",
        Device.ALL,
    ),
    "quota_exceeded": Text(
        "the equipment has sent more than it may: the surplus is refused and raises no alert",
        "监测设备发送数据过多，超出部分被拒收，不会触发预警",
        "the equipment sends no more than it may",
        "监测设备发送量恢复正常",
        Device.ALL,
    ),
    "ack_not_taken": Text(
        "the equipment has not believed our receipts and sends its readings again and again:"
        " check its key",
        "监测设备不认可平台的回执，反复重发数据，请核对密钥",
        "the equipment believes our receipts again",
        "监测设备恢复认可回执",
        Device.ALL,
    ),
    "clock_wrong": Text(
        "the clock of the equipment has been wrong: its readings raise alerts, and are kept with"
        " wrong times",
        "监测设备时钟有误，数据时间不准，预警不受影响，请校准",
        "the clock of the equipment is right again",
        "监测设备时钟恢复正常",
        Device.ALL,
    ),
    "shard_without_worker": Text(
        "the readings of {shard} have not been processed and raise no alert: start the service",
        "部分监测数据无人处理，不会触发预警，请立即检查服务是否运行",
        "the readings of {shard} are processed again",
        "监测数据恢复处理",
        Device.SERVICE,
    ),
    "part_failing": Text(
        "a part of the service has failed again and again: its log says why",
        "平台有一项功能反复出错，请查看日志",
        "the part of the service works again",
        "平台功能恢复正常",
        Device.SERVICE,
    ),
    "channel_failing": Text(
        "the channel {channel} has taken no message: some people may not be told, phone them",
        "通知渠道“{channel}”发不出消息，有人可能收不到预警，请电话通知",
        "the channel {channel} takes messages again",
        "通知渠道“{channel}”恢复正常",
        Device.SERVICE,
    ),
    "alerting_late": Text(
        "messages to people have been late: some may not know yet, phone them",
        "预警消息发送延迟，有人可能尚未收到，请电话核实",
        "messages to people go out in time again",
        "预警消息恢复及时发送",
        Device.SERVICE,
    ),
    "config_faulty": Text(
        "the plan or the config has had faults, and what they concern does not work: check them",
        "预案或配置有误，出错的部分不起作用，请检查",
        "plan and config have no faults any more",
        "预案和配置恢复正常",
        Device.SERVICE,
    ),
    "clock_implausible": Text(
        "the clock of this server has been wrong: readings cannot be dated, set it",
        "服务器时间明显错误，读数时间无法确定，请校准",
        "the clock of this server is right again",
        "服务器时间恢复正常",
        Device.SERVICE,
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
    clock_wrong: Colour = Level.YELLOW
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
        channel = said.subject.removeprefix("channel ")
        figures = _Figures({"channel": channel, "shard": said.subject, **said.detail})
        return State(self.level if begins else None), Finding(
            at_ms=now_ms,
            level=self.level if begins else None,
            value=None,
            threshold=None,
            unit="/",
            quantity=self.part,
            text=(text.begins if begins else text.ends).format_map(figures),
            text_zh=(text.begins_zh if begins else text.ends_zh).format_map(figures),
            parts={**said.detail, "device": text.device},
        )


class _Figures(dict[str, Any]):
    """A figure that the observer did not have."""

    def __missing__(self, key: str) -> str:
        return "?"
