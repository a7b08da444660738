"""The aggregator: puts the parts together, starts them, and stops them."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from cloud import state
from cloud.alerts.notify import Notifier
from cloud.alerts.watch import Watch
from cloud.channels import Channel
from cloud.config import Setup
from cloud.errors import Rejected, Unavailable
from cloud.ingest import Ingest
from cloud.intake import filters
from cloud.state import State
from cloud.store import Store
from configs import loader
from wire.mqtt import Disconnected, Unreachable, connect

log: Final = logging.getLogger("shuichi.cloud")


async def serve(setup: Setup) -> None:
    """Run until SIGTERM or SIGINT. Raises Unavailable if the state database or a secret cannot
    be opened; broker and store may come later."""
    config = setup.config
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        database, store = await stack.enter_async_context(opened(setup))
        channels = {
            name: await stack.enter_async_context(_channel(setup, name)) for name in config.channel
        }
        notifier = Notifier(database, channels)
        watch = Watch(config.rules, config.channel)
        await database.run(watch.load)
        ingest = Ingest(config.broker, config.ingest, database, store, watch, notifier.wake)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(ingest.run(), name="ingest"),
                group.create_task(notifier.run(), name="notifier"),
            ]
            log.info("started")
            await stop.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def opened(setup: Setup, *, read_only: bool = False) -> AsyncIterator[tuple[State, Store]]:
    """The state database and the store of a config. Raises Unavailable on entry."""
    module = loader.plugin("cloud.store", setup.config.store.kind)
    async with (
        state.opened(setup.database, read_only=read_only) as database,
        module.open(setup.config.store, setup.folder, database) as store,
    ):
        yield database, store


@asynccontextmanager
async def _channel(setup: Setup, name: str) -> AsyncIterator[Channel]:
    config = setup.config.channel[name]
    async with loader.plugin("cloud.channels", config.kind).open(config, setup.folder) as channel:
        yield channel


async def outside_faults(setup: Setup) -> list[str]:
    """One line each, if the store or the broker cannot be used."""
    found = await asyncio.gather(_store_fault(setup), _broker_fault(setup))
    return [line for line in found if line]


async def _store_fault(setup: Setup) -> str:
    try:
        async with opened(setup) as (_, store):
            await store.check()
    except (Unavailable, Rejected) as error:
        return f"[store] {error}"
    return ""


async def _broker_fault(setup: Setup) -> str:
    shard = setup.config.ingest.shard
    # A name of its own: the broker would throw out a running worker of the same name.
    try:
        async with connect(setup.config.broker, f"shuichi-cloud-{shard}-check") as session:
            await session.subscribe(*filters(shard))
    except (Unreachable, Disconnected) as error:
        return f"[broker] {error}"
    return ""
