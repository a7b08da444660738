"""`shuichi alert test`: does a channel work, does it reach this person?"""

import asyncio
import time
from pathlib import Path
from typing import Final

import click
import msgspec

from cloud import config, desk
from cloud.alerts import testsend, views
from cloud.alerts.testsend import Asked, Pairs, Result, Whom
from cloud.cliparts import config_option, look, when
from cloud.config import Setup
from configs.loader import UserError
from configs.text import for_terminal

_LONGEST_WAIT_S: Final = 60.0
"""For which the next test waits for its turn by itself."""


@click.command("test")
@config_option
@click.option("--contact", default="", help="Somebody of the plan, by each of their channels.")
@click.option("--area", default="", help="All people of an area of the plan; you are asked before.")
@click.option("--channel", default="", help="By this channel; alone: to the channel's own address.")
@click.option("--to", default="", help="An address for --channel: a number, a mailbox, a board.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def test_command(
    file: Path, contact: str, area: str, channel: str, to: str, yes: bool, as_json: bool
) -> None:
    """Send a test message (【测试】, [TEST]) and print what came of it.

    It goes by the channels of the running service, is no alert and asks for no answer; `shuichi
    alert tests` prints the record. Exit code 1 if one was not delivered.
    """
    setup = config.read_in_part(file)[0]
    pairs = _pairs(setup, contact, area, channel, to)
    if area and not yes:
        people = len(dict(pairs))
        question = f"This sends {len(pairs)} test messages to {people} people of {area}. Go on?"
        if not click.confirm(question, err=True):
            raise UserError("nothing was sent")
    results = []
    for who, by in pairs:
        results.append(_test(setup, Asked(by, desk.me(), who, to)))
        if not as_json:
            click.echo(for_terminal(_line(results[-1])))
    if as_json:
        click.echo(msgspec.json.encode(results))
    raise SystemExit(0 if all(one.outcome == "delivered" for one in results) else 1)


@click.command("tests")
@config_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def tests_command(file: Path, as_json: bool) -> None:
    """Print the test messages that were sent, the oldest first."""
    lines = look(config.read_in_part(file)[0], lambda database, _: database.run(views.tests))
    if as_json:
        click.echo(msgspec.json.encode(lines))
        return
    for line in lines:
        click.echo(for_terminal(f"{when(line.at_ms)}  {line.who}  {line.text}"))
    if not lines:
        click.echo("no test message was sent")


def _pairs(setup: Setup, contact: str, area: str, channel: str, to: str) -> list[tuple[str, str]]:
    """Contacts, "" for none, and channels."""
    if bool(contact) + bool(area) + bool(to) > 1:
        raise UserError("give one of --contact, --area and --to")
    if not contact and not area:
        if not channel:
            raise UserError("whom? Give --contact, --area, or --channel with --to")
        return [("", channel)]
    found: Pairs = asyncio.run(desk.ask(setup, testsend.WHOM, Whom(contact, area, channel)))
    return found.pairs


def _test(setup: Setup, asked: Asked) -> Result:
    while True:
        result = asyncio.run(desk.ask(setup, testsend.SEND, asked))
        if result.outcome != "not sent" or not 0 < result.wait_s <= _LONGEST_WAIT_S:
            return result
        time.sleep(result.wait_s + 0.1)


_SAID: Final = {
    "delivered": "delivered, the other side has taken it",
    "refused": "refused, and the same would be refused again",
    "failed": "not delivered",
    "not sent": "not sent",
}


def _line(one: Result) -> str:
    whom = f"{one.name}, {one.to}" if one.name and one.to else one.name or one.to
    to = f" to {whom}" if whom else ""
    number = f"number {one.provider_id}" if one.provider_id else ""
    more = "; ".join(part for part in (one.detail, number) if part)
    return f"{one.channel}{to}: {_SAID[one.outcome]}" + (f": {more}" if more else "")
