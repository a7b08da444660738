"""`shuichi gateway`, `shuichi port`, `shuichi sensor`: what an engineer types first."""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import click
import tomlkit
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs import loader, tomlfile
from configs.loader import ConfigError, Fault, UserError
from configs.numbers import Count, Number
from drivers import profiles
from drivers.errors import DriverError
from drivers.ports import PortConfig
from edge import columns, config, crosscheck, direct, scan
from edge.cli import config_option
from edge.columns import Column
from edge.keycli import key_command
from wire.mqtt.address import parse_address
from wire.reading import Quantity

_MISSING = "there is no such file; `shuichi gateway init` makes one"

dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would change.")

_TEMPLATE = """\
# A gateway of Shuichi. `shuichi edge check` finds what is wrong here, `shuichi edge run` starts it.

[gateway]
id = ""
shard = ""
site = ""

[uplink.broker]
host = ""
port = 0
# username = "..."
# password_file = "/etc/shuichi/broker.password"
# tls = true

# Lines:   shuichi port add bus /dev/ttyUSB0 --baud 9600
# Sensors: shuichi sensor scan bus
#          shuichi sensor add ruler-1 --port bus --profile ruler-cm-9600 --interval 1
"""


@click.group()
def gateway() -> None:
    """Set up a gateway."""


@gateway.command()
@config_option
@click.option("--id", "gateway_id", required=True, help="Name of the gateway: a-z, 0-9, -.")
@click.option("--site", required=True, help="Site of its sensors.")
@click.option("--shard", default="0", show_default=True, help="Shard, as given by the cloud.")
@click.option(
    "--broker",
    default="127.0.0.1:1883",
    show_default=True,
    help="HOST[:PORT], [IPV6][:PORT] or mqtts://HOST.",
)
def init(file: Path, gateway_id: str, site: str, shard: str, broker: str) -> None:
    """Write a first gateway.toml. An existing one is left alone."""
    document = _first(gateway_id, site, shard, broker)
    with tomlfile.locked(file):
        if os.path.lexists(file):
            raise ConfigError(file, [Fault("", "exists already; edit it, or remove it first")])
        tomlfile.save(file, document, config.read, dry_run=False)
    click.echo("next: `shuichi gateway key` makes the key by which the cloud proves its acks")


gateway.add_command(key_command)


@click.group()
def port() -> None:
    """Name the lines of a gateway."""


@port.command("add")
@config_option
@dry_run_option
@click.argument("name")
@click.argument("place", metavar="DEVICE|HOST:PORT")
@click.option("--baud", type=Count(1, 4_000_000), help="Baud rate of a serial line.")
@click.option("--parity", type=click.Choice(["none", "even", "odd"]))
@click.option("--stop-bits", type=Count(1, 2))
@click.option(
    "--framing", type=click.Choice(["tcp", "rtu"]), help="tcp: Modbus TCP; rtu: RTU frames."
)
def add_port(file: Path, dry_run: bool, name: str, place: str, **settings: Any) -> None:
    """Add the line NAME: a serial device such as /dev/ttyUSB0, or a host and port."""
    with tomlfile.editing(file, config.read, dry_run=dry_run, missing=_MISSING) as document:
        table = _new(document, file, "port", name)
        for key, value in _line(place, settings).items():
            table[key] = value


@click.group()
def sensor() -> None:
    """Find, add, list, read and remove sensors."""


@sensor.command("scan")
@config_option
@click.argument("place", metavar="PORT|DEVICE|HOST:PORT")
@click.option(
    "--baud", type=Count(1, 4_000_000), help="Baud rate of a serial line.  [default: 9600]"
)
@click.option("--parity", type=click.Choice(["none", "even", "odd"]))
@click.option("--stop-bits", type=Count(1, 2))
@click.option("--framing", type=click.Choice(["tcp", "rtu"]))
@click.option("--units", default="1-247", show_default=True, help="Unit ids: 1-20,51.")
@click.option(
    "--wait-ms",
    type=Count(1, 60_000),
    default=150,
    show_default=True,
    help="How long to wait for an answer.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def scan_port(
    file: Path, place: str, units: str, wait_ms: int, as_json: bool, **settings: Any
) -> None:
    """Ask every unit id on a line who is there, and which profiles fit its answers.

    Reads only; nothing is written to any device. Ctrl-C shows what was found so far.
    """
    line = _named_or_given(file, place, settings)
    known, broken = profiles.known((file.parent / "profiles",))
    _tell_broken(broken)
    found: list[scan.Found] = []
    stopped = False
    try:
        asyncio.run(direct.search(line, known, scan.unit_ids(units, known), wait_ms / 1000, found))
    except KeyboardInterrupt:
        stopped = True
    found.sort()
    if as_json:
        click.echo(json.dumps([f.as_dict() for f in found]))
        return
    if not found and not stopped:
        raise UserError(
            f"{line.place}: nobody answers; check power, A/B polarity, baud rate and termination"
        )
    table = Table(title=line.place, title_justify="left")
    for heading in ("unit", "fits", "reads now"):
        table.add_column(heading, overflow="fold")
    for device in found:
        table.add_row(
            str(device.unit), "\n".join(device.fits) or "no profile", "\n".join(device.reads)
        )
    Console().print(table)


