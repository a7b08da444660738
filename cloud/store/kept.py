"""A store in use: it is opened when it can be. A secret that is missing today keeps readings
waiting, and no alert."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.store import (
    Also,
    Bucket,
    Counted,
    Points,
    Query,
    Retired,
    Rollup,
    Row,
    Server,
    Store,
    StoreConfig,
)
from configs import loader

log: Final = logging.getLogger("shuichi.store")


@asynccontextmanager
async def kept(config: StoreConfig, folder: Path, state: State) -> AsyncIterator["Kept"]:
    """The store of a config, whether it can be opened now or later."""
    async with AsyncExitStack() as stack:
        store = Kept(config, folder, state, stack)
        with suppress(Unavailable):
            await store.open()
        yield store


class Kept:
    """As `Store`: each method opens it where it is not open yet, and raises Unavailable where it
    cannot be. `fault` says why, "" once it is open."""

    def __init__(
        self, config: StoreConfig, folder: Path, state: State, stack: AsyncExitStack
    ) -> None:
        self.fault = ""
        self._config = config
        self._folder = folder
        self._state = state
        self._stack = stack
        self._store: Store | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> Store:
        """The store, opened now if it was not. Raises Unavailable."""
        if self._store is None:
            async with self._opening:
                return await self._open()
        return self._store

    async def _open(self) -> Store:
        if self._store is None:
            module = loader.plugin("cloud.store", self._config.kind)
            try:
                opened = module.open(self._config, self._folder, self._state)
                store: Store = await self._stack.enter_async_context(opened)
            except (Unavailable, Rejected) as error:
                self.fault = str(error)
                raise Unavailable(self.fault) from error
            except Exception as error:  # noqa: BLE001  # a library refuses what it was given
                # Not its text, which may quote a secret.
                words = f"the store cannot be opened: {type(error).__name__}"
                if words != self.fault:
                    log.error("%s", words)
                self.fault = words
                raise Unavailable(words) from None
            self._store, self.fault = store, ""
        return self._store

    async def check(self) -> None:
        await (await self.open()).check()

    async def faults(self) -> list[str]:
        return await (await self.open()).faults()

    async def server(self) -> Server:
        return await (await self.open()).server()

    async def init(self) -> list[str]:
        return await (await self.open()).init()

    async def write(self, points: Sequence[Points], also: Also) -> None:
        await (await self.open()).write(points, also)

    async def send(self, points: Sequence[Points]) -> None:
        await (await self.open()).send(points)

    async def commit(self, points: Sequence[Points], also: Also) -> None:
        await (await self.open()).commit(points, also)

    async def read(self, query: Query) -> list[Row]:
        return await (await self.open()).read(query)

    async def rollups(self, query: Query, bucket: Bucket) -> list[Rollup]:
        return await (await self.open()).rollups(query, bucket)

    async def count(self, query: Query) -> int:
        return await (await self.open()).count(query)

    async def counted(self, query: Query) -> dict[str, Counted]:
        return await (await self.open()).counted(query)

    async def upkeep(self, now_ms: int, earliest_ms: int | None = None) -> None:
        await (await self.open()).upkeep(now_ms, earliest_ms)

    async def retired(self, gateway: str | None) -> Retired:
        return await (await self.open()).retired(gateway)
