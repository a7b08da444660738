"""A flood and deaths of the InfluxDB, on each kind of it that the environment names: the alert is
raised, and no reading is lost or there twice."""

from collections.abc import AsyncIterator
from pathlib import Path

from cloud import service
from tests.influxservers import Mortal
from tests.services import Service
from tests.system.aggregator import Cloud, Gateway, batch
from tests.system.test_cloud_kill import assert_all_is_there_once, insisting
from tests.system.test_store_away import QUICK, alerts
from tests.waiting import until

DRY = 100
"""Batches before the water comes."""


async def test_the_server_dies_in_mid_storm_and_once_more_when_the_flood_comes(
    tmp_path: Path, mosquitto: Service, mortal_influx: Mortal
) -> None:
    gateways = [Gateway("g1", DRY), Gateway("g2", DRY)]

    async def storm(cloud: Cloud) -> AsyncIterator[None]:
        cloud.start()
        await cloud.listening()
        yield
        mortal_influx.kill()
        yield
        mortal_influx.start()
        yield

    async def flood(cloud: Cloud) -> AsyncIterator[None]:
        yield
        await until(lambda: both_alerts(cloud))  # they do not wait for the store
        assert all(len(gateway.forgotten) == DRY for gateway in gateways)
        mortal_influx.start()
        yield

    async def both_alerts(cloud: Cloud) -> bool:
        return sorted(await alerts(cloud)) == ["g1", "g2"]

    with Cloud(tmp_path, mosquitto, mortal_influx.place.toml, QUICK) as cloud:
        async with service.opened(cloud.setup) as (_, store):
            await store.init()
        await insisting(gateways, mosquitto, storm(cloud))
        assert await alerts(cloud) == []
        mortal_influx.kill()
        for one in gateways:
            one.batches += [batch(one.name, DRY + n, depth=0.2) for n in range(1, DRY + 1)]
        await insisting(gateways, mosquitto, flood(cloud))
        await assert_all_is_there_once(cloud, gateways)
        assert await both_alerts(cloud)
