"""The text of a reply as `replies` judges it: in one spelling, without what it quotes, in tokens.

Each pattern here reads a text from left to right once: no two of its parts can take the same
character, so that nothing is tried twice.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from cloud.alerts.replylexicon import TRADITIONAL, Sort

CODE_DIGITS: Final = 4

SOON_MIN: Final = 60
"""Who arrives later than in so many minutes says no yes."""

_LEFT_OUT: Final = dict.fromkeys(
    [
        *(*range(0x200B, 0x2010), *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)),
        *(0xFEFF, 0xAD, 0x2640, 0x2642),
    ]
)
"""What cannot be seen, and the shades of emoji."""

_SAME: Final = str.maketrans("’‘´`“”„«»﹁﹂", '\'\'\'\'"""""「」')
_SPACES: Final = re.compile(r"[ \t\r\f\v]+")
_QUOTES: Final = {"「": "」", "『": "』", "《": "》", "【": "】", '"': '"', "[": "]", "(": ")"}
_LONGEST_QUOTE: Final = 12
"""Of characters that a person puts into quotation marks as words of his own: "收到"."""

_LEAST_PIECE: Final = 6
_MOST_PIECES: Final = 200
_SENTENCES: Final = re.compile(r"[,.;:!?。、\n]")
_WROTE: Final = re.compile(r"(?:^|\n) ?(?:on [^\n]* wrote:|-+ ?original message|发件人:|from:)")
_REPORT: Final = re.compile(r"id:\S* sub:|\bstat:[a-z]")


class What(Enum):
    """CODE: of an open call; STRANGER: four digits that could be the code of another; PEOPLE: a
    number of them; NUMBER: without a unit; MEASURE: with one, which names nothing."""

    WORD = auto()
    NAME = auto()
    CODE = auto()
    STRANGER = auto()
    PEOPLE = auto()
    NUMBER = auto()
    TIME = auto()
    MEASURE = auto()
    BREAK = auto()
    UNKNOWN = auto()


class Token(NamedTuple):
    what: What
    text: str
    sorts: frozenset[Sort] = frozenset()
    number: int | None = None


class Pieces(NamedTuple):
    """`own` is what the person has written, `quoted` the rest. `asks`: there is a question mark;
    `is_foreign`: a text that begins with the signature of a sender of many; `is_report`: what
    becomes of a message, as networks say it."""

    own: str
    quoted: str
    asks: bool
    is_foreign: bool
    is_report: bool


class Lexicon(NamedTuple):
    """`more` comes before `common`; `names` change the meaning of nothing."""

    common: Mapping[str, frozenset[Sort]]
    more: Mapping[str, frozenset[Sort]]
    names: frozenset[str]

    def find(self, phrase: str) -> Token | None:
        if phrase in self.names:
            return Token(What.NAME, phrase, frozenset({Sort.FILLER}))
        sorts = self.more.get(phrase) or self.common.get(phrase)
        return None if sorts is None else Token(What.WORD, phrase, sorts)


_FORMAL: Final = re.compile(r"[零壹贰叁肆伍陆柒捌玖]{4}")
_PLAIN_DIGITS: Final = str.maketrans("零壹贰叁肆伍陆柒捌玖", "零一二三四五六七八九")


def plain(text: str) -> str:
    """One spelling: half-width, small letters, simplified characters, one kind of quotes."""
    found = unicodedata.normalize("NFKC", text.translate(_LEFT_OUT)).casefold()
    found = found.translate(_SAME).translate(TRADITIONAL).translate(_LEFT_OUT)
    found = _FORMAL.sub(lambda one: one[0].translate(_PLAIN_DIGITS), found)
    return _SPACES.sub(" ", found).strip()


UNREAD: Final = "\n\ufffd"
"""In place of what is quoted and is not ours: nobody knows whose words they are, or whether they
take back what stands before them. It is no word, so it leaves no yes."""

_TELEPHONE: Final = re.compile(r"(?:发自我的|sent from my) ?[a-z0-9 ]{1,20}\Z")
"""What some telephones write under a message."""

