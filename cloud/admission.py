"""What may come in: who may write what, how much, and which times can be true."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from cloud.alerts.rule import SERVICE, ServiceFault
from cloud.config import Config, Ingest, Unknown
from cloud.limits import Quota, by_gateway
from cloud.ownclock import PLAUSIBLE_MS, Shown
from cloud.quarantine import UNNAMED, Reason
from cloud.quotas import Quotas, Spoilt
from cloud.room import Room
from configs.text import clean_detail, clean_foreign
from wire.codec import DecodeError
from wire.messages import Batch, Event, Gap, InterlockState
from wire.reading import Columns, Reading, Series, columns
from wire.topics import is_name

_STREAM: Final = re.compile(r"[!-~]{1,100}")
"""A stream's name is an opaque word, but every database must hold it."""

_KIND: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
"""Of an event."""

_UNPLANNED: Final = "is neither in the config nor in the response plan"

_DAY_S: Final = 86_400


class NotAllowed(Exception):
    """All of a message comes from somebody who may not send it; the text says why."""


class Refused(NamedTuple):
    """A reading or an event that is not to be stored. `place` counts the readings of its batch
    from 0, then its events."""

    place: int
    item: Reading | Event
    reason: Reason
    words: str


class Admitted(NamedTuple):
    """A batch without what was refused, and the places of the readings and of the events that are
    left."""

    batch: Batch
    refused: Sequence[Refused] = ()
    readings: Sequence[int] | None = None
    events: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """`sites` are those of each gateway that the config names, empty where it names none: then the
    gateway may write all that are not another's, and are among the `known` unless that is empty.
    Only `quotas`, `room`, what quarantine has for each gateway, `known` and `doubt` change: by so
    much (ms) our own clock may be behind the time, and ahead of it."""

    sites: Mapping[str, frozenset[str]]
    unknown: Unknown
    future_ms: int
    oldest_ms: int
    known: frozenset[str] = frozenset()
    quotas: Quotas = field(default_factory=lambda: Quotas(Quota(), {}, (), accepted=True))
    room: Room | None = None
    doubt: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, config: Config, planned: Iterable[str] = ()) -> "Admission":
        """That of a config; `planned` are the sites of its response plan, if it has one."""
        ingest: Ingest = config.ingest
        sites = {name: frozenset(one.sites) for name, one in config.gateway.items()}
        known = _known(config, planned)
        quotas = Quotas(
            config.quota,
            by_gateway(config.quota, {n: one.quota for n, one in config.gateway.items()}),
            sites,
            accepted=config.accepts_unknown,
        )
        return cls(
            sites,
            "accept" if config.accepts_unknown else "quarantine",
            round(ingest.future_s * 1000),
            round(ingest.oldest_days * _DAY_S * 1000),
            known,
            quotas,
            Room(quotas, config.quarantine.most_bytes),
        )

    def replan(self, config: Config, planned: Iterable[str]) -> None:
        """The response plan has become another one, with these sites."""
        # At once for all who look: what is decoded may be decoded in a thread.
        object.__setattr__(self, "known", _known(config, planned))

    def judge_by(self, shown: Shown) -> None:
        """From now on times are judged by this look at our clock."""
        doubt = shown.latest_ms - shown.now_ms, shown.now_ms - shown.earliest_ms
        object.__setattr__(self, "doubt", doubt)

    def check_origin(self, claimed: str, gateway: str) -> None:
        """Raise NotAllowed if a message says that it is of `claimed`, but came from `gateway`."""
        if claimed != gateway:
            raise NotAllowed(f"is of gateway {claimed!r}, but came from {gateway!r}")

    def check_known(self, gateway: str) -> None:
        """Raise NotAllowed for a gateway that the config does not name, where it must."""
        if self.unknown == "quarantine" and gateway not in self.sites:
            raise NotAllowed(f"{UNNAMED}[gateway.{gateway}]")

    def check_sites(self, gateway: str, sites: Collection[str]) -> None:
        """Raise NotAllowed if a gateway may not write one of these sites."""
        for site in sorted(sites):
            if words := self._not_its(gateway, site):
                raise NotAllowed(words)

    def conditions(self, now_ms: int) -> list[ServiceFault]:
        """What is wrong by now, and what no longer is: for the rule of the service, which takes the
        same again without harm. Asked for every few seconds, whether messages come or not."""
        shown = datetime.fromtimestamp(min(max(now_ms, 0), 2**47) / 1000, UTC)
        return [
            ServiceFault(
                "clock_implausible",
                now_ms not in PLAUSIBLE_MS or self._was_set_far(),
                detail={"utc": f"{shown:%Y-%m-%d %H:%M}"},
            ),
            *(
                ServiceFault(
                    "quota_exceeded",
                    one.active,
                    one.gateway or SERVICE,
                    one.quota,
                    {"quota": one.quota, "refused": one.refused},
                )
                for one in self.quotas.exceeded(now_ms)
            ),
        ]

    def _was_set_far(self) -> bool:
        """Whether our clock was set, lately, by so much that one of its times refuses readings."""
        behind_ms, ahead_ms = self.doubt
        return behind_ms > self.future_ms or ahead_ms > self.oldest_ms

    def inherit(self, standing: Iterable[ServiceFault], now_ms: int) -> None:
        """Take over what an earlier process has reported (`Watch.standing`), so that it ends."""
        for fault in standing:
            gateway = "" if fault.gateway == SERVICE else fault.gateway
            self.quotas.inherit(gateway, fault.subject, now_ms)

    def check_quota(self, gateway: str, site: str, now_ms: int) -> None:
        """Raise NotAllowed for a site that is one too many."""
        if fault := self.quotas.site_fault(gateway, site, now_ms):
            raise NotAllowed(fault.words)

    def strangers(
        self, batch: Batch, now_ms: int
    ) -> tuple[Mapping[Series, Spoilt], Sequence[Series]]:
        """The series of a batch that are beyond a quota of its gateway, and those that are new."""
        gateway = batch.gateway

        def may(site: str) -> bool:
            return not self._not_its(gateway, site)

        return self.quotas.strangers(gateway, columns(batch.readings).series, may, now_ms)

    def sift(
        self, batch: Batch, now_ms: int, spoilt: Mapping[Series, Spoilt] | None = None
    ) -> Admitted:
        """Take out of `batch` what is not allowed or cannot be true, and the readings of series
        that are `spoilt`.

        A batch of which all may stay, as nearly every one, is looked at as a whole: this is paid
        for by every reading.
        """
        readings, events = batch.readings, batch.events
        if not events and not spoilt and self._all_may(batch.gateway, columns(readings), now_ms):
            return Admitted(batch)
        beyond = spoilt or {}
        items: list[Reading | Event] = [*readings, *events]
        refused = [
            Refused(place, one, *fault)
            for place, one in enumerate(items)
            if (fault := self._fault(batch.gateway, one, now_ms, beyond))
        ]
        if not refused:
            return Admitted(batch)
        out = {one.place for one in refused}
        stay = [n for n in range(len(readings)) if n not in out]
        told = [n for n in range(len(events)) if n + len(readings) not in out]
        return Admitted(
            Batch(
                batch.gateway,
                batch.stream,
                batch.number,
                tuple(readings[n] for n in stay),
                tuple(events[n] for n in told),
                batch.gaps,
            ),
            refused,
            stay,
            told,
        )

    def _all_may(self, gateway: str, readings: Columns, now_ms: int) -> bool:
        first_ms, last_ms = readings.first_ms, readings.last_ms
        if first_ms is None or last_ms is None:
            return True
        behind_ms, ahead_ms = self.doubt
        if now_ms in PLAUSIBLE_MS and (
            first_ms < now_ms - ahead_ms - self.oldest_ms
            or last_ms > now_ms + behind_ms + self.future_ms
        ):
            return False
        if not self.sites and not self.known:
            return True
        return not any(self._not_its(gateway, site) for site in {s.site for s in readings.series})

    def _fault(
        self, gateway: str, one: Reading | Event, now_ms: int, spoilt: Mapping[Series, Spoilt]
    ) -> tuple[Reason, str] | None:
        if isinstance(one, Event):
            if words := _misnamed(one):
                return Reason.UNREADABLE, words
        elif spoilt and (beyond := spoilt.get(Series(one.site, one.sensor, one.quantity))):
            return Reason.QUOTA, beyond.words
        if words := self._not_its(gateway, one.site):
            # A gateway that somebody has named is likely right, and the plan is not: that is told.
            is_ours = gateway in self.sites and words.endswith(_UNPLANNED)
            return Reason.UNPLANNED if is_ours else Reason.NOT_ALLOWED, words
        if now_ms not in PLAUSIBLE_MS:
            return None
        behind_ms, ahead_ms = self.doubt
        if (early_ms := one.at_ms - now_ms) > self.future_ms + behind_ms:
            return Reason.TIME, f"is {_span(early_ms)} ahead; future_s = {self.future_ms / 1000:g}"
        if -early_ms > self.oldest_ms + ahead_ms:
            days = self.oldest_ms / 1000 / _DAY_S
            return Reason.TIME, f"is {_span(-early_ms)} old; oldest_days = {days:g}"
        return None

    def _not_its(self, gateway: str, site: str) -> str:
        """Why `gateway` may not write `site`, "" if it may; no site means the gateway itself."""
        if not site:
            return ""
        if own := self.sites.get(gateway):
            if site not in own:
                return f"site {site!r} is not one of [gateway.{gateway}]"
        elif owners := sorted(name for name, sites in self.sites.items() if site in sites):
            return f"site {site!r} is of [gateway.{owners[0]}]"
        elif self.known and site not in self.known:
            return f"site {site!r} {_UNPLANNED}"
        return ""


