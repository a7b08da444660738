"""What came from the broker, decoded and sorted. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from cloud.ledger import Intervals, Key
from cloud.quarantine import Case
from wire import codec, topics
from wire.codec import DecodeError
from wire.messages import Batch, InterlockState, Status
from wire.mqtt import Message
from wire.topics import Address, What

_LISTENS_TO: Final = (What.DATA, What.EVENT, What.STATUS, What.INTERLOCK)


class Arrived(NamedTuple):
    """A batch and the message that carried it."""

    batch: Batch
    message: Message

    @property
    def key(self) -> Key:
        return Key(self.batch.gateway, self.batch.stream)


@dataclass(slots=True)
class Intake:
    """What one take brought. `cases` go to quarantine; `named` are the batches among them whose
    stream and number could be read: they go into the ledger without readings."""

    batches: list[Arrived] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    named: list[tuple[Key, int]] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    interlocks: list[tuple[str, InterlockState]] = field(default_factory=list)

    def keys(self) -> set[Key]:
        """All streams that it says something of."""
        return (
            {arrived.key for arrived in self.batches}
            | {key for key, _ in self.named}
            | {Key(one.gateway, one.stream) for one in self.statuses if one.stream}
        )

    def acks(self) -> dict[Key, Intervals]:
        """The batches that their gateways may forget once this is committed."""
        numbers: dict[Key, set[int]] = {}
        for key, number in [(one.key, one.batch.number) for one in self.batches] + self.named:
            numbers.setdefault(key, set()).add(number)
        return {key: Intervals(found) for key, found in numbers.items()}

    def narrowed(self, reason: str) -> list["Intake"]:
        """Smaller intakes to find the batch that the store rejects for `reason`; when it is alone,
        the same with it in quarantine."""
        if len(self.batches) > 1:
            half = len(self.batches) // 2
            return [Intake(self.batches[:half]), replace(self, batches=self.batches[half:])]
        (arrived,) = self.batches
        case = Case(*arrived.message[:2], reason, arrived.batch.gateway)
        named = (arrived.key, arrived.batch.number)
        return [replace(self, batches=[], cases=[*self.cases, case], named=[*self.named, named])]


def filters(shard: str) -> list[str]:
    """The topics that one worker subscribes to."""
    return [topics.every_gateway(shard, what) for what in _LISTENS_TO]


def sort(messages: Iterable[Message]) -> Intake:
    """Decode `messages`; what cannot be decoded is among the cases."""
    intake = Intake()
    for message in messages:
        address = topics.parse(message.topic)
        if address is None:
            reason = "the topic is not one of ours"
            intake.cases.append(Case(message.topic, message.payload, reason, None))
            continue
        try:
            _take_in(intake, address, message)
        except DecodeError as error:
            case = Case(message.topic, message.payload, str(error), address.gateway)
            intake.cases.append(case)
            if address.what in (What.DATA, What.EVENT) and (
                name := codec.identify(message.payload)
            ):
                # Under the topic's gateway: the broker knows who writes there.
                stream, number = name
                intake.named.append((Key(address.gateway, stream), number))
    return intake


def _take_in(intake: Intake, address: Address, message: Message) -> None:
    match address.what:
        case What.STATUS | What.INTERLOCK if not message.payload:
            return  # somebody has cleared what was retained
        case What.STATUS:
            status = codec.decode(message.payload, Status)
            _check_origin(status.gateway, address)
            intake.statuses.append(status)
        case What.INTERLOCK:
            interlock = codec.decode(message.payload, InterlockState)
            if interlock.site != address.site:
                raise DecodeError(f"is of site {interlock.site!r}, but came on {message.topic}")
            intake.interlocks.append((address.gateway, interlock))
        case _:
            batch = codec.decode_batch(message.payload)
            _check_origin(batch.gateway, address)
            intake.batches.append(Arrived(batch, message))


def _check_origin(gateway: str, address: Address) -> None:
    if gateway != address.gateway:
        raise DecodeError(f"is of gateway {gateway!r}, but came from {address.gateway!r}")
