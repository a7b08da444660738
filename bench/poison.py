"""A million hostile messages into a running cloud and a running gateway: how often one of the two
ended, was held, or grew.

mosquitto, `shuichi cloud run` with an SQLite store, `shuichi edge run` and its simulated devices
are processes of their own. The messages are those of `bench.hostile`: valid envelopes with hostile
fields, of all kinds, some of the commands rightly signed. The quotas are so wide that they spare no
decoder anything. Beside them the gateway sends its own batches, and both processes are asked over
their local sockets whether they answer. Counted are ends of a process, answers that took longer
than `HELD_S`, and a process that has grown by `GROWN_MIB` since the first twentieth of the
messages.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import tomlkit

from bench import edge_memory
from bench.figure import Figure, Goal, Progress, Result
from bench.hostile import TO_CLOUD, TO_GATEWAY, Generator, Hostile
from bench.programs import Mosquitto, Program, free_port
from configs.loader import UserError
from wire import codec, signing, topics
from wire.messages import Ack, Batch
from wire.mqtt import Broker, Disconnected, Session, Unreachable, connect
from wire.signing import Context
from wire.topics import What

MESSAGES: Final = int(os.environ.get("MESSAGES", "1000000"))
SEED: Final = int(os.environ.get("SEED", "1"))
TO_GATEWAY_SHARE: Final = 0.25
OUTSTANDING: Final = 400
HELD_S: Final = 1.0
GROWN_MIB: Final = 64.0
ASKED_EVERY_S: Final = 0.1
DRAINED_WITHIN_S: Final = 300.0
CHECKED_EVERY: Final = 600
"""Messages between checkpoints: fewer than may wait for their turn in the cloud."""

CHECKPOINTS: Final = "00000000c0ffee00"
SETTLES_S: Final = 5.0
HOSTILE: Final = "gw-hostile"
SITE: Final = "north-underpass"

FIGURE: Final = Figure(
    f"ends, holds over {HELD_S:g} s and growths over {GROWN_MIB:g} MiB of cloud and gateway, "
    f"under {MESSAGES} hostile messages",
    "faults",
    Goal("<=", 0),
)


@dataclass
class Watched:
    """A process under fire, and what was seen of it."""

    program: Program
    socket: Path
    question: bytes
    ends: int = 0
    held: list[float] = field(default_factory=list)
    slowest_s: float = 0.0
    asked: int = 0
    first_mib: list[float] = field(default_factory=list)
    most_mib: float = 0.0

    @property
    def grown_mib(self) -> float:
        return self.most_mib - median(self.first_mib) if self.first_mib else 0.0

    @property
    def faults(self) -> int:
        return self.ends + len(self.held) + (self.grown_mib > GROWN_MIB)

    async def ask(self) -> None:
        """How long an answer takes."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_unix_connection(self.socket)
                try:
                    writer.write(self.question)
                    await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return  # it has ended: that is seen elsewhere
        took_s = time.monotonic() - began
        self.asked += 1
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > HELD_S:
            self.held.append(took_s)

    def look(self, *, early: bool) -> None:
        """Whether it runs, and how large it is; one that has ended is started again."""
        try:
            self.program.look()
        except UserError:
            self.ends += 1
            self.program.start()
            return
        status = Path(f"/proc/{self.program.pid}/status").read_text(encoding="ascii")
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        if found is None:
            return
        mib = int(found[1]) / 1024
        self.most_mib = max(self.most_mib, mib)
        if early:
            self.first_mib.append(mib)


