"""The aggregator: puts the parts together, starts them, and stops them."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from cloud import cases, migrations, overflow, proofs, room, state, upkeep
from cloud.admission import Admission
from cloud.alerts import demands
from cloud.alerts.office import Office, office_of, planned_sites
from cloud.alerts.watch import Watch
from cloud.channels import running
from cloud.config import Setup
from cloud.desk import open_desk
from cloud.errors import Rejected, Unavailable
from cloud.ingest import Ingest
from cloud.intake import filters
from cloud.shards import Lease, Leases
from cloud.state import State
from cloud.store import Store
from cloud.upkeep import Chore
from configs import loader
from wire.mqtt import Disconnected, Unreachable, connect

log: Final = logging.getLogger("shuichi.cloud")

NEWS_S: Final = 1.0
"""Between looks for what other workers want to have told."""


async def serve(setup: Setup) -> None:
    """Run until SIGTERM or SIGINT. Raises Unavailable if the state's file or a secret cannot be
    opened, Rejected if a newer release laid the state out; broker and store, and a state on a
    server, may come later."""
    config = setup.config
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        if (found := await _arrive(stack, setup, stop)) is None:
            return
        database, store = found
        channels = {
            name: await stack.enter_async_context(running.opened(one, setup.folder))
            for name, one in config.channel.items()
        }
        keys = await asyncio.to_thread(proofs.read_and_tell, setup)
        office = await office_of(setup, database, channels)
        planned = planned_sites(setup)
        leases = Leases(database, config.ingest.lease_s)
        await leases.begin()

        async def take_in(lease: Lease, shard: str) -> None:
            watch = Watch(config.rules)
            admission = Admission.of(config, planned)
            await database.run(partial(room.load, quotas=admission.quotas))
            ours = (config.broker, config.ingest, admission, lease, shard)
            await Ingest(*ours, database, store, watch, office.wake, keys).run()

        async def alert(_: Lease) -> None:
            await office.run()

        async def tend(_: Lease) -> None:
            limit = overflow.Limit(database, config.quarantine.most_bytes)
            await upkeep.run(
                Chore("rollups and retention", store.upkeep),
                Chore("the limit of the quarantine", limit.keep),
            )

        web = _web(setup, database, office, stack)
        desk = open_desk(
            *(setup, database, store, cases.RETRY, cases.DROP, *demands.ALL), wake=office.wake
        )
        async with desk, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    leases.keep(f"shard {shard}", partial(take_in, shard=shard)),
                    name=f"shard {shard}",
                )
                for shard in config.ingest.shards
            ]
            tasks.append(group.create_task(leases.keep("alerts", alert), name="alerts"))
            tasks.append(group.create_task(leases.keep("upkeep", tend), name="upkeep"))
            if web is not None:
                tasks.append(group.create_task(web(), name="web"))
            if database.shared:
                tasks.append(group.create_task(_wake(office), name="news of other workers"))
            _settle_in()
            log.info("started")
            await stop.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()


def _web(
    setup: Setup, database: State, office: Office, stack: AsyncExitStack
) -> Callable[[], Coroutine[Any, Any, None]] | None:
    """What serves HTTP, if the config wants it. Raises Unavailable for a port that is taken or a
    secret that cannot be read."""
    config = setup.config
    if config.web is None:
        return None
    from cloud.web import server  # half a second that nobody else should pay
    from cloud.web.desk import Desk

    token, hooks = server.secrets_of(setup.folder, config.web, config.hook)
    listening = stack.enter_context(server.bound(config.web))
    desk = Desk(
        database=database,
        dispatch=office.dispatch,
        wake=office.wake,
        hooks=hooks,
        token=token,
        publisher=config.cap,
        url=config.alerts.settings.answer_url,
    )
    return partial(server.serve, desk, listening)


def _settle_in() -> None:
    """What readings cost from now on: see `python -m bench worker_cpu`."""
    gc.freeze()  # what is there by now stays, and need not be looked through again and again
    # A take has thousands of lists, none in a cycle: not to be looked through every 700.
    gc.set_threshold(10_000, 10, 10)
    # A thread that works row by row asks the event loop for the GIL after each: not 5 ms long.
    sys.setswitchinterval(0.0005)


async def _wake(office: Office) -> None:
    """Workers that hold other shards raise alerts that this one may have to tell."""
    while True:
        await asyncio.sleep(NEWS_S)
        office.wake()


async def _arrive(
    stack: AsyncExitStack, setup: Setup, stop: asyncio.Event
) -> tuple[State, Store] | None:
    """State and store, as soon as a state on a server answers; None if we are told to stop."""
    waiting = False
    while not stop.is_set():
        try:
            return await stack.enter_async_context(opened(setup))
        except Unavailable as error:
            if isinstance(setup.database, Path):
                raise
            if not waiting:
                log.warning("%s; trying again until it answers", error)
                waiting = True
        with suppress(TimeoutError):
            async with asyncio.timeout(NEWS_S):
                await stop.wait()
    return None


@asynccontextmanager
async def opened(setup: Setup, *, read_only: bool = False) -> AsyncIterator[tuple[State, Store]]:
    """The state database and the store of a config. Raises Unavailable on entry."""
    module = loader.plugin("cloud.store", setup.config.store.kind)
    async with (
        state.opened(setup.database, read_only=read_only) as database,
        module.open(setup.config.store, setup.folder, database) as store,
    ):
        yield database, store


async def outside_faults(setup: Setup) -> list[str]:
    """One line each, if the store, the broker or a channel cannot be used."""
    channels = (_channel_fault(setup, name) for name in setup.config.channel)
    found = await asyncio.gather(
        _store_fault(setup), _broker_fault(setup), _web_fault(setup), *channels
    )
    keys = await asyncio.to_thread(proofs.read, setup)
    found += [f"[gateway.{name}] key_file {fault}" for name, fault in keys.faults.items()]
    return [line for line in found if line]


async def _store_fault(setup: Setup) -> str:
    config = setup.config.store
    # A state that is there may have its one writer already: `run` says so itself.
    is_there = not isinstance(setup.database, Path) or setup.database.exists()
    # A new one gets our layout first: a store that is kept beside the state makes tables too.
    reach = state.connected if is_there else state.opened
    try:
        async with reach(setup.database, read_only=is_there) as database:
            await database.run(migrations.current)
            module = loader.plugin("cloud.store", config.kind)
            async with module.open(config, setup.folder, database) as store:
                await store.check()
    except (Unavailable, Rejected) as error:
        return f"[store] {error}"
    return ""


async def _channel_fault(setup: Setup, name: str) -> str:
    """Of its secrets and libraries: nobody is called."""
    try:
        async with running.opened(setup.config.channel[name], setup.folder):
            return ""
    except Unavailable as error:
        return f"[channel.{name}] {error}"


async def _web_fault(setup: Setup) -> str:
    """Of its secrets, and those of the hooks."""
    if setup.config.web is None:
        return ""
    from cloud.web import server

    try:
        server.secrets_of(setup.folder, setup.config.web, setup.config.hook)
    except Unavailable as error:
        return f"[web] {error}"
    return ""


async def _broker_fault(setup: Setup) -> str:
    shard = setup.config.ingest.shards[0]
    # A name of its own: the broker would throw out a running worker of the same name.
    try:
        async with connect(setup.config.broker, f"shuichi-cloud-{shard}-check") as session:
            await session.subscribe(*filters(shard))
    except (Unreachable, Disconnected) as error:
        return f"[broker] {error}"
    return ""
