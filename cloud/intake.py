"""What came from the broker, decoded and sorted. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from cloud.admission import (
    Admission,
    NotAllowed,
    Refused,
    check_stream,
    cleaned,
    cleaned_event,
    cleaned_interlock,
)
from cloud.ledger import Key
from cloud.quarantine import Case, Kind, Reason, event_json, record
from wire import codec, topics
from wire.codec import DecodeError, Fault
from wire.messages import Batch, Event, InterlockState, Status
from wire.mqtt import Message
from wire.ranges import Intervals
from wire.reading import Reading, Series, columns
from wire.topics import Address, What

_LISTENS_TO: Final = (What.DATA, What.EVENT, What.STATUS, What.INTERLOCK)
_BATCHES: Final = (What.DATA, What.EVENT)

_MOST_GARBAGE: Final = 100
"""Records of one message that cannot be read and are kept one by one; more are only counted."""

_INTERVALS: Final = 10
"""So many intervals of a gap cost as much as an event."""

_CHARACTERS: Final = 1000
"""So many characters of an event cost as much as an event: they are kept for ever."""

_MOST_PARTS: Final = 1000
"""Readings and events of one message that go to quarantine one by one."""


Name = tuple[str, str, int]
"""Gateway, stream and number of a batch."""


@dataclass(slots=True)
class Arrived:
    """A batch with what is to be stored of it, what of it goes to quarantine, and the message that
    carried it. `readings` and `events` are the places that those left have had in it, where not all
    are. Nothing of it is changed."""

    batch: Batch
    message: Message
    cases: Sequence[Case] = ()
    readings: Sequence[int] | None = None
    events: Sequence[int] | None = None
    undated: tuple[Reading | Event, ...] = ()
    """What of it has a time that cannot be true."""
    new: Sequence[Series] = ()
    """Series that its gateway has not sent before."""
    key: Key = field(init=False)
    name: Name = field(init=False)
    """Both are looked up in a dozen tables."""

    def __post_init__(self) -> None:
        batch = self.batch
        self.key = Key(batch.gateway, batch.stream)
        self.name = (batch.gateway, batch.stream, batch.number)

    @property
    def newest_ms(self) -> int | None:
        """The time of its newest reading."""
        return columns(self.batch.readings).last_ms

    def without(self, refused: Mapping[int, str]) -> "Arrived":
        """The same with these of its readings in quarantine: the index of each, and the words of
        the store that refused it."""
        batch = self.batch
        places = range(len(batch.readings)) if self.readings is None else self.readings
        cases = [
            _part(
                batch,
                self.message,
                places[n],
                record(batch.gateway, batch.readings[n]),
                Reason.REFUSED,
                words,
            )
            for n, words in refused.items()
        ]
        left = [n for n in range(len(batch.readings)) if n not in refused]
        return replace(
            self,
            batch=msgspec.structs.replace(batch, readings=tuple(batch.readings[n] for n in left)),
            cases=[*self.cases, *cases],
            readings=[places[n] for n in left],
        )


@dataclass(slots=True)
class Intake:
    """What one take brought. `cases` are messages that go to quarantine as they are."""

    batches: list[Arrived] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    interlocks: list[tuple[str, InterlockState]] = field(default_factory=list)

    def add(self, more: "Intake") -> None:
        """Put what `more` has behind what there is."""
        self.batches += more.batches
        self.cases += more.cases
        self.statuses += more.statuses
        self.interlocks += more.interlocks

    def keys(self) -> set[Key]:
        """All streams that it says something of."""
        return (
            {arrived.key for arrived in self.batches}
            | {case.key for case in self.cases if case.key}
            | {Key(one.gateway, one.stream) for one in self.statuses if one.stream}
        )

    def acks(self) -> dict[Key, Intervals]:
        """The batches that their gateways may forget once this is committed."""
        found: dict[Key, Intervals] = {}
        for arrived in self.batches:
            if (numbers := found.get(arrived.key)) is None:
                numbers = found[arrived.key] = Intervals()
            numbers.add(arrived.batch.number)
        for case in self.cases:
            if case.key and case.batch is not None:
                found.setdefault(case.key, Intervals()).add(case.batch)
        return found

    def without(self, refused: Mapping[tuple[int, int], str]) -> "Intake":
        """The same with some readings in quarantine: which batch, which of its readings, and the
        words of the store that refused it."""
        by_batch: dict[int, dict[int, str]] = {}
        for (batch, reading), words in refused.items():
            by_batch.setdefault(batch, {})[reading] = words
        batches = [
            one.without(by_batch[n]) if n in by_batch else one for n, one in enumerate(self.batches)
        ]
        return replace(self, batches=batches)

    def narrowed(self, reason: str) -> list["Intake"]:
        """Smaller intakes to find the message that is refused for `reason`, though each of its
        readings is taken. When it is alone it goes to quarantine: for its events and gaps, if it
        has any, and its readings stay, as they are in the store already."""
        if len(self.batches) > 1:
            half = len(self.batches) // 2
            return [Intake(self.batches[:half]), replace(self, batches=self.batches[half:])]
        (arrived,) = self.batches
        batch, message = arrived.batch, arrived.message
        case = _whole(message, Reason.REFUSED, reason, batch.gateway, batch.stream, batch.number)
        if batch.events or batch.gaps:
            bare = msgspec.structs.replace(batch, events=(), gaps=())
            aside = [*arrived.cases, case._replace(readings=0)]
            return [replace(self, batches=[replace(arrived, batch=bare, cases=aside, events=None)])]
        readings = len(batch.readings) + sum(one.readings or 0 for one in arrived.cases)
        case = case._replace(readings=readings)
        return [replace(self, batches=[], cases=[*self.cases, case])]


def filters(shard: str) -> list[str]:
    """The topics that one worker subscribes to."""
    return [topics.every_gateway(shard, what) for what in _LISTENS_TO]


def sort(messages: Iterable[Message], admission: Admission, now_ms: int) -> Intake:
    """Decode `messages`; what cannot be decoded or is not admitted is among the cases. What is
    beyond a rate is not decoded, nor acknowledged: its gateway has it, and sends it again."""
    intake = Intake()
    for message in messages:
        _put(message, intake, admission, now_ms)
    sum_up(intake.cases)
    return intake


def _put(message: Message, intake: Intake, admission: Admission, now_ms: int) -> None:
    """Put what a message is into `intake`."""
    address = topics.parse(message.topic)
    if address is None or address.what not in _LISTENS_TO:
        words = "the topic is not one to which we listen"
        intake.cases.append(_whole(message, Reason.UNREADABLE, words))
        return
    gateway, quotas = address.gateway, admission.quotas
    if quota := quotas.refusal(gateway, address.what, len(message.payload), now_ms):
        intake.cases.append(_surplus(quotas.owner(gateway), quota, 1))
    elif not message.payload:
        pass  # somebody has cleared what was retained, or tried whether the broker takes it
    elif address.what in _BATCHES:
        found = sort_batch(gateway, message, admission, now_ms)
        if quota := _count(found, address, admission, now_ms):
            intake.cases.append(_surplus(quotas.owner(gateway), quota, 1))
        elif isinstance(found, Case):
            intake.cases.append(found)
        else:
            intake.batches.append(found)
    else:
        _take_state(intake, address, message, admission, now_ms)


def sum_up(cases: list[Case]) -> None:
    """What is beyond a quota is only counted: once for each gateway and quota."""
    surplus: dict[tuple[str | None, str], Case] = {}
    for case in cases:
        if case.surplus and case.batch is None:
            key = case.gateway, case.words
            before = surplus.get(key)
            surplus[key] = case._replace(surplus=case.surplus + (before.surplus if before else 0))
    if surplus:
        cases[:] = [one for one in cases if not one.surplus or one.batch is not None]
        cases += surplus.values()


def _count(found: Arrived | Case, address: Address, admission: Admission, now_ms: int) -> str:
    """Count a batch, or the case that it is; which quota it is beyond with its stream, its events
    or gaps, if any."""
    gateway, quotas = address.gateway, admission.quotas
    if isinstance(found, Case):
        return "" if found.stream is None else quotas.stream_refusal(gateway, found.stream, now_ms)
    batch = found.batch
    records = len(batch.readings) + len(found.cases)
    quotas.count_records(gateway, address.what, records, now_ms)
    said = len(batch.events) + len(batch.gaps)
    said += sum(len(gap.batches) for gap in batch.gaps) // _INTERVALS
    said += sum(map(_length, batch.events)) // _CHARACTERS
    return quotas.batch_refusal(gateway, batch.stream, batch.number, said, now_ms)


def _length(event: Event) -> int:
    """Characters that are kept of it."""
    words = sum(len(key) + len(str(value)) for key, value in event.detail.items())
    return len(event.text) + words


def sort_batch(gateway: str, message: Message, admission: Admission, now_ms: int) -> Arrived | Case:
    """A batch that came from `gateway`, or the case that its message is."""
    try:
        admission.check_known(gateway)
    except NotAllowed as error:
        # It has no part in the ledger and is not acknowledged: its gateway keeps it until the
        # config knows it.
        return _whole(message, Reason.NOT_ALLOWED, str(error), gateway)
    try:
        batch, faults = codec.decode_lenient(message.payload)
        check_stream(batch.stream)
        for gap in batch.gaps:
            if "\0" in gap.reason or any(first > last for first, last in gap.batches):
                raise DecodeError("a gap has a NUL in its reason, or ends before it begins")
    except DecodeError as error:
        return _whole(message, Reason.UNREADABLE, str(error), gateway, *_name(message.payload))
    try:
        admission.check_origin(batch.gateway, gateway)
    except NotAllowed as error:
        # Under the topic's gateway: the broker knows who writes there.
        case = _whole(message, Reason.NOT_ALLOWED, str(error), gateway, batch.stream, batch.number)
        return case._replace(readings=len(batch.readings) + len(faults))
    spoilt, new = admission.strangers(batch, now_ms)
    admitted = admission.sift(batch, now_ms, spoilt)
    if not faults and not admitted.refused:
        return Arrived(cleaned(batch), message, new=new)
    left = range(len(batch.readings)) if admitted.readings is None else admitted.readings
    if not left and not admitted.batch.events and len(admitted.refused) > _MOST_GARBAGE:
        return _all_refused(message, batch, faults, admitted.refused)
    places = _places(len(batch.readings), faults)
    cases = [
        _part(batch, message, fault.position, fault.record, Reason.UNREADABLE, fault.reason)
        for fault in faults[:_MOST_GARBAGE]
    ]
    refused = admitted.refused[: _MOST_PARTS - len(cases)]
    cases += [_refused(batch, message, places, one) for one in refused]
    kept = admission.quotas.faults_left(gateway, len(cases), now_ms)
    if surplus := len(faults) + len(admitted.refused) - kept:
        readings = len(faults) + len(batch.readings) - len(left)
        readings -= sum(one.readings or 0 for one in cases[:kept])
        more = _surplus(gateway, "faults_per_minute", surplus)
        more = more._replace(stream=batch.stream, batch=batch.number, ledgered=True)
        cases = [*cases[:kept], more._replace(readings=readings)]
    batch = cleaned(admitted.batch)
    stay = [places[n] for n in left]
    return Arrived(batch, message, cases, stay, admitted.events, _undated(admitted.refused), new)


def _all_refused(
    message: Message, batch: Batch, faults: Sequence[Fault], refused: Sequence[Refused]
) -> Case:
    """Many readings, and nothing else that is of use: one case instead of as many. This is what a
    wrong clock makes of every message."""
    first = refused[0]
    words = f"all {len(refused)} readings and events: {first.words}"
    case = _whole(message, first.reason, words, batch.gateway, batch.stream, batch.number)
    readings = len(batch.readings) + len(faults)
    return case._replace(readings=readings, undated=_undated(refused))


def _undated(refused: Sequence[Refused]) -> tuple[Reading | Event, ...]:
    """What has a time that cannot be true, and no other fault."""
    found = [one.item for one in refused if one.reason is Reason.TIME]
    return tuple(cleaned_event(one) if isinstance(one, Event) else one for one in found)


def _take_state(
    intake: Intake, address: Address, message: Message, admission: Admission, now_ms: int
) -> None:
    """A status or an interlock's state."""
    try:
        admission.check_known(address.gateway)
        if address.what is What.STATUS:
            status = codec.decode(message.payload, Status)
            admission.check_origin(status.gateway, address.gateway)
            if status.stream:
                check_stream(status.stream)
                quota = admission.quotas.stream_refusal(address.gateway, status.stream, now_ms)
                if quota:
                    owner = admission.quotas.owner(address.gateway)
                    intake.cases.append(_surplus(owner, quota, 1))
                    return
            intake.statuses.append(status)
            return
        interlock = codec.decode(message.payload, InterlockState)
        if interlock.site != address.site or "\0" in interlock.cause:
            raise DecodeError(f"is not of site {address.site!r}, or has a NUL in its cause")
        admission.check_sites(address.gateway, [interlock.site])
        admission.check_quota(address.gateway, interlock.site, now_ms)
        intake.interlocks.append((address.gateway, cleaned_interlock(interlock)))
    except (DecodeError, NotAllowed) as error:
        reason = Reason.UNREADABLE if isinstance(error, DecodeError) else Reason.NOT_ALLOWED
        intake.cases.append(
            Case(Kind.STATE, reason, str(error), message.topic, message.payload, address.gateway)
        )


