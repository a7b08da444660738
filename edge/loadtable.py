"""What the buses can keep, for people and for machines."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from edge import columns
from edge.columns import Column
from edge.load import Load


def show(console: Console, loads: Sequence[Load]) -> None:
    """Print one row a bus and one a lamp for each number of dead devices."""
    buses = [
        (load.dead, bus)
        for of_one_port in zip(*(load.ports for load in loads), strict=True)
        for load, bus in zip(loads, of_one_port, strict=True)
    ]
    columns.show(
        console,
        (
            Column("port", [bus.port for _, bus in buses], left=True),
            Column("dead", [str(dead) for dead, _ in buses]),
            Column("load %", [f"{bus.share * 100:.1f}" for _, bus in buses]),
            Column("cycle ms", [f"{bus.cycle_s * 1000:.0f}" for _, bus in buses]),
            Column("longest ms", [f"{bus.longest_s * 1000:.0f}" for _, bus in buses], 1),
            Column(
                "lamp ms",
                ["-" if bus.lamp_s is None else f"{bus.lamp_s * 1000:.0f}" for _, bus in buses],
            ),
        ),
    )
    lamps = [
        (load.dead, lamp)
        for of_one_site in zip(*(load.lamps for load in loads), strict=True)
        for load, lamp in zip(loads, of_one_site, strict=True)
    ]
    if lamps:
        columns.show(
            console,
            (
                Column("site", [lamp.site for _, lamp in lamps], left=True),
                Column("dead", [str(dead) for dead, _ in lamps]),
                Column("depth to lamp s", [f"{lamp.depth_to_lamp_s:.2f}" for _, lamp in lamps]),
                Column("allowed s", [f"{lamp.allowed_s:g}" for _, lamp in lamps]),
                Column("slowest ruler", [lamp.ruler for _, lamp in lamps], 1, left=True),
            ),
        )
        console.print("Until the lamp is seen to show it, after the end of")
        after = sorted(lamps, key=lambda one: one[0])
        columns.show(
            console,
            (
                Column("dead", [str(dead) for dead, _ in after]),
                Column("site", [lamp.site for _, lamp in after], left=True),
                Column("silence s", [f"{lamp.after_silence_s:.2f}" for _, lamp in after]),
                Column("restart s", [f"{lamp.after_restart_s:.2f}" for _, lamp in after]),
                Column("line back s", [f"{lamp.after_loss_s:.2f}" for _, lamp in after]),
            ),
        )
    console.print(
        "All at worst. dead: devices of each port that are silent; longest: one exchange, or "
        "the wait for a dead one; lamp: from a reading to the read-back, with one attempt lost "
        "if anything is dead; depth to lamp: from the water, by as many readings as confirm it; "
        "silence: of a ruler; restart: of the agent; line back: the port could not be used; "
        "reload: water that rises while a reload opens the port anew.",
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
