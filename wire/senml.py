"""Readings as a SenML pack (RFC 8428) and back.

A pack is written with base names and base times, readings of one sensor side by side; a reader
must resolve them by the RFC's rules, in whatever way they were written. A name, once resolved, is
`gateway/site/sensor/quantity`. Two things are ours: the label `q`, the quality (absent: 1, good),
which a foreign reader skips as the RFC demands, and `vs` with the reason where there is no value
(then `q` is 9), for a record without a value would not be SenML.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from math import floor
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from wire import limits
from wire.reading import UNITS, Columns, Quality, Quantity, Reading, Series
from wire.topics import NAME_PATTERN

ABSOLUTE_FROM_MS: Final = 2**28 * 1000
"""SenML takes smaller times as relative (RFC 8428, section 4.5.3). We never send them: a gateway
that does not know the time keeps its batches with times since its boot, until it does."""

_VERSION: Final = 10
_LAST_MS: Final = limits.NUMBER
"""Whole milliseconds are exact up to here, which is far in the future."""

_QUANTITIES: Final = {quantity.value: quantity for quantity in Quantity}
_QUALITIES: Final = {int(quality): quality for quality in Quality}
_WITH_VALUE: Final = {int(q): q for q in Quality if q is not Quality.MISSING}
_PLACE: Final = re.compile(
    rf"({NAME_PATTERN})/({NAME_PATTERN})/({NAME_PATTERN})/([^/]*)", re.DOTALL
)
_SERIES_KNOWN: Final = 32768
"""Names that are remembered across packs, at 300 bytes each: a hundred sensors of 300 gateways."""


_Name = Annotated[str, Meta(max_length=limits.RECORD_NAME)]
_Unit = Annotated[str, Meta(max_length=limits.UNIT)]
_Reason = Annotated[str, Meta(max_length=limits.REASON)]
_Value = Annotated[float, Meta(ge=-limits.NUMBER, le=limits.NUMBER)]


class DecodeError(ValueError):
    """The bytes are not a message of this version; the text says why, in one line of bounded
    length."""

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= limits.FAULT else text[: limits.FAULT - 1] + "…")


class BaseError(DecodeError):
    """A base field is wrong, and with it all records that rest on it."""


class Record(msgspec.Struct, omit_defaults=True, gc=False):
    """One SenML record as it stands on the wire. Labels we do not know are skipped."""

    bn: _Name | None = None
    bt: float | None = None
    bu: _Unit | None = None
    bv: _Value | None = None
    bver: int | None = None
    n: _Name | None = None
    u: _Unit | None = None
    v: _Value | None = None
    vs: _Reason | None = None
    t: float | None = None
    q: int = int(Quality.GOOD)


class PlainRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A record as `pack` writes it: see `plain`."""

    bn: _Name | None = None
    bt: float | None = None
    bu: _Unit | None = None
    v: _Value | None = None
    vs: _Reason | None = None
    t: float = 0.0
    q: int = int(Quality.GOOD)


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, not UTF-8, or nested to no end."""


Label = msgspec.Raw | str | float
"""What stands at a label of a record."""


def pack(gateway: str, readings: Iterable[Reading]) -> Iterator[Record]:
    """Readings of one sensor stand side by side under its base name, which packs best."""
    name, base_ms = "", 0
    for r in sorted(readings, key=lambda r: (r.site, r.sensor, r.quantity, r.at_ms)):
        record = Record(q=int(r.quality))
        if (full := f"{gateway}/{r.site}/{r.sensor}/{r.quantity}") != name:
            name = record.bn = full
            record.bu = UNITS[r.quantity]
        if not base_ms:
            base_ms = r.at_ms
            record.bt = base_ms / 1000
        if r.at_ms != base_ms:
            record.t = (r.at_ms - base_ms) / 1000
        if r.value is None:
            record.vs = r.reason[: limits.REASON]
        elif abs(r.value) <= limits.NUMBER:
            record.v = r.value
        else:  # or it is not a number at all
            record.q, record.vs = int(Quality.MISSING), f"{r.value:g} is out of bounds"
        yield record


class Pack:
    """A pack of `gateway` while it is read, in one go or in pieces: the base fields that hold.

    Times before `from_ms` are refused.
    """

    def __init__(self, gateway: str, from_ms: int) -> None:
        self._gateway = gateway
        self._from_ms = from_ms
        self._name = ""
        self._ms = 0
        self._unit: str | None = None
        self._value: float | None = None

    def read(self, records: Iterable[Record], into: list[Reading] | None = None) -> list[Reading]:
        """The readings in `records`, which follow those that were read before; put behind those in
        `into`, where they are even if a later record is wrong.

        Raises DecodeError at the first that is none of ours, BaseError if those that follow are
        not to be understood either. This loop is most of what a reading costs: hence its length.
        """
        readings: list[Reading] = [] if into is None else into
        put, with_value = readings.append, _WITH_VALUE.get
        last_ms, reading, good, missing = _LAST_MS, Reading, Quality.GOOD, Quality.MISSING
        from_ms, base_ms, base_value = self._from_ms, self._ms, self._value
        quality: Quality | None
        place: Series | None = None  # of the record before, if it can be of the next one too
        for record in records:
            if record.bver is not None and record.bver != _VERSION:
                raise BaseError(f"SenML version {record.bver} is not {_VERSION}")
            if (seconds := record.bt) is not None:
                if not -last_ms < seconds * 1000 < last_ms:
                    raise BaseError(f"time {seconds} is beyond all calendars")
                base_ms = self._ms = round(seconds * 1000)
            if record.bv is not None:
                base_value = self._value = record.bv
            if record.bn is not None:
                self._name, place = record.bn, None
            if record.bu is not None:
                self._unit, place = record.bu, None
            value = record.v
            if record.n is not None or record.u is not None:
                (site, sensor, quantity), place = self._place(record), None
            elif value is None and record.vs is None:
                continue  # a record of base fields only
            elif place is None:
                site, sensor, quantity = place = self._place(record)
            at_ms = base_ms
            if (seconds := record.t) is not None:
                if not -last_ms < (ms := seconds * 1000) < last_ms:
                    raise DecodeError(f"time {seconds} is beyond all calendars")
                at_ms += floor(ms + 0.5)  # half of what round() costs
            if at_ms < from_ms:
                raise DecodeError(f"{self._name}{record.n or ''} has no absolute time")
            if value is None:
                if record.q != missing:
                    raise _wrong_quality(record)
                put(reading(site, sensor, quantity, None, at_ms, missing, record.vs or ""))
                continue
            if (flag := record.q) == 1:
                quality = good  # nearly all are, and this is cheaper than to look it up
            elif (quality := with_value(flag)) is None:
                raise _wrong_quality(record)
            if base_value is not None:
                value = _sum(value, base_value)
            put(reading(site, sensor, quantity, value, at_ms, quality, record.vs or ""))
        return readings

    def held(self) -> dict[str, Label]:
        """The base fields that hold, as labels of a record."""
        fields: dict[str, str | float | None] = {
            "bn": self._name,
            "bt": self._ms / 1000,
            "bu": self._unit,
            "bv": self._value,
        }
        return {label: value for label, value in fields.items() if value}

    def _place(self, record: Record) -> Series:
        """The site, sensor and quantity of `record`, in the unit that we know."""
        name = self._name + (record.n or "")
        gateway, place, unit = _series(name)
        if gateway != self._gateway:
            raise DecodeError(f"{name!r} is not a name under {self._gateway}/")
        if (given := record.u or self._unit) != unit:
            raise DecodeError(f"{name} is in {given!r}, not in {unit!r}")
        return place


def plain(gateway: str, records: Sequence[PlainRecord], from_ms: int) -> Columns | None:
    """The readings of a pack such as `pack` makes: one base time, and each series under a base name
    and unit of its own. None for every other, and if anything in it is wrong: `Pack` knows what.

    What a reading costs an aggregator is paid here, so it goes by columns: a step for all.
    """
    heads = [
        n
        for n, one in enumerate(records)
        if one.bn is not None or one.bt is not None or one.bu is not None
    ]
    if (
        not heads
        or heads[0]
        or not -_LAST_MS < (first_s := (records[0].bt or 0.0)) * 1000 < _LAST_MS
    ):
        return None
    base_ms = round(first_s * 1000)
    try:
        at_ms = [base_ms + ms for ms in map(floor, [one.t * 1000 + 0.5 for one in records])]
    except OverflowError:
        return None
    series = _plain_series(gateway, records, heads)
    values = [one.v for one in records]
    words = [one.vs for one in records]
    qualities = _plain_qualities(values, [one.q for one in records], words)
    if series is None or qualities is None:
        return None
    reasons: dict[int, str] = {}
    if words.count(None) < len(words):
        reasons = {n: one for n, one in enumerate(words) if one}
    found = Columns(series, heads, at_ms, values, qualities, reasons)
    times = (base_ms, found.first_ms or 0, found.last_ms or 0)
    return found if from_ms <= min(times) and max(times) < _LAST_MS else None


def _plain_series(
    gateway: str, records: Sequence[PlainRecord], heads: Sequence[int]
) -> list[Series] | None:
    """Those that begin at `heads`."""
    found: list[Series] = []
    for begin in heads:
        head = records[begin]
        if head.bn is None or (begin and head.bt is not None):
            return None
        try:
            owner, series, unit = _series(head.bn)
        except DecodeError:
            return None
        if owner != gateway or head.bu != unit:
            return None
        found.append(series)
    return found


def _plain_qualities(
    values: Sequence[float | None], flags: Sequence[int], words: Sequence[str | None]
) -> Sequence[Quality] | None:
    """One for each flag."""
    if flags.count(1) == len(flags):
        return [Quality.GOOD] * len(flags) if _all_there(values) else None
    found: list[Quality] = []
    for value, flag, word in zip(values, flags, words, strict=True):
        if (quality := _QUALITIES.get(flag)) is None:
            return None
        if (value is None) != (quality is Quality.MISSING) or (value is None and word is None):
            return None
        found.append(quality)
    return found


def _all_there(values: Sequence[float | None]) -> bool:
    """Whether none is None, told by a sum, which is far quicker than a look at each."""
    try:
        sum(values)  # type: ignore[arg-type]  # of numbers only
    except TypeError:
        return False
    return True


@lru_cache(_SERIES_KNOWN)
def _series(name: str) -> tuple[str, Series, str]:
    """Gateway, place and unit of a whole name."""
    if (parts := _PLACE.fullmatch(name)) is None:
        raise DecodeError(f"{name!r} is not a name of gateway, site, sensor and quantity")
    gateway, site, sensor, word = parts.groups()
    if word not in _QUANTITIES:
        raise DecodeError(f"{word!r} is not a quantity")
    quantity = _QUANTITIES[word]
    return gateway, Series(site, sensor, quantity), UNITS[quantity]


def _sum(value: float, base: float) -> float:
    if not abs(value + base) <= limits.NUMBER:
        raise DecodeError(f"value {value} over {base} is out of bounds")
    return value + base


def _wrong_quality(record: Record) -> DecodeError:
    if record.q not in {*_WITH_VALUE, Quality.MISSING}:
        return DecodeError(f"quality {record.q} is not a QARTOD flag")
    return DecodeError(f"quality {record.q} does not go with value {record.v}")
