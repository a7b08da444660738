"""Where readings are kept, one module a store.

A module exports `Config`, a model with `kind`, and `open(config, folder, state)`, an async context
manager that gives a `Store`; `kind = "x"` in `cloud.toml` finds it by its file name. `folder` is
where relative paths in the config begin. `open` itself need not reach the store: it may come later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Protocol, Self, TypeVar

from pydantic import Field, model_validator
from sqlalchemy import Connection

from configs.loader import Model
from wire.reading import Quantity, Reading

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

_Days = Annotated[int, Field(ge=1, le=36_500)]


class Retention(Model):
    """`[store.retention]`: after how many days readings, minutes, hours and days go; None keeps
    them for ever. What is coarser is kept at least as long as what it was made of."""

    raw_days: _Days | None = None
    minute_days: _Days | None = None
    hour_days: _Days | None = None
    day_days: _Days | None = None

    @model_validator(mode="after")
    def _coarser_stays_longer(self) -> Self:
        days = [float("inf") if one is None else one for one in self.days.values()]
        if days != sorted(days):
            raise ValueError(
                "must be raw_days <= minute_days <= hour_days <= day_days; one left out is endless"
            )
        return self

    @property
    def days(self) -> dict[str, int | None]:
        """Days of each level, finest first."""
        return {
            "raw": self.raw_days,
            "minute": self.minute_days,
            "hour": self.hour_days,
            "day": self.day_days,
            "hydro_day": self.day_days,
        }

    def cutoffs(self, now_ms: int) -> dict[str, int]:
        """From when on each level that ends is kept: the beginning of a UTC day."""
        return {
            level: (now_ms - days * DAY_MS) // DAY_MS * DAY_MS
            for level, days in self.days.items()
            if days is not None
        }


class Days(Model):
    """`[store.days]`: which days are kept, and when they begin. A calendar day begins at midnight,
    a hydrological day at `hydrological_begins_hour` (08:00 in SL 651, E.1.1.3), both at a fixed
    distance from UTC, in whole hours: days are made from hours of UTC."""

    keep: list[Literal["day", "hydro_day"]] = ["day", "hydro_day"]
    utc_offset_hours: Annotated[int, Field(ge=-12, le=14)] = 8
    hydrological_begins_hour: Annotated[int, Field(ge=0, le=23)] = 8

    @property
    def buckets(self) -> list["Bucket"]:
        """All widths of rollups that are kept, the finest first."""
        days = [bucket for bucket in Bucket if bucket.level in self.keep]
        return [Bucket.MINUTE, Bucket.HOUR, *days]

    def grid(self, bucket: "Bucket") -> "Grid":
        """Where its buckets begin."""
        begins_hour = {Bucket.DAY: 0, Bucket.HYDRO_DAY: self.hydrological_begins_hour}
        if bucket not in begins_hour:
            return Grid(bucket.width_ms, 0)
        return Grid(DAY_MS, (begins_hour[bucket] - self.utc_offset_hours) * HOUR_MS % DAY_MS)


class StoreConfig(Model):
    """What every store's config has: its kind, which is the name of the file that drives it."""

    kind: str
    retention: Retention = Retention()
    days: Days = Days()

    def file_faults(self, folder: Path) -> list[tuple[str, str]]:
        """What is wrong with files that the config names and that are no secrets: key, and why."""
        return []

    def doubts(self) -> list[str]:
        """What is allowed and hardly meant, a line each."""
        return []


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


class Rollup(NamedTuple):
    """The readings of one sensor in one bucket of time, which begins at `at_ms`.

    `min`, `mean` and `max` are of the `counted` readings that have a value and are not flagged bad:
    what failed a test of its quality must not hide in a mean (None if there are none). `bad` and
    `missing` count the others. `worst` is the worst flag of those that are not missing, in the
    order of QARTOD 4 > 3 > 2 > 1; None if all are missing. `rain` is what fell by `rain_total`, m:
    of hours and days, None where nothing is known; see `cloud.store.rain`.
    """

    at_ms: int
    gateway: str
    site: str
    sensor: str
    quantity: Quantity
    min: float | None
    mean: float | None
    max: float | None
    counted: int
    bad: int
    missing: int
    worst: int | None
    rain: float | None = None


