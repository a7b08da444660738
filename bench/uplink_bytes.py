"""Bytes on a gateway's uplink for each reading: at the socket, both ways, with MQTT and TLS.

The agent as it is sold, but for its field: 100 sensors of ten underpasses, each read every second,
walk as water and walls do, by a unit or two of their resolution (1 cm, 1 mm, 0.2 mm of rain), and
their times jitter by milliseconds. Two are an interlock's rulers. The broker is mosquitto with TLS;
the cloud acknowledges each batch, the gateway tells its status every 5 s.
"""

import asyncio
import datetime
import ipaddress
import random
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import tomlkit
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.counterpart import Counterpart
from bench.counting import Count, counting
from bench.figure import Figure, Goal, Progress, Result
from bench.programs import Mosquitto, free_port
from configs.loader import UserError
from edge import config
from edge.agent import Agent, open_agent
from wire.mqtt import Broker
from wire.reading import Quality, Quantity, Reading

SITES: Final = 10
WARM_UP_S: Final = 5
MEASURED_S: Final = 60
JITTER_MS: Final = 3.0
RULERS: Final = ("ruler-1", "ruler-2")

FIGURE: Final = Figure(
    "bytes on the uplink for each reading, both ways, with MQTT and TLS, 100 sensors each second",
    "bytes",
    Goal("<=", 12),
)


class Gauge(NamedTuple):
    """A sensor: `at` steps of its resolution, in SI."""

    site: str
    name: str
    quantity: Quantity
    step: float
    at: int


_OF_A_SITE: Final = (
    *(("ruler-1", Quantity.DEPTH, 0.01, 12), ("ruler-2", Quantity.DEPTH, 0.01, 14)),
    *(("level-1", Quantity.LEVEL, 0.001, 2345), ("level-2", Quantity.LEVEL, 0.001, 1871)),
    *(("level-3", Quantity.LEVEL, 0.001, 904), ("sump-1", Quantity.DEPTH, 0.01, 87)),
    *(("crack-1", Quantity.DISPLACEMENT, 0.001, 12), ("crack-2", Quantity.DISPLACEMENT, 0.001, 7)),
    *(("rain-1", Quantity.RAIN_TOTAL, 0.0002, 1310), ("air-1", Quantity.TEMPERATURE, 0.1, 215)),
)


def gauges() -> list[Gauge]:
    return [
        Gauge(f"underpass-{site:02d}", *gauge)
        for site in range(1, SITES + 1)
        for gauge in _OF_A_SITE
    ]


def readings(dice: random.Random, second: int, begin_ms: int) -> Iterator[tuple[float, Reading]]:
    """What all say in one second: when, in s, and what."""
    everybody = gauges()
    for i, gauge in enumerate(everybody):
        at_s = second + i / len(everybody) + dice.gauss(0, JITTER_MS) / 1000
        noise = 0 if gauge.quantity is Quantity.RAIN_TOTAL else round(dice.gauss(0, 1.2))
        value = round((gauge.at + noise) * gauge.step, 6)
        at_ms = begin_ms + round(at_s * 1000)
        yield at_s, Reading(gauge.site, gauge.name, gauge.quantity, value, at_ms, Quality.GOOD)


async def measure(progress: Progress) -> Result:
    """A little more than a minute. Raises UserError if nothing arrives."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        return await _measure(folder, progress)


async def _measure(folder: Path, progress: Progress) -> Result:
    port, door = free_port(), free_port()
    certificate = _certificate(folder)
    tls = Broker(port=port, tls=True, ca_file=str(certificate))
    (folder / "gateway.toml").write_text(tomlkit.dumps(_config(door, certificate)), "utf-8")
    cloud = Counterpart(tls, "yuzhong-01")
    broker = Mosquitto(folder, port)
    with (folder / "mosquitto.conf").open("a", encoding="utf-8") as file:
        # Started by root it would change to a user who may not read the key.
        file.write(f"certfile {certificate}\nkeyfile {certificate}\nuser root\n")
    with broker:
        broker.wait_until(broker.accepts)
        async with (
            counting(door, port) as count,
            open_agent(
                folder / "gateway.toml", config.read(folder / "gateway.toml"), attended=True
            ) as agent,
        ):
            await agent.keeper.start()
            agent.sealer.urgent = frozenset(RULERS)
            tasks = [
                asyncio.create_task(cloud.run(), name="counterpart"),
                asyncio.create_task(agent.run(), name="agent"),
            ]
            try:
                await cloud.listens.wait()
                return await _count(agent, cloud, count, progress)
            finally:
                for task in tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task


async def _count(agent: Agent, cloud: Counterpart, count: Count, progress: Progress) -> Result:
    dice = random.Random(1)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    begin_ms = agent.time.now()
    up = down = batches = known = 0
    for second in range(WARM_UP_S + MEASURED_S):
        progress(second / (WARM_UP_S + MEASURED_S), "100 readings each second")
        if second == WARM_UP_S:
            up, down, batches = count.up, count.down, len(cloud.arrived)
            known = _readings(cloud)
        for at_s, reading in readings(dice, second, begin_ms):
            await asyncio.sleep(begin + at_s - loop.time())
            agent.sealer.add(reading)
    up, down = count.up - up, count.down - down
    arrived = _readings(cloud) - known
    if not arrived:
        raise UserError("nothing arrived")
    return Result(
        (up + down) / arrived,
        {
            "up, bytes": up / arrived,
            "down, bytes": down / arrived,
            "readings": arrived,
            "batches": len(cloud.arrived) - batches,
            "readings in a batch": arrived / (len(cloud.arrived) - batches),
            "seal interval, s": agent.setup.config.outbox.seal_every_s,
        },
    )


def _readings(cloud: Counterpart) -> int:
    return sum(len(arrival.batch.readings) for arrival in cloud.arrived.values())


def _config(port: int, certificate: Path) -> dict[str, object]:
    broker = {"port": port, "tls": True, "ca_file": str(certificate)}
    return {
        "gateway": {"id": "yuzhong-01", "site": "underpass-01"},
        "uplink": {"broker": broker, "drain_at_stop_s": 0},
        "clock": {"source": "trusted"},
    }


def _certificate(folder: Path) -> Path:
    """A server's key and certificate for 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "broker.pem"
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(
        key.private_bytes(pem, private, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return file
