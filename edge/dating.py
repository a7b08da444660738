"""Gives a date to what was sealed while the gateway did not know the time. Pure.

Such a batch holds times in ms since its boot. They become UTC by adding the boot's offset: the UTC
at which the boot's monotonic clock showed 0. Of a boot in which the clock was set the offset is
known. Of one that ended before that it lies in a bracket: after the last UTC that was known before,
and early enough for all such boots to end before the present one began.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from wire.codec import ABSOLUTE_FROM_MS
from wire.messages import Batch
from wire.reading import Quality, Reading


class Offset(NamedTuple):
    """UTC in ms at a boot's monotonic 0. `error_ms`: the true one differs by at most so much; None
    if nobody knows by how much."""

    utc_ms: int
    error_ms: int | None = 0


def bracket(lasted_ms: Sequence[int], after_ms: int | None, before_ms: int) -> list[Offset]:
    """Offsets of boots of which only the order is known, and how long each lasted at least.

    They began after `after_ms` (None: nothing is known), one after another, and ended before
    `before_ms`. The time that is left over is spread evenly before, between and behind them: for a
    single boot that makes the greatest possible error as small as it can be. Without a lower
    bound, and where the bounds contradict each other, they end where the present boot begins.
    """
    bounded = after_ms is not None and before_ms - after_ms >= sum(lasted_ms)
    spare_ms = before_ms - after_ms - sum(lasted_ms) if bounded and after_ms is not None else 0
    pause_ms = spare_ms // (len(lasted_ms) + 1)
    offsets, end_ms = [], before_ms
    for i, lasted in enumerate(reversed(lasted_ms), 1):
        end_ms -= pause_ms + lasted
        late_ms = i * pause_ms  # at most: nothing lay behind
        offsets.append(Offset(end_ms, max(late_ms, spare_ms - late_ms) if bounded else None))
    return offsets[::-1]


def date(batch: Batch, offset: Offset) -> Batch:
    """`batch`, of a boot with that `offset`, in UTC. Readings whose date is a guess are suspect."""

    def utc_ms(at_ms: int) -> int:
        return at_ms + offset.utc_ms if at_ms < ABSOLUTE_FROM_MS else at_ms

    def dated(reading: Reading) -> Reading:
        reading = replace(reading, at_ms=utc_ms(reading.at_ms))
        return reading if offset.error_ms == 0 else doubtful(reading)

    return replace(
        batch,
        readings=tuple(map(dated, batch.readings)),
        events=tuple(replace(event, at_ms=utc_ms(event.at_ms)) for event in batch.events),
        gaps=tuple(
            replace(gap, from_ms=utc_ms(gap.from_ms), to_ms=utc_ms(gap.to_ms)) for gap in batch.gaps
        ),
    )


def doubtful(reading: Reading) -> Reading:
    """`reading` with its quality lowered to suspect, because its time is in doubt."""
    if reading.quality in (Quality.GOOD, Quality.NOT_EVALUATED):
        return replace(reading, quality=Quality.SUSPECT)
    return reading
