"""What the rules know, and what became of it: alerts, escalations, messages, answers."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
)

from cloud.tables.base import metadata

rule_state: Final = Table(
    "rule_state",
    metadata,
    Column("rule", String, primary_key=True),
    Column("part", String, primary_key=True),
    Column("gateway", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("sensor", String, primary_key=True),
    Column("state", String, nullable=False),  # JSON
    sqlite_with_rowid=False,
)
"""What each rule remembers of each place: see `alerts.watch`."""

alert: Final = Table(
    "alert",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule", String, nullable=False),
    Column("part", String, nullable=False),
    Column("hazard", String, nullable=False),
    Column("level", String, nullable=False),
    Column("gateway", String, nullable=False),
    Column("site", String, nullable=False),
    Column("sensor", String, nullable=False),
    Column("quantity", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("raised_at_ms", BigInteger, nullable=False),
    Column("raised_value", Float),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("cleared_at_ms", BigInteger),
    Column("cleared_value", Float),
    Index("ix_alert_open", "rule", "part", "gateway", "site", "sensor", "cleared_at_ms"),
)
"""One row an episode: from the first level until the rule is normal again. `level` is the latest
that was not normal."""

alert_change: Final = Table(
    "alert_change",
    metadata,
    Column("alert", ForeignKey(alert.c.id), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("level", String),  # NULL: normal again
    Column("value", Float),
    Column("threshold", Float),
    Column("text", String, nullable=False),
    Column("text_zh", String, nullable=False),
    Column("parts", String, nullable=False),  # JSON
    Column("taken_at_ms", BigInteger, index=True),  # NULL: the alarm does not know of it yet
    sqlite_with_rowid=False,
)
"""How the level of each episode changed, and by what."""

finding_now: Final = Table(
    "finding_now",
    metadata,
    Column("rule", String, primary_key=True),
    Column("part", String, primary_key=True),
    Column("gateway", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("sensor", String, primary_key=True),
    Column("finding", String, nullable=False),  # JSON
    Column("trend", String),  # rising, steady, falling; NULL: not known
    Index("ix_finding_now_site", "site", "gateway"),
    sqlite_with_rowid=False,
)
"""What each rule that is not normal finds at present, by the newest good reading: see
`alerts.episodes.save_present`."""

plan: Final = Table(
    "plan",
    metadata,
    Column("version", String, primary_key=True),
    Column("content", String, nullable=False),  # JSON
    Column("used_ms", BigInteger),  # when it last came into force
)
"""Every response plan that was ever used: what runs keeps to the one it began with."""

alarm: Final = Table(
    "alarm",
    metadata,
    Column("site", String, primary_key=True),
    Column("hazard", String, primary_key=True),
    Column("exercise", Boolean, primary_key=True),
    Column("state", String, nullable=False),  # JSON
    Column("known", String, nullable=False),  # JSON: what there is to say of it
    Column("due_ms", BigInteger, index=True),
)
"""How each hazard of each site stands: see `alerts.alarm`."""

escalation: Final = Table(
    "escalation",
    metadata,
    Column("alert", String, primary_key=True),
    Column("incident", String, nullable=False, index=True),
    Column("state", String, nullable=False),  # JSON
    Column("due_ms", BigInteger, index=True),
)
"""How far the calls of each alert have come: see `alerts.escalation`."""

incident: Final = Table(
    "incident",
    metadata,
    Column("id", String, primary_key=True),
    Column("site", String, nullable=False),
    Column("exercise", Boolean, nullable=False),
    Column("state", String, nullable=False),  # JSON
    Column("opened_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
    Column("due_ms", BigInteger, index=True),
    Index("ix_incident_open", "site", "exercise", "closed_ms"),
)
"""What came together at one site: see `alerts.incident`."""

mailbox: Final = Table(
    "mailbox",
    metadata,
    Column("contact", String, primary_key=True),
    Column("exercise", Boolean, primary_key=True),
    Column("state", String, nullable=False),  # JSON
    Column("due_ms", BigInteger, index=True),
)
"""How each contact stands: see `alerts.digest`."""

held: Final = Table(
    "held",
    metadata,
    Column("contact", String, primary_key=True),
    Column("exercise", Boolean, primary_key=True),
    Column("number", Integer, primary_key=True),  # in order
    Column("sends", String, nullable=False),  # JSON
    sqlite_with_rowid=False,
)
"""What a mailbox keeps for the next digest."""

timeline: Final = Table(
    "timeline",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("incident", String, nullable=False, index=True),
    Column("alert", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("who", String, nullable=False),
    Column("area", String, nullable=False),
    Column("text", String, nullable=False),
    Column("detail", String, nullable=False),  # JSON
)
"""What happened in each incident; rows are only ever added."""

secret: Final = Table(
    "secret",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""What this deployment signs with, made when it is first needed."""