async def measure(progress: Progress) -> Result:
    """Some ten minutes for a million; `MESSAGES` and `SEED` in the environment set others. Raises
    UserError if the programs cannot be started."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        port = free_port()
        gateway, private = _write(folder, port)
        broker = Mosquitto(folder, port, "max_queued_messages 0", "max_inflight_messages 0")
        sim = Program("sim", folder, "sim", "run", "sim.toml", "--truth", "truth.jsonl")
        cloud = Program("cloud", folder, "cloud", "run", "--unattended")
        edge = Program("edge", folder, "edge", "run", "--unattended")
        with broker, sim:
            broker.wait_until(broker.accepts)
            sim.wait_until(lambda: '"ready"' in edge_memory.text(folder / "truth.jsonl"))
            with cloud, edge:
                cloud.wait_until(lambda: "listening at" in edge_memory.text(cloud.log))
                edge.wait_until(lambda: "confirmed" in edge_memory.text(edge.log))
                watched = (
                    Watched(cloud, folder / "cloud.sock", b"\n"),
                    Watched(edge, folder / "outbox.sock", b"status\n"),
                )
                sent, took_s = await _fire(port, gateway, private, watched, progress)
                account = await _account(folder, gateway, progress)
                signal = _signal(folder)
    details: dict[str, Any] = {
        "messages": sum(sent.values()),
        "kinds of attack": len(sent),
        "messages a second": sum(sent.values()) / took_s,
    }
    for one in watched:
        who = one.program.name
        details |= {
            f"{who}: ends": one.ends,
            f"{who}: answers over {HELD_S:g} s": len(one.held),
            f"{who}: slowest of {one.asked} answers, s": one.slowest_s,
            f"{who}: grown by, MiB": one.grown_mib,
        }
    details |= {"the gateway's own batches missing": account, "its signal": signal}
    return Result(sum(one.faults for one in watched), details)


class _Checkpoint:
    """A good batch of the hostile gateway behind its bad messages: once it is acknowledged, the
    cloud is through with all of them, and has let none go unseen for want of room."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._number = 0

    async def pass_(self) -> None:
        self._number += 1
        payload = codec.encode_batch(Batch(HOSTILE, CHECKPOINTS, self._number))
        await self._session.publish(topics.topic("0", HOSTILE, What.DATA), payload)
        try:
            async with asyncio.timeout(DRAINED_WITHIN_S):
                while not await self._is_acknowledged():
                    pass
        except TimeoutError:
            raise UserError("the cloud does not get through with the hostile messages") from None

    async def _is_acknowledged(self) -> bool:
        found = False
        for message in await self._session.take(100):
            self._session.ack(message)
            with suppress(codec.DecodeError):
                ack = codec.decode(message.payload, Ack)
                found |= ack.stream == CHECKPOINTS and any(
                    first <= self._number <= last for first, last in ack.batches
                )
        return found


async def _fire(
    port: int, gateway: str, private: str, watched: tuple[Watched, ...], progress: Progress
) -> tuple[Counter[str], float]:
    """Send all of it while the processes are watched; what was sent, by attack, and how long it
    took."""
    sent: Counter[str] = Counter()
    began = time.monotonic()
    watching = asyncio.create_task(_watch(watched, sent), name="watch")
    try:
        while sum(sent.values()) < MESSAGES:  # the broker may end a connection for a packet
            try:
                async with (
                    connect(Broker(port=port), "bench-hostile") as session,
                    connect(Broker(port=port), "bench-checkpoint") as other,
                ):
                    await other.subscribe(topics.topic("0", HOSTILE, What.ACK))
                    checkpoint = _Checkpoint(other)
                    await _send(session, gateway, private, sent, checkpoint, progress)
            except* (Disconnected, Unreachable):
                await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLES_S)
    finally:
        watching.cancel()
        await asyncio.wait((watching,))
    for one in watched:
        one.look(early=False)
    return sent, time.monotonic() - began


async def _send(
    session: Session,
    gateway: str,
    private: str,
    sent: Counter[str],
    checkpoint: _Checkpoint,
    progress: Progress,
) -> None:
    now_ms = time.time_ns() // 1_000_000

    def sign(body: bytes) -> bytes:
        if b"move" in body:  # obeyed, it would lead the gateway out of the line of fire
            raise ValueError
        return signing.sign_body(body, Context.COMMAND, "ops-1", private)

    seed = SEED * 1_000_003 + sum(sent.values())
    to_cloud = Generator(seed, HOSTILE, (SITE,), now_ms=now_ms).messages(*TO_CLOUD)
    site = "daping-underpass"
    to_gateway = Generator(seed, gateway, (site,), sign, now_ms).messages(*TO_GATEWAY)
    outstanding: set[asyncio.Future[bool]] = set()
    dice = Generator(seed).dice
    while (done := sum(sent.values())) < MESSAGES:
        if done % 1000 == 0:
            progress(0.9 * done / MESSAGES, f"{done} of {MESSAGES} messages")
        at_gateway = dice.random() < TO_GATEWAY_SHARE
        one = next(to_gateway if at_gateway else to_cloud)
        topic = _topic(gateway if at_gateway else HOSTILE, one)
        future = session.send(topic, one.payload)
        sent[f"{one.what.value}: {one.attack}"] += 1
        outstanding.add(future)
        future.add_done_callback(outstanding.discard)
        while len(outstanding) >= OUTSTANDING:
            await asyncio.wait(outstanding, return_when=asyncio.FIRST_COMPLETED)
        if done % 50 == 0:
            await asyncio.sleep(0)
        if done % CHECKED_EVERY == CHECKED_EVERY - 1:
            await asyncio.wait(outstanding)
            await checkpoint.pass_()
    if outstanding:
        await asyncio.wait(outstanding)
    await checkpoint.pass_()


