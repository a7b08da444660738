"""`shuichi alert hold`, `holds`, `release`, and the words for one alert: shelve, suppress, take out
of service, and back."""

import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from sqlalchemy import Connection

from cloud.alertparts import LEVELS, demand, json_option, read
from cloud.alerts import demands, holding
from cloud.alerts.alarm import Status
from cloud.alerts.hazard import Hazard
from cloud.alerts.holding import UNSAID_MIN, End, HoldView, Order
from cloud.alerts.holds import UP_TO
from cloud.cliparts import config_option, when, words
from configs.loader import UserError
from configs.numbers import Count, Number
from configs.text import for_terminal
from wire.messages import Level

_LONGEST_SHELF_MIN: Final = 10_080
_LONGEST_MIN: Final = 44_640
_HAZARDS: Final = click.Choice([str(one) for one in Hazard])
_UP_TO: Final = UP_TO.name.lower()


_WORDS: Final = (
    ("shelve", Status.SHELVED, "Call nobody for some minutes."),
    ("suppress", Status.SUPPRESSED, "Call nobody: another alert says it already."),
    ("out-of-service", Status.OUT_OF_SERVICE, "Call nobody: the site is being worked on."),
)
_BACK: Final = (
    ("unshelve", Status.SHELVED, "End a shelf before its time."),
    ("unsuppress", Status.SUPPRESSED, "Call again."),
    ("return-to-service", Status.OUT_OF_SERVICE, "The site works again."),
)


def add(group: click.Group) -> None:
    """Add the commands."""
    for command in (hold, holds, release):
        group.add_command(command)
    for name, kind, explanation in _WORDS:
        group.add_command(_hold_one(name, kind, explanation))
    for name, kind, explanation in _BACK:
        group.add_command(_let_go(name, kind, explanation))


by_option: Final = click.option("--by", required=True, callback=words, help="Who wants it.")


@click.command()
@config_option
@click.option("--site", default="", help="One site.")
@click.option("--area", default="", help="An area of the plan, with all below it.")
@click.option("--gateway", default="", help="What this gateway finds.")
@click.option("--hazard", type=_HAZARDS)
@click.option("--from", "begin", metavar="TIME", help="In the plan's time zone.  [default: now]")
@click.option("--to", "end", metavar="TIME", help="In the plan's time zone.")
@click.option("--minutes", type=Number(0, _LONGEST_MIN, min_open=True), help="How long.")
@click.option(
    "--up-to",
    type=click.Choice(LEVELS),
    default=_UP_TO,
    show_default=True,
    help="What is worse rings all the same.",
)
@by_option
@click.option("--reason", required=True, callback=words, help="Why; whoever looks reads it.")
@click.option("--exercise", is_flag=True, help="Alerts of exercises.")
def hold(file: Path, hazard: str | None, up_to: str, **given: Any) -> None:
    """Call nobody for a time: all that is named must fit. Prints the number of the hold."""
    order = Order(
        **given,
        hazard=None if hazard is None else Hazard(hazard),
        up_to=Level[up_to.upper()],
    )
    demand(file, demands.HOLD, order)


@click.command()
@config_option
@click.option("--past", is_flag=True, help="Those that are over.")
@json_option
def holds(file: Path, past: bool, as_json: bool) -> None:
    """Print the holds: those in force, then those ahead."""

    def work(connection: Connection) -> list[HoldView]:
        return holding.listed(connection, time.time_ns() // 1_000_000, past=past)

    found = read(file, work)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    for one in found:
        _show(console, one)
    if not found:
        console.print("nothing was held back" if past else "nothing is held back")


@click.command()
@config_option
@click.argument("number", metavar="HOLD", type=Count(1, 2**31 - 1))
@by_option
@click.option("--reason", default="", callback=words, help="Why.")
def release(file: Path, number: int, by: str, reason: str) -> None:
    """End a hold before its time, or before it begins. What still stands rings at once."""
    demand(file, demands.END_HOLD, End(by, number, reason))


def _hold_one(name: str, kind: Status, explanation: str) -> click.Command:
    """A command that holds back one alert."""
    length: dict[str, Any] = {"required": True}
    if kind is not Status.SHELVED:
        length = {"default": UNSAID_MIN, "show_default": True}

    @click.command(name, help=explanation)
    @config_option
    @click.argument("site")
    @click.argument("hazard", type=_HAZARDS)
    @click.option("--minutes", type=float, help="How long.", **length)
    @click.option(
        *("--up-to",),
        type=click.Choice(LEVELS),
        default=_UP_TO,
        show_default=True,
        help="What is worse rings all the same.",
    )
    @by_option
    @click.option("--reason", default="", callback=words, help="Why; whoever looks reads it.")
    @click.option("--exercise", is_flag=True, help="That of an exercise.")
    def command(
        file: Path,
        site: str,
        hazard: str,
        minutes: float,
        up_to: str,
        by: str,
        reason: str,
        exercise: bool,
    ) -> None:
        if not 0 < minutes <= _LONGEST_SHELF_MIN:
            raise UserError(f"--minutes {minutes:g}: is not between 0 and {_LONGEST_SHELF_MIN}")
        order = Order(
            *(by, reason or holding.NO_REASON, site),
            hazard=Hazard(hazard),
            minutes=minutes,
            up_to=Level[up_to.upper()],
            kind=kind,
            exercise=exercise,
            alone=True,
        )
        demand(file, demands.HOLD, order)

    return command


def _let_go(name: str, kind: Status, explanation: str) -> click.Command:
    """A command that lets go of one alert."""

    @click.command(name, help=explanation)
    @config_option
    @click.argument("site")
    @click.argument("hazard", type=_HAZARDS)
    @by_option
    @click.option("--reason", default="", callback=words, help="Why.")
    @click.option("--exercise", is_flag=True, help="That of an exercise.")
    def command(file: Path, site: str, hazard: str, by: str, reason: str, exercise: bool) -> None:
        order = End(
            *(by, None, reason, site, Hazard(hazard), kind, exercise),
        )
        demand(file, demands.END_HOLD, order)

    return command


def _show(console: Console, one: HoldView) -> None:
    names = (("site", one.site), ("area", one.area), ("gateway", one.gateway))
    where = ", ".join(f"{kind} {name}" for kind, name in (*names, ("hazard", one.hazard)) if name)
    mark = " EXERCISE" if one.exercise else ""
    head = f"  {one.state}: {for_terminal(where)}, up to {one.up_to}{mark}"
    console.print(Text.assemble((f"hold {one.id}", "bold"), head), highlight=False)
    facts = [
        f"{when(one.begin_ms, seconds=False)} to {when(one.end_ms, seconds=False)}, {one.kind}",
        f"by {one.by}: {one.reason}",
    ]
    if one.alerts:
        facts.append(f"holds back: {', '.join(one.alerts)}")
    if one.ended_by:
        ended = f"ended at {when(one.ended_ms or 0, seconds=False)} by {one.ended_by}"
        facts.append(f"{ended}: {one.ended_why}" if one.ended_why else ended)
    for fact in facts:
        console.print(Padding(Text(for_terminal(fact)), (0, 0, 0, 4)))