@sensor.command("add")
@config_option
@dry_run_option
@click.argument("name")
@click.option("--port", "on_port", required=True, help="Name of the line: a [port.NAME].")
@click.option(
    "--profile", required=True, help="Device profile; `shuichi sensor profiles` lists them."
)
@click.option("--unit", "unit_id", type=Count(0, 255), help="Unit id, if it is not the profile's.")
@click.option(
    "--interval",
    "interval_s",
    type=Number(0.05, 86_400),
    help="Seconds between reads.  [default: 60]",
)
@click.option("--channel", type=Count(0, 9999), help="Channel, of a device with several.")
@click.option(
    "--measure",
    multiple=True,
    type=click.Choice([quantity.value for quantity in Quantity]),
    help="What to read, if it is not all that the device measures; may be given more than once.",
)
@click.option("--site", help="Site, if it is not the gateway's.")
def add_sensor(
    file: Path, dry_run: bool, name: str, on_port: str, profile: str, **settings: Any
) -> None:
    """Add the sensor NAME to the config.

    A device may carry several: each with a channel or a measure of its own.
    """
    checked: list[config.Setup] = []

    def check(draft: Path) -> None:
        checked.append(config.read(draft))

    with tomlfile.editing(file, check, dry_run=dry_run, missing=_MISSING) as document:
        table = _new(document, file, "sensor", name)
        for key, value in {"port": on_port, "profile": profile, **settings}.items():
            if value not in (None, ()):
                whole = isinstance(value, float) and value.is_integer()
                table[key] = int(value) if whole else value
    for fault in crosscheck.line_faults(checked[-1]):
        if fault.key == f"sensor.{name}.port":
            click.echo(f"{file}: {fault.key}: {fault.problem}", err=True)


@sensor.command("remove")
@config_option
@dry_run_option
@click.argument("name")
def remove_sensor(file: Path, dry_run: bool, name: str) -> None:
    """Take the sensor NAME out of the config."""
    with tomlfile.editing(file, config.read, dry_run=dry_run, missing=_MISSING) as document:
        sensors = document.get("sensor", {})
        if name not in sensors:
            raise ConfigError(
                file, [Fault("", f"there is no [sensor.{name}]{loader.suggest(name, sensors)}")]
            )
        del sensors[name]


