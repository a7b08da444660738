"""`shuichi alert`: what is open, who was called, who has answered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cloud import holdcli
from cloud.alertparts import LEVELS, demand, json_option, read
from cloud.alerts import demands, views
from cloud.alerts.alarm import Status
from cloud.alerts.byhand import Demand, Raise
from cloud.alerts.demands import Answer, Done
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.reportcli import report_command
from cloud.alerts.views import AlertView, Line
from cloud.cliparts import config_option, moment, when, words
from cloud.desk import Operation
from cloud.drillcli import exercise
from cloud.statscli import command as stats_command
from cloud.testcli import test_command, tests_command
from configs.loader import UserError
from configs.text import for_terminal
from wire.messages import Level

_STYLES: Final = {"red": "bold red", "orange": "dark_orange", "yellow": "yellow", "blue": "blue"}


@click.group()
def alert() -> None:
    """What is open, who was called, who has answered; answer it, or hold it back."""


@alert.command("list")
@config_option
@click.option("--all", "all_of_them", is_flag=True, help="Also those that are over.")
@json_option
def list_(file: Path, all_of_them: bool, as_json: bool) -> None:
    """Print the open alerts, the worst first. Exit code 1 if somebody has yet to answer one."""
    found = read(file, lambda c: views.alerts(c, all_of_them=all_of_them))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        console = Console()
        for one in found:
            _show_alert(console, one)
        if not found:
            console.print("no alert is open")
    unanswered = any(one.phase == "ringing" or one.status == Status.RETURNED for one in found)
    raise SystemExit(1 if unanswered else 0)


@alert.command()
@config_option
@click.argument("name", metavar="ALERT")
@json_option
def show(file: Path, name: str, as_json: bool) -> None:
    """Print how an alert, or an incident, has gone: each line of its timeline."""
    lines = read(file, lambda c: views.timeline(c, alert=name) or views.timeline(c, incident=name))
    if not lines:
        raise UserError(f"{name}: there is no such alert or incident; `shuichi alert list --all`")
    if as_json:
        click.echo(msgspec.json.encode(lines))
    else:
        _show_lines(Console(), lines)


@alert.command()
@config_option
@click.argument("name", metavar="ALERT")
@click.option("--by", required=True, callback=words, help="Who answers.")
@click.option("--said", default="", callback=words, help="What was said.")
def ack(file: Path, name: str, by: str, said: str) -> None:
    """Answer an alert: somebody acts. The calls end."""
    demand(file, demands.ANSWER, Answer(name, by, said))


@alert.command("raise")
@config_option
@click.argument("site")
@click.argument("hazard", type=click.Choice([str(one) for one in Hazard]))
@click.option("--level", type=click.Choice(LEVELS), required=True, help="How bad it is.")
@click.option("--stage", type=click.Choice([str(one) for one in Stage]), default="now")
@click.option("--by", required=True, callback=words, help="Who reports it.")
@click.option(
    "--said", required=True, callback=words, help="What was seen; all who are called read it."
)
def raise_(file: Path, site: str, hazard: str, level: str, stage: str, by: str, said: str) -> None:
    """Raise an alert that no sensor has seen: "the village phoned". Prints its id."""
    given = Raise(site, Hazard(hazard), Level[level.upper()], by, said, Stage(stage))
    demand(file, demands.RAISE, given)


def _by_hand(
    name: str,
    operation: Operation[Demand, Done],
    explanation: str,
    said: str,
    *,
    whom: bool = False,
    is_needed: bool = False,
) -> None:
    """Add a command that does something to an alert. `said` explains its text, which may be needed;
    with `whom` it is about a contact."""

    def command(file: Path, name: str, by: str, said: str = "", contact: str = "") -> None:
        demand(file, operation, Demand(name, by, said, contact))

    command.__doc__ = explanation
    default = None if is_needed else ""
    text = click.option("--said", required=is_needed, default=default, callback=words, help=said)
    command = text(command)
    command = click.option("--by", required=True, callback=words, help="Who wants it.")(command)
    if whom:
        command = click.argument("contact", metavar="CONTACT")(command)
    command = click.argument("name", metavar="ALERT")(command)
    alert.command(name)(config_option(command))


_by_hand("escalate", demands.CLIMB, "Call the next area now.", "Why, for the timeline.")
_by_hand("add", demands.ADD, "Call one more person of the plan.", "Why.", whom=True)
_by_hand(
    "handover",
    demands.ADD,
    "Call the person who is to take over; they do by answering.",
    "Why.",
    whom=True,
)
_by_hand(
    "unack",
    demands.TAKE_BACK,
    "Take an answer back: people are called again.",
    "Why.",
    is_needed=True,
)
_by_hand("note", demands.NOTE, "Write something into the timeline.", "What.", is_needed=True)
_by_hand(
    "resolve",
    demands.RESOLVE,
    "What was raised by hand is over; an unanswered alert that is over ends.",
    "What came of it.",
)


holdcli.add(alert)
alert.add_command(report_command)
alert.add_command(stats_command)
alert.add_command(test_command)
alert.add_command(tests_command)
alert.add_command(exercise)


@alert.command()
@config_option
@click.option("--since", help="Opened since then: 2h, 3d, or ISO 8601.")
@json_option
def incidents(file: Path, since: str | None, as_json: bool) -> None:
    """Print the incidents, the newest first."""
    since_ms = moment("--since", since) or 0
    found = [one for one in read(file, views.incidents) if one.opened_ms >= since_ms]
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    for one in found:
        end = "open" if one.closed_ms is None else f"closed {when(one.closed_ms)}"
        mark = " EXERCISE" if one.exercise else ""
        count = f"{len(one.alerts)} alert{'s' * (len(one.alerts) != 1)}"
        console.print(
            Text.assemble((one.id, "bold"), f"{mark}  {when(one.opened_ms)}, {end}, {count}"),
            highlight=False,
        )
    if not found:
        console.print("no incidents")


@alert.command()
@config_option
@json_option
def replies(file: Path, as_json: bool) -> None:
    """Print the replies by SMS or keypress that answer nothing: who, what, and why not."""
    lines = read(file, views.unheard)
    if as_json:
        click.echo(msgspec.json.encode(lines))
        return
    console = Console()
    _show_lines(console, lines)
    if not lines:
        console.print("no replies")


def _show_alert(console: Console, one: AlertView) -> None:
    mark = "EXERCISE " if one.exercise else ""
    level = one.level or "over"
    console.print(
        Text.assemble(
            mark,
            (level.upper(), _STYLES.get(level, "dim")),
            for_terminal(f"  {one.site}, {one.hazard}, {one.stage}: "),
            (one.status, "bold"),
        ),
        highlight=False,
    )
    facts = [f"id {one.id}"]
    if one.began_ms is not None:
        facts.append(f"since {when(one.began_ms)}, round {one.round}, back {one.flaps} times")
    if one.called:
        facts.append(f"called now: {', '.join(one.called)}")
    if one.told:
        facts.append(f"know of it: {', '.join(one.told)}")
    if one.answered_by:
        facts.append(f"answered by {one.answered_by}")
    for cover in one.held_by:
        until = "" if cover.until_ms is None else f" until {when(cover.until_ms)}"
        facts.append(f"held back by {cover.by} ({cover.name}){until}: {cover.reason}")
    for fact in facts:
        console.print(Padding(Text(for_terminal(fact)), (0, 0, 0, 4)))


def _show_lines(console: Console, lines: Sequence[Line]) -> None:
    for line in lines:
        who = " ".join(part for part in (line.area, line.who) if part)
        how = line.detail.get("how", "")
        told = "; ".join(part for part in (line.text, str(how)) if part)
        level = str(line.detail.get("level") or "")
        console.print(
            Text.assemble(
                f"{when(line.at_ms)}  ",
                (line.kind, "bold"),
                *((" ", (level, _STYLES.get(level, ""))) if level else ()),
                f"  {for_terminal(who)}" if who else "",
            ),
            highlight=False,
        )
        if told:
            console.print(Padding(Text(for_terminal(told)), (0, 0, 0, 10)))
