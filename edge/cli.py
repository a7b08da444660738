"""`shuichi edge`: check and run a gateway."""

import gc
import json
import logging
import sqlite3
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from configs import logs, trouble
from configs.loader import ConfigError, UserError
from configs.numbers import Count
from edge import config, crosscheck, doors, load
from edge.agent import open_agent
from edge.config import Setup
from edge.preflight import outside
from edge.supervisor import CoreFailed
from wire import loop

log: Final = logging.getLogger("shuichi.edge")

_T = TypeVar("_T")

config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    default=Path("gateway.toml"),
    show_default=True,
    help="The gateway's config.",
)


@click.group()
def edge() -> None:
    """Check and run a gateway."""


@edge.command()
@config_option
@click.option("--online", is_flag=True, help="Also open the ports and ask the broker.")
@click.option(
    "--dead",
    type=Count(0, 1000),
    multiple=True,
    default=(0, 1),
    show_default="0 and 1",
    metavar="K",
    help="With K devices of each port silent; may be given more than once.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check(file: Path, online: bool, dead: tuple[int, ...], as_json: bool) -> None:
    """Find all faults of a config, and tell how full each bus will be and how soon each lamp shows
    what the water asks for.

    Exit code 2 if anything is wrong.
    """
    setup = config.read(file)
    doubted = [*setup.doubts()]
    if wrong := list(crosscheck.line_faults(setup)):
        raise ConfigError(file, wrong)
    if online:
        doubted += [("uplink.broker", doubt) for doubt in _demand_outside(setup)]
    from edge import loadtable  # here, because a gateway that runs has no use for it

    loads = [load.of(setup, number) for number in dead]
    if as_json:
        gateway = setup.config.gateway.id
        doubts = [{"about": name, "doubt": doubt} for name, doubt in doubted]
        shown = {"gateway": gateway, "loads": loadtable.as_dicts(loads), "doubts": doubts}
        click.echo(json.dumps(shown))
        return
    from rich.console import Console

    console = Console()
    console.print(f"{file}: no faults", highlight=False)
    loadtable.show(console, loads)
    for name, doubt in doubted:
        console.print(f"unsure: {name}: {doubt}", highlight=False)


@edge.command()
@config_option
@click.option(
    "--unattended",
    is_flag=True,
    help="Start even if a port is missing or the broker does not answer, and wait for them: "
    "for systemd, where the lamp must work whatever else does not.",
)
@logs.log_option
def run(file: Path, unattended: bool, style: str | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; SIGHUP reads the config again.

    Without --unattended the ports and the broker are tried first; what does not answer is told,
    one line each, and nothing starts (exit code 2).
    """
    setup = config.read(file)
    if not unattended:
        _demand_alone(setup)
        _demand_outside(setup)
    logs.start(style)
    for fault in crosscheck.line_faults(setup):
        log.warning("%s: %s", fault.key, fault.problem)
    # What is there now stays for good: from here on the collector need not look at it, which keeps
    # its pauses short.
    gc.collect()
    gc.freeze()
    try:
        loop.run(_run(file, setup, attended=not unattended))
    except sqlite3.Error as error:
        why = trouble.of_database(setup.outbox, str(error))
        raise UserError(f"{setup.outbox}: the outbox cannot be opened: {why}") from None
    except CoreFailed as error:  # it is in the log, with its traceback
        log.critical("%s; the gateway ends, and its signals fall back", error)
        sys.exit(1)


async def _run(file: Path, setup: Setup, *, attended: bool) -> None:
    async with open_agent(file, setup, attended=attended) as agent:
        await agent.run()


@edge.command()
@config_option
@click.option("--all", "every_device", is_flag=True, help="Also of many devices each one.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(file: Path, every_device: bool, as_json: bool) -> None:
    """Tell how the gateway that runs here is. Exit code 2 if none does."""
    found = _ask(doors.ask_status(config.find_socket(file)))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    from rich.console import Console

    from edge import show

    show.status(Console(), found, every_device=every_device)


@edge.command()
@config_option
def reload(file: Path) -> None:
    """Have the gateway that runs here read its config again, without touching the lamp.

    A config with faults is refused as a whole, and the old one stays (exit code 2).
    """
    _ask(doors.ask_reload(config.find_socket(file)))
    click.echo("the gateway runs with the new config")


def _ask(question: Coroutine[Any, Any, _T]) -> _T:
    try:
        return loop.run(question)
    except doors.Absent as error:
        raise UserError(str(error)) from None


def _demand_alone(setup: Setup) -> None:
    with suppress(doors.Absent):
        other = loop.run(doors.ask_status(setup.socket))
        raise UserError(
            f"gateway {other.gateway} runs here already (pid {other.process.pid}); "
            "`shuichi edge status` tells how it is"
        )


def _demand_outside(setup: Setup) -> list[str]:
    """What works without being as it should. Raises UserError for what does not work."""
    found = loop.run(outside(setup))
    if found.faults:
        raise UserError("\n".join(found.faults))
    return found.doubts