def _topic(gateway: str, one: Hostile) -> str:
    site = one.site if one.what is What.INTERLOCK else None
    if one.what is What.INTERLOCK and (not isinstance(site, str) or not topics.is_name(site)):
        site = SITE
    return topics.topic("0", gateway, one.what, site)


async def _watch(watched: tuple[Watched, ...], sent: Counter[str]) -> None:
    while True:
        early = sum(sent.values()) < MESSAGES / 20
        for one in watched:
            one.look(early=early)
            await one.ask()
        await asyncio.sleep(ASKED_EVERY_S)


async def _account(folder: Path, gateway: str, progress: Progress) -> int:
    """How many batches of the honest gateway are missing, once it has had time to resend."""
    missing = -1
    for _ in range(30):
        progress(0.98, "account")
        done = await asyncio.to_thread(_run, folder, "account", "--json")
        found = json.loads(done)
        missing = sum(
            last - first + 1
            for one in found["streams"]
            if one["gateway"] == gateway
            for first, last in one["missing"]
        )
        if missing == 0:
            break
        await asyncio.sleep(1)
    return missing


def _signal(folder: Path) -> str:
    (lamp,) = json.loads(_run(folder, "edge", "status", "--json"))["lamps"]
    return f"{lamp['wanted']} wanted, {lamp['confirmed']} confirmed"


def _run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "shuichi", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise UserError(f"shuichi {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _write(folder: Path, port: int) -> tuple[str, str]:
    """The configs; the gateway's name and the private key of its commands."""
    gateway = edge_memory.write(folder, port)
    private, public = signing.generate()
    file = folder / "gateway.toml"
    edge = tomlkit.parse(file.read_text(encoding="utf-8"))
    edge["command"] = {"keys": {"ops-1": public}}
    edge["sensor"] = {"ruler-1": edge["sensor"]["ruler-1"]}
    file.write_text(tomlkit.dumps(edge), encoding="utf-8")
    wide = {
        "mb_per_minute": 1e6,
        "messages_per_minute": 10**9,
        "records_per_minute": 10**9,
        "events_per_minute": 10**9,
        "faults_per_minute": 10**9,
        "streams_per_hour": 10**9,
    }
    cloud = {
        "broker": {"port": port},
        "quota": wide,
        "ingest": {"gateway_share": 1.0},
        "quarantine": {"most_mb": 64},
        "gateway": {
            HOSTILE: {"sites": [SITE]},
            gateway: {},
        },
        "rule": {
            "depth": {
                "kind": "threshold",
                "quantity": "depth",
                "red": {"over_cm": 30, "clear_cm": 27},
            },
            "rise": {"kind": "rise", "red": {"over_cm": 20, "clear_cm": 10}},
            "rain": {"kind": "rain_sum"},
            "crack": {"kind": "crack", "v0_mm_day": 0.5},
            "lamp": {"kind": "interlock"},
            "stale": {"kind": "stale"},
            "dead": {"kind": "gateway_dead"},
            "clock": {"kind": "clock_untrusted"},
            "ledger": {"kind": "ledger_gap"},
        },
        "channel": {"log": {"kind": "log", "path": "alerts.jsonl"}},
    }
    (folder / "cloud.toml").write_text(tomlkit.dumps(cloud), encoding="utf-8")
    return gateway, private
