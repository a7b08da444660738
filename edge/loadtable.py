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
    faults = Table(box=box.SIMPLE_HEAD)
    for heading in ("dead", "site", "silence s", "restart s", "line back s"):
        faults.add_column(heading, justify="left" if heading == "site" else "right")
    for load in loads:
        for lamp in load.lamps:
            after = (lamp.after_silence_s, lamp.after_restart_s, lamp.after_loss_s)
            faults.add_row(str(load.dead), lamp.site, *(f"{seconds:.2f}" for seconds in after))
    if lamps.row_count:
        console.print(lamps)
        console.print("Until the lamp is seen to show it, with the water up before the end of")
        console.print(faults)
    console.print(
        "All at worst. dead: devices of each port that are silent; longest: one exchange, or "
        "the wait for a dead one; lamp: from a reading to the read-back, with one attempt lost "
        "if anything is dead; depth to lamp: from the water, by as many readings as confirm it; "
        "silence: of a ruler; restart: of the agent, or a reload that opens the port anew; line "
        "back: the port could not be used.",
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
