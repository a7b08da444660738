"""Stored readings and rollups on a screen or in a file. Values in SI, times with their zone.

Each format is a sink, which takes pages of rows, all of one kind. `csv`, `jsonl` and `parquet`
write a page and forget it; `table`, `chart` and `png` are drawn at the end.
"""

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple, Protocol, TextIO, TypeVar

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from cloud.store import Rollup, Row
from wire.reading import UNITS, Quality, Quantity

DRAWN_AT_MOST: Final = 100_000
"""Rows in a table or picture: more than anybody looks at, and what memory has room for."""

_CHART_HEIGHT: Final = 18
_TICKS: Final = 6
_FILE_WIDTH: Final = 160  # of a table that no screen bounds

Shown = Row | Rollup
_Shown = TypeVar("_Shown", bound=Shown)


class Record(msgspec.Struct):
    """A reading as files have it; `time` in ISO 8601 with its offset, `value` in `unit`."""

    time: str
    gateway: str
    site: str
    sensor: str
    quantity: str
    unit: str
    value: float | None
    quality: int


class RollupRecord(msgspec.Struct):
    """A rollup as files have it; `time` is its beginning, `min`, `mean` and `max` are in `unit`."""

    time: str
    gateway: str
    site: str
    sensor: str
    quantity: str
    unit: str
    min: float | None
    mean: float | None
    max: float | None
    count: int
    bad: int
    missing: int
    worst: int | None


class Sink(Protocol):
    """Where pages go. `close` ends the file, or draws."""

    def add(self, page: Sequence[Shown]) -> None: ...
    def close(self) -> None: ...


class Csv:
    """With one line of names at the top."""

    def __init__(self, zone: tzinfo | None, out: TextIO) -> None:
        self._zone = zone
        self._writer = csv.writer(out, lineterminator="\n")
        self._begun = False

    def add(self, page: Sequence[Shown]) -> None:
        if page and not self._begun:
            kind = Record if isinstance(page[0], Row) else RollupRecord
            self._writer.writerow(kind.__struct_fields__)
            self._begun = True
        self._writer.writerows(map(msgspec.structs.astuple, _records(page, self._zone)))

    def close(self) -> None:
        """Nothing stands at the end."""


class JsonLines:
    """One object a line."""

    def __init__(self, zone: tzinfo | None, out: TextIO) -> None:
        self._zone = zone
        self._out = out
        self._encoder = msgspec.json.Encoder()

    def add(self, page: Sequence[Shown]) -> None:
        self._out.write(self._encoder.encode_lines(list(_records(page, self._zone))).decode())

    def close(self) -> None:
        """Nothing stands at the end."""


class Drawn:
    """Keeps what comes, and draws it at the end."""

    def __init__(self, draw: Callable[[Sequence[Shown]], None]) -> None:
        self._draw = draw
        self.rows: list[Shown] = []

    def add(self, page: Sequence[Shown]) -> None:
        self.rows += page

    def close(self) -> None:
        self._draw(self.rows)


def table(rows: Sequence[Shown], zone: tzinfo | None, out: TextIO) -> None:
    """One table a quantity, so that the unit stands in the head."""
    console = Console(file=out, width=None if out.isatty() else _FILE_WIDTH)
    for quantity, some in by_quantity(rows):
        shown = Table(box=box.SIMPLE)
        shown.add_column(f"time ({zone_name(zone)})", no_wrap=True)
        for column in ("gateway", "site", "sensor"):
            shown.add_column(column, overflow="fold")
        unit = UNITS[quantity]
        if isinstance(some[0], Row):
            shown.add_column(f"{quantity} ({unit})", justify="right", no_wrap=True)
            shown.add_column("quality", no_wrap=True)
        else:
            for column in (f"{quantity} min ({unit})", "mean", "max", "count", "bad", "missing"):
                shown.add_column(column, justify="right", no_wrap=True)
            shown.add_column("worst", no_wrap=True)
        for row in some:
            at = moment(row.at_ms, zone).isoformat(" ", "milliseconds")[:23]
            shown.add_row(at, row.gateway, row.site, row.sensor, *_cells(row))
        console.print(shown)


