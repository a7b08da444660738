"""What each gateway uses of its quota, so that one which is hostile or mad costs only itself. Pure:
the time is handed in, and what the state knows is loaded once.

Each batch costs a few looks into tables; a reading costs nothing, unless its series is new.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cloud.limits import Quota
from wire.ranges import Intervals, Range
from wire.reading import Series
from wire.topics import What

OTHERS: Final = ""
"""Stands for all gateways that share a quota, because nobody knows them."""

MOST_UNNAMED: Final = 1000
"""Gateways with a quota of their own that no config names, where such are accepted."""

STANDS_MS: Final = 300_000
"""A quota counts as exceeded until nothing has been refused for so long."""

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000


_RATES: Final = ("mb_per_minute", "messages_per_minute", "records_per_minute")


class Exceeded(NamedTuple):
    """A quota that a gateway exceeds, or no longer does: `refused` things since it began."""

    gateway: str
    quota: str
    active: bool
    refused: int


class Spoilt(NamedTuple):
    """A reading, an event or a state that is beyond a quota: which, and in words."""

    quota: str
    words: str


@dataclass(slots=True)
class Bucket:
    """So many tokens `per_ms` come in, up to `most`. What is taken may be more than there is: then
    nothing is left until the debt is paid."""

    per_ms: float
    most: float
    tokens: float
    at_ms: int

    def has_some(self, now_ms: int) -> bool:
        """Whether anything is left. A clock that was set back adds nothing and takes nothing."""
        if now_ms > self.at_ms:
            tokens = self.tokens + (now_ms - self.at_ms) * self.per_ms
            self.tokens = tokens if tokens < self.most else self.most
        self.at_ms = now_ms
        return self.tokens > 0

    def take(self, amount: float) -> None:
        self.tokens -= amount


@dataclass(slots=True)
class _Refused:
    """What was refused for one quota, since that began."""

    count: int = 0
    last_ms: int = 0


@dataclass(slots=True)
class _Pieces:
    """In how many intervals the batches of a stream lie: `before` we began, and those since."""

    before: int = 0
    since: Intervals = field(default_factory=Intervals)

    def has_room(self, number: int, most: int) -> bool:
        """Whether a batch may come in: always where it widens an interval."""
        if self.before + self.since.parts < most:
            return True
        return any(near in self.since for near in (number - 1, number, number + 1))


@dataclass(slots=True)
class _Use:
    """What one gateway, or those that share a quota, have used."""

    limits: Quota
    buckets: dict[str, Bucket] = field(default_factory=dict)
    rates: dict[What, tuple[Bucket, Bucket, Bucket]] = field(default_factory=dict)
    streams: dict[tuple[str, str], "_Pieces"] = field(default_factory=dict)
    sites: set[str] = field(default_factory=set)
    sensors: set[tuple[str, str]] = field(default_factory=set)
    series: set[Series] = field(default_factory=set)
    last: Sequence[Series] = ()
    """The series of the last batch in which all were known: most batches have the same."""
    refused: dict[str, _Refused] = field(default_factory=dict)

    def bucket(self, quota: str, now_ms: int) -> Bucket:
        found = self.buckets.get(quota)
        if found is None:
            found = self.buckets[quota] = self._new(quota, now_ms)
        return found

    def rate(self, what: What, now_ms: int) -> tuple[Bucket, Bucket, Bucket]:
        """The rates of one kind of message, in the order of `_RATES`."""
        size, messages, records = (self._new(quota, now_ms) for quota in _RATES)
        made = self.rates[what] = (size, messages, records)
        return made

    def _new(self, quota: str, now_ms: int) -> Bucket:
        limits = self.limits
        quota = quota.partition(" ")[0]
        if quota.endswith("_per_hour"):
            most = float(getattr(limits, quota))
            return Bucket(most / _HOUR_MS, most, most, now_ms)
        rate = limits.mb_per_minute * 1e6 if quota == "mb_per_minute" else getattr(limits, quota)
        most = rate * limits.burst_minutes
        return Bucket(rate / _MINUTE_MS, most, most, now_ms)


class Quotas:
    """Those of all gateways. `named` are the gateways of the config; where the others are not
    `accepted`, they share one quota."""

    def __init__(
        self,
        limits: Quota,
        own: Mapping[str, Quota],
        named: Collection[str],
        *,
        accepted: bool,
    ) -> None:
        self._limits = limits
        self._own = own
        self._named = frozenset(named)
        self._accepted = accepted
        self._uses: dict[str, _Use] = {}
        self._unnamed: set[str] = set()

    def owner(self, gateway: str | None) -> str:
        """Under which name a gateway's use is counted."""
        if gateway is None:
            return OTHERS
        if gateway in self._named or gateway in self._unnamed:
            return gateway
        if self._accepted and len(self._unnamed) < MOST_UNNAMED:
            self._unnamed.add(gateway)
            return gateway
        return OTHERS

    def limits(self, gateway: str | None) -> Quota:
        """What a gateway may have."""
        return self._own.get(self.owner(gateway), self._limits)

    def refusal(self, gateway: str, what: What, size: int, now_ms: int) -> str:
        """Which rate a message of `size` bytes is beyond, "" if none: then it is counted. Each
        kind of message has rates of its own, so that events come through beside a flood of data."""
        use = self._use(gateway)
        rates = use.rates.get(what) or use.rate(what, now_ms)
        sizes, messages, records = rates
        if sizes.has_some(now_ms) and messages.has_some(now_ms) and records.has_some(now_ms):
            sizes.tokens -= size
            messages.tokens -= 1
            return ""
        beyond = (quota for quota, one in zip(_RATES, rates, strict=True) if one.tokens <= 0)
        return self._refuse(use, next(beyond), now_ms)

    def batch_refusal(
        self, gateway: str, stream: str, number: int, events: int, now_ms: int
    ) -> str:
        """Which quota a batch is beyond with its stream and number, and so many `events` and gaps;
        "" if none: then it is counted."""
        use = self._use(gateway)
        if events:
            bucket = use.bucket("events_per_minute", now_ms)
            if not bucket.has_some(now_ms):
                return self._refuse(use, "events_per_minute", now_ms)
            bucket.take(events)
        if (pieces := use.streams.get((gateway, stream))) is None:
            if quota := self._new_stream_refusal(use, gateway, stream, now_ms):
                return quota
            pieces = use.streams[gateway, stream]
        if not pieces.has_room(number, use.limits.intervals):
            return self._refuse(use, "intervals", now_ms)
        pieces.since.add(number)
        return ""

    def stream_refusal(self, gateway: str, stream: str, now_ms: int) -> str:
        """Which quota a stream is beyond, "" if none: then it is known from now on."""
        use = self._use(gateway)
        if (gateway, stream) in use.streams:
            return ""
        return self._new_stream_refusal(use, gateway, stream, now_ms)

    def _new_stream_refusal(self, use: _Use, gateway: str, stream: str, now_ms: int) -> str:
        if len(use.streams) >= use.limits.streams:
            return self._refuse(use, "streams", now_ms)
        bucket = use.bucket("streams_per_hour", now_ms)
        if not bucket.has_some(now_ms) or bucket.tokens < 1:
            return self._refuse(use, "streams_per_hour", now_ms)
        bucket.take(1)
        use.streams[gateway, stream] = _Pieces()
        return ""

    def count_records(self, gateway: str, what: What, records: int, now_ms: int) -> None:
        """So many records were in a message: they are known only once it is decoded."""
        use = self._use(gateway)
        (use.rates.get(what) or use.rate(what, now_ms))[2].tokens -= records

    def faults_left(self, gateway: str, faults: int, now_ms: int) -> int:
        """How many of so many `faults` may be kept one by one; these are counted."""
        use = self._use(gateway)
        bucket = use.bucket("faults_per_minute", now_ms)
        left = int(bucket.tokens) if bucket.has_some(now_ms) else 0
        kept = min(faults, left)
        bucket.take(kept)
        if kept < faults:
            self._refuse(use, "faults_per_minute", now_ms, faults - kept)
        return kept

    def may_find(self, gateway: str, site: str, again: bool, now_ms: int) -> bool:
        """Whether a gateway may raise or worsen a finding at a site; then it is counted. What is
        not looked at again (an event) has ten times the room: it would be lost."""
        use = self._use(gateway)
        where = site if site in use.sites else ""
        bucket = use.bucket(f"findings_per_hour {where} {again}", now_ms)
        amount = 1.0 if again else 0.1
        if not bucket.has_some(now_ms) or bucket.tokens < amount:
            self._refuse(use, "findings_per_hour", now_ms)
            return False
        bucket.take(amount)
        return True

    def strangers(
        self, gateway: str, series: Sequence[Series], may: Callable[[str], bool], now_ms: int
    ) -> tuple[dict[Series, Spoilt], list[Series]]:
        """Those of `series` that are beyond a quota, and those that are new and are not, of the
        sites that the gateway `may` write. Usually there are none."""
        use = self._use(gateway)
        if series == use.last:
            return {}, []
        if use.series.issuperset(series):
            use.last = series
            return {}, []
        spoilt: dict[Series, Spoilt] = {}
        new: list[Series] = []
        for one in dict.fromkeys(series):
            if one in use.series or not may(one.site):
                continue
            if fault := self._stranger(use, one, now_ms):
                spoilt[one] = fault
            else:
                self._know(use, one)
                new.append(one)
        return spoilt, new

    def site_fault(self, gateway: str, site: str, now_ms: int) -> Spoilt | None:
        """What is wrong with a site of which a gateway says something; None: then it is known."""
        use = self._use(gateway)
        if not site or site in use.sites:
            return None
        if len(use.sites) >= use.limits.sites:
            return self._spoilt(use, "sites", f"site {site!r}", now_ms)
        use.sites.add(site)
        return None

    def refuse(self, gateway: str | None, quota: str, now_ms: int, count: int = 1) -> None:
        """Something was refused for a quota that is counted elsewhere."""
        self._refuse(self._use(gateway), quota, now_ms, count)

    def exceeded(self, now_ms: int) -> list[Exceeded]:
        """What is exceeded now, and what no longer is since the last call: the rule of the service
        takes the same again without harm."""
        found = []
        for owner, use in [*self._uses.items()]:
            for quota, one in [*use.refused.items()]:
                active = abs(now_ms - one.last_ms) < STANDS_MS  # a clock may be set back
                found.append(Exceeded(owner, quota, active, one.count))
                if not active:
                    del use.refused[quota]
        return found

    def inherit(self, gateway: str, quota: str, now_ms: int) -> None:
        """A quota counted as exceeded when the last process ended."""
        self._refuse(self._use(gateway or None), quota, now_ms, 0)

    def know_streams(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """The streams (gateway, stream) that the ledger has, and in how many intervals."""
        for gateway, stream, intervals in rows:
            self._use(gateway).streams[gateway, stream] = _Pieces(intervals)

    def know_batches(self, gateway: str, stream: str, ranges: Iterable[Range]) -> None:
        """The intervals themselves, of a stream that has many."""
        self._use(gateway).streams[gateway, stream] = _Pieces(0, Intervals.of(ranges))

    def know_sites(self, rows: Iterable[tuple[str, str]]) -> None:
        """The sites of each gateway of which something is known."""
        for gateway, site in rows:
            self._use(gateway).sites.add(site)

    def know_series(self, rows: Iterable[tuple[str, Series]]) -> None:
        """The series of each gateway that are known from before."""
        for gateway, series in rows:
            self._know(self._use(gateway), series)

    def forget(self) -> None:
        """What is known of streams and series is to be loaded anew; the rates go on."""
        for use in self._uses.values():
            use.streams, use.sites, use.sensors, use.series = {}, set(), set(), set()
            use.last = ()

    def __iter__(self) -> Iterator[str]:
        """The owners of which anything is counted."""
        return iter(self._uses)

    def _use(self, gateway: str | None) -> _Use:
        if gateway is not None and (use := self._uses.get(gateway)) is not None:
            return use  # who has a use of its own keeps it
        owner = self.owner(gateway)
        if (use := self._uses.get(owner)) is None:
            use = self._uses[owner] = _Use(self._own.get(owner, self._limits))
        return use

    def _know(self, use: _Use, one: Series) -> None:
        use.sites.add(one.site)
        use.sensors.add((one.site, one.sensor))
        use.series.add(one)

    def _stranger(self, use: _Use, one: Series, now_ms: int) -> Spoilt | None:
        limits = use.limits
        if one.site not in use.sites and len(use.sites) >= limits.sites:
            return self._spoilt(use, "sites", f"site {one.site!r}", now_ms)
        sensor = (one.site, one.sensor)
        if sensor not in use.sensors and len(use.sensors) >= limits.sensors:
            return self._spoilt(use, "sensors", f"sensor {one.site}/{one.sensor}", now_ms)
        if len(use.series) >= limits.series:
            words = f"series {one.site}/{one.sensor}/{one.quantity}"
            return self._spoilt(use, "series", words, now_ms)
        return None

    def _spoilt(self, use: _Use, quota: str, thing: str, now_ms: int) -> Spoilt:
        self._refuse(use, quota, now_ms)
        most = getattr(use.limits, quota)
        return Spoilt(quota, f"{thing} is one too many: [quota] {quota} = {most}")

    def _refuse(self, use: _Use, quota: str, now_ms: int, count: int = 1) -> str:
        one = use.refused.setdefault(quota, _Refused())
        one.count += count
        one.last_ms = now_ms
        return quota
