"""From what is read to what is spoken: text for a speech synthesis, in whole sentences. Pure.

A synthesis reads "（19:46）" as signs, "35 cm" as letters and "mm/h" in its own way. Therefore
times, dates, units and signs become words here, brackets become commas, links and whatever else is
no word are left out. What remains is letters, digits and the marks of a sentence: `ALLOWED`.
"""

import re
import unicodedata
from typing import Final

from cloud.channels import Language

ALLOWED: Final[dict[Language, str]] = {"zh": "，。、？！. ", "en": ",.?!' "}
"""What may stand beside letters and digits. In Chinese the point stands within numbers only."""

_LINK: Final = re.compile(r"(?:https?://|www\.)[^\s，。；！？）】」”]+", re.IGNORECASE)
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_DATE: Final = re.compile(r"(?<!\d)(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?:T(?=\d))?(?!\d)")
_TIME: Final = re.compile(
    r"(?<!\d)(?<!\d[:.])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?:Z|\s?[+-]\d\d:?\d\d)?"
    r"(?!\d|:\d)"
)
_ONLY_A_TIME: Final = re.compile(r"\(\s*((?:[01]?\d|2[0-4]):[0-5]\d)\s*\)")
_PHONE: Final = re.compile(r"(?<![\w.])\+?\d(?:[ ()-]{0,2}\d){6,}(?![\w.])")
_CALLED: Final = re.compile(
    r"((?:拨打|致电|电话|\b(?:call|dial|phone|ring)\s))\s*"
    r"(\d{3,}(?:\s*(?:、|，|,|或|和|or|and)\s*\d{3,})*)",
    re.IGNORECASE,
)
_NUMBER: Final = r"(\d+(?:\.\d+)?)"
_PER_ZH: Final = re.compile(
    _NUMBER + r"\s?(立方米|[毫厘千]?米|公里)(?:/|每)(小时|分钟|秒|天|日|月|年)"
)

_PER: Final[dict[str, tuple[str, str]]] = {
    "h": ("小时", "an hour"),
    "d": ("天", "a day"),
    "day": ("天", "a day"),
    "min": ("分钟", "a minute"),
    "s": ("秒", "a second"),
    "a": ("年", "a year"),
}
_UNITS: Final[dict[str, tuple[str, str, str]]] = {
    "m³": ("立方米", "cubic metre", "cubic metres"),
    "m²": ("平方米", "square metre", "square metres"),
    "km²": ("平方公里", "square kilometre", "square kilometres"),
    "mm": ("毫米", "millimetre", "millimetres"),
    "cm": ("厘米", "centimetre", "centimetres"),
    "km": ("公里", "kilometre", "kilometres"),
    "m": ("米", "metre", "metres"),
    "ms": ("毫秒", "millisecond", "milliseconds"),
    "min": ("分钟", "minute", "minutes"),
    "s": ("秒", "second", "seconds"),
    "h": ("小时", "hour", "hours"),
    "d": ("天", "day", "days"),
    "Hz": ("赫兹", "hertz", "hertz"),
    "kB": ("千字节", "kilobyte", "kilobytes"),
    "MB": ("兆字节", "megabyte", "megabytes"),
    "GB": ("吉字节", "gigabyte", "gigabytes"),
    "dBm": ("分贝毫瓦", "decibel milliwatts", "decibel milliwatts"),
    "mV": ("毫伏", "millivolt", "millivolts"),
    "V": ("伏", "volt", "volts"),
    "mA": ("毫安", "milliampere", "milliamperes"),
    "A": ("安", "ampere", "amperes"),
    "W": ("瓦", "watt", "watts"),
    "hPa": ("百帕", "hectopascal", "hectopascals"),
    "kPa": ("千帕", "kilopascal", "kilopascals"),
    "L": ("升", "litre", "litres"),
    "°C": ("摄氏度", "degree Celsius", "degrees Celsius"),
}
"""In Chinese, and in English for one and for several."""

_MEASURED: Final = re.compile(
    _NUMBER
    + r"\s?("
    + "|".join(map(re.escape, sorted(_UNITS, key=len, reverse=True)))
    + r")(?:/("
    + "|".join(sorted(_PER, key=len, reverse=True))
    + r"))?(?![A-Za-z0-9/²³])"
)

