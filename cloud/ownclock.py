"""Our own wall clock, which somebody may have set wrong a moment ago.

Nobody knows which of two times is right when a clock was set; but monotonic time says that it was
set, and by how much. For a day after that both count: what came in the light of one of them is not
refused, and nothing is let go for its age.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

STEP_MS: Final = 1000
"""A clock that is adjusted changes by less between two looks."""

KEPT_S: Final = 86_400.0
"""For so long what a clock showed before it was set counts as well."""

MOST_STEPS: Final = 100

PLAUSIBLE_MS: Final = range(1_672_531_200_000, 4_102_444_800_000)
"""What a clock of ours can show: 2023 to 2100. One that shows something else (1970, without a
battery) dates nothing, and judges no other clock."""


class Shown(NamedTuple):
    """What the clock shows, and the earliest and latest that it may be. All UTC in ms."""

    now_ms: int
    earliest_ms: int
    latest_ms: int


class OwnClock:
    """The clock of this machine, as it has been since this was made."""

    def __init__(
        self,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._offset_ms, _ = self._sample()
        self._before: list[tuple[float, int]] = []  # until when, and which offset held
        self._began = monotonic()

    @property
    def age_s(self) -> float:
        """For how long we have looked at it."""
        return self._monotonic() - self._began

    def look(self) -> Shown:
        """What time it may be."""
        offset_ms, at = self._sample()
        if abs(offset_ms - self._offset_ms) > STEP_MS:
            self._before.append((at, self._offset_ms))
        self._offset_ms = offset_ms
        self._before = [one for one in self._before if at - one[0] < KEPT_S][-MOST_STEPS:]
        mono_ms = round(1000 * at)
        now_ms = mono_ms + offset_ms
        before = [mono_ms + one for _, one in self._before if mono_ms + one in PLAUSIBLE_MS]
        return Shown(now_ms, min([now_ms, *before]), max([now_ms, *before]))

    def _sample(self) -> tuple[int, float]:
        """What the wall clock showed at monotonic 0, ms, and the monotonic time of this look."""
        at = self._monotonic()
        return self._wall_ms() - round(1000 * at), at
