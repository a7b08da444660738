"""`shuichi alert exercise`: run the response plan for real, at one site, or by a script."""

import asyncio
import csv
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cloud import config, desk, drillshow, service
from cloud.alertparts import LEVELS, demand, json_option
from cloud.alerts import demands, drillcheck, drilldesk, drills, drillscore, dutystore, plan
from cloud.alerts.demands import Exercise
from cloud.alerts.drillcheck import Setting
from cloud.alerts.drilldesk import Start, Stop
from cloud.alerts.drillscore import Score
from cloud.alerts.drillscript import Script
from cloud.alerts.dutychanges import Duty
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.placeholders import named_values, values_option
from cloud.cliparts import config_option, look, moment_at, plan_in_force, when
from cloud.config import Setup
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from configs import loader
from configs.loader import UserError
from wire.messages import Level

LOOK_S: Final = 0.5
"""Between looks at an exercise that runs."""

LATE_MS: Final = 30_000
"""What is overdue by more is said."""

MOST_LISTED: Final = 100

GOES_ON: Final = (
    "the exercise goes on in the service: `shuichi alert exercise watch` shows it, "
    "`shuichi alert exercise stop` ends it"
)

_INTERRUPTED: Final = 130
"""As a shell says it of Ctrl-C."""


@click.group(invoke_without_command=True)
@config_option
@click.option("--site")
@click.option("--hazard", type=click.Choice([str(one) for one in Hazard]))
@click.option("--level", type=click.Choice(LEVELS), help="How bad it is.")
@click.option("--stage", type=click.Choice([str(one) for one in Stage]), default="now")
@values_option
@click.option("--end", is_flag=True, help="The exercise is over.")
@click.pass_context
def exercise(
    context: click.Context,
    /,
    file: Path,
    site: str | None,
    hazard: str | None,
    **given: Any,
) -> None:
    """Run the response plan for real, every message marked as an exercise (演练): at one site, or,
    by the commands, over several sites from a script."""
    if context.invoked_subcommand is not None:
        sources = map(context.get_parameter_source, context.params)
        if ParameterSource.COMMANDLINE in sources:
            raise UserError(f"options of {context.invoked_subcommand} stand behind it")
        return
    if site is None or hazard is None:
        raise UserError("give --site and --hazard, or a command: run, watch, score, stop, list")
    level = given["level"]
    if (level is None) != given["end"]:
        raise UserError("give either --level or --end")
    wanted = None if level is None else Level[level.upper()]
    values = named_values(given["values"])
    demand(
        file,
        demands.EXERCISE,
        Exercise(site, Hazard(hazard), wanted, Stage(given["stage"]), values),
    )


@exercise.command()
@config_option
@click.argument("script_file", metavar="SCRIPT", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask before people are called.")
@click.option("--dry-run", is_flag=True, help="Show what would happen, and call nobody.")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    help="For --dry-run: a plan.  [default: the one in force]",
)
@click.option("--at", metavar="TIME", help="For --dry-run: when it begins.  [default: now]")
@click.option("--detach", is_flag=True, help="Only begin it; `watch` shows how it goes.")
@json_option
def run(file: Path, script_file: Path, **given: Any) -> None:
    """Run an exercise over several sites from a script, and print its score.

    Exit code 0: what was expected was met; 1: not all of it; 2: the script has faults, and nobody
    was called. It runs in the service: if this command is interrupted, it goes on.
    """
    if not given["dry_run"] and (given["plan_file"] or given["at"]):
        raise UserError("--plan and --at are for --dry-run")
    setting = _setting(file, given["plan_file"], given["at"])
    script = loader.load(script_file, Script, lambda one: drillcheck.check(one, setting))
    entries = drillcheck.timetable(script, setting)
    people = drillcheck.disturbed(entries, setting.plan)
    if given["dry_run"]:
        if given["as_json"]:
            rows = [_row(entry, setting) for entry in entries]
            disturbed = [one._asdict() for one in people]
            click.echo(msgspec.json.encode({"people": disturbed, "timetable": rows}))
            return
        console = Console()
        console.print(drillshow.title(script.title))
        console.print(drillshow.timetable(entries, setting.plan, setting.at_ms))
        console.print(drillshow.people(people))
        console.print("as if nobody answered; nobody was called", highlight=False)
        return
    console = Console(stderr=True)
    console.print(drillshow.title(script.title))
    console.print(drillshow.people(people))
    if not given["yes"]:
        click.confirm("Call these people for this exercise?", abort=True, err=True)
    setup = config.read_in_part(file)[0]
    order = Start(script.model_dump_json(), setting.plan.version, desk.me())
    done = asyncio.run(desk.ask(setup, drilldesk.START, order))
    if given["detach"]:
        click.echo(done.text)
        return
    _follow(setup, done.text, as_json=given["as_json"])


