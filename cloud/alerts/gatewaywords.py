"""What gateways tell, in Chinese: they tell it in English, with its figures in `detail`. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from wire.aspect import Aspect
from wire.messages import Event

_ASPECT: Final = {
    Aspect.OFF: "熄灭",
    Aspect.GREEN: "绿色",
    Aspect.FLASHING_AMBER: "黄色闪烁",
    Aspect.AMBER: "黄色",
    Aspect.RED: "红色",
}
_CAUSE: Final = {
    "local switch": "现场开关",
    "as it was found": "沿用原状态",
    "no ruler answers": "水尺均无应答",
    "rulers answer": "水尺恢复应答",
    "water rises": "水位上涨",
    "water falls": "水位回落",
    "signal obeys again": "信号灯恢复受控",
}
_ORDER: Final = "order of "
_READING: Final = {
    "no answer": "无应答",
    "bad reply": "应答有误",
    "no sensor": "未接传感器",
    "suspect": "读数可疑",
    "bad": "读数错误",
    "missing": "无读数",
}
_LOSS: Final = {
    "disk full": "存储已满",
    "disk refused": "存储无法写入",
    "outbox full": "待发数据过多",
    "too old": "数据过旧",
    "outbox damaged": "待发数据损坏",
}
_Detail = Mapping[str, Any]
_EVENT: Final[dict[str, Callable[[_Detail], str]]] = {
    "aspect_wanted": lambda d: (
        f"信号灯由{aspect(d.get('from'))}转为{aspect(d.get('to'))}："
        f"{cause(str(d.get('cause', '')))}{_metres('，水深', d.get('depth_m'))}"
    ),
    "aspect_confirmed": lambda d: (
        f"回读确认信号灯为{aspect(d.get('aspect'))}，用时{_number(d.get('latency_ms'))}毫秒"
    ),
    "signal_unconfirmed": lambda d: f"信号灯应为{aspect(d.get('wanted'))}，未能回读确认",
    "over_threshold": lambda d: (
        f"{d.get('ruler', '水尺')}{_metres('读数', d.get('depth_m'))}，"
        f"达到{aspect(d.get('threshold'))}阈值"
    ),
    "ruler_lost": lambda d: f"{d.get('ruler', '水尺')}已{_number(d.get('silent_s'))}秒没有可信读数",
    "ruler_back": lambda d: f"{d.get('ruler', '水尺')}恢复应答",
    "rulers_disagree": lambda d: f"各水尺读数相差{_metres('', d.get('apart_m'))}",
    "rulers_agree": lambda _: "各水尺读数恢复一致",
    "order_ended": lambda d: f"{d.get('by', '')}的指令已到期",
    "clock_trusted": lambda _: "网关时间已校准",
    "clock_jump": lambda d: f"网关时钟被调整{_number(d.get('step_s'))}秒",
    "clock_placed": lambda _: "此前一次开机期间的读数已按估计时间补记",
    "disk_full": lambda _: "网关磁盘已满",
    "disk_recovered": lambda _: "网关磁盘空间恢复",
    "outbox_damaged": lambda _: "发件箱损坏，已移开保存",
    "outbox_salvaged": lambda d: f"从损坏的发件箱中找回{_number(d.get('batches'))}个批次",
    "outbox_in_memory": lambda _: "磁盘拒绝写入，未发送的数据断电后会丢失",
    "outbox_on_disk": lambda _: "发件箱恢复写入磁盘",
    "events_lost": lambda d: (
        f"{_number(d.get('events'))}条事件未能保存（{loss(str(d.get('reason', '')))}）"
    ),
    "command_refused": lambda d: f"{_person(d)}的指令被拒绝",
    "command_accepted": lambda d: f"{_person(d)}的指令已接受",
    "command_applied": lambda d: f"{_person(d)}的指令已生效",
    "command_confirmed": lambda d: f"{_person(d)}的指令已回读确认",
    "command_ended": lambda d: f"{_person(d)}的指令已结束",
}


def aspect(shown: Aspect | str | None) -> str:
    """What a signal shows; "未知" for what is not known."""
    return "未知" if shown is None or shown not in [*Aspect] else _ASPECT[Aspect(shown)]


def cause(text: str) -> str:
    """Why a signal shows it."""
    if text.startswith(_ORDER):
        return f"{text.removeprefix(_ORDER)}的指令"
    return _CAUSE.get(text, "原因不明")


def reading(reason: str) -> str:
    """Why a reading is not to be believed."""
    return _READING.get(reason, "读数不可信")


def loss(reason: str) -> str:
    """Why readings were lost."""
    return _LOSS.get(reason, "原因不明")


def event(told: Event) -> str:
    """A line for people."""
    return line(told.kind, told.detail)


def line(kind: str, detail: _Detail) -> str:
    """The same, from the parts of an event."""
    write = _EVENT.get(kind)
    return f"网关事件（{kind}）" if write is None else write(detail)


def _metres(before: str, value: object) -> str:
    return f"{before} {value:.2f} m" if isinstance(value, int | float) else ""


def _number(value: object) -> str:
    return f" {value:g} " if isinstance(value, int | float) else "若干"


def _person(detail: _Detail) -> str:
    return str(detail.get("person") or "未署名者")
