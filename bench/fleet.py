"""A hundred Modbus TCP units, the gateway that reads each of them every second, and what its CPU
spends on a reading, from the sensor over the sealed batch to the cloud's acknowledgement.

Simulator, broker and the cloud's counterpart are other processes, whose time does not count.
"""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import tomlkit

from bench.counterpart import Arrival, Counterpart
from bench.figure import Progress, Result, spread
from bench.programs import Mosquitto, Program, as_installed, cpu_s, free_port
from configs.loader import UserError
from wire.mqtt import Broker
from wire.reading import Quantity

UNITS: Final = 100
INTERVAL_S: Final = 1.0
RUNS: Final = 7
FEWEST_RUNS: Final = 5
RUN_S: Final = 6.0
WARM_UP_S: Final = 4.0
GATEWAY: Final = "gw-fleet"

Tables: TypeAlias = Mapping[str, object]

_DEVICE_UNIT: Final = {
    Quantity.DEPTH: "cm",
    Quantity.LEVEL: "mm",
    Quantity.RAIN_TOTAL: "mm",
    Quantity.RAIN_RATE: "mm/h",
    Quantity.DISPLACEMENT: "mm",
    Quantity.FREQUENCY: "Hz",
    Quantity.TEMPERATURE: "Cel",
    Quantity.VOLTAGE: "mV",
}


async def cpu_per_reading(progress: Progress, values: int, *, merged: bool) -> Result:
    """CPU time of the gateway's process for each reading, µs. Each unit measures so many `values`,
    which it is asked for all at once, or one by one.

    Raises UserError if a program fails, or if readings are missing.
    """
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, broker_port = Path(name), free_port()
        _write_profile(folder, values, merged=merged)
        _write(folder, "sim.toml", _sim(values))
        environment = as_installed(folder / "compiled")
        with (
            Program("sim", folder, "sim", "run", "sim.toml", "--truth", "truth.jsonl") as sim,
            Mosquitto(folder, broker_port) as broker,
        ):
            broker.wait_until(broker.accepts)
            facts = folder / "truth.jsonl"
            sim.wait_until(lambda: address(facts, "fleet"))
            _write(folder, "gateway.toml", _gateway(address(facts, "fleet"), broker_port))
            with Program("edge", folder, "edge", "run", "--unattended", more=environment) as edge:
                return await _watch(progress, edge, broker_port, values)


class _Mark(NamedTuple):
    """When a batch arrived (monotonic, s): what the gateway's CPU had spent by then, s, and how
    many readings had come."""

    at: float
    cpu_s: float
    readings: int


class _Run(NamedTuple):
    """CPU per reading, µs, and readings per s, from one batch to another."""

    cpu_us: float
    per_s: float


async def _watch(progress: Progress, edge: Program, broker_port: int, values: int) -> Result:
    marks: list[_Mark] = []
    missing = 0

    def mark(arrival: Arrival) -> None:
        nonlocal missing
        before = marks[-1].readings if marks else 0
        readings = arrival.batch.readings
        marks.append(_Mark(arrival.at, cpu_s(edge.pid), before + len(readings)))
        missing += sum(reading.value is None for reading in readings)

    cloud = Counterpart(Broker(port=broker_port), GATEWAY, on_arrival=mark)
    task = asyncio.create_task(cloud.run(), name="counterpart")
    lasts_s = WARM_UP_S + RUNS * RUN_S
    try:
        for second in range(int(lasts_s)):
            progress(second / lasts_s, f"{UNITS} units, each second")
            await asyncio.sleep(1)
            edge.look()
    finally:
        task.cancel()
        await asyncio.wait((task,))
    runs = list(_runs([mark for mark in marks if mark.at >= marks[0].at + WARM_UP_S / 2]))
    due = UNITS * values / INTERVAL_S
    if missing or len(runs) < FEWEST_RUNS or any(run.per_s < 0.9 * due for run in runs):
        raise UserError(
            f"{missing} readings without value; of {due:g} readings a second there came "
            f"{', '.join(f'{run.per_s:.0f}' for run in runs)}"
        )
    found = spread([run.cpu_us for run in runs])
    return Result(
        found.median,
        {
            "CPU per reading, µs": found,
            "readings acknowledged per s": spread([run.per_s for run in runs]),
        },
    )


def _runs(marks: Sequence[_Mark]) -> Iterator[_Run]:
    """From batch to batch, because a batch holds what was read since the one before."""
    begin = marks[0]
    for end in marks:
        if end.at - begin.at >= RUN_S - 0.5:
            readings = end.readings - begin.readings
            cpu_us = 1e6 * (end.cpu_s - begin.cpu_s) / readings
            yield _Run(cpu_us, readings / (end.at - begin.at))
            begin = end


def _write_profile(folder: Path, values: int, *, merged: bool) -> None:
    measures = [
        {"quantity": quantity.value, "address": place if merged else 100 * place, "unit": unit}
        for place, (quantity, unit) in enumerate(list(_DEVICE_UNIT.items())[:values])
    ]
    line = {"merge_gap": 0, "answers_in_ms": 0}
    profile = {"title": "fleet", "source": "this figure", "line": line, "measure": measures}
    (folder / "profiles").mkdir()
    _write(folder, "profiles/fleet.toml", profile)


def _sim(values: int) -> Tables:
    device = {
        "line": "fleet",
        "profile": "fleet",
        "signal": dict.fromkeys(list(_DEVICE_UNIT)[:values], "depth"),
    }
    devices = {f"unit-{unit}": {**device, "unit_id": unit} for unit in range(1, UNITS + 1)}
    return {"line": {"fleet": {"kind": "tcp", "port": 0}}, "device": devices}


def _gateway(port: int, broker_port: int) -> Tables:
    sensors = {
        f"unit-{unit}": {
            "port": "fleet",
            "profile": "fleet",
            "unit_id": unit,
            "interval_s": INTERVAL_S,
        }
        for unit in range(1, UNITS + 1)
    }
    return {
        "gateway": {"id": GATEWAY, "site": "fleet"},
        "uplink": {"broker": {"port": broker_port}, "drain_at_stop_s": 0},
        "clock": {"source": "trusted"},
        "port": {"fleet": {"kind": "tcp", "host": "127.0.0.1", "port": port}},
        "sensor": sensors,
    }


def _write(folder: Path, name: str, tables: Tables) -> None:
    (folder / name).write_text(tomlkit.dumps(tables), encoding="utf-8")


def address(facts: Path, line: str) -> int:
    """The port of a simulated TCP line, once all are ready; 0 before."""
    told = facts.read_text(encoding="utf-8").split("\n")[:-1] if facts.exists() else []
    all_facts = [json.loads(fact) for fact in told]
    if not any(fact["kind"] == "ready" for fact in all_facts):
        return 0
    (found,) = [f["address"] for f in all_facts if f["kind"] == "line" and f["line"] == line]
    return int(found.rpartition(":")[2])
