"""Whose fault it is that a store did not take readings: one table for all stores, the same as in
docs/loss-contract.md.

The status and the structure of an answer are judged first. Words are compared only where a server
offers nothing else, and only from the beginning of its sentence: names of sensors, which servers
quote behind that, change no verdict.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cloud.errors import Rejected, Unavailable
from cloud.http import json_of, retry_after_s


class Fault(StrEnum):
    """Who is to blame, and so what becomes of the readings."""

    READING = "the reading"  # those to blame are looked for one by one, and go to quarantine
    LATE = "its age"  # beyond the server's retention: it counts as retired, if it is as old as that
    REQUEST = "the request"  # configuration, rights, limits, schema: all is kept and tried again
    NOW = "the moment"  # all is kept and tried again


class Row(NamedTuple):
    """A row of the table. `statuses` None: any from 400 on. `pattern` is compared with the
    beginning of what the server says, in lower case; "" matches anything."""

    store: str
    statuses: Collection[int] | None
    pattern: str
    says: str
    fault: Fault
    mend: str = ""


_LINES: Final = frozenset({400, 422})
_TOO_LARGE: Final = 413
_CLOCK_OFF_S: Final = 3600.0
"""A server whose clock is so far from ours must not say what is too old."""

_AGAIN: Final = frozenset({408, 425, 429})

_PREFIX: Final = re.compile(
    r"(?:failure writing points(?: to database)?: |write buffer error: |catalog update error: "
    r"|could not modify catalog: |partial write(?: error)?(?: \(\d+ written\))?: "
    r"|remoteaddr: \"[^\"]*\"; requesturi: [^ ;]*; )*"
)
"""What may stand before the reason; the last is VictoriaMetrics'."""

TABLE: Final = (
    Row(
        "InfluxDB 1.x",
        None,
        r"max-series-per-database limit exceeded",
        "max-series-per-database limit exceeded",
        Fault.REQUEST,
        "raise max-series-per-database, or remove series",
    ),
    Row(
        "InfluxDB 1.x",
        None,
        r"max-values-per-tag limit exceeded",
        "max-values-per-tag limit exceeded",
        Fault.REQUEST,
        "raise max-values-per-tag, or remove series",
    ),
    Row(
        "InfluxDB 3.x",
        None,
        r"(?:adding a new \w+|update to schema) would exceed",
        "... would exceed limit of ...",
        Fault.REQUEST,
        "remove databases, tables or columns that nobody needs, or raise the limit",
    ),
    Row(
        "InfluxDB 3.x",
        None,
        r"(?:column '\w+' \([\w:]+\)|table '\w+') is not defined in ",
        "table or column is not defined in ... (explicit schemas)",
        Fault.REQUEST,
        "define it, or let the database take new tables and columns",
    ),
    Row(
        "InfluxDB 1.x, 2.x",
        _LINES,
        r"points beyond retention policy",
        "points beyond retention policy",
        Fault.LATE,
    ),
    Row(
        "InfluxDB 1.x, 2.x",
        _LINES,
        r"dropped \d+ points outside retention policy",
        "dropped N points outside retention policy",
        Fault.LATE,
    ),
    Row("InfluxDB 1.x, 2.x", _LINES, r"field type conflict", "field type conflict", Fault.READING),
    Row("InfluxDB 1.x, 2.x", _LINES, r"unable to parse", "unable to parse", Fault.READING),
    Row(
        "InfluxDB 1.x, 2.x",
        _LINES,
        r"(?:key contains invalid unicode|max key length exceeded|invalid tag key"
        r"|invalid field name)",
        "key contains invalid unicode, max key length exceeded, invalid tag key or field name",
        Fault.READING,
    ),
    Row(
        "InfluxDB 3.x",
        _LINES,
        r"(?:invalid column type|parsing for line protocol failed|parsing failed for"
        r"|partial write of line protocol occurred)",
        "names lines, with line_number and error_message; invalid column type",
        Fault.READING,
    ),
    Row(
        "VictoriaMetrics",
        _LINES,
        r"(?:cannot|error when) (?:unmarshal|pars)",
        "cannot unmarshal, cannot parse",
        Fault.READING,
    ),
)
"""By words; the first row that matches counts."""

