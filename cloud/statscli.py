"""`shuichi alert stats`: how the alerts of a month were answered."""

import csv
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from cloud import config
from cloud.alerts import everybody, keptplans, statistics
from cloud.alerts.statistics import Figures, Month
from cloud.cliparts import config_option, look
from cloud.state import State
from configs.loader import UserError
from configs.text import for_terminal

_HEADINGS: Final = (
    *("who", "called", "answered", "declined", "silent"),
    *("silent share", "to answer", "to result", "messages"),
)


@click.command("stats")
@config_option
@click.option("--month", help="Such as 2026-11.  [default: this month]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    help="Of the output.",
)
@click.option("--exercises", is_flag=True, help="Of exercises, not of real alerts.")
def command(file: Path, month: str | None, form: str, exercises: bool) -> None:
    """Print how the alerts of a month were answered: by tier and by person."""

    async def ask(database: State, _: Any) -> Month:
        plan = await database.run(keptplans.last_good) or everybody.plan([])
        wanted = month or statistics.this_month(time.time_ns() // 1_000_000, plan.zone)
        return await database.run(
            partial(statistics.of_month, plan=plan, month=wanted, exercises=exercises)
        )

    try:
        found = look(config.read_in_part(file)[0], ask)
    except ValueError as error:
        raise UserError(f"--month: {error}") from None
    if form == "json":
        click.echo(msgspec.json.encode(found))
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(("kind", *_HEADINGS))
        writer.writerows(_rows(found))
    else:
        _show(found)


def _rows(found: Month) -> Iterator[tuple[object, ...]]:
    for kind, some in (("all", [found.total]), ("tier", found.tiers), ("person", found.people)):
        for one in some:
            share = one.silent_share
            yield (
                *(kind, one.name, one.called, one.answered, one.declined, one.silent),
                "" if share is None else f"{share:.3f}",
                *(_seconds(one.to_answer_s), _seconds(one.to_result_s), one.messages),
            )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _show(found: Month) -> None:
    console = Console()
    console.print(
        f"{found.month}: {found.alerts} alerts, {found.unanswered} never answered, "
        f"{found.false_alarms} false alarms, {found.messages} messages",
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


def _cells(one: Figures) -> Iterator[str]:
    yield for_terminal(one.name)
    yield from map(str, (one.called, one.answered, one.declined, one.silent))
    yield "" if one.silent_share is None else f"{one.silent_share:.0%}"
    yield _span(one.to_answer_s)
    yield _span(one.to_result_s)
    yield str(one.messages)


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
