"""Stored readings and rollups on a screen or in a file. Values in SI, times with their zone.

Each format is a sink, which takes pages of rows, all of one kind. `csv`, `jsonl` and `parquet`
write a page and forget it; `table`, `chart` and `png` are drawn at the end.
"""

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from statistics import median
from typing import Final, Protocol, TextIO, TypeVar

import msgspec
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cloud.store import Rollup, Row
from configs.text import for_terminal
from wire.reading import UNITS, Quality, Quantity

DRAWN_AT_MOST: Final = 100_000
"""Rows in a table or picture: more than anybody looks at, and what memory has room for."""

_CHART_HEIGHT: Final = 18
_TICKS: Final = 6
_FILE_WIDTH: Final = 160  # of a table that no screen bounds
_ANY_WIDTH: Final = 10_000
_MARKS: Final = "*x+o.#"
_GAP: Final = 3.0
"""So many usual intervals without a reading are a gap: a line breaks."""

_PLACE: Final = ("gateway", "site", "sensor")

Shown = Row | Rollup
_Shown = TypeVar("_Shown", bound=Shown)

Run = list[tuple[int, float]]
"""Points of a line without a break: ms, value."""


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
    """A rollup as files have it; `time` is its beginning, `min`, `mean`, `max` and `rain` are in
    `unit`."""

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
    rain: float | None


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
    """One table a quantity. Where it is too wide, what all rows have in common goes into its title;
    and if that is not enough, each sensor has a table of its own."""
    console = Console(file=out, width=None if out.isatty() else _FILE_WIDTH)
    for _, some in by_quantity(rows):
        _tables(console, some, zone)


def _tables(console: Console, rows: Sequence[Shown], zone: tzinfo | None) -> None:
    for varying in (_PLACE, [name for name in _PLACE if len({getattr(r, name) for r in rows}) > 1]):
        shown = _table(rows, zone, varying)
        wide = console.options.update_width(_ANY_WIDTH)
        fits = Measurement.get(console, wide, shown).maximum <= console.width
        if fits or not varying:
            fixed = [getattr(rows[0], name) for name in _PLACE if name not in varying]
            title = " ".join(fixed if isinstance(rows[0], Row) else [*fixed, _unit(rows[0])])
            if title:
                console.print(Text(for_terminal(title), "bold"))
            console.print(shown)
            console.print()
            return
    for _, some in itertools.groupby(sorted(rows, key=_place), _place):
        _tables(console, list(some), zone)


def _table(rows: Sequence[Shown], zone: tzinfo | None, varying: Sequence[str]) -> Table:
    first = rows[0]
    shown = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    shown.add_column(f"time ({zone_name(zone)})", no_wrap=True)
    for column in varying:
        shown.add_column(column, overflow="fold")
    if isinstance(first, Row):
        shown.add_column(_unit(first), justify="right", no_wrap=True)
        shown.add_column("quality", no_wrap=True)
    else:
        rain = ("rain",) if _has_rain(first) else ()
        for column in (*rain, "min", "mean", "max", "count", "bad", "missing"):
            shown.add_column(column, justify="right", no_wrap=True)
        shown.add_column("worst")  # two words at most: it is this one that gives way
    digits = 23 if isinstance(first, Row) else 16  # to the millisecond, or to the minute
    for row in rows:
        at = moment(row.at_ms, zone).isoformat(" ", "milliseconds")[:digits]
        place = (Text(for_terminal(getattr(row, name))) for name in varying)
        shown.add_row(at, *place, *_cells(row))
    return shown


def _has_rain(row: Rollup) -> bool:
    return row.quantity is Quantity.RAIN_TOTAL


def _unit(row: Shown) -> str:
    return f"{row.quantity} ({UNITS[row.quantity]})"


