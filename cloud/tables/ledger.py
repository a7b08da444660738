"""What gateways have told, and what of it is where: ledger, quarantine, events and gaps; and who
serves which shard."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
)

from cloud.tables.base import metadata

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
    Column("worked_ms", BigInteger),  # by the database's clock: when its holder last did its work
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

examined: Final = Table(
    "examined",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The batches that the rules have seen and the store does not have yet, as closed intervals."""

beginning: Final = Table(
    "beginning",
    metadata,
    Column("shard", String, primary_key=True),
    Column("unfinished", BigInteger, nullable=False),
    Column("digest", LargeBinary),  # NULL: no message is taken alone
    Column("tries", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How often a worker of each shard has ended before it had what waited for it, and the message that
was taken alone: see `cloud.ingest.beginning`."""

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
    Column("acks_refused", BigInteger),
    Column("acks_unproven", Boolean),
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
    Column("digest", LargeBinary, nullable=False, index=True),
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

overflow: Final = Table(
    "overflow",
    metadata,
    Column("gateway", String, primary_key=True),  # "": the topic names none
    Column("stream", String, primary_key=True),  # "": the ledger does not count them
    Column("cases", BigInteger, nullable=False),
    Column("readings", BigInteger, nullable=False),
    Column("unknown", BigInteger, nullable=False),  # cases: nobody knows how many readings
    Column("last_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What the quarantine had no room for: see `cloud.overflow`."""

refused: Final = Table(
    "refused",
    metadata,
    Column("gateway", String, primary_key=True),  # "": all that share a quota
    Column("quota", String, primary_key=True),
    Column("things", BigInteger, nullable=False),  # messages, readings or cases
    Column("first_at_ms", BigInteger, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What was beyond a quota: see `cloud.quotas`."""

known_series: Final = Table(
    "known_series",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("sensor", String, primary_key=True),
    Column("quantity", String, primary_key=True),
    Column("first_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The series that each gateway has sent: what counts against its quota, also after a restart."""

tally: Final = Table(
    "tally",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("day_ms", BigInteger, primary_key=True),  # when the day (UTC) begins
    Column("readings", BigInteger, nullable=False),
    Column("offsets_ms", BigInteger, nullable=False),  # the sum of their times since then
    sqlite_with_rowid=False,
)
"""How many readings were stored of each day: see `cloud.tally`."""

written_off: Final = Table(
    "written_off",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("gateway", String, nullable=False),
    Column("day_ms", BigInteger, nullable=False),  # -1: nobody knows which
    Column("readings", BigInteger, nullable=False),
    Column("person", String, nullable=False),
    Column("reason", String, nullable=False),
)
"""Readings that the store has lost, closed by a person; rows are only ever added."""
