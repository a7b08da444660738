"""One round of the dispatch: all that rules have found and all that is due, in one transaction.

If that fails, the same is done item by item, each within a savepoint of its own. An item that fails
alone is set aside and tried again after a pause: it costs no other item anything.
"""

import logging
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from cloud import tables
from cloud.alerts import statements
from cloud.alerts.hazard import Hazard
from cloud.alerts.mailboxes import Box
from cloud.alerts.records import AlarmKey, Records

log: Final = logging.getLogger("shuichi.dispatch")

LIMIT: Final = 1000
"""Findings, and deadlines of each kind, in one transaction."""

FIRST_PAUSE_MS: Final = 30_000
LONGEST_PAUSE_MS: Final = 3_600_000
"""Between tries of an item that is set aside."""

_LOOK_AGAIN_MS: Final = 1000

FINDINGS: Final = (
    select(
        tables.alert_change,
        *(
            tables.alert.c[name]
            for name in ("rule", "part", "hazard", "gateway", "site", "sensor", "quantity", "unit")
        ),
    )
    .join(tables.alert)
    .where(tables.alert_change.c.taken_at_ms.is_(None))
    .order_by(
        tables.alert_change.c.received_at_ms,
        tables.alert_change.c.alert,
        tables.alert_change.c.number,
    )
)


class Work(Protocol):
    """What the dispatch does with each kind of item."""

    def begin(self, connection: Connection) -> Records: ...

    def finding(self, records: Records, row: Row[Any], now_ms: int) -> None: ...

    def alarm(self, records: Records, key: AlarmKey, now_ms: int) -> None: ...

    def case(self, records: Records, alert: str, now_ms: int) -> None: ...

    def box(self, records: Records, name: Box, now_ms: int) -> None: ...

    def incident(self, records: Records, name: str, now_ms: int) -> None: ...

    def document(self, records: Records, alert: str, now_ms: int) -> None: ...

    def drill(self, records: Records, name: str, now_ms: int) -> None: ...


class _Aside(NamedTuple):
    again_ms: int
    pause_ms: int
    error: str


class _Item(NamedTuple):
    """`name` is for people; `work` does all that is to be done for it."""

    key: Hashable
    name: str
    work: Callable[[Records], None]


