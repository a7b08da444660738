"""A line in the hands of a command, while no gateway has it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import click

from configs import loader
from configs.loader import UserError
from drivers import profiles
from drivers.device import Device
from drivers.errors import DriverError
from drivers.ports import Port, PortConfig
from drivers.protocols.modbus import Master
from edge import config, quality, scan
from wire.reading import UNITS


async def read(setup: config.Setup, name: str, count: int, every_s: float, as_json: bool) -> None:
    """Read a sensor now, `count` times, and print what it says. Raises DriverError."""
    settings, profile = setup.config.sensor[name], setup.profiles[name]
    ranges = {m.quantity: m.valid_range_si for m in profile.measure}
    async with _opened(settings.port, setup.config.port[settings.port]) as line:
        device = Device(Master(line), profile, setup.unit(name))
        for turn in range(count):
            if turn:
                await asyncio.sleep(every_s)
            for block in profile.blocks():
                for value in await device.read(block):
                    flag, reason = quality.judge(value, ranges[value.quantity])
                    unit = UNITS[value.quantity]
                    row = {"sensor": name, "quantity": value.quantity, "value": value.value}
                    if as_json:
                        row |= {"unit": unit, "quality": int(flag), "reason": reason}
                        click.echo(json.dumps(row))
                    else:
                        shown = "no value" if value.value is None else f"{value.value:g} {unit}"
                        why = f" ({reason})" if reason else ""
                        click.echo(f"{name} {value.quantity}: {shown}, {flag.name.lower()}{why}")


async def search(
    line: PortConfig,
    known: dict[str, profiles.Profile],
    units: list[int],
    wait_s: float,
    found: list[scan.Found],
) -> None:
    """Add everybody on a line to `found`. Raises UserError."""
    async with _opened(line.place, line) as port:
        try:
            await port.open()
        except DriverError as error:
            raise UserError(str(error)) from None
        await scan.scan(port, known, units, wait_s, found)


@contextlib.asynccontextmanager
async def _opened(name: str, settings: PortConfig) -> AsyncIterator[Port]:
    async with loader.plugin("drivers.ports", settings.kind).open(name, settings) as line:
        yield line
