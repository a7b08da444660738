"""The only encoder and decoder of what crosses the wire.

A batch is a small JSON envelope around a SenML pack (RFC 8428), compressed with zlib, so that
`mosquitto_sub` and one line of Python can read it:

    {"v":1,"gateway":"gw","stream":"5f0c…","number":7,"senml":[…],"events":[…]}
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

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
from wire.reading import Reading, columns
from wire.senml import (
    ABSOLUTE_FROM_MS,
    UNREADABLE,
    DecodeError,
    Fault,
    Pack,
    PlainRecord,
    Record,
    decode_record,
    pack,
    plain,
    sift,
)
from wire.topics import is_name

__all__ = ["ABSOLUTE_FROM_MS", "DecodeError", "Fault", "decode_record"]

MAX_JSON_BYTES: Final = 8 * 1024 * 1024
"""A batch that unpacks to more than this is refused: a few bytes must not fill the memory."""


_R = TypeVar("_R", PlainRecord, Record, msgspec.Raw)


class _Envelope(msgspec.Struct, Generic[_R], omit_defaults=True):
    gateway: str
    stream: str
    number: Annotated[int, msgspec.Meta(le=2**63 - 1)]
    v: int
    senml: list[_R] = []
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

_encode: Final = msgspec.json.Encoder().encode
_decode_plain: Final = msgspec.json.Decoder(_Envelope[PlainRecord]).decode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope[Record]).decode
_decode_loosely: Final = msgspec.json.Decoder(_Envelope[msgspec.Raw]).decode


class Decoded(NamedTuple):
    """A batch with the readings that it could be had of, and the records that gave none."""

    batch: Batch
    faults: tuple[Fault, ...]


def encode_batch(batch: Batch) -> bytes:
    """A batch as it goes to the topics `data` and `event`."""
    envelope = _Envelope[Record](
        gateway=batch.gateway,
        stream=batch.stream,
        number=batch.number,
        v=VERSION,
        senml=list(pack(batch.gateway, batch.readings)),
        events=batch.events,
        gaps=batch.gaps,
    )
    return zlib.compress(_encode(envelope), 9)


def decode_batch(payload: bytes, *, relative: bool = False) -> Batch:
    """The batch in `payload`, whose times must be absolute unless they may be `relative`.

    Raises DecodeError if it is not zlib, not JSON, not version 1, or not a SenML pack of readings
    whose names, units and qualities we know.
    """
    return _strictly(_inflate(payload), 0 if relative else ABSOLUTE_FROM_MS)


def decode_lenient(payload: bytes) -> Decoded:
    """As `decode_batch`, but a record that is wrong is a fault and the others are readings, which
    stand by column.

    Raises DecodeError if the envelope itself cannot be read. A record whose base fields are wrong
    takes those with it that come after: what they were about cannot be known.
    """
    json = _inflate(payload)
    if (batch := _plainly(json)) is not None:
        return Decoded(batch, ())
    try:
        batch = _strictly(json, ABSOLUTE_FROM_MS)
        return Decoded(msgspec.structs.replace(batch, readings=columns(batch.readings)), ())
    except DecodeError:
        return _loosely(json)


def _plainly(json: bytes) -> Batch | None:
    """The batch, if it is as our own gateways write it and nothing in it is wrong."""
    try:
        envelope = _envelope(json, _decode_plain)
    except DecodeError:
        return None
    readings = plain(envelope.gateway, envelope.senml, ABSOLUTE_FROM_MS)
    return None if readings is None else _batch(envelope, readings)


def _strictly(json: bytes, from_ms: int) -> Batch:
    envelope = _envelope(json, _decode_envelope)
    return _batch(envelope, tuple(Pack(envelope.gateway, from_ms).read(envelope.senml)))


def _loosely(json: bytes) -> Decoded:
    envelope = _envelope(json, _decode_loosely)
    readings, faults = sift(envelope.gateway, envelope.senml, ABSOLUTE_FROM_MS)
    return Decoded(_batch(envelope, columns(readings)), tuple(faults))


def _envelope(json: bytes, read: Callable[[bytes], _Envelope[_R]]) -> _Envelope[_R]:
    try:
        envelope = read(json)
    except UNREADABLE as error:
        raise DecodeError(f"not a batch: {error}") from error
    _check_version(envelope.v)
    if not is_name(envelope.gateway):
        raise DecodeError(f"gateway {envelope.gateway!r} is not a name")
    if envelope.number < 1:
        raise DecodeError(f"batch number {envelope.number} is below 1")
    return envelope


def _batch(envelope: _Envelope[_R], readings: Sequence[Reading]) -> Batch:
    return Batch(
        gateway=envelope.gateway,
        stream=envelope.stream,
        number=envelope.number,
        readings=readings,
        events=envelope.events,
        gaps=envelope.gaps,
    )


def identify(payload: bytes) -> tuple[str, int] | None:
    """Stream and number of a batch that `decode_batch` refuses, if they at least can be read, so
    that its gateway can be told that it need not come again."""
    try:
        head = msgspec.json.decode(_inflate(payload), type=_Head)
    except (DecodeError, *UNREADABLE):
        return None
    return (head.stream, head.number) if head.v == VERSION else None


def encode(message: Small) -> bytes:
    """A small message, as plain JSON."""
    return _encode(message)


def decode(payload: bytes, kind: type[_T]) -> _T:
    """The message of type `kind` in `payload`; raises DecodeError."""
    try:
        message = msgspec.json.decode(payload, type=kind)
    except UNREADABLE as error:
        raise DecodeError(f"no {kind.__name__}: {error}") from error
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