def chart(rows: Sequence[Shown], zone: tzinfo | None, out: TextIO) -> None:
    """One chart a quantity, one line a sensor; missing values are left out. Of rollups the mean and
    the max."""
    # Here, because it takes a quarter of a second which nobody else should pay.
    from plotext import figure

    width = Console(file=out).width
    for quantity, some in by_quantity(rows):
        drawn = [point for point in _points(some) if point.value is not None]
        if not drawn:
            out.write(f"{quantity}: no values, only missing ones\n")
            continue
        figure.clear()
        figure.theme("simple")
        figure.plot_size(width, _CHART_HEIGHT)
        places = {point.place for point in drawn}
        sites = ", ".join(sorted({site for _, site, _ in places}))
        figure.title(f"{quantity} ({UNITS[quantity]}), {sites}")
        alike = len({place[:2] for place in places}) == 1  # then the sensor's name will do
        drawn.sort(key=lambda point: (point.place, point.what, point.at_ms))
        for (place, what), group in itertools.groupby(drawn, lambda p: (p.place, p.what)):
            points = list(group)
            line = figure.signal(
                [p.at_ms for p in points], [p.value for p in points], marker="braille"
            )
            line.lines(True)
            line.label(" ".join(filter(None, (place[2] if alike else " ".join(place), what))))
            figure.draw(line)
        first, last = min(p.at_ms for p in drawn), max(p.at_ms for p in drawn)
        ticks = [first + (last - first) * n // (_TICKS - 1) for n in range(_TICKS)]
        shape = "%H:%M:%S" if last - first < 86_400_000 else "%m-%d %H:%M"
        figure.ruler("x").ticks(ticks, [f"{moment(tick, zone):{shape}}" for tick in ticks])
        figure.label(f"time ({zone_name(zone)})")
        out.write(figure.build().string(colorless=not out.isatty()) + "\n")


def zone_name(zone: tzinfo | None) -> str:
    """How to say a time zone, None for the local one: "CST, UTC+08:00"."""
    now = datetime.now(UTC).astimezone(zone)
    return "UTC" if now.tzname() == "UTC" else f"{now.tzname()}, UTC{now.isoformat()[-6:]}"


def moment(at_ms: int, zone: tzinfo | None) -> datetime:
    """A time in a zone, None for the local one."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def by_quantity(rows: Iterable[_Shown]) -> Iterator[tuple[Quantity, list[_Shown]]]:
    """The rows of each quantity that is there."""
    found: dict[Quantity, list[_Shown]] = {}
    for row in rows:
        found.setdefault(row.quantity, []).append(row)
    for quantity in Quantity:
        if quantity in found:
            yield quantity, found[quantity]


class _Point(NamedTuple):
    place: tuple[str, str, str]
    what: str
    at_ms: int
    value: float | None


def _points(rows: Iterable[Shown]) -> Iterator[_Point]:
    for row in rows:
        place = (row.gateway, row.site, row.sensor)
        if isinstance(row, Row):
            yield _Point(place, "", row.at_ms, row.value)
        else:
            yield _Point(place, "mean", row.at_ms, row.mean)
            yield _Point(place, "max", row.at_ms, row.max)


def _records(rows: Iterable[Shown], zone: tzinfo | None) -> Iterator[Record | RollupRecord]:
    before, time = None, ""
    for row in rows:
        at_ms, gateway, site, sensor, quantity, *rest = row
        if at_ms != before:  # many sensors have the same
            before, time = at_ms, moment(at_ms, zone).isoformat(timespec="milliseconds")
        kind = Record if isinstance(row, Row) else RollupRecord
        yield kind(time, gateway, site, sensor, quantity, UNITS[quantity], *rest)


def _cells(row: Shown) -> Iterator[str]:
    if isinstance(row, Row):
        yield _number(row.value)
        yield quality_name(row.quality)
        return
    yield from map(_number, (row.min, row.mean, row.max))
    yield from map(str, (row.counted, row.bad, row.missing))
    yield "-" if row.worst is None else quality_name(row.worst)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def quality_name(quality: int) -> str:
    """A flag in words."""
    return Quality(quality).name.lower().replace("_", " ")
