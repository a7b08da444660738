"""What the dispatch has on disk, as one transaction sees it: read when it is asked for, changed in
memory, and written by `save` in a few statements."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Select, Table, insert, select, update

from cloud import state, tables
from cloud.alerts import alarm as alarms
from cloud.alerts import digest, escalation, incident, statements
from cloud.alerts.actions import CALLS, Send, Withdraw, foremost
from cloud.alerts.alarm import Alarm
from cloud.alerts.digest import Mailbox
from cloud.alerts.escalation import Escalation
from cloud.alerts.hazard import Hazard
from cloud.alerts.incident import Incident
from cloud.channels import Language, Measurement

_T = TypeVar("_T")

CODE_LASTS_MS: Final = 7 * 86_400_000
"""For how long a reply by SMS or keypress can still mean a call: there are 10,000 codes only."""


class AlarmKey(NamedTuple):
    """An exercise has alarms of its own beside the real ones."""

    site: str
    hazard: Hazard
    exercise: bool = False


class Known(msgspec.Struct, frozen=True):
    """What there is to say of an alarm's cause: figures by the names of `wording.VALUES`, the cause
    in each language, and the value that it goes back to."""

    figures: dict[str, str] = {}
    cause: dict[Language, str] = {}
    measured: Measurement | None = None


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One of the things that a message tells. `asks`: it is a call, which wants an answer."""

    alert: str
    round: int
    area: str
    asks: bool

    @staticmethod
    def of(send: Send) -> "Part":
        return Part(send.alert, send.round, send.area, send.kind in CALLS)

    def is_withdrawn(self, by: Withdraw) -> bool:
        return (
            self.asks
            and self.alert == by.alert
            and self.round <= by.round
            and by.area in (None, self.area)
        )


class Case(NamedTuple):
    """The escalation of an alert and the incident that it belongs to."""

    escalation: Escalation
    incident: str


class Box(NamedTuple):
    """Whose mailbox."""

    contact: str
    exercise: bool


