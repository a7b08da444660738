"""Beside strangers, and a gateway that has gone mad, an honest one is stored, acknowledged and
heard; what was refused is said, and nobody is called for it."""

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.services import Service
from tests.system.aggregator import T0, Cloud, Gateway, batch, connected
from tests.waiting import until
from wire import codec, topics
from wire.messages import Batch, Event, GatewayState, Status
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

LIMITS = """
[gateway.honest]
[gateway.mad]
[gateway.mad.quota]
sites = 3
series = 20
streams_per_hour = 5
messages_per_minute = 500
burst_minutes = 1
[quota]
messages_per_minute = 1000
burst_minutes = 1
"""
EVIL = "\x1b]0;x\x07\u202e\nok: 0 batches missing https://evil.example/"


def account(cloud: Cloud) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shuichi", "account", "--config", str(cloud.file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


async def test_one_mad_gateway_and_many_strangers_cost_only_themselves(
    tmp_path: Path, mosquitto: Service
) -> None:
    honest, mad, stranger = Gateway("honest"), Gateway("mad"), Gateway("stranger-0")
    with Cloud(tmp_path, mosquitto, more=LIMITS) as cloud:
        cloud.start()
        await cloud.listening()
        async with (
            connected(honest, mosquitto) as session,
            connected(mad, mosquitto) as raging,
            connected(stranger, mosquitto) as strange,
        ):
            for n in range(200):  # red water at places that nobody knows, from gateways as unknown
                other = batch(f"stranger-{n}", 1, depth=0.9)
                topic = topics.topic("0", other.gateway, What.DATA)
                strange.send(topic, codec.encode_batch(other))
                lost = Status(other.gateway, GatewayState.LOST, T0, f"s-{n}", 9)
                strange.send(topics.topic("0", other.gateway, What.STATUS), codec.encode(lost))
            for n in range(600):
                names = [(f"site-{n % 50}", f"s-{n}-{m}") for m in range(3)]
                readings = tuple(
                    Reading(*name, Quantity.DEPTH, 0.01, T0 + n, Quality.GOOD) for name in names
                )
                event = Event(T0, "", "outbox_damaged", EVIL, {"what": EVIL})
                sent = Batch("mad", f"stream-{n % 40}", n + 1, readings, (event,) * (n == 0))
                raging.send(mad.topic(What.DATA), codec.encode_batch(sent))
            await honest.send(session, codec.encode_batch(batch("honest", 1, depth=0.2)))
            await until(lambda: honest.forgotten == {1})
            await honest.send(session, codec.encode_batch(batch("honest", 2, depth=0.2)))
            await until(lambda: honest.forgotten == {1, 2})
            await until(lambda: any_refused(cloud))
        (alert,) = [one for one in (await cloud.account()).alerts if one.rule == "amber"]
        assert alert.gateway == "honest"
        assert stranger.acked == []
        streams = {row["gateway"] for row in await cloud.table("stream")}
        assert streams == {"honest", "mad"}
        assert len({row.site for row in await cloud.rows()} - {"underpass"}) <= 3
        series = [row for row in await cloud.table("known_series") if row["gateway"] == "mad"]
        assert len(series) <= 20
        (event_row,) = await cloud.table("event")
        assert event_row["text"].startswith(
            "␛]0;x␇\ufffd␊ok: 0 batches missing https[:]//evil[.]ex"
        )
        told = await asyncio.to_thread(account, cloud)
        assert told.returncode == 1
        assert "\x1b" not in told.stdout + cloud.log.read_text()
        assert "mad: " in told.stdout
        assert "[quota] s" in told.stdout
        assert "NOT OK" in told.stdout
        # After a restart it goes on where it was.
        cloud.stop()
        cloud.start()
        await cloud.listening()
        async with connected(honest, mosquitto) as session, connected(mad, mosquitto) as raging:
            more = Reading("site-49", "new", Quantity.DEPTH, 0.01, T0, Quality.GOOD)
            sent = Batch("mad", "stream-0", 5000, (more,))
            raging.send(mad.topic(What.DATA), codec.encode_batch(sent))
            await honest.send(session, codec.encode_batch(batch("honest", 3)))
            await until(lambda: honest.forgotten == {1, 2, 3} and 5000 in mad.forgotten)
        assert "site-49" not in {row.site for row in await cloud.rows()}


async def any_refused(cloud: Cloud) -> bool:
    quotas = {row["quota"] for row in await cloud.table("refused") if row["gateway"] == "mad"}
    return "streams_per_hour" in quotas or "messages_per_minute" in quotas
