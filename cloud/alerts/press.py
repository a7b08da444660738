"""What everybody is told of an alert: a CAP document when it is raised, one whenever its level or
stage changes, one when half the life of the last has passed, and one at its end. In the transaction
of the dispatch, so that each comes once wherever the process is killed.

An alarm that is held back tells nothing new, and takes back nothing either: that somebody has put
it on a shelf makes no road safe. What stands is renewed word for word, and its end is told in any
case.

A document ends by itself at its `expires`. After we were away for so long, nothing holds that an
Update or a Cancel could refer to: what is still there is published as a new Alert.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import insert, select, update

from cloud import tables
from cloud.alerts import cap, caparea, publicfacts, publicwords, wording
from cloud.alerts.actions import Kind, Part
from cloud.alerts.alarm import Alarm
from cloud.alerts.cap import Action, Publisher, Reference, Words
from cloud.alerts.hazard import Stage
from cloud.alerts.plan import Plan
from cloud.alerts.publicwords import Advice
from cloud.alerts.records import Known, Records, parts_of
from cloud.alerts.wording import News
from cloud.channels import Language, Message
from wire.messages import Level

log: Final = logging.getLogger("shuichi.dispatch")

PUBLIC: Final = "CAP"
"""Stands for a contact where a document goes out; no contact has a name in capitals."""

_DOCUMENTS: Final = tables.cap_document
_WITHOUT_TEXT: Final = select(*(one for one in _DOCUMENTS.c if one is not _DOCUMENTS.c.document))


_LOOK_AGAIN_MS: Final = 600_000
"""Before a document that cannot be renewed now is tried again."""


class Matter(NamedTuple):
    """What there is to publish of: how an alarm stands and what is known of it, the plan of its
    alert, the incident, and the time (UTC, ms)."""

    alarm: Alarm
    known: Known
    plan: Plan
    incident: str
    now_ms: int


class _Issue(NamedTuple):
    """A document on its way. `level` None: it cancels. `rows`: all that was published before it of
    the alert; `references`: what of that it replaces or ends. `repeats`: it says word for word what
    that document says, "" for none."""

    kind: Kind
    level: Level | None
    stage: Stage
    sent_ms: int
    expires_ms: int
    rows: Sequence[Any]
    references: tuple[Reference, ...]
    repeats: str = ""

    @property
    def number(self) -> int:
        return len(self.rows) + 1

    @property
    def action(self) -> Action:
        if self.level is None:
            return Action.CANCEL
        return Action.UPDATE if self.references else Action.ALERT

    @property
    def shown_level(self) -> Level:
        """That of what it cancels, where it cancels."""
        return self.level or Level[self.rows[-1].level.upper()]


class Press:
    """Publishes for `publisher`, None for nobody; `channels` take each document as it is made.
    `answer_url` is where our own pages begin, "" for none."""

    def __init__(
        self, publisher: Publisher | None, channels: Iterable[str], answer_url: str = ""
    ) -> None:
        self._publisher = publisher
        self._channels = tuple(channels)
        self._answer_url = answer_url

    def publish(self, records: Records, before: Alarm, matter: Matter) -> None:
        """What the step of an alarm from `before` on makes known."""
        after = matter.alarm
        if self._publisher is None or after.hazard not in cap.EVENTS:
            return  # of equipment the public is told nothing
        if _shown(before) == _shown(after) or (after.hold is not None and after.level is not None):
            return
        rows = _rows(records, after.alert)
        kind = _kind(_standing(rows, matter.now_ms), after)
        if kind is not None:
            issue = self._issue(rows, kind, after.level, after.stage, matter.now_ms)
            self._issued(records, matter, issue)
        elif after.level is None:
            self.lapse(records, after.alert)

    def renew(self, records: Records, alert: str, matter: Matter) -> None:
        """The document of an alert in force has passed half of its life."""
        if self._publisher is None:
            # It may be a slip in the config: it is renewed, or ended, once that is mended.
            self._put_off(records, alert, matter.now_ms + _LOOK_AGAIN_MS)
            return
        alarm, rows = matter.alarm, _rows(records, alert)
        newest = next((row for row in reversed(rows) if row.in_force), None)
        over = alarm.alert != alert or alarm.level is None
        if newest is None or (over and not _standing(rows, matter.now_ms)):
            self.lapse(records, alert)
            return
        if over:  # it ended while nobody published
            alarm = msgspec.structs.replace(alarm, alert=alert, level=None)
            issue = self._issue(rows, Kind.CLEAR, None, Stage(newest.stage), matter.now_ms)
        elif alarm.hold is None:
            issue = self._issue(rows, Kind.RAISE, alarm.level, alarm.stage, matter.now_ms)
        else:
            level, stage = Level[newest.level.upper()], Stage(newest.stage)
            issue = self._issue(rows, Kind.RAISE, level, stage, matter.now_ms)
            issue = issue._replace(repeats=newest.identifier)
        self._issued(records, matter._replace(alarm=alarm), issue)

    @staticmethod
    def _put_off(records: Records, alert: str, due_ms: int) -> None:
        records.connection.execute(
            update(_DOCUMENTS)
            .where(_DOCUMENTS.c.alert == alert, _DOCUMENTS.c.in_force)
            .values(due_ms=due_ms)
        )

    def lapse(self, records: Records, alert: str) -> None:
        """Nothing stands behind a document any more: it is not renewed."""
        records.connection.execute(
            update(_DOCUMENTS)
            .where(_DOCUMENTS.c.alert == alert, _DOCUMENTS.c.in_force)
            .values(in_force=False, due_ms=None)
        )

    def _issue(
        self, rows: Sequence[Any], kind: Kind, level: Level | None, stage: Stage, now_ms: int
    ) -> _Issue:
        assert self._publisher is not None
        standing = _standing(rows, now_ms)
        sent_ms, life_ms = now_ms, self._publisher.expires_ms
        for row in standing:
            # Never before what it refers to, though the clock was set back; a clock that was off by
            # more is no measure.
            if sent_ms < row.sent_ms <= now_ms + life_ms:
                sent_ms = row.sent_ms
        if level is None:
            ends = [row.expires_ms for row in standing if row.expires_ms is not None]
            expires_ms = max([sent_ms + self._publisher.keep_cancel_ms, *ends])
        else:
            expires_ms = sent_ms + life_ms
        references = tuple(Reference(r.sender, r.identifier, r.sent_ms) for r in standing)
        return _Issue(kind, level, stage, sent_ms, expires_ms, rows, references)

    def _issued(self, records: Records, matter: Matter, issue: _Issue) -> None:
        """Make a document, keep it, and hand it to the channels. What cannot be made is told in the
        log and the timeline, and tried again: it must cost no person a call."""
        assert self._publisher is not None
        alert, life_ms = matter.alarm.alert, self._publisher.expires_ms
        identifier = f"{alert}.{issue.number}"
        matter = matter._replace(known=publicfacts.latest(records, matter.alarm, matter.known))
        in_force = update(_DOCUMENTS).where(_DOCUMENTS.c.alert == alert, _DOCUMENTS.c.in_force)
        news = self._news(matter, issue)
        try:
            document = self._made(records, matter, issue, news)
        except ValueError as error:
            log.error("%s: no CAP document could be made: %s", identifier, error)
            records.note(matter.incident, alert, matter.now_ms, "cap", text=str(error)[:500])
            self._put_off(records, alert, matter.now_ms + _LOOK_AGAIN_MS)
            return
        records.connection.execute(in_force.values(in_force=False, due_ms=None))
        holds = issue.level is not None
        records.connection.execute(
            insert(_DOCUMENTS).values(
                identifier=identifier,
                alert=alert,
                number=issue.number,
                sender=self._publisher.sender,
                sent_ms=issue.sent_ms,
                level=None if issue.level is None else issue.level.name.lower(),
                stage=issue.stage,
                document=document,
                in_force=holds,
                expires_ms=issue.expires_ms,
                # Half of its life is left then: so long we may be away without a gap.
                due_ms=matter.now_ms + life_ms // 2 if holds else None,
            )
        )
        told = wording.public(matter.plan, news, matter.plan.language)
        message = Message(
            key=identifier,
            title=told.title,
            text=told.text,
            kind=issue.kind,
            at_ms=matter.now_ms,
            language=matter.plan.language,
            level=issue.shown_level.name.lower(),
            incident=matter.incident,
            site=matter.alarm.site,
            exercise=matter.alarm.exercise,
            cap=document,
        )
        self._push(records, Part(alert, matter.alarm.round, "", asks=False), message)

    def _made(self, records: Records, matter: Matter, issue: _Issue, news: News) -> bytes:
        assert self._publisher is not None
        alarm, plan, known = matter.alarm, matter.plan, matter.known
        identifier = f"{alarm.alert}.{issue.number}"
        if issue.repeats:
            earlier = records.connection.execute(
                select(_DOCUMENTS.c.document).filter_by(identifier=issue.repeats)
            ).scalar_one()
            return cap.again(
                bytes(earlier), identifier, issue.sent_ms, issue.references, issue.expires_ms
            )
        over = issue.level is None
        if over:
            advice = publicwords.at_the_end(alarm.hazard)
        else:
            written = plan.public_instruction
            advice = publicwords.advice(alarm.hazard, news.level, issue.stage, written)
        made = cap.Alert(
            identifier=identifier,
            sender=self._publisher.sender,
            sent_ms=issue.sent_ms,
            action=issue.action,
            level=news.level,
            words=tuple(self._words(plan, news, advice, one) for one in cap.LANGUAGES),
            area=plan.site[alarm.site].place if alarm.site in plan.site else caparea.Area(),
            category=cap.EVENTS[alarm.hazard].category,
            measured=issue.stage is Stage.NOW or over,
            exercise=alarm.exercise,
            references=issue.references,
            incident=matter.incident,
            responses=advice.responses,
            effective_ms=issue.sent_ms,
            onset_ms=_onset_ms(alarm, issue),
            expires_ms=issue.expires_ms,
            web=self._web(identifier),
            readings=() if known.measured is None or over else (known.measured,),
        )
        return cap.document(made, self._publisher.severities)

    def _web(self, identifier: str) -> str:
        assert self._publisher is not None
        if self._publisher.web is not None:
            return self._publisher.web
        return f"{self._answer_url}/cap/{identifier}" if self._answer_url else ""

    @staticmethod
    def _news(matter: Matter, issue: _Issue) -> News:
        plan, known, alarm = matter.plan, matter.known, matter.alarm
        cause: dict[Language, str] = {}
        if issue.level is not None:
            cause = {
                one: wording.dated(plan, known, matter.now_ms, one)
                for one in cap.LANGUAGES
                if known.cause.get(one)
            }
        return News(
            *(issue.kind, alarm.site, alarm.hazard, issue.shown_level),
            *(issue.stage, matter.now_ms, cause),
        )

    def _words(self, plan: Plan, news: News, advice: Advice, tongue: Language) -> Words:
        assert self._publisher is not None
        publisher = self._publisher
        said = wording.public(plan, news, tongue)
        name = wording.site_name(plan, news.site, tongue)
        site = plan.site.get(news.site)
        values = {
            **{key: one[tongue] for key, one in publicwords.UNNAMED.items()},
            **({key: one.of(tongue) for key, one in site.values.items()} if site else {}),
            "site": name,
        }
        return Words(
            tongue,
            cap.EVENTS[news.hazard].names[tongue],
            said.title,
            said.text,
            name,
            wording.fill(advice.of(tongue), values),
            wording.named(publisher.name, publisher.name_en, tongue).strip() or publisher.sender,
            wording.named(publisher.contact, publisher.contact_en, tongue),
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
                    "sends": None,
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


def _rows(records: Records, alert: str) -> Sequence[Any]:
    """All that was published of an alert, in order, without its text."""
    wanted = _WITHOUT_TEXT.where(_DOCUMENTS.c.alert == alert).order_by(_DOCUMENTS.c.number)
    return records.connection.execute(wanted).all()


def _standing(rows: Sequence[Any], now_ms: int) -> list[Any]:
    """The documents since the last one that cancelled that have not ended by themselves."""
    last = max((i for i, row in enumerate(rows) if row.level is None), default=-1)
    return [row for row in rows[last + 1 :] if row.expires_ms is None or row.expires_ms > now_ms]


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


def _onset_ms(alarm: Alarm, issue: _Issue) -> int | None:
    """Since when it is happening; None for what is only expected: when that will be, nobody
    knows to the hour."""
    if issue.stage is not Stage.NOW or issue.level is None:
        return None
    seen = [row for row in issue.rows if Stage(row.stage) is Stage.NOW]
    since = seen[0].sent_ms if seen else issue.sent_ms
    if alarm.began_ms is not None and len(seen) == len(issue.rows):
        since = alarm.began_ms  # it was never a forecast
    return min(since, issue.sent_ms)
