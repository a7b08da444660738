"""The only encoder and decoder of what crosses the wire.

A batch is a small JSON envelope around a SenML pack (RFC 8428), compressed with zlib, so that
`mosquitto_sub` and one line of Python can read it:

    {"v":1,"gateway":"gw","stream":"5f0c…","number":7,"senml":[…],"events":[…]}

The pack is written with base names and base times, readings of one sensor side by side; a reader
must resolve them by the RFC's rules, in whatever way they were written. A name, once resolved, is
`gateway/site/sensor/quantity`. Two things are ours: the label `q`, the quality (absent: 1, good),
which a foreign reader skips as the RFC demands, and `vs` with the reason where there is no value
(then `q` is 9), for a record without a value would not be SenML.
"""

import math
import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, TypeVar

import msgspec

from wire.messages import (
    VERSION,
    Ack,
    Batch,
    Command,
    Event,
    Gap,
    InterlockState,
    Lease,
    Reply,
    Status,
)
from wire.reading import UNITS, Quality, Quantity, Reading
from wire.topics import is_name

MAX_JSON_BYTES: Final = 8 * 1024 * 1024
"""A batch that unpacks to more than this is refused: a few bytes must not fill the memory."""

ABSOLUTE_FROM_MS: Final = 2**28 * 1000
"""SenML takes smaller times as relative (RFC 8428, section 4.5.3). We never send them: a gateway
that does not know the time keeps its batches with times since its boot, until it does."""


class DecodeError(ValueError):
    """The bytes are not a message of this version; the text says why."""


class _Record(msgspec.Struct, omit_defaults=True, gc=False):
    """One SenML record as it stands on the wire. Labels we do not know are skipped."""

    bn: str | None = None
    bt: float | None = None
    bu: str | None = None
    bv: float | None = None
    bver: int | None = None
    n: str | None = None
    u: str | None = None
    v: float | None = None
    vs: str | None = None
    t: float | None = None
    q: int = int(Quality.GOOD)


class _Envelope(msgspec.Struct, omit_defaults=True):
    gateway: str
    stream: str
    number: Annotated[int, msgspec.Meta(le=2**63 - 1)]
    v: int
    senml: list[_Record] = []
    events: tuple[Event, ...] = ()
    gaps: tuple[Gap, ...] = ()


Small = Ack | Status | InterlockState | Command | Reply | Lease
"""The messages that travel as plain JSON."""


class _Head(msgspec.Struct):
    """As much of an envelope as names the batch."""

    stream: str
    number: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    v: int


