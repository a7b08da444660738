"""A hundred Modbus TCP units, the gateway that reads each of them every second, and what its CPU
spends on a reading, from the sensor over the sealed batch to the cloud's acknowledgement.

Simulator, broker and the cloud's counterpart are other processes, whose time does not count.
"""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import tomlkit

from bench.counterpart import Arrival, Counterpart
from bench.figure import Progress, Result, spread
from bench.programs import Mosquitto, Program, as_installed, free_port
from configs.loader import UserError
from wire.mqtt import Broker
from wire.reading import Quantity

UNITS: Final = 100
INTERVAL_S: Final = 1.0
RUNS: Final = 7
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
            sim.wait_until(lambda: _address(folder / "truth.jsonl"))
            _write(folder, "gateway.toml", _gateway(_address(folder / "truth.jsonl"), broker_port))
            with Program("edge", folder, "edge", "run", "--unattended", more=environment) as edge:
                return await _watch(progress, edge, broker_port, values)


async def _watch(progress: Progress, edge: Program, broker_port: int, values: int) -> Result:
    readings = missing = 0

    def count(arrival: Arrival) -> None:
        nonlocal readings, missing
        readings += len(arrival.batch.readings)
        missing += sum(reading.value is None for reading in arrival.batch.readings)

    cloud = Counterpart(Broker(port=broker_port), GATEWAY, on_arrival=count)
    task = asyncio.create_task(cloud.run(), name="counterpart")
    try:
        await asyncio.sleep(WARM_UP_S)
        edge.look()
        per_reading_us, per_s = [], []
        lasts_s = WARM_UP_S + RUNS * RUN_S
        for run in range(RUNS):
            progress((WARM_UP_S + run * RUN_S) / lasts_s, f"run {run + 1} of {RUNS}")
            cpu_s, readings, missing = _cpu_s(edge.pid), 0, 0
            await asyncio.sleep(RUN_S)
            edge.look()
            if readings < 0.8 * UNITS * values / INTERVAL_S * RUN_S or missing:
                raise UserError(f"{readings} readings came in {RUN_S:g} s, {missing} without value")
            per_reading_us.append(1e6 * (_cpu_s(edge.pid) - cpu_s) / readings)
            per_s.append(readings / RUN_S)
    finally:
        task.cancel()
        await asyncio.wait((task,))
    found = spread(per_reading_us)
    return Result(
        found.median, {"CPU per reading, µs": found, "readings acknowledged per s": spread(per_s)}
    )


def _cpu_s(pid: int) -> float:
    """CPU time of all threads of a process so far, s (schedstat: ns on a CPU)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


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


def _address(facts: Path) -> int:
    """The port of the simulated line, once all is ready; 0 before."""
    told = facts.read_text(encoding="utf-8").split("\n")[:-1] if facts.exists() else []
    by_kind = {fact["kind"]: fact for fact in map(json.loads, told)}
    return int(by_kind["line"]["address"].rpartition(":")[2]) if "ready" in by_kind else 0