def _whole(
    message: Message,
    reason: Reason,
    words: str,
    gateway: str | None = None,
    stream: str | None = None,
    batch: int | None = None,
) -> Case:
    """A message as it is. That nobody knows how many readings it holds is the caller's to mend."""
    named = batch is not None
    return Case(
        Kind.MESSAGE,
        reason,
        words,
        message.topic,
        message.payload,
        gateway,
        stream,
        batch,
        readings=None if named else 0,
        ledgered=named,
    )


def _surplus(owner: str, quota: str, many: int) -> Case:
    """So many things beyond a quota: they are not kept, but counted."""
    return Case(Kind.MESSAGE, Reason.QUOTA, quota, "", b"", owner, surplus=many)


def _name(payload: bytes) -> tuple[str, int] | tuple[None, None]:
    """Stream and number of a batch that cannot be read, if they at least can."""
    if (name := codec.identify(payload)) is None:
        return None, None
    try:
        check_stream(name[0])
    except DecodeError:
        return None, None
    return name


def _places(readings: int, faults: Iterable[Fault]) -> list[int]:
    """Where so many readings stood in a pack that has these faults beside them."""
    out = {fault.position for fault in faults}
    return [n for n in range(readings + len(out)) if n not in out]


def _part(
    batch: Batch,
    message: Message,
    place: int,
    payload: bytes,
    reason: Reason,
    words: str,
    kind: Kind = Kind.READING,
) -> Case:
    """One reading or event of a batch."""
    return Case(
        kind,
        reason,
        words,
        message.topic,
        payload,
        batch.gateway,
        batch.stream,
        batch.number,
        place,
        readings=int(kind is Kind.READING),
        ledgered=True,
    )


def _refused(batch: Batch, message: Message, places: Sequence[int], one: Refused) -> Case:
    if isinstance(one.item, Event):
        place = one.place - len(batch.readings)
        told = event_json(one.item)
        return _part(batch, message, place, told, one.reason, one.words, Kind.EVENT)
    raw = record(batch.gateway, one.item)
    return _part(batch, message, places[one.place], raw, one.reason, one.words)
