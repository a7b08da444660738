"""What the buses can keep, for people, at 80 columns, and for machines."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from edge.load import Load


def show(console: Console, loads: Sequence[Load]) -> None:
    """Print one row a bus and one a lamp for each number of dead devices."""
    buses = Table(box=box.SIMPLE_HEAD)
    for heading in ("port", "dead", "load %", "cycle ms", "longest ms", "lamp ms"):
        buses.add_column(heading, justify="left" if heading == "port" else "right")
    for of_one_port in zip(*(load.ports for load in loads), strict=True):
        for load, bus in zip(loads, of_one_port, strict=True):
            buses.add_row(
                bus.port,
                str(load.dead),
                f"{bus.share * 100:.1f}",
                f"{bus.cycle_s * 1000:.0f}",
                f"{bus.longest_s * 1000:.0f}",
                "-" if bus.lamp_s is None else f"{bus.lamp_s * 1000:.0f}",
            )
    console.print(buses)
    lamps = Table(box=box.SIMPLE_HEAD)
    for heading in ("site", "dead", "depth to lamp s", "allowed s", "slowest ruler"):
        lamps.add_column(heading, justify="left" if heading.startswith("s") else "right")
    for of_one_site in zip(*(load.lamps for load in loads), strict=True):
        for load, lamp in zip(loads, of_one_site, strict=True):
            lamps.add_row(
                lamp.site,
                str(load.dead),
                f"{lamp.depth_to_lamp_s:.2f}",
                f"{lamp.allowed_s:g}",
                lamp.ruler,
            )
    if lamps.row_count:
        console.print(lamps)
    console.print(
        "All at worst. dead: devices of each port that are silent; longest: one exchange, or "
        "the wait for a dead one; lamp: from a reading to the read-back, with one attempt lost "
        "if anything is dead; depth to lamp: from the water, by as many readings as confirm it.",
        highlight=False,
    )


def as_dicts(loads: Sequence[Load]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [
        {
            "dead": load.dead,
            "ports": [bus._asdict() for bus in load.ports],
            "lamps": [lamp._asdict() for lamp in load.lamps],
        }
        for load in loads
    ]
