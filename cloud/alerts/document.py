"""What a report is made of, before it is Markdown or HTML: sections of tables and charts."""

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


class Chart(NamedTuple):
    """A series in the unit that people read; `lines` are thresholds by level, `marks` moments with
    a word. Times in UTC, ms."""

    title: str
    unit: str
    points: tuple[tuple[int, float], ...]
    lines: tuple[tuple[str, float], ...]
    marks: tuple[tuple[int, str], ...]
    begin_ms: int
    end_ms: int


class Section(NamedTuple):
    title: str
    parts: tuple[Table | Chart | str, ...]


class Document(NamedTuple):
    language: Language
    title: str
    sections: tuple[Section, ...]
    zone: ZoneInfo
