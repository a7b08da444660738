"""`shuichi alert stats`: how the alerts of a month were answered."""

import csv
import io
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from cloud import config
from cloud.alerts import everybody, keptplans, reportpage, statistics, statsreport
from cloud.alerts.statistics import Figures, Month
from cloud.channels import Language
from cloud.cliparts import config_option, look, put
from cloud.state import State
from configs.loader import UserError
from configs.text import for_terminal

_FORMS: Final = ("table", "csv", "json", "md", "html")

_COLUMNS: Final = (
    *("kind", "who", "called", "answered", "declined", "silent"),
    *("silent share", "to answer", "to result", "messages"),
    *("contact", "left", "relieved", "answers", "worst answer"),
    *("results", "worst result", "false alarms"),
)
"""Of CSV; times in s."""

_HEADINGS: Final = (
    *("who", "called", "answered", "another first", "declined", "silent"),
    *("silent share", "to answer", "to result", "false", "messages"),
)


class _Asked(NamedTuple):
    """The month, and the plan's language and time zone."""

    month: Month
    language: Language
    zone: ZoneInfo


@click.command("stats")
@config_option
@click.option("--month", help="Such as 2026-11.  [default: this month]")
@click.option("--format", "form", type=click.Choice(_FORMS), help="[default: by FILE, else table]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file, not the screen.",
)
@click.option("--language", type=click.Choice(["zh", "en"]), help="Of md and html.")
@click.option("--exercises", is_flag=True, help="Of exercises, not of real alerts.")
def command(
    file: Path,
    month: str | None,
    form: str | None,
    output: Path | None,
    language: Language | None,
    exercises: bool,
) -> None:
    """Print how the alerts of a month were answered: by tier and by person. A page for a phone and
    for paper: `-o november.html`."""

    async def ask(database: State, _: Any) -> _Asked:
        plan = await database.run(keptplans.last_good) or everybody.plan([])
        wanted = month or statistics.this_month(time.time_ns() // 1_000_000, plan.zone)
        found = await database.run(
            partial(statistics.of_month, plan=plan, month=wanted, exercises=exercises)
        )
        return _Asked(found, plan.language, plan.zone)

    try:
        asked = look(config.read_in_part(file)[0], ask)
    except ValueError as error:
        raise UserError(f"--month: {error}") from None
    found = asked.month
    if form is None:
        suffix = output.suffix.removeprefix(".") if output is not None else ""
        form = suffix if suffix in _FORMS else "table"
    if form in ("md", "html"):
        tongue = language or asked.language
        document = statsreport.build(found, tongue, asked.zone, exercises=exercises)
        write = reportpage.html if form == "html" else reportpage.markdown
        text = write(document)
    elif form == "json":
        text = msgspec.json.encode(found).decode() + "\n"
    elif form == "csv":
        text = _csv(found)
    else:
        text = _table(found, sys.stdout.isatty() and output is None)
    put(text, output)


def _csv(found: Month) -> str:
    made = io.StringIO()
    writer = csv.writer(made)
    writer.writerow(_COLUMNS)
    for kind, some in (("all", [found.total]), ("tier", found.tiers), ("person", found.people)):
        for one in some:
            share = one.silent_share
            writer.writerow(
                (
                    *(kind, one.name, one.called, one.answered, one.declined, one.silent),
                    "" if share is None else f"{share:.3f}",
                    *(_seconds(one.to_answer_s), _seconds(one.to_result_s), one.messages),
                    *(one.contact, "yes" if one.left else "", one.relieved),
                    *(one.answers, _seconds(one.worst_answer_s)),
                    *(one.results, _seconds(one.worst_result_s), one.false_alarms),
                )
            )
    return made.getvalue()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _table(found: Month, on_screen: bool) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=on_screen, width=None if on_screen else 120
    )
    each = found.messages_per_alert
    per_alert = "" if each is None else f" ({each:.1f} an alert)"
    console.print(
        f"{found.month}: {found.alerts} alerts, {found.unanswered} never answered, "
        f"{found.false_alarms} false alarms, {found.messages} messages{per_alert}",
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if place == 0 else "right")
    for some in (found.tiers, found.people, [found.total]):
        for one in some:
            table.add_row(*_cells(one))
        table.add_section()
    console.print(table)
    console.print("Times: median, worst (of how many).", highlight=False)
    made = console.file
    assert isinstance(made, io.StringIO)
    return made.getvalue()


def _cells(one: Figures) -> Iterator[str]:
    yield for_terminal(one.name) + (" (left)" if one.left else "")
    yield from map(str, (one.called, one.answered, one.relieved, one.declined, one.silent))
    yield "" if one.silent_share is None else f"{one.silent_share:.0%}"
    yield _times(one.to_answer_s, one.worst_answer_s, one.answers)
    yield _times(one.to_result_s, one.worst_result_s, one.results)
    yield from map(str, (one.false_alarms, one.messages))


def _times(middle: float | None, worst: float | None, count: int) -> str:
    if middle is None or worst is None:
        return ""
    return f"{_span(middle)}, {_span(worst)} ({count})"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
