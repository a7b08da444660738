"""The tables in which the cloud remembers. What changes here needs a step in `cloud.migrations`.
`cloud.store.sqlite` has its own beside them."""

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
    MetaData,
    String,
    Table,
)

metadata: Final = MetaData(
    naming_convention={  # a constraint that is to be changed one day needs a name
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

stream: Final = Table(
    "stream",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("readings", BigInteger, nullable=False),
    Column("redelivered", BigInteger, nullable=False),
    Column("sealed", BigInteger, nullable=False),
    Column("readings_sealed", BigInteger, nullable=False),
    Column("first_at_ms", BigInteger),
    Column("last_at_ms", BigInteger),
    Column("newest_ms", BigInteger),
    Column("hole", BigInteger),
    Column("hole_since_ms", BigInteger),
    Column("version", BigInteger, nullable=False),  # counts the commits that changed the stream
    sqlite_with_rowid=False,
)
"""What is known of one life of an outbox, beside its intervals: see `ledger.Stream`."""

lease: Final = Table(
    "lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("until_ms", BigInteger, nullable=False),  # by the database's clock
    Column("generation", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Who does what only one process may do: see `cloud.shards`."""

ledger: Final = Table(
    "ledger",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The batches that the store has, as closed intervals."""

gateway: Final = Table(
    "gateway",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("shard", String, nullable=False),
    Column("state", String, nullable=False),
    Column("stream", String),  # NULL, with `pending`: it has not said, only the broker of it
    Column("pending", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
)
"""What each gateway last said of itself, or the broker of it."""

interlock: Final = Table(
    "interlock",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("wanted", String, nullable=False),
    Column("confirmed", String),
    Column("depth", Float),
    Column("cause", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""What each interlock last wanted and its signal last showed."""

event_log: Final = Table(
    "event",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("batch", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("site", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", String, nullable=False),
    Column("detail", String, nullable=False),  # JSON
)
"""The events of the gateways; rows are only ever added."""

gap: Final = Table(
    "gap",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("batch", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("reason", String, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("readings", BigInteger),  # NULL: nobody knows
    Column("batches", String, nullable=False),  # JSON: intervals of numbers that never come
)
"""The losses that gateways have declared."""

quarantine: Final = Table(
    "quarantine",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256, see `quarantine.Case.digest`
    Column("kind", String, nullable=False),  # message, reading, event, state
    Column("reason", String, nullable=False),
    Column("words", String, nullable=False),
    Column("gateway", String, index=True),  # NULL: the topic names none
    Column("stream", String),
    Column("batch", BigInteger),
    Column("position", BigInteger),
    Column("readings", BigInteger),  # NULL: nobody knows
    Column("ledgered", Boolean, nullable=False),
    Column("topic", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("first_at_ms", BigInteger, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
)
"""What could be neither used nor thrown away: see `quarantine.Case`."""

quarantine_log: Final = Table(
    "quarantine_log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("verdict", String, nullable=False),  # stored, dropped, duplicate
    Column("digest", LargeBinary, nullable=False),
    Column("kind", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("words", String, nullable=False),
    Column("gateway", String, index=True),
    Column("stream", String),
    Column("batch", BigInteger),
    Column("position", BigInteger),
    Column("readings", BigInteger),
    Column("ledgered", Boolean, nullable=False),
)
"""How each case ended and by whose hand; rows are only ever added."""

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
    Column("parts", String, nullable=False),  # JSON
    Column("taken_at_ms", BigInteger, index=True),  # NULL: the alarm does not know of it yet
    sqlite_with_rowid=False,
)
"""How the level of each episode changed, and by what."""

plan: Final = Table(
    "plan",
    metadata,
    Column("version", String, primary_key=True),
    Column("content", String, nullable=False),  # JSON
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
"""What each contact is still to be told: see `alerts.digest`."""

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
    Column("contact", String, nullable=False, index=True),
    Column("code", String, nullable=False),
    Column("parts", String, nullable=False),  # JSON: what an answer answers
    Column("exercise", Boolean, nullable=False),
    Column("made_ms", BigInteger, nullable=False, index=True),
    Column("answered_ms", BigInteger),
    Column("answered_by", String),
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
    Column("message", String, nullable=False),  # JSON
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
)
"""What was published of each alert, as CAP."""

rollup_due: Final = Table(
    "rollup_due",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("hour_ms", BigInteger, primary_key=True),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("times", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Where readings were written since the rollups were made: see `store.marks`."""

retired: Final = Table(
    "retired",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("readings", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many readings that the ledger knows retention took from the store."""

horizon: Final = Table(
    "horizon",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("level", String, primary_key=True),  # raw, minute, hour
    Column("at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Before when retention took something of a level away: from `at_ms` on it is whole."""

copy_position: Final = Table(
    "copy_position",
    metadata,
    Column("source", String, primary_key=True),
    Column("next_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How far `shuichi store copy` has come; in the database of the store that is copied to."""
