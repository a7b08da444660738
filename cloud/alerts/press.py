"""What everybody is told of an alert: a CAP document when it is raised, one whenever its level or
stage changes, and one at its end. In the transaction of the dispatch.

An alarm that is held back tells nothing new, and takes back nothing either: that somebody has put
it on a shelf makes no road safe. Its end is told in any case.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import insert, select, update

from cloud import tables
from cloud.alerts import cap, wording
from cloud.alerts.actions import Kind, Part
from cloud.alerts.alarm import Alarm
from cloud.alerts.cap import Action, Publisher, Reference, Words
from cloud.alerts.hazard import Stage
from cloud.alerts.plan import Plan
from cloud.alerts.records import Known, Records, parts_of
from cloud.alerts.wording import News
from cloud.channels import Language, Message
from wire.messages import Level

PUBLIC: Final = "CAP"
"""Stands for a contact where a document goes out; no contact has a name in capitals."""

_ACTIONS: Final = {
    Kind.RAISE: Action.ALERT,
    Kind.RISE: Action.UPDATE,
    Kind.FALL: Action.UPDATE,
    Kind.CLEAR: Action.CANCEL,
}


class Press:
    """Publishes for `publisher`, None for nobody; `channels` take each document as it is made."""

    def __init__(self, publisher: Publisher | None, channels: Iterable[str]) -> None:
        self._publisher = publisher
        self._channels = tuple(channels)

    def publish(
        self,
        records: Records,
        plan: Plan,
        incident: str,
        before: Alarm,
        after: Alarm,
        known: Known,
        now_ms: int,
    ) -> None:
        """What the step of an alarm from `before` to `after` makes known."""
        if self._publisher is None or after.hazard not in cap.EVENTS:
            return  # of equipment the public is told nothing
        if _shown(before) == _shown(after) or (after.hold is not None and after.level is not None):
            return
        table = tables.cap_document
        rows = records.connection.execute(
            select(table).filter_by(alert=after.alert).order_by(table.c.number)
        ).all()
        standing = _standing(rows)
        if (kind := _kind(standing, after)) is None:
            return
        level = after.level or Level[standing[-1].level.upper()]
        cause = {} if kind is Kind.CLEAR else known.cause
        news = News(kind, after.site, after.hazard, level, after.stage, now_ms, cause)
        number = len(rows) + 1
        made = cap.Alert(
            identifier=f"{after.alert}.{number}",
            sender=self._publisher.sender,
            sent_ms=now_ms,
            action=_ACTIONS[kind],
            level=level,
            words=(self._words(plan, news, "zh"), self._words(plan, news, "en")),
            area=plan.site[after.site].place if after.site in plan.site else cap.Area(),
            category=cap.EVENTS[after.hazard].category,
            measured=after.stage is Stage.NOW or kind is Kind.CLEAR,
            exercise=after.exercise,
            references=tuple(Reference(r.sender, r.identifier, r.sent_ms) for r in standing),
            incident=incident,
            readings=() if known.measured is None or kind is Kind.CLEAR else (known.measured,),
        )
        document = cap.document(made, self._publisher.severities)
        records.connection.execute(
            update(table)
            .where(table.c.alert == after.alert, table.c.in_force)
            .values(in_force=False)
        )
        records.connection.execute(
            insert(table).values(
                identifier=made.identifier,
                alert=after.alert,
                number=number,
                sender=made.sender,
                sent_ms=now_ms,
                level=None if after.level is None else after.level.name.lower(),
                stage=after.stage,
                document=document,
                in_force=kind is not Kind.CLEAR,
            )
        )
        told = wording.public(plan, news, plan.language)
        message = Message(
            key=made.identifier,
            title=told.title,
            text=told.text,
            kind=kind,
            at_ms=now_ms,
            language=plan.language,
            level=level.name.lower(),
            incident=incident,
            site=after.site,
            exercise=after.exercise,
            cap=document,
        )
        self._push(records, Part(after.alert, after.round, "", asks=False), message)

    def _words(self, plan: Plan, news: News, tongue: Language) -> Words:
        assert self._publisher is not None
        said = wording.public(plan, news, tongue)
        return Words(
            tongue,
            cap.EVENTS[news.hazard].names[tongue],
            said.title,
            said.text,
            wording.site_name(plan, news.site, tongue),
            sender_name=wording.named(self._publisher.name, self._publisher.name_en, tongue),
        )

    def _push(self, records: Records, part: Part, message: Message) -> None:
        for channel in self._channels:
            one = msgspec.structs.replace(message, key=f"{message.key}/{channel}")
            records.add(
                tables.outgoing,
                {
                    "key": one.key,
                    "incident": message.incident,
                    "contact": PUBLIC,
                    "channel": channel,
                    "parts": parts_of([part]),
                    "message": msgspec.json.encode(one).decode(),
                    "made_ms": message.at_ms,
                    "not_before_ms": message.at_ms,
                    "done_ms": None,
                    "outcome": "",
                    "provider_id": None,
                    "detail": "",
                    "call": None,
                },
            )


def _shown(alarm: Alarm) -> tuple[object, ...]:
    return alarm.alert, alarm.level, alarm.stage, alarm.hold


def _standing(rows: Sequence[Any]) -> list[Any]:
    """The documents since the last one that cancelled."""
    last = max((i for i, row in enumerate(rows) if row.level is None), default=-1)
    return list(rows[last + 1 :])


def _kind(standing: Sequence[Any], after: Alarm) -> Kind | None:
    """What there is to tell, if anything."""
    if not standing:
        return None if after.level is None else Kind.RAISE
    if after.level is None:
        return Kind.CLEAR
    newest = standing[-1]
    before = (Level[newest.level.upper()], Stage(newest.stage).rank)
    now = (after.level, after.stage.rank)
    if before == now:
        return None
    return Kind.RISE if now > before else Kind.FALL
