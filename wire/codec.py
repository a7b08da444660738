"""The only encoder and decoder of what crosses the wire.

A batch is a small JSON envelope around a SenML pack (RFC 8428), compressed with zlib, so that
`mosquitto_sub` and one line of Python can read it:

    {"v":1,"gateway":"gw","stream":"5f0c…","number":7,"senml":[…],"events":[…]}
"""

import zlib
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise
from typing import Annotated, Final, Generic, NamedTuple, ParamSpec, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from wire import bounded, limits
from wire.faults import Fault, sift
from wire.faults import decode_record as _decode_record
from wire.messages import (
    VERSION,
    Ack,
    Batch,
    Command,
    Event,
    Gap,
    InterlockState,
    Lease,
    Number,
    Reply,
    Status,
    Stream,
)
from wire.ranges import Intervals
from wire.reading import Reading, columns
from wire.senml import (
    ABSOLUTE_FROM_MS,
    UNREADABLE,
    DecodeError,
    Pack,
    PlainRecord,
    Record,
    pack,
    plain,
)
from wire.topics import is_name

__all__ = ["ABSOLUTE_FROM_MS", "DecodeError", "Fault", "decode_record"]

_R = TypeVar("_R", PlainRecord, Record, msgspec.Raw)


class _Envelope(msgspec.Struct, Generic[_R], omit_defaults=True):
    gateway: str
    stream: Stream
    number: Annotated[int, Meta(le=limits.NUMBER)]
    v: int
    senml: Annotated[list[_R], Meta(max_length=limits.RECORDS)] = []
    events: Annotated[tuple[Event, ...], Meta(max_length=limits.EVENTS)] = ()
    gaps: Annotated[tuple[Gap, ...], Meta(max_length=limits.GAPS)] = ()


Small = Ack | Status | InterlockState | Command | Reply | Lease
"""The messages that travel as plain JSON."""


class _Head(msgspec.Struct):
    """As much of an envelope as names the batch."""

    stream: Stream
    number: Number
    v: int


_T = TypeVar("_T", Ack, Status, InterlockState, Command, Reply, Lease)

_encode: Final = msgspec.json.Encoder().encode
_decode_plain: Final = msgspec.json.Decoder(_Envelope[PlainRecord]).decode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope[Record]).decode
_decode_loosely: Final = msgspec.json.Decoder(_Envelope[msgspec.Raw]).decode


class TooLarge(ValueError):
    """A batch that does not fit into one message."""


_P = ParamSpec("_P")
_Result = TypeVar("_Result")


def _seam(decode: Callable[_P, _Result]) -> Callable[_P, _Result]:
    """Whatever a message does to its decoder, it is a DecodeError: one message must not end a
    process."""

    @wraps(decode)
    def decoded(*args: _P.args, **kwargs: _P.kwargs) -> _Result:
        try:
            return decode(*args, **kwargs)
        except DecodeError:
            raise
        except Exception as error:
            raise DecodeError(f"cannot be read: {type(error).__name__}: {error}") from error

    return decoded


class Decoded(NamedTuple):
    """A batch with the readings that it could be had of, and the records that gave none."""

    batch: Batch
    faults: tuple[Fault, ...]


def encode_batch(batch: Batch, most_json: int = limits.JSON_BYTES) -> bytes:
    """A batch as it goes to the topics `data` and `event`. Of a text that is too long the end is
    left out. Raises TooLarge for one that must be cut into several: `wire.limits`, and at most
    `most_json` bytes before they are compressed."""
    counts = (
        (len(batch.readings), limits.RECORDS),
        (len(batch.events), limits.EVENTS),
        (len(batch.gaps), limits.GAPS),
        (sum(len(gap.batches) for gap in batch.gaps), limits.INTERVALS),
    )
    envelope = _Envelope[Record](
        gateway=batch.gateway,
        stream=batch.stream,
        number=batch.number,
        v=VERSION,
        senml=list(pack(batch.gateway, batch.readings)),
        events=tuple(map(bounded.event, batch.events)),
        gaps=tuple(map(bounded.gap, batch.gaps)),
    )
    json = _encode(envelope)
    is_long = len(json) > most_json or any(count > most for count, most in counts)
    if is_long or not _is_bounded(json):
        raise TooLarge(f"batch {batch.number} is too large for one message")
    return zlib.compress(json, 9)


