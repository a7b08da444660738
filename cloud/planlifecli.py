"""`shuichi plan reload`, `diff`, `versions` and `who`: the life of a response plan."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from cloud import config, desk
from cloud.alerts import keptplans, plan, plandiff, planlife
from cloud.alerts.plan import Plan
from cloud.cliparts import config_option, look, moment_at, when
from configs.loader import UserError, suggest
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
    help="A plan.  [default: the one in force]",
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
    """Print who is on duty."""
    asked = plan.read(plan_file) if plan_file is not None else _kept(file, None)
    at_ms = moment_at(at, asked.zone)
    areas = _areas(asked, area, site)
    found = [
        {
            "area": name,
            "name": asked.area[name].name,
            "on_duty": asked.on_duty(name, at_ms),
            "members": asked.members(name),
        }
        for name in areas
    ]
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(asked.zone)
    console.print(f"{moment:%Y-%m-%d %H:%M} ({asked.timezone})", highlight=False)
    for name in areas:
        on_duty = asked.on_duty(name, at_ms)
        if on_duty:
            people = ", ".join(asked.contact[one].name for one in on_duty)
        elif asked.members(name):
            people = "nobody: all of the area would be called"
        else:
            people = "nobody belongs to it"
        text = Text.assemble(
            (for_terminal(asked.area[name].name), "bold"), f": {for_terminal(people)}"
        )
        console.print(text, highlight=False)


def _areas(asked: Plan, area: str | None, site: str | None) -> tuple[str, ...]:
    if area is not None and site is not None:
        raise UserError("give either --area or --site")
    if area is not None:
        if area not in asked.area:
            raise UserError(f"{area!r} is no area of the plan{suggest(area, asked.area)}")
        return (area,)
    if site is not None:
        if site not in asked.site:
            raise UserError(f"{site!r} is no site of the plan{suggest(site, asked.site)}")
        return asked.ladder(site)
    return tuple(asked.area)


def _kept(file: Path, version: str | None) -> Plan:
    """The plan in force, or one that was, from the state."""
    setup = config.read_in_part(file)[0]
    if version is not None:
        return look(setup, lambda state, _: state.run(partial(planlife.of, version=version)))
    found = look(setup, lambda state, _: state.run(keptplans.last_good))
    if found is None:
        raise UserError("no plan is in force: name one")
    return found
