"""What is kept beside a store: rollups that are due, what retention took, how far a copy is."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    String,
    Table,
    text,
)

from cloud.tables.base import metadata

rollup_due: Final = Table(
    "rollup_due",
    metadata,
    Column("level", String, primary_key=True),  # minute, hour, day, hydro_day
    Column("gateway", String, primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    Column("times", BigInteger, nullable=False),
    Column("not_before_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("fault", String, nullable=False, server_default=text("''")),
    Column("owner", String, nullable=False, server_default=text("''")),
    Index("ix_rollup_due_level_at_ms", "level", "at_ms"),
    sqlite_with_rowid=False,
)
"""Which rollups are to be made anew, and those that could not be, with the reason and when they are
tried again: see `store.marks`."""

rollup_grid: Final = Table(
    "rollup_grid",
    metadata,
    Column("level", String, primary_key=True),  # day, hydro_day
    Column("offset_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""When the days that are kept begin, after midnight UTC: they are made anew where a config says
otherwise."""

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