BY_STATUS: Final = (
    Row("any", frozenset({_TOO_LARGE}), "", "of several readings: too large", Fault.READING),
    Row(
        "any",
        frozenset({_TOO_LARGE}),
        "",
        "of one reading alone: too large",
        Fault.REQUEST,
        "let the server, or the proxy before it, take larger bodies",
    ),
    Row("any", _AGAIN, "", "anything else", Fault.NOW),
    Row(
        "any",
        frozenset({401, 403}),
        "",
        "anything else",
        Fault.REQUEST,
        "[store] needs a token or password with the right to write: "
        "`shuichi cloud check --online` names it",
    ),
    Row(
        "any",
        frozenset({404}),
        "",
        "anything else",
        Fault.REQUEST,
        "`shuichi cloud init` makes what is missing; see [store] url",
    ),
    Row("any", _LINES, "", "no answer of a store: a page, JSON that breaks off", Fault.NOW),
    Row("any", _LINES, "", "other words, and takes a line of our own", Fault.READING),
    Row("any", _LINES, "", "other words, and does not take our own line either", Fault.REQUEST),
    Row(
        "any",
        frozenset(range(400, 500)) - {400, 401, 403, 404, _TOO_LARGE, 422} - _AGAIN,
        "",
        "anything else",
        Fault.REQUEST,
        "see [store] url, and the proxy before the server",
    ),
    Row("any", frozenset(range(500, 600)), "", "anything else", Fault.NOW),
    Row("any", frozenset(), "", "200, a redirect, no answer, one that breaks off", Fault.NOW),
)
"""Where no words match."""

SQLITE: Final = {
    "CONSTRAINT": Fault.READING,
    "MISMATCH": Fault.READING,
    "TOOBIG": Fault.READING,
    "BUSY": Fault.NOW,
    "LOCKED": Fault.NOW,
    "FULL": Fault.NOW,
    "IOERR": Fault.NOW,
    "PROTOCOL": Fault.NOW,
    "CANTOPEN": Fault.REQUEST,
    "CORRUPT": Fault.REQUEST,
    "NOTADB": Fault.REQUEST,
    "PERM": Fault.REQUEST,
    "READONLY": Fault.REQUEST,
}
"""The embedded store: SQLite's result codes, as `cloud.state` takes them. `Unavailable` says of a
file what is wrong with it, so that the moment and the request are told apart by a person."""


class Answer(NamedTuple):
    """What a store says to lines: its sentence, what it says of single lines (3.x), and how many
    of them it did not take."""

    words: str
    of_lines: tuple[str, ...] = ()
    dropped: int | None = None


_DROPPED: Final = re.compile(r"\bdropped=(\d+)(?: for database: [^=]*)?\s*$")
_VICTORIA: Final = "remoteAddr: "


def heard(body: bytes, lines: int) -> Answer | None:
    """What a store says in an answer to so many lines; None where no store speaks: a page, or JSON
    that breaks off. What is said of lines that are none of these is left out, and so is a number
    that is greater than theirs."""
    if body.startswith(_VICTORIA.encode()):
        return Answer(body.decode(errors="replace"))
    try:
        said = json_of(body)
    except Unavailable:
        return None
    if not isinstance(said, dict):
        return None
    words = next((said[key] for key in ("error", "message") if isinstance(said.get(key), str)), "")
    if not words:
        return None
    named = [*_named(said.get("data"))]
    ours = tuple(text for number, text in named if number is None or 1 <= number <= lines)
    if named and not ours:
        return Answer("")  # it speaks of something else
    found = _DROPPED.search(words)
    dropped = int(found[1][:18]) if found else None
    return Answer(words, ours, dropped if dropped and dropped <= lines else None)


def _named(data: Any) -> Iterator[tuple[int | None, str]]:
    for one in data if isinstance(data, list) else [data]:
        if isinstance(one, dict) and isinstance(one.get("error_message"), str):
            number = one.get("line_number")
            yield number if isinstance(number, int) else None, one["error_message"]


