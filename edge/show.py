"""The status for people, as wide as their screen."""

from typing import Final

from rich.console import Console
from rich.text import Text

from edge import columns
from edge.columns import Column
from edge.health import State
from edge.poller import BusState, DeviceState
from edge.status import Status

_COLOURS = {
    "green": "green",
    "amber": "yellow",
    "flashing_amber": "yellow",
    "red": "red",
    "off": "dim",
}
_LINE_COLOURS: Final = {"open": "green", "closed": "dim", "down": "bold red"}

MOST_DEVICES = 20
"""Devices that are shown if all is well; those that are not well always are."""


def status(console: Console, one: Status, *, every_device: bool) -> None:
    """Print it all; without `every_device`, of many devices only those that are not well."""
    _process(console, one)
    _lamps(console, one)
    _queue(console, one)
    _commands(console, one)
    _parts(console, one)
    _buses(console, one)
    _devices(console, one, every_device)


def _process(console: Console, one: Status) -> None:
    process, clock = one.process, one.clock
    console.print(
        f"gateway [bold]{one.gateway}[/bold]: shuichi {process.version}, "
        f"up {_span(process.uptime_s)}, {process.memory_bytes / 2**20:.0f} MiB, pid {process.pid}",
        highlight=False,
    )
    console.print("clock   " + ("trusted" if clock.trusted else "[red]not trusted yet[/red]"))


def _lamps(console: Console, one: Status) -> None:
    for lamp in one.lamps:
        confirmed = lamp.confirmed or "unknown"
        line = Text.assemble(
            f"lamp    {lamp.site}: ",
            (lamp.wanted, _COLOURS[lamp.wanted]),
            f" since {_span(lamp.since_s)} ({lamp.cause})",
            "" if lamp.depth_m is None else f", water {lamp.depth_m:.2f} m",
        )
        if lamp.confirmed == lamp.wanted:
            line.append(", confirmed")
        else:
            line.append(f", BUT IT SHOWS {confirmed}", "bold red")
        console.print(line)


def _commands(console: Console, one: Status) -> None:
    commands = one.commands
    if any((commands.taken, commands.refused, commands.dropped)):
        console.print(
            f"orders  {commands.taken} taken, {commands.refused} refused, "
            f"{commands.dropped} dropped without an answer",
            highlight=False,
        )


def _queue(console: Console, one: Status) -> None:
    queue, uplink = one.queue, one.uplink
    state = "[green]connected[/green]" if uplink.connected else "[red]not connected[/red]"
    heard = "never" if uplink.last_ack_s is None else f"{_span(uplink.last_ack_s)} ago"
    console.print(
        f"uplink  {uplink.broker} {state}, {uplink.in_flight} batches in flight, last ack {heard}",
        highlight=False,
    )
    if uplink.broker_said and not uplink.connected:
        console.print(f"broker  {uplink.broker_said}", style="red", highlight=False, markup=False)
    for why in uplink.denied.values():
        console.print(f"broker  {why}", style="red", highlight=False, markup=False)
    if uplink.set_aside:
        console.print(
            f"broker  {uplink.set_aside} batches are too large for it, or refused; they wait",
            style="red",
            highlight=False,
        )
    if uplink.acks_unproven:
        console.print(
            "acks    [red]not proven: the cloud has no key of this gateway, or another one; "
            "nothing is deleted[/red]",
            highlight=False,
        )
    elif uplink.acks_refused:
        console.print(f"acks    {uplink.acks_refused} were not believed", highlight=False)
    kinds = ", ".join(f"{count} {name}" for name, count in queue.pending_by_priority.items())
    waiting = f"{queue.pending} batches wait ({kinds}), {queue.unsealed} readings not sealed"
    lost = f", [red]{queue.lost} readings lost[/red]" if queue.lost else ""
    memory = ", [red]in memory only: the disk refuses them[/red]" if queue.in_memory else ""
    console.print(f"outbox  {waiting}{lost}{memory}", highlight=False)
    console.print(
        f"ledger  stream {queue.stream}: sealed {queue.sealed}, acked {uplink.acked}",
        highlight=False,
    )


