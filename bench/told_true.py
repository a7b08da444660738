"""Whether people are told the truth: messages whose value was not the newest reading of its gauge,
or a minute older than another gauge's, at the moment at which a channel took them.

Nights of duty in virtual time (`bench._night`): random storms at three sites with two gauges each,
which die; answers, declines and reports; channels that fail and refuse; and a process that is
killed in and between transactions.
"""

import tempfile
from pathlib import Path
from typing import Final

from bench._night import Night
from bench._storm import opened
from bench.figure import Figure, Goal, Progress, Result

NIGHTS: Final = 20
MINUTES: Final = 30

FIGURE: Final = Figure("messages with an old or a wrong value", "messages", Goal("<=", 0))


def measure(progress: Progress) -> Result:
    """About three minutes."""
    wrong, handed, kills = 0, 0, 0
    for seed in range(NIGHTS):
        progress(seed / NIGHTS, f"night {seed + 1} of {NIGHTS}")
        night = played(seed)
        wrong += len([*night.untrue()])
        handed += len(night.handed)
        kills += night.kills
    return Result(wrong, {"messages": handed, "kills": kills, "nights": NIGHTS})


def played(seed: int, minutes: int = MINUTES) -> Night:
    """A night, played to its end."""
    with (
        tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name,
        opened(Path(name)) as connection,
    ):
        night = Night(connection, seed)
        night.run(minutes)
        night.judge()
        return night
