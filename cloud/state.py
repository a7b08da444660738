"""What the cloud must remember, in a database of its own, and the one thread that uses it.

SQLite in WAL with `synchronous = FULL`, or PostgreSQL with `synchronous_commit`: a commit is on
disk when it returns. One connection writes, in one thread, so that the event loop is never held
up. Beside a process that writes an SQLite file others only read (`query`, `account`); those who
write a PostgreSQL agree by leases: see `cloud.shards`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)

from cloud import database, migrations
from cloud.database import Place
from cloud.errors import Rejected, Unavailable
from cloud.reserve import Reserve
from configs import trouble

log: Final = logging.getLogger("shuichi.cloud")

_T = TypeVar("_T")

_ROWS_AT_ONCE: Final = (512, 256)
"""In one statement: far fewer values than SQLite's 32766. What is left is one statement more, which
is read anew each time; these are not, and to read one costs as much as to run it."""

_UNREADABLE: Final = "Could not decode to UTF-8"
"""What Python's sqlite3 says of a text that is none."""

_NOT_ALLOWED: Final = "42501"
"""SQLSTATE insufficient_privilege: the operator's to mend, not ours."""


class State:
    """The open database. `run` is the only way in."""

    def __init__(self, place: Place, read_only: bool, thread: ThreadPoolExecutor) -> None:
        if read_only and isinstance(place, Path) and not place.exists():
            raise Unavailable(f"{place}: there is no such file; has `shuichi cloud run` run yet?")
        self.place = place
        self.read_only = read_only
        self._engine = database.engine(place, read_only)
        self._thread = thread
        self._connection: Connection | None = None
        self._is_lenient = False
        self._began_s: float | None = None
        self.patience_s: float | None = None
        """How long a call may take at a server; None: as long as it likes."""
        self.reserve: Reserve | None = None
        """Room for alerts, where the service keeps some."""

    @property
    def trouble(self) -> str:
        """Why nothing but alerts may be written, "" if all may."""
        return "" if self.reserve is None else self.reserve.trouble

    def failing(self) -> dict[str, str]:
        """That the disk is full."""
        return {"disk": self.trouble} if self.trouble else {}

    async def keep_reserve(self, _: int = 0) -> None:
        """Keep room for alerts on the disk of a file. Raises Unavailable."""
        if isinstance(self.place, Path) and not self.read_only:
            if self.reserve is None:
                self.reserve = Reserve(self.place)
            await self.run(self.reserve.keep)

    @property
    def shared(self) -> bool:
        """Whether other processes may write it too."""
        return not isinstance(self.place, Path)

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Call `work(connection)` in the database's thread, in one transaction that is committed
        when it returns and undone when it raises.

        Raises Unavailable (disk full, locked, unreadable, connection lost) and Rejected (a value
        that the database cannot hold). A connection that is lost in the commit leaves unsaid
        whether it was committed. If the caller is cancelled the transaction still runs to its end.
        """
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, self._run, work)
        if self.patience_s is None:
            return await done
        watching = loop.create_task(self._watch(self.patience_s), name="patience with the state")
        try:
            return await done
        finally:
            watching.cancel()

    async def _watch(self, patience_s: float) -> None:
        """Cut the connection to a server that hangs (its machine confirms what we send, so that
        nothing else ends it); the call that waits for it raises Unavailable. The call under way may
        be another's, or only now have its turn, so it is looked at again and again."""
        left_s = patience_s
        while True:
            await asyncio.sleep(left_s)
            began_s, held = self._began_s, self._connection
            left_s = patience_s
            if began_s is None or held is None:
                continue
            if (left_s := began_s + patience_s - time.monotonic()) > 0:
                continue
            left_s = patience_s
            log.error("%s: no answer for %g s; the connection is cut", self.place, patience_s)
            with contextlib.suppress(OSError, SQLAlchemyError, AttributeError):
                database.cut(held)

    def _run(self, work: Callable[[Connection], _T]) -> _T:
        self._began_s = time.monotonic()
        try:
            return self._insist(work)
        finally:
            self._began_s = None

    def _insist(self, work: Callable[[Connection], _T]) -> _T:
        try:
            return self._attempt(work)
        except Unavailable as error:
            if not self._is_lenient and _UNREADABLE in str(error):
                # Somebody's disk has changed a text: it must not hold up all others.
                log.error("%s; such texts are read as far as they can be", error)
                self._is_lenient = True
                return self._insist(work)
            if (reserve := self.reserve) is None or not reserve.is_full(error.__cause__):
                raise
            given = reserve.give_log()
            given |= self._attempt(reserve.give_row)
            if not given or work == reserve.keep:
                raise
            return self._attempt(work)

    def _attempt(self, work: Callable[[Connection], _T]) -> _T:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                if self._is_lenient:
                    database.be_lenient(self._connection)
            with self._connection.begin():
                return work(self._connection)
        except (IntegrityError, DataError, OverflowError) as error:
            raise Rejected(f"{self.place}: {_reason(error)}") from error
        except DBAPIError as error:  # no room, locked, unreadable, not a database, connection lost
            if (
                isinstance(error, ProgrammingError)
                and getattr(error.orig, "sqlstate", None) != _NOT_ALLOWED
            ):
                raise  # ours to mend
            self._hang_up()
            reason = _reason(error)
            if isinstance(self.place, Path):
                reason = trouble.of_database(self.place, reason)
            raise Unavailable(f"{self.place}: {reason}") from error

    def _hang_up(self) -> None:
        """Whatever state the connection is in, the next call begins with a new one."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Called by `connected` in the database's thread."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


@asynccontextmanager
async def opened(place: Place, *, read_only: bool = False) -> AsyncIterator[State]:
    """The state at `place`, made and brought up to our layout if need be (unless `read_only`).

    Raises Unavailable on entry where it cannot be opened, with the place and the reason, and
    Rejected if it was laid out by a newer release.
    """
    async with connected(place, read_only=read_only) as state:
        await state.run(migrations.check if read_only else migrations.upgrade)
        yield state


@asynccontextmanager
async def connected(place: Place, *, read_only: bool = False) -> AsyncIterator[State]:
    """The database at `place` as it is, whatever tables it has. Raises Unavailable on entry where
    another process writes the file."""
    async with AsyncExitStack() as stack:
        if isinstance(place, Path) and not read_only:
            stack.enter_context(database.only_writer(place))
        thread = stack.enter_context(
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="cloud-state")
        )
        state = State(place, read_only, thread)
        try:
            yield state
        finally:
            thread.submit(state.close).result()


def upsert(
    connection: Connection,
    table: Table,
    rows: Iterable[Mapping[str, Any]],
    where: str = "",
    fixed: Collection[str] = (),
) -> int:
    """Insert each row, or bring the one with its primary key up to it, unless that fails `where`
    (SQL, with the new row as `excluded`). All rows have the same columns, and no two one key;
    those that are `fixed` never change, and cost no index anything. How many were inserted or
    changed.

    It is one statement for many rows: each statement lets go of the GIL, and to have it back from
    an event loop that is busy takes 5 ms.
    """
    many = list(rows)
    if not many:
        return 0
    names = tuple(many[0])
    values = [tuple([one[name] for name in names]) for one in many]
    return upsert_rows(connection, table, names, values, where, fixed)


def upsert_rows(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    where: str = "",
    fixed: Collection[str] = (),
) -> int:
    """As `upsert`, each row as the values of the columns `names`."""
    ending = _replacing(connection, table, [name for name in names if name not in fixed])
    return _insert(connection, table, names, rows, f"{ending} {where}")


def _replacing(connection: Connection, table: Table, names: Iterable[str]) -> str:
    """The end of an INSERT that brings the columns `names` of what is there up to the new row."""
    quote = connection.dialect.identifier_preparer.quote
    keys = [column.name for column in table.primary_key]
    changing = [quote(name) for name in names if name not in keys]
    new = ", ".join(f"{one} = excluded.{one}" for one in changing)
    return f" ON CONFLICT ({', '.join(map(quote, keys))}) DO UPDATE SET {new}"


def insert(
    connection: Connection,
    table: Table,
    rows: Iterable[Mapping[str, Any]],
    *,
    or_leave: bool = False,
) -> None:
    """Insert each row, in as few statements; with `or_leave` only those that are not there yet. All
    rows have the same columns."""
    many = list(rows)
    if many:
        names = tuple(many[0])
        values = [tuple([one[name] for name in names]) for one in many]
        ending = " ON CONFLICT DO NOTHING" if or_leave else ""
        _insert(connection, table, names, values, ending)


def _insert(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    ending: str,
) -> int:
    quote = connection.dialect.identifier_preparer.quote
    row = ", ".join(["?" if database.is_sqlite(connection) else "%s"] * len(names))
    into = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) VALUES "
    changed = begin = 0
    while begin < len(rows):
        left = len(rows) - begin
        some = rows[begin : begin + next((one for one in _ROWS_AT_ONCE if one <= left), left)]
        begin += len(some)
        statement = into + ", ".join([f"({row})"] * len(some)) + ending
        values = tuple(chain.from_iterable(some))
        changed += connection.exec_driver_sql(statement, values).rowcount
    return changed


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", error)).split())  # PostgreSQL says it in lines
