"""What people say: answers, declines, reports of what was done; and calls that reach nobody. In the
dispatch's transactions."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, select, update

from cloud import database, tables
from cloud.alerts import alarm as alarms
from cloud.alerts import escalation
from cloud.alerts.alarm import Acknowledge
from cloud.alerts.escalation import Answer, Phase, Report
from cloud.alerts.news import News
from cloud.alerts.records import AlarmKey, Records, read_parts
from cloud.alerts.tokens import Tokens

_REMEMBERED_MS: Final = 400 * 86_400_000
"""For how long a provider may repeat a reply."""


class Outcome(NamedTuple):
    """What came of a demand: whether it counted, and a line that says so."""

    ok: bool
    text: str


class Answering(ABC):
    """The part of the dispatch that hears people."""

    _tokens: Tokens

    @abstractmethod
    def begin(self, connection: Connection) -> Records:
        """A view of what is on disk; until the transaction ends nobody else dispatches."""

    @abstractmethod
    def step(
        self, records: Records, key: AlarmKey, given: alarms.Input, now_ms: int, known: Any = None
    ) -> tuple[alarms.Event, ...]:
        """One step of an alarm, and all that follows from it."""

    @abstractmethod
    def escalate(self, records: Records, alert: str, given: escalation.Input, now_ms: int) -> None:
        """One step of an alert's calls."""

    def answer(
        self,
        connection: Connection,
        call: str,
        by: str,
        how: str,
        said: str,
        now_ms: int,
        alerts: Collection[str] | None = None,
    ) -> Outcome:
        """Somebody answers a call, by its id, for all of its alerts or for some. `by` is who, if it
        is known better than by whose call it was; `how` and `said` are kept as proof."""
        records = self.begin(connection)
        row = connection.execute(select(tables.call).filter_by(id=call)).one_or_none()
        if row is None:
            return Outcome(False, "this call is not known")
        if row.answered_ms is not None:
            return Outcome(False, "this call has been answered already")
        counted = [
            self._answered(
                records,
                part.alert,
                Answer(by or row.contact, now_ms, how, said, part.round),
                row.contact,
                now_ms,
            )
            for part in read_parts(row.parts)
            if part.asks and (alerts is None or part.alert in alerts)
        ]
        records.save()
        if alerts is not None and any(one.ok for one in counted):
            return Outcome(True, "answered: the calls of these have ended")
        if any(one.ok for one in counted):
            used = {"answered_ms": now_ms, "answered_by": by or row.contact}
            connection.execute(update(tables.call).where(tables.call.c.id == call).values(used))
            return Outcome(True, "answered: the calls have ended")
        return counted[0] if counted else Outcome(False, "there is nothing to answer")

    def call_of(self, token: str) -> str | None:
        """The call that an answer link's token is for, None if we have not signed it."""
        return self._tokens.read(token)

    def token_of(self, call: str) -> str:
        """What the answer link of a call ends with."""
        return self._tokens.sign(call)

    def decline(
        self,
        connection: Connection,
        call: str,
        by: str,
        how: str,
        said: str,
        now_ms: int,
        alerts: Collection[str] | None = None,
    ) -> Outcome:
        """Somebody who was called cannot act. That is no answer: others are called, at once if
        nobody else of the tier is left. Who had answered takes it back by it."""
        records = self.begin(connection)
        row = records.call(call)
        if row is None:
            return Outcome(False, "this call is not known")
        for part in read_parts(row.parts):
            if alerts is not None and part.alert not in alerts:
                continue
            if part.asks and (case := records.case(part.alert)) is not None:
                records.note(
                    *(case.incident, part.alert, now_ms, "declined"),
                    who=by or row.contact,
                    text=said,
                    detail={"how": how, "contact": row.contact, "round": part.round},
                )
                state = case.escalation
                given: escalation.Input = escalation.Decline(row.contact, part.round)
                if state.phase is Phase.ANSWERED and _is_of(state, row.contact, by):
                    cannot = escalation.Outcome.CANNOT_ACT
                    given = Report(_reporter(state, row), now_ms, how, cannot, None, said)
                self.escalate(records, part.alert, given, now_ms)
        records.save()
        return Outcome(True, "recorded: others are called")

    def unreached(self, connection: Connection, call: str, now_ms: int) -> bool:
        """No channel takes a call: its contact is not waited for. Whether that calls others."""
        records = self.begin(connection)
        row = records.call(call)
        if row is None or row.answered_ms is not None:
            return False
        for part in read_parts(row.parts):
            if part.asks and (case := records.case(part.alert)) is not None:
                records.note(
                    *(case.incident, part.alert, now_ms, "unreached"),
                    who=row.contact,
                    text="no channel takes a message to them",
                )
                given = escalation.Decline(row.contact, part.round, unreached=True)
                self.escalate(records, part.alert, given, now_ms)
        records.save()
        return True

    def report(
        self,
        connection: Connection,
        call: str,
        news: News,
        now_ms: int,
        alerts: Collection[str] | None = None,
    ) -> None:
        """Somebody who was called says how the work stands, or what came of it: a line of the
        timeline of each alert of the call, or of some, and a step of its escalation. Who has not
        answered answers by it."""
        records = self.begin(connection)
        row = records.call(call)
        given = Report(row.contact, now_ms, news.how, news.outcome, news.people, news.said)
        for part in read_parts(row.parts):
            if alerts is not None and part.alert not in alerts:
                continue
            if not part.asks or (case := records.case(part.alert)) is None:
                continue
            detail = {"how": news.how, "contact": row.contact, "round": part.round}
            records.note(
                *(case.incident, part.alert, now_ms, news.kind),
                who=row.contact,
                text=news.said,
                detail=detail | {**news.detail},
            )
            by = _reporter(case.escalation, row)
            of_part = msgspec.structs.replace(given, by=by, round=part.round)
            acts = given.outcome is not escalation.Outcome.CANNOT_ACT
            if acts and case.escalation.phase is Phase.RINGING:
                answer = Answer(row.contact, now_ms, news.how, news.said, part.round)
                self._answered(records, part.alert, answer, row.contact, now_ms)
            self.escalate(records, part.alert, of_part, now_ms)
        records.save()

    def heard_before(self, connection: Connection, name: str, now_ms: int) -> bool:
        """Whether a reply of this name has come before; one that ends in "/" has no name. Asked
        once, it has."""
        if name.endswith("/"):
            return False
        fresh = {"id": name, "at_ms": now_ms}
        done = connection.execute(
            database.insert(connection, tables.heard).values(fresh).on_conflict_do_nothing()
        )
        connection.execute(
            delete(tables.heard).where(tables.heard.c.at_ms < now_ms - _REMEMBERED_MS)
        )
        return not done.rowcount

    def remark(self, connection: Connection, kind: str, who: str, text: str, now_ms: int) -> None:
        """Something that belongs to no alert, and must not be lost."""
        records = self.begin(connection)
        records.note("", "", now_ms, kind, who=who, text=text)
        records.save()

    def acknowledge(
        self, connection: Connection, alert: str, by: str, how: str, said: str, now_ms: int
    ) -> Outcome:
        """Somebody who sees an alert as it stands answers it."""
        records = self.begin(connection)
        outcome = self._answered(records, alert, Answer(by, now_ms, how, said), by, now_ms)
        records.save()
        return outcome

    def _answered(
        self, records: Records, alert: str, answer: Answer, contact: str, now_ms: int
    ) -> Outcome:
        case = records.case(alert)
        if case is None:
            return Outcome(False, f"there is no alert {alert}")
        state = case.escalation
        key = AlarmKey(state.site, state.hazard, state.exercise)
        if records.alarm(key)[0].alert != alert:
            refused = "that alert is over"
        else:
            self.escalate(records, alert, answer, now_ms)
            demand = Acknowledge(answer.by, answer.round)
            events = self.step(records, key, demand, now_ms)
            refused = next((event.refused for event in events if event.refused), "")
        detail = {"how": answer.how, "contact": contact, "round": answer.round}
        records.note(
            *(case.incident, alert, now_ms, "answer"),
            who=answer.by,
            text=answer.said,
            detail=detail | {"refused": refused},
        )
        return Outcome(not refused, refused or "answered: the calls have ended")


def _reporter(state: escalation.Escalation, row: Any) -> str:
    """Who reports by a call: the name under which it was answered, or else whose call it was."""
    if state.answer is not None and _is_of(state, row.contact, row.answered_by or ""):
        return state.answer.by
    return str(row.contact)


def _is_of(state: escalation.Escalation, contact: str, by: str) -> bool:
    """Whether it was they who answered."""
    return state.answer is not None and state.answer.by in (contact, by)
