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

_DIGEST: Final = {False: "digest", True: "exercise-digest"}


class Mailbox(msgspec.Struct, frozen=True):
    """`closes_ms` is the end of the open window; `top` the worst level that was told in it;
    `number` counts the digests."""

    contact: str
    closes_ms: int = 0
    top: int = 0
    number: int = 0
    held: tuple[Send, ...] = ()
    exercise: bool = False


class Parcel(NamedTuple):
    """One message by one channel. `key` is the same whenever it is worked out; its `sends` have
    keys of their own, and an answer to the parcel answers all of them."""

    key: str
    contact: str
    channel: str
    not_before_ms: int
    sends: tuple[Send, ...]


def post(
    box: Mailbox, sends: Sequence[Send], now_ms: int, window_ms: int
) -> tuple[Mailbox, tuple[Parcel, ...]]:
    """Take in what the contact is to be told now, and give out what may go."""
    if not sends:
        return due(box, now_ms, window_ms)
    for send in sends:
        if send.contact != box.contact:
            raise ValueError(f"not all of it is for {box.contact}")
    held = (*box.held, *sends)
    if now_ms >= box.closes_ms:
        return _out(box, held, now_ms, now_ms + window_ms)
    if box.top < Level.RED and _worst(sends) == Level.RED:
        return _out(box, held, now_ms, box.closes_ms)
    return msgspec.structs.replace(box, held=held), ()


def due(box: Mailbox, now_ms: int, window_ms: int) -> tuple[Mailbox, tuple[Parcel, ...]]:
    """Time has passed: give out what was held, if its window is over."""
    if not box.held or now_ms < box.closes_ms:
        return box, ()
    return _out(box, box.held, now_ms, now_ms + window_ms)


def withdraw(box: Mailbox, alert: str, round: int, area: str | None) -> Mailbox:
    """Forget the calls of an alert that are still held: somebody has answered them."""
    kept = tuple(
        send
        for send in box.held
        if not (
            send.kind in CALLS
            and send.alert == alert
            and send.round <= round
            and area in (None, send.area)
        )
    )
    return box if len(kept) == len(box.held) else msgspec.structs.replace(box, held=kept)


def next_due_ms(box: Mailbox) -> int | None:
    """When `due` will give something out, None if nothing is held."""
    return box.closes_ms if box.held else None


def _worst(sends: Sequence[Send]) -> int:
    """The worst level of the calls among them, 0 if there is none."""
    return max((send.level for send in sends if send.kind in CALLS), default=0)


def _out(
    box: Mailbox, sends: tuple[Send, ...], now_ms: int, closes_ms: int
) -> tuple[Mailbox, tuple[Parcel, ...]]:
    """Everything at once, as one message."""
    single = len({send.message for send in sends}) == 1
    key = sends[0].message if single else f"{_DIGEST[box.exercise]}/{box.contact}/{box.number}"
    before = box.top if closes_ms == box.closes_ms else 0
    after = msgspec.structs.replace(
        box,
        closes_ms=closes_ms,
        top=max(before, _worst(sends)),
        number=box.number if single else box.number + 1,
        held=(),
    )
    parcels = []
    for channel in dict.fromkeys(send.channel for send in sends):
        inside = tuple(send for send in sends if send.channel == channel)
        at_ms = max(now_ms, min(send.not_before_ms for send in inside))
        parcels.append(Parcel(f"{key}/{channel}", box.contact, channel, at_ms, inside))
    return after, tuple(parcels)
