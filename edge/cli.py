"""`shuichi edge`: check and run a gateway."""

import json
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from configs import logs
from configs.loader import UserError
from edge import config, doors, load
from edge.agent import open_agent
from edge.config import Setup
from edge.preflight import outside_faults
from wire import loop

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
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check(file: Path, online: bool, as_json: bool) -> None:
    """Find all faults of a config, and tell how full each bus will be.

    Exit code 2 if anything is wrong.
    """
    setup = config.read(file)
    if online:
        _demand_outside(setup)
    buses = load.of(setup)
    if as_json:
        click.echo(json.dumps({"gateway": setup.config.gateway.id, "ports": _as_dicts(buses)}))
        return
    from rich.console import Console  # here, because a gateway that runs has no use for it
    from rich.table import Table

    console = Console()
    table = Table(title=f"{file}: no faults", title_justify="left", title_style="")
    table.add_column("port")
    for heading in ("load %", "one cycle ms", "longest read ms", "lamp on time ms"):
        table.add_column(heading, justify="right")
    for bus in buses:
        table.add_row(
            bus.port,
            f"{bus.share * 100:.1f}",
            f"{bus.cycle_s * 1000:.0f}",
            f"{bus.longest_s * 1000:.0f}",
            "-" if bus.lamp_s is None else f"{bus.lamp_s * 1000:.0f}",
        )
    console.print(table)
    if any(bus.lamp_s is not None for bus in buses):
        console.print("lamp: from the deciding reading to the read-back, at worst, on a sound line")
    for name, profile in sorted(setup.profiles.items()):
        for doubt in profile.uncertain:
            console.print(f"unsure: {name}: {doubt}", highlight=False)


@edge.command()
@config_option
@click.option(
    "--unattended",
    is_flag=True,
    help="Start even if a port is missing or the broker does not answer, and wait for them: "
    "for systemd, where the lamp must work whatever else does not.",
)
@click.option(
    "--log",
    "style",
    type=click.Choice([style.value for style in logs.Style]),
    help="How log lines look.  [default: as the journal likes them if it reads, else human]",
)
def run(file: Path, unattended: bool, style: str | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; SIGHUP reads the config again.

    Without --unattended the ports and the broker are tried first; what does not answer is told,
    one line each, and nothing starts (exit code 2).
    """
    setup = config.read(file)
    if not unattended:
        _demand_outside(setup)
    logs.start(style)
    try:
        loop.run(_run(file, setup))
    except sqlite3.Error as error:
        path = setup.folder / setup.config.outbox.path
        raise UserError(f"{path}: the outbox cannot be opened: {error}") from None


async def _run(file: Path, setup: Setup) -> None:
    async with open_agent(file, setup) as agent:
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


def _demand_outside(setup: Setup) -> None:
    if lines := loop.run(outside_faults(setup)):
        raise UserError("\n".join(lines))


def _as_dicts(buses: list[load.BusLoad]) -> list[dict[str, object]]:
    return [bus._asdict() for bus in buses]
