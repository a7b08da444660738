"""Readings and rollups as a PNG: one panel a quantity. Needs matplotlib (the extra `plots`)."""

from collections.abc import Sequence
from datetime import tzinfo
from itertools import groupby
from typing import BinaryIO, Final, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cloud.show import Shown, by_quantity, moment, quality_name, unbroken, zone_name
from cloud.store import DAY_MS, Row
from wire.reading import UNITS, Quality, Quantity

_WIDTH_IN: Final = 11.0
_PANEL_IN: Final = 3.2
_DPI: Final = 110
_DOTTED: Final = 500
_LEGEND_WIDTH: Final = 100  # characters that have room beside a short title
_LEGEND_LINE: Final = 8  # characters that the line before a name takes
_MARKS: Final = {Quality.SUSPECT: "^", Quality.BAD: "x"}
"""Shapes, because colours alone do not reach everybody."""

_SCALES: Final = {
    Quantity.RAIN_TOTAL: (1e3, "mm"),
    Quantity.RAIN_RATE: (3.6e6, "mm/h"),
    Quantity.DISPLACEMENT: (1e3, "mm"),
    Quantity.TEMPERATURE: (1.0, "°C"),
}
"""Units in which people read these; the others are shown as they are kept."""

_LINES: Final = ("-", "--", "-.", ":")


def png(rows: Sequence[Shown], zone: tzinfo | None, out: BinaryIO) -> None:
    """Draw `rows` and write the picture."""
    panels = list(by_quantity(rows))
    figure = Figure(figsize=(_WIDTH_IN, _PANEL_IN * len(panels) + 0.6), dpi=_DPI, layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (quantity, some) in zip(axes, panels, strict=True):
        _panel(axis, quantity, some)
    with rc_context({"date.converter": "concise"}):
        axes[-1].xaxis_date(zone or moment(rows[-1].at_ms, None).tzinfo)
    axes[-1].set_xlabel(f"time ({zone_name(zone)})")
    figure.savefig(out, format="png")


def _panel(axis: Axes, quantity: Quantity, rows: list[Shown]) -> None:
    scale, unit = _SCALES.get(quantity, (1.0, UNITS[quantity]))
    axis.set_ylabel(f"{quantity.replace('_', ' ')} ({unit})")
    axis.grid(visible=True, alpha=0.3)
    rows.sort(key=lambda row: (row[1:4], row.at_ms))
    places = {row[1:4] for row in rows}
    alike = len({place[:2] for place in places}) == 1  # then the sensor's name will do
    alone = len(places) == 1  # and then the title says it all
    flagged: dict[Quality, list[tuple[float, float]]] = {quality: [] for quality in _MARKS}
    for number, (place, group) in enumerate(groupby(rows, key=lambda row: row[1:4])):
        drawn = [_drawn(row, scale) for row in group]
        colour = f"C{number % 10}"
        times, line = _with_gaps([(one.at_ms, one.value) for one in drawn])
        axis.plot(
            times,
            line,
            label=None if alone else place[2] if alike else " ".join(place),
            color=colour,
            linestyle=_LINES[number // 10 % len(_LINES)],
            linewidth=1,
            # A reading alone between two gaps has no line, so there are dots while there is room.
            marker="." if len(drawn) <= _DOTTED else "",
            markersize=3,
        )
        times, low = _with_gaps([(one.at_ms, one.low) for one in drawn])
        _, high = _with_gaps([(one.at_ms, one.high) for one in drawn])
        axis.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
        for one in drawn:
            if one.quality in flagged and one.mark is not None:
                flagged[one.quality].append((one.at_ms / DAY_MS, one.mark))
    for quality, points in flagged.items():
        if points:
            axis.plot(
                *zip(*points, strict=True),
                label=quality_name(quality),
                linestyle="",
                marker=_MARKS[quality],
                fillstyle="none",
                color="black",
            )
    where = [rows[0].gateway, rows[0].site, *([rows[0].sensor] if alone else [])]
    axis.set_title(" ".join(where) if alike else f"{len(places)} sensors", loc="left", fontsize=9)
    _, labels = axis.get_legend_handles_labels()
    if labels:  # above, where it covers nothing
        axis.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=max(1, _LEGEND_WIDTH // (max(map(len, labels)) + _LEGEND_LINE)),
            fontsize=8,
            frameon=False,
            borderaxespad=0.2,
        )


class _Drawn(NamedTuple):
    """What is drawn of a row: the line, the band from min to max, and a mark."""

    at_ms: int
    value: float | None
    low: float | None
    high: float | None
    quality: Quality | None
    mark: float | None


def _drawn(row: Shown, scale: float) -> _Drawn:
    """A bad reading is a mark and no part of the line."""

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * scale

    if isinstance(row, Row):
        quality, value = Quality(row.quality), scaled(row.value)
        line = None if quality is Quality.BAD else value
        return _Drawn(row.at_ms, line, None, None, quality, value)
    worst = None if row.worst is None else Quality(row.worst)
    if row.rain is not None:  # where a counter stands tells nobody anything
        rain = scaled(row.rain)
        return _Drawn(row.at_ms, rain, 0.0, rain, worst, rain)
    low, mean, high = map(scaled, (row.min, row.mean, row.max))
    return _Drawn(row.at_ms, mean, low, high, worst, mean)


def _with_gaps(points: list[tuple[int, float | None]]) -> tuple[list[float], list[float]]:
    """Days, as matplotlib counts time, and values for a line that breaks (NaN) where a value is
    missing, or nothing came."""
    days: list[float] = []
    line: list[float] = []
    for run in unbroken(points):
        if days:
            days.append(days[-1])
            line.append(float("nan"))
        days += [at_ms / DAY_MS for at_ms, _ in run]
        line += [value for _, value in run]
    return days, line
