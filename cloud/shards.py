"""Leases: what only one process may do at a time, and how all who share the state agree who.

A lease is a row that names its holder and the moment, by the database's clock, up to which it
holds. The holder renews it three times in that span, and stops working by its own clock before the
database would give the lease to another. That alone is not proof against a process that is stopped
and woken up again (SIGSTOP, a sleeping virtual machine): so each lease has a generation, counted up
whenever it is taken, and what is committed under it checks the generation in the same transaction.
"""

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import Connection, or_, select, update

from cloud import database
from cloud.errors import Unavailable
from cloud.state import State
from cloud.tables import lease
from wire.tasks import CancelledAlone, apart

log: Final = logging.getLogger("shuichi.shards")

RENEWALS: Final = 3
"""In the time that a lease lasts."""

TRUSTED: Final = 0.8
"""The part of that time after which one who could not renew it stops, to have stopped by its end;
clocks of different machines may run at rates that differ by far less."""

RETRY_S: Final = 1.0
"""Between tries of a database that does not answer, with jitter."""


STUCK_S: Final = 60.0
"""Without a sign of work, after which the holder of a shard counts as stuck."""

REMEMBERED_S: Final = 86_400.0
"""For how long a shard that no config names any more is missed."""


LONGEST_MS: Final = 600_000
"""A lease that holds for longer (none is taken for half of that) was taken before the database's
clock was set back: it holds no more."""


class Lost(Exception):
    """The lease is not ours any more."""


class Lease(NamedTuple):
    """One that we have taken."""

    name: str
    generation: int

    def check(self, connection: Connection) -> None:
        """Raise Lost unless the lease is ours until the transaction that is open ends."""
        wanted = select(lease.c.generation).where(lease.c.name == self.name)
        # FOR SHARE, in PostgreSQL: whoever would take the lease waits for our commit.
        found = connection.execute(wanted.with_for_update(read=True)).scalar_one_or_none()
        if found != self.generation:
            raise Lost("another worker has taken it")


class Held(NamedTuple):
    """One that somebody else has, for `for_ms` more if it is not renewed."""

    owner: str
    for_ms: int


class Unheld(NamedTuple):
    """A shard whose readings nobody looks at, and who should."""

    shard: str
    owner: str
    reason: str


def name_of(shard: str) -> str:
    """The lease of a shard."""
    return f"shard {shard}"


def unheld(connection: Connection, names: Collection[str]) -> list[Unheld]:
    """The shards among `names`, and among those that anybody served within `REMEMBERED_S`, that
    have no worker, or whose worker has shown for `STUCK_S` no sign of listening to the broker."""
    now = database.now_ms(connection)
    rows = connection.execute(
        select(
            lease.c.name,
            lease.c.owner,
            (lease.c.until_ms - now).label("for_ms"),
            (now - lease.c.worked_ms).label("idle_ms"),
        )
    ).all()
    known = {row.name: row for row in rows}
    prefix = name_of("")
    recent = {
        row.name.removeprefix(prefix)
        for row in rows
        if row.name.startswith(prefix) and row.for_ms > -1000 * REMEMBERED_S
    }
    found = []
    for shard in sorted({*names, *recent}):
        row = known.get(name_of(shard))
        if row is None:
            found.append(Unheld(shard, "", "nobody has ever served it"))
        elif not 0 < row.for_ms <= LONGEST_MS:
            found.append(Unheld(shard, row.owner, "nobody holds its lease"))
        elif row.idle_ms is not None and row.idle_ms > 1000 * STUCK_S:
            found.append(Unheld(shard, row.owner, "its worker takes nothing in from the broker"))
    return found


def is_held(connection: Connection, name: str) -> bool:
    """Whether anybody has the lease of a name."""
    for_ms = select(lease.c.until_ms - database.now_ms(connection)).where(lease.c.name == name)
    found = connection.execute(for_ms).scalar_one_or_none()
    return found is not None and 0 < found <= LONGEST_MS


