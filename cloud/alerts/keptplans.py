"""The response plans in the state: every one that was ever used, by its version. What has begun
under one keeps to it; and the last good one serves where the file of today cannot be used."""

import logging
from contextlib import suppress
from typing import Final

from sqlalchemy import Connection, bindparam, select

from cloud import database, state, tables
from cloud.alerts import plan as plans
from cloud.alerts.plan import Plan

log: Final = logging.getLogger("shuichi.dispatch")

_LAST: Final = (
    select(tables.plan.c.content)
    .where(tables.plan.c.used_ms.is_not(None))
    .order_by(tables.plan.c.used_ms.desc())
)

_IS_KEPT: Final = select(tables.plan.c.version).where(tables.plan.c.version == bindparam("version"))


class KeptPlans:
    """`plan` is the one in force."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known = {plan.version: plan}

    def use(self, plan: Plan) -> None:
        """Another one comes into force."""
        self._plan = plan
        self._known[plan.version] = plan

    def keep(self, connection: Connection) -> None:
        """See that the one in force is there. Asked each time: the transaction that kept it may
        have been lost."""
        if connection.execute(_IS_KEPT, {"version": self._plan.version}).first() is None:
            content = self._plan.model_dump_json()
            connection.execute(
                database.insert(connection, tables.plan)
                .values(version=self._plan.version, content=content)
                .on_conflict_do_nothing()
            )

    def of(self, connection: Connection, version: str) -> Plan:
        """The plan of a version; the one in force where that cannot be read any more."""
        if version not in self._known:
            found = select(tables.plan.c.content).filter_by(version=version)
            try:
                self._known[version] = plans.parse(
                    connection.execute(found).scalar_one_or_none() or ""
                )
            except ValueError as error:
                log.error("plan %s cannot be read, its alerts go on by ours: %s", version, error)
                self._known[version] = self._plan
        return self._known[version]


def come_into_force(connection: Connection, plan: Plan, now_ms: int) -> None:
    """Keep a good plan, for the day on which its file is not."""
    row = {"version": plan.version, "content": plan.model_dump_json(), "used_ms": now_ms}
    state.upsert(connection, tables.plan, [row], fixed=("content",))


def last_good(connection: Connection) -> Plan | None:
    """The plan that came into force last, None if there is none that can be read."""
    for content in connection.execute(_LAST).scalars():
        try:
            return plans.parse(content)
        except ValueError:
            continue
    return None


def of_version(connection: Connection, version: str) -> Plan:
    """A plan that was used, or else the last good one. Raises ValueError if none can be read."""
    found = select(tables.plan.c.content).filter_by(version=version)
    content = connection.execute(found).scalar_one_or_none()
    if content is not None:
        with suppress(ValueError):
            return plans.parse(content)
    if (last := last_good(connection)) is None:
        raise ValueError(f"plan {version} cannot be read, and there is no other")
    return last
