"""A series of readings as one inline SVG, to be read on a phone, by night and on paper. Pure.

What happened is numbered along the top, and the numbers are explained below: words would lie on one
another. Colours come from the page's stylesheet; each has a word beside it.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from statistics import median_low
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from cloud.alerts.document import Chart

STYLE: Final = """
.chart { display: grid; grid-template-columns: minmax(0, 36rem) minmax(0, 1fr); gap: .3rem 1rem }
.chart figcaption { grid-column: 1 / -1 }
.chart svg { width: 100%; height: auto; display: block; font-size: 12px; fill: var(--soft) }
.chart ol { margin: 0; padding-left: 2.2em; font-size: .95em }
.chart p { grid-column: 1 / -1; margin: 0 }
.grid { stroke: var(--line); stroke-width: 1 } .curve { stroke: var(--curve); stroke-width: 2;
  fill: none; stroke-linejoin: round; stroke-linecap: round }
.dot { fill: var(--curve) }
.limit { stroke: currentColor; stroke-dasharray: 6 4; stroke-width: 1.5 }
.mark { stroke: var(--soft); stroke-dasharray: 2 3 } .turn { stroke: currentColor; stroke-width: 2 }
.chart text.on { fill: currentColor; font-weight: 600; paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px }
@media screen and (max-width: 40rem) { .chart { display: block } }
@media print { .chart { grid-template-columns: 115mm 1fr } }
"""

_WIDTH: Final = 390
_HEIGHT: Final = 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 22, 22
_LETTER: Final = 7
_LINE: Final = 13

_GAP_PARTS: Final = 12
"""The line breaks where nothing came for that part of the whole time, and for three times as long
as it usually took."""

_DOTS: Final = 60
"""So few readings are shown one by one."""

_WILD: Final = 4
"""What lies outside of the others by so many times their range would make a line of them: it is
named, and the axis is for the others."""

_NAMED: Final = 3


class _Frame(NamedTuple):
    """Where values and moments lie in the picture."""

    low: float
    high: float
    step: float
    begin_ms: int
    end_ms: int

    def x(self, at_ms: int) -> float:
        share = (at_ms - self.begin_ms) / max(self.end_ms - self.begin_ms, 1)
        return _LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


class _Moment(NamedTuple):
    at_ms: int
    word: str
    level: str = ""


def svg(one: Chart, zone: ZoneInfo) -> str:
    """The figure: the curve with its thresholds, and a list of what happened."""
    points = [point for point in one.points if math.isfinite(point[1])]
    frame = _frame(one, points)
    moments = sorted(
        [_Moment(*mark) for mark in one.marks]
        + [_Moment(t.at_ms, t.word, t.level) for t in one.turns],
        key=lambda moment: moment.at_ms,
    )
    outside = [point for point in points if not frame.low <= point[1] <= frame.high]
    parts = [
        *_axes(one, frame, zone),
        *_limits(one, frame),
        *_moments(moments, frame),
        *_curve(points, frame),
        *_outside(outside, frame, one.unit),
    ]
    title = escape(one.title)
    days = {_clock(at_ms, zone, "%x") for at_ms in (one.begin_ms, one.end_ms)}
    form = "%H:%M:%S" if len(days) == 1 else "%m-%d %H:%M:%S"
    rows = "".join(
        f"<li{f' class={moment.level}' if moment.level else ''}>"
        f"{_clock(moment.at_ms, zone, form)} {escape(moment.word)}</li>"
        for moment in moments
    )
    left_out = ""
    if outside:
        words = one.words.get("outside", "{count}").format(count=len(outside))
        left_out = f"<p>{escape(words)}</p>"
    return (
        f'<figure class="chart"><figcaption>{title}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg><ol>{rows}</ol>{left_out}</figure>"
    )


def _frame(one: Chart, points: Sequence[tuple[int, float]]) -> _Frame:
    """The axis is for what belongs together."""
    limits = [value for _, value in one.lines if math.isfinite(value)]
    values = sorted(value for _, value in points)
    some = len(values) // 50 + 1
    kept = values
    if len(values) >= 10:
        core = [*values[some:-some], *limits]
        width = max(core) - min(core) or abs(max(core)) or 1.0
        least, most = min(core) - _WILD * width, max(core) + _WILD * width
        kept = [value for value in values if least <= value <= most]
    found = [*kept, *limits] or [0.0]
    low, high = min(found), max(found)
    if one.from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    step = _step((high - low) / 4)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return _Frame(low, high if high > low else low + step, step, one.begin_ms, one.end_ms)


def _axes(one: Chart, frame: _Frame, zone: ZoneInfo) -> Iterator[str]:
    for number in range(round((frame.high - frame.low) / frame.step) + 1):
        value = frame.low + number * frame.step
        yield _line(_LEFT, frame.y(value), _WIDTH - _RIGHT, frame.y(value), "grid")
        yield _text(_LEFT - 6, frame.y(value) + 4, _figure(value), "end")
    step_ms, form = _ticks(one.begin_ms, one.end_ms)
    offset = datetime.fromtimestamp(one.begin_ms / 1000, UTC).astimezone(zone).utcoffset()
    shift_ms = round(offset.total_seconds() * 1000) if offset else 0
    first = -(-(one.begin_ms + shift_ms) // step_ms) * step_ms - shift_ms
    half = len(_clock(first, zone, form)) * _LETTER / 2
    for at_ms in range(first, one.end_ms, step_ms):
        place = min(max(frame.x(at_ms), half), _WIDTH - half)
        yield _text(place, _HEIGHT - 6, _clock(at_ms, zone, form), "middle")


def _limits(one: Chart, frame: _Frame) -> Iterator[str]:
    """Thresholds, with the name of their level on them."""
    before: float | None = None
    for level, value in sorted(one.lines, key=lambda line: line[1]):
        if not math.isfinite(value):
            continue
        place = frame.y(value)
        # Where two lie close together the words of the upper one move up.
        words = place - 4 if before is None else min(place - 4, before - _LINE)
        before = words
        shown = f"{one.words.get(level, level)} {_figure(value)}"
        yield f'<g class="{level}">'
        yield _line(_LEFT, place, _WIDTH - _RIGHT, place, "limit")
        yield _text(_WIDTH - _RIGHT, max(words, _TOP + 8), shown, "end", "on") + "</g>"


def _moments(moments: Sequence[_Moment], frame: _Frame) -> Iterator[str]:
    """A line each; numbers that would lie on one another become one: 2–4."""
    groups: list[list[int]] = []
    end = -1.0
    for number, moment in enumerate(moments, 1):
        place = frame.x(moment.at_ms)
        kind = "turn" if moment.level else "mark"
        line = _line(place, _TOP - 6, place, _HEIGHT - _BOTTOM, kind)
        yield f'<g class="{moment.level}">{line}</g>' if moment.level else line
        if groups and place < end:
            groups[-1].append(number)
        else:
            groups.append([number])
        first = frame.x(moments[groups[-1][0] - 1].at_ms)
        end = first + (len(_numbers(groups[-1])) + 1) * _LETTER
    for group in groups:
        moment = moments[group[0] - 1]
        words = _numbers(group)
        place = min(frame.x(moment.at_ms), _WIDTH - len(words) * _LETTER / 2)
        yield _text(place, _TOP - 9, words, "middle", "number")


def _numbers(group: Sequence[int]) -> str:
    return str(group[0]) if len(group) == 1 else f"{group[0]}–{group[-1]}"


def _curve(points: Sequence[tuple[int, float]], frame: _Frame) -> Iterator[str]:
    for path in _paths(points, frame):
        placed = [(frame.x(at_ms), frame.y(value)) for at_ms, value in path]
        if len(path) > 1:
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            yield f'<polyline class="curve" points="{joined}"/>'
        if len(path) == 1 or len(points) <= _DOTS:
            for x, y in placed:
                yield f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def _paths(points: Sequence[tuple[int, float]], frame: _Frame) -> Iterator[list[tuple[int, float]]]:
    """The points, parted where nothing came for long."""
    steps = [later[0] - earlier[0] for earlier, later in pairwise(points)]
    usual = median_low(steps) if steps else 0
    longest = max((frame.end_ms - frame.begin_ms) / _GAP_PARTS, 3 * usual)
    path: list[tuple[int, float]] = []
    for point in points:
        if path and point[0] - path[-1][0] > longest:
            yield path
            path = []
        path.append(point)
    if path:
        yield path


def _outside(points: Sequence[tuple[int, float]], frame: _Frame, unit: str) -> Iterator[str]:
    """An arrow for each reading that lies outside of the picture, the first with its value."""
    for number, (at_ms, value) in enumerate(points):
        is_above = value > frame.high
        arrow = "▲" if is_above else "▼"
        shown = f"{arrow} {_figure(value)} {unit}" if number < _NAMED else arrow
        half = len(shown) * (_LETTER + 1) / 2
        x = min(max(frame.x(at_ms), _LEFT + half), _WIDTH - half)
        y = _TOP + 12 + number % _NAMED * _LINE if is_above else _HEIGHT - _BOTTOM - 6
        yield _text(x, y, shown, "middle", "on")


def _step(wanted: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below `wanted`."""
    if not wanted > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    return next((power * one for one in (1, 2, 5) if power * one >= wanted), power * 10)


def _ticks(begin_ms: int, end_ms: int) -> tuple[int, str]:
    """How far round moments are apart, and how they are written: four at most."""
    minutes = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)
    steps = [s * 1000 for s in (1, 5, 10, 30)] + [m * 60_000 for m in minutes]
    width = max(end_ms - begin_ms, 1)
    step = next((one for one in steps if width / one <= 4), None)
    if step is None:
        days = -(-width // (4 * 86_400_000))
        return days * 86_400_000, "%m-%d"
    if width > 86_400_000:
        return max(step, 43_200_000), "%m-%d %H:%M"
    return step, "%H:%M" if step >= 60_000 else "%H:%M:%S"


def _clock(at_ms: int, zone: ZoneInfo, form: str) -> str:
    return format(datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone), form)


def _figure(value: float) -> str:
    if abs(value) < 1e-9:
        return "0"
    return f"{value:.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.5g}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