call: Final = Table(
    "call",
    metadata,
    Column("id", String, primary_key=True),
    Column("contact", String, nullable=False),
    Column("code", String, nullable=False),
    Column("parts", String, nullable=False),  # JSON: what an answer answers
    Column("exercise", Boolean, nullable=False),
    Column("made_ms", BigInteger, nullable=False, index=True),
    Column("answered_ms", BigInteger),
    Column("answered_by", String),
    Index("ix_call_open", "contact", "answered_ms", "made_ms", "code"),
)
"""A message that asks for an answer, whatever channels carry it. It can be answered once."""

outgoing: Final = Table(
    "outgoing",
    metadata,
    Column("key", String, primary_key=True),
    Column("incident", String, nullable=False, index=True),
    Column("contact", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("parts", String, nullable=False),  # JSON: what it tells of
    Column("message", String, nullable=False),  # JSON; "" until it is handed over, with `sends`
    Column("sends", String),  # JSON: what it is composed of when it is handed over
    Column("made_ms", BigInteger, nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),  # delivered, refused or withdrawn
    Column("outcome", String, nullable=False),  # "", delivered, refused, withdrawn
    Column("provider_id", String),
    Column("detail", String, nullable=False),
    Column("call", String, index=True),
    Index("ix_outgoing_due", "channel", "done_ms", "not_before_ms"),
)
"""What is handed to the channels, one row a message and channel."""

hold: Final = Table(
    "hold",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),  # what its alarms show
    Column("site", String, nullable=False),  # of these four, "" for what it does not name
    Column("area", String, nullable=False),
    Column("gateway", String, nullable=False),
    Column("hazard", String, nullable=False),
    Column("exercise", Boolean, nullable=False),
    Column("begin_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("planned", Boolean, nullable=False),  # by the clock on the wall, not for so long
    Column("up_to", String, nullable=False),
    Column("who", String, nullable=False),
    Column("how", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger),  # when it was last seen in force; NULL: it has not begun
    Column("ended_ms", BigInteger, index=True),  # NULL: it is in force, or ahead
    Column("ended_by", String),  # NULL: its time was over
    Column("ended_why", String),
)
"""What people have held back: see `alerts.holds`. Rows are never deleted: their numbers only
grow."""

knowledge: Final = Table(
    "knowledge",
    metadata,
    Column("contact", String, primary_key=True),
    Column("exercise", Boolean, primary_key=True),
    Column("alert", String, primary_key=True),
    Column("key", String, nullable=False, index=True),  # of `outgoing`
    Column("state", String, nullable=False),  # JSON
    Column("at_ms", BigInteger, nullable=False),
    Column("delivered", Boolean, nullable=False),  # a channel has taken one message of it at least
    Index("ix_knowledge_alert", "alert", "delivered"),
    sqlite_with_rowid=False,
)
"""What each contact was told last of each alert: see `alerts.handover`."""

heard: Final = Table(
    "heard",
    metadata,
    Column("id", String, primary_key=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
)
"""Replies that a provider has passed on, by its own names: one that comes again counts once."""

cap_document: Final = Table(
    "cap_document",
    metadata,
    Column("identifier", String, primary_key=True),
    Column("alert", String, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("sender", String, nullable=False),
    Column("sent_ms", BigInteger, nullable=False),
    Column("level", String),  # NULL: it cancels those before
    Column("stage", String, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("in_force", Boolean, nullable=False, index=True),
    Column("expires_ms", BigInteger, index=True),  # NULL: it names no end
    Column("due_ms", BigInteger, index=True),  # when it is to be renewed
)
"""What was published of each alert, as CAP: see `alerts.press`."""

duty_change: Final = Table(
    "duty_change",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("contact", String, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("ends_ms", BigInteger, nullable=False, index=True),
    Column("removed_ms", BigInteger),
    Column("calendar", String, nullable=False),
    Column("change", String, nullable=False),  # JSON, all but the number and the removal time
)
"""Absences, covers, swaps and imported rosters, those that are over too: see
`alerts.dutychanges`."""

drill: Final = Table(
    "drill",
    metadata,
    Column("id", String, primary_key=True),
    Column("began_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, index=True),  # NULL: it runs
    Column("state", String, nullable=False),  # JSON
    Column("due_ms", BigInteger, index=True),
)
"""Exercises that a script leads: see `alerts.drills`."""
