"""A person reads a few messages in a minute, not a thousand. Pure.

What one contact is to be told goes through a mailbox. The first message opens a window. Within it:

- A *first call* (of an alert, a rise, a tier that is called now) goes out at once and by itself, as
  long as there are few: the first of a window at once, and a second one if an alert has risen or
  is called again. What follows them waits `SETTLES_MS` to see whether it is a flood. Up to
  `FEW` go out then, each by itself.
- If there are more, or beyond `MOST` messages in a window, it is a flood: the red calls go out as
  one message, with all first calls that are kept. No red call waits for longer than `LONGEST_MS`.
- After a message of more than `CROWD` alerts everything waits for the end of the window, red calls
  too: somebody who has so many has all hands full.
- All else (calls that are repeated, falls, ends, copies) waits for the end of the window, and goes
  out as one digest.

So alerts that begin together are two messages, of which the second comes after `SETTLES_MS`; and a
flood that goes on is three within a window: the last one tells of all that is left, also of all
ends. A message that goes by two channels is one message.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from cloud.alerts.actions import FIRST_CALLS, Kind, Send
from wire.messages import Level

AT_ONCE: Final = 2
SETTLES_MS: Final = 3000
LONGEST_MS: Final = 5000
FEW: Final = 5
MOST: Final = 8
CROWD: Final = 20

_OF_KNOWN: Final = frozenset({Kind.RISE, Kind.REOPEN})
"""First calls about an alert that their contact knows."""

_DIGEST: Final = {False: "digest", True: "exercise-digest"}


class Mailbox(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """`closes_ms` is the end of the open window, `sent` the messages in it, `called` whether a
    first call is among them; `number` counts the digests; `held`, how often something was kept;
    `settles_ms` is when the first calls among that go out, if they are few or red. `crowded`: a
    message of this window told of a crowd."""

    contact: str
    closes_ms: int = 0
    sent: int = 0
    number: int = 0
    held: int = 0
    exercise: bool = False
    settles_ms: int | None = None
    called: bool = False
    crowded: bool = False


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
    if not is_urgent(sends) or box.settles_ms is not None:
        return False
    known = any(send.kind in _OF_KNOWN for send in sends)
    return box.sent < AT_ONCE and (known or not box.called)


def is_urgent(sends: Sequence[Send]) -> bool:
    """Whether there is a first call among them."""
    return not FIRST_CALLS.isdisjoint([send.kind for send in sends])


def keep(box: Mailbox, sends: Sequence[Send], now_ms: int) -> Mailbox:
    """The mailbox with these in it too."""
    settles_ms = box.settles_ms
    waits = settles_ms == box.closes_ms and not box.crowded  # a flood in which none was red
    if is_urgent(sends) and (settles_ms is None or (waits and _is_red(sends))):
        soon_ms = now_ms + (SETTLES_MS if box.sent < MOST else LONGEST_MS)
        settles_ms = box.closes_ms if box.crowded else min(soon_ms, box.closes_ms)
    return msgspec.structs.replace(box, held=box.held + 1, settles_ms=settles_ms)


def _is_red(sends: Sequence[Send]) -> bool:
    return any(send.kind in FIRST_CALLS and send.level is Level.RED for send in sends)


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
        after = _replace(
            box,
            closes_ms=now_ms + window_ms,
            sent=sent,
            held=0,
            settles_ms=None,
            called=is_urgent(message),
            crowded=False,
        )
        return Emptied(after, (message,), ())
    if sends:  # they open it: nothing that was kept is as urgent
        return Emptied(_replace(box, sent=box.sent + 1, called=True), (sends,), kept)
    if box.settles_ms is None or now_ms < box.settles_ms:  # what was due has gone with others
        return Emptied(box, (), kept)
    alerts = dict.fromkeys(send.alert for send in kept if send.kind in FIRST_CALLS)
    flood = len(alerts) > FEW or box.sent + len(alerts) > MOST
    if flood and not _is_red(kept):
        return Emptied(_replace(box, settles_ms=box.closes_ms), (), kept)
    messages = [[send for send in kept if send.alert == alert] for alert in alerts]
    if flood:
        messages = [[send for send in kept if send.alert in alerts]]
    rest = [send for send in kept if send.alert not in alerts]
    after = _replace(
        box,
        sent=box.sent + len(messages),
        held=1 if rest else 0,
        settles_ms=None,
        called=True,
        crowded=box.crowded or len(alerts) > CROWD,
    )
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
