"""Lines with simulated devices on them, and the port that leads there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from drivers.ports import Port, serial, tcp
from firmware_sim.config import SimConfig, parse
from firmware_sim.simulation import Bench

LINES: Final[dict[str, dict[str, Any]]] = {
    "pty": {"kind": "pty", "link": "ttyBus", "baud": 9600},
    "tcp": {"kind": "tcp", "port": 0},
    "rtu over tcp": {"kind": "tcp", "port": 0, "framing": "rtu", "baud": 9600},
}

TWO_REGISTERS: Final = """
title = "two registers, each read for itself"
source = "this test"

[line]
unit_id = 7
reply_within_ms = 60
late_answers_ms = 250
merge_gap = 0

[[measure]]
quantity = "depth"
address = 0
unit = "cm"

[[measure]]
quantity = "level"
address = 5
unit = "cm"
"""


def config(line: dict[str, Any], folder: Path, **devices: tuple[str, int]) -> SimConfig:
    """The line `bus` with these devices: profile and unit id. "two-registers" is one of them."""
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "two-registers.toml").write_text(TWO_REGISTERS, encoding="utf-8")
    tables = {
        name: {"line": "bus", "profile": profile, "unit_id": unit}
        for name, (profile, unit) in devices.items()
    }
    return parse({"line": {"bus": line}, "device": tables}, folder)


@asynccontextmanager
async def opened(bench: Bench, folder: Path, **settings: Any) -> AsyncIterator[Port]:
    """The port that leads to the only line of a simulation."""
    line = bench.config.line["bus"]
    if line.kind == "pty":
        serial_config = serial.Config(
            kind="serial", device=str(folder / line.link), baud=line.baud, **settings
        )
        async with serial.open("bus", serial_config) as port:
            yield port
    else:
        host, number = bench.endpoint("bus")
        tcp_config = tcp.Config(
            kind="tcp", host=host, port=number, framing=line.framing, baud=line.baud or 0
        )
        async with tcp.open("bus", tcp_config) as port:
            yield port
