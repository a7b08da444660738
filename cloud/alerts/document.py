"""What a report is made of, before it is Markdown or HTML: sections of tables and charts."""

from collections.abc import Mapping
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cloud.channels import Language


class Cell(NamedTuple):
    """`level` colours it."""

    text: str
    level: str = ""


class Table(NamedTuple):
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Turn(NamedTuple):
    """When an alert came to another level, and a word for it."""

    at_ms: int
    level: str
    word: str


class Chart(NamedTuple):
    """A series in the unit that people read; `lines` are thresholds by level, `marks` moments with
    a word, `turns` those at which the level changed after the beginning. Times in UTC, ms. `words`
    name the levels, and say how many readings lie outside (`outside`, with {count})."""

    title: str
    unit: str
    points: tuple[tuple[int, float], ...]
    lines: tuple[tuple[str, float], ...]
    marks: tuple[tuple[int, str], ...]
    begin_ms: int
    end_ms: int
    turns: tuple[Turn, ...] = ()
    words: Mapping[str, str] = {}
    from_zero: bool = True
    """Whether the axis begins at 0."""


class Section(NamedTuple):
    title: str
    parts: tuple[Table | Chart | str, ...]


class Document(NamedTuple):
    language: Language
    title: str
    sections: tuple[Section, ...]
    zone: ZoneInfo