_ADDRESS: Final = re.compile(r"https?://\S+|www\.\S+")


TITLES: Final = (
    "主任|书记|支书|村支书|领导|老板|经理|院长|班长|局长|科长|处长|"
    "所长|县长|市长|区长|镇长|村长|站长|队长|组长|指挥长|老师|总"
)
_SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁"
    "魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎"
)
_ADDRESSED: Final = re.compile(rf"(?<![^,;!。、\n ])[{_SURNAMES}](?:{TITLES})好?(?![^,;!。、\n ])")
"""Whom a reply speaks to, between commas: 收到，王主任. Where more is said of them, they do it."""


def own_words(text: str, sent: Iterable[str]) -> Pieces:
    """Part what a person says from what is quoted; `text` is `plain`, `sent` need not be."""
    if all(len(part) == 1 and part > "\u2e7f" for part in text.split(" ")):
        text = text.replace(" ", "")  # as some telephones write what is spoken
    is_report = _REPORT.search(text) is not None
    quoted = []
    for piece in _pieces(sent):
        if piece in text:
            text = text.replace(piece, "\n")
            quoted.append(piece)
    text = _TELEPHONE.sub("", text)
    own, rest = _without_lines(text)
    if (wrote := _WROTE.search(own)) is not None:
        rest.append(own[wrote.end() :])
        own = own[: wrote.start()]
    own = _ADDRESSED.sub("", _ADDRESS.sub("\ufffd", own))
    asks = "?" in own or any("?" in line for line in rest)
    own, marked, is_foreign = _without_marked(own)
    rest += marked
    if any(char.isalnum() for part in rest for char in part):
        own += UNREAD
    return Pieces(own, "\n".join((*quoted, *rest)), asks, is_foreign, is_report)


def _without_lines(text: str) -> tuple[str, list[str]]:
    """What is written, and the lines that are marked as those of another message."""
    own: list[str] = []
    rest: list[str] = []
    for line in text.split("\n"):
        (rest if line.lstrip().startswith((">", "|")) else own).append(line)
    return "\n".join(own), rest


def _pieces(sent: Iterable[str]) -> list[str]:
    """Whole messages, and their sentences: who forwards one often cuts it."""
    found: dict[str, None] = {}
    for message in map(plain, sent):
        found[message] = None
        found |= dict.fromkeys(part.strip() for part in _SENTENCES.split(message))
    some = sorted((one for one in found if len(one) >= _LEAST_PIECE), key=len, reverse=True)
    return some[:_MOST_PIECES]


def _without_marked(text: str) -> tuple[str, list[str], bool]:
    """Take out what stands in quotation marks or brackets, if it is longer than one's own words
    would be. 【...】 at the begin is the signature by which companies send."""
    own, marked, at, is_foreign = [], [], 0, False
    missing: set[str] = set()
    while at < len(text):
        closing = _QUOTES.get(text[at])
        end = -1
        if closing is not None and closing not in missing:
            end = text.find(closing, at + 1)
            if end < 0:
                missing.add(closing)
        if end < 0:
            own.append(text[at])
            at += 1
            continue
        inside = text[at + 1 : end]
        signs = (
            text[at] == "【" and not "".join(own).strip() if len(own) < _LONGEST_QUOTE else False
        )
        if signs and not inside.strip().isdigit() and text[end + 1 :].strip():
            is_foreign = True
        if len(inside) > _LONGEST_QUOTE:
            marked.append(inside)
            own.append("\n")
        else:
            own.append(f"\n{inside}\n")
        at = end + 1
    return "".join(own), marked, is_foreign


# Tokens

