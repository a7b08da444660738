"""Alerts do not wait for the store: it is stopped, it refuses readings, or it fails at some of them
for ever. What is sent is examined, and nothing that the store would take waits behind the rest."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.httpproxy import HttpProxy
from tests.services import Service
from tests.system.aggregator import READINGS, T0, Cloud, Gateway, batch, connected, influx_store
from tests.waiting import PATIENCE_S, until
from wire import codec
from wire.messages import Batch
from wire.reading import Quality, Quantity, Reading

QUICK = "[ingest]\nrelease_after_s = 0.3\n"

HASTY = """
import sys
from cloud import refusals
from cloud.ingest import writing

writing.FIRST_DELAY_S, writing.LONGEST_DELAY_S, writing.DOUBT_S = 0.05, 0.5, 0.3
refusals._ROUND_S = 0.05
sys.argv[1:1] = ["cloud", "run", "--unattended", "--config"]
from shuichi import main
main()
"""
"""The service, which waits less long before it doubts that it is the store."""


def warm(gateway: str, number: int) -> bytes:
    """A batch of another measurement."""
    readings = tuple(
        Reading("yard", "air", Quantity.TEMPERATURE, 21.5, T0 + number * 1000 + n, Quality.GOOD)
        for n in range(READINGS)
    )
    return codec.encode_batch(Batch(gateway, "stream-1", number, readings))


def deep(gateway: str, number: int) -> bytes:
    return codec.encode_batch(batch(gateway, number, depth=0.2))


async def alerts(cloud: Cloud) -> list[str]:
    return [row["gateway"] for row in await cloud.table("alert") if row["rule"] == "amber"]


async def refused(cloud: Cloud) -> bool:
    """Whether it is found that both gateways' readings are refused."""
    rows = await cloud.table("alert")
    return {row["gateway"] for row in rows if row["part"] == "readings_refused"} == {"g1", "g2"}


async def test_an_alert_is_raised_while_influxdb_is_stopped_and_the_readings_come_later(
    tmp_path: Path, mosquitto: Service, influxd: Service
) -> None:
    gateway = Gateway("g1")
    with Cloud(tmp_path, mosquitto, influx_store(influxd), QUICK) as cloud:
        cloud.start()
        await cloud.listening()
        async with connected(gateway, mosquitto) as session:
            await gateway.send(session, codec.encode_batch(batch("g1", 1)))
            await until(lambda: gateway.forgotten == {1})
            influxd.kill()
            try:
                await gateway.send(session, deep("g1", 2))
                await until(lambda: alerts(cloud))
                assert (await alerts(cloud), gateway.forgotten) == (["g1"], {1})
                await gateway.send(session, deep("g1", 2), deep("g1", 3))
                cloud.kill()
                cloud.start()
                await cloud.listening()
                await gateway.send(session, deep("g1", 2), deep("g1", 3))
            finally:
                influxd.start()

            async def again() -> bool:
                await asyncio.sleep(0.3)
                await gateway.send(session, deep("g1", 2), deep("g1", 3))
                return gateway.forgotten == {1, 2, 3}

            await until(again)
        account = await cloud.account()
        assert account.ok
        assert account.readings_ledgered == account.readings_in_store == 3 * READINGS
        assert await alerts(cloud) == ["g1"]
        assert not await cloud.table("examined")


@pytest.mark.parametrize("hidden", [False, True], ids=["says so", "answers 500"])
async def test_a_conflict_of_types_hides_no_alert_and_stops_nobody(
    hidden: bool, tmp_path: Path, mosquitto: Service, shared_influxd: Service
) -> None:
    one, other = Gateway("g1"), Gateway("g2")
    database = f"conflict{int(hidden)}"
    async with httpx.AsyncClient(timeout=PATIENCE_S, base_url=shared_influxd.url) as http:
        await http.post("/query", params={"q": f"CREATE DATABASE {database}"})
        line = "depth value=1i,quality=1i"
        taken = await http.post("/write", params={"db": database}, content=line)
        assert taken.status_code == 204
    with HttpProxy(shared_influxd.url) as proxy:
        proxy.hides_refusals = hidden
        store = influx_store(shared_influxd, database).replace(shared_influxd.url, proxy.url)
        with Cloud(tmp_path, mosquitto, store, QUICK) as cloud:
            cloud.start("-c", HASTY)
            await cloud.listening()
            async with connected(one, mosquitto) as first, connected(other, mosquitto) as second:
                await one.send(first, deep("g1", 1))
                await until(lambda: alerts(cloud))
                await other.send(second, *(warm("g2", n) for n in range(1, 6)))
                await until(lambda: other.forgotten == {1, 2, 3, 4, 5})
                await until(lambda: one.forgotten == {1})
                await other.send(second, deep("g2", 6))
                await until(lambda: other.forgotten == {1, 2, 3, 4, 5, 6})
            account = await cloud.account()
            cases = await cloud.table("quarantine")
            assert sorted(await alerts(cloud)) == ["g1", "g2"]
            if not hidden:  # a tick of the rules later
                await until(lambda: refused(cloud))
    assert len(cases) == 2 * READINGS
    assert {case["kind"] for case in cases} == {"reading"}
    assert account.readings_ledgered == 5 * READINGS