_SIGNS: Final[dict[Language, dict[str, str]]] = {
    "zh": {
        "≥": "不低于",
        "≤": "不高于",
        ">": "高于",
        "<": "低于",
        "=": "等于",
        "±": "正负",
        "×": "乘",
        "→": "至",
        "&": "和",
        "°": "度",
    },
    "en": {
        "≥": " at least ",
        "≤": " at most ",
        ">": " over ",
        "<": " under ",
        "=": " equals ",
        "±": " plus or minus ",
        "×": " times ",
        "→": " to ",
        "&": " and ",
        "°": " degrees",
    },
}
_STOP: Final[dict[Language, str]] = {"zh": "。", "en": "."}
_COMMA: Final[dict[Language, str]] = {"zh": "，", "en": ","}
_ENDS: Final[dict[Language, re.Pattern[str]]] = {
    "zh": re.compile(r"(?<=[。？！])"),
    "en": re.compile(r"(?<=[.?!])\s+(?!\d*\s*$)"),
}


def sentences(text: str, language: Language) -> list[str]:
    """What is said of `text`: whole sentences, each with its end."""
    found: list[str] = []
    for line in text.splitlines():
        said = _said(line, language)
        some = [one for part in _ENDS[language].split(said) if (one := part.strip())]
        found += [one[:1].upper() + one[1:] for one in some]
    return found


def digits(text: str) -> str:
    """A number that is no quantity, digit by digit."""
    return " ".join(one for one in text if one.isdecimal())


def shortened(sentence: str, room: int, language: Language) -> str:
    """The beginning of a sentence up to a comma, where the whole does not fit; "" if nothing
    does."""
    comma = _COMMA[language]
    if room <= 0:
        return ""
    end = max((n for n, one in enumerate(sentence[:room]) if one == comma), default=0)
    return sentence[:end] + _STOP[language] if end else ""


def _said(line: str, language: Language) -> str:
    zh = language == "zh"
    line = _LINK.sub(" ", line)
    line = line.replace("m³", "m\0").replace("m²", "m\1")  # which NFKC would make m3, m2
    line = unicodedata.normalize("NFKC", line.replace("”“", "、" if zh else ", "))
    line = line.replace("m\0", "m³").replace("m\1", "m²").replace("−", "-")
    line = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", line)  # 1,000
    if not zh:
        line = _ONLY_A_TIME.sub(r", at \1,", line)
    line = _DATE.sub(_date_zh if zh else _date_en, line)
    line = _TIME.sub(_time_zh if zh else _time_en, line)
    line = _CALLED.sub(lambda one: one[1] + re.sub(r"\d{3,}", _digits, one[2]), line)
    line = _PHONE.sub(_digits, line)
    line = re.sub(r"(?<![\w.])0\d{2,}(?![\w.])", _digits, line)
    line = _numbers(line, zh=zh)
    line = _PER_ZH.sub(r"每\3\1\2", line)
    line = _MEASURED.sub(_measured_zh if zh else _measured_en, line)
    line = _signs(line, language)
    line = "".join(one if _is_word(one) or one in ALLOWED[language] else " " for one in line)
    return _tidy(line, language)


def _numbers(line: str, *, zh: bool) -> str:
    """Signs of numbers, spans, shares."""
    span, minus, plus = ("至", "负", "正") if zh else (" to ", "minus ", "plus ")
    line = re.sub(r"(?<=[\d整分日月年])\s?[-–—~]\s?(?=\d)", span, line)
    line = re.sub(r"(?<![\w.)])-(?=\d)", minus, line)
    line = re.sub(r"(?<![\w.)])\+(?=\d)", plus, line)
    line = re.sub(r"~(?=\s?\d)", "约" if zh else "about ", line)
    line = re.sub(_NUMBER + r"\s?%", r"百分之\1" if zh else r"\1 percent", line)
    return re.sub(r"(?<=\d)#", "号", line) if zh else re.sub(r"#\s?(?=\d)", "number ", line)


