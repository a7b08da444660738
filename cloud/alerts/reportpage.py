"""A document as Markdown, or as one HTML file that needs nothing else and prints on A4. Pure."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from cloud.alerts.document import Cell, Chart, Document, Table

_WIDTH: Final = 720
_HEIGHT: Final = 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 64, 44, 24
_NARROW: Final = 4
"""So many columns fit on a phone."""

_GAP_PARTS: Final = 12
"""The line breaks where nothing came for that part of the whole time."""

_COLOURS: Final = {
    "red": "#c62828",
    "orange": "#c75a00",
    "yellow": "#8a6d00",
    "blue": "#1565c0",
}

_STYLE: Final = """
@page { size: A4; margin: 15mm }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 52rem; padding: 1rem; color: #17202a; background: #fff;
  font: 14px/1.45 system-ui, "Noto Sans CJK SC", "Noto Sans SC", sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .8rem }
h2 { font-size: 1.1rem; margin: 1.4rem 0 .4rem; padding-bottom: .2rem;
  border-bottom: 2px solid #17202a; break-after: avoid }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
th { text-align: left; font-weight: 600; color: #4a5561 }
th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #d5dae0;
  vertical-align: top; overflow-wrap: break-word; min-width: 3.2em }
td:last-child, .facts td { overflow-wrap: anywhere }
tr { break-inside: avoid }
thead { display: table-header-group }
.facts td:first-child { width: 9rem; color: #4a5561 }
.red, .orange, .yellow, .blue { font-weight: 600 }
.red { color: #c62828 } .orange { color: #c75a00 } .yellow { color: #8a6d00 }
.blue { color: #1565c0 }
figure { margin: 1rem 0; break-inside: avoid }
figcaption { font-weight: 600 }
svg { width: 100%; height: auto; display: block }
@media screen { svg { min-width: 36rem } .wide table.many { min-width: 36rem } }
@media print { body { padding: 0; max-width: none; font-size: 10pt } .wide { overflow: visible } }
"""


def markdown(document: Document) -> str:
    """The document without its charts: the tables have what is in them."""
    lines = [f"# {document.title}"]
    for section in document.sections:
        lines.append(f"\n## {section.title}")
        for part in section.parts:
            if isinstance(part, Table):
                lines += ["", *_rows(part)]
            elif isinstance(part, str):
                lines += ["", _plain(part)]
    return "\n".join(lines) + "\n"


def html(document: Document) -> str:
    """The whole page."""
    tongue = "zh-CN" if document.language == "zh" else "en"
    title = escape(document.title)
    body = []
    for section in document.sections:
        body.append(f"<section><h2>{escape(section.title)}</h2>")
        for part in section.parts:
            if isinstance(part, Table):
                body.append(_table(part))
            elif isinstance(part, Chart):
                body.append(chart(part, document.zone))
            else:
                body.append(f"<p>{escape(part)}</p>")
        body.append("</section>")
    return f"""<!doctype html>
<html lang="{tongue}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head>
<body><h1>{title}</h1>
{chr(10).join(body)}
</body></html>
"""


def chart(one: Chart, zone: ZoneInfo) -> str:
    """A series as an inline SVG."""
    values = [value for _, value in one.points] + [value for _, value in one.lines]
    low, high = min([0.0, *values]), max([0.0, *values])
    step = _step((high - low) / 4)
    low, high = low // step * step, -(-high // step) * step or step

    def x(at_ms: int) -> float:
        share = (at_ms - one.begin_ms) / (one.end_ms - one.begin_ms)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        parts.append(_line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), "#e3e7eb"))
        parts.append(_text(_LEFT - 6, y(value) + 4, f"{value:.4g}", "end"))
    for at_ms in _ticks(one.begin_ms, one.end_ms):
        parts.append(_text(x(at_ms), _HEIGHT - 6, _clock(at_ms, zone), "middle"))
    for level, value in one.lines:
        colour = _COLOURS[level]
        parts.append(
            _line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), colour, ' stroke-dasharray="6 4"')
        )
        parts.append(
            _text(_WIDTH - _RIGHT + 6, y(value) + 4, f"{value:.4g} {one.unit}", "start", colour)
        )
    for path in _paths(one):
        joined = " ".join(f"{x(at_ms):.1f},{y(value):.1f}" for at_ms, value in path)
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="#0b5cad" stroke-width="1.8" '
            'stroke-linejoin="round"/>'
        )
    parts += _marks(one, x)
    title = escape(one.title)
    return (
        f'<figure><figcaption>{title}</figcaption><div class="wide">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}" '
        f'font-size="11" fill="#4a5561">{"".join(parts)}</svg></div></figure>'
    )


def _marks(one: Chart, x: Callable[[int], float]) -> Iterator[str]:
    """Moments, their words in rows so that none lies on another."""
    ends = [0.0, 0.0, 0.0]
    for at_ms, word in one.marks:
        place = x(at_ms)
        yield _line(place, _TOP - 4, place, _HEIGHT - _BOTTOM, "#7a8591", ' stroke-dasharray="2 3"')
        row = next((row for row, end in enumerate(ends) if place > end), None)
        if row is not None:  # no room: the dashes stay, the words are in the course of events
            yield _text(place + 2, 10 + 12 * row, word, "start")
            ends[row] = place + 6 + sum(11 if ord(letter) > 0x2E80 else 6 for letter in word)


def _paths(one: Chart) -> Iterator[list[tuple[int, float]]]:
    """The points, parted where nothing came for long."""
    longest = (one.end_ms - one.begin_ms) / _GAP_PARTS
    path: list[tuple[int, float]] = []
    for point in one.points:
        if path and point[0] - path[-1][0] > longest:
            yield path
            path = []
        path.append(point)
    yield path


def _step(wanted: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below `wanted`."""
    power = 1.0
    while power > wanted > 0:
        power /= 10
    while power * 10 <= wanted:
        power *= 10
    return next((power * one for one in (1, 2, 5, 10) if power * one >= wanted), power)


def _ticks(begin_ms: int, end_ms: int) -> Iterator[int]:
    """Round moments, seven at most."""
    steps = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400)
    step = next((s * 1000 for s in steps if (end_ms - begin_ms) / (s * 1000) <= 7), 604_800_000)
    yield from range(-(-begin_ms // step) * step, end_ms, step)


def _clock(at_ms: int, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone):%H:%M:%S}"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#4a5561") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}">{escape(text)}</text>'


def _table(table: Table) -> str:
    plain = not any(table.head)
    head = "" if plain else f"<thead><tr>{_cells(map(_named, table.head), 'th')}</tr></thead>"
    rows = "".join(f"<tr>{_cells(row, 'td')}</tr>" for row in table.rows)
    kind = "facts" if plain else "many" if len(table.head) > _NARROW else "few"
    return f'<div class="wide"><table class="{kind}">{head}<tbody>{rows}</tbody></table></div>'


def _named(text: str) -> Cell:
    return Cell(text)


def _cells(cells: Iterable[Cell], tag: str) -> str:
    return "".join(
        f"<{tag}{f' class={cell.level}' if cell.level else ''}>{escape(cell.text)}</{tag}>"
        for cell in cells
    )


def _rows(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(_plain, table.head))} |"
    yield f"|{' --- |' * len(table.head)}"
    for row in table.rows:
        yield f"| {' | '.join(_plain(cell.text) for cell in row)} |"


def _plain(text: str) -> str:
    """What people have written must not become marks."""
    for mark in "\\|*_`<>[]#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