def judged(status: int, answer: Answer | None, lines: int) -> Row | None:
    """The row that an answer to so many lines falls under; None where only a line of our own can
    tell. What condemns the request goes before what condemns a line."""
    if answer is not None:
        found = [
            row
            for text in (*answer.of_lines, answer.words)
            if (row := _by_words(status, text)) is not None
        ]
        for fault in Fault.REQUEST, Fault.READING, Fault.LATE:
            if row := next((one for one in found if one.fault is fault), None):
                return row
    too_large = [row for row in BY_STATUS if row.statuses and _TOO_LARGE in row.statuses]
    if status == _TOO_LARGE:
        return too_large[0] if lines > 1 else too_large[1]
    if status in _LINES:
        return None if answer is not None else _NO_STORE
    return next((row for row in BY_STATUS if row.statuses and status in row.statuses), _NO_ANSWER)


_NO_STORE: Final = next(row for row in BY_STATUS if row.says.startswith("no answer of a store"))
_NO_ANSWER: Final = BY_STATUS[-1]
BY_OWN_LINE: Final = {
    True: next(row for row in BY_STATUS if row.says.endswith("and takes a line of our own")),
    False: next(row for row in BY_STATUS if row.says.endswith("our own line either")),
}
"""By whether a line of our own was taken."""


def _by_words(status: int, text: str) -> Row | None:
    said = text.strip().lower()
    begin = _PREFIX.match(said)
    reason = said[begin.end() if begin else 0 :]
    for row in TABLE:
        if (row.statuses is None or status in row.statuses) and re.match(row.pattern, reason):
            return row
    return None


class Refused(Unavailable):
    """A server did not take so many `lines`; `answer` is what it says, `words` the same in short.
    It is `of_the_request` where it was judged so: what it says of some readings is no fault of
    theirs, however often it says so."""

    def __init__(
        self,
        place: str,
        status: int,
        words: str,
        answer: Answer | None = None,
        lines: int = 1,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        wait_s = retry_after_s(headers.get("Retry-After", ""))
        super().__init__(f"{place} says {status}: {words}", wait_s)
        self.date = headers.get("Date", "")
        self.status = status
        self.answer = answer
        self.lines = lines

    @property
    def dropped(self) -> int | None:
        """How many points the server says that it did not take: of one reason; there may be more
        for another."""
        return None if self.answer is None else self.answer.dropped

    def as_judged(self, row: Row, now_s: float) -> Unavailable | Rejected:
        """What to raise for it."""
        if row.fault is Fault.READING:
            return Rejected(str(self), self.dropped)
        if row.fault is Fault.NOW:
            return self
        if row.fault is Fault.REQUEST:
            return of_the_request(str(self), row.mend)
        try:
            date_s = parsedate_to_datetime(self.date).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):  # the parser's ways to say no
            date_s = now_s
        if abs(date_s - now_s) > _CLOCK_OFF_S:
            return of_the_request(str(self), f"its clock says {self.date}; set it, or ours")
        return TooLate(str(self), self.dropped)


def of_the_request(words: str, mend: str) -> Unavailable:
    """What is to be raised where only a person can mend it."""
    found = Unavailable(f"{words}: {mend}" if mend else words)
    found.of_the_request = True
    return found


class TooLate(Rejected):
    """Some lines are older than what the server keeps; it may have taken the others."""


_HEAD: Final = (
    "| store | status | the server says | fault of | how to mend it |\n|---|---|---|---|---|"
)


def as_table() -> str:
    """The table as docs/loss-contract.md shows it."""
    rows = [_HEAD]
    for row in (*TABLE, *BY_STATUS):
        statuses = _shown(row.statuses)
        rows.append(f"| {row.store} | {statuses} | {row.says} | {row.fault} | {row.mend} |")
    for code, fault in SQLITE.items():
        rows.append(f"| embedded | | SQLITE_{code} | {fault} | |")
    return "\n".join(rows)


def _shown(statuses: Collection[int] | None) -> str:
    if statuses is None:
        return "any"
    if len(statuses) == 100:
        return f"{min(statuses) // 100}xx"
    return ", ".join(map(str, sorted(statuses))) if len(statuses) < 10 else "other 4xx"