class Bucket(Enum):
    """Widths of rollups, the finest first. Minutes and hours are those of UTC; a calendar day and a
    hydrological day begin as `Days` says. The value is its name in the store."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    HYDRO_DAY = "hydro_day"

    @property
    def level(self) -> str:
        """What it is called in the marks, and in the store."""
        return self.value

    @property
    def width_ms(self) -> int:
        return {"minute": MINUTE_MS, "hour": HOUR_MS}.get(self.value, DAY_MS)

    @property
    def finer(self) -> "Bucket | None":
        """The rollups that these are made from; None for readings."""
        return {"minute": None, "hour": Bucket.MINUTE}.get(self.value, Bucket.HOUR)


class Grid(NamedTuple):
    """Times `width_ms` apart, one of them at `offset_ms`, UTC in milliseconds since 1970."""

    width_ms: int
    offset_ms: int

    def begin(self, at_ms: int) -> int:
        """The last time that is not after `at_ms`."""
        return (at_ms - self.offset_ms) // self.width_ms * self.width_ms + self.offset_ms

    def end(self, at_ms: int) -> int:
        """The first time that is not before `at_ms`."""
        return self.begin(at_ms + self.width_ms - 1)


_Timed = TypeVar("_Timed", Row, Rollup)


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

    def cut(self, rows: list[_Timed]) -> list[_Timed]:
        """`rows` in the order and up to the limit that is asked for."""
        rows.sort(key=lambda row: row[:5], reverse=self.newest_first)
        return rows[: self.limit]

    def whole(self, grid: Grid) -> "Query":
        """The same over all of each bucket that the range touches."""
        return replace(
            self,
            since_ms=None if self.since_ms is None else grid.begin(self.since_ms),
            until_ms=None if self.until_ms is None else grid.end(self.until_ms),
        )


class Counted(NamedTuple):
    """So many points, and the sum of their times since the beginning of the range that was asked
    for, ms; None where the store cannot tell, or the range has no beginning."""

    readings: int
    offsets_ms: int | None


class Server(NamedTuple):
    """What keeps the readings, in its own words, which are those of a stranger: short, and without
    a control character. `kind` is "InfluxDB", "InfluxDB Core", "VictoriaMetrics", "SQLite", or
    `UNKNOWN`, and then `version` is what it calls itself, "" for nothing. `major` is that of an
    InfluxDB."""

    kind: str
    version: str = ""
    major: int | None = None

    def __str__(self) -> str:
        if self.kind != UNKNOWN:
            return f"{self.kind} {self.version}".rstrip()
        if self.version:
            return f"a server that calls itself {self.version!r}"
        return "a server that does not say what it is"


UNKNOWN: Final = "unknown"


class Retired(NamedTuple):
    """What retention took from a store: so many `readings`, which are no more among those that it
    counts from `since_ms` on."""

    readings: int
    since_ms: int | None


Also = Callable[[Connection], None]
"""What is to be committed on the state database together with points."""


class Store(Protocol):
    """What every store can do. Each method raises Unavailable; `write` also Rejected."""

    async def check(self) -> None:
        """Raise Unavailable, with one line that says why, unless the store can be used."""

    async def faults(self) -> list[str]:
        """What keeps the store from being used, and how to mend it, a line each. Nothing is made or
        changed. Raises Rejected as well."""

    async def server(self) -> Server:
        """What it says that it is, asked anew; it may be of another kind than the config says."""

    async def init(self) -> list[str]:
        """Make what the store needs before the first write, with the retention of the config;
        what is there already stays. One line for each thing that was done or found."""

    async def write(self, points: Sequence[Points], also: Also) -> None:
        """Make `points` durable, and commit `also`: in one transaction where the store can, else
        `also` after the points. Either way a write that is done again changes nothing, and when
        it raises, `also` is not committed. It is `send`, then `commit`, of the same points."""

    async def send(self, points: Sequence[Points]) -> None:
        """Make `points` durable where that is not done by `commit`. Several may be under way at
        once; done in vain, it changes nothing that counts."""

    async def commit(self, points: Sequence[Points], also: Also) -> None:
        """Commit `also`, with what the state database is to know of `points`, which have been
        sent."""

    async def read(self, query: Query) -> list[Row]:
        """The rows that `query` asks for."""

    async def rollups(self, query: Query, bucket: Bucket) -> list[Rollup]:
        """The rollups of all buckets that the range of `query` touches, in its order. Where they
        are kept, not worked out when asked for, they are as of the last `upkeep`."""

    async def count(self, query: Query) -> int:
        """How many points `query` asks for; its limit does not count."""

    async def counted(self, query: Query) -> dict[str, Counted]:
        """The same by gateway: those that have any."""

    async def upkeep(self, now_ms: int, earliest_ms: int | None = None) -> None:
        """Bring rollups up to what was written, and let go what is older than the retention, by the
        earliest time that it may be; None for `now_ms`. Done in short pieces, so that writes go on
        in between."""

    async def retired(self, gateway: str | None) -> Retired:
        """What retention took of one gateway, or of all."""
