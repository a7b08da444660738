"""What we answer to a reply, in a short message. Pure.

Every answer says what was recorded, or that nothing was, and what to reply next.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from cloud.alerts import replies
from cloud.alerts.replies import Says
from cloud.channels import Language


class Came(StrEnum):
    """What came of a reply. The first six record what somebody says of a call; DONE is a result;
    TAKEN_BACK: who had answered cannot act after all;
    SEVERAL: it does not say which call; LATE: the alert has risen since; OVER, ANSWERED: of an
    earlier call; NO_CALL: a code of no call to this number; NONE: none is open."""

    ACKNOWLEDGED = "acknowledged"
    ACTING = "acting"
    DONE = "done"
    CANNOT_ACT = "cannot act"
    DECLINED = "declined"
    TAKEN_BACK = "taken back"
    QUESTION = "question"
    UNCLEAR = "unclear"
    SEVERAL = "several"
    LATE = "late"
    OVER = "over"
    ANSWERED = "answered"
    NO_CALL = "no call"
    NONE = "none"


RECORDED: Final = frozenset(
    {
        *(Came.ACKNOWLEDGED, Came.ACTING, Came.DONE),
        *(Came.CANNOT_ACT, Came.DECLINED, Came.TAKEN_BACK),
    }
)


class About(NamedTuple):
    """`titles` are those of the calls that are meant, `codes` what can be replied now, with the
    title of each; `done` says what was understood of a result; `who` has answered before."""

    titles: tuple[str, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()
    done: str = ""
    who: str = ""


class Words(NamedTuple):
    title: str
    text: str


_TITLE: Final[dict[Language, dict[Came, str]]] = {
    "zh": {
        Came.ACKNOWLEDGED: "应答已记录",
        Came.ACTING: "进展已记录",
        Came.DONE: "结果已记录",
        Came.CANNOT_ACT: "已记录：无法处置",
        Came.DECLINED: "已记录：您去不了",
        Came.TAKEN_BACK: "已记录：您无法处置",
        Came.QUESTION: "问题已记录，不算应答",
        Came.UNCLEAR: "没有看懂，不算应答",
        Came.SEVERAL: "不清楚是哪一条，不算应答",
        Came.LATE: "不算应答：预警已升级",
        Came.OVER: "该预警已结束",
        Came.ANSWERED: "该预警已有人应答",
        Came.NO_CALL: "没有这个编号",
        Came.NONE: "没有待应答的预警",
    },
    "en": {
        Came.ACKNOWLEDGED: "Your answer is recorded",
        Came.ACTING: "Recorded: you are on it",
        Came.DONE: "The result is recorded",
        Came.CANNOT_ACT: "Recorded: it cannot be done",
        Came.DECLINED: "Recorded: you cannot go",
        Came.TAKEN_BACK: "Recorded: you cannot act",
        Came.QUESTION: "Your question is recorded; it is no answer",
        Came.UNCLEAR: "Not understood; it is no answer",
        Came.SEVERAL: "Which one? It is no answer yet",
        Came.LATE: "No answer: the alert has risen",
        Came.OVER: "That alert is over",
        Came.ANSWERED: "Somebody has answered that alert",
        Came.NO_CALL: "There is no such code",
        Came.NONE: "No alert waits for your answer",
    },
}

_TEXT: Final[dict[Language, dict[Came, str]]] = {
    "zh": {
        Came.ACKNOWLEDGED: "已记录：{titles}由您应答。处置后请回复结果，如“已封路”。",
        Came.ACTING: "已记录：{titles}由您处置。完成后请回复结果，如“已封路”“已转移5人”。",
        Came.DONE: "已记录：{titles}，{done}。如有变化请再回复。",
        Came.CANNOT_ACT: "已记录：{titles}，现场无法处置。将继续呼叫其他责任人，请注意安全。",
        Came.DECLINED: "已记录：{titles}，您无法到场。将继续呼叫其他责任人。",
        Came.TAKEN_BACK: "已记录：{titles}原由您应答，现您无法处置，正在呼叫其他责任人。",
        Came.QUESTION: "本号码由系统答复，不能回答问题。{how}",
        Came.UNCLEAR: "没有看懂。{how}",
        Came.SEVERAL: "您有几条待应答的预警。{how}",
        Came.LATE: "{titles}在您收到之后已升级，请答复最新的呼叫。{how}",
        Came.OVER: "{titles}已结束，无需应答。{how}",
        Came.ANSWERED: "{titles}已由{who}应答。{how}",
        Came.NO_CALL: "您没有这个编号的预警。{how}",
        Came.NONE: "现在没有预警等您应答。发现险情请致电值班室。",
    },
    "en": {
        Came.ACKNOWLEDGED: "Recorded: you answer for {titles}. When it is done, reply what was "
        'done, for example "road closed".',
        Came.ACTING: "Recorded: you act on {titles}. When it is done, reply what was done, for "
        'example "road closed" or "5 people out".',
        Came.DONE: "Recorded for {titles}: {done}. Reply again if that changes.",
        Came.CANNOT_ACT: "Recorded for {titles}: nothing can be done there. Others are being "
        "called. Keep yourself safe.",
        Came.DECLINED: "Recorded for {titles}: you cannot go. Others are being called.",
        Came.TAKEN_BACK: "Recorded for {titles}: you answered before and cannot act now. Others "
        "are being called.",
        Came.QUESTION: "A program answers here and cannot answer questions. {how}",
        Came.UNCLEAR: "Your reply was not understood. {how}",
        Came.SEVERAL: "Several alerts wait for your answer. {how}",
        Came.LATE: "{titles} has risen since that message. Answer the newest call. {how}",
        Came.OVER: "{titles} is over and needs no answer. {how}",
        Came.ANSWERED: "{titles} was answered by {who}. {how}",
        Came.NO_CALL: "You have no alert with this code. {how}",
        Came.NONE: "No alert waits for your answer now. If you see danger, call the duty room.",
    },
}

_HOW: Final[dict[Language, str]] = {
    "zh": "{title}：收到请回复{code}；去不了请回复“{code}去不了”。",
    "en": '{title}: reply {code} if you go, "{code} no" if you cannot.',
}

_DONE: Final[dict[Language, dict[replies.Result, str]]] = {
    "zh": {
        replies.Result.CLOSED: "道路已封闭",
        replies.Result.EVACUATED: "人员已转移",
        replies.Result.FALSE_ALARM: "误报",
        replies.Result.CANNOT_ACT: "现场无法处置",
    },
    "en": {
        replies.Result.CLOSED: "the road is closed",
        replies.Result.EVACUATED: "the people are out",
        replies.Result.FALSE_ALARM: "a false alarm",
        replies.Result.CANNOT_ACT: "nothing can be done there",
    },
}

_CALL: Final[dict[Language, str]] = {"zh": "{site}{level}预警", "en": "the {level} alert at {site}"}
_LEVELS: Final[dict[Language, dict[str, str]]] = {
    "zh": {"blue": "蓝色", "yellow": "黄色", "orange": "橙色", "red": "红色"},
    "en": {},
}
_PEOPLE: Final[dict[Language, str]] = {"zh": "已转移{n}人", "en": "people moved: {n}"}
_MOST: Final = 3
"""Calls that one answer lists: a short message is short."""
_AND: Final[dict[Language, str]] = {"zh": "、", "en": " and "}
_IT: Final[dict[Language, str]] = {"zh": "该预警", "en": "that alert"}


def write(came: Came, about: About, language: Language) -> Words:
    """Title and text of an answer."""
    titles = _AND[language].join(about.titles[:_MOST]) or _IT[language]
    lines = [
        _capital(_HOW[language].format(title=title, code=code))
        for code, title in about.codes[:_MOST]
    ]
    text = _TEXT[language][came].format(
        titles=titles, done=about.done, who=about.who, how=_joined(lines, language)
    )
    return Words(_TITLE[language][came], _capital(text.strip()))


def title(site: str, level: str | None, language: Language) -> str:
    """A call in few words."""
    return _CALL[language].format(site=site, level=_LEVELS[language].get(level or "", level or ""))


def done(reply: replies.Reply, language: Language) -> str:
    """A result in words; "" if it is none."""
    if reply.result is None:
        return ""
    if reply.result is replies.Result.EVACUATED and reply.people is not None:
        return _PEOPLE[language].format(n=reply.people)
    return _DONE[language][reply.result]


def came_of(reply: replies.Reply) -> Came | None:
    """What is recorded of a reply that names a call; None for what gets no answer."""
    if reply.result is replies.Result.CANNOT_ACT:
        return Came.CANNOT_ACT
    return _CAME.get(reply.says)


_CAME: Final = {
    Says.ACKNOWLEDGE: Came.ACKNOWLEDGED,
    Says.ACTING: Came.ACTING,
    Says.RESULT: Came.DONE,
    Says.DECLINE: Came.DECLINED,
    Says.QUESTION: Came.QUESTION,
    Says.UNCLEAR: Came.UNCLEAR,
}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _joined(lines: Sequence[str], language: Language) -> str:
    return ("" if language == "zh" else " ").join(lines)
