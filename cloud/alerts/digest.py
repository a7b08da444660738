"""A person reads three messages in a minute, not a thousand. Pure.

What one contact is to be told goes through a mailbox. The first message goes out at once and opens
a window; what follows within it is kept for one digest at its end. Only the first red one of a
window does not wait: it takes along what is kept. So a flood of any size within one window is three
messages at most: the first, the red, the rest. A message that goes by two channels is one message.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from cloud.alerts.actions import CALLS, Send
from wire.messages import Level

_NEVER: Final = 2**53
_DIGEST: Final = {False: "digest", True: "exercise-digest"}


class Mailbox(msgspec.Struct, frozen=True, gc=False):
    """`closes_ms` is the end of the open window; `top` the worst level that was told in it;
    `number` counts the digests; `held`, how often something was kept for the next."""

    contact: str
    closes_ms: int = 0
    top: int = 0
    number: int = 0
    held: int = 0
    exercise: bool = False


class Parcel(NamedTuple):
    """A message by one of its channels. `key` is the same whenever it is worked out; its `sends`
    have keys of their own, and an answer to the parcel answers all of them."""

    key: str
    contact: str
    channel: str
    not_before_ms: int
    sends: Sequence[Send]


def opens(box: Mailbox, sends: Sequence[Send], now_ms: int) -> bool:
    """Whether what the contact is to be told now goes out, with all that is kept; else it is kept
    too."""
    return now_ms >= box.closes_ms or (box.top < Level.RED and _worst(sends) == Level.RED)


def keep(box: Mailbox) -> Mailbox:
    """The mailbox with more in it."""
    return msgspec.structs.replace(box, held=box.held + 1)


def empty(
    box: Mailbox, sends: Sequence[Send], now_ms: int, window_ms: int
) -> tuple[Mailbox, tuple[Parcel, ...]]:
    """All that was kept and is to be told now goes out, as one message by each of its channels."""
    if not sends:  # what was kept has been withdrawn
        return msgspec.structs.replace(box, held=0), ()
    single = len(sends) == 1
    key = sends[0].key if single else f"{_DIGEST[box.exercise]}/{box.contact}/{box.number}"
    is_over = now_ms >= box.closes_ms
    after = msgspec.structs.replace(
        box,
        closes_ms=now_ms + window_ms if is_over else box.closes_ms,
        top=max(0 if is_over else box.top, _worst(sends)),
        number=box.number if single else box.number + 1,
        held=0,
    )
    inside: dict[str, list[Send]] = {}
    at_ms: dict[str, int] = {}
    for send in sends:
        for channel, after_ms in send.ways:
            inside.setdefault(channel, []).append(send)
            at_ms[channel] = min(send.at_ms + after_ms, at_ms.get(channel, _NEVER))
    return after, tuple(
        Parcel(f"{key}/{channel}", box.contact, channel, max(now_ms, at_ms[channel]), some)
        for channel, some in inside.items()
    )


def next_due_ms(box: Mailbox) -> int | None:
    """When it is to be emptied, None if nothing is kept."""
    return box.closes_ms if box.held else None


def _worst(sends: Sequence[Send]) -> int:
    """The worst level of the calls among them, 0 if there is none."""
    return max((send.level for send in sends if send.kind in CALLS), default=0)
