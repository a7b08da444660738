"""What a config needs and does not contain: store, broker, secrets, a port. Looked at before the
service starts, and by `shuichi cloud check`; nothing is changed anywhere, and nobody is called.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from cloud import migrations, proofs, state
from cloud.alerts.office import alert_faults
from cloud.channels import running
from cloud.config import Setup
from cloud.errors import Rejected, Unavailable
from cloud.intake import filters
from cloud.store import Server, sqlite
from configs import loader
from wire.mqtt import Disconnected, Unreachable, connect


class Found(NamedTuple):
    """`faults` are a line each, of what cannot be used; `server` keeps the readings, None where it
    does not answer."""

    faults: list[str]
    server: Server | None


async def faults(setup: Setup, *, makes: bool = False) -> list[str]:
    """One line each, if the store, the broker or a channel cannot be used. Whether it `makes` a
    database that the store lacks: else nothing is changed anywhere."""
    return (await look(setup, makes=makes)).faults


async def look(setup: Setup, *, makes: bool = False) -> Found:
    """The same, and who keeps the readings."""
    servers: list[Server] = []
    channels = (_channel_fault(setup, name) for name in setup.config.channel)
    found = await asyncio.gather(
        _store_fault(setup, servers, makes=makes),
        _broker_fault(setup),
        _web_fault(setup),
        *channels,
    )
    found += alert_faults(setup)
    keys = await asyncio.to_thread(proofs.read, setup)
    found += [f"[gateway.{name}] key_file {fault}" for name, fault in keys.faults.items()]
    return Found([line for line in found if line], servers[0] if servers else None)


async def _store_fault(setup: Setup, servers: list[Server], *, makes: bool) -> str:
    """Of store and state; its server is put into `servers`. The state is not made."""
    config = setup.config.store
    if found := config.file_faults(setup.folder):
        return "\n".join(f"[store] {key}: {problem}" for key, problem in found)
    with tempfile.TemporaryDirectory() as folder:
        place = setup.database
        # A state that is there may have its one writer already: `run` says so itself.
        is_there = not isinstance(place, Path) or place.exists()
        if isinstance(place, Path) and not is_there:
            if fault := _folder_fault(place):
                return f"[state] {fault}"
            if isinstance(config, sqlite.Config):  # it is made with the state, or beside it
                servers.append(sqlite.SERVER)
                fault = _folder_fault(setup.folder / (config.path or place))
                return f"[store] {fault}" if fault else ""
            place = Path(folder) / place.name
        reach = state.connected if is_there else state.opened
        try:
            async with reach(place, read_only=is_there) as database:
                await database.run(migrations.current)
                module = loader.plugin("cloud.store", config.kind)
                async with module.open(config, setup.folder, database) as store:
                    servers.append(await store.server())
                    if makes:
                        await store.check()
                        return ""
                    return "\n".join(f"[store] {one}" for one in await store.faults())
        except (Unavailable, Rejected) as error:
            return f"[store] {error}"


def _folder_fault(place: Path) -> str:
    """Why no state could be made at `place`, "" if one could."""
    if not place.parent.is_dir():
        return f"{place}: there is no folder {place.parent}"
    if not os.access(place.parent, os.W_OK | os.X_OK):
        return f"{place}: the folder cannot be written by this user"
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
        server.tokens_of(setup.folder, setup.config.web)
        server.calendar_token_of(setup.folder, setup.config.web)
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