def clock_fault(now_ms: int) -> str:
    """What is wrong with our own clock, "" if it may be right."""
    if now_ms in PLAUSIBLE_MS:
        return ""
    year = datetime.fromtimestamp(min(max(now_ms, 0), 2**47) / 1000, UTC).year
    return f"the clock of this machine shows the year {year}: set it, times are not judged now"


def cleaned(batch: Batch) -> Batch:
    """The same, its words such as may be shown and sent on. Names are right already, or refused."""
    if not batch.events and not batch.gaps:
        return batch
    return replace(
        batch, events=tuple(map(cleaned_event, batch.events)), gaps=tuple(map(_gap, batch.gaps))
    )


def cleaned_interlock(state: InterlockState) -> InterlockState:
    """The same for the state of an interlock."""
    return replace(state, cause=clean_foreign(state.cause))


def cleaned_event(event: Event) -> Event:
    """The same for an event."""
    return replace(event, text=clean_foreign(event.text), detail=clean_detail(event.detail))


def _gap(gap: Gap) -> Gap:
    return replace(gap, reason=clean_foreign(gap.reason, 100))


def _misnamed(event: Event) -> str:
    """What is wrong with the names in an event, "" if nothing."""
    if event.site and not is_name(event.site):
        return f"site {clean_foreign(event.site, 100)!r} is not a name"
    if not _KIND.fullmatch(event.kind):
        return f"kind {clean_foreign(event.kind, 100)!r} is not a name"
    return "has a NUL in its text, which no database takes" if "\0" in event.text else ""


def check_stream(stream: str) -> None:
    """Raises DecodeError for a name that not every database can hold."""
    if not _STREAM.fullmatch(stream):
        raise DecodeError(f"stream {stream[:100]!r} is not a word of printable ASCII")


def _span(ms: float) -> str:
    seconds = ms / 1000
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} days"


def _known(config: Config, planned: Iterable[str]) -> frozenset[str]:
    """The sites that may be written, empty for all."""
    known = frozenset(planned)
    if not known or config.ingest.unknown_sites != "quarantine":
        return frozenset()
    named = (frozenset(one.sites) for one in config.gateway.values())
    of_rules = {one.site for one in config.rule.values() if one.site is not None}
    return known.union(of_rules, *named)
