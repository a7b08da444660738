"""`shuichi demo`: start everything, show it, end it in order, say whether promises were kept."""

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.live import Live

from configs.loader import UserError
from firmware_sim import truth
from firmware_sim.demo import people, programs, report, screen, stage
from firmware_sim.demo.programs import Program
from firmware_sim.demo.stage import Stage
from firmware_sim.demo.watch import Picture, watch
from firmware_sim.options import Record, choose_scenario, scenario_options

DEFAULT_SPEED: Final = 90.0

_FRAMES_PER_S: Final = 5
_PLAIN_EVERY_S: Final = 10
_AFTER_THE_END_S: Final = 2.0
_CALLS_END_WITHIN_S: Final = 30.0
_TAKEN_WITHIN_S: Final = 30.0
"""How long a slow machine may take until the cloud has what the gateway sends and says."""

_INTERRUPTED: Final = 130
_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Died(Exception):
    """One of the programs ended although nobody had asked it to."""


@click.command()
@scenario_options
@click.option(
    "--store",
    type=click.Choice(["sqlite", "influx"]),
    default="sqlite",
    show_default=True,
    help="Where the readings land; influx starts an InfluxDB 1.x beside it.",
)
@click.option("--influx-url", metavar="URL", help="Use this InfluxDB 1.x and start none.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep data and logs in this folder, made new.  [default: a new one in the temporary one]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def demo(
    record: Record,
    speed: float | None,
    seed: int | None,
    store: str,
    influx_url: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """An underpass floods: from the ruler to the lamp, over a broker into a store, to an alert that
    climbs until somebody answers.

    Simulated devices, gateway, broker and cloud run as processes of their own and are ended at
    the end. Exit code 1 if a promise was broken.
    """
    if influx_url is not None and store != "influx":
        raise UserError("--influx-url goes with --store influx")
    speed = DEFAULT_SPEED if speed is None else speed
    scenario = choose_scenario(record, 1 if seed is None else seed)
    title = "Storm over an underpass" if record.file is None else f"Replay of {record.label}"
    folder = _new_folder(data)
    console = Console(stderr=as_json)
    picture = Picture()
    with _running(folder, record, speed, seed, store, influx_url) as (ready, running):
        try:
            start_ms = _wait_for_start(ready, running)
            clock = screen.Clock(title, start_ms, speed, scenario.duration_s)
            finished = asyncio.run(_show(picture, ready, clock, running, console))
        except Died as error:
            raise UserError(f"{error}; logs: {folder}") from None
        if not finished:
            console.print(f"stopped by hand; data and logs: {folder}", soft_wrap=True)
            sys.exit(_INTERRUPTED)
        account, calls = _account(ready), _calls(ready, picture)
    result = report.build(picture, ready, clock, account, calls, store)
    report.save(result, folder / "report.json")
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        report.show(result, console)
    sys.exit(0 if result.kept else 1)


class Running:
    """The programs, in the order in which they were started."""

    def __init__(self) -> None:
        self.programs: dict[str, Program] = {}
        self.broker_port = 0

    def add(self, program: Program) -> Program:
        """Take a program under watch."""
        self.programs[program.name] = program
        return program

    def look(self) -> None:
        """Raises Died if one of them has ended."""
        for program in self.programs.values():
            if (code := program.ended) is not None:
                raise Died(f"{program.name} ended with code {code}: {program.last_words()}")


@contextmanager
def _running(
    folder: Path,
    record: Record,
    speed: float,
    seed: int | None,
    store: str,
    influx_url: str | None,
) -> Iterator[tuple[Stage, Running]]:
    """All programs; ended at the exit, last started first, whatever has happened."""
    running = Running()
    with _interrupts(), ExitStack() as stack:

        def start(name: str, command: Sequence[str | Path]) -> Program:
            with _deferred_interrupts():  # a process that nobody knows of could not be ended
                program = running.add(Program(name, command, folder))
                stack.callback(program.stop)
            return program

        command, running.broker_port = programs.mosquitto(folder)
        start("mosquitto", command).wait_until(lambda: programs.accepts(running.broker_port))
        settings: dict[str, Any] = {"kind": "sqlite"}
        if store == "influx":
            if influx_url is None:
                command, port = programs.influxd(folder)
                start("influxd", command).wait_until(lambda: programs.accepts(port))
                influx_url = f"http://{programs.HOST}:{port}"
            settings = {
                "kind": "influx",
                "url": influx_url,
                "api": "v1",
                "database": f"shuichi_{folder.name.replace('-', '_').replace('.', '_')}",
            }
        river_port, web_port = programs.free_port(), programs.free_port()
        ready = stage.prepare(folder, running.broker_port, river_port, web_port, settings)
        start("cloud", programs.shuichi("cloud", "run"))
        # A machine that is slow to start the gateway must not miss the flood.
        arguments = ["--hold", "--speed", f"{speed:g}", "--truth", "truth.jsonl"]
        arguments += record.arguments()
        if seed is not None:
            arguments += ["--seed", str(seed)]
        sim = start("sim", programs.shuichi("sim", "run", "sim.toml", *arguments))
        sim.wait_until((folder / "ttyBus").exists)
        start("edge", programs.shuichi("edge", "run"))
        yield ready, running


@contextmanager
def _interrupts() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the demo with everything that it has started."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        try:
            yield
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)


