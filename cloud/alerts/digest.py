"""A person reads a few messages in a minute, not a thousand. Pure.

What one contact is to be told goes through a mailbox. The first message opens a window. Within it:

- A *first call* (of an alert, a rise, a tier that is called now) goes out at once and by itself, as
  long as there are few: the first two of a window at once; what follows them waits `SETTLES_MS` to
  see whether it is a flood. Up to `FEW` go out then, each by itself.
- In a flood, and beyond `MOST` messages in a window, everything waits for the end of the window.
- All else (calls that are repeated, falls, ends, copies) waits for the end of the window too, and
  goes out as one digest.

So a flood of any size within one window is three messages: two calls, and a digest that names each
site with a red call and tells of all ends. A message that goes by two channels is one message.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from cloud.alerts.actions import FIRST_CALLS, Send

AT_ONCE: Final = 2
SETTLES_MS: Final = 3000
FEW: Final = 5
MOST: Final = 8

_DIGEST: Final = {False: "digest", True: "exercise-digest"}


class Mailbox(msgspec.Struct, frozen=True, gc=False):
    """`closes_ms` is the end of the open window, `sent` the messages in it; `number` counts the
    digests; `held`, how often something was kept; `settles_ms` is when the first calls among that
    go out, if they are few."""

    contact: str
    closes_ms: int = 0
    sent: int = 0
    number: int = 0
    held: int = 0
    exercise: bool = False
    settles_ms: int | None = None


class Parcel(NamedTuple):
    """A message by one of its channels. `key` is the same whenever it is worked out; its `sends`
    have keys of their own, and an answer to the parcel answers all of them."""

    key: str
    contact: str
    channel: str
    not_before_ms: int
    sends: Sequence[Send]


class Emptied(NamedTuple):
    """The mailbox afterwards, the messages that go out, and what stays in it."""

    box: Mailbox
    messages: Sequence[Sequence[Send]]
    kept: Sequence[Send]


def opens(box: Mailbox, sends: Sequence[Send], now_ms: int) -> bool:
    """Whether what the contact is to be told now goes out at once; else it is kept."""
    if now_ms >= box.closes_ms:
        return True
    return is_urgent(sends) and box.sent < AT_ONCE and box.settles_ms is None


def is_urgent(sends: Sequence[Send]) -> bool:
    """Whether there is a first call among them."""
    return any(send.kind in FIRST_CALLS for send in sends)


def keep(box: Mailbox, sends: Sequence[Send], now_ms: int) -> Mailbox:
    """The mailbox with these in it too."""
    settles_ms = box.settles_ms
    if settles_ms is None and is_urgent(sends):
        settles_ms = min(now_ms + SETTLES_MS, box.closes_ms)
    return msgspec.structs.replace(box, held=box.held + 1, settles_ms=settles_ms)


def empty(
    box: Mailbox, kept: Sequence[Send], sends: Sequence[Send], now_ms: int, window_ms: int
) -> Emptied:
    """What goes out at `now_ms` of what was kept, and of what is to be told now."""
    if now_ms >= box.closes_ms:
        if not kept and not sends:  # what was kept has been withdrawn
            return Emptied(_replace(box, held=0, settles_ms=None), (), ())
        message = [*kept, *sends]
        # After a digest of several alerts more may follow: nothing goes out without a look at them.
        sent = 1 if len({send.alert for send in message}) == 1 else AT_ONCE
        after = _replace(box, closes_ms=now_ms + window_ms, sent=sent, held=0, settles_ms=None)
        return Emptied(after, (message,), ())
    if sends:  # they open it: nothing that was kept is as urgent
        return Emptied(_replace(box, sent=box.sent + 1), (sends,), kept)
    alerts = dict.fromkeys(send.alert for send in kept if send.kind in FIRST_CALLS)
    if len(alerts) > FEW or box.sent + len(alerts) > MOST:  # it is a flood
        return Emptied(_replace(box, settles_ms=box.closes_ms), (), kept)
    messages = [[send for send in kept if send.alert == alert] for alert in alerts]
    rest = [send for send in kept if send.alert not in alerts]
    after = _replace(box, sent=box.sent + len(messages), held=1 if rest else 0, settles_ms=None)
    return Emptied(after, messages, rest)


def parcels(box: Mailbox, sends: Sequence[Send], now_ms: int) -> tuple[Mailbox, tuple[Parcel, ...]]:
    """One message that tells of all these, by each of its channels. A channel that waits, waits
    from now on: what it waits for is an answer to this message."""
    single = len(sends) == 1
    key = sends[0].key if single else f"{_DIGEST[box.exercise]}/{box.contact}/{box.number}"
    inside: dict[str, list[Send]] = {}
    wait_ms: dict[str, int] = {}
    for send in sends:
        for channel, after_ms in send.ways:
            inside.setdefault(channel, []).append(send)
            wait_ms[channel] = min(after_ms, wait_ms.get(channel, after_ms))
    return _replace(box, number=box.number if single else box.number + 1), tuple(
        Parcel(f"{key}/{channel}", box.contact, channel, now_ms + wait_ms[channel], some)
        for channel, some in inside.items()
    )


def next_due_ms(box: Mailbox) -> int | None:
    """When it is to be emptied, None if nothing is kept."""
    if not box.held:
        return None
    return box.closes_ms if box.settles_ms is None else min(box.settles_ms, box.closes_ms)


def _replace(box: Mailbox, **changes: object) -> Mailbox:
    return msgspec.structs.replace(box, **changes)
