"""`shuichi sim`: devices that do not exist, on lines that do."""

import asyncio
import selectors
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from configs.loader import UserError
from configs.numbers import Number
from firmware_sim import config as configuration
from firmware_sim import truth
from firmware_sim.config import PtyLine, SimConfig
from firmware_sim.options import Record, choose_scenario, scenario_options
from firmware_sim.scenario import Scenario
from firmware_sim.simulation import Bench, simulate

_SCREEN_EVERY_S: Final = 0.5
_PLAIN_EVERY_S: Final = 30.0
_SHOWN: Final = {
    "depth": ("depth", 100, "cm"),
    "rain_rate": ("rain", 3.6e6, "mm/h"),
    "river_level": ("river", 1, "m"),
    "crack": ("crack", 1000, "mm"),
}
"""Label, factor from SI and unit of a signal on the status line."""


@click.group()
def sim() -> None:
    """Run simulated devices on real lines."""


@sim.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@scenario_options
@click.option("--hold", is_flag=True, help="The scenario begins when a master first asks a device.")
@click.option(
    "--duration",
    "duration_s",
    type=Number(0, 31_622_400, min_open=True),
    metavar="S",
    help="End after so many seconds, not scaled by the speed.",
)
@click.option("--exit-at-end", is_flag=True, help="End with the scenario.")
@click.option(
    "--truth",
    "truth_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Append what happens to FILE, one JSON object a line.",
)
def run(
    config: Path | None,
    record: Record,
    speed: float | None,
    seed: int | None,
    hold: bool,
    duration_s: float | None,
    exit_at_end: bool,
    truth_file: Path | None,
) -> None:
    """Bring the devices of CONFIG (TOML) to life; without it, those of the underpass.

    Links to the terminals are made in the config's folder, without CONFIG in the current one. When
    the scenario is over the devices keep its last values, until SIGTERM or Ctrl-C.
    """
    settings = configuration.load(config or configuration.DEFAULT)
    folder = config.parent if config is not None else Path.cwd()
    scenario = choose_scenario(record, settings.scenario.seed if seed is None else seed)
    with ExitStack() as files, asyncio.Runner(loop_factory=_precise_loop) as runner:
        write = _writer(truth_file, files)
        runner.run(
            _play(
                settings,
                folder,
                scenario,
                speed or settings.scenario.speed,
                write,
                hold=hold,
                duration_s=duration_s,
                exit_at_end=exit_at_end,
            )
        )


def _writer(file: Path | None, files: ExitStack) -> Callable[[truth.Fact], None]:
    if file is None:
        return lambda _: None
    try:
        out = files.enter_context(file.open("ab", buffering=0))
    except OSError as error:
        raise UserError(f"--truth {file}: cannot be written: {error.strerror}") from None

    def write(fact: truth.Fact) -> None:
        out.write(msgspec.json.encode(fact) + b"\n")

    return write


def _precise_loop() -> asyncio.AbstractEventLoop:
    """epoll, the usual choice, rounds each wait up to whole milliseconds: a character at 9600 baud
    lasts one."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _play(
    config: SimConfig,
    folder: Path,
    scenario: Scenario,
    speed: float,
    write: Callable[[truth.Fact], None],
    *,
    hold: bool,
    duration_s: float | None,
    exit_at_end: bool,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def tell(fact: truth.Fact) -> None:
        write(fact)
        if exit_at_end and isinstance(fact, truth.End):
            stop.set()

    async with simulate(
        config, folder, scenario=scenario, speed=speed, tell=tell, hold=hold
    ) as bench:
        if duration_s is not None:
            loop.call_later(duration_s, stop.set)
        console = Console(highlight=False)
        _print_lines(console, bench, folder)
        if not console.is_terminal:
            while not await _is_set_within(stop, _PLAIN_EVERY_S):
                console.print(_status(bench, speed), soft_wrap=True)
            return
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while not await _is_set_within(stop, _SCREEN_EVERY_S):
                live.update(_status(bench, speed), refresh=True)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _print_lines(console: Console, bench: Bench, folder: Path) -> None:
    for name, line in bench.config.line.items():
        if isinstance(line, PtyLine):
            place = f"{folder / line.link} -> {bench.terminal(name)}, {line.baud} baud"
        else:
            host, port = bench.endpoint(name)
            behind = f", {line.baud} baud behind it" if line.baud else ""
            place = f"{host}:{port}, framing {line.framing}{behind}"
        devices = ", ".join(
            f"{device.name} ({bench.config.device[device.name].profile}, unit {device.unit_id})"
            for device in bench.on_line(name)
        )
        console.print(Text(f"{name}: {place}: {devices or 'no device'}"), soft_wrap=True)
    for name, controller in bench.config.controller.items():
        address = bench.addresses[name]
        place = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        console.print(Text(f"{name}: {place}: controller, {controller.kind}"), soft_wrap=True)


def _status(bench: Bench, speed: float) -> Text:
    minutes, seconds = divmod(int(bench.t_s), 60)
    parts = [f"{minutes // 60}:{minutes % 60:02}:{seconds:02} ×{speed:g}"]
    signals = bench.signals()
    for name, (label, factor, unit) in _SHOWN.items():
        if name in signals:
            parts.append(f"{label} {signals[name] * factor:.2f} {unit}")
    for device in bench.devices.values():
        if device.profile.outputs is not None:
            on = " ".join(map(str, sorted(device.outputs)))
            parts.append(f"{device.name}: {on or 'all off'}")
    parts += [f"{name}: {one.shows.value}" for name, one in bench.controllers.items()]
    return Text("  ".join(parts))