@exercise.command()
@config_option
@click.argument("name", metavar="[ID]", required=False)
@json_option
def watch(file: Path, name: str | None, as_json: bool) -> None:
    """Show how an exercise goes, and its score at the end.  [default: the last one]"""
    _follow(config.read_in_part(file)[0], name, as_json=as_json)


@exercise.command()
@config_option
@click.argument("name", metavar="[ID]", required=False)
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
def score(file: Path, name: str | None, form: str) -> None:
    """Print the score of an exercise: who answered in what time, and whether that is what was
    expected.  [default: of the last one]"""
    found = look(config.read_in_part(file)[0], lambda state, _: state.run(partial(_score, name)))
    if form == "json":
        click.echo(msgspec.json.encode(found))
    elif form == "csv":
        csv.writer(sys.stdout).writerows(drillshow.rows(found))
    else:
        drillshow.show(Console(), found)


@exercise.command()
@config_option
def stop(file: Path) -> None:
    """End the exercise that runs, at once; whoever was called for it is told."""
    demand(file, drilldesk.STOP, Stop(desk.me()))


@exercise.command("list")
@config_option
@json_option
def list_(file: Path, as_json: bool) -> None:
    """Print the exercises that were run from a script, the newest first."""
    found = look(
        config.read_in_part(file)[0],
        lambda state, _: state.run(lambda c: drills.newest(c, MOST_LISTED)),
    )
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    for one in found:
        over = "runs" if one.end is None else str(one.end)
        title = drillshow.title(one.read_script().title)
        console.print(Text.assemble(f"{one.id}  {when(one.began_ms)}  ", title, f": {over}"))
    if not found:
        console.print("no exercise was run from a script")


def _setting(file: Path, plan_file: Path | None, at: str | None) -> Setting:
    """The plan, and duty as it has been changed, of a moment; now unless it is said."""
    if plan_file is not None:
        read = plan.read(plan_file)
        return Setting(read, Duty(), moment_at(at, read.zone))
    setup = config.read_in_part(file)[0]
    in_force = plan_in_force(setup)
    at_ms = moment_at(at, in_force.zone)
    changes = look(setup, lambda state, _: state.run(lambda c: dutystore.read(c, at_ms)))
    return Setting(in_force, Duty(changes), at_ms)


def _score(name: str | None, connection: Any) -> Score:
    if name is None:
        found = drills.of(connection) or next(iter(drills.newest(connection, 1)), None)
    else:
        found = drills.of(connection, name)
    if found is None:
        what = "no exercise was run from a script" if name is None else f"{name}: is no exercise"
        raise UserError(f"{what}; `shuichi alert exercise list`")
    return drillscore.of(connection, found, time.time_ns() // 1_000_000)


def _follow(setup: Setup, name: str | None, *, as_json: bool) -> None:
    """Show how it goes until it is over, then its score. Exit code 1 if not all was met."""
    console = Console()
    try:
        found = _watched(setup, lambda state: _until_over(state, name, console, seen=not as_json))
    except KeyboardInterrupt:
        click.echo(GOES_ON, err=True)
        raise SystemExit(_INTERRUPTED) from None
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        drillshow.show(console, found)
    raise SystemExit(0 if found.passed else 1)


def _watched(setup: Setup, work: Callable[[State], Awaitable[Score]]) -> Score:
    async def ask() -> Score:
        async with service.opened(setup, read_only=True) as (state, _):
            return await work(state)

    try:
        return asyncio.run(ask())
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None


async def _until_over(state: State, name: str | None, console: Console, *, seen: bool) -> Score:
    found = await state.run(partial(_score, name))
    with Live(console=console, transient=True, auto_refresh=False) as live:
        shown, is_late = 0, False
        while found.ended_ms is None:
            late_ms = time.time_ns() // 1_000_000 - (found.due_ms or found.ends_by_ms)
            if late_ms > drills.AWAY_MS:
                raise UserError(f"{found.id}: no service carries it out; it ends when one starts")
            if late_ms > LATE_MS and not is_late:
                click.echo("it is late: does the service run?", err=True)
            is_late = late_ms > LATE_MS
            if seen and console.is_terminal:
                picture = drillshow.progress(found, time.time_ns() // 1_000_000)
                live.update(picture, refresh=True)
            elif seen:
                for one in found.events[shown:]:
                    console.print(drillshow.event(one))
                shown = len(found.events)
            await asyncio.sleep(LOOK_S)
            found = await state.run(partial(_score, found.id))
    return found


def _row(entry: drillcheck.Entry, setting: Setting) -> dict[str, object]:
    """A line of the timetable, for machines."""
    step, line = entry.step, entry.line
    return {
        "at_ms": setting.at_ms + entry.after_ms,
        "after_ms": entry.after_ms,
        "site": entry.site,
        "hazard": str(entry.hazard),
        "step": None if step is None else step.model_dump(mode="json"),
        "line": None if line is None else line._asdict(),
    }
