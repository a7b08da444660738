"""What is wrong in a pack of SenML, record by record: the others are readings all the same."""

from collections.abc import Callable, Sequence
from operator import length_hint
from typing import Final, NamedTuple, TypeVar

import msgspec

from wire import limits
from wire.reading import Reading
from wire.senml import ABSOLUTE_FROM_MS, UNREADABLE, BaseError, DecodeError, Label, Pack, Record

_LONGEST_HELD: Final = 2 * limits.RECORD_NAME
"""Bytes of a base field."""

_BASE: Final = frozenset({"bn", "bt", "bu", "bv", "bver"})
"""The labels that hold for a record and for all that follow."""

_read: Final = msgspec.json.Decoder(Record).decode
_labels: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode

_T = TypeVar("_T")


class _NoLabels(DecodeError):
    """A record that is no JSON object."""


class Fault(NamedTuple):
    """A record of a pack that gives no reading, and why.

    `position` is its place in the pack, from 0. `record` is JSON: the record as it came, with the
    base fields that held for it, so that it is a pack of its own (see `decode_record`).
    """

    position: int
    record: bytes
    reason: str


def sift(
    gateway: str, pack: Sequence[msgspec.Raw], from_ms: int
) -> tuple[list[Reading], list[Fault]]:
    """The readings of a pack, and the records in it that give none.

    A record whose base fields are wrong takes those with it that come after: what they were about
    cannot be known. Raises DecodeError where too much is wrong to be put aside piece by piece.
    """
    state = Pack(gateway, from_ms)
    left = iter(pack)
    records = map(_read, left)  # an error does not end it: it goes on with the next
    readings: list[Reading] = []
    faults: list[Fault] = []
    while True:
        try:
            state.read(records, readings)
        except (DecodeError, *UNREADABLE) as error:
            place = len(pack) - length_hint(left) - 1
            wrong = _look(state, pack[place], error)
        else:
            return readings, faults
        if isinstance(wrong, BaseError):
            break
        _put_aside(faults, place, pack[place], state.held(), str(wrong))
    held = state.held()
    _put_aside(faults, place, pack[place], held, str(wrong))
    for n in range(place + 1, len(pack)):
        _put_aside(faults, n, pack[n], held, f"rests on record {place}: {wrong}")
    return readings, faults


def decode_record(gateway: str, record: bytes) -> Reading:
    """The reading in a record that is a pack of its own; raises DecodeError."""
    found = Pack(gateway, ABSOLUTE_FROM_MS).read([_decoded(_read, record)])
    if not found:
        raise DecodeError("not a record: it has no value")
    return found[0]


def _look(state: Pack, raw: msgspec.Raw, error: Exception) -> DecodeError:
    """What is wrong with a record that gave `error`. Its base fields hold, whatever the rest is."""
    if isinstance(error, DecodeError):
        return error
    try:
        labels = _few_labels(raw)
    except DecodeError as trouble:
        return trouble
    try:
        alone = _decoded(_read, _encode({key: labels[key] for key in _BASE & labels.keys()}))
        state.read((alone,))
    except DecodeError as trouble:
        return BaseError(str(trouble))
    return DecodeError(f"not a record: {error}")


def _put_aside(
    faults: list[Fault], place: int, raw: msgspec.Raw, held: dict[str, Label], reason: str
) -> None:
    """Add a record that is wrong to `faults`, and its base fields to those that are `held`. Raises
    DecodeError for one that is too large, or too many."""
    if len(faults) == limits.FAULTS:
        first = faults[0].reason
        raise DecodeError(f"more than {limits.FAULTS} records are wrong, the first: {first}")
    try:
        labels = _few_labels(raw)
    except _NoLabels:
        faults.append(Fault(place, bytes(raw), reason))
        return
    for label in _BASE & labels.keys():
        # A few bytes must not become many because they stand in each fault that follows.
        is_short = memoryview(labels[label]).nbytes <= _LONGEST_HELD
        held[label] = labels[label] if is_short else "?"
    faults.append(Fault(place, _encode(held | labels), reason))


def _few_labels(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The labels of a record. Raises _NoLabels, or DecodeError for a record that is too large."""
    record = bytes(raw)
    brackets = record.count(b"[") + record.count(b"{")
    if brackets > limits.FAULT_BRACKETS or record.count(b",") > limits.FAULT_COMMAS:
        raise DecodeError("a record that is wrong is too large to be put aside by itself")
    try:
        return _labels(record)
    except UNREADABLE as error:
        raise _NoLabels(f"not a record: {error}") from error


def _decoded(read: Callable[[bytes | msgspec.Raw], _T], json: bytes | msgspec.Raw) -> _T:
    try:
        return read(json)
    except UNREADABLE as error:
        raise DecodeError(f"not a record: {error}") from error