@contextmanager
def _deferred_interrupts() -> Iterator[None]:
    """A Ctrl-C within takes effect at the end."""
    came: list[int] = []
    with _handling(lambda number, _: came.append(number)):
        yield
    for number in came[:1]:
        signal.raise_signal(number)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have `handler` called for all that ends a program; afterwards as it was before."""
    before = {number: signal.signal(number, handler) for number in _ENDS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _wait_for_start(ready: Stage, running: Running) -> int:
    """When the scenario began, ms UTC. Raises Died or UserError if it does not."""
    file = ready.folder / "truth.jsonl"
    found: list[int] = []

    def has_begun() -> bool:
        running.look()
        facts = msgspec.json.Decoder(truth.Fact)
        lines = file.read_bytes().splitlines() if file.exists() else []
        found.extend(f.at_ms for f in map(facts.decode, lines) if isinstance(f, truth.Begin))
        return bool(found)

    running.programs["sim"].wait_until(has_begun)
    return found[0]


async def _show(
    picture: Picture, ready: Stage, clock: screen.Clock, running: Running, console: Console
) -> bool:
    """Watch until the scenario has ended and the gateway has handed over; False after Ctrl-C."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    watching = asyncio.create_task(watch(picture, ready, running.broker_port), name="demo watch")
    living = asyncio.create_task(people.live(picture, ready.people), name="demo people")
    # Not by the loop's own handlers: it would leave the default ones behind, which end a program
    # without its children.
    with _handling(lambda *_: loop.call_soon_threadsafe(stop.set)):
        try:
            ended = asyncio.create_task(_end(picture), name="demo end")
            stopped = asyncio.create_task(stop.wait(), name="demo stop")
            drawing = asyncio.create_task(
                _draw(picture, ready, clock, running, console), name="demo screen"
            )
            await asyncio.wait(
                (ended, stopped, drawing, watching, living), return_when=asyncio.FIRST_COMPLETED
            )
            for task in (ended, stopped, drawing):
                task.cancel()
            done, _ = await asyncio.wait((drawing, watching, living), timeout=1)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
            if stop.is_set():
                return False
            edge = running.programs.pop("edge")
            await asyncio.to_thread(edge.stop)
            await asyncio.sleep(_AFTER_THE_END_S / 2)  # the last acks and alerts reach the picture
            return not stop.is_set()
        finally:
            for task in (watching, living):
                task.cancel()
            await asyncio.wait((watching, living))


async def _end(picture: Picture) -> None:
    """Return when the scenario has ended and the cloud has taken what was sent, and when the calls
    have ended too if they do so soon."""
    await picture.ended.wait()
    await asyncio.sleep(_AFTER_THE_END_S)
    await _until(lambda: not picture.is_anybody_called, _CALLS_END_WITHIN_S)
    await _until(lambda: picture.stored >= picture.taken, _TAKEN_WITHIN_S)


async def _until(holds: Callable[[], bool], within_s: float) -> None:
    """Wait for `holds()`, but no longer than that."""
    for _ in range(round(within_s * _FRAMES_PER_S)):
        if holds():
            return
        await asyncio.sleep(1 / _FRAMES_PER_S)


async def _draw(
    picture: Picture, ready: Stage, clock: screen.Clock, running: Running, console: Console
) -> None:
    def frame() -> Any:
        return screen.render(picture, ready, clock, time.time_ns() // 1_000_000)

    if not console.is_terminal:
        for turn in itertools.count():
            running.look()
            if turn % (_PLAIN_EVERY_S * _FRAMES_PER_S) == 0:
                line = screen.line(picture, clock, time.time_ns() // 1_000_000)
                console.print(line, soft_wrap=True)
            await asyncio.sleep(1 / _FRAMES_PER_S)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            running.look()
            live.update(frame(), refresh=True)
            await asyncio.sleep(1 / _FRAMES_PER_S)


def _account(ready: Stage) -> dict[str, Any]:
    """What the cloud's own command says of the ledger and the store, once the cloud has dealt with
    the last words of the gateway."""
    deadline = time.monotonic() + _TAKEN_WITHIN_S
    while True:
        account: dict[str, Any] = _asked(ready, "account")
        if report.is_settled(account, ready.gateway) or time.monotonic() > deadline:
            return account
        time.sleep(1 / _FRAMES_PER_S)


def _calls(ready: Stage, picture: Picture) -> list[dict[str, Any]]:
    """What the cloud's own command says of the alerts of the underpass: their timeline."""
    incidents = {one["incident"]: None for one in picture.alerts if one["site"] == ready.site}
    return [line for name in incidents for line in _asked(ready, "alert", "show", name)]


def _asked(ready: Stage, *command: str) -> Any:
    words = programs.shuichi(*command, "--config", ready.folder / "cloud.toml", "--json")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise UserError(f"shuichi {' '.join(command)} failed: {done.stderr.strip()}") from None


def _new_folder(data: Path | None) -> Path:
    if data is None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-")
        return Path(tempfile.mkdtemp(prefix=f"shuichi-demo-{stamp}"))
    try:
        data.mkdir(parents=True)
    except FileExistsError:
        raise UserError(f"--data {data}: exists already; name a new folder") from None
    except OSError as error:
        raise UserError(f"--data {data}: cannot be made: {error.strerror}") from None
    return data.resolve()
