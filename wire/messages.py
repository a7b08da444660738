"""The messages of version 1. Structs only: `wire.codec` turns them into bytes and back."""

from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from wire import limits
from wire.aspect import Aspect
from wire.reading import Reading
from wire.topics import NAME_PATTERN

VERSION: Final = 1

Whole = Annotated[int, Meta(ge=0, le=limits.NUMBER)]
"""A count or a time in ms: what every language's JSON reads exactly and every database holds."""

Number = Annotated[int, Meta(ge=1, le=limits.NUMBER)]
"""The number of a batch."""

Interval = tuple[Number, Number]
"""A closed interval of batch numbers."""

Amount = Annotated[float, Meta(ge=-limits.NUMBER, le=limits.NUMBER)]
"""A finite number with which anybody can reckon."""

Name = Annotated[str, Meta(pattern=rf"^{NAME_PATTERN}\Z")]
NameOrNone = Annotated[str, Meta(pattern=rf"^({NAME_PATTERN})?\Z")]
"""Of a site, shard or gateway; "" where there is none."""

Stream = Annotated[str, Meta(max_length=limits.STREAM)]
Reason = Annotated[str, Meta(max_length=limits.REASON)]
Id = Annotated[str, Meta(max_length=limits.ID)]
Mac = Annotated[str, Meta(max_length=limits.MAC)]
Detail = (
    Annotated[str, Meta(max_length=limits.DETAIL_TEXT)]
    | Annotated[int, Meta(ge=-limits.NUMBER, le=limits.NUMBER)]
    | Amount
    | bool
    | None
)


class Level(IntEnum):
    """Level of a risk, mildest first: the four colours of Chinese weather and flood warnings."""

    BLUE = 1
    YELLOW = 2
    ORANGE = 3
    RED = 4


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Something that happened on a gateway and that somebody will ask about later.

    `kind` is one of the names in `edge.interlock` and `edge.signal` ("aspect_wanted",
    "aspect_confirmed", ...); `detail` holds its figures with the unit in the key.
    """

    at_ms: Whole
    site: NameOrNone
    kind: Annotated[str, Meta(max_length=limits.KIND)]
    text: Annotated[str, Meta(max_length=limits.TEXT)]
    detail: Annotated[
        dict[Annotated[str, Meta(max_length=limits.DETAIL_KEY)], Detail],
        Meta(max_length=limits.DETAIL_KEYS),
    ] = {}


class Gap(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Readings that were taken and could not be kept: a counted loss, told, never silent.

    `reason` is one of "disk full", "disk refused", "outbox full", "too old", "outbox damaged".
    `batches` are closed intervals of numbers of this stream that will never come; readings may
    also be lost before they were sealed, or from batches that were thinned, and then it is empty.
    `readings` counts them, None where nobody knows; `from_ms` and `to_ms` are the UTC times of the
    first and last.
    """

    reason: Reason
    from_ms: Whole
    to_ms: Whole
    readings: Whole | None = None
    batches: Annotated[tuple[Interval, ...], Meta(max_length=limits.INTERVALS)] = ()

    def __post_init__(self) -> None:
        _check_forward(self.batches)


class Batch(msgspec.Struct, frozen=True):
    """Readings and events sealed together on a gateway's disk, and gaps that it must declare.

    (`gateway`, `stream`, `number`) names a batch for ever. A stream is one boot of a gateway with
    one outbox; its numbers are 1, 2, 3 ... without a hole.
    """

    gateway: str
    stream: str
    number: int
    readings: Sequence[Reading] = ()
    events: tuple[Event, ...] = ()
    gaps: tuple[Gap, ...] = ()


class Ack(msgspec.Struct, frozen=True):
    """The store has these batches: the gateway may forget them.

    `batches` are closed intervals of batch numbers, ascending and disjoint. `mac` proves that the
    cloud says so, where both have the gateway's key: `wire.authentication`.
    """

    stream: Stream
    batches: Annotated[tuple[Interval, ...], Meta(max_length=limits.ACK_INTERVALS)]
    v: int = VERSION
    mac: Mac | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        _check_forward(self.batches)
        if any(before[1] >= after[0] for before, after in pairwise(self.batches)):
            raise ValueError("the intervals are not ascending and disjoint")


def _check_forward(intervals: Iterable[Interval]) -> None:
    """Raise ValueError, which a decoder takes as its own."""
    if any(first > last for first, last in intervals):
        raise ValueError("an interval ends before it begins")


