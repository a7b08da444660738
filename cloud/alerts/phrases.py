"""The sentences that messages are composed of, in each language: see `compose`."""

from enum import StrEnum
from typing import Final

from cloud.alerts.actions import Kind
from cloud.alerts.escalationstate import Outcome
from cloud.alerts.hazard import Hazard
from cloud.channels import Language


class Silence(StrEnum):
    """Why nobody of the tier below acts."""

    NO_ANSWER = "no answer"
    DECLINED = "declined"
    UNREACHED = "unreached"
    NOBODY = "nobody"


TITLE: Final[dict[Language, dict[Kind, str]]] = {
    "zh": {
        Kind.RAISE: "{level}预警：{what}",
        Kind.CLIMB: "{level}预警：{what}，{below}",
        Kind.RISE: "升级为{level}预警：{what}",
        Kind.REOPEN: "{level}预警重新呼叫：{what}",
        Kind.AGAIN: "{level}预警再次呼叫：{what}",
        Kind.FOLLOW_UP: "请报告处置结果：{what}",
        Kind.FALL: "降为{level}预警：{what}",
        Kind.HAND_BACK: "降为{level}预警，由下级处置：{what}",
        Kind.ANSWERED: "已有人应答：{what}",
        Kind.RESULT: "处置结果：{what}",
        Kind.HELD: "暂停呼叫：{what}",
        Kind.CLEAR: "预警解除：{what}",
        Kind.COPY: "{level}预警知会：{what}",
        Kind.PUBLIC: "{level}预警：{what}",
    },
    "en": {
        Kind.RAISE: "{level} alert: {what}",
        Kind.CLIMB: "{level} alert: {what}, {below}",
        Kind.RISE: "now {level}: {what}",
        Kind.REOPEN: "{level} alert, called again: {what}",
        Kind.AGAIN: "{level} alert, please answer: {what}",
        Kind.FOLLOW_UP: "please report: {what}",
        Kind.FALL: "down to {level}: {what}",
        Kind.HAND_BACK: "down to {level}, the tiers below deal with it: {what}",
        Kind.ANSWERED: "answered: {what}",
        Kind.RESULT: "result: {what}",
        Kind.HELD: "calls held back: {what}",
        Kind.CLEAR: "over: {what}",
        Kind.COPY: "{level} alert, for your information: {what}",
        Kind.PUBLIC: "{level} alert: {what}",
    },
}
BELOW: Final[dict[Language, dict[Silence, str]]] = {
    "zh": {
        Silence.NO_ANSWER: "{tier}未应答",
        Silence.DECLINED: "{tier}无法处置",
        Silence.UNREACHED: "{tier}联系不上",
        Silence.NOBODY: "{tier}无责任人",
    },
    "en": {
        Silence.NO_ANSWER: "the {tier} has not answered",
        Silence.DECLINED: "the {tier} cannot act",
        Silence.UNREACHED: "the {tier} cannot be reached",
        Silence.NOBODY: "the {tier} has nobody to call",
    },
}
SPOKEN: Final[dict[Outcome, dict[Language, str]]] = {
    Outcome.ACTING: {"zh": "正在处置", "en": "they are on it"},
    Outcome.CLOSED: {"zh": "已封路", "en": "the road is closed"},
    Outcome.EVACUATED: {"zh": "已转移人员", "en": "the people are out"},
    Outcome.FALSE_ALARM: {"zh": "现场核实为误报", "en": "it is a false alarm"},
    Outcome.DONE: {"zh": "已处置", "en": "it is dealt with"},
    Outcome.CANNOT_ACT: {"zh": "无法处置", "en": "they cannot act"},
}
SOMEBODY: Final[dict[Language, str]] = {"zh": "有人", "en": "somebody"}
YOU: Final[dict[Language, str]] = {"zh": "您", "en": "you"}
DONE: Final[dict[Language, dict[Hazard, str]]] = {
    "zh": {
        Hazard.UNDERPASS: "“已封路”或“误报”",
        Hazard.RIVER: "“已转移20人”或“误报”",
        Hazard.RAINSTORM: "“已转移20人”或“误报”",
        Hazard.LANDSLIDE: "“已转移20人”或“误报”",
        Hazard.EQUIPMENT: "“误报”",
    },
    "en": {
        Hazard.UNDERPASS: '"road closed" or "false alarm"',
        Hazard.RIVER: '"20 people moved" or "false alarm"',
        Hazard.RAINSTORM: '"20 people moved" or "false alarm"',
        Hazard.LANDSLIDE: '"20 people moved" or "false alarm"',
        Hazard.EQUIPMENT: '"false alarm"',
    },
}
REPORT: Final[dict[Language, str]] = {
    "zh": "请回复处置结果，例如{done}；无法处置请回复“无法处置”。",
    "en": 'Say what was done, for example {done}. If you cannot act, say "cannot act".',
}
