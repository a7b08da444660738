"""Which message of many does something of ours fail over? Parts of an intake, and what becomes of
the one that is at fault. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from cloud.admission import check_stream
from cloud.intake import Arrived, Intake
from cloud.quarantine import Case, Kind, Reason
from wire import codec, topics
from wire.messages import InterlockState, Status
from wire.mqtt import Message
from wire.topics import What

_LONGEST_WORDS: Final = 300


def merged(parts: Iterable[Intake]) -> Intake:
    """One intake of several, in their order."""
    whole = Intake()
    for part in parts:
        whole.add(part)
    return whole


def by_gateway(intake: Intake) -> list[Intake]:
    """A part for each gateway, each in its order."""
    parts: dict[str, Intake] = {}
    for batch in intake.batches:
        parts.setdefault(batch.batch.gateway, Intake()).batches.append(batch)
    for case in intake.cases:
        parts.setdefault(case.gateway or "", Intake()).cases.append(case)
    for status in intake.statuses:
        parts.setdefault(status.gateway, Intake()).statuses.append(status)
    for gateway, interlock in intake.interlocks:
        parts.setdefault(gateway, Intake()).interlocks.append((gateway, interlock))
    return [*parts.values()]


def singles(intake: Intake) -> list[Intake]:
    """A part for each message."""
    return [
        *(Intake(batches=[one]) for one in intake.batches),
        *(Intake(cases=[one]) for one in intake.cases),
        *(Intake(statuses=[one]) for one in intake.statuses),
        *(Intake(interlocks=[one]) for one in intake.interlocks),
    ]


def parts(intake: Intake) -> list[Intake]:
    """Smaller parts to try: by gateway, then by message; one that is one message, by itself."""
    found = by_gateway(intake)
    return found if len(found) > 1 else singles(intake)


def gateways(intake: Intake) -> set[str]:
    """All that it says something of."""
    return (
        {one.batch.gateway for one in intake.batches}
        | {case.gateway for case in intake.cases if case.gateway}
        | {one.gateway for one in intake.statuses}
        | {gateway for gateway, _ in intake.interlocks}
    )


def condemned(intake: Intake, error: BaseException, shard: str) -> Intake:
    """The one message of `intake`, over which something of ours fails, as a case."""
    words = words_of(error)
    return Intake(
        cases=[
            *(_of_batch(one, words) for one in intake.batches),
            *intake.cases,
            *(_of_status(one, words, shard) for one in intake.statuses),
            *(_of_interlock(gateway, one, words, shard) for gateway, one in intake.interlocks),
        ]
    )


def case_of(message: Message, words: str) -> Case:
    """A message over which something of ours fails before anybody could say what it is."""
    address = topics.parse(message.topic)
    if address is None or address.what not in (What.DATA, What.EVENT):
        gateway = None if address is None else address.gateway
        kind = Kind.MESSAGE if address is None else Kind.STATE
        return Case(kind, Reason.FAILED, words, message.topic, message.payload, gateway)
    stream, number = _name(message.payload)
    named = number is not None
    return Case(
        Kind.MESSAGE,
        Reason.FAILED,
        words,
        message.topic,
        message.payload,
        address.gateway,
        stream,
        number,
        readings=None if named else 0,
        ledgered=named,
    )


def untouched(message: Message) -> Case:
    """A message over which processes end, as a case: nobody looks into it."""
    address = topics.parse(message.topic)
    gateway = None if address is None else address.gateway
    words = "the service ended over it, more than once"
    return Case(Kind.MESSAGE, Reason.FAILED, words, message.topic, message.payload, gateway)


def digest(message: Message) -> bytes:
    """The name of its case: see `quarantine.Case.digest`."""
    return untouched(message).digest


def words_of(error: BaseException) -> str:
    """What went wrong, in a line."""
    text = " ".join(str(error).split())[:_LONGEST_WORDS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _of_batch(arrived: Arrived, words: str) -> Case:
    batch, message = arrived.batch, arrived.message
    return Case(
        Kind.MESSAGE,
        Reason.FAILED,
        words,
        message.topic,
        message.payload,
        batch.gateway,
        batch.stream,
        batch.number,
        readings=len(batch.readings) + sum(one.readings or 0 for one in arrived.cases),
        ledgered=True,
    )


def _of_status(status: Status, words: str, shard: str) -> Case:
    topic = topics.topic(shard, status.gateway, What.STATUS)
    payload = codec.encode(status)
    return Case(Kind.STATE, Reason.FAILED, words, topic, payload, status.gateway)


def _of_interlock(gateway: str, one: InterlockState, words: str, shard: str) -> Case:
    topic = topics.topic(shard, gateway, What.INTERLOCK, one.site)
    return Case(Kind.STATE, Reason.FAILED, words, topic, codec.encode(one), gateway)


def _name(payload: bytes) -> tuple[str, int] | tuple[None, None]:
    """Stream and number of its batch, if they at least can be read."""
    try:
        if (name := codec.identify(payload)) is not None:
            check_stream(name[0])
            return name
    except Exception:  # noqa: BLE001 - what it raised before it may raise here
        pass
    return None, None


def number_of(cases: Sequence[Case]) -> int:
    """How many readings they hold, as far as anybody knows; a message counts one at least."""
    return sum(max(one.readings or 0, one.kind is Kind.MESSAGE) for one in cases)
