"""What the cloud must remember, in a database of its own, and the one thread that uses it.

SQLite in WAL with `synchronous = FULL`: a commit is on disk when it returns. One connection
writes, in one thread, so that the event loop is never held up; other processes (`query`,
`account`) read beside it with connections of their own.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError
from sqlalchemy.pool import NullPool

from cloud.errors import Rejected, Unavailable

BUSY_TIMEOUT_S: Final = 10.0

metadata: Final = MetaData()

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
    sqlite_with_rowid=False,
)
"""What is known of one life of an outbox, beside its intervals: see `ledger.Stream`."""

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
    Column("state", String, nullable=False),
    Column("pending", BigInteger, nullable=False),
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
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of topic and payload
    Column("topic", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("reason", String, nullable=False),
    Column("gateway", String),
    Column("times", BigInteger, nullable=False),
    Column("first_at_ms", BigInteger, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
)
"""Messages that could be neither used nor thrown away; the same one again only counts."""

rule_state: Final = Table(
    "rule_state",
    metadata,
    Column("rule", String, primary_key=True),
    Column("gateway", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("sensor", String, primary_key=True),
    Column("newest_ms", BigInteger, nullable=False),
    Column("raised", Integer, nullable=False),
    sqlite_with_rowid=False,
)

alert: Final = Table(
    "alert",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule", String, nullable=False),
    Column("level", String, nullable=False),
    Column("gateway", String, nullable=False),
    Column("site", String, nullable=False),
    Column("sensor", String, nullable=False),
    Column("quantity", String, nullable=False),
    Column("raised_at_ms", BigInteger, nullable=False),
    Column("raised_value", Float, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("cleared_at_ms", BigInteger),
    Column("cleared_value", Float),
    UniqueConstraint("rule", "gateway", "site", "sensor", "raised_at_ms"),
)

notification: Final = Table(
    "notification",
    metadata,
    Column("key", String, primary_key=True),
    Column("alert", ForeignKey(alert.c.id), nullable=False),
    Column("transition", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("delivered_at_ms", BigInteger, index=True),
    UniqueConstraint("alert", "transition", "channel"),
)
"""One row for each alert transition and channel; `key` lets a receiver know a repetition."""

_T = TypeVar("_T")


class State:
    """The open database. `run` is the only way in."""

    def __init__(self, path: Path, read_only: bool, thread: ThreadPoolExecutor) -> None:
        if read_only and not path.exists():
            raise Unavailable(f"{path}: there is no such file; has `shuichi cloud run` run yet?")
        self.path = path
        self.read_only = read_only
        self._engine = _engine(path, read_only)
        self._thread = thread
        self._connection: Connection | None = None

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Call `work(connection)` in the database's thread, in one transaction that is committed
        when it returns and undone when it raises.

        Raises Unavailable (disk full, locked, unreadable) and Rejected (a value that the database
        cannot hold). If the caller is cancelled the transaction still runs to its end.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[Connection], _T]) -> _T:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                return work(self._connection)
        except (IntegrityError, DataError, OverflowError) as error:
            raise Rejected(f"{self.path}: {getattr(error, 'orig', error)}") from error
        except ProgrammingError:
            raise  # ours to mend
        except DatabaseError as error:  # no room, locked, unreadable, not a database
            raise Unavailable(f"{self.path}: {error.orig}") from error

    def close(self) -> None:
        """Called by `opened` in the database's thread."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


@asynccontextmanager
async def opened(path: Path, *, read_only: bool = False) -> AsyncIterator[State]:
    """The database at `path`, made if it is not there (unless `read_only`).

    Raises Unavailable on entry where it cannot be opened, with the path and the reason.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="cloud-state") as thread:
        state = State(path, read_only, thread)
        try:
            if not read_only:
                await state.run(metadata.create_all)
            yield state
        finally:
            thread.submit(state.close).result()


def upsert(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert each row, or bring the one with its primary key up to it."""
    if not (many := list(rows)):
        return
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=keys,
            set_={name: statement.excluded[name] for name in many[0] if name not in keys},
        ),
        many,
    )


def _engine(path: Path, read_only: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        # isolation_level None: the module begins no transactions of its own accord.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
        )
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
