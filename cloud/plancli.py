"""`shuichi plan`: check a response plan, rehearse it, and bring people into it."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloud import config, planlifecli
from cloud.alerts import dutystore, dutyviews, people, plan, plancheck, simulate
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.placeholders import named_values, values_option
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.simulate import Answering, Line
from cloud.cliparts import look, moment_at
from cloud.config import Setup
from configs import loader, tomlfile
from configs.loader import ConfigError, Fault, UserError, suggest
from configs.numbers import Count
from wire.messages import Level

EXAMPLE: Final = loader.HERE / "plans" / "example-city.toml"
_LONGEST_MIN: Final = 1440
_TEXTS: Final = frozenset({"raise", "climb"})
"""The messages that are shown in full."""

plan_option = click.option(
    "--plan",
    "file",
    type=click.Path(path_type=Path),
    default=EXAMPLE,
    help="The plan.  [default: the example city]",
)


@click.group("plan")
def group() -> None:
    """Check a response plan, rehearse it, bring people into it."""


planlifecli.add(group)


@group.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--config",
    "cloud_file",
    type=click.Path(path_type=Path),
    help="The cloud's config, to see whether its channels and warnings have all that they need.",
)
@click.option("--json", "as_json", is_flag=True, help="One list for machines.")
def check(files: tuple[Path, ...], cloud_file: Path | None, as_json: bool) -> None:
    """Find what a plan lacks.

    Exit code 1 if there are findings, 2 if a plan cannot be read.
    """
    setup = config.read(cloud_file) if cloud_file else None
    configured = setup.config if setup else None
    channels = configured.channel if configured else None
    published = configured is not None and configured.cap is not None
    unreadable: list[str] = []
    found: list[tuple[Path, Fault]] = []
    for file in files:
        try:
            checked = loader.load(file, Plan)  # references and loops are findings here
        except ConfigError as error:
            unreadable.append(str(error))
            continue
        today = datetime.now(checked.zone).date()
        faults = plancheck.findings(checked, channels, str(cloud_file), today, published=published)
        if setup is not None:
            faults += _changes_left_out(setup, checked)
        found += [(file, fault) for fault in faults]
        if not faults and not as_json:
            click.echo(
                f"{file}: nothing is missing; {len(checked.site)} sites, {len(checked.contact)} "
                f"contacts, {len(checked.area)} areas, version {checked.version}"
            )
    if as_json:
        rows = [{"file": str(file), **fault._asdict()} for file, fault in found]
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for file, fault in found:
            click.echo(f"{file}: {fault.key}: {fault.problem}")
    if unreadable:
        raise UserError("\n".join(unreadable))
    sys.exit(1 if found else 0)


def _changes_left_out(setup: Setup, checked: Plan) -> list[Fault]:
    """The changes of duty in the state, if there is one yet, that the plan cannot follow."""
    if isinstance(setup.database, Path) and not setup.database.exists():
        return []
    now_ms = moment_at(None, checked.zone)
    try:
        changes = look(setup, lambda state, _: state.run(partial(dutystore.read, since_ms=now_ms)))
    except UserError as error:
        click.echo(f"changes of duty were not looked at: {error}", err=True)
        return []
    return dutyviews.left_out(checked, changes)


@group.command("simulate")
@plan_option
@click.option("--site", required=True)
@click.option("--hazard", required=True, type=click.Choice([one.value for one in Hazard]))
@click.option("--level", required=True, type=click.Choice([one.name.lower() for one in Level]))
@click.option("--stage", type=click.Choice([one.value for one in Stage]), default=Stage.NOW.value)
@click.option("--at", metavar="TIME", help="In the plan's time zone.  [default: now]")
@click.option("--answer", "answers", multiple=True, metavar="TIER@MIN", help="May be repeated.")
@values_option
@click.option("--minutes", type=Count(1, 1440), default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="With all texts, for machines.")
def simulate_plan(
    file: Path,
    site: str,
    hazard: str,
    level: str,
    stage: str,
    at: str | None,
    answers: tuple[str, ...],
    values: tuple[str, ...],
    minutes: int,
    as_json: bool,
) -> None:
    """Show minute by minute who would be told what, by which channel. Nobody is told."""
    rehearsed = plan.read(file)
    if site not in rehearsed.site:
        raise UserError(f"--site {site}: is not in {file}{suggest(site, rehearsed.site)}")
    at_ms = moment_at(at, rehearsed.zone)
    lines = simulate.run(
        rehearsed,
        site,
        Hazard(hazard),
        Level[level.upper()],
        at_ms=at_ms,
        stage=Stage(stage),
        answers=[_answering(text) for text in answers],
        lasts_ms=minutes * simulate.MINUTE_MS,
        values=named_values(values),
    )
    if as_json:
        click.echo(json.dumps([_row(line, at_ms) for line in lines], ensure_ascii=False))
    else:
        _show(rehearsed, lines, at_ms)


@group.command("import")
@click.argument("contacts", type=click.Path(path_type=Path))
@click.option("--plan", "file", required=True, type=click.Path(path_type=Path), help="The plan.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def import_contacts(contacts: Path, file: Path, dry_run: bool) -> None:
    """Bring the people of a CSV file into a plan. Comments in the plan stay."""
    with tomlfile.locked(file):
        document = tomlfile.load(file)
        before = plan.read(file)
        listed, notes = people.read(contacts, before)
        merged = people.merge(document, before, listed)
        if merged.added or merged.changed:
            tomlfile.save(file, document, plan.read, dry_run=dry_run)
    for note in (*notes, *merged.notes):
        click.echo(f"{contacts}: {note}", err=True)
    would = "would be " if dry_run else ""
    click.echo(f"{file}: {len(merged.added)} {would}added, {len(merged.changed)} {would}changed")


def _show(rehearsed: Plan, lines: Sequence[Line], at_ms: int) -> None:
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("min", justify="right", no_wrap=True)
    table.add_column("time", no_wrap=True)
    for heading in ("tier", "who", "by", "what"):
        table.add_column(heading, no_wrap=heading == "tier", overflow="fold")
    before = -1
    for told, channels in _together(lines):
        new = told.after_ms != before
        before = told.after_ms
        area = rehearsed.area.get(told.area)
        contact = rehearsed.contact.get(told.contact)
        table.add_row(
            f"{told.after_ms / simulate.MINUTE_MS:g}" if new else "",
            f"{_local(at_ms + told.after_ms, rehearsed):%H:%M:%S}" if new else "",
            area.kind.value if area else "",
            contact.name if contact else "",
            ", ".join(channels),
            _what(told, rehearsed, at_ms),
            style=None if contact else "bold",
        )
    console.print(table)
    shown: set[tuple[str, str]] = set()
    for line in lines:
        if line.kind in _TEXTS and (line.area, line.contact) not in shown:
            shown.add((line.area, line.contact))
            name = rehearsed.contact[line.contact].name
            console.print(Text.assemble((name, "bold"), f": {line.title}\n  {line.text}\n"))


def _together(lines: Sequence[Line]) -> Iterator[tuple[Line, list[str]]]:
    """One line for what goes by several channels at once, without what the rest says already."""
    told = [line for line in lines if line.contact or line.title]
    for _, same in groupby(told, key=lambda one: one._replace(channel="")):
        first, *others = same
        yield first, [one.channel for one in (first, *others) if one.channel]


def _what(line: Line, rehearsed: Plan, at_ms: int) -> str:
    if not line.contact:
        return f"{line.kind}: {line.title}"
    words = [line.kind]
    if line.answer_by_ms is not None:
        in_time = line.answer_by_ms > at_ms + line.after_ms
        words.append(f"{_local(line.answer_by_ms, rehearsed):by %H:%M}" if in_time else "overdue")
    if line.off_duty:
        words.append("nobody on duty")
    return ", ".join(words)


def _row(line: Line, at_ms: int) -> dict[str, object]:
    return {"at_ms": at_ms + line.after_ms, **line._asdict()}


def _local(at_ms: int, rehearsed: Plan) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(rehearsed.zone)


def _answering(text: str) -> Answering:
    tier, _, minutes = text.partition("@")
    if tier not in list(Tier):
        raise UserError(f"--answer {text}: {tier!r} is not one of {', '.join(Tier)}")
    try:
        after_min = float(minutes)
    except ValueError:
        after_min = math.nan
    if not 0 <= after_min <= _LONGEST_MIN:
        raise UserError(
            f"--answer {text}: is not written as {tier}@7, with at most {_LONGEST_MIN} minutes"
        )
    return Answering(Tier(tier), round(after_min * simulate.MINUTE_MS))
