"""`shuichi plan reload`, `diff`, `versions` and `who`: the life of a response plan."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cloud import config, desk
from cloud.alerts import dutystore, dutytimes, dutyviews, plan, plandiff, planlife
from cloud.alerts.dutychanges import Duty
from cloud.alerts.dutyviews import AreaDuty
from cloud.alerts.plan import Plan
from cloud.cliparts import config_option, look, moment_at, plan_in_force, when
from configs.loader import UserError
from configs.text import for_terminal

json_option: Final = click.option("--json", "as_json", is_flag=True, help="For machines.")


def add(group: click.Group) -> None:
    """Add the commands."""
    for command in (reload, diff, versions, who):
        group.add_command(command)


@click.command()
@config_option
def reload(file: Path) -> None:
    """Have the running service read its plan again.

    A plan with faults changes nothing, and exits with 2.
    """
    setup = config.read_in_part(file)[0]
    done = asyncio.run(desk.ask(setup, planlife.RELOAD, planlife.Reload()))
    click.echo(for_terminal(done.text))


@click.command()
@config_option
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Another file.")
@click.option("--version", help="One that was in force, by the beginning of its version.")
@json_option
def diff(
    file: Path, plan_file: Path, against: Path | None, version: str | None, as_json: bool
) -> None:
    """Print what PLAN changes; by default of the plan that is in force. Exit code 1: something."""
    if against is not None and version is not None:
        raise UserError("give either --against or --version")
    after = plan.read(plan_file)
    before = plan.read(against) if against is not None else _kept(file, version)
    found = plandiff.lines(before, after)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        for line in found:
            click.echo(for_terminal(line))
        if not found:
            click.echo("nothing changes")
    raise SystemExit(1 if found else 0)


@click.command()
@config_option
@json_option
def versions(file: Path, as_json: bool) -> None:
    """Print the plans that were in force, the newest first."""
    found = look(config.read_in_part(file)[0], lambda state, _: state.run(planlife.versions))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    for one in found:
        since = "" if one.used_ms is None else when(one.used_ms, seconds=False)
        mark = "  in force" if one.in_force else ""
        text = Text.assemble((one.version, "bold"), f"  {since}  {for_terminal(one.title)}{mark}")
        console.print(text, highlight=False)
    if not found:
        console.print("no plan has been in force")


@click.command()
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    help="A plan, without changes of duty.  [default: the one in force]",
)
@config_option
@click.option("--at", help="When, such as '2026-07-01 03:00'.  [default: now]")
@click.option("--area", help="Of this area only.")
@click.option("--site", help="Of the areas that are called for this site, nearest first.")
@json_option
def who(
    plan_file: Path | None,
    file: Path,
    at: str | None,
    area: str | None,
    site: str | None,
    as_json: bool,
) -> None:
    """Print who is on duty and why, and who is away. `shuichi duty` changes it."""
    if plan_file is not None:
        asked = plan.read(plan_file)
        at_ms, changes = moment_at(at, asked.zone), []
    else:
        setup = config.read_in_part(file)[0]
        asked = plan_in_force(setup)
        at_ms, now_ms = moment_at(at, asked.zone), moment_at(None, asked.zone)
        work = partial(dutystore.as_of, at_ms=at_ms, now_ms=now_ms)
        changes = look(setup, lambda state, _: state.run(work))
    areas = dutyviews.asked_areas(asked, area, site)
    found = dutyviews.who(asked, Duty(changes), areas, at_ms)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    console.print(f"{dutytimes.shown(at_ms, asked.zone)} ({asked.timezone})", highlight=False)
    for one in found:
        _show(console, one, asked)


def _show(console: Console, one: AreaDuty, asked: Plan) -> None:
    heading = Text.assemble((for_terminal(one.name), "bold"), f" ({one.area})")
    console.print(heading, highlight=False)
    lines = [f"{person.name} ({person.contact}): {person.why}" for person in one.people]
    if not lines:
        names = ", ".join(asked.contact[contact].name for contact in one.called)
        lines = [f"nobody: a call reaches {names}" if names else "nobody belongs to it"]
    lines += [f"away: {away.name} ({away.contact}), {away.why}" for away in one.away]
    for line in lines:
        console.print(Padding(Text(for_terminal(line)), (0, 0, 0, 4)), highlight=False)


def _kept(file: Path, version: str | None) -> Plan:
    """The plan in force, or one that was, from the state."""
    setup = config.read_in_part(file)[0]
    if version is not None:
        return look(setup, lambda state, _: state.run(partial(planlife.of, version=version)))
    return plan_in_force(setup)
