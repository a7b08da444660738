"""From the sensor's answer to its reading in an answer of the store, as `shuichi query` asks it, on
a quiet system: the wait for the seal and the seal itself, the way over the broker, the commit.

Simulator, gateway, mosquitto and the cloud with its SQLite store are processes of their own; 100
sensors are read each second and nothing waits. The store is asked 20 times a second: what that
adds is in the figure.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import tomlkit

from bench import edge_memory
from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.programs import Mosquitto, Program, free_port
from cloud import config, service
from cloud.store import Query
from configs.loader import UserError
from edge.config import OutboxConfig

WATCHED_S: Final = 40.0
WARM_UP_S: Final = 5.0
ASKED_EVERY_S: Final = 0.05
LOOKS_BACK_MS: Final = 6000
WAY_S: Final = 0.5
SEAL_S: Final = float(OutboxConfig().seal_every_s)

FIGURE: Final = Figure(
    "sensor's answer to visible in a query, p99, quiet system; up to 2 s of it wait for the seal",
    "s",
    Goal("<=", WAY_S + SEAL_S),
)


async def measure(progress: Progress) -> Result:
    """A minute. Raises UserError if a program fails, or if readings are late beyond all bounds."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, port = Path(name), free_port()
        gateway = edge_memory.write(folder, port)
        cloud_file = folder / "cloud.toml"
        settings = {"broker": {"port": port}, "store": {"kind": "sqlite"}}
        cloud_file.write_text(tomlkit.dumps(settings), encoding="utf-8")
        broker = Mosquitto(folder, port)
        cloud = Program("cloud", folder, "cloud", "run", "--unattended")
        sim = Program("sim", folder, "sim", "run", "sim.toml", "--truth", "truth.jsonl")
        edge = Program("edge", folder, "edge", "run", "--unattended")
        with broker, sim:
            broker.wait_until(broker.accepts)
            sim.wait_until(lambda: '"ready"' in edge_memory.text(folder / "truth.jsonl"))
            with cloud:
                cloud.wait_until(lambda: "listening at" in edge_memory.text(cloud.log))
                with edge:
                    ages = await _watch(cloud_file, gateway, (cloud, edge), progress)
    if len(ages) < edge_memory.SENSORS * WATCHED_S / 2:
        raise UserError(f"only {len(ages)} readings came: nothing to see")
    return Result(
        percentile(ages, 99),
        {
            "reading to visible, s": spread(ages),
            "seal every, s": SEAL_S,
            "asked every, s": ASKED_EVERY_S,
            "readings": len(ages),
        },
    )


async def _watch(
    cloud_file: Path, gateway: str, programs: tuple[Program, ...], progress: Progress
) -> list[float]:
    """How old each reading was when an answer first had it, s."""
    ages: list[float] = []
    seen: set[tuple[int, str]] = set()
    begin = time.monotonic()
    since_ms = time.time_ns() // 1_000_000 + round(WARM_UP_S * 1000)
    async with service.opened(config.read(cloud_file), read_only=True) as (_, store):
        while (passed := time.monotonic() - begin) < WARM_UP_S + WATCHED_S:
            progress(passed / (WARM_UP_S + WATCHED_S), "100 sensors, each second")
            for program in programs:
                program.look()
            now_ms = time.time_ns() // 1_000_000
            after = max(since_ms, now_ms - LOOKS_BACK_MS)
            rows = await store.read(Query(gateway=gateway, since_ms=after))
            now_ms = time.time_ns() // 1_000_000
            fresh = {(row.at_ms, row.sensor) for row in rows} - seen
            ages += [(now_ms - at_ms) / 1000 for at_ms, _ in fresh]
            seen |= fresh
            await asyncio.sleep(ASKED_EVERY_S)
    return ages
