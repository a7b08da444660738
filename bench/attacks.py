"""A script that fires every known attack at a broker, a gateway and a cloud, in an order that a
seed decides: `python -m bench.attacks --broker PORT --gateway NAME --seconds 60`. Only for what
runs on this machine: it speaks to 127.0.0.1 and to nobody else.

The attacker may write every topic, as where a broker has no access control, but has no key. It
speaks as a gateway of its own (`gw-hostile`), sends forged acks, replies and commands in the name
of others, takes over sessions, and opens HTTP connections that say nothing.
"""

import asyncio
import contextlib
import json
import random
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import click

from bench.hostile import TO_CLOUD, TO_GATEWAY, Generator
from wire import topics
from wire.mqtt import Broker, Disconnected, PublishRefused, Session, Unreachable, connect
from wire.topics import What

HOSTILE: Final = "gw-hostile"
SITE: Final = "hostile-site"
HALF_OPEN: Final = 1200
"""HTTP requests that never end: more than the descriptors of a process that nobody has raised."""

PAUSE_S: Final = 0.3


@dataclass
class Target:
    """Whom to attack. `web_port` None: no HTTP. `stream` is that of the gateway, if it is known."""

    broker_port: int
    gateway: str
    shard: str = "0"
    web_port: int | None = None
    streams: tuple[str, ...] = ("0000000000000000",)


class Attacker:
    """One connection and its dice; `fired` counts what was done, by name."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.dice = random.Random(seed)
        self.fired: Counter[str] = Counter()
        self._seed = seed
        self._session: Session | None = None
        self._open: list[asyncio.StreamWriter] = []

    async def run(self, seconds: float) -> None:
        """Fire for so long, whatever it does to our own connection; then let go of everything."""
        end = time.monotonic() + seconds
        attacks: list[Attack] = []
        try:
            while time.monotonic() < end:
                with contextlib.suppress(Unreachable, Disconnected, ExceptionGroup):
                    async with connect(Broker(port=self.target.broker_port), "attacker") as session:
                        self._session = session
                        await session.subscribe(self._topic(self.target.gateway, What.STATUS))
                        while time.monotonic() < end:
                            await self._learn(session)
                            if not attacks:  # each once a round
                                attacks = self.dice.sample(ATTACKS, len(ATTACKS))
                            attack = attacks.pop()
                            self.fired[attack.__name__.strip("_")] += 1
                            await attack(self)
                            await asyncio.sleep(PAUSE_S * self.dice.random())
                await asyncio.sleep(0.05)
        finally:
            self._session = None
            for writer in self._open:
                writer.close()

    async def _learn(self, session: Session) -> None:
        """The gateway's stream, from its status: what is forged should be near the truth."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                for message in await session.take(100):
                    session.ack(message)
                    with contextlib.suppress(ValueError):
                        stream = str(json.loads(message.payload).get("stream", ""))
                        if stream and stream not in self.target.streams:
                            self.target.streams = (*self.target.streams, stream)[-4:]

    async def send(
        self, gateway: str, what: What, payload: bytes, *, retain: bool = False, site: str = ""
    ) -> None:
        """To a topic of `gateway`. What the broker refuses has hurt nobody."""
        assert self._session is not None
        topic = self._topic(gateway, what, site)
        with contextlib.suppress(PublishRefused, TimeoutError):
            async with asyncio.timeout(10):
                await self._session.send(topic, payload, retain=retain)

    async def batch(self, what: What = What.DATA, gateway: str = HOSTILE, **parts: Any) -> None:
        """A batch of the hostile gateway with these parts."""
        whole = {
            "gateway": gateway,
            "stream": f"{self.dice.getrandbits(64):016x}",
            "number": self.dice.randint(1, 1000),
            "v": 1,
            **parts,
        }
        await self.send(gateway, what, zlib.compress(json.dumps(whole).encode(), 1))

    def _topic(self, gateway: str, what: What, site: str = "") -> str:
        return topics.topic(self.target.shard, gateway, what, site or None)


Attack = Callable[[Attacker], Awaitable[None]]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def forged_acks(one: Attacker) -> None:
    """Acks that nobody has proven: of everything, of numbers that do not exist, retained."""
    ranges: list[Any] = [[[1, 2**63]], [[-1, 2**62]], [[1, 2**53]], [[1, 10_000]], [[5, 1]]]
    for stream in one.target.streams:
        payload = json.dumps({"stream": stream, "batches": one.dice.choice(ranges), "v": 1})
        retain = one.dice.random() < 0.3
        await one.send(one.target.gateway, What.ACK, payload.encode(), retain=retain)


async def large_ack(one: Attacker) -> None:
    batches = [[n, n] for n in range(0, 400_000, 2)]
    payload = json.dumps({"stream": "x", "batches": batches, "v": 1}).encode()
    await one.send(one.target.gateway, What.ACK, payload)


async def large_message(one: Attacker) -> None:
    await one.send(HOSTILE, What.DATA, one.dice.randbytes(5 << 20))
    await one.send(one.target.gateway, What.COMMAND, b"{" * (3 << 20))


async def huge_number(one: Attacker) -> None:
    detail = {"silent_s": 10**400}
    event = {"at_ms": _now_ms(), "site": SITE, "kind": "ruler_lost", "text": "x", "detail": detail}
    await one.batch(What.EVENT, events=[event])


async def dear_faults(one: Attacker) -> None:
    """Base fields that would be copied into each fault."""
    name = f"{HOSTILE}/{SITE}/" + "n" * 50_000
    await one.batch(senml=[{"bn": name, "bu": "m"}, *[{"v": "x"}] * 20_000])


async def many_faults(one: Attacker) -> None:
    await one.batch(senml=[{}, *[5] * 300_000])


