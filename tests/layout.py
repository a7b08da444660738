"""New state databases for tests, by what our migrations and metadata once gave: the same tables in
a tenth of the time. What tests the migrations themselves does without."""

import sqlite3
from functools import cache

from sqlalchemy import Connection, Engine, create_engine

from cloud import database, migrations, tables

_upgrade = migrations.upgrade


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """What `migrations.upgrade` does, quickly where the database is a new SQLite file."""
    if not database.is_sqlite(connection) or _has_tables(connection):
        return _upgrade(connection)
    for statement in _migrated():
        connection.exec_driver_sql(statement)
    return None, migrations.steps()[-1]


def in_memory() -> Engine:
    """A database in memory that has our tables; it ends with its connection."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(_created())
        return connection

    return create_engine("sqlite://", creator=connect)


def _has_tables(connection: Connection) -> bool:
    count: int = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    return count > 0


@cache
def _migrated() -> list[str]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        _upgrade(connection)
    dump = [*_raw(engine).iterdump()]
    engine.dispose()
    return [one for one in dump if one not in ("BEGIN TRANSACTION;", "COMMIT;")]


@cache
def _created() -> bytes:
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    content = _raw(engine).serialize()
    engine.dispose()
    return content


def _raw(engine: Engine) -> sqlite3.Connection:
    raw = engine.raw_connection().driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw
