"""A response plan comes into force while the service runs, and the versions that did before."""

import asyncio
import time
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts import dutystore, dutyviews, keptplans, plan, plandiff
from cloud.alerts.demands import Done
from cloud.alerts.plan import Plan
from cloud.desk import Clerk, Operation
from configs.loader import ConfigError, UserError

_MOST_LEFT_OUT: Final = 5
"""Changes of duty that an answer names."""


class Reload(msgspec.Struct, frozen=True):
    """Read the plan of the config again."""


class Version(NamedTuple):
    """A plan that was used; `used_ms` is when it came into force last."""

    version: str
    title: str
    used_ms: int | None
    in_force: bool


async def reload(clerk: Clerk, _: Reload) -> Done:
    """A good plan comes into force for what begins from now on; a bad one changes nothing. Raises
    UserError with its faults."""
    named = clerk.setup.config.alerts.plan
    if named is None:
        raise UserError("[alerts] has no plan")
    if clerk.dispatch is None:
        raise UserError("no service runs here: it reads the plan when it starts")
    try:
        fresh = await asyncio.to_thread(plan.read, clerk.setup.folder / named)
    except ConfigError as error:
        raise UserError(f"{error}; plan {clerk.dispatch.plan.version} stays in force") from None
    before = clerk.dispatch.plan
    now_ms = time.time_ns() // 1_000_000
    kept = partial(keptplans.come_into_force, plan=fresh, now_ms=now_ms)
    await clerk.database.run(kept)
    changed = await clerk.database.run(partial(dutystore.read, since_ms=now_ms))
    clerk.dispatch.use(fresh)
    clerk.wake()
    changes = len(plandiff.lines(before, fresh))
    left_out = [f"; {one.key}: {one.problem}" for one in dutyviews.left_out(fresh, changed)]
    more = "".join(left_out[:_MOST_LEFT_OUT])
    if not changes:
        return Done(True, f"plan {fresh.version} is in force, as before{more}")
    plural = "s" * (changes != 1)
    return Done(True, f"plan {fresh.version} is in force, with {changes} change{plural}{more}")


def versions(connection: Connection) -> list[Version]:
    """Those that were ever used, the newest first."""
    table = tables.plan
    rows = connection.execute(select(table).order_by(table.c.used_ms.desc())).all()
    rows = [row for row in rows if row.used_ms is not None]
    return [
        Version(row.version, _title(row.content), row.used_ms, place == 0)
        for place, row in enumerate(rows)
    ]


def of(connection: Connection, version: str) -> Plan:
    """One of them, by the beginning of its version. Raises UserError."""
    table = tables.plan
    rows = connection.execute(
        select(table.c.content).where(table.c.version.startswith(version, autoescape=True))
    ).all()
    if len(rows) != 1:
        many = "several begin so" if rows else "there is none"
        raise UserError(f"plan {version}: {many}; see `shuichi plan versions`")
    try:
        return plan.parse(rows[0].content)
    except ValueError:
        raise UserError(f"plan {version}: cannot be read by this release") from None


def _title(content: str) -> str:
    try:
        return plan.parse(content).title
    except ValueError:
        return "cannot be read by this release"


RELOAD: Final = Operation("plan reload", Reload, Done, reload)
