"""Stored readings on a screen or in a file: table, CSV, JSON lines, chart. Values in SI."""

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final, TextIO

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from cloud.store import Row
from wire.reading import UNITS, Quality, Quantity

_CHART_HEIGHT: Final = 18
_TICKS: Final = 6
_FILE_WIDTH: Final = 160  # of a table that no screen bounds


class Record(msgspec.Struct):
    """A row as files have it; `time` in ISO 8601 with its offset, `value` in `unit`."""

    time: str
    gateway: str
    site: str
    sensor: str
    quantity: str
    unit: str
    value: float | None
    quality: int


def as_csv(rows: Sequence[Row], zone: tzinfo | None, out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Record.__struct_fields__)
    writer.writerows(msgspec.structs.astuple(record) for record in _records(rows, zone))


def as_jsonl(rows: Sequence[Row], zone: tzinfo | None, out: TextIO) -> None:
    for record in _records(rows, zone):
        out.write(msgspec.json.encode(record).decode() + "\n")


def as_table(rows: Sequence[Row], zone: tzinfo | None, out: TextIO) -> None:
    """One table a quantity, so that the unit stands in the head."""
    console = Console(file=out, width=None if out.isatty() else _FILE_WIDTH)
    for quantity, some in _by_quantity(rows):
        table = Table(box=box.SIMPLE)
        table.add_column(f"time ({zone_name(zone)})", no_wrap=True)
        for column in ("gateway", "site", "sensor"):
            table.add_column(column, overflow="fold")
        table.add_column(f"{quantity} ({UNITS[quantity]})", justify="right", no_wrap=True)
        table.add_column("quality", no_wrap=True)
        for row in some:
            table.add_row(
                _time(row.at_ms, zone).isoformat(" ", "milliseconds")[:23],
                row.gateway,
                row.site,
                row.sensor,
                "-" if row.value is None else f"{row.value:.6g}",
                Quality(row.quality).name.lower().replace("_", " "),
            )
        console.print(table)


def as_chart(rows: Sequence[Row], zone: tzinfo | None, out: TextIO) -> None:
    """One chart a quantity, one line a sensor; missing values are left out."""
    # Here, because it takes a quarter of a second which nobody else should pay.
    from plotext import figure

    width = Console(file=out).width
    for quantity, some in _by_quantity(rows):
        drawn = [row for row in some if row.value is not None]
        if not drawn:
            out.write(f"{quantity}: no values, only missing ones\n")
            continue
        figure.clear()
        figure.theme("simple")
        figure.plot_size(width, _CHART_HEIGHT)
        sensors = {_sensor(row) for row in drawn}
        figure.title(
            f"{quantity} ({UNITS[quantity]}), {', '.join(sorted({s[1] for s in sensors}))}"
        )
        for name, of_sensor in itertools.groupby(sorted(drawn, key=_sensor), key=_sensor):
            points = sorted((row.at_ms, row.value) for row in of_sensor)
            line = figure.signal(
                [at_ms for at_ms, _ in points], [value for _, value in points], marker="braille"
            )
            line.lines(True)
            line.label(name[2] if len({s[:2] for s in sensors}) == 1 else " ".join(name))
            figure.draw(line)
        first, last = min(row.at_ms for row in drawn), max(row.at_ms for row in drawn)
        ticks = [first + (last - first) * n // (_TICKS - 1) for n in range(_TICKS)]
        shape = "%H:%M:%S" if last - first < 86_400_000 else "%m-%d %H:%M"
        figure.ruler("x").ticks(ticks, [f"{_time(tick, zone):{shape}}" for tick in ticks])
        figure.label(f"time ({zone_name(zone)})")
        out.write(figure.build().string(colorless=not out.isatty()) + "\n")


FORMATS: Final[dict[str, Callable[[Sequence[Row], tzinfo | None, TextIO], None]]] = {
    "table": as_table,
    "csv": as_csv,
    "jsonl": as_jsonl,
    "chart": as_chart,
}


def zone_name(zone: tzinfo | None) -> str:
    """How to say a time zone, None for the local one: "CST, UTC+08:00"."""
    now = datetime.now(UTC).astimezone(zone)
    return "UTC" if now.tzname() == "UTC" else f"{now.tzname()}, UTC{now.isoformat()[-6:]}"


def _time(at_ms: int, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def _records(rows: Sequence[Row], zone: tzinfo | None) -> Iterator[Record]:
    for at_ms, gateway, site, sensor, quantity, value, quality in rows:
        time = _time(at_ms, zone).isoformat(timespec="milliseconds")
        yield Record(time, gateway, site, sensor, quantity, UNITS[quantity], value, quality)


def _by_quantity(rows: Sequence[Row]) -> Iterator[tuple[Quantity, list[Row]]]:
    for quantity in Quantity:
        if some := [row for row in rows if row.quantity == quantity]:
            yield quantity, some


def _sensor(row: Row) -> tuple[str, str, str]:
    return row.gateway, row.site, row.sensor