def _parts(console: Console, one: Status) -> None:
    """Those that have failed."""
    for part in one.parts:
        if part.failed_s is not None:
            how = ("runs", "yellow") if part.running else ("FAILED, starts again soon", "bold red")
            line = Text.assemble("part    ", part.name, ": ", how)
            times = "once" if part.failures == 1 else f"{part.failures} times"
            line.append(f", failed {times}, {_span(part.failed_s)} ago: {part.trouble}")
            console.print(line)


def _buses(console: Console, one: Status) -> None:
    buses = one.buses
    silent = [_silent(bus) for bus in buses]
    columns.show(
        console,
        (
            Column("port", [Text(bus.port) for bus in buses], left=True),
            Column("line", [_line(bus) for bus in buses], left=True),
            Column("busy %", [Text(f"{bus.busy * 100:.1f}") for bus in buses], 2),
            Column("cycle ms", [Text(f"{bus.cycle_s * 1000:.0f}") for bus in buses], 4),
            Column("overruns", [Text(str(bus.overruns)) for bus in buses], 3),
            Column("failed reads", [Text(str(bus.failed)) for bus in buses], 1),
            Column("devices", [Text(str(len(bus.devices))) for bus in buses]),
            Column("silent", [Text(str(count), "red" if count else "") for count in silent]),
        ),
    )
    for bus in buses:
        if bus.line == "down":
            since = "" if bus.line_since_s is None else f" for {_span(bus.line_since_s)}"
            why = f": {bus.line_error}" if bus.line_error else ""
            console.print(Text(f"port {bus.port} is down{since}{why}", "bold red"))
        if bus.strays:
            console.print(
                f"port {bus.port}: {bus.strays} stray bytes before answers; check termination, "
                "bias and earth of the line",
                highlight=False,
            )


def _silent(bus: BusState) -> int:
    """Devices that say nothing: on a line that is down, all."""
    if bus.line == "down":
        return len(bus.devices)
    return sum(device.breaker is not State.CLOSED for device in bus.devices)


def _line(bus: BusState) -> Text:
    return Text(bus.line.upper() if bus.line == "down" else bus.line, _LINE_COLOURS[bus.line])


def _devices(console: Console, one: Status, every_device: bool) -> None:
    devices = [(bus, device) for bus in one.buses for device in bus.devices]
    if not every_device and len(devices) > MOST_DEVICES:
        unwell = [(bus, device) for bus, device in devices if device.failures or bus.line == "down"]
        well = len(devices) - len(unwell)
        console.print(f"{well} more devices answer; --all shows them", highlight=False)
        devices = unwell
    if not devices:
        return
    answered = [_answered(device.answered_s) for _, device in devices]
    columns.show(
        console,
        (
            Column("sensor", [Text(_name(device)) for _, device in devices], left=True),
            Column("port", [Text(bus.port) for bus, _ in devices], 2, left=True),
            Column("breaker", [_breaker(*one) for one in devices], left=True),
            Column("failed", [Text(str(device.failed)) for _, device in devices], 1),
            Column("last answer", [Text(text) for text in answered]),
            Column("median ms", [Text(_ms(device.median_s)) for _, device in devices], 3),
            Column("p95 ms", [Text(_ms(device.p95_s)) for _, device in devices], 4),
        ),
    )


def _name(device: DeviceState) -> str:
    """Its sensor, and how many more it has."""
    others = len(device.sensors) - 1
    return f"{device.sensor} +{others}" if others > 0 else device.sensor


def _breaker(bus: BusState, device: DeviceState) -> Text:
    """Of a line that is down nothing can be known of a device."""
    if bus.line == "down":
        return Text("no line", "red")
    return Text(device.breaker.value, "red" if device.failures else "")


def _answered(seconds: float | None) -> str:
    return "never" if seconds is None else f"{_span(seconds)} ago"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


def _span(seconds: float) -> str:
    """A time span in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{days} d {hours % 24} h"
