"""What the service observes of itself becomes findings, which call people like any other: a shard
that nobody serves, a part that fails again and again, a config that it can use in part only.

Runs beside the dispatch, in the process that holds the lease of the alerts.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import Connection, func, select

from cloud import shards, tables
from cloud.alerts.rule import ServiceFault
from cloud.alerts.waiting import is_exercise
from cloud.alerts.watch import Findings, Watch
from cloud.errors import Unavailable
from cloud.shards import Lease, Unheld
from cloud.state import State

log: Final = logging.getLogger("shuichi.cloud")

_T = TypeVar("_T")

EVERY_S: Final = 5.0
"""Between looks."""

_TEXT: Final = 300
"""Characters of an error in a finding at most."""

Errors = Callable[[], Mapping[str, str]]
"""What fails now, by name, and why."""

LATE_MS: Final = 60_000
"""A message that waits for longer, or a finding that nobody has looked at, is late."""

_JUDGED: Final = (
    *("shard_without_worker", "part_failing", "channel_failing", "alerting_late", "config_faulty"),
)


class Health:
    """`shard_names` are those that must be served; `patience_s` is how long one may be without a
    worker; `errors` are asked for at each look, by the fault that they are; `config_faults` stand
    until the process ends; `channels` are those whose messages may be late."""

    def __init__(
        self,
        database: State,
        lease: Lease,
        watch: Watch,
        shard_names: Collection[str],
        patience_s: float,
        errors: Iterable[tuple[str, Errors]],
        config_faults: Collection[str],
        wake: Callable[[], None],
        channels: Collection[str] = (),
    ) -> None:
        self._channels = tuple(channels)
        self._database = database
        self._lease = lease
        self._watch = watch
        self._shards = shard_names
        self._patience_s = patience_s
        self._errors = tuple(errors)
        self._config_faults = config_faults
        self._wake = wake
        self._unheld_since: dict[str, float] = {}
        self.is_late = False
        """Whether people are told too late."""

    async def run(self) -> None:
        """Look for ever. A database that does not answer is waited for."""
        await self._insist(self._watch.load)
        while True:
            unheld = await self._insist(partial(shards.unheld, names=self._shards))
            waiting = await self._insist(self._waiting)
            self.is_late = bool(waiting)
            faults = [*self._of_shards(unheld), *self._of_parts(), *waiting, *self._of_config()]
            await self._report(faults)
            await asyncio.sleep(EVERY_S)

    def _waiting(self, connection: Connection) -> list[ServiceFault]:
        return late(connection, self._channels, time.time_ns() // 1_000_000)

    def _of_shards(self, unheld: Iterable[Unheld]) -> list[ServiceFault]:
        """One that is taken over, or whose worker connects again, is no fault yet."""
        now = asyncio.get_running_loop().time()
        found = {one.shard: one for one in unheld}
        self._unheld_since = {name: self._unheld_since.get(name, now) for name in found}
        return [
            ServiceFault(
                "shard_without_worker",
                True,
                subject=f"shard-{name}",
                detail={"reason": one.reason, "held_by": one.owner},
            )
            for name, one in found.items()
            if now - self._unheld_since[name] >= self._patience_s
        ]

    def _of_parts(self) -> list[ServiceFault]:
        return [
            ServiceFault(fault, True, subject=name, detail={"error": error[:_TEXT]})
            for fault, errors in self._errors
            for name, error in errors().items()
        ]

    def _of_config(self) -> list[ServiceFault]:
        if not self._config_faults:
            return []
        said = "; ".join(self._config_faults)[:_TEXT]
        return [ServiceFault("config_faulty", True, subject="config", detail={"faults": said})]

    async def _report(self, faults: list[ServiceFault]) -> None:
        """Those that stand begin, those that have stood and do not any more end."""
        standing = {(one.name, one.subject) for one in faults}
        ended = [
            one._replace(active=False)
            for name in _JUDGED
            for one in self._watch.standing(name)
            if (name, one.subject) not in standing
        ]
        now_ms = time.time_ns() // 1_000_000
        findings = self._watch.report([*faults, *ended], now_ms)
        if not findings.states:
            return
        await self._insist(partial(self._save, findings=findings, now_ms=now_ms))
        self._watch.adopt(findings)
        self._wake()

    def _save(self, connection: Connection, findings: Findings, now_ms: int) -> None:
        self._lease.check(connection)
        self._watch.save(connection, findings, now_ms)

    async def _insist(self, work: Callable[[Connection], _T]) -> _T:
        failing = False
        while True:
            try:
                return await self._database.run(work)
            except Unavailable as error:
                if not failing:
                    log.error("%s; nobody sees to the shards until it is back", error)
                failing = True
            await asyncio.sleep(EVERY_S)


def late(connection: Connection, channels: Collection[str], now_ms: int) -> list[ServiceFault]:
    """Whether what people are to be told waits for too long."""
    out, change = tables.outgoing, tables.alert_change
    oldest, number = connection.execute(
        select(func.min(out.c.not_before_ms), func.count()).where(
            out.c.channel.in_(channels),  # by the index: there are ever more rows
            out.c.done_ms.is_(None),
            out.c.not_before_ms < now_ms - LATE_MS,
            is_exercise() == 0,  # it may have to wait for what is real
        )
    ).one()
    untaken = connection.execute(
        select(func.min(change.c.received_at_ms)).where(
            change.c.taken_at_ms.is_(None), change.c.received_at_ms < now_ms - LATE_MS
        )
    ).scalar_one()
    since = min((at_ms for at_ms in (oldest, untaken) if at_ms is not None), default=None)
    if since is None:
        return []
    detail = {"messages": number, "late_s": (now_ms - since) // 1000}
    return [ServiceFault("alerting_late", True, subject="alerts", detail=detail)]