def chart(rows: Sequence[Shown], zone: tzinfo | None, out: TextIO) -> None:
    """One chart a quantity, one line a sensor, which breaks where values are missing or bad; of
    rollups the rain, or the mean and the max. Without colours: a mark for each line reaches
    everybody, in a file as well, and stands under the chart with its name."""
    # Here, because it takes a quarter of a second which nobody else should pay.
    from plotext import figure

    width = Console(file=out).width
    for quantity, some in by_quantity(rows):
        lines = _lines(some)
        points = [point for line in lines.values() for run in line for point in run]
        if not points:
            out.write(f"{quantity}: no values, only missing or bad ones\n")
            continue
        figure.clear()
        figure.theme("simple")
        figure.plot_size(width, _CHART_HEIGHT)
        fixed = [name for name in _PLACE if len({getattr(row, name) for row in some}) == 1]
        where = for_terminal(" ".join(getattr(some[0], name) for name in fixed))
        figure.title(", ".join(filter(None, (f"{quantity} ({UNITS[quantity]})", where))))
        marks = dict(zip(lines, itertools.cycle(_MARKS), strict=False))
        for names, line in lines.items():
            mark = marks[names] if len(lines) > 1 or not _is_unicode(out) else "braille"
            for run in line:
                drawn = figure.signal([at for at, _ in run], [v for _, v in run], marker=mark)
                drawn.lines(True)
                figure.draw(drawn)
        first, last = min(points)[0], max(points)[0]
        ticks = [first + (last - first) * n // (_TICKS - 1) for n in range(_TICKS)]
        shape = "%H:%M:%S" if last - first < 86_400_000 else "%m-%d %H:%M"
        figure.ruler("x").ticks(ticks, [f"{moment(tick, zone):{shape}}" for tick in ticks])
        figure.label(f"time ({zone_name(zone)})")
        out.write(figure.build().string(colorless=True).rstrip() + "\n")
        if len(lines) > 1:
            for (place, what), mark in marks.items():
                named = [n for n, one in zip(place, _PLACE, strict=True) if one not in fixed]
                words = for_terminal(" ".join(filter(None, (*named, what))))
                out.write(f"  {mark}  {words}\n")
        out.write("\n")


def _is_unicode(out: TextIO) -> bool:
    return (getattr(out, "encoding", None) or "utf-8").lower().startswith("utf")


def _lines(rows: Sequence[Shown]) -> dict[tuple[tuple[str, ...], str], list[Run]]:
    """What is drawn of each sensor: its place, what it is of it, and the runs of a line."""
    found: dict[tuple[tuple[str, ...], str], list[Run]] = {}
    for place, some in itertools.groupby(sorted(rows, key=_place), _place):
        drawn: dict[str, list[tuple[int, float | None]]] = {}
        for row in sorted(some, key=lambda row: row.at_ms):
            if isinstance(row, Row):
                good = row.quality != Quality.BAD
                drawn.setdefault("", []).append((row.at_ms, row.value if good else None))
            elif row.rain is not None:  # where a counter stands tells nobody anything
                drawn.setdefault("rain", []).append((row.at_ms, row.rain))
            else:
                drawn.setdefault("mean", []).append((row.at_ms, row.mean))
                drawn.setdefault("max", []).append((row.at_ms, row.max))
        for what, points in drawn.items():
            if runs := list(unbroken(points)):
                found[place, what] = runs
    return found


def unbroken(points: Sequence[tuple[int, float | None]]) -> Iterator[Run]:
    """A line's points (ms, value) in order of time, parted where a value is missing, or nothing
    came for longer than usual."""
    times = [at_ms for at_ms, _ in points]
    usual = median([b - a for a, b in itertools.pairwise(times)]) if len(times) > 1 else 0.0
    run: Run = []
    before = times[0] if times else 0
    for at_ms, value in points:
        if run and (value is None or (usual and at_ms - before > _GAP * usual)):
            yield run
            run = []
        if value is not None:
            run.append((at_ms, value))
        before = at_ms
    if run:
        yield run


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


def _place(row: Shown) -> tuple[str, ...]:
    return row.gateway, row.site, row.sensor


def _records(rows: Iterable[Shown], zone: tzinfo | None) -> Iterator[Record | RollupRecord]:
    before, time = None, ""
    for row in rows:
        at_ms, gateway, site, sensor, quantity = row[:5]
        if at_ms != before:  # many sensors have the same
            before, time = at_ms, moment(at_ms, zone).isoformat(timespec="milliseconds")
        place = (time, gateway, site, sensor, quantity, UNITS[quantity])
        if isinstance(row, Row):
            yield Record(*place, row.value, row.quality)
            continue
        ends = (row.min, row.mean, row.max)
        counts = (row.counted, row.bad, row.missing)
        yield RollupRecord(*place, *ends, *counts, row.worst, row.rain)


def _cells(row: Shown) -> Iterator[str]:
    if isinstance(row, Row):
        yield _number(row.value)
        yield quality_name(row.quality)
        return
    if _has_rain(row):
        yield _number(row.rain)
    yield from map(_number, (row.min, row.mean, row.max))
    yield from map(str, (row.counted, row.bad, row.missing))
    yield "-" if row.worst is None else quality_name(row.worst)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def quality_name(quality: int) -> str:
    """A flag in words."""
    return Quality(quality).name.lower().replace("_", " ")