_T = TypeVar("_T", Ack, Status, InterlockState, Command, Reply, Lease)

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, not UTF-8, or nested to no end."""

_encode: Final = msgspec.json.Encoder().encode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode


def encode_batch(batch: Batch) -> bytes:
    """A batch as it goes to the topics `data` and `event`."""
    envelope = _Envelope(
        gateway=batch.gateway,
        stream=batch.stream,
        number=batch.number,
        v=VERSION,
        senml=list(_pack(batch.gateway, batch.readings)),
        events=batch.events,
        gaps=batch.gaps,
    )
    return zlib.compress(_encode(envelope), 9)


def decode_batch(payload: bytes, *, relative: bool = False) -> Batch:
    """The batch in `payload`, whose times must be absolute unless they may be `relative`.

    Raises DecodeError if it is not zlib, not JSON, not version 1, or not a SenML pack of readings
    whose names, units and qualities we know.
    """
    try:
        envelope = _decode_envelope(_inflate(payload))
    except _UNREADABLE as error:
        raise DecodeError(f"not a batch: {error}") from error
    _check_version(envelope.v)
    if not is_name(envelope.gateway):
        raise DecodeError(f"gateway {envelope.gateway!r} is not a name")
    if envelope.number < 1:
        raise DecodeError(f"batch number {envelope.number} is below 1")
    return Batch(
        gateway=envelope.gateway,
        stream=envelope.stream,
        number=envelope.number,
        readings=tuple(
            _unpack(envelope.gateway, envelope.senml, 0 if relative else ABSOLUTE_FROM_MS)
        ),
        events=envelope.events,
        gaps=envelope.gaps,
    )


def identify(payload: bytes) -> tuple[str, int] | None:
    """Stream and number of a batch that `decode_batch` refuses, if they at least can be read, so
    that its gateway can be told that it need not come again."""
    try:
        head = msgspec.json.decode(_inflate(payload), type=_Head)
    except (DecodeError, *_UNREADABLE):
        return None
    return (head.stream, head.number) if head.v == VERSION else None


def encode(message: Small) -> bytes:
    """A small message, as plain JSON."""
    return _encode(message)


def decode(payload: bytes, kind: type[_T]) -> _T:
    """The message of type `kind` in `payload`; raises DecodeError."""
    try:
        message = msgspec.json.decode(payload, type=kind)
    except _UNREADABLE as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from error
    _check_version(message.v)
    return message


def _check_version(version: int) -> None:
    if version != VERSION:
        raise DecodeError(f"version {version} is not {VERSION}")


def _inflate(payload: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        json = unpacker.decompress(payload, MAX_JSON_BYTES)
    except zlib.error as error:
        raise DecodeError(f"not zlib: {error}") from error
    if unpacker.unconsumed_tail:
        raise DecodeError(f"unpacks to more than {MAX_JSON_BYTES} bytes")
    if not unpacker.eof:
        raise DecodeError("cut short")
    return json


def _pack(gateway: str, readings: Iterable[Reading]) -> Iterator[_Record]:
    """Readings of one sensor stand side by side under its base name, which packs best."""
    name, base_ms = "", 0
    for r in sorted(readings, key=lambda r: (r.site, r.sensor, r.quantity, r.at_ms)):
        record = _Record(q=int(r.quality))
        if (full := f"{gateway}/{r.site}/{r.sensor}/{r.quantity}") != name:
            name = record.bn = full
            record.bu = UNITS[r.quantity]
        if not base_ms:
            base_ms = r.at_ms
            record.bt = base_ms / 1000
        if r.at_ms != base_ms:
            record.t = (r.at_ms - base_ms) / 1000
        if r.value is None:
            record.vs = r.reason
        else:
            record.v = r.value
        yield record


def _unpack(gateway: str, records: Iterable[_Record], from_ms: int) -> Iterator[Reading]:
    base = _Record()
    base_ms = 0
    names: dict[str, tuple[str, str, Quantity]] = {}
    for record in records:
        if record.bver not in (None, 10):
            raise DecodeError(f"SenML version {record.bver} is not 10")
        if record.bn is not None:
            base.bn = record.bn
        if record.bt is not None:
            base_ms = _milliseconds(record.bt)
        if record.bu is not None:
            base.bu = record.bu
        if record.bv is not None:
            base.bv = record.bv
        if record.v is None and record.vs is None and record.n is None:
            continue  # a record of base fields only
        name = (base.bn or "") + (record.n or "")
        if (known := names.get(name)) is None:
            known = names[name] = _split(gateway, name)
        site, sensor, quantity = known
        if (unit := record.u or base.bu) != UNITS[quantity]:
            raise DecodeError(f"{name} is in {unit!r}, not in {UNITS[quantity]!r}")
        at_ms = base_ms + _milliseconds(record.t) if record.t is not None else base_ms
        if at_ms < from_ms:
            raise DecodeError(f"{name} has no absolute time")
        yield Reading(
            site=site,
            sensor=sensor,
            quantity=quantity,
            value=None if record.v is None else _sum(record.v, base.bv),
            at_ms=at_ms,
            quality=_quality(record),
            reason=record.vs or "",
        )


def _milliseconds(seconds: float) -> int:
    """Exact for all times that are whole milliseconds: 2**53 ms lie far in the future."""
    milliseconds = seconds * 1000
    if not abs(milliseconds) < 2**53:
        raise DecodeError(f"time {seconds} is beyond all calendars")
    return round(milliseconds)


def _sum(value: float, base: float | None) -> float:
    if base is None:
        return value
    if not math.isfinite(value + base):
        raise DecodeError(f"value {value} over {base} is not finite")
    return value + base


def _quality(record: _Record) -> Quality:
    try:
        quality = Quality(record.q)
    except ValueError:
        raise DecodeError(f"quality {record.q} is not a QARTOD flag") from None
    if (record.v is None) != (quality is Quality.MISSING):
        raise DecodeError(f"quality {record.q} does not go with value {record.v}")
    return quality


def _split(gateway: str, name: str) -> tuple[str, str, Quantity]:
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != gateway or not all(map(is_name, parts[1:3])):
        raise DecodeError(f"{name!r} is not a name under {gateway}/")
    try:
        return parts[1], parts[2], Quantity(parts[3])
    except ValueError:
        raise DecodeError(f"{parts[3]!r} is not a quantity") from None
