"""Aggregator, broker and store, killed (-9) at any moment: nothing is lost, nothing is doubled."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services import Service
from tests.system.aggregator import (
    READINGS,
    Cloud,
    Gateway,
    broker_of,
    connected,
    encoded,
    influx_store,
)
from tests.waiting import PATIENCE_S, until


@pytest.mark.parametrize("point", ["in-commit", "after-commit"])
@pytest.mark.parametrize("store", ["sqlite", "influx"])
async def test_killed_between_store_and_ack_it_neither_loses_nor_doubles(
    store: str, point: str, tmp_path: Path, mosquitto: Service, shared_influxd: Service
) -> None:
    kept_in = influx_store(shared_influxd, point) if store == "influx" else 'kind = "sqlite"'
    gateway = Gateway("g1")
    with Cloud(tmp_path, mosquitto, kept_in) as cloud:
        async with connected(gateway, mosquitto) as session:
            cloud.start("-m", "tests.system.dying_cloud", point)
            await cloud.listening()
            await gateway.send(session, *encoded("g1", *range(1, 11)))
            assert await asyncio.to_thread(cloud.wait) == -signal.SIGKILL
            assert gateway.forgotten == set()
            cloud.start()
            # The gateway sends nothing again: the broker has it still.
            await until(lambda: gateway.forgotten == set(range(1, 11)))
        account = await cloud.account()
        rows = await cloud.rows()
    assert account.ok
    assert account.streams[0].received_batches == 10
    assert (account.redelivered_batches > 0) is (point == "after-commit")
    assert len(rows) == len({row.at_ms for row in rows}) == 10 * READINGS


async def insisting(gateways: list[Gateway], server: Service, trouble: AsyncIterator[None]) -> None:
    """Let `gateways` send while `trouble` takes its course, and until they are rid of all."""
    async with asyncio.timeout(3 * PATIENCE_S), asyncio.TaskGroup() as group:
        for gateway in gateways:
            group.create_task(gateway.insist(broker_of(server)), name=gateway.name)
        async for _ in trouble:
            await asyncio.sleep(0.4)


async def assert_all_is_there_once(cloud: Cloud, gateways: list[Gateway]) -> None:
    account = await cloud.account()
    rows = await cloud.rows()
    expected = {
        (gateway.name, reading.at_ms)
        for gateway in gateways
        for one in gateway.batches
        for reading in one.readings
    }
    assert {(row.gateway, row.at_ms) for row in rows} == expected
    assert len(rows) == len(expected) == account.readings_in_store
    assert account.ok
    assert account.quarantined == 0


async def test_killed_and_restarted_in_mid_storm_nothing_is_lost_or_doubled(
    tmp_path: Path, mosquitto: Service
) -> None:
    gateways = [Gateway("g1", 300), Gateway("g2", 300)]

    async def trouble(cloud: Cloud) -> AsyncIterator[None]:
        cloud.start()
        await cloud.listening()
        yield
        for _ in range(3):
            cloud.kill()
            cloud.start()
            await cloud.listening()
            yield
        mosquitto.kill()  # and all that it had acknowledged is gone
        yield
        mosquitto.start()

    with Cloud(tmp_path, mosquitto) as cloud:
        await insisting(gateways, mosquitto, trouble(cloud))
        await assert_all_is_there_once(cloud, gateways)


async def test_a_store_that_dies_in_mid_storm_is_waited_for(
    tmp_path: Path, mosquitto: Service, influxd: Service
) -> None:
    gateways = [Gateway("g1", 200), Gateway("g2", 200)]

    async def trouble(cloud: Cloud) -> AsyncIterator[None]:
        cloud.start()
        await cloud.listening()
        for _ in range(2):
            influxd.kill()
            yield
            influxd.start()
            yield

    with Cloud(tmp_path, mosquitto, influx_store(influxd)) as cloud:
        await insisting(gateways, mosquitto, trouble(cloud))
        await assert_all_is_there_once(cloud, gateways)
        said = cloud.log.read_text()
    # Told once for each time that it is away: twice, and more often where a busy machine keeps it
    # from answering.
    away, back = "nothing is acknowledged until it is back", "stored again after"
    told = re.findall(f"{away}|{back}", said)
    assert told == [away, back] * (len(told) // 2)
    assert told


async def test_started_before_its_broker_and_its_store_it_waits_for_both(
    tmp_path: Path, mosquitto: Service, influxd: Service
) -> None:
    mosquitto.kill()
    influxd.kill()
    gateway = Gateway("g1", 2)
    with Cloud(tmp_path, mosquitto, influx_store(influxd)) as cloud:
        cloud.start()
        await until(lambda: "trying again until it answers" in cloud.log.read_text())
        mosquitto.start()
        await cloud.listening()
        async with asyncio.TaskGroup() as group:
            group.create_task(gateway.insist(broker_of(mosquitto)), name="g1")
            await until(lambda: "nothing is acknowledged" in cloud.log.read_text())
            assert gateway.acked == []
            influxd.start()
        await assert_all_is_there_once(cloud, [gateway])