class Leases:
    """Those of this process; each lasts `lasts_s` from its last renewal."""

    def __init__(self, state: State, lasts_s: float) -> None:
        self.owner = f"{socket.gethostname()} process {os.getpid()} {secrets.token_hex(4)}"
        self._state = state
        self._lasts_s = lasts_s
        self._worked: dict[str, float] = {}

    def worked(self, name: str) -> None:
        """The work under the lease `name` shows a sign of life: the next renewal records it."""
        self._worked[name] = time.monotonic()

    async def begin(self) -> None:
        """Once, before the first is taken. Of a state that nobody shares every lease is free:
        whoever had it is gone, else we could not have opened it. Raises Unavailable."""
        if not self._state.shared:
            await self._state.run(self._freed)

    @staticmethod
    def _freed(connection: Connection) -> None:
        connection.execute(update(lease).values(until_ms=0))

    async def keep(self, name: str, work: Callable[[Lease], Awaitable[None]]) -> None:
        """Do `work(lease)` whenever we hold the lease `name`, until it returns by itself: wait for
        it, cancel the work as soon as it cannot be renewed, give it back when we are cancelled.

        Work that raises Lost or Unavailable is begun anew, once the lease is there again.
        """
        while True:
            taken, since = await self._wait_for(name)
            self.worked(name)
            log.info("%s: ours, generation %d", name, taken.generation)
            try:
                await apart(self._hold(name, taken, since, work), f"{name} held")
                return
            except* (Lost, Unavailable, CancelledAlone) as errors:
                log.warning("%s: work stops: %s", name, "; ".join(_said(errors)))
            finally:
                await self._give_back(taken)
            await asyncio.sleep(self._pause())

    async def _hold(
        self, name: str, taken: Lease, since: float, work: Callable[[Lease], Awaitable[None]]
    ) -> None:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew(taken, since), name=f"{name} lease")
            await work(taken)
            renewing.cancel()

    async def _wait_for(self, name: str) -> tuple[Lease, float]:
        """The lease, and a moment of our clock that is not after the one at which we got it."""
        told = None
        while True:
            asked = asyncio.get_running_loop().time()
            try:
                found = await self._state.run(partial(self._take, name=name))
                if isinstance(found, Lease):
                    return found, asked
                trouble = f"{found.owner} has it; waiting until it is free"
            except Unavailable as error:
                trouble = f"{error}; trying again until it answers"
            if told != trouble:
                log.warning("%s: %s", name, trouble)
                told = trouble
            await asyncio.sleep(self._pause())

    def _take(self, connection: Connection, name: str) -> Lease | Held:
        now = database.now_ms(connection)
        until = now + round(self._lasts_s * 1000)
        taken = connection.execute(
            database.insert(connection, lease)
            .values(name=name, owner=self.owner, until_ms=until, generation=1, worked_ms=now)
            .on_conflict_do_update(
                index_elements=["name"],
                set_={
                    "owner": self.owner,
                    "until_ms": until,
                    "generation": lease.c.generation + 1,
                    "worked_ms": now,
                },
                where=or_(lease.c.until_ms <= now, lease.c.until_ms > now + LONGEST_MS),
            )
            .returning(lease.c.generation)
        ).scalar_one_or_none()
        if taken is not None:
            return Lease(name, taken)
        wanted = select(lease.c.owner, (lease.c.until_ms - now).label("for_ms"))
        row = connection.execute(wanted.where(lease.c.name == name)).one()
        return Held(row.owner, row.for_ms)

    async def _renew(self, held: Lease, since: float) -> None:
        """Renew for ever. Raises Lost as soon as we cannot be sure that the lease is ours."""
        clock = asyncio.get_running_loop().time
        ends = since + TRUSTED * self._lasts_s
        await asyncio.sleep(self._lasts_s / RENEWALS)
        while True:
            asked = clock()
            try:
                async with asyncio.timeout_at(ends):
                    ours = await self._state.run(partial(self._prolong, held=held))
            except (Unavailable, TimeoutError) as error:
                if clock() >= ends:
                    raise Lost(f"it could not be renewed: {str(error) or 'no answer'}") from None
                await asyncio.sleep(min(self._pause(), ends - clock()))
                continue
            if not ours:
                raise Lost("another worker has taken it")
            ends = asked + TRUSTED * self._lasts_s
            await asyncio.sleep(self._lasts_s / RENEWALS)

    def _prolong(self, connection: Connection, held: Lease, by_s: float | None = None) -> bool:
        by_ms = round(1000 * (self._lasts_s if by_s is None else by_s))
        now = database.now_ms(connection)
        idle_ms = round(1000 * (time.monotonic() - self._worked.get(held.name, time.monotonic())))
        changed = connection.execute(
            update(lease)
            .where(lease.c.name == held.name, lease.c.generation == held.generation)
            .values(until_ms=now + by_ms, worked_ms=now - idle_ms)
        )
        return changed.rowcount == 1

    async def _give_back(self, held: Lease) -> None:
        """Best effort: it runs out by itself. Nothing of ours is committed under it after that: the
        database's thread takes one after the other."""
        try:
            async with asyncio.timeout(self._lasts_s):
                await self._state.run(partial(self._prolong, held=held, by_s=0))
        except (Unavailable, TimeoutError):
            log.info("%s: could not be given back", held.name)

    def _pause(self) -> float:
        """A lease that is given back is soon seen; and not by all in one instant."""
        return min(RETRY_S, self._lasts_s / RENEWALS) * random.uniform(0.5, 1.0)


def _said(group: BaseExceptionGroup[Exception]) -> list[str]:
    """What each of a group says, once."""
    said: dict[str, None] = {}
    for error in group.exceptions:
        said |= dict.fromkeys(
            _said(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
        )
    return list(said)