_NUMBER: Final = re.compile(r"\d+(?:[ .:/\-]\d+)*")
_SPELT: Final = re.compile(r"\d(?:-\d){3}\Z")
_LATIN: Final = re.compile(r"[a-z']+(?:[ \-][a-z']+){0,5}")
_WORD: Final = re.compile(r"[a-z']+")
_LONGEST_PHRASE: Final = 12
_CHINESE: Final = "零〇一二两三四五六七八九十百千万"
_DIGITS: Final = {**{c: i for i, c in enumerate("零一二三四五六七八九")}, "〇": 0, "两": 2, "幺": 1}
_TENS: Final = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_NUMERAL: Final = re.compile(rf"[{_CHINESE}幺]+")
_ENGLISH: Final = {
    **dict(zip(("zero", "one", "two", "three", "four", "five", "six"), range(7), strict=True)),
    **dict(zip(("seven", "eight", "nine", "ten", "eleven", "twelve"), range(7, 13), strict=True)),
    **dict(zip(("thirteen", "fourteen", "fifteen", "sixteen"), range(13, 17), strict=True)),
    **dict(zip(("seventeen", "eighteen", "nineteen"), range(17, 20), strict=True)),
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}
_PERSONS: Final = re.compile(
    r" ?(?:多|余|几)?(?:人|名|位|口|个人|个老|个村|个群|个孩)"
    r"| ?(?:more )?(?:people|persons|person|residents|villagers|men|children|evacuated|pax)\b"
)
_TIME: Final = re.compile(
    r" ?[多来几]?(?:分钟|分|刻钟|小时|钟头|个小时|个钟头|个钟|点|秒)(?:左右|后|内|之内|以内)?"
    r"| ?(?:min|mins|minutes|minute|hours?|h)\b"
)
_UNIT: Final = re.compile(
    r"(?:号|公里|年|月|日|元|块|户|室|栋|楼|%|度|级|次|个|台|辆|条|组|队|万|倍|斤|吨)"
    r"| ?(?:毫米|厘米|公分|分米|米|(?:cm|mm|m|km|kg|m3|v|st|th|rd|nd|yuan|am|pm)\b|°)"
    r"| ?(?:street|road(?! (?:is|has|now|closed|shut|blocked|clear|dry))|avenue)\b"
)
_DOES_GO: Final = re.compile(r"(?:不会|没有|不可能)不(?:去|来|到)的?")
"""Denied twice: 不会不去."""
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?\Z")
_BEFORE: Final = re.compile(
    r"(?:水位|水深|积水|深|高|尾号|验证码|取件码|订单|编码|卡号|车牌|电话|手机|第"
    r"|no\.|room|house|[.a-z]-?|¥|\$|\+) ?\Z"
)
_END: Final = ",.;:!。、\n~…()[]{}【】「」『』《》\"'·—-_/*#^=+<>|&@%"
_A_QUESTION: Final = re.compile(
    r"(?:is|are|do|does|did|can|could|should|shall|will|would|has|have|was|were|may|am) "
    r"(?:i|you|we|they|he|she|it|this|that|there|the|any|anyone|anybody|someone|everyone)\b"
)
_ASK: Final = frozenset({Sort.ASK})
_SOFT: Final = frozenset({"大概", "大约", "估计", "应该", "差不多", "maybe", "probably"})
"""What makes a time less sure, and not what is said."""


