"""Whether people know how it stands in the end: those whose last message about a site contradicts
its state, two minutes after a storm and the off-delay. Nights like those of `told_true`."""

from typing import Final

from bench.figure import Figure, Goal, Progress, Result
from bench.told_true import NIGHTS, played

FIGURE: Final = Figure("people whose last message contradicts the state", "people", Goal("<=", 0))


def measure(progress: Progress) -> Result:
    """About three minutes."""
    wrong, people = 0, 0
    for seed in range(NIGHTS, 2 * NIGHTS):
        progress((seed - NIGHTS) / NIGHTS, f"night {seed + 1 - NIGHTS} of {NIGHTS}")
        night = played(seed)
        wrong += len(night.ignorant)
        people += len({one.contact for one in night.handed})
    return Result(wrong, {"people who were told something": people, "nights": NIGHTS})
