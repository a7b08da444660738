"""Where a message goes that can be neither used nor thrown away, with the reason."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from cloud.state import quarantine


class Case(NamedTuple):
    """One message and why it could not be used. `gateway` is the one whose topic it came on, None
    where the topic says no such thing."""

    topic: str
    payload: bytes
    reason: str
    gateway: str | None


def save(connection: Connection, cases: Iterable[Case], now_ms: int) -> None:
    """Keep the cases. A message that is there already is not kept again, but counted: a gateway
    sends a batch until it is acked, and what cannot be named cannot be acked."""
    for case in cases:
        found = insert(quarantine).values(
            digest=hashlib.sha256(case.topic.encode() + b"\0" + case.payload).digest(),
            **case._asdict(),
            times=1,
            first_at_ms=now_ms,
            last_at_ms=now_ms,
        )
        connection.execute(
            found.on_conflict_do_update(
                index_elements=["digest"],
                set_={"times": quarantine.c.times + 1, "last_at_ms": now_ms},
            )
        )


def count(connection: Connection, gateway: str | None = None) -> int:
    """How many messages are in quarantine; of one gateway, or all."""
    wanted = select(func.count()).select_from(quarantine)
    if gateway is not None:
        wanted = wanted.where(quarantine.c.gateway == gateway)
    return int(connection.execute(wanted).scalar_one())
