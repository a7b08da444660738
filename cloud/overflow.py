"""Keeps the quarantine under its limit, beside what `cloud.room` holds when a case comes in. A
gateway that sends nothing but garbage can send it for ever, and every case waits for a person.

Over the limit, cases are let go: first those that hold nothing of the ledger (garbage, copies), the
oldest first, then the others. They are counted by stream, so that the account stays right.
"""

import logging
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, select

from cloud import room, tables
from cloud.state import State
from cloud.tables import quarantine

log: Final = logging.getLogger("shuichi.quarantine")

AT_ONCE: Final = 500
"""Cases in one transaction: the ingest goes on in between."""

_DOWN_TO: Final = 0.9
"""Of the limit: the next case shall not be over it again."""


class Gone(NamedTuple):
    """What was let go: cases, and how many readings of the ledger were in them."""

    cases: int = 0
    readings: int = 0


class Limit:
    """Lets go what is over `most_bytes`, and says so when that begins and when it has ended."""

    def __init__(self, state: State, most_bytes: int) -> None:
        self._state = state
        self._most_bytes = most_bytes
        self._gone = Gone()

    async def keep(self, now_ms: int) -> None:
        """Bring the quarantine under the limit. Raises Unavailable."""
        before, excess = self._gone, await self._state.run(partial(_excess, most=self._most_bytes))
        while excess > 0:
            gone, freed = await self._state.run(partial(_let_go, excess=excess, now_ms=now_ms))
            self._gone = Gone(self._gone.cases + gone.cases, self._gone.readings + gone.readings)
            excess = excess - freed if gone.cases else 0
        if self._gone != before and before == Gone():
            log.error(
                "the quarantine is over its %d MB; cases are let go, those without readings first",
                self._most_bytes // 1_000_000,
            )
        elif self._gone == before != Gone():
            log.error("%d cases with %d readings were let go from the quarantine", *before)
            self._gone = Gone()


def count(connection: Connection, gateway: str | None = None) -> int:
    """How many cases were let go; of one gateway, or all."""
    wanted = select(func.coalesce(func.sum(tables.overflow.c.cases), 0))
    if gateway is not None:
        wanted = wanted.where(tables.overflow.c.gateway == gateway)
    return int(connection.execute(wanted).scalar_one())


def _excess(connection: Connection, most: int) -> int:
    """How many bytes must go, if any."""
    held = int(connection.execute(select(func.coalesce(func.sum(room.size()), 0))).scalar_one())
    return held - int(most * _DOWN_TO) if held > most else 0


def _let_go(connection: Connection, excess: int, now_ms: int) -> tuple[Gone, int]:
    """Let go of so many bytes, as far as one transaction goes: what, and how many bytes."""
    order = (quarantine.c.ledgered, quarantine.c.last_at_ms, quarantine.c.digest)
    freed, chosen = 0, []
    for digest, size in connection.execute(
        select(quarantine.c.digest, room.size()).order_by(*order).limit(AT_ONCE)
    ):
        if freed >= excess:
            break
        chosen.append(digest)
        freed += size
    # Counted is what is really gone: somebody may have retried a case meanwhile.
    gone = delete(quarantine).where(quarantine.c.digest.in_(chosen))
    names = ("gateway", "stream", "readings", "ledgered")
    rows = connection.execute(gone.returning(*(quarantine.c[name] for name in names))).all()
    counted: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        # What the ledger does not count may name any stream: by gateway is enough.
        key = (row.gateway or "", row.stream if row.ledgered else "")
        sums = counted.setdefault(key, [0, 0, 0])
        sums[0] += 1
        if row.ledgered:
            sums[1] += row.readings or 0
            sums[2] += row.readings is None
    room.add_overflow(connection, counted, now_ms)
    return Gone(len(rows), sum(one[1] for one in counted.values())), freed