class Records:
    """One transaction's view."""

    def __init__(self, connection: Connection, off_delay_ms: int) -> None:
        self.connection = connection
        self.rule = alarms.Rule(off_delay_ms=off_delay_ms)
        self._alarms: dict[AlarmKey, tuple[Alarm, Known]] = {}
        self._cases: dict[str, Case] = {}
        self._boxes: dict[Box, Mailbox] = {}
        self._incidents: dict[str, tuple[Incident, bool]] = {}
        self._closed: dict[str, int] = {}
        self._changed: dict[Table, dict[object, Callable[[], dict[str, object]]]] = {}
        self._taken: list[dict[str, object]] = []
        self._codes: dict[str, set[str]] = {}
        self._new: dict[Table, list[dict[str, object]]] = {}

    # Alarms

    def alarm(self, key: AlarmKey) -> tuple[Alarm, Known]:
        """How a hazard of a site stands, and what is known of it."""
        if (found := self._alarms.get(key)) is None:
            row = self._one(statements.ALARM, **key._asdict())
            found = (
                (Alarm(key.site, key.hazard, exercise=key.exercise), Known())
                if row is None
                else (_read(row.state, Alarm), _read(row.known, Known))
            )
            self._alarms[key] = found
        return found

    def put_alarm(self, key: AlarmKey, alarm: Alarm, known: Known) -> None:
        self._alarms[key] = (alarm, known)
        self._change(
            tables.alarm,
            key,
            lambda: (
                key._asdict()
                | {
                    "state": _write(alarm),
                    "known": _write(known),
                    "due_ms": alarms.next_due_ms(alarm, self.rule),
                }
            ),
        )

    # Escalations

    def case(self, alert: str) -> Case | None:
        """The escalation of an alert, None if there is none."""
        if alert not in self._cases:
            row = self._one(statements.CASE, alert=alert)
            if row is None:
                return None
            self._cases[alert] = Case(_read(row.state, Escalation), row.incident)
        return self._cases[alert]

    def put_case(self, case: Case) -> None:
        alert = case.escalation.alert
        self._cases[alert] = case
        self._change(
            tables.escalation,
            alert,
            lambda: {
                "alert": alert,
                "incident": case.incident,
                "state": _write(case.escalation),
                "due_ms": escalation.next_due_ms(case.escalation),
            },
        )

    # Incidents

    def open_incident(self, site: str, exercise: bool) -> Incident | None:
        """The incident of a site that is not closed."""
        for found, one_exercise in self._incidents.values():
            if (found.site, one_exercise) == (site, exercise) and found.id not in self._closed:
                return found
        row = self._one(statements.OPEN_INCIDENT, site=site, exercise=exercise)
        if row is None or row.id in self._incidents:
            return None
        found = _read(row.state, Incident)
        self._incidents[found.id] = (found, exercise)
        return found

    def incident(self, name: str) -> tuple[Incident, bool]:
        """An incident that exists, and whether it is an exercise."""
        if name not in self._incidents:
            row = self._one(statements.INCIDENT, id=name)
            assert row is not None
            self._incidents[name] = (_read(row.state, Incident), row.exercise)
        return self._incidents[name]

    def put_incident(
        self, one: Incident, exercise: bool, *, window_ms: int, closed_ms: int | None = None
    ) -> None:
        self._incidents[one.id] = (one, exercise)
        if closed_ms is not None:
            self._closed[one.id] = closed_ms
        self._change(
            tables.incident,
            one.id,
            lambda: {
                "id": one.id,
                "site": one.site,
                "exercise": exercise,
                "state": _write(one),
                "opened_ms": one.opened_ms,
                "closed_ms": closed_ms,
                "due_ms": None if closed_ms else incident.next_due_ms(one, window_ms),
            },
        )

    # Mailboxes

    def box(self, name: Box) -> Mailbox:
        if name not in self._boxes:
            row = self._one(statements.BOX, **name._asdict())
            self._boxes[name] = (
                Mailbox(name.contact, exercise=name.exercise)
                if row is None
                else _read(row.state, Mailbox)
            )
        return self._boxes[name]

    def put_box(self, name: Box, box: Mailbox) -> None:
        if self._boxes.get(name) is box:
            return
        self._boxes[name] = box
        self._change(
            tables.mailbox,
            name,
            lambda: name._asdict() | {"state": _write(box), "due_ms": digest.next_due_ms(box)},
        )

    def held_boxes(self, exercise: bool) -> list[Box]:
        """The mailboxes that may hold something back."""
        rows = self.connection.execute(
            select(tables.mailbox.c.contact).where(
                tables.mailbox.c.due_ms.is_not(None), tables.mailbox.c.exercise == exercise
            )
        )
        stored = [Box(row.contact, exercise) for row in rows]
        return list(dict.fromkeys([*stored, *(b for b in self._boxes if b.exercise == exercise)]))

    # What is due

    def due_alarms(self, now_ms: int, limit: int) -> list[AlarmKey]:
        """Of these, and of the next three, those whose time has come, the longest overdue first."""
        keys = []
        for row in self._due(tables.alarm, now_ms, limit):
            key = AlarmKey(row.site, Hazard(row.hazard), row.exercise)
            self._alarms.setdefault(key, (_read(row.state, Alarm), _read(row.known, Known)))
            keys.append(key)
        return keys

    def due_cases(self, now_ms: int, limit: int) -> list[str]:
        rows = self._due(tables.escalation, now_ms, limit)
        called: dict[Box, None] = {}
        for row in rows:
            case = Case(_read(row.state, Escalation), row.incident)
            self._cases.setdefault(row.alert, case)
            exercise = case.escalation.exercise
            for rung in case.escalation.rungs:
                if rung.next_ms <= now_ms:
                    called |= {Box(one, exercise): None for one in rung.contacts}
        self._read_boxes(list(dict.fromkeys(box.contact for box in called)))
        # Who has not been told anything just now is told at once, and with a code.
        told = (box for box in called if box in self._boxes)
        at_once = [box.contact for box in told if self._boxes[box].closes_ms <= now_ms]
        self._read_codes(at_once, now_ms)
        return [row.alert for row in rows]

    # What is about to be asked for, in few statements

    def _read_cases(self, alerts: Sequence[str]) -> None:
        for row in self._all(statements.CASES, alerts):
            self._cases.setdefault(row.alert, Case(_read(row.state, Escalation), row.incident))

    def _read_boxes(self, contacts: Sequence[str]) -> None:
        for row in self._all(statements.BOXES, contacts):
            name = Box(row.contact, row.exercise)
            self._boxes.setdefault(name, _read(row.state, Mailbox))

    def _read_codes(self, contacts: Sequence[str], now_ms: int) -> None:
        fresh = [one for one in dict.fromkeys(contacts) if one not in self._codes]
        self._codes |= {one: set() for one in fresh}
        for row in self._all(statements.OPEN_CODES, fresh, since_ms=now_ms - CODE_LASTS_MS):
            self._codes[row.contact].add(row.code)

    def _all(self, wanted: Select[Any], some: Sequence[str], **given: object) -> Iterator[Row[Any]]:
        for begin in range(0, len(some), statements.AT_ONCE):
            names = some[begin : begin + statements.AT_ONCE]
            yield from self.connection.execute(wanted, {"some": names, **given})

    def due_boxes(self, now_ms: int, limit: int) -> list[Box]:
        names = []
        for row in self._due(tables.mailbox, now_ms, limit):
            name = Box(row.contact, row.exercise)
            self._boxes.setdefault(name, _read(row.state, Mailbox))
            names.append(name)
        told = (self._boxes[name].held for name in names)
        self._read_cases([foremost(held).alert for held in told if held])
        self._read_codes([name.contact for name in names], now_ms)
        return names

    def due_incidents(self, now_ms: int, limit: int) -> list[str]:
        return [row.id for row in self._due(tables.incident, now_ms, limit)]

    def _due(self, table: Table, now_ms: int, limit: int) -> Sequence[Row[Any]]:
        return self.connection.execute(
            statements.DUE[table], {"now_ms": now_ms, "limit": limit}
        ).all()

    # Findings

    def take(self, alert: int, number: int, now_ms: int) -> None:
        """A finding of a rule is known from now on."""
        self._taken.append({"of": alert, "nth": number, "now_ms": now_ms})

    # What is only ever added

    def note(
        self,
        incident_id: str,
        alert: str,
        at_ms: int,
        kind: str,
        *,
        who: str = "",
        area: str = "",
        text: str = "",
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """A line of the timeline."""
        self._new.setdefault(tables.timeline, []).append(
            {
                "incident": incident_id,
                "alert": alert,
                "at_ms": at_ms,
                "kind": kind,
                "who": who,
                "area": area,
                "text": text,
                "detail": msgspec.json.encode(detail or {}).decode(),
            }
        )

    def add(self, table: Table, row: dict[str, object]) -> None:
        """A row that is not there yet."""
        self._new.setdefault(table, []).append(row)

    def open_codes(self, contact: str, now_ms: int) -> set[str]:
        """The answer codes that a contact may still use; to be added to by whoever gives one."""
        self._read_codes([contact], now_ms)
        return self._codes[contact]

    def withdraw(self, order: Withdraw, incident_id: str, now_ms: int) -> None:
        """Do not send what has not been sent: what tells of nothing else, and so belongs to the
        incident of that alert."""
        out = tables.outgoing
        rows = self.connection.execute(
            select(out.c.key, out.c.parts).where(
                out.c.incident == incident_id, out.c.done_ms.is_(None)
            )
        )
        for row in rows:
            parts = _read(row.parts, list[Part])
            if all(part.is_withdrawn(order) for part in parts):
                self.connection.execute(
                    update(out)
                    .where(out.c.key == row.key)
                    .values(done_ms=now_ms, outcome="withdrawn")
                )
        for fresh in self._new.get(out, ()):
            parts = _read(str(fresh["parts"]), list[Part])
            if fresh["done_ms"] is None and all(part.is_withdrawn(order) for part in parts):
                fresh.update(done_ms=now_ms, outcome="withdrawn")

    def save(self) -> None:
        """Write all that has changed."""
        for table, changed in self._changed.items():
            state.upsert(self.connection, table, [row() for row in changed.values()])
        if self._taken:
            self.connection.execute(statements.TAKE, self._taken)
        for table, rows in self._new.items():
            self.connection.execute(insert(table), rows)
        self._changed, self._new, self._taken = {}, {}, []

    def next_due_ms(self) -> int | None:
        """When something is due next; after `save`."""
        due = [self.connection.execute(wanted).scalar_one() for wanted in statements.NEXT_DUE]
        return min((at for at in due if at is not None), default=None)

    def _change(self, table: Table, key: object, row: Callable[[], dict[str, object]]) -> None:
        self._changed.setdefault(table, {})[key] = row

    def _one(self, wanted: Select[Any], **given: object) -> Any:
        return self.connection.execute(wanted, given).one_or_none()


def parts_of(parts: Iterable[Part]) -> str:
    """What a message tells of, as it is kept."""
    return _write([*parts])


def read_parts(text: str) -> Iterator[Part]:
    return iter(_read(text, list[Part]))


def _write(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _read(text: str, kind: type[_T]) -> _T:
    return msgspec.json.decode(text, type=kind)
