"""Which of the batches that we do not have are missing, and which are simply on their way. Pure.

After an outage new readings go first and the backlog drains beside them, so holes are nothing
unusual. But a gateway forgets a batch on our ack alone, and says in each status how many of its
batches wait for one: of those that were sealed by then, no more than that can still be with it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from cloud.ledger import Key, Stream
from wire.ranges import Range

GRACE_MS: Final = 60_000
"""For how long a hole is not judged while the gateway has batches waiting: among them may be the
one that declares the hole a loss, which goes first."""


class Word(NamedTuple):
    """What a gateway last said, and when (`at_ms`, the cloud's time): of `stream`, and how many
    batches of all its streams are `pending`."""

    stream: str | None
    pending: int | None
    at_ms: int


class Judgement(NamedTuple):
    """Of one stream."""

    missing: list[Range]
    on_the_way: list[Range]


def judge(streams: Mapping[Key, Stream], word: Word | None, now_ms: int) -> dict[Key, Judgement]:
    """Of the streams of one gateway."""
    said: list[tuple[Key, int, int]] = []  # holes of which it could have spoken
    newer: dict[Key, list[Range]] = {key: [] for key in streams}
    has_stood = False
    for key, stream in sorted(streams.items(), key=lambda one: one[1].first_at_ms or now_ms):
        top = stream.expected
        if word is not None:
            if word.stream == key.stream:
                top = stream.sealed
            elif (stream.first_at_ms or 0) >= word.at_ms:
                top = 0  # it may have begun after that
        for first, last in stream.missing:
            if first <= top:
                said.append((key, first, min(last, top)))
            if last > top:
                newer[key].append((max(first, top + 1), last))
        since_ms = stream.hole_since_ms
        has_stood |= since_ms is not None and now_ms - since_ms >= GRACE_MS
    holes = sum(last - first + 1 for _, first, last in said)
    pending = 0 if word is None else word.pending or 0
    gone = max(0, holes - pending)
    if not has_stood and (word is None or pending):
        gone = 0
    judged = {key: Judgement([], []) for key in streams}
    for key, first, last in said:  # the oldest are the ones that it has no more
        cut = min(gone, last - first + 1)
        gone -= cut
        if cut:
            judged[key].missing.append((first, first + cut - 1))
        if first + cut <= last:
            judged[key].on_the_way.append((first + cut, last))
    for key, ranges in newer.items():
        judged[key].on_the_way.extend(ranges)
    return {key: Judgement(one.missing, _joined(one.on_the_way)) for key, one in judged.items()}


def _joined(ranges: list[Range]) -> list[Range]:
    """Ascending ranges, those that touch made one."""
    joined: list[Range] = []
    for first, last in ranges:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = joined[-1][0], last
        else:
            joined.append((first, last))
    return joined
