"""What the dispatch has on disk, as one transaction sees it: read when it is asked for, changed in
memory, and written by `save` in a few statements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, Table, select, update

from cloud import state, tables
from cloud.alerts import alarm as alarms
from cloud.alerts import escalation, incident, statements
from cloud.alerts.actions import Part, Withdraw, foremost
from cloud.alerts.alarm import Alarm
from cloud.alerts.escalation import Escalation
from cloud.alerts.hazard import Hazard
from cloud.alerts.holdrecords import HoldRecords
from cloud.alerts.incident import Incident
from cloud.alerts.mailboxes import Box, Mailboxes
from cloud.channels import Language, Measurement

CODE_LASTS_MS: Final = 7 * 86_400_000
"""For how long a reply by SMS or keypress can still mean a call: there are 10,000 codes only."""


class AlarmKey(NamedTuple):
    """An exercise has alarms of its own beside the real ones."""

    site: str
    hazard: Hazard
    exercise: bool = False


class Known(msgspec.Struct, frozen=True, gc=False):
    """What there is to say of an alarm's cause: figures by the names of `wording.VALUES`, the cause
    in each language, and the value that it goes back to. `since_ms` is since when it lasts, of what
    is no value."""

    figures: dict[str, str] = {}
    cause: dict[Language, str] = {}
    measured: Measurement | None = None
    since_ms: int | None = None


Sayings = Mapping[str, Known]
"""What the sources of an alarm have said, by their names."""

_SAYINGS: Final = msgspec.json.Decoder(dict[str, Known])
_ESCALATION: Final = msgspec.json.Decoder(Escalation)
_ALARM: Final = msgspec.json.Decoder(Alarm)
_INCIDENT: Final = msgspec.json.Decoder(Incident)
_PARTS: Final = msgspec.json.Decoder(list[Part])
_encode: Final = msgspec.json.Encoder().encode


def foremost_of(alarm: Alarm, sayings: Sayings) -> Known:
    """What the worst source has said; the newest of those that are equal."""

    def weight(name: str) -> tuple[int, int, int]:
        one = alarm.sources.get(name)
        return (0, 0, 0) if one is None else (one.level or 0, one.stage.rank, one.at_ms)

    return sayings[max(sayings, key=weight)] if sayings else Known()


_CASE: Final = ("alert", "incident", "state", "due_ms")
"""Columns of an escalation."""


class Case(NamedTuple):
    """The escalation of an alert and the incident that it belongs to."""

    escalation: Escalation
    incident: str


class Records:
    """One transaction's view."""

    def __init__(self, connection: Connection, off_delay_ms: int) -> None:
        self.connection = connection
        self.rule = alarms.Rule(off_delay_ms=off_delay_ms)
        self.boxes = Mailboxes(connection)
        self.holds = HoldRecords(connection)
        self._sites: set[str] = set()
        self._alarms: dict[AlarmKey, tuple[Alarm, Sayings]] = {}
        self._cases: dict[str, Case | None] = {}
        self._incidents: dict[str, tuple[Incident, bool]] = {}
        self._open: dict[tuple[str, bool], Incident] = {}
        self._changed_alarms: dict[AlarmKey, None] = {}  # in order
        self._changed_cases: dict[str, None] = {}
        self._changed_incidents: dict[str, dict[str, object]] = {}
        self._taken: list[dict[str, object]] = []
        self._codes: dict[str, set[str]] = {}
        self._new: dict[Table, list[dict[str, object]]] = {}

    # Alarms

    def alarm(self, key: AlarmKey) -> tuple[Alarm, Sayings]:
        """How a hazard of a site stands, and what is known of it."""
        self._read_sites([key.site])
        if key not in self._alarms:
            self._alarms[key] = (Alarm(key.site, key.hazard, exercise=key.exercise), {})
        return self._alarms[key]

    def alarms(self) -> Iterable[Alarm]:
        """Those that this transaction has looked at, as they stand now."""
        return [one for one, _ in self._alarms.values()]

    def put_alarm(self, key: AlarmKey, alarm: Alarm, known: Sayings) -> None:
        self._alarms[key] = (alarm, known)
        self._changed_alarms[key] = None

    # Escalations

    def case(self, alert: str) -> Case | None:
        """The escalation of an alert, None if there is none."""
        if alert not in self._cases:
            self._read_cases([alert])
        return self._cases[alert]

    def put_case(self, case: Case) -> None:
        alert = case.escalation.alert
        self._cases[alert] = case
        self._changed_cases[alert] = None

    # Incidents

    def open_incident(self, site: str, exercise: bool) -> Incident | None:
        """The incident of a site that is not closed."""
        self._read_sites([site])
        return self._open.get((site, exercise))

    def incident(self, name: str) -> tuple[Incident, bool]:
        """An incident that exists, and whether it is an exercise."""
        if name not in self._incidents:
            row = self._one(statements.INCIDENT, id=name)
            assert row is not None
            self._incidents[name] = (_INCIDENT.decode(row.state), row.exercise)
        return self._incidents[name]

    def put_incident(
        self, one: Incident, exercise: bool, *, window_ms: int, closed_ms: int | None = None
    ) -> None:
        self._read_sites([one.site])
        self._incidents[one.id] = (one, exercise)
        if closed_ms is None:
            self._open[one.site, exercise] = one
        elif self._open.get((one.site, exercise), one).id == one.id:
            self._open.pop((one.site, exercise), None)
        self._changed_incidents[one.id] = {
            "id": one.id,
            "site": one.site,
            "exercise": exercise,
            "state": _write(one),
            "opened_ms": one.opened_ms,
            "closed_ms": closed_ms,
            "due_ms": None if closed_ms else incident.next_due_ms(one, window_ms),
        }

    # What is due

    def due_alarms(self, now_ms: int, limit: int) -> list[AlarmKey]:
        """Of these, and of the next four, those whose time has come, the longest overdue first."""
        rows = self._due(tables.alarm, now_ms, limit)
        self.read_sites([row.site for row in rows])
        return [AlarmKey(row.site, Hazard(row.hazard), row.exercise) for row in rows]

    def due_cases(self, now_ms: int, limit: int) -> list[str]:
        rows = self._due(tables.escalation, now_ms, limit)
        alerts: list[str] = []
        called: dict[Box, str] = {}
        for alert, incident_id, content, _ in rows:
            alerts.append(alert)
            if alert not in self._cases:
                self._cases[alert] = Case(_ESCALATION.decode(content), incident_id)
            case = self._cases[alert]
            assert case is not None
            one = case.escalation
            for rung in one.rungs:
                if rung.next_ms <= now_ms:
                    for contact in rung.contacts:
                        called.setdefault(Box(contact, one.exercise), one.site)
        self.boxes.read(called)
        # Who has not been told anything just now is told at once, and with a code.
        at_once = [box for box in called if self.boxes.box(box).closes_ms <= now_ms]
        self._read_letters(at_once, [called[box] for box in at_once], now_ms)
        return alerts

    def due_boxes(self, now_ms: int, limit: int) -> list[Box]:
        names = self.boxes.due(now_ms, limit)
        self._read_letters(names, [], now_ms)
        return names

    def due_incidents(self, now_ms: int, limit: int) -> list[str]:
        return [row.id for row in self._due(tables.incident, now_ms, limit)]

    def due_documents(self, now_ms: int, limit: int) -> list[str]:
        """The alerts whose CAP document is to be renewed."""
        return [row.alert for row in self._due(tables.cap_document, now_ms, limit)]

    def due_drills(self, now_ms: int, limit: int) -> list[str]:
        """The exercises by script that have something to do."""
        return [row.id for row in self._due(tables.drill, now_ms, limit)]

    def _due(self, table: Table, now_ms: int, limit: int) -> Sequence[Any]:
        return self.connection.execute(
            statements.DUE[table], {"now_ms": now_ms, "limit": limit}
        ).all()

    # What is about to be asked for, in few statements

    def read_sites(self, sites: Sequence[str]) -> None:
        """All that is open at these sites."""
        self._read_sites(sites)
        some = set(sites)
        alerts = [one.alert for key, (one, _) in self._alarms.items() if key.site in some]
        self._read_cases([alert for alert in alerts if alert])

    def _read_sites(self, sites: Sequence[str]) -> None:
        wanted = [one for one in dict.fromkeys(sites) if one not in self._sites]
        self._sites.update(wanted)
        for row in statements.some(self.connection, statements.ALARMS, wanted):
            key = AlarmKey(row.site, Hazard(row.hazard), row.exercise)
            self._alarms[key] = (_ALARM.decode(row.state), _SAYINGS.decode(row.known))
        for exercise, content in statements.some(
            self.connection, statements.OPEN_INCIDENTS, wanted
        ):
            found = _INCIDENT.decode(content)
            self._incidents.setdefault(found.id, (found, exercise))
            self._open[found.site, exercise] = self._incidents[found.id][0]

    def _read_cases(self, alerts: Sequence[str]) -> None:
        wanted = [one for one in dict.fromkeys(alerts) if one not in self._cases]
        self._cases |= dict.fromkeys(wanted)
        for alert, incident_id, content in statements.some(
            self.connection, statements.CASES, wanted
        ):
            self._cases[alert] = Case(_ESCALATION.decode(content), incident_id)

    def _read_letters(self, names: Sequence[Box], sites: Sequence[str], now_ms: int) -> None:
        """What it takes to write to these, of what is kept for them and of these sites."""
        self.boxes.read_kept(names)
        kept = [sends for sends in map(self.boxes.kept, names) if sends]
        self._read_cases([foremost(sends).alert for sends in kept])
        of_one = (sends[0].site for sends in kept if sends[0].site == sends[-1].site)
        self._read_sites([*sites, *of_one])
        self._read_codes([name.contact for name in names], now_ms)

    def _read_codes(self, contacts: Sequence[str], now_ms: int) -> None:
        fresh = [one for one in dict.fromkeys(contacts) if one not in self._codes]
        self._codes |= {one: set() for one in fresh}
        since_ms = now_ms - CODE_LASTS_MS
        for contact, code in statements.some(
            self.connection, statements.OPEN_CODES, fresh, since_ms=since_ms
        ):
            self._codes[contact].add(code)

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

    def call(self, name: str) -> Any:
        """A message that asks for an answer, None if there is none of that id."""
        wanted = select(tables.call).where(tables.call.c.id == name)
        return self.connection.execute(wanted).one_or_none()

    def open_codes(self, contact: str, now_ms: int) -> set[str]:
        """The answer codes that a contact may still use; to be added to by whoever gives one."""
        self._read_codes([contact], now_ms)
        return self._codes[contact]

    def withdraw(self, order: Withdraw, case: Case, now_ms: int) -> None:
        """Do not send what has not been sent: what tells of nothing else, and so belongs to the
        incident of that alert."""
        told = case.escalation.told
        self.boxes.withdraw(order, [Box(one, case.escalation.exercise) for one in told])
        out = tables.outgoing
        rows = self.connection.execute(
            select(out.c.key, out.c.parts, out.c.contact).where(
                out.c.incident == case.incident, out.c.done_ms.is_(None)
            )
        )
        for row in rows:
            parts = _PARTS.decode(row.parts)
            if all(order.ends(part, row.contact) for part in parts):
                self.connection.execute(
                    update(out)
                    .where(out.c.key == row.key)
                    .values(done_ms=now_ms, outcome="withdrawn")
                )
        for fresh in self._new.get(out, ()):
            parts = _PARTS.decode(str(fresh["parts"]))
            contact = str(fresh["contact"])
            if fresh["done_ms"] is None and all(order.ends(part, contact) for part in parts):
                fresh.update(done_ms=now_ms, outcome="withdrawn")

    def save(self) -> None:
        """Write all that has changed."""
        changed = [self._alarm_row(key) for key in self._changed_alarms]
        state.upsert(self.connection, tables.alarm, changed)
        self.holds.save()
        cases = [self._case_row(alert) for alert in self._changed_cases]
        state.upsert_rows(self.connection, tables.escalation, _CASE, cases, fixed=("incident",))
        state.upsert(self.connection, tables.incident, self._changed_incidents.values())
        self.boxes.save()
        if self._taken:
            self.connection.execute(statements.TAKE, self._taken)
        for table, rows in self._new.items():
            state.insert(self.connection, table, rows)

    def next_due_ms(self) -> int | None:
        """When something is due next; after `save`."""
        due = [self.connection.execute(wanted).scalar_one() for wanted in statements.NEXT_DUE]
        return min((at for at in due if at is not None), default=None)

    def _alarm_row(self, key: AlarmKey) -> dict[str, object]:
        alarm, known = self._alarms[key]
        return {
            **key._asdict(),
            "state": _write(alarm),
            "known": _write(known),
            "due_ms": alarms.next_due_ms(alarm, self.rule),
        }

    def _case_row(self, alert: str) -> tuple[object, ...]:
        """By the columns `_CASE`."""
        case = self._cases[alert]
        assert case is not None
        one = case.escalation
        return alert, case.incident, _write(one), escalation.next_due_ms(one)

    def _one(self, wanted: Select[Any], **given: object) -> Any:
        return self.connection.execute(wanted, given).one_or_none()


def parts_of(parts: Iterable[Part]) -> str:
    """What a message tells of, as it is kept."""
    return _write([*parts])


def read_parts(text: str) -> Iterator[Part]:
    return iter(_PARTS.decode(text))


def _write(value: object) -> str:
    return _encode(value).decode()
