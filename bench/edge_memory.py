"""Memory of the gateway's process with a long outage behind it.

100 sensors, read each second: 99 behind a Modbus TCP port, and the ruler of an underpass whose lamp
hangs on the same serial line. Its outbox holds three days of them. It is watched while no broker is
there, and while the backlog drains into one beside the live data. Afterwards every known attack is
fired at it, and commands without end, half of them rightly signed: that figure is only reported.
"""

import asyncio
import re
import tempfile
import time
import tomllib
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import tomlkit

from bench import backlog
from bench.attacks import Attacker, Target
from bench.counterpart import Counterpart
from bench.figure import Figure, Goal, Progress, Result, spread
from bench.programs import Mosquitto, Program, as_installed, free_port
from configs import loader
from configs.loader import UserError
from wire import signing, topics
from wire.aspect import Aspect
from wire.messages import Action, Command
from wire.mqtt import Broker, connect
from wire.topics import What

SENSORS: Final = 100
OUTAGE_S: Final = 3 * 86400
WATCHED_S: Final = 60
FLOODED_S: Final = 20
SAMPLES_A_SECOND: Final = 2
FILLING: Final = 0.25
"""Of the time that it takes."""

KEY: Final = "ops-1"
PERSON: Final = "Li Wei"
SITE: Final = loader.HERE / "sites" / "underpass"

FIGURE: Final = Figure(
    "resident memory of the gateway, 100 sensors each second, 3 days in the outbox, worst moment",
    "MiB",
    Goal("<=", 45),
)


async def measure(progress: Progress) -> Result:
    """About three minutes. Raises UserError if a program fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        port = free_port()
        private, public = signing.generate()
        gateway = write(folder, port, {KEY: public})
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
                with Mosquitto(folder, port) as broker:
                    broker.wait_until(broker.accepts)
                    drained, draining, flooded = await _drain(
                        edge, port, gateway, private, progress
                    )
                highest = _memory(edge, "VmHWM")
        if not 0 < drained < waiting:
            raise UserError(f"{drained} of {waiting} batches came: the backlog did not drain")
    return Result(
        max(*alone, *draining),
        {
            "no broker, MiB": spread(alone),
            "while the backlog drains, MiB": spread(draining),
            "under attack and a flood of commands, MiB": spread(flooded),
            "highest ever, start included, MiB": highest,
            "batches in the outbox": waiting,
            "the outbox's file, MiB": size_mib,
            "batches drained meanwhile": drained,
        },
    )


def write(folder: Path, broker_port: int, keys: Mapping[str, str] = MappingProxyType({})) -> str:
    """Write gateway.toml, which obeys commands of these public keys, and sim.toml; the gateway's
    name."""
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
    gateway["command"] = {"keys": dict(keys)}
    gateway["clock"] = {"source": "trusted"}
    for name, tables in (("gateway", gateway), ("sim", sim)):
        (folder / f"{name}.toml").write_text(tomlkit.dumps(tables), encoding="utf-8")
    return str(gateway["gateway"]["id"])


def _read(name: str) -> Any:
    return tomllib.loads((SITE / f"{name}.toml").read_text(encoding="utf-8"))


def text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


async def _watch(
    edge: Program, progress: Progress, begin: float, doing: str, seconds: int = WATCHED_S
) -> list[float]:
    samples = []
    for i in range(samples_due := seconds * SAMPLES_A_SECOND):
        progress(begin + (1 - FILLING) / 2 * i / samples_due, doing)
        await asyncio.sleep(1 / SAMPLES_A_SECOND)
        edge.look()
        samples.append(_memory(edge, "VmRSS"))
    return samples


async def _drain(
    edge: Program, port: int, gateway: str, private: str, progress: Progress
) -> tuple[int, list[float], list[float]]:
    """How many batches came, and the memory meanwhile and then under attack, MiB."""
    came = asyncio.Event()
    cloud = Counterpart(Broker(port=port), gateway, on_arrival=lambda _: came.set())
    listening = asyncio.create_task(cloud.run(), name="counterpart")
    try:
        async with asyncio.timeout(60):
            await came.wait()
        draining = await _watch(edge, progress, (1 + FILLING) / 2, "the backlog drains")
        drained = len(cloud.arrived)
        flooded = await _flood(edge, port, gateway, private)
    except TimeoutError:
        raise UserError("nothing came from the gateway within a minute") from None
    finally:
        listening.cancel()
        await asyncio.wait((listening,))
    return drained, draining, flooded


async def _flood(edge: Program, port: int, gateway: str, private: str) -> list[float]:
    attacker = Attacker(Target(port, gateway), seed=1)
    attacks = [
        asyncio.create_task(attacker.run(FLOODED_S), name="attacker"),
        asyncio.create_task(_command(port, gateway, private), name="commands"),
    ]
    try:
        samples = await _watch(edge, lambda *_: None, 0, "under attack", FLOODED_S)
    finally:
        for attack in attacks:
            attack.cancel()
        await asyncio.wait(attacks)
    if f"raise by {PERSON} ({KEY}) confirmed" not in text(edge.log):
        raise UserError("the gateway has obeyed no command")
    return samples


async def _command(port: int, gateway: str, private: str) -> None:
    """Raises without end; every second one is signed by somebody else."""
    topic = topics.topic("0", gateway, What.COMMAND)
    (site,) = _read("gateway")["interlock"]
    keys = private, signing.generate()[0]
    async with connect(Broker(port=port), "commands") as session:
        for number in count():
            now_ms = time.time_ns() // 1_000_000
            raising = Command(
                id=f"{number:016x}",
                gateway=gateway,
                site=site,
                action=Action.RAISE,
                sequence=now_ms + number,
                issued_ms=now_ms,
                aspect=Aspect.AMBER if number % 4 < 2 else Aspect.RED,
                person=PERSON,
            )
            await session.send(topic, signing.sign(raising, KEY, keys[number % 2]))


def _memory(program: Program, what: str) -> float:
    """A line of /proc/PID/status, MiB."""
    status = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
