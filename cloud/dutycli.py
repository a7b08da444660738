"""`shuichi duty`: who is absent, who covers whom, while the service runs."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cloud import config, desk
from cloud.alerts import dutydesk, dutystore, dutytimes, dutyviews, dutywords, rosterchild
from cloud.alerts.dutychanges import Duty
from cloud.alerts.dutyorders import LONGEST_LIST, Absence, Cover, Made, Remove, Swap
from cloud.alerts.dutyviews import Row
from cloud.alerts.plan import Plan
from cloud.alerts.roster import MOST_BYTES, Roster
from cloud.alerts.rosterorders import Import
from cloud.cliparts import config_option, look, moment_at, plan_in_force, words
from cloud.desk import Operation
from configs.loader import UserError
from configs.text import for_terminal

by_option: Final = click.option("--by", required=True, callback=words, help="Who wants it.")
said_option: Final = click.option("--said", default="", callback=words, help="Why.")
from_option: Final = click.option(
    "--from", "begin", default="", metavar="TIME", help="From when on.  [default: now]"
)
on_option: Final = click.option(
    "--on", default="", metavar="DAYS", help="The duty that begins on 2026-07-03, or on A..B."
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group("duty")
def group() -> None:
    """Change who is on duty: at once, for running alerts too.

    TIME is local time of the plan: '2026-07-01 20:00', 2026-07-01 (as an end: to its midnight),
    20:00 (the next), or +12h, +90min, +3d.
    """


@group.command()
@config_option
@click.argument("contact")
@from_option
@click.option("--until", required=True, metavar="TIME", help="A date is meant as a whole.")
@by_option
@said_option
def absence(file: Path, contact: str, begin: str, until: str, by: str, said: str) -> None:
    """CONTACT is away, and is called only if nobody else of the area is left."""
    _ask(
        file, dutydesk.ABSENCE, Absence(contact=contact, begin=begin, until=until, by=by, said=said)
    )


@group.command()
@config_option
@click.argument("contact")
@click.option("--for", "covered", default="", metavar="CONTACT", help="Whose duty it takes.")
@click.option("--area", default="", help="Or the area for which it is on duty too.")
@click.option("--instead", is_flag=True, help="In place of those on duty in that area.")
@from_option
@click.option("--until", default="", metavar="TIME")
@on_option
@by_option
@said_option
def cover(file: Path, **given: Any) -> None:
    """CONTACT takes the duty of another contact, or is on duty for one more area."""
    _ask(file, dutydesk.COVER, Cover(**given))


@group.command()
@config_option
@click.argument("first", metavar="CONTACT")
@click.argument("second", metavar="CONTACT")
@from_option
@click.option("--until", default="", metavar="TIME")
@on_option
@by_option
@said_option
def swap(file: Path, **given: Any) -> None:
    """Two contacts take each other's duty, on some days or for some time."""
    _ask(file, dutydesk.SWAP, Swap(**given))


@group.command()
@config_option
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@by_option
def remove(file: Path, number: int, by: str) -> None:
    """The change NUMBER counts no more; its record stays."""
    _ask(file, dutydesk.REMOVE, Remove(number=number, by=by))


@group.command("list")
@config_option
@click.option("--all", "all_of_them", is_flag=True, help="Also what is over or was removed.")
@json_option
def list_(file: Path, all_of_them: bool, as_json: bool) -> None:
    """Print the changes: what, who made it and when, and whether it counts now."""
    setup = config.read_in_part(file)[0]
    plan = plan_in_force(setup)
    now_ms = moment_at(None, plan.zone)

    def work(connection: Any) -> list[Row]:
        if all_of_them:
            found = dutystore.recorded(connection, LONGEST_LIST)
        else:
            found = dutystore.read(connection, now_ms)
        return dutyviews.rows(plan, found, now_ms)

    found = look(setup, lambda state, _: state.run(work))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    for one in found:
        what = Text.assemble((str(one.number), "bold"), f"  {for_terminal(one.what)}")
        console.print(what, highlight=False)
        made = f"by {one.by}, {dutytimes.shown(one.made_ms, plan.zone)}, {one.how}"
        for fact in (one.stands, made, one.said):
            if fact:
                console.print(Padding(Text(for_terminal(fact)), (0, 0, 0, 4)))
    if not found:
        console.print("duty is as the plan has it")


@group.command("import")
@config_option
@click.argument("calendar", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would come of it.")
@by_option
def import_(file: Path, calendar: Path, dry_run: bool, by: str) -> None:
    """Bring the roster of an iCalendar file (.ics) into duty.

    Its people have duty as it says, in place of their windows, from its first moment to its last.
    The same calendar again takes the place of what it brought before.
    """
    setup = config.read_in_part(file)[0]
    plan = plan_in_force(setup)
    try:
        with calendar.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{calendar}: {error.strerror}") from None
    roster = rosterchild.read(content, plan, moment_at(None, plan.zone), calendar.name)
    for note in roster.notes:
        click.echo(f"{calendar}: left out: {for_terminal(note)}", err=True)
    order = Import(roster=roster, by=by, dry_run=dry_run)
    made = asyncio.run(desk.ask(setup, dutydesk.IMPORT, order))
    if dry_run:
        for line in _duties(plan, roster):
            click.echo(for_terminal(line))
        click.echo("nothing is changed: this would come of it")
    elif not made.lines:
        click.echo("nothing changes: it was imported before")
    show(made)


@group.command()
@config_option
@click.option("--contact", default="", help="The duty of this contact.")
@click.option("--area", default="", help="Or the duty of this area.")
@from_option
@click.option("--until", default="+31d", show_default=True, metavar="TIME")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A file.  [default: print]")
def export(
    file: Path, contact: str, area: str, begin: str, until: str, output: Path | None
) -> None:
    """Write duty as an iCalendar file (.ics), with all changes, for calendar programs."""
    from cloud.alerts import rosterexport  # long to import

    setup = config.read_in_part(file)[0]
    plan = plan_in_force(setup)
    now_ms = moment_at(None, plan.zone)
    wanted = dutyviews.asked_calendar(plan, contact, area, (begin, until), now_ms)
    work = partial(dutystore.read, since_ms=wanted.from_ms)
    changes = look(setup, lambda state, _: state.run(work))
    content = rosterexport.calendar(plan, Duty(changes), wanted)
    if output is None:
        click.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}") from None


def _duties(plan: Plan, roster: Roster) -> list[str]:
    """Each duty on a line, in order."""
    found = sorted(
        (begin_ms, end_ms, one.contact, one.area)
        for one in roster.duties
        for begin_ms, end_ms in one.spans
    )
    return [
        f"{dutytimes.shown(begin_ms, plan.zone)} to {dutytimes.shown(end_ms, plan.zone)}  "
        f"{dutywords.named(plan, contact)}, {dutywords.area_named(plan, area)}"
        for begin_ms, end_ms, contact, area in found
    ]


def _ask(file: Path, operation: Operation[Any, Made], order: msgspec.Struct) -> None:
    """Print what came of it."""
    show(asyncio.run(desk.ask(config.read_in_part(file)[0], operation, order)))


def show(made: Made) -> None:
    """Print what was changed, and what whoever did it should know."""
    for line in made.lines:
        click.echo(for_terminal(line))
    for note in made.notes:
        click.echo(f"note: {for_terminal(note)}")
