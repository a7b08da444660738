"""The demo's live view: the water against its two thresholds, the lamp, and what was stored."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware_sim.demo.stage import Stage
from firmware_sim.demo.watch import Picture
from wire.aspect import Aspect
from wire.reading import Quantity

CHART_WIDTH: Final = 56
"""Where there is room: on a narrow screen the chart is narrower, and the figures stand below it."""

CHART_ROWS: Final = 12
_LEAST_CHART: Final = 24
_FIGURE_WIDTH: Final = 18
_FRAME: Final = 4
"""Columns that the frame takes, with its padding."""

_LEAST_TOP_M: Final = 0.48
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_COLOUR: Final = {
    Aspect.OFF: "dim",
    Aspect.GREEN: "green",
    Aspect.FLASHING_AMBER: "yellow",
    Aspect.AMBER: "yellow",
    Aspect.RED: "red",
}
_SHOWN: Final = (
    (Quantity.RAIN_TOTAL, "rain", 1000, "mm", 1),
    (Quantity.LEVEL, "river", 1, "m", 2),
    (Quantity.DISPLACEMENT, "crack", 1000, "mm", 2),
)
"""Quantity, label, factor from SI, unit, decimals."""


class Clock:
    """Where in the scenario we are. Times in ms UTC and s."""

    def __init__(self, title: str, start_ms: int, speed: float, duration_s: float) -> None:
        self.title = title
        self.start_ms = start_ms
        self.speed = speed
        self.duration_s = duration_s

    def scenario_s(self, at_ms: int) -> float:
        """Scenario time of a moment, s, clamped to the scenario."""
        return min(max((at_ms - self.start_ms) / 1000 * self.speed, 0.0), self.duration_s)

    def label(self, at_ms: int) -> str:
        """Scenario time of a moment as h:mm:ss."""
        seconds = round(self.scenario_s(at_ms))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


class _View:
    """The whole view, as wide as the screen lets it be."""

    def __init__(self, picture: Picture, stage: Stage, clock: Clock, now_ms: int) -> None:
        self._of = (picture, stage, clock)
        self._now_ms = now_ms

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        picture, stage, clock = self._of
        figures = _figures(picture)
        room = options.max_width - _FRAME - _label_width(stage)
        beside = Measurement.get(console, options, figures).maximum + 2  # and what is between
        is_narrow = room - beside < _LEAST_CHART
        width = max(min(CHART_WIDTH, room if is_narrow else room - beside), 1)
        share = clock.scenario_s(self._now_ms) / clock.duration_s if clock.duration_s else 1.0
        done = round(share * width)
        head = Text.assemble(
            (clock.title, "bold"),
            f", {clock.speed:g} times as fast   ",
            f"{clock.label(self._now_ms)} of {clock.label(clock.start_ms + 10**12)}\n",
            ("━" * done, "cyan"),
            ("━" * (width - done), "dim"),
        )
        chart = _chart(picture, stage, clock, width)
        body: RenderableType = Group(chart, Text(), figures)
        if not is_narrow:
            body = Table.grid(padding=(0, 2))
            body.add_column(no_wrap=True)
            body.add_column(no_wrap=True)
            body.add_row(chart, figures)
        yield Panel(
            Group(head, Text(), body, Text(), _alerts(picture, stage, clock)),
            title="水尺 Shuichi",
            title_align="left",
            expand=False,
        )


def render(picture: Picture, stage: Stage, clock: Clock, now_ms: int) -> RenderableType:
    """The whole view."""
    return _View(picture, stage, clock, now_ms)


def _label(name: str, metres: float) -> str:
    return f" {metres * 100:.0f} cm {name}"


def _label_width(stage: Stage) -> int:
    return max((len(_label(*one)) for one in stage.thresholds_m.items()), default=0)


def _chart(picture: Picture, stage: Stage, clock: Clock, width: int) -> Text:
    columns: list[float | None] = [None] * width
    for at_ms, depth in picture.depths:
        share = clock.scenario_s(at_ms) / clock.duration_s if clock.duration_s else 0.0
        i = min(int(share * width), width - 1)
        columns[i] = max(depth, columns[i] or 0.0)
    top = max(_LEAST_TOP_M, *(1.05 * (c or 0.0) for c in columns))
    row_m = top / CHART_ROWS
    lines = {
        min(int(metres / row_m), CHART_ROWS - 1): (name, metres)
        for name, metres in stage.thresholds_m.items()
    }
    chart = Text()
    for row in reversed(range(CHART_ROWS)):
        name, metres = lines.get(row, ("", 0.0))
        for column in columns:
            filled = 0 if column is None else round((column / row_m - row) * 8)
            if filled > 0:
                chart.append(_EIGHTHS[min(filled, 8)], style=_water_colour(column or 0.0, stage))
            else:
                chart.append("╌" if name else " ", style=_COLOUR[Aspect(name)] if name else "")
        label = _label(name, metres) if name else ""
        style = _COLOUR[Aspect(name)] if name else ""
        chart.append(f"{label:<{_label_width(stage)}}\n", style=style)
    chart.append("▔" * width, style="dim")
    return chart


def _water_colour(depth: float, stage: Stage) -> str:
    if depth >= stage.thresholds_m["red"]:
        return "red"
    return "yellow" if depth >= stage.thresholds_m["amber"] else "blue"


def _figures(picture: Picture) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column(min_width=_FIGURE_WIDTH)  # so that the chart keeps its width
    lamp, confirmed = _lamp(picture)
    table.add_row("lamp", lamp)
    table.add_row("", confirmed)
    depth = picture.latest.get(Quantity.DEPTH)
    shown = "-" if depth is None or depth.value is None else f"{depth.value * 100:.0f} cm"
    table.add_row("depth", Text(shown, style="bold"))
    for quantity, label, factor, unit, decimals in _SHOWN:
        reading = picture.latest.get(quantity)
        value = None if reading is None else reading.value
        table.add_row(label, "-" if value is None else f"{value * factor:.{decimals}f} {unit}")
    table.add_row("", "")
    table.add_row("taken", f"{picture.taken} readings")
    table.add_row("stored", f"{picture.stored} readings")
    table.add_row("called", f"{sum(map(is_call, picture.alerts))} times")
    table.add_row("answered", f"{sum(one.counts for one in picture.answers)} times")
    return table


def _lamp(picture: Picture) -> tuple[Text, str]:
    """What should show, and whether it does."""
    state = picture.interlock
    if state is None:
        return Text("not known yet"), ""
    word = state.wanted.value.replace("_", " ").upper()
    confirmed = "read back" if state.confirmed is state.wanted else "not confirmed yet"
    return Text(f"● {word}", f"bold {_COLOUR[state.wanted]}"), confirmed


def is_call(message: Mapping[str, Any]) -> bool:
    """Whether a message asks for an answer."""
    return message["link"] is not None


def told(message: dict[str, Any], stage: Stage) -> str:
    """A message in a few words: to whom, and its title."""
    person = stage.people.get(message["to"])
    return f"{message['name']}{f' ({person.tier})' if person else ''}: {message['title']}"


def _alerts(picture: Picture, stage: Stage, clock: Clock) -> Text:
    """The last three things that were said, by the cloud or by people."""
    said = [
        (one["at_ms"], "▲" if is_call(one) else "▽", told(one, stage)) for one in picture.alerts
    ]
    said += [(one.at_ms, "✓", f"{one.who} answers") for one in picture.answers if one.counts]
    if not said:
        return Text("no alert\n\n", style="dim")
    lines = Text()
    for at_ms, sign, words in sorted(said)[-3:]:
        lines.append(f"{clock.label(at_ms)}  ")
        lines.append(f"{sign} ", style="red" if sign == "▲" else "green")
        lines.append(f"{words}\n")
    return lines


def line(picture: Picture, clock: Clock, now_ms: int) -> Text:
    """One line of the same, for where no screen is."""
    depth = picture.latest.get(Quantity.DEPTH)
    shown = "-" if depth is None or depth.value is None else f"{depth.value * 100:.0f} cm"
    lamp, confirmed = _lamp(picture)
    return Text.assemble(
        f"{clock.label(now_ms)}  depth {shown}  lamp ",
        lamp,
        f"  {confirmed}" if confirmed else "",
        f"  taken {picture.taken}  stored {picture.stored}"
        f"  called {sum(map(is_call, picture.alerts))}"
        f"  answered {sum(one.counts for one in picture.answers)}",
    )