def tokens(text: str, codes: frozenset[str], lexicon: Lexicon) -> list[Token]:
    """The own words of a text, one after another; BREAK parts clauses."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char.isspace() and char != "\n":
            at += 1
            if text[at - 2 : at - 1] > "\u2e7f" and text[at : at + 1] > "\u2e7f":
                found.append(Token(What.BREAK, " "))
            continue
        if char == "?":
            found.append(Token(What.WORD, "?", _ASK))
            at += 1
        elif (named := _name(text, at, lexicon.names)) is not None:
            found.append(named)
            at += len(named.text)
        elif char in _END:
            found.append(Token(What.BREAK, char))
            at += 1
        elif char.isdecimal():
            at = _number(text, at, codes, found)
        elif "a" <= char <= "z":
            at = _latin(text, at, lexicon, found)
        else:
            at = _chinese(text, at, codes, lexicon, found)
        if len(found) > 1 and found[-1].what is What.TIME and found[-2].text in _SOFT:
            found[-2] = found[-2]._replace(sorts=frozenset({Sort.FILLER}))
        if len(found) > 1 and found[-1].what is found[-2].what is What.TIME:
            found[-1] = found[-1]._replace(sorts=frozenset({Sort.OPEN}))  # 1小时30分: too long
        if found[-1].what is What.TIME and [one.text for one in found[-3:-1]] == ["还", "有"]:
            del found[-3:-1]  # 还有五分钟: so long it takes yet
    return found


def _name(text: str, at: int, names: frozenset[str]) -> Token | None:
    """The longest of the names that stands here. There are a handful."""
    best = max((name for name in names if text.startswith(name, at)), key=len, default="")
    if best and best.isascii():
        before, after = text[at - 1 : at], text[at + len(best) : at + len(best) + 1]
        if (at and before.isalnum()) or after.isalnum():
            return None
    return Token(What.NAME, best, frozenset({Sort.FILLER})) if best else None


def _number(text: str, at: int, codes: frozenset[str], found: list[Token]) -> int:
    """Digits, with what parts groups of them. Codes are groups of their own; "4711 23 people" is a
    code and a number."""
    match = _NUMBER.match(text, at)
    assert match is not None
    whole, end = match.group(), match.end()
    groups = whole.split(" ")
    if _SPELT.match(whole) is not None:
        groups = ["".join(char for char in whole if char.isdecimal())]
    if len(groups) == CODE_DIGITS and all(len(group) == 1 for group in groups):
        groups = ["".join(groups)]
    before, last = groups[:-1], groups[-1]
    are_apart = all(group.isdecimal() for group in groups) and (
        all(group in codes for group in groups)
        or (all(len(one) == CODE_DIGITS for one in groups) and not codes.intersection(groups))
        or (before and len(last) != CODE_DIGITS and all(group in codes for group in before))
    )
    if not are_apart:
        found.append(_measured(whole, text, end))
        return end + _unit(text, end)
    if _BEFORE.search(text[max(0, at - 6) : at]) is not None and not _is_word_before(found):
        found.append(Token(What.MEASURE, whole))
        return end
    for group in before:
        found.append(Token(What.CODE if group in codes else What.STRANGER, group))
    unit = _unit(text, end)
    if unit or len(last) != CODE_DIGITS:
        found.append(_measured(last, text, end))
    elif not last.isascii():
        found.append(Token(What.MEASURE, last))
    else:
        found.append(Token(What.CODE if last in codes else What.STRANGER, last))
    return end + unit


def _is_word_before(found: list[Token]) -> bool:
    """Whether the letters before a number are a word that we know: ok4711."""
    last = found[-1] if found else None
    is_word = last is not None and last.what in {What.WORD, What.NAME}
    return last is not None and is_word and last.text.isascii() and len(last.text) > 1


def _unit(text: str, end: int) -> int:
    for pattern in (_PERSONS, _TIME, _UNIT):
        if (match := pattern.match(text, end)) is not None:
            if pattern is _PERSONS and match.group().strip() == "evacuated":
                return 0
            return match.end() - end
    return 0


def _measured(digits: str, text: str, end: int, value: int | None = None) -> Token:
    """A number by what stands behind it."""
    if value is None and digits.isascii() and digits.isdecimal() and len(digits) <= CODE_DIGITS + 2:
        value = int(digits)
    if value is not None and _PERSONS.match(text, end) is not None:
        return Token(What.PEOPLE, digits, number=value)
    if _CLOCK.match(digits) is not None:
        return Token(What.TIME, digits)
    if (time := _TIME.match(text, end)) is not None:
        is_hours = any(word in time.group() for word in ("时", "钟头", "h"))
        is_soon = value is not None and value * (60 if is_hours else 1) <= SOON_MIN
        return Token(What.TIME, digits, frozenset() if is_soon else frozenset({Sort.OPEN}))
    if _UNIT.match(text, end) is not None or value is None:
        return Token(What.MEASURE, digits)
    return Token(What.NUMBER, digits, number=value)


def _latin(text: str, at: int, lexicon: Lexicon, found: list[Token]) -> int:
    """The longest phrase of whole words."""
    match = _LATIN.match(text, at)
    assert match is not None
    phrase = match.group()
    begins = not found or found[-1].what is What.BREAK
    if begins and _A_QUESTION.match(phrase) is not None:
        found.append(Token(What.WORD, "?", _ASK))
    words = _WORD.findall(phrase)
    spans = [one.end() for one in _WORD.finditer(phrase)]
    for count in range(len(words), 0, -1):
        said = " ".join(words[:count]).strip("'")
        token = lexicon.find(said) or lexicon.find(said.removesuffix("'s"))
        if token is not None:
            found.append(token)
            return at + spans[count - 1]
    first = words[0].strip("'")
    if first in _ENGLISH:
        end = at + spans[0]
        value = _ENGLISH[first]
        if value >= 20 and len(words) > 1 and 0 < _ENGLISH.get(words[1], 0) < 10:
            value, end = value + _ENGLISH[words[1]], at + spans[1]
        found.append(_measured(text[at:end], text, end, value))
        return end + _unit(text, end)
    denies = first.endswith(("n't", "nt'"))
    found.append(Token(What.UNKNOWN, first, frozenset({Sort.NOT}) if denies else frozenset()))
    return at + spans[0]


def _chinese(
    text: str, at: int, codes: frozenset[str], lexicon: Lexicon, found: list[Token]
) -> int:
    """The longest phrase, a number in characters, or one that we do not know. X不X asks."""
    if text[at + 1 : at + 2] in {"不", "没"} and text[at + 2 : at + 3] == text[at]:
        found.append(Token(What.WORD, text[at : at + 3], _ASK))
        return at + 3
    if (goes := _DOES_GO.match(text, at)) is not None:
        found.append(Token(What.WORD, goes.group(), frozenset({Sort.GO})))
        return goes.end()
    best = None
    for length in range(_LONGEST_PHRASE, 0, -1):
        if (best := lexicon.find(text[at : at + length])) is not None:
            break
    if text[at] == "半" and (half := _TIME.match(text, at + 1)) is not None:
        is_more = bool(found) and found[-1].what in {What.MEASURE, What.NUMBER, What.TIME}
        found.append(Token(What.TIME, "半", frozenset({Sort.OPEN} if is_more else ())))
        return half.end()
    numeral = _NUMERAL.match(text, at)
    if numeral is not None and (best is None or len(best.text) <= len(numeral.group())):
        run, end = numeral.group(), numeral.end()
        as_digits = "".join(str(_DIGITS.get(char, "")) for char in run)
        if len(run) == CODE_DIGITS == len(as_digits) and as_digits in codes:
            found.append(Token(What.CODE, as_digits))
            return end
        if (unit := _unit(text, end)) and (value := _value(run)) is not None:
            found.append(_measured(run, text, end, value))
            return end + unit
    if best is None:
        found.append(Token(What.UNKNOWN, text[at]))
        return at + 1
    found.append(best)
    return at + len(best.text)


def _value(run: str) -> int | None:
    """A number in characters, below a hundred thousand; None if it is none."""
    if len(run) > 9 or "幺" in run:
        return None
    if all(char in _DIGITS for char in run):
        return int("".join(str(_DIGITS[char]) for char in run))
    total, section, digit = 0, 0, 0
    for char in run:
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif char == "万":
            total, section, digit = (section + digit) * _TENS[char], 0, 0
        else:
            section, digit = section + (digit or 1) * _TENS[char], 0
    return total + section + digit


def clauses(found: Iterable[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in found:
        if token.what is What.BREAK:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def codes_in(text: str, codes: frozenset[str]) -> tuple[str, ...]:
    """Those codes that stand alone in a quoted text."""
    groups = re.findall(r"\d+", text)
    return tuple(dict.fromkeys(group for group in groups if group in codes))


def fours(text: str) -> list[str]:
    """All groups of four digits, whatever they mean."""
    groups = re.findall(r"\d+", plain(text))
    return [*dict.fromkeys(group for group in groups if len(group) == CODE_DIGITS)]


def bare(text: str, names: Iterable[str]) -> str:
    """A text without codes and marks: what to compare a single word with."""
    left_out = set(names)
    words = re.findall(r"\d+|[^\W\d_']+|[\U0001f300-\U0001faff]", text)
    return " ".join(word for word in words if word not in left_out)