def _signs(line: str, language: Language) -> str:
    """Marks of writing become marks of speech."""
    zh = language == "zh"
    comma, stop = _COMMA[language], _STOP[language]
    line = re.sub(
        r"(?<=按)\s?\*|(?<=按)\s?#", lambda one: "星号" if "*" in one[0] else "井号", line
    )
    line = re.sub(r"(?i)(?<=press)\s?([*#])", lambda one: _KEY[one[1]], line)
    for sign, words in _SIGNS[language].items():
        line = line.replace(sign, words)
    line = re.sub(r"(?<=\w)[’'](?=\w)", "" if zh else "'", line)
    line = re.sub(r"(?<!\w)'|'(?!\w)", " ", line)
    line = re.sub(r"\.{2,}|…|;", stop, line)
    line = re.sub(r"(?<=\D)\.(?=[^\W\d_])", " ", line)  # within names: flood.example
    line = re.sub(r"[()\[\]{}【】「」『』《》〈〉〔〕:–—|]", comma, line)
    if zh:
        line = re.sub(r"(?<!\d)\.|\.(?!\d)", stop, line)
        return line.translate(_TO_ZH)
    return line.translate(_TO_EN)


_KEY: Final = {"*": " star", "#": " hash"}
_TO_ZH: Final = str.maketrans({",": "，", "?": "？", "!": "！"})
_TO_EN: Final = str.maketrans({"。": ". ", "、": ", ", "，": ", ", "？": "? ", "！": "! "})


def _is_word(one: str) -> bool:
    return unicodedata.category(one)[0] in "LM" or one.isdecimal()


def _tidy(line: str, language: Language) -> str:
    """No mark twice, none at the beginning, one at the end; "" without a word."""
    if not any(_is_word(one) for one in line):
        return ""
    stop, comma = _STOP[language], _COMMA[language]
    line = " ".join(line.split())
    if language == "zh":
        line = re.sub(r"(?<=[^ -~]) (?=[^ -~])", "", line)
        line = re.sub(r" ?([，。、？！]) ?", r"\1", line)
        line = re.sub(r"[，、]*([。？！])[，。、？！]*", r"\1", line)
        line = re.sub(r"[，、]*，[，、]*", "，", line)
        line = re.sub(r"、{2,}", "、", line)
    else:
        line = re.sub(r" ([,.?!])", r"\1", line)
        line = re.sub(r"(?:, ?)+([.?!])", r"\1", line)
        line = re.sub(r"([.?!])(?:[ ,]*[,.?!])+", r"\1", line)
        line = re.sub(r",(?: ?,)+", ",", line)
        line = re.sub(r"([,?!])(?=[^\s])", r"\1 ", line)
    line = line.lstrip(f"{stop}{comma}、？！?!,. ")
    line = line.rstrip(f"{comma}、, ")
    return line if line.endswith(("。", "？", "！", ".", "?", "!")) else line + stop


def _digits(found: re.Match[str]) -> str:
    return digits(found[0])


def _date_zh(found: re.Match[str]) -> str:
    return f"{found[1]}年{int(found[2])}月{int(found[3])}日"


def _date_en(found: re.Match[str]) -> str:
    return f"{int(found[3])} {_MONTHS[int(found[2]) - 1]} {found[1]} "


def _time_zh(found: re.Match[str]) -> str:
    second = f"{found[3]}秒" if found[3] else ""
    minute = f"{found[2]}分" if second or found[2] != "00" else "整"
    return f"{int(found[1])}点{minute}{second}"


def _time_en(found: re.Match[str]) -> str:
    hour = int(found[1])
    if found[3]:
        return f"{hour} {found[2]} and {int(found[3])} seconds"
    if found[2] != "00":
        return f"{hour} {found[2]}"
    if hour in (0, 24):
        return "midnight"
    return f"{hour} o'clock" if hour <= 12 else f"{hour} hundred hours"


def _measured_zh(found: re.Match[str]) -> str:
    number, unit, per = found.groups()
    each = f"每{_PER[per][0]}" if per else ""
    return f"{each}{number}{_UNITS[unit][0]}"


def _measured_en(found: re.Match[str]) -> str:
    number, unit, per = found.groups()
    _, one, several = _UNITS[unit]
    each = f" {_PER[per][1]}" if per else ""
    return f"{number} {one if float(number) == 1 else several}{each}"
