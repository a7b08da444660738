"""The office is killed (SIGKILL) again and again while sites flood and nobody answers: alerts that
were lost, stages that were skipped and messages that came twice, when it is left in peace at last.

The office (dispatch, delivery, a webhook channel) is a process on an SQLite file, in which a rule
finds one site after the other flooded. Each alert climbs four tiers, as fast as a plan allows. The
receiver outlives it, and honours the idempotency key: what it has heard it does not hear again.
Half of the kills come at a random moment of a life, the others within half a millisecond after the
database was asked to commit.
"""

import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

import tomlkit
from sqlalchemy import Connection, select

from bench import _storm
from bench.figure import Figure, Goal, Progress, Result
from bench.mortal import Mortal
from bench.programs import free_port
from bench.sink import Sink
from cloud import config, state, tables
from cloud.alerts import plan as plans
from cloud.alerts.hazard import Hazard
from cloud.alerts.plan import Plan
from configs.loader import UserError
from wire.messages import Level

KILLS: Final = int(os.environ.get("KILLS", "200"))
SITES: Final = 600
LONGEST_LIFE_S: Final = 0.7
MOST_COMMITS: Final = 60
PEACE_S: Final = 90.0
ANSWER_WITHIN_MIN: Final = 0.002
NEVER_AGAIN: Final = {"retry_every_min": 1440, "ring_every_min": 1440}

FIGURE: Final = Figure(
    f"alerts lost, stages skipped and messages told twice, over {KILLS} kill -9 of the office",
    "faults",
    Goal("<=", 0),
)


class Outcome(NamedTuple):
    """`repeated` requests came again, and the receiver knew them by their key; `lost` findings
    were on disk and are not, or no alert came of them; `skipped` stages did not come, or out of
    turn; `twice` is what a person was told more than once."""

    in_commit: int
    took_s: float
    alerts: int
    messages: int
    repeated: int
    lost: int
    skipped: int
    twice: int


class Office(Mortal):
    """Remembers the findings that it has told to be on disk."""

    found: int = -1

    def overhear(self, word: str, rest: list[str]) -> None:
        super().overhear(word, rest)
        if word == "found":
            self.found = int(rest[0])


async def run(folder: Path, kills: int, progress: Progress = lambda *_: None) -> Outcome:
    """Kill so often, then let it tell what is left, and compare."""
    sink = Sink()
    async with sink.serving() as port:
        plan = _write(folder, port)
        file = str(folder / "cloud.toml")
        async with Office("office", folder, "bench.dying_office", file, str(SITES)) as office:
            begin = time.monotonic()
            in_commit = await _kill(office, kills, progress)
            took_s = time.monotonic() - begin
            await _peace(office, folder, progress)
        async with state.opened(config.read(folder / "cloud.toml").database, read_only=True) as own:
            return await own.run(
                lambda connection: _compare(connection, plan, sink, office.found, in_commit, took_s)
            )


async def _kill(office: Office, kills: int, progress: Progress) -> int:
    """Kill it so often, and begin it anew. How many died in a commit."""
    dice, in_commit = random.Random(), 0
    for number in range(kills):
        progress(number / kills, f"{number} of {kills} killed")
        if dice.random() < 0.5:
            pid = await office.live()
            await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_S))
            os.kill(pid, signal.SIGKILL)
        else:
            await office.live(f"until-commit {dice.randint(1, MOST_COMMITS)}")
            in_commit += 1
        await office.hear("ended")
    return in_commit


async def _peace(office: Office, folder: Path, progress: Progress) -> None:
    """Let it live until nothing waits any more and all alerts are at the top."""
    pid = await office.live("rest")
    deadline = time.monotonic() + PEACE_S
    async with state.opened(config.read(folder / "cloud.toml").database, read_only=True) as own:
        while left := await own.run(_left):
            progress(1, f"{left} alerts and messages are not told yet")
            if time.monotonic() > deadline:
                raise UserError(f"{left} were not told within {PEACE_S:g} s of peace")
            await asyncio.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    await office.hear("ended")


def _left(connection: Connection) -> int:
    out, change, line = tables.outgoing, tables.alert_change, tables.timeline
    waiting = connection.execute(select(out.c.key).where(out.c.done_ms.is_(None))).all()
    unknown = connection.execute(select(change.c.alert).where(change.c.taken_at_ms.is_(None))).all()
    at_top = connection.execute(select(line.c.alert).where(line.c.kind == "top")).all()
    alerts = connection.execute(select(tables.escalation.c.alert)).all()
    return len(waiting) + len(unknown) + len(alerts) - len(at_top)


def _compare(
    connection: Connection, plan: Plan, sink: Sink, found: int, in_commit: int, took_s: float
) -> Outcome:
    sites = set(connection.execute(select(tables.alert.c.site)).scalars())
    alerts = {
        row.alert.split(".")[0]: row.alert
        for row in connection.execute(select(tables.escalation.c.alert))
    }
    lost = len({f"s{number}" for number in range(found + 1)} - sites) + len(sites - set(alerts))
    called = Counter(
        (message.site, message.name) for message in sink.messages.values() if message.link
    )
    lines = connection.execute(
        select(tables.timeline)
        .where(tables.timeline.c.kind.in_(("opened", "climbed")))
        .order_by(tables.timeline.c.id)
    ).all()
    skipped = 0
    for site, alert in alerts.items():
        ladder = plan.called(site, Hazard.RIVER, Level.RED)
        took = [line.area for line in lines if line.alert == alert]
        skipped += took != list(ladder)
        skipped += sum(
            not called[site, plan.contact[contact].name]
            for area in ladder
            for contact in plan.members(area)
        )
    return Outcome(
        in_commit,
        took_s,
        len(alerts),
        len(sink.messages),
        sink.requests - len(sink.messages),
        lost,
        skipped,
        sum(times - 1 for times in called.values()),
    )


def _write(folder: Path, port: int) -> Plan:
    """cloud.toml, and its plan: one contact an area, who is called once, by messages of one."""
    content = _storm.reachable(SITES) | {
        "digest_window_s": 0,
        "answer_within_min": {"now": ANSWER_WITHIN_MIN},
        "tier": dict.fromkeys(("village", "township", "district", "city"), NEVER_AGAIN),
    }
    settings = {
        "broker": {"port": free_port()},  # nobody is there: it is about alerts
        "channel": {"hook": {"kind": "webhook", "url": f"http://127.0.0.1:{port}/"}},
        "alerts": {"plan": "plan.toml", "answer_url": "https://flood.example"},
    }
    for name, one in (("plan", content), ("cloud", settings)):
        (folder / f"{name}.toml").write_text(tomlkit.dumps(one), encoding="utf-8")
    return plans.read(folder / "plan.toml")


async def measure(progress: Progress) -> Result:
    """About two minutes; `KILLS=1000` in the environment for more. Raises UserError if the office
    fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        outcome = await run(Path(name), KILLS, progress)
    if not outcome.repeated:
        raise UserError(f"the kills hit nothing: {outcome}")
    return Result(outcome.lost + outcome.skipped + outcome.twice, outcome._asdict())
