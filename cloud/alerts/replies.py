"""What a person says who replies to a call in a short message. Pure, and no text makes it fail.

A false yes ends the calls while nobody goes; a yes that is not understood costs one more message.
Therefore a yes counts only where *every* word of the text is known (`replylexicon`), and whatever
denies, asks, doubts or leaves open takes it away, wherever it stands. A no counts among unknown
words too: it only makes others be called. The order, from what wins:

automatic, stop, question, cannot act, decline, unclear, then what was done, is being done, and yes.

The time that it takes grows with the length of the text only: at each place one phrase is taken,
the longest, and phrases have a length at most.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from cloud.alerts import replytext
from cloud.alerts.replyenglish import EN
from cloud.alerts.replylexicon import ZH, Sort
from cloud.alerts.replytext import Token, What

LONGEST: Final = 1_000
"""Characters of a text that is read. Nobody types more on a road, and half a text is not read: its
other half may say no."""


class Says(StrEnum):
    """RESULT: what was done, or cannot be, see `Result`; ACTING: they are on it; AUTOMATIC: a
    machine writes; STOP: no more messages."""

    ACKNOWLEDGE = "acknowledge"
    ACTING = "acting"
    RESULT = "result"
    DECLINE = "decline"
    QUESTION = "question"
    STOP = "stop"
    AUTOMATIC = "automatic"
    UNCLEAR = "unclear"


class Result(StrEnum):
    """What came of it. CANNOT_ACT: somebody is there, or tried to be, and it cannot be done."""

    CLOSED = "closed"
    EVACUATED = "evacuated"
    FALSE_ALARM = "false alarm"
    CANNOT_ACT = "cannot act"


class Reply(msgspec.Struct, frozen=True):
    """`names` has those of the open calls' codes that the text names, in its order; `strangers`
    what looks like a code of another call. `people`: how many were moved, if that is said."""

    says: Says
    names: tuple[str, ...] = ()
    result: Result | None = None
    people: int | None = None
    strangers: tuple[str, ...] = ()

    @property
    def accepts(self) -> bool:
        """Whether somebody takes it on, so that nobody else need be called."""
        if self.says is Says.RESULT:
            return self.result is not Result.CANNOT_ACT
        return self.says in {Says.ACKNOWLEDGE, Says.ACTING}

    @property
    def declines(self) -> bool:
        """Whether it cannot be done by who replies."""
        return self.says is Says.DECLINE or self.result is Result.CANNOT_ACT


class Around(NamedTuple):
    """What is known beside the text. `sent`: our messages to this number, which a reply may quote;
    `known`: names that are no news (of the person, of sites); `yes` and `no`: words of the
    config; `earlier`: codes of calls that do not wait any more, which can still be named; `is_one`:
    whether all that is open is about the same, None: if it is one call."""

    sent: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    is_one: bool | None = None


NOTHING: Final = Around()

_STOP: Final = frozenset({"t", "td", "tt", "qx", "quit", "end", "stop", "cancel", "取消", "停止"})
_NO: Final = frozenset({"no", "n", "不", "否", "没", "no no"})
_ME: Final = frozenset({"我", "我们", "俺", "咱", "咱们", "本人", "i", "we", "i'm", "we're"})
_THEY: Final = frozenset(
    {
        *("人", "人员", "群众", "村民", "居民", "住户", "学生", "老人", "儿童", "人群", "小孩"),
        *("百姓", "乡亲", "老乡", "全村", "people", "residents", "villagers", "families"),
        *("children", "kids"),
    }
)
_I_AM: Final = frozenset({"i am", "i'm", "im", "am", "we are", "we're"})
_SUM: Final = frozenset({"共", "共计", "总共", "合计", "一共", "累计", "total", "all"})
_ASKING_END: Final = frozenset({"没有", "没", "否"})
_DONE: Final = frozenset({Sort.CLOSED, Sort.MOVED, Sort.FALSE_ALARM})
_BESIDE_THE_POINT: Final = frozenset({Sort.FACT, Sort.THING, Sort.PLACE})
_TAKES_OBJECT: Final = frozenset(
    {
        *("知道", "可以", "明白", "了解", "清楚", "晓得", "知悉", "好", "行", "妥", "接到", "受到"),
        *(
            "成",
            "知到",
            "名白",
            "手到",
            "首到",
            "收道",
            "收倒",
            "是的",
            "i understand",
            "understood",
            "noted",
            "copy",
        ),
    }
)
"""A yes only where nothing follows that it could be about: 知道, not 知道封路了; 好, not 好人."""
_BESIDE_YES: Final = frozenset({What.CODE, What.STRANGER, What.TIME, What.UNKNOWN})
_SAYS_OF: Final = frozenset({"好", "行", "成", "可以", "妥", "妥了", "是的", "好了"})
"""A yes only where nothing stands before it of which it could be said: 好, not 路好."""
_AFTER_YES: Final = frozenset({Sort.ACKNOWLEDGE, Sort.GO, Sort.POLITE, Sort.SIGN})
_AFTER_YES_TOO: Final = frozenset(
    {
        *("我们", "咱们", "立即", "立刻", "尽快", "现在", "了", "啦", "呀"),
        *("we", "now", "all", "and"),
    }
)
_AN_ORDER_TOO: Final = frozenset(
    {"马上", "赶过去", "赶去", "过去看看", "去看看", "去看", "去看一下"}
)
"""What somebody who gives an order says as well: 马上转移群众."""
_CREWS: Final = frozenset(
    {
        "应急队",
        "抢险队",
        "突击队",
        "施工队",
        "交警",
        "民警",
        "消防",
        "消防员",
        "民兵",
        "干部",
        "辅警",
        "保安",
        "巡逻队",
    }
)
_VEHICLES: Final = frozenset({"车", "车辆", "car", "cars", "truck", "trucks", "bus", "traffic"})
_WHOLLY: Final = frozenset({"全部", "全员", "全体", "所有人"})
_UNDONE: Final = frozenset({"evacuate", "move", "rescue", "close", "block", "seal"})
"""Work that is named and not said to be done: "12 people to evacuate"."""
_OWN_CREW: Final = frozenset({"队伍", "队员", "名队员", "team", "crew"})
_WORK: Final = frozenset({Sort.CLOSE, Sort.MOVE})
_UNDERWAY: Final = frozenset(
    {Sort.GO, Sort.SOON, Sort.ACTING, Sort.CLOSING, Sort.MOVING, Sort.NOW, *_WORK}
)
_ARRIVES: Final = ("到", "赶", "前往")
_TITLES: Final = frozenset(replytext.TITLES.split("|"))
_WAS: Final = frozenset({"was", "were"})


def read(text: str, codes: Iterable[str], around: Around = NOTHING) -> Reply:
    """What a text says. `codes` are the answer codes, of four digits, of the calls that are open to
    the number that sends it; empty where it is not asked anything."""
    opened = frozenset(codes)
    own = opened | {*around.earlier}
    if len(text) > LONGEST or len(plain := replytext.plain(text)) > LONGEST:
        return Reply(Says.UNCLEAR)
    pieces = replytext.own_words(plain, around.sent)
    tokens = replytext.tokens(pieces.own, own, _lexicon(around.known, around.yes, around.no))
    names = _codes(tokens, What.CODE)
    quoted = replytext.codes_in(pieces.quoted, own) if not names else ()
    found = Reply(Says.UNCLEAR, names or quoted, strangers=_codes(tokens, What.STRANGER))
    word = replytext.bare(pieces.own, names)
    if word and word in _bare(around.no):
        return _said(found, Says.DECLINE)
    if word and word in _bare(around.yes):
        return _said(found, Says.ACKNOWLEDGE)
    return _judge(
        found,
        tokens,
        word,
        pieces,
        is_one=len(opened) == 1 if around.is_one is None else around.is_one,
    )


def _judge(
    found: Reply,
    tokens: list[Token],
    word: str,
    pieces: replytext.Pieces,
    *,
    is_one: bool,
) -> Reply:
    sorts = _sorts(tokens)
    if Sort.OFFICE in sorts or pieces.is_report:
        return _said(found, Says.AUTOMATIC)
    if word in _STOP or Sort.STOP in sorts:
        return _said(found, Says.STOP)
    if pieces.is_foreign or (word == "我去" and "!" in pieces.own):  # an oath as often as a yes
        return found
    if Sort.ASK in sorts or pieces.asks or _ends_asking(tokens):
        return _said(found, Says.QUESTION)
    if word in _NO or Sort.DECLINE in sorts or Sort.CANNOT in sorts:
        if Sort.CANNOT in sorts:
            return _result(found, Result.CANNOT_ACT)
        return _said(found, Says.DECLINE)
    if sorts & {Sort.NOT, Sort.OPEN} or any(token.what is What.UNKNOWN for token in tokens):
        return found
    if found.strangers and not found.names:
        return found
    clauses = [clause for clause in replytext.clauses(tokens) if clause]
    firmly = _is_meant(tokens, sorts, found)
    in_all = _in_all(tokens)
    said = [
        _clause(found, one, _people(one) if in_all is None else in_all, firmly=firmly)
        for one in clauses
    ]
    if any(one is None for one in said) or any(map(_is_of_others, clauses)):
        return found
    meant = [one for one in said if one is not None and one.says is not Says.UNCLEAR]
    results = {one.result for one in meant if one.result is not None}
    if Result.FALSE_ALARM in results and len(results) > 1:
        return found
    if meant:
        best = max(meant, key=_weight)
        is_only_heard = best.says is Says.ACKNOWLEDGE and not sorts & {Sort.GO, *_WORK}
        return found if is_only_heard and sorts & _BESIDE_THE_POINT else best
    is_sign = Sort.SIGN in sorts and (is_one or found.names)
    is_code = bool(_codes(tokens, What.CODE)) and all(
        token.what is not What.WORD or Sort.POLITE in token.sorts for token in tokens
    )
    is_code &= all(token.what in _BESIDE_A_CODE for token in tokens)
    if is_sign or is_code:
        return _said(found, Says.ACKNOWLEDGE)
    return found


def _ends_asking(tokens: list[Token]) -> bool:
    """到了没有: a clause that ends in "or not"."""
    return any(
        len(clause) > 1 and clause[-1].text in _ASKING_END for clause in replytext.clauses(tokens)
    )


_BESIDE_A_CODE: Final = frozenset({What.CODE, What.STRANGER, What.WORD, What.BREAK, What.NAME})


def _is_meant(tokens: list[Token], sorts: frozenset[Sort], found: Reply) -> bool:
    """Whether work that is only named ("封路") is a promise, and no order or question."""
    return (
        bool(sorts & {Sort.ACKNOWLEDGE, Sort.ACTING} | sorts & _DONE)
        or bool(found.names)
        or any(token.text in _ME for token in tokens)
        or any(
            Sort.GO in token.sorts and token.text not in _AN_ORDER_TOO and len(token.text) > 1
            for token in tokens
        )
    )


def _clause(found: Reply, clause: list[Token], people: int | None, *, firmly: bool) -> Reply | None:
    """What one clause says for itself; None if it takes the meaning away from all."""
    sorts = _sorts(clause)
    if people == 0 and sorts & {Sort.MOVE, Sort.MOVED}:
        return None
    if _is_of_something_else(clause, sorts, people):
        return None
    says_yes = sorts & {Sort.ACKNOWLEDGE, Sort.GO, Sort.ACTING}
    if Sort.FALSE_ALARM in sorts:
        return _result(found, Result.FALSE_ALARM)
    is_done = Sort.DONE in sorts or Sort.EVERYBODY in sorts
    is_soon = Sort.SOON in sorts or Sort.GO in sorts
    if _is_ahead(clause):
        return _said(found, Says.ACKNOWLEDGE) if firmly else found
    if sorts & {Sort.CLOSING, Sort.MOVING} or (sorts & _WORK and Sort.NOW in sorts):
        return _said(found, Says.ACTING)
    if sorts & _WORK and is_soon and not sorts & _DONE:
        if Sort.ACTING in sorts:
            return _said(found, Says.ACTING)
        return _said(found, Says.ACKNOWLEDGE) if firmly else found
    are_moved = Sort.EVERYBODY in sorts or (is_done and any(one.text in _THEY for one in clause))
    if Sort.MOVED in sorts or (Sort.MOVE in sorts and (people is not None or are_moved)):
        return _result(found, Result.EVACUATED, people)
    if Sort.CLOSED in sorts or (Sort.CLOSE in sorts and is_done):
        return _result(found, Result.CLOSED)
    if sorts & _BESIDE_THE_POINT:
        return None if says_yes else found
    if Sort.ACTING in sorts or (Sort.STEP in sorts and sorts & {Sort.NOW, Sort.DONE}):
        return _said(found, Says.ACTING)
    if says_yes or _comes_in(clause):
        return _said(found, Says.ACKNOWLEDGE)
    if Sort.SOON in sorts and firmly:
        return _said(found, Says.ACKNOWLEDGE)
    return found


def _is_of_something_else(clause: list[Token], sorts: frozenset[Sort], people: int | None) -> bool:
    """Words of a yes that tell of something else: 好人, 村民去, 警报已关闭, 我们已撤离."""
    for one, other in pairwise(clause):
        is_object = not (other.sorts & _AFTER_YES or other.text in _AFTER_YES_TOO)
        is_object |= one.text == "可以" and Sort.GO in other.sorts  # 可以过去: one can pass
        if one.text in _TAKES_OBJECT and other.what not in _BESIDE_YES and is_object:
            return True
        if other.text in _SAYS_OF and one.what is What.WORD and not one.sorts & _AFTER_YES:
            return True
        if Sort.OTHERS in one.sorts and Sort.ACKNOWLEDGE in other.sorts:
            return True
        if one.sorts & {Sort.OTHERS, Sort.DEVICE} and other.sorts & {Sort.GO, Sort.ACTING}:
            return True
    is_work = bool(sorts & (_WORK | {Sort.CLOSED, Sort.MOVED}))
    if Sort.DEVICE in sorts and any("关" in one.text or "clos" in one.text for one in clause):
        return True
    if Sort.PLACE in sorts and not sorts & {Sort.MOVE, Sort.MOVED, Sort.MOVING}:
        return bool(sorts & {Sort.CLOSED, Sort.CLOSE, Sort.FALSE_ALARM})
    texts = {one.text for one in clause}
    if sorts & {Sort.CLOSE, Sort.CLOSED} and any("撤" in one.text for one in clause):
        return True
    if texts & _UNDONE and not sorts & {Sort.SOON, Sort.GO}:
        return True
    if is_work and texts & _I_AM and not sorts & {Sort.CLOSING, Sort.MOVING, Sort.ACTING, Sort.GO}:
        return True
    is_moved = sorts & {Sort.MOVE, Sort.MOVED} and not sorts & {Sort.SOON, Sort.NOW}
    if not is_moved or people is not None:
        return False
    if sorts & {Sort.DEVICE} or texts & _VEHICLES or texts & _CREWS:
        return True
    if texts & _THEY:
        return False
    has_left = any("撤" in one for one in texts) and not texts & _WHOLLY  # who has? the helpers?
    return has_left or bool(texts & (_ME | _OWN_CREW))


def _is_of_others(clause: list[Token]) -> bool:
    """交警在封, 民兵马上到, I was on my way: what others do, or what was once so."""
    sorts = _sorts(clause)
    is_done = sorts & _DONE and not _is_ahead(clause)
    is_mine = is_done or any(one.text in _ME for one in clause)
    if not is_mine and sorts & _UNDERWAY and any(one.text in _CREWS for one in clause):
        return True
    if not is_mine and any(
        one.text in _TITLES and other.sorts & _UNDERWAY for one, other in pairwise(clause)
    ):
        return True
    return any(one.text in _WAS and other.sorts & _UNDERWAY for one, other in pairwise(clause))


def _is_ahead(clause: list[Token]) -> bool:
    """去封了, 马上封好, 5分钟后到达现场: what is said to be done is still to be done."""
    for one, other in pairwise(clause):
        arrives = Sort.ACTING in other.sorts and other.text.startswith(_ARRIVES)
        arrives = arrives and not other.text.endswith("了")
        goes = one.sorts & {Sort.SOON, Sort.GO} and not one.sorts & {Sort.DONE, Sort.ACTING}
        if goes and (arrives or other.sorts & {Sort.CLOSED, Sort.MOVED}):
            return True
        if one.what is What.TIME and arrives:
            return True
    return False


def _comes_in(clause: list[Token]) -> bool:
    """5分钟到, 19:51到: when somebody arrives."""
    return any(
        (one.what is What.TIME and other.text == "到")
        or (one.text == "eta" and (other.what is What.TIME or 0 < (other.number or 0) <= 60))
        for one, other in pairwise(clause)
    )


def _in_all(tokens: list[Token]) -> int | None:
    """The number that a text gives as the sum."""
    for before, token in pairwise(tokens):
        if token.what is What.PEOPLE and before.text in _SUM:
            return token.number
    alone = [
        one[0].number
        for one in replytext.clauses(tokens)
        if len(one) == 1 and one[0].what is What.PEOPLE
    ]
    return alone[0] if len(alone) == 1 else None


def _people(clause: list[Token]) -> int | None:
    """How many one clause says are moved: the first number of people, or a number beside a word
    that needs none ("evacuated 5")."""
    sorts = _sorts(clause)
    kinds = {What.PEOPLE, What.NUMBER} if Sort.MOVED in sorts else {What.PEOPLE}
    if not sorts & {Sort.MOVE, Sort.MOVED}:
        return None
    return next((token.number for token in clause if token.what in kinds), None)


def _sorts(tokens: Iterable[Token]) -> frozenset[Sort]:
    return frozenset[Sort]().union(*(token.sorts for token in tokens))


def _weight(reply: Reply) -> int:
    """What says more wins."""
    if reply.says is Says.RESULT:
        return 3 + (reply.result is Result.EVACUATED) + (reply.people is not None)
    return 2 if reply.says is Says.ACTING else 1


def _said(found: Reply, says: Says) -> Reply:
    return msgspec.structs.replace(found, says=says)


def _result(found: Reply, result: Result, people: int | None = None) -> Reply:
    return msgspec.structs.replace(found, says=Says.RESULT, result=result, people=people)


def _codes(tokens: list[Token], what: What) -> tuple[str, ...]:
    return tuple(dict.fromkeys(token.text for token in tokens if token.what is what))


def _bare(words: Iterable[str]) -> frozenset[str]:
    return frozenset(replytext.bare(replytext.plain(word), ()) for word in words)


@cache
def _common() -> dict[str, frozenset[Sort]]:
    found: dict[str, set[Sort]] = {}
    for sort, words in ZH.items():
        for word in words.split():
            found.setdefault(replytext.plain(word), set()).add(sort)
    for sort, phrases in EN.items():
        for phrase in phrases:
            found.setdefault(replytext.plain(phrase), set()).add(sort)
    return {word: frozenset(sorts) for word, sorts in found.items()}


def _lexicon(
    known: tuple[str, ...], yes: tuple[str, ...], no: tuple[str, ...]
) -> replytext.Lexicon:
    """The common words, and those of this deployment: a word of the config of one digit or letter
    means something only where it is all that is said."""
    more: dict[str, frozenset[Sort]] = {}
    for words, sorts in ((yes, {Sort.ACKNOWLEDGE}), (no, {Sort.DECLINE})):
        for word in map(replytext.plain, words):
            if len(word) > 1 and not word.isdigit():
                more[word] = frozenset(sorts)
    names = frozenset(word for word in map(replytext.plain, known) if len(word) > 1)
    return replytext.Lexicon(_common(), more, names)
