"""What 10,000 open alerts with running deadlines cost: CPU of the busiest of ten minutes.

Nobody answers: all alerts go off within the five minutes before, each is found by a rule, and all
climb while those below go on being called. What it costs to begin them is told beside. It is the
dispatch of the cloud with its database, an SQLite file in which each round is one transaction. Time
is virtual; a round comes when there are findings, or when something is due and the office has
rested from the round before. Handing messages over is not in it: they are written down for the
channels. The collector of garbage is set as the cloud sets it.
"""

import gc
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from bench._storm import MINUTE_MS, START_MS, Findings, city, dispatch, moments, opened
from bench.figure import Detail, Figure, Goal, Progress, Result, spread
from cloud import tables
from cloud.alerts.office import pause_s
from wire.messages import Level

ALERTS: Final = 10_000
MINUTES: Final = 15
RISING_MINUTES: Final = 5

FIGURE: Final = Figure(
    "CPU a minute for 10,000 open alerts with deadlines, the busiest of ten minutes",
    "s",
    Goal("<=", 1),
)


def measure(progress: Progress) -> Result:
    """About a minute."""
    spent: list[float] = []
    found = moments(ALERTS, RISING_MINUTES * MINUTE_MS, seed=1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shuichi-bench-")))
        connection = stack.enter_context(opened(folder))
        office, rounds, ahead = dispatch(city(ALERTS)), 0, 0
        look_ms: int | None = None
        stack.enter_context(_settled_in())
        for minute in range(MINUTES):
            progress(minute / MINUTES, f"minute {minute + 1} of {MINUTES}")
            end_ms, cost_s = START_MS + (minute + 1) * MINUTE_MS, 0.0
            while True:
                # Findings come as batches are stored: here those of a second at once.
                next_ms = found[ahead] // 1000 * 1000 + 1000 if ahead < ALERTS else None
                now_ms = min((at for at in (look_ms, next_ms) if at is not None), default=end_ms)
                if now_ms >= end_ms:
                    break
                begin = ahead
                while ahead < ALERTS and found[ahead] < now_ms:
                    ahead += 1
                _find(connection, found, begin, ahead)
                before_s = time.process_time()
                with connection.begin():
                    due_ms = office.round(connection, now_ms)
                took_s = time.process_time() - before_s
                cost_s += took_s
                rest_ms = round(1000 * pause_s(took_s, now_ms, due_ms))
                look_ms = None if due_ms is None else now_ms + rest_ms
                rounds += 1
            spent.append(cost_s)
        counts = _counts(connection)
    minutes = " ".join(f"{one:.2f}" for one in spent)
    rising, opened_s = spent[:RISING_MINUTES], spent[RISING_MINUTES:]
    told: dict[str, Detail] = {
        "CPU a minute, all open, s": spread(opened_s),
        "CPU a minute, 2,000 new ones in it, s": spread(rising),
        "minute by minute": minutes,
    }
    return Result(max(opened_s), {**told, "rounds": rounds, **counts})


@contextmanager
def _settled_in() -> Iterator[None]:
    """As in `cloud.service`, once all is read: the plan is not looked through again and again."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _find(connection: Connection, found: list[int], begin: int, end: int) -> None:
    if begin < end:
        with connection.begin():
            findings = Findings(connection)
            for number in range(begin, end):
                findings.add(f"s{number}", found[number], Level.RED)


def _counts(connection: Connection) -> dict[str, int]:
    with connection.begin():
        return {
            name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for name, table in (
                ("alerts", tables.escalation),
                ("messages", tables.outgoing),
                ("lines of the timeline", tables.timeline),
            )
        }