class GatewayState(StrEnum):
    """`LOST` is said by the broker (last will), the others by the gateway."""

    ONLINE = "online"
    STOPPED = "stopped"
    LOST = "lost"


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a gateway is; retained, so that a cloud that starts later knows what to expect.

    `sealed` is the highest batch number of `stream`, `readings_sealed` the readings in all of
    its batches, `pending` the batches that still wait for an ack, `readings_lost` the sum of all
    gaps declared. `machine` is by what a person tells this machine from another: two of them with
    one gateway's id take turns in it. `acks_refused` counts acks that it did not believe since it
    started; `acks_unproven`: it has a key, and the acks that come prove nothing. The last will,
    which the broker sends, cannot know all that: it is 0 there, and `stream` is "".
    """

    gateway: Name
    state: GatewayState
    at_ms: Whole
    stream: Stream = ""
    sealed: Whole = 0
    readings_sealed: Whole = 0
    pending: Whole = 0
    clock_trusted: bool = True
    readings_lost: Whole = 0
    machine: Annotated[str, Meta(max_length=limits.MACHINE)] = ""
    acks_refused: Whole = 0
    acks_unproven: bool = False
    v: int = VERSION


class Action(StrEnum):
    """What a person asks of a gateway from afar; all but MOVE of one of its interlocks.

    RAISE shows at least `aspect`, at once. LOWER shows at most `aspect` although the rule asks
    for more, until it expires. CLEAR lets a latched red go once the water allows it. CANCEL ends
    an earlier RAISE or LOWER. MOVE has the gateway speak to the cloud in another shard.
    """

    RAISE = "raise"
    LOWER = "lower"
    CLEAR = "clear"
    CANCEL = "cancel"
    MOVE = "move"


LATEST_SEQUENCE: Final = 4_102_444_800_000
"""The highest sequence of a command, the year 2100 in ms: a gateway takes none above it, whatever
its clock says, so that there is room above the last one."""


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order to one interlock, or to the gateway itself. It travels signed: see `wire.signing`.

    `sequence` rises with every command of a key; a gateway refuses one that is not higher than
    the last it took. LOWER and CLEAR need `person`, LOWER also an `expires_ms` (UTC). MOVE has a
    `shard` and no `site`.
    """

    id: Id
    gateway: Name
    site: NameOrNone
    action: Action
    sequence: Whole
    issued_ms: Whole
    aspect: Aspect | None = None
    person: Annotated[str, Meta(max_length=limits.PERSON)] = ""
    reason: Reason = ""
    expires_ms: Whole | None = None
    shard: NameOrNone = ""
    v: int = VERSION


class Outcome(StrEnum):
    """The stations of a command. A refused one has no other."""

    REFUSED = "refused"
    ACCEPTED = "accepted"
    APPLIED = "applied"
    CONFIRMED = "confirmed"
    ENDED = "ended"


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a command fares: accepted, or refused with the reason; applied (the interlock wants
    it), confirmed (the signal was read back), ended (expired or cancelled).

    `last` stands in a refusal for the command's sequence or age: the last sequence that the gateway
    took of this key, or -1; a command above it, issued now by the gateway's clock (`at_ms`), may be
    taken. `mac` proves that the gateway says so: `wire.authentication`.
    """

    command: Id
    outcome: Outcome
    at_ms: Whole
    reason: Reason = ""
    aspect: Aspect | None = None
    v: int = VERSION
    last: Annotated[int, Meta(ge=-1, le=limits.NUMBER)] | None = None
    mac: Mac | msgspec.UnsetType = msgspec.UNSET


class Lease(msgspec.Struct, frozen=True):
    """An aspect that holds until `valid_until_ms` (UTC), for a controller that subscribes. It
    travels signed and retained; after its end the controller shows its own safe aspect."""

    site: Name
    aspect: Aspect
    valid_until_ms: Whole
    sequence: Whole
    v: int = VERSION


class InterlockState(msgspec.Struct, frozen=True):
    """What an interlock wants and what its signal was last seen to show; retained.

    `confirmed` is None until the signal has been read back. `depth` is in m.
    """

    site: Name
    wanted: Aspect
    confirmed: Aspect | None
    depth: Amount | None
    cause: Reason
    at_ms: Whole
    v: int = VERSION
