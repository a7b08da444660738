"""Where readings are kept, one module a store.

A module exports `Config`, a model with `kind`, and `open(config, folder, state)`, an async context
manager that gives a `Store`; `kind = "x"` in `cloud.toml` finds it by its file name. `folder` is
where relative paths in the config begin. `open` itself need not reach the store: it may come later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from configs.loader import Model
from wire.reading import Quantity, Reading


class StoreConfig(Model):
    """What every store's config has: its kind, which is the name of the file that drives it."""

    kind: str


class Points(NamedTuple):
    """Readings of one gateway. A point is named by gateway, site, sensor, quantity and `at_ms`;
    written again, it replaces itself."""

    gateway: str
    readings: Sequence[Reading]


class Row(NamedTuple):
    """A point as it is read back. `value` is in the SI unit of `quantity`, None where it is
    missing; `at_ms` is UTC in milliseconds since 1970."""

    at_ms: int
    gateway: str
    site: str
    sensor: str
    quantity: Quantity
    value: float | None
    quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which points. None takes all; `since_ms` is in the range, `until_ms` is not. Rows come
    oldest first, or newest first; among those of one moment a `limit` cuts anywhere."""

    gateway: str | None = None
    site: str | None = None
    sensor: str | None = None
    quantity: Quantity | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    limit: int | None = None
    newest_first: bool = False

    @property
    def quantities(self) -> list[Quantity]:
        return list(Quantity) if self.quantity is None else [self.quantity]

    @property
    def tags(self) -> dict[str, str]:
        """What is asked of gateway, site and sensor."""
        asked = {"gateway": self.gateway, "site": self.site, "sensor": self.sensor}
        return {name: value for name, value in asked.items() if value is not None}

    def cut(self, rows: list[Row]) -> list[Row]:
        """`rows` in the order and up to the limit that is asked for."""
        rows.sort(key=lambda row: row[:5], reverse=self.newest_first)
        return rows[: self.limit]


Also = Callable[[Connection], None]
"""What is to be committed on the state database together with points."""


class Store(Protocol):
    """What every store can do. Each method raises Unavailable; `write` also Rejected."""

    async def check(self) -> None:
        """Raise Unavailable, with one line that says why, unless the store can be used."""

    async def write(self, points: Sequence[Points], also: Also) -> None:
        """Make `points` durable, and commit `also`: in one transaction where the store can, else
        `also` after the points. Either way a write that is done again changes nothing, and when
        it raises, `also` is not committed."""

    async def read(self, query: Query) -> list[Row]:
        """The rows that `query` asks for."""

    async def count(self, query: Query) -> int:
        """How many points `query` asks for; its limit does not count."""
