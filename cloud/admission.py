"""What may come in: who may write what, and which times can be true. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cloud.config import Config, Ingest, Unknown
from cloud.quarantine import Reason
from wire.codec import DecodeError
from wire.messages import Batch, Event
from wire.reading import Columns, Reading, columns

_STREAM: Final = re.compile(r"[!-~]{1,100}")
"""A stream's name is an opaque word, but every database must hold it."""

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
    gateway may write all that are not another's."""

    sites: Mapping[str, frozenset[str]]
    unknown: Unknown
    future_ms: int
    oldest_ms: int

    @classmethod
    def of(cls, config: Config) -> "Admission":
        ingest: Ingest = config.ingest
        return cls(
            {name: frozenset(one.sites) for name, one in config.gateway.items()},
            ingest.unknown_gateways,
            round(ingest.future_s * 1000),
            round(ingest.oldest_days * _DAY_S * 1000),
        )

    def check_origin(self, claimed: str, gateway: str) -> None:
        """Raise NotAllowed if a message says that it is of `claimed`, but came from `gateway`."""
        if claimed != gateway:
            raise NotAllowed(f"is of gateway {claimed!r}, but came from {gateway!r}")

    def check_known(self, gateway: str) -> None:
        """Raise NotAllowed for a gateway that the config does not name, where it must."""
        if self.unknown == "quarantine" and gateway not in self.sites:
            raise NotAllowed(f"the config has no [gateway.{gateway}]")

    def check_sites(self, gateway: str, sites: Collection[str]) -> None:
        """Raise NotAllowed if a gateway may not write one of these sites."""
        for site in sorted(sites):
            if words := self._not_its(gateway, site):
                raise NotAllowed(words)

    def sift(self, batch: Batch, now_ms: int) -> Admitted:
        """Take out of `batch` what is not allowed or cannot be true.

        A batch of which all may stay, as nearly every one, is looked at as a whole: this is paid
        for by every reading.
        """
        readings, events = batch.readings, batch.events
        if not events and self._all_may(batch.gateway, columns(readings), now_ms):
            return Admitted(batch)
        items: list[Reading | Event] = [*readings, *events]
        refused = [
            Refused(place, one, *fault)
            for place, one in enumerate(items)
            if (fault := self._fault(batch.gateway, one, now_ms))
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
        if first_ms < now_ms - self.oldest_ms or last_ms > now_ms + self.future_ms:
            return False
        if not self.sites:
            return True
        return not any(self._not_its(gateway, site) for site in {s.site for s in readings.series})

    def _fault(self, gateway: str, one: Reading | Event, now_ms: int) -> tuple[Reason, str] | None:
        if words := self._not_its(gateway, one.site):
            return Reason.NOT_ALLOWED, words
        if (ahead_ms := one.at_ms - now_ms) > self.future_ms:
            return Reason.TIME, f"is {_span(ahead_ms)} ahead; future_s = {self.future_ms / 1000:g}"
        if -ahead_ms > self.oldest_ms:
            days = self.oldest_ms / 1000 / _DAY_S
            return Reason.TIME, f"is {_span(-ahead_ms)} old; oldest_days = {days:g}"
        if isinstance(one, Event) and "\0" in one.site + one.kind + one.text:
            return Reason.UNREADABLE, "has a NUL in its text, which no database takes"
        return None

    def _not_its(self, gateway: str, site: str) -> str:
        """Why `gateway` may not write `site`, "" if it may."""
        if own := self.sites.get(gateway):
            if site not in own:
                return f"site {site!r} is not one of [gateway.{gateway}]"
        elif owners := sorted(name for name, sites in self.sites.items() if site in sites):
            return f"site {site!r} is of [gateway.{owners[0]}]"
        return ""


def check_stream(stream: str) -> None:
    """Raises DecodeError for a name that not every database can hold."""
    if not _STREAM.fullmatch(stream):
        raise DecodeError(f"stream {stream[:100]!r} is not a word of printable ASCII")


def _span(ms: float) -> str:
    seconds = ms / 1000
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} days"
