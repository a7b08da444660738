"""Memory of the gateway's process with a long outage behind it.

100 sensors, read each second: 99 behind a Modbus TCP port, and the ruler of an underpass whose lamp
hangs on the same serial line. Its outbox holds three days of them. It is watched while no broker is
there, and while the backlog drains into one beside the live data.
"""

import asyncio
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

import tomlkit

from bench import backlog
from bench.counterpart import Counterpart
from bench.figure import Figure, Goal, Progress, Result, spread
from bench.programs import Mosquitto, Program, as_installed, free_port
from configs import loader
from configs.loader import UserError
from wire.mqtt import Broker

SENSORS: Final = 100
OUTAGE_S: Final = 3 * 86400
WATCHED_S: Final = 60
SAMPLES_A_SECOND: Final = 2
FILLING: Final = 0.25
"""Of the time that it takes."""

SITE: Final = loader.HERE / "sites" / "underpass"

FIGURE: Final = Figure(
    "resident memory of the gateway, 100 sensors each second, 3 days in the outbox, worst moment",
    "MiB",
    Goal("<=", 45),
)


async def measure(progress: Progress) -> Result:
    """Two to three minutes. Raises UserError if a program fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        port = free_port()
        gateway = write(folder, port)
        outbox = folder / "outbox.db"
        waiting = await backlog.fill(
            outbox,
            gateway,
            SENSORS,
            OUTAGE_S,
            lambda share: progress(FILLING * share, "an outage of three days"),
        )
        size_mib = outbox.stat().st_size / 2**20
        with Program("sim", folder, "sim", "run", "sim.toml", "--truth", "truth.jsonl") as sim:
            sim.wait_until(lambda: '"ready"' in text(folder / "truth.jsonl"))
            installed = as_installed(folder / "compiled")
            with Program("edge", folder, "edge", "run", "--unattended", more=installed) as edge:
                edge.wait_until(lambda: "confirmed" in text(edge.log))
                alone = await _watch(edge, progress, FILLING, "no broker")
                half = (1 + FILLING) / 2
                drained, draining = await _drain(edge, folder, port, gateway, progress, half)
                highest = _memory(edge, "VmHWM")
        if not 0 < drained < waiting:
            raise UserError(f"{drained} of {waiting} batches came: the backlog did not drain")
    return Result(
        max(*alone, *draining),
        {
            "no broker, MiB": spread(alone),
            "while the backlog drains, MiB": spread(draining),
            "highest ever, start included, MiB": highest,
            "batches in the outbox": waiting,
            "the outbox's file, MiB": size_mib,
            "batches drained meanwhile": drained,
        },
    )


def write(folder: Path, broker_port: int) -> str:
    """Write gateway.toml and sim.toml; the gateway's name."""
    gateway, sim = _read("gateway"), _read("sim")
    (site,) = gateway["interlock"]
    sim["line"] = {
        "bus": sim["line"]["bus"],
        "field": {"kind": "tcp", "port": (field := free_port())},
    }
    sim["device"] = {name: sim["device"][name] for name in ("ruler-1", "relay-1")}
    gateway["port"] = {
        "bus": gateway["port"]["bus"],
        "field": {"kind": "tcp", "host": "127.0.0.1", "port": field},
    }
    gateway["sensor"] = {"ruler-1": {**gateway["sensor"]["ruler-1"], "interval_s": 1}}
    for i in range(1, SENSORS):
        unit = {"profile": "level-qdy30a", "unit_id": i}
        sim["device"][f"level-{i}"] = {"line": "field", **unit}
        gateway["sensor"][f"level-{i}"] = {"port": "field", "interval_s": 1, **unit}
    gateway["interlock"] = {site: gateway["interlock"][site]}
    gateway["uplink"] = {"broker": {"port": broker_port}, "drain_at_stop_s": 0}
    gateway["outbox"] = {}
    gateway["clock"] = {"source": "trusted"}
    for name, tables in (("gateway", gateway), ("sim", sim)):
        (folder / f"{name}.toml").write_text(tomlkit.dumps(tables), encoding="utf-8")
    return str(gateway["gateway"]["id"])


def _read(name: str) -> Any:
    return tomllib.loads((SITE / f"{name}.toml").read_text(encoding="utf-8"))


def text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


async def _watch(edge: Program, progress: Progress, begin: float, doing: str) -> list[float]:
    samples = []
    for i in range(count := WATCHED_S * SAMPLES_A_SECOND):
        progress(begin + (1 - FILLING) / 2 * i / count, doing)
        await asyncio.sleep(1 / SAMPLES_A_SECOND)
        edge.look()
        samples.append(_memory(edge, "VmRSS"))
    return samples


async def _drain(
    edge: Program, folder: Path, port: int, gateway: str, progress: Progress, begin: float
) -> tuple[int, list[float]]:
    """How many batches came, and the memory meanwhile, MiB."""
    with Mosquitto(folder, port) as broker:
        broker.wait_until(broker.accepts)
        came = asyncio.Event()
        cloud = Counterpart(Broker(port=port), gateway, on_arrival=lambda _: came.set())
        listening = asyncio.create_task(cloud.run(), name="counterpart")
        try:
            async with asyncio.timeout(60):
                await came.wait()
            samples = await _watch(edge, progress, begin, "the backlog drains")
        except TimeoutError:
            raise UserError("nothing came from the gateway within a minute") from None
        finally:
            listening.cancel()
            await asyncio.wait((listening,))
        return len(cloud.arrived), samples


def _memory(program: Program, what: str) -> float:
    """A line of /proc/PID/status, MiB."""
    status = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
