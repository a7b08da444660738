"""The lamp while everything behind the gateway fails: from the first reading over red to the lamp
that is read back, with the broker dead, with a backlog that drains, and with the disk full, each
against the same gateway, a minute earlier or later, when all is well.

A serial line of 9600 baud, four fifths of it taken by polling, carries ruler and relay; one reading
confirms. The gateway's state lies on a small disk of its own (a tmpfs in a mount namespace), which
can be filled. The stopwatch is the gateway's own, as its log tells it.
"""

import asyncio
import json
import os
import statistics
import tempfile
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any, Final

import tomlkit

from bench import backlog, waves
from bench.counterpart import Counterpart
from bench.figure import Figure, Goal, Progress, Result, spread
from bench.programs import Mosquitto, Program, free_port
from configs.loader import UserError
from edge.doors import Absent, ask_reload, ask_status
from edge.status import Status
from wire.mqtt import Broker

RISES: Final = 12
FEWEST: Final = 8
PERIOD_S: Final = 1.07  # no multiple of the polls: the water rises at every phase of them
PHASES: Final = 5
WAVES: Final = 1000

OUTAGE_S: Final = 2 * 3600
OUTAGE_SENSORS: Final = 20
STATE_MB: Final = 32
PATIENCE_S: Final = 60.0

FIGURE: Final = Figure(
    "depth to lamp under the worst of three faults / when all is well, medians",
    "ratio",
    Goal("<=", 1.2),
)


async def measure(progress: Progress) -> Result:
    """About 100 s. Raises UserError if a program fails, or if a fault does not show."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, port = Path(name), free_port()
        (folder / "state").mkdir()
        tables = {
            "uplink": {"broker": {"port": port}, "drain_at_stop_s": 0},
            "outbox": {"path": "state/outbox.db", "seal_every_s": 1, "reserve_mb": 0},
        }
        gateway = waves.write(folder, PERIOD_S, WAVES, tables)
        await backlog.fill(folder / "outbox.db", gateway, OUTAGE_SENSORS, OUTAGE_S, lambda _: None)
        with Program("sim", folder, *waves.SIMULATOR) as sim:
            sim.wait_until(lambda: '"ready"' in _text(folder / "truth.jsonl"))
            with Program(
                "edge", folder, "edge", "run", "--unattended", "--log", "json", before=_small_disk()
            ) as edge:
                return await _Stage(folder, port, gateway, edge, progress).play()


class _Stage:
    """One gateway and what befalls it."""

    def __init__(
        self, folder: Path, port: int, gateway: str, edge: Program, progress: Progress
    ) -> None:
        self.folder = folder
        self.port = port
        self.gateway = gateway
        self.edge = edge
        self.progress = progress
        self.played = 0.0

    async def play(self) -> Result:
        await self._until("the gateway shows red", lambda _: bool(self._latencies(0, time())))
        dead = await self._watch("broker dead")
        async with self._cloud() as cloud:
            await self._until("the backlog drains", lambda _: bool(cloud.arrived))
            before = len(cloud.arrived)
            draining = await self._watch("backlog drains")
            waiting = (await self._status()).queue.pending
            if not waiting or len(cloud.arrived) <= before:
                raise UserError("the backlog did not drain all the time")
            drained = len(cloud.arrived) - before
            _change(self.folder, backlog_kb_per_s=100_000)
            await ask_reload(self._state / "outbox.sock")
            await self._until("the backlog is gone", lambda now: now.queue.pending <= 2)
            idle = await self._watch("all is well")
            busy = (await self._status()).buses[0].busy
            with _Filler(self._state / "filler"):
                full = await self._watch("disk full")
                if self._free_bytes():
                    raise UserError("the disk was not full all the time")
            await self._until("the outbox recovers", lambda now: now.queue.pending <= 2)
            idle += await self._watch("all is well again")
        well = statistics.median(idle)
        faults = {"broker dead": dead, "backlog drains": draining, "disk full": full}
        ratios = {name: statistics.median(values) / well for name, values in faults.items()}
        return Result(
            max(ratios.values()),
            {
                "all is well, ms": spread(idle),
                **{f"{name}, ms": spread(values) for name, values in faults.items()},
                **{f"{name}, ratio": ratio for name, ratio in ratios.items()},
                "batches drained meanwhile": drained,
                "bus busy when all is well, %": 100 * busy,
            },
        )

    @property
    def _state(self) -> Path:
        """The gateway's state folder, which is mounted in its own namespace only."""
        return Path(f"/proc/{self.edge.pid}/root") / str(self.folder / "state").lstrip("/")

    async def _watch(self, doing: str) -> list[float]:
        """What the lamp takes in the time of some waves, ms."""
        begin = time()
        for _ in range(RISES + 1):
            self.progress(self.played / PHASES, doing)
            self.played += 1 / (RISES + 1)
            await asyncio.sleep(PERIOD_S)
            self.edge.look()
        found = self._latencies(begin, time())
        if len(found) < FEWEST:
            raise UserError(f"{doing}: the lamp turned red {len(found)} times, not {FEWEST}")
        return found

    def _latencies(self, begin: float, end: float) -> list[float]:
        """Those that the gateway has told of between two UTC times, ms."""
        found = []
        for line in _text(self.edge.log).split("\n")[:-1]:
            said = json.loads(line)
            _, mark, figure = said["message"].partition(": red confirmed by read-back after ")
            if mark and begin <= datetime.fromisoformat(said["at"]).timestamp() < end:
                found.append(float(figure.removesuffix(" ms")))
        return found

    async def _status(self) -> Status:
        return await ask_status(self._state / "outbox.sock")

    async def _until(self, what: str, holds: Any) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self.edge.look()
                    with suppress(Absent):
                        if holds(await self._status()):
                            return
                    await asyncio.sleep(0.2)
        raise UserError(f"not within {PATIENCE_S:g} s: {what}")

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._state)
        return disk.f_bavail * disk.f_frsize

    @asynccontextmanager
    async def _cloud(self) -> AsyncIterator[Counterpart]:
        with Mosquitto(self.folder, self.port) as broker:
            broker.wait_until(broker.accepts)
            cloud = Counterpart(Broker(port=self.port), self.gateway)
            task = asyncio.create_task(cloud.run(), name="counterpart")
            try:
                yield cloud
            finally:
                task.cancel()
                await asyncio.wait((task,))


class _Filler:
    """Takes what is left of a disk, from entry to exit of the `with` block."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        with self._file.open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def __exit__(self, *_: object) -> None:
        self._file.unlink()


def _small_disk() -> Sequence[str]:
    """Words in front of a command: it finds at `state` a small disk, with the outbox on it."""
    mount = f"mount -t tmpfs -o size={STATE_MB}m tmpfs state && cp outbox.db state/ && exec "
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mount}"$@"', "sh")


def _change(folder: Path, **uplink: float) -> None:
    """Set keys of [uplink] in gateway.toml."""
    file = folder / "gateway.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    tables["uplink"] |= uplink
    file.write_text(tomlkit.dumps(tables), encoding="utf-8")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
