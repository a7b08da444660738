"""One contract for every store: what is written comes back, once, and is there when it says so."""

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from sqlalchemy import Connection, select

from cloud import quarantine, state
from cloud.errors import Rejected, Unavailable
from cloud.quarantine import Case
from cloud.state import State
from cloud.store import Points, Query, Row, Store, StoreConfig
from configs import loader
from tests import services
from tests.services import Service
from wire.reading import Quality, Quantity, Reading

T0 = time.time_ns() // 1_000_000 - 3_600_000


class Kept(NamedTuple):
    """A store and the database that goes with it."""

    store: Store
    database: State


def influx(url: str, **changes: str) -> dict[str, str]:
    return {"kind": "influx", "url": url} | changes


def v1(service: Service) -> dict[str, str]:
    return influx(service.url, api="v1", database=f"d{uuid.uuid4().hex}")


def victoria(service: Service) -> dict[str, str]:
    return influx(service.url, api="v2", bucket="shuichi", org="flood", dialect="metricsql")


def victoria_v1(service: Service) -> dict[str, str]:
    return influx(service.url, api="v1", database=f"d{uuid.uuid4().hex}", dialect="metricsql")


class Server(NamedTuple):
    """A way to run a store: the shared server or one of its own, and how to reach it."""

    kind: str
    shared: str
    start: Callable[[Path], Service]
    config: Callable[[Service], dict[str, str]]


SERVERS = {
    "influxdb-v1": Server("influx", "shared_influxd", services.influxd, v1),
    "victoria-metrics-v2": Server(
        "influx", "shared_victoria_metrics", services.victoria_metrics, victoria
    ),
    "victoria-metrics-v1": Server(
        "influx", "shared_victoria_metrics", services.victoria_metrics, victoria_v1
    ),
}
EMBEDDED = sorted(loader.plugins("cloud.store").keys() - {one.kind for one in SERVERS.values()})


@asynccontextmanager
async def opened(config: dict[str, str], folder: Path) -> AsyncIterator[Kept]:
    model: StoreConfig = loader.parse(
        {"store": config}, _only_store(), "test"
    ).store  # as a config file would have it
    module = loader.plugin("cloud.store", model.kind)
    async with (
        state.opened(folder / "cloud.db") as database,
        module.open(model, folder, database) as store,
    ):
        yield Kept(store, database)