@_seam
def decode_batch(payload: bytes, *, relative: bool = False) -> Batch:
    """The batch in `payload`, whose times must be absolute unless they may be `relative`.

    Raises DecodeError if it is not zlib, not JSON, not version 1, or not a SenML pack of readings
    whose names, units and qualities we know.
    """
    return _strictly(_inflate(payload), 0 if relative else ABSOLUTE_FROM_MS)


@_seam
def decode_lenient(payload: bytes) -> Decoded:
    """As `decode_batch`, but a record that is wrong is a fault and the others are readings, which
    stand by column.

    Raises DecodeError if the envelope itself cannot be read. A record whose base fields are wrong
    takes those with it that come after: what they were about cannot be known.
    """
    json = _inflate(payload)
    if (batch := _plainly(json)) is not None:
        return Decoded(batch, ())
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
    if envelope.gaps and sum(len(gap.batches) for gap in envelope.gaps) > limits.INTERVALS:
        raise DecodeError(f"the gaps have more than {limits.INTERVALS} intervals")
    return envelope


def _batch(envelope: _Envelope[_R], readings: Sequence[Reading]) -> Batch:
    return Batch(
        gateway=envelope.gateway,
        stream=envelope.stream,
        number=envelope.number,
        readings=readings,
        events=envelope.events,
        gaps=tuple(map(_in_order, envelope.gaps)) if envelope.gaps else (),
    )


def _in_order(gap: Gap) -> Gap:
    """The same with its intervals ascending and disjoint, however they came: what is done to them
    then costs no more than they are many."""
    if all(before[1] < after[0] for before, after in pairwise(gap.batches)):
        return gap
    numbers = Intervals()
    for first, last in sorted(gap.batches):
        numbers.add_range(first, last)
    return replace(gap, batches=tuple(numbers))


def identify(payload: bytes) -> tuple[str, int] | None:
    """Stream and number of a batch that `decode_batch` refuses, if they at least can be read, so
    that its gateway can be told that it need not come again."""
    try:
        head = _head(payload)
    except DecodeError:
        return None
    return (head.stream, head.number) if head.v == VERSION else None


@_seam
def _head(payload: bytes) -> _Head:
    return msgspec.json.decode(_inflate(payload), type=_Head)


@_seam
def decode_record(gateway: str, record: bytes) -> Reading:
    """The reading in a record that is a pack of its own; raises DecodeError."""
    return _decode_record(gateway, record)


def encode(message: Small) -> bytes:
    """A small message, as plain JSON. Of a text that is too long the end is left out."""
    return _encode(bounded.small(message))


@_seam
def decode(payload: bytes, kind: type[_T]) -> _T:
    """The message of type `kind` in `payload`; raises DecodeError."""
    if len(payload) > limits.SMALL_BYTES:
        raise DecodeError(f"no {kind.__name__}: {len(payload)} bytes are too many")
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
        json = unpacker.decompress(payload, limits.JSON_BYTES)
    except zlib.error as error:
        raise DecodeError(f"not zlib: {error}") from error
    if unpacker.unconsumed_tail:
        raise DecodeError(f"unpacks to more than {limits.JSON_BYTES} bytes")
    if not unpacker.eof:
        raise DecodeError("cut short")
    if not _is_bounded(json):
        raise DecodeError(f"has more than {limits.ITEMS} items")
    return json


def _is_bounded(json: bytes) -> bool:
    """Whether it can be read in little time and memory: each thing that is built of it beyond the
    first of its array or object needs a comma, or a bracket more."""
    if len(json) <= limits.ITEMS:
        return True  # there is not even room for so many: nearly all messages
    items = json.count(b",") + json.count(b"[") + json.count(b"{")
    return len(json) <= limits.JSON_BYTES and items <= limits.ITEMS