class Rounds:
    """`aside` has the items that fail by themselves."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._aside: dict[Hashable, _Aside] = {}

    @property
    def errors(self) -> list[str]:
        """Why items are set aside at present."""
        return [one.error for one in self._aside.values()]

    def run(self, connection: Connection, now_ms: int) -> int | None:
        """One round; when to come again (UTC, ms), None if only news can change anything. Raises
        what the database raises if it cannot be used."""
        if not self._aside:
            try:
                with connection.begin_nested():
                    return self._together(connection, now_ms)
            except Exception as error:  # a seam: one of many items may be the reason
                if _is_of_the_database(error):
                    raise
                log.exception("a round has failed and is done again, item by item")
        return self._one_by_one(connection, now_ms)

    def _together(self, connection: Connection, now_ms: int) -> int | None:
        work, records = self._work, self._work.begin(connection)
        findings = connection.execute(FINDINGS.limit(LIMIT)).all()
        records.read_sites([row.site or row.gateway for row in findings])
        for row in findings:
            work.finding(records, row, now_ms)
        for key in records.due_alarms(now_ms, LIMIT):
            work.alarm(records, key, now_ms)
        for alert in records.due_cases(now_ms, LIMIT):
            work.case(records, alert, now_ms)
        for box in records.due_boxes(now_ms, LIMIT):
            work.box(records, box, now_ms)
        for name in records.due_incidents(now_ms, LIMIT):
            work.incident(records, name, now_ms)
        for alert in records.due_documents(now_ms, LIMIT):
            work.document(records, alert, now_ms)
        for name in records.due_drills(now_ms, LIMIT):
            work.drill(records, name, now_ms)
        records.save()
        return now_ms if len(findings) == LIMIT else records.next_due_ms()

    def _one_by_one(self, connection: Connection, now_ms: int) -> int | None:
        seen: set[Hashable] = set()
        done = 0
        kinds = (
            *(self._findings, self._alarms, self._cases),
            *(self._boxes, self._incidents, self._documents, self._drills),
        )
        for kind in kinds:
            # Listed first: what one item changes, the next kind sees.
            for item in list(kind(connection, now_ms, LIMIT + len(self._aside))):
                seen.add(item.key)
                waiting = self._aside.get(item.key)
                if waiting is None or waiting.again_ms <= now_ms:
                    done += self._alone(connection, item, now_ms)
        for key in self._aside.keys() - seen:
            del self._aside[key]  # what it was about is over
        if done >= LIMIT:
            return now_ms
        due = [one.again_ms for one in self._aside.values()]
        for wanted in statements.NEXT_DUE:
            if (at_ms := connection.execute(wanted).scalar_one()) is not None:
                due.append(at_ms if at_ms > now_ms else now_ms + _LOOK_AGAIN_MS)
        return min(due, default=None)

    def _alone(self, connection: Connection, item: _Item, now_ms: int) -> bool:
        """Do one item, or set it aside; whether it was done."""
        try:
            with connection.begin_nested():
                records = self._work.begin(connection)
                item.work(records)
                records.save()
        except Exception as error:  # a seam: it must cost no other item anything
            if _is_of_the_database(error):
                raise
            self._set_aside(connection, item, error, now_ms)
            return False
        if self._aside.pop(item.key, None) is not None:
            log.info("%s: done after all", item.name)
        return True

    def _set_aside(
        self, connection: Connection, item: _Item, error: Exception, now_ms: int
    ) -> None:
        before = self._aside.get(item.key)
        pause_ms = FIRST_PAUSE_MS if before is None else 2 * before.pause_ms
        pause_ms = min(pause_ms, LONGEST_PAUSE_MS)
        words = f"{item.name}: {type(error).__name__}: {error}"
        self._aside[item.key] = _Aside(now_ms + pause_ms, pause_ms, words)
        if before is None:
            log.error("%s is set aside and tried again later", item.name, exc_info=error)
            records = self._work.begin(connection)
            records.note("", "", now_ms, "set aside", text=words[:500])
            records.save()

    # What there is to do, by keys alone: what stands behind them may be unreadable

    def _findings(self, connection: Connection, now_ms: int, limit: int) -> Iterator[_Item]:
        for row in connection.execute(FINDINGS.limit(limit)):
            name = f"finding {row.number} of rule {row.rule} at {row.site or row.gateway}"
            yield _Item(
                ("finding", row.alert, row.number),
                name,
                partial(self._work.finding, row=row, now_ms=now_ms),
            )

    def _alarms(self, connection: Connection, now_ms: int, limit: int) -> Iterator[_Item]:
        for row in _due(connection, tables.alarm, now_ms, limit):

            def work(records: Records, row: Row[Any] = row) -> None:
                key = AlarmKey(row.site, Hazard(row.hazard), row.exercise)
                self._work.alarm(records, key, now_ms)

            key = ("alarm", row.site, row.hazard, row.exercise)
            yield _Item(key, f"the alarm {row.hazard} of {row.site}", work)

    def _cases(self, connection: Connection, now_ms: int, limit: int) -> Iterator[_Item]:
        for row in _due(connection, tables.escalation, now_ms, limit):
            yield _Item(
                ("escalation", row.alert),
                f"the escalation of {row.alert}",
                partial(self._work.case, alert=row.alert, now_ms=now_ms),
            )

    def _boxes(self, connection: Connection, now_ms: int, limit: int) -> Iterator[_Item]:
        for row in _due(connection, tables.mailbox, now_ms, limit):
            box = Box(row.contact, row.exercise)
            yield _Item(
                ("digest", *box),
                f"the digest for {row.contact}",
                partial(self._work.box, name=box, now_ms=now_ms),
            )

    def _incidents(self, connection: Connection, now_ms: int, limit: int) -> Iterator[_Item]:
        for row in _due(connection, tables.incident, now_ms, limit):
            yield _Item(
                ("incident", row.id),
                f"incident {row.id}",
                partial(self._work.incident, name=row.id, now_ms=now_ms),
            )

    def _documents(self, connection: Connection, now_ms: int, limit: int) -> Iterator[_Item]:
        for row in _due(connection, tables.cap_document, now_ms, limit):
            yield _Item(
                ("document", row.alert),
                f"the CAP document of {row.alert}",
                partial(self._work.document, alert=row.alert, now_ms=now_ms),
            )

    def _drills(self, connection: Connection, now_ms: int, limit: int) -> Iterator[_Item]:
        for row in _due(connection, tables.drill, now_ms, limit):
            yield _Item(
                ("drill", row.id),
                f"the exercise {row.id}",
                partial(self._work.drill, name=row.id, now_ms=now_ms),
            )


def _due(connection: Connection, table: Any, now_ms: int, limit: int) -> list[Row[Any]]:
    return [*connection.execute(statements.DUE[table], {"now_ms": now_ms, "limit": limit}).all()]


def _is_of_the_database(error: Exception) -> bool:
    """Whether the database cannot be used; else a row or our own code is at fault."""
    return isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError)
