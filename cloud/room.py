"""How much room each gateway has in quarantine, held when a case comes in; and what was beyond a
quota, counted in the state.

What holds nothing of the ledger (garbage, copies) gets half of the room at most: the rest is for
readings whose gateway forgets them.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from cloud import database, tables
from cloud.quotas import Quotas
from cloud.tables import quarantine
from wire.reading import Quantity, Series

CASE_BYTES: Final = 300
"""What a case takes beside its payload, words and topic."""

_COUNT_EVERY_MS: Final = 60_000
"""Others let cases go, or bring in some: what we know is counted anew."""

_FOR_GARBAGE: Final = 0.5

_AT_ONCE: Final = 500

_QUANTITIES: Final = frozenset(map(str, Quantity))


class Thing(NamedTuple):
    """A case that asks for room: of which gateway (None: nobody knows), its bytes, and whether the
    ledger counts what it holds."""

    gateway: str | None
    size: int
    ledgered: bool


class Surplus(NamedTuple):
    """So many `things` that were refused for a quota. `stream`: the ledger counts them, with so
    many `readings`, None if nobody knows."""

    gateway: str
    quota: str
    things: int
    stream: str = ""
    readings: int | None = 0
    is_lost: bool = False
    """Whether they are gone: what is refused for a rate its gateway still has."""


class Room:
    """What is left of `most_bytes` in all, and of the quota of each gateway."""

    def __init__(self, quotas: Quotas, most_bytes: int) -> None:
        self._quotas = quotas
        self._most_bytes = most_bytes
        self._bytes: dict[str, int] = {}
        self._cases: dict[str, int] = {}
        self._all = 0
        self._counted_ms: int | None = None

    def refusal(self, connection: Connection, thing: Thing, now_ms: int) -> str:
        """Which quota has no room for it, "" if there is room: then it is taken."""
        if self._counted_ms is None or abs(now_ms - self._counted_ms) > _COUNT_EVERY_MS:
            self._count(connection, now_ms)
        owner, limits = self._quotas.owner(thing.gateway), self._quotas.limits(thing.gateway)
        part = 1.0 if thing.ledgered else _FOR_GARBAGE
        held, cases = self._bytes.get(owner, 0), self._cases.get(owner, 0)
        quota = ""
        if cases >= limits.quarantine_cases * part:
            quota = "quarantine_cases"
        elif held + thing.size > limits.quarantine_mb * 1e6 * part:
            quota = "quarantine_mb"
        elif self._all + thing.size > self._most_bytes * part:
            quota = "most_mb"
        if quota:
            self._quotas.refuse(thing.gateway, quota, now_ms)
            return quota
        self._bytes[owner] = held + thing.size
        self._cases[owner] = cases + 1
        self._all += thing.size
        return ""

    def owner(self, gateway: str | None) -> str:
        return self._quotas.owner(gateway)

    def _count(self, connection: Connection, now_ms: int) -> None:
        self._bytes, self._cases, self._all = {}, {}, 0
        columns = (quarantine.c.gateway, func.count().label("cases"), func.sum(size()).label("all"))
        for row in connection.execute(select(*columns).group_by(quarantine.c.gateway)):
            owner = self._quotas.owner(row.gateway)
            self._bytes[owner] = self._bytes.get(owner, 0) + int(row.all)
            self._cases[owner] = self._cases.get(owner, 0) + int(row.cases)
            self._all += int(row.all)
        self._counted_ms = now_ms


def load(connection: Connection, quotas: Quotas) -> None:
    """What each gateway has used of its quota before: its streams and its series."""
    quotas.forget()
    stream, ledger, interlock = tables.stream, tables.ledger, tables.interlock
    key = (stream.c.gateway, stream.c.stream)
    both = (ledger.c.gateway == stream.c.gateway) & (ledger.c.stream == stream.c.stream)
    counted = select(*key, func.count(ledger.c.first)).outerjoin_from(stream, ledger, both)
    rows = connection.execute(counted.group_by(*key)).all()
    quotas.know_streams((row[0], row[1], int(row[2])) for row in rows)
    for gateway, name, intervals in rows:
        if intervals > quotas.limits(gateway).intervals // 2:
            wanted = select(ledger.c.first, ledger.c.last).filter_by(gateway=gateway, stream=name)
            ranges = connection.execute(wanted.order_by(ledger.c.first)).all()
            quotas.know_batches(gateway, name, ((row[0], row[1]) for row in ranges))
    sites = connection.execute(select(interlock.c.gateway, interlock.c.site)).all()
    quotas.know_sites((row[0], row[1]) for row in sites)
    columns = (tables.known_series.c[name] for name in ("gateway", "site", "sensor", "quantity"))
    quotas.know_series(
        (row.gateway, Series(row.site, row.sensor, Quantity(row.quantity)))
        for row in connection.execute(select(*columns)).all()
        if row.quantity in _QUANTITIES
    )


def size() -> ColumnElement[int]:
    """Bytes of a case, about."""
    payload, words, topic = quarantine.c.payload, quarantine.c.words, quarantine.c.topic
    return func.length(payload) + func.length(words) + func.length(topic) + CASE_BYTES


def there(connection: Connection, digests: Sequence[bytes]) -> set[bytes]:
    """Which of these cases are in quarantine."""
    found: set[bytes] = set()
    for begin in range(0, len(digests), _AT_ONCE):
        some = quarantine.c.digest.in_(digests[begin : begin + _AT_ONCE])
        found |= set(connection.execute(select(quarantine.c.digest).where(some)).scalars())
    return found


def count(connection: Connection, surplus: Iterable[Surplus], now_ms: int) -> None:
    """Write down what was refused, by gateway and quota; of what is gone also which stream it was
    of, for the account."""
    refused: dict[tuple[str, str], int] = {}
    gone: dict[tuple[str, str], list[int]] = {}
    for one in surplus:
        named = (one.gateway, one.quota)
        refused[named] = refused.get(named, 0) + one.things
        if one.is_lost:
            sums = gone.setdefault((one.gateway, one.stream), [0, 0, 0])
            sums[0] += one.things
            sums[1] += one.readings or 0
            sums[2] += one.readings is None
    _add(connection, refused, now_ms)
    add_overflow(connection, gone, now_ms)


def add_overflow(
    connection: Connection, gone: dict[tuple[str, str], list[int]], now_ms: int
) -> None:
    """Add to what the quarantine had no room for: by gateway and stream the cases, their readings
    and the number of cases of which nobody knows how many readings they held."""
    if not gone:
        return
    table = tables.overflow
    new = database.insert(connection, table)
    names = ("cases", "readings", "unknown")
    sums = {name: table.c[name] + new.excluded[name] for name in names}
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["gateway", "stream"], set_={**sums, "last_at_ms": now_ms}
        ),
        [
            {"gateway": gateway, "stream": stream, "last_at_ms": now_ms}
            | dict(zip(names, counted, strict=True))
            for (gateway, stream), counted in sorted(gone.items())
        ],
    )


def _add(connection: Connection, refused: dict[tuple[str, str], int], now_ms: int) -> None:
    if not refused:
        return
    table = tables.refused
    new = database.insert(connection, table)
    set_ = {"things": table.c.things + new.excluded.things, "last_at_ms": now_ms}
    connection.execute(
        new.on_conflict_do_update(index_elements=["gateway", "quota"], set_=set_),
        [
            {
                "gateway": gateway,
                "quota": quota,
                "things": things,
                "first_at_ms": now_ms,
                "last_at_ms": now_ms,
            }
            for (gateway, quota), things in sorted(refused.items())
        ],
    )