@sensor.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_sensors(file: Path, as_json: bool) -> None:
    """Show the sensors of the config."""
    setup = config.read(file)
    sensors = setup.config.sensor
    rows = [
        {
            "sensor": name,
            "site": setup.site(name),
            "port": s.port,
            "unit_id": setup.unit(name),
            "channel": s.channel,
            "profile": s.profile,
            "interval_s": s.interval_s,
            "measures": [m.quantity.value for m in setup.profiles[name].measure],
        }
        for name, s in sensors.items()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return

    def cells(key: str) -> list[str]:
        return ["" if row[key] is None else str(row[key]) for row in rows]

    measures = [", ".join(m.quantity for m in setup.profiles[name].measure) for name in sensors]
    shown = [
        Column("sensor", cells("sensor"), left=True),
        Column("site", cells("site"), 3, left=True),
        Column("port", cells("port"), 1, left=True),
        Column("unit", cells("unit_id")),
        Column("channel", cells("channel")),
        Column("profile", cells("profile"), left=True),
        Column("every s", cells("interval_s"), 4),
        Column("measures", measures, 2, left=True, wraps=True),
    ]
    columns.show(Console(), [c for c in shown if c.heading != "channel" or any(c.cells)])


@sensor.command("profiles")
@config_option
def list_profiles(file: Path) -> None:
    """Show the device profiles that can be used."""
    known, broken = profiles.known((file.parent / "profiles",))
    lines = [(one.line, f"{one.line.baud} 8{one.line.parity[0].upper()}") for one in known.values()]
    titles = [one.title for one in known.values()]
    measured = [", ".join(_measured(one) or ["outputs"]) for one in known.values()]
    faults = [
        Text(f"cannot be used: {_count(len(error.faults), 'fault')}", "red")
        for error in broken.values()
    ]
    none = [""] * len(broken)
    columns.show(
        Console(),
        (
            Column("profile", [*known, *broken], left=True),
            Column("title", [*titles, *faults], left=True, wraps=True),
            Column("unit", [*(str(line.unit_id) for line, _ in lines), *none]),
            Column("line", [*(f"{text}{line.stop_bits}" for line, text in lines), *none], 2),
            Column("measures", [*measured, *none], 1, left=True, wraps=True),
        ),
    )
    _tell_broken(broken)


@sensor.command("read")
@config_option
@click.argument("name")
@click.option(
    "--count", type=Count(1, 1_000_000), default=1, show_default=True, help="How many times."
)
@click.option(
    "--every",
    "every_s",
    type=Number(0, 86_400),
    default=1.0,
    show_default=True,
    help="Seconds between reads.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line a value.")
def read_sensor(file: Path, name: str, count: int, every_s: float, as_json: bool) -> None:
    """Read the sensor NAME now, straight from its line.

    The line has one owner: stop a running gateway first.
    """
    setup = config.read(file)
    if name not in setup.config.sensor:
        sensors = setup.config.sensor
        raise ConfigError(
            file, [Fault("", f"there is no [sensor.{name}]{loader.suggest(name, sensors)}")]
        )
    try:
        asyncio.run(direct.read(setup, name, count, every_s, as_json))
    except DriverError as error:
        raise UserError(f"{name}: {error}") from None


def _first(gateway_id: str, site: str, shard: str, broker: str) -> tomlkit.TOMLDocument:
    """A first config. Values are put in by tomlkit, so that no character of theirs is TOML."""
    try:
        address = parse_address(broker)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--broker") from None
    document = tomlkit.parse(_TEMPLATE)
    gateway: Any = document["gateway"]
    gateway.update({"id": gateway_id, "shard": shard, "site": site})
    uplink: Any = document["uplink"]
    uplink["broker"].update({"host": address.host, "port": address.effective_port})
    if address.tls:
        uplink["broker"]["tls"] = True
    return document


def _measured(profile: profiles.Profile) -> list[str]:
    """What a device measures, each quantity with the number of its channels if it has any."""
    counts = Counter(m.quantity.value for m in profile.measure)
    with_channels = {m.quantity.value for m in profile.measure if m.channel is not None}
    return [
        f"{name} of {n} channels" if name in with_channels else name for name, n in counts.items()
    ]


def _tell_broken(broken: dict[str, ConfigError]) -> None:
    for error in broken.values():
        click.echo(str(error), err=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _line(place: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The table of a port, from what the command line says of it."""
    given = {key: value for key, value in settings.items() if value is not None}
    host, colon, number = place.removeprefix("tcp://").rpartition(":")
    if colon and number.isdecimal() and not place.startswith("/"):
        host = host.removeprefix("[").removesuffix("]")
        return {"kind": "tcp", "host": host, "port": int(number), **given}
    return {"kind": "serial", "device": place, **given}


def _named_or_given(file: Path, place: str, settings: dict[str, Any]) -> PortConfig:
    """A port of the config by its name, or one described on the command line."""
    if file.exists() and "/" not in place and ":" not in place:
        ports = config.read(file).config.port
        if place in ports:
            return ports[place]
        raise ConfigError(
            file, [Fault("", f"there is no [port.{place}]{loader.suggest(place, ports)}")]
        )
    table = _line(place, settings)
    kind = loader.plugins("drivers.ports")[table["kind"]]
    found = loader.parse(table, kind, place)
    assert isinstance(found, PortConfig)
    return found


def _new(document: tomlkit.TOMLDocument, file: Path, kind: str, name: str) -> Any:
    """An empty table [kind.name] at the end of its kin."""
    if kind not in document:
        document[kind] = tomlkit.table(is_super_table=True)
    kin: Any = document[kind]
    if name in kin:
        raise ConfigError(file, [Fault("", f"there is a [{kind}.{name}] already")])
    kin[name] = tomlkit.table()
    return kin[name]