async def descending_gap(one: Attacker) -> None:
    batches = [[n, n] for n in range(400_000, 0, -2)]
    gap = {"reason": "x", "from_ms": 0, "to_ms": 2**53, "readings": 2**53, "batches": batches}
    await one.batch(What.EVENT, gaps=[gap])


async def many_gaps(one: Attacker) -> None:
    gap = {"reason": "disk full\n" * 50, "from_ms": 0, "to_ms": 1}
    await one.batch(What.EVENT, gaps=[gap] * 900)


async def sparse_numbers(one: Attacker) -> None:
    for _ in range(50):
        await one.batch(stream="deadbeefdeadbeef", number=one.dice.randint(1, 2**53))


async def random_streams(one: Attacker) -> None:
    for _ in range(50):
        await one.batch(senml=[_record(SITE, "ruler", 0.5)])


async def unknown_sites(one: Attacker) -> None:
    """A flood at a thousand places that nobody knows."""
    records = [_record(f"site-{one.dice.getrandbits(40):x}", "ruler", 1.5) for _ in range(1000)]
    await one.batch(senml=records)


async def unknown_gateways(one: Attacker) -> None:
    for _ in range(30):
        name = f"gw-{one.dice.getrandbits(40):x}"
        record = _record(SITE, "ruler", 1.5) | {"bn": f"{name}/{SITE}/ruler/depth"}
        await one.batch(gateway=name, senml=[record])


async def many_sensors(one: Attacker) -> None:
    records = [_record(SITE, f"s-{one.dice.getrandbits(40):x}", 0.1) for _ in range(5000)]
    await one.batch(senml=records)


async def official_alert(one: Attacker) -> None:
    """Text that would stand in messages, reports and terminals."""
    evil = "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07 \u202egnp.exe \r\n FAKE LINE"
    event = {"at_ms": _now_ms(), "site": evil, "kind": evil, "text": evil, "detail": {evil: evil}}
    await one.batch(What.EVENT, events=[event])
    state = {"site": SITE, "wanted": "red", "confirmed": "green", "depth": 9.9, "cause": evil}
    payload = json.dumps(state | {"at_ms": _now_ms(), "v": 1}).encode()
    await one.send(HOSTILE, What.INTERLOCK, payload, retain=True, site=SITE)


async def forged_reply(one: Attacker) -> None:
    reply = {"command": "0" * 16, "outcome": "confirmed", "at_ms": _now_ms(), "aspect": "green"}
    payload = json.dumps(reply | {"v": 1}).encode()
    await one.send(one.target.gateway, What.REPLY, payload)
    await one.send(one.target.gateway, What.REPLY, b"\xff" * 1000)


async def junk_commands(one: Attacker) -> None:
    body = json.dumps({"sequence": 2**53, "action": "lower", "aspect": "green"})
    signed = json.dumps({"body": body, "key": "ops-1", "signature": "AAAA" * 21 + "AA=="}).encode()
    for _ in range(300):
        await one.send(one.target.gateway, What.COMMAND, signed)


async def takeovers(one: Attacker) -> None:
    """Clients that call themselves as the cloud and the gateway do."""
    for name in (f"shuichi-cloud-{one.target.shard}", f"shuichi-{one.target.gateway}"):
        with contextlib.suppress(Unreachable, Disconnected):
            async with connect(Broker(port=one.target.broker_port), name):
                await asyncio.sleep(0.05)


async def half_open_requests(one: Attacker) -> None:
    if one.target.web_port is None or len(one._open) >= HALF_OPEN:
        return
    for _ in range(HALF_OPEN // 3):
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection("127.0.0.1", one.target.web_port)
            writer.write(b"GET /api/alerts HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            one._open.append(writer)


async def generated(one: Attacker) -> None:
    """What the grammar makes."""
    seed = one.dice.getrandbits(32)
    to_cloud = Generator(seed, HOSTILE, (SITE,), now_ms=_now_ms()).messages(*TO_CLOUD)
    to_gateway = Generator(seed, one.target.gateway, (SITE,), now_ms=_now_ms())
    for _ in range(100):
        made = next(to_cloud)
        site = SITE if made.what is What.INTERLOCK else ""
        await one.send(HOSTILE, made.what, made.payload, site=site)
        forged = to_gateway.message(one.dice.choice(TO_GATEWAY))
        await one.send(one.target.gateway, forged.what, forged.payload)


ATTACKS: Final[tuple[Attack, ...]] = (
    forged_acks,
    large_ack,
    large_message,
    huge_number,
    dear_faults,
    many_faults,
    descending_gap,
    many_gaps,
    sparse_numbers,
    random_streams,
    unknown_sites,
    unknown_gateways,
    many_sensors,
    official_alert,
    forged_reply,
    junk_commands,
    takeovers,
    half_open_requests,
    generated,
)


def _record(site: str, sensor: str, value: float) -> dict[str, Any]:
    now_s = time.time()
    return {"bn": f"{HOSTILE}/{site}/{sensor}/depth", "bu": "m", "bt": now_s, "v": value}


@click.command()
@click.option("--broker", type=click.IntRange(1, 65535), required=True, help="Its port.")
@click.option("--web", type=click.IntRange(1, 65535), help="The port of the cloud's web server.")
@click.option("--gateway", required=True, help="The honest gateway.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=60, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(broker: int, web: int | None, gateway: str, seconds: float, seed: int) -> None:
    """Attack what runs on this machine."""
    attacker = Attacker(Target(broker, gateway, web_port=web), seed)
    asyncio.run(attacker.run(seconds))
    for name, times in sorted(attacker.fired.items()):
        click.echo(f"{times:6} {name}")


if __name__ == "__main__":
    main(prog_name="python -m bench.attacks")
