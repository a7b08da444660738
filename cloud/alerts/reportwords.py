"""The words of a report, in both languages."""

import re
from typing import Final

from cloud.channels import Language

WORDS: Final[dict[Language, dict[str, str]]] = {
    "zh": {
        "title": "预警处置复盘：{site}",
        "colon": "：",
        "comma": "、",
        "public": "公众",
        "exercise": "演练",
        "overview": "概况",
        "incident": "事件",
        "site": "站点",
        "opened": "开始",
        "closed": "结束",
        "still open": "尚未结束",
        "worst": "最高等级",
        "alerts": "预警",
        "messages": "消息",
        "messages counted": (
            "{made} 条，其中送达 {delivered}，撤回 {withdrawn}，拒收 {refused}，待发 {waiting}"
        ),
        "delays": "时延",
        "alert": "预警",
        "reading over": "首次超限读数",
        "to alert": "超限→预警",
        "to delivery": "预警→首条送达",
        "to answer": "预警→应答",
        "answered by": "应答人",
        "nobody": "无人",
        "tiers": "各级叫应",
        "area": "区域",
        "called": "呼叫时间",
        "delivered": "首条送达",
        "how it ended": "结果",
        "ended answered": "{after} 后应答（{who}）",
        "ended climbed": "{after} 未应答，升级至{area}",
        "ended over": "预警先行结束或降级，无人应答",
        "ended open": "仍在呼叫",
        "ended elsewhere": "{after} 后由其他人应答（{who}）",
        "said": "应答内容",
        "time": "时间",
        "who": "何人",
        "how": "方式",
        "words": "说了什么",
        "counted": "是否有效",
        "yes": "有效",
        "declined": "无法处置，继续呼叫",
        "silent": "未应答人员",
        "times called": "呼叫次数",
        "channels": "渠道",
        "failures": "未送达的消息",
        "channel": "渠道",
        "why": "原因",
        "waiting": "仍在重试",
        "not yet due": "未到发送时间",
        "none": "无。",
        "readings": "监测数据",
        "sensor": "传感器",
        "readings counted": "读数",
        "first": "首值",
        "lowest": "最低",
        "highest": "最高",
        "last": "末值",
        "chart": "{sensor}，{quantity}（{unit}）",
        "course": "过程",
        "what": "事项",
        "detail": "说明",
        "kind rule": "规则判定",
        "kind lamp": "网关",
        "kind message": "消息",
        "normal": "恢复正常",
        "to": "致{who}（{channel}）：{title}",
        "left out": "另有 {count} 行从略；`shuichi alert show {incident}` 可查全部。",
        "ms": "毫秒",
        "s": "秒",
        "min": "分",
        "h": "小时",
        "red": "红色",
        "orange": "橙色",
        "yellow": "黄色",
        "blue": "蓝色",
        "refused": "拒收",
        "withdrawn": "已撤回",
        "sent": "送达",
    },
    "en": {
        "title": "Review of an incident: {site}",
        "colon": ": ",
        "comma": ", ",
        "public": "the public",
        "exercise": "EXERCISE",
        "overview": "Overview",
        "incident": "Incident",
        "site": "Site",
        "opened": "Began",
        "closed": "Ended",
        "still open": "still open",
        "worst": "Worst level",
        "alerts": "Alerts",
        "messages": "Messages",
        "messages counted": (
            "{made}: delivered {delivered}, withdrawn {withdrawn}, refused {refused}, "
            "waiting {waiting}"
        ),
        "delays": "Delays",
        "alert": "Alert",
        "reading over": "First reading over",
        "to alert": "over → alert",
        "to delivery": "alert → first delivered",
        "to answer": "alert → answer",
        "answered by": "Answered by",
        "nobody": "nobody",
        "tiers": "Who was called",
        "area": "Area",
        "called": "Called",
        "delivered": "First delivered",
        "how it ended": "How it ended",
        "ended answered": "answered after {after} ({who})",
        "ended climbed": "no answer in {after}: climbed to {area}",
        "ended over": "over, or down, before anybody answered",
        "ended open": "is still being called",
        "ended elsewhere": "somebody else answered after {after} ({who})",
        "said": "What was said",
        "time": "Time",
        "who": "Who",
        "how": "How",
        "words": "Words",
        "counted": "Did it count",
        "yes": "yes",
        "declined": "cannot act: the calls went on",
        "silent": "Who never answered",
        "times called": "Times called",
        "channels": "Channels",
        "failures": "Messages that did not arrive",
        "channel": "Channel",
        "why": "Why",
        "waiting": "is being tried again",
        "not yet due": "its time has not come",
        "none": "None.",
        "readings": "Readings",
        "sensor": "Sensor",
        "readings counted": "Readings",
        "first": "First",
        "lowest": "Lowest",
        "highest": "Highest",
        "last": "Last",
        "chart": "{sensor}, {quantity} ({unit})",
        "course": "Course of events",
        "what": "What",
        "detail": "Detail",
        "kind rule": "Rule",
        "kind lamp": "Gateway",
        "kind message": "Message",
        "normal": "normal again",
        "to": "to {who} ({channel}): {title}",
        "left out": "{count} more lines: `shuichi alert show {incident}` has all of them.",
        "ms": "ms",
        "s": "s",
        "min": "min",
        "h": "h",
        "red": "red",
        "orange": "orange",
        "yellow": "yellow",
        "blue": "blue",
        "refused": "refused",
        "withdrawn": "withdrawn",
        "sent": "delivered",
    },
}

KINDS: Final[dict[str, tuple[str, str]]] = {
    "incident": ("事件开始", "Incident begins"),
    "opened": ("开始呼叫", "Calls begin"),
    "climbed": ("未应答，升级", "No answer: climbs"),
    "empty": ("无联系人", "Nobody there"),
    "top": ("至最高级仍无人应答", "Nobody answered, up to the top"),
    "answered": ("呼叫停止", "Calls end"),
    "answer": ("应答", "Answer"),
    "declined": ("无法处置", "Cannot act"),
    "acting": ("正在处置", "Acting"),
    "result": ("处置结果", "Result"),
    "late answer": ("迟到的应答", "Late answer"),
    "fell": ("等级下降", "Level falls"),
    "held": ("暂缓呼叫", "Calls held back"),
    "cleared": ("预警解除", "Over"),
    "gave way": ("让位于真实预警", "Gives way to a real alert"),
    "closed": ("事件结束", "Incident closed"),
    "rise": ("升级", "Rises"),
    "fall": ("降级", "Falls"),
    "return": ("恢复正常", "Returns to normal"),
    "shelve": ("搁置", "Shelved"),
    "unshelve": ("取消搁置", "Unshelved"),
    "expire": ("搁置到期", "Shelf ends"),
    "outgrow": ("超出搁置等级", "Outgrows its shelf"),
    "suppress": ("抑制", "Suppressed"),
    "unsuppress": ("取消抑制", "Not suppressed any more"),
    "remove": ("退出服务", "Out of service"),
    "restore": ("恢复服务", "Back in service"),
}
"""What the lines of a timeline are called: Chinese, English."""


_BY: Final = r"(?P<who>.+) by (?P<how>.+)"
_PHRASES: Final = tuple(
    (re.compile(pattern), chinese)
    for pattern, chinese in (
        (rf"{_BY}: it has risen since", "{who} 通过{how}：其后已升级"),
        (rf"{_BY}: nobody was being called", "{who} 通过{how}：当时已停止呼叫"),
        (_BY, "{who} 通过{how}"),
        (r"link(?P<rest>, .+)?", "链接{rest}"),
        (r"command line(?P<rest>, .+)?", "命令行{rest}"),
        (r"API(?P<rest>, .+)?", "接口{rest}"),
        (r"the alarm itself was acknowledged", "预警已直接应答"),
        (r"it has risen since that message", "该消息之后已升级"),
        (r"there is nothing to answer", "没有待应答的预警"),
        (r"that alert is over", "该预警已结束"),
        (r"to (?P<level>blue|yellow|orange|red)", "降至{level}"),
        (r"nobody has answered, up to the top", "至最高级仍无人应答"),
        (r"the plan does not know this site: its top is called", "预案中无此站点，呼叫最高级"),
        (r"has no contacts", "没有联系人"),
        (r"active-unacknowledged", "未应答"),
        (r"active-acknowledged", "已应答"),
        (r"returned-unacknowledged", "已恢复，未应答"),
        (r"suppressed-by-design", "已抑制"),
        (r"out-of-service", "已退出服务"),
        (r"shelved", "已搁置"),
    )
)
"""What the timeline says of itself, and how in Chinese; what people have said is nobody's to
translate."""


def phrase(text: str, language: Language) -> str:
    """A line of the timeline."""
    if language == "en":
        return text
    for pattern, chinese in _PHRASES:
        if found := pattern.fullmatch(text):
            parts = {name: part or "" for name, part in found.groupdict().items()}
            if "how" in parts:
                parts["how"] = phrase(parts["how"], language).replace(", ", "，")
            if "level" in parts:
                parts["level"] = WORDS[language][parts["level"]]
            if "rest" in parts:
                parts["rest"] = parts["rest"].replace(", ", "，")
            return chinese.format(**parts)
    return text


def kind(name: str, language: Language) -> str:
    """What a line of a timeline is called."""
    zh, en = KINDS.get(name, (name, name))
    return zh if language == "zh" else en
