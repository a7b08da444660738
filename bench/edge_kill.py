"""A gateway that is killed (SIGKILL) again and again while it seals and sends: what it had sealed,
and is not at the other end, as the same bytes, when it has been left in peace at last.

Every other kill comes at a random moment of a life that begins, seals, sends, hears acks and
deletes; the rest come within the half millisecond after SQLite was asked to commit. A life's last
word tells whether it died before SQLite's answer.
"""

import asyncio
import os
import random
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

import tomlkit

from bench.counterpart import Counterpart
from bench.figure import Figure, Goal, Progress, Result
from bench.mortal import Mortal
from bench.programs import Mosquitto, free_port
from configs.loader import UserError
from wire.mqtt import Broker

KILLS: Final = int(os.environ.get("KILLS", "500"))
LONGEST_LIFE_S: Final = 0.6
MOST_COMMITS: Final = 12
GATEWAY: Final = "dying"
SEAL_EVERY_S: Final = 0.1

FIGURE: Final = Figure(
    f"batches lost of those sealed, over {KILLS} kill -9", "batches", Goal("<=", 0)
)


class Account(NamedTuple):
    """`lost` were told sealed and did not arrive as they were; `missing` are numbers of the stream
    without a batch, `doubled` readings that are in two."""

    kills: int
    in_commit: int
    told: int
    sealed: int
    lost: int
    missing: int
    changed: int
    doubled: int
    repeated: int
    streams: int


class Gateway(Mortal):
    """What its lives have told that they sealed: a checksum by stream and number."""

    def __init__(self, folder: Path, file: Path) -> None:
        super().__init__("gateway", folder, "bench.dying_gateway", str(file))
        self.sealed: dict[tuple[str, int], int] = {}

    def overhear(self, word: str, rest: list[str]) -> None:
        super().overhear(word, rest)
        if word == "sealed":
            stream, number, checksum = rest
            self.sealed[stream, int(number)] = int(checksum)


async def run(folder: Path, kills: int, progress: Progress = lambda *_: None) -> Account:
    """Kill so often, then let the gateway hand over what it has, and compare."""
    port, dice = free_port(), random.Random()
    file = folder / "gateway.toml"
    file.write_text(tomlkit.dumps(_config(port)), encoding="utf-8")
    cloud = Counterpart(Broker(port=port), GATEWAY)
    with Mosquitto(folder, port) as broker:
        broker.wait_until(broker.accepts)
        listening = asyncio.create_task(cloud.run(), name="counterpart")
        try:
            await cloud.listens.wait()
            async with Gateway(folder, file) as gateway:
                in_commit = 0
                for i in range(kills):
                    progress(i / kills, f"{i} of {kills} killed")
                    if i % 2:
                        pid = await gateway.live()
                        await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_S))
                        os.kill(pid, signal.SIGKILL)
                    else:
                        await gateway.live(f"until-commit {dice.randint(1, MOST_COMMITS)}")
                    await gateway.hear("ended")
                    in_commit += gateway.last == "commit"
                await gateway.live("drain")
                stream, sealed = await gateway.hear("drained")
                await gateway.hear("ended")
        finally:
            listening.cancel()
            await asyncio.wait((listening,))
    return _account(kills, in_commit, gateway.sealed, cloud, stream, int(sealed))


def _config(port: int) -> dict[str, object]:
    return {
        "gateway": {"id": GATEWAY, "site": "site"},
        "uplink": {
            "broker": {"port": port},
            "resend_after_s": 1,
            "backlog_kb_per_s": 100_000,
            "drain_at_stop_s": 0,
        },
        "outbox": {"seal_every_s": SEAL_EVERY_S, "reserve_mb": 0},
        "clock": {"source": "trusted"},
    }


def _account(
    kills: int,
    in_commit: int,
    told: dict[tuple[str, int], int],
    cloud: Counterpart,
    stream: str,
    sealed: int,
) -> Account:
    arrived = cloud.arrived
    values = Counter(
        reading.value for arrival in arrived.values() for reading in arrival.batch.readings
    )
    return Account(
        kills=kills,
        in_commit=in_commit,
        told=len(told),
        sealed=sealed,
        lost=sum(
            key not in arrived or arrived[key].checksum != checksum
            for key, checksum in told.items()
        ),
        missing=sum((stream, number) not in arrived for number in range(1, sealed + 1)),
        changed=len(cloud.changed),
        doubled=sum(times - 1 for times in values.values()),
        repeated=cloud.repeated,
        streams=len({name for name, _ in arrived}),
    )


async def measure(progress: Progress) -> Result:
    """About four minutes. Raises UserError if a program fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        account = await run(Path(name), KILLS, progress)
    if not account.told or not account.in_commit:
        raise UserError(f"the kills hit nothing: {account}")
    value = account.lost + account.missing + account.changed + account.doubled
    return Result(value, account._asdict())
