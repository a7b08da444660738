"""The two databases that can hold the state, and how each is reached: an SQLite file, which one
process writes, or a PostgreSQL, which many share. The only module that knows them apart."""

import contextlib
import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Table,
    create_engine,
    event,
    literal_column,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from cloud.errors import Unavailable
from configs import trouble
from configs.files import close_to_others, make_private
from wire import secretfile

if TYPE_CHECKING:
    import psycopg

BUSY_TIMEOUT_S: Final = 10.0

_SESSION: Final = {
    "application_name": "shuichi",
    "connect_timeout": 10,
    # A server that is gone without a word is noticed, and not waited for.
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's parameters (PostgreSQL 15, 34.1.2); those that the URL names itself go before."""


class Server(NamedTuple):
    """A PostgreSQL: `postgresql://user@host:port/database`, and the file with the password. Who
    stops in mid-transaction for `patience_s` loses the connection, and with it what it has locked
    against others; those do not wait longer than a quarter of that at a time."""

    url: str
    password_file: Path | None = None
    patience_s: float = 10

    @property
    def settings(self) -> dict[str, str]:
        """Of a session, by the names that PostgreSQL gives them."""
        return {
            "idle_in_transaction_session_timeout": f"{self.patience_s * 1000:.0f}ms",
            "lock_timeout": f"{self.patience_s * 250:.0f}ms",
            "synchronous_commit": "on",  # whatever the server's default is
        }

    def __str__(self) -> str:
        return self.url.partition("?")[0]


Place = Path | Server
"""Where the state is: the path of an SQLite file, or a server."""


def insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows `ON CONFLICT`, which the expression language has only by dialect."""
    return sqlite.insert(table) if is_sqlite(connection) else postgresql.insert(table)


def now_ms(connection: Connection) -> ColumnElement[int]:
    """The database's own time: milliseconds since 1970, the same for all who share it."""
    if is_sqlite(connection):
        spelled = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    else:
        spelled = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    return literal_column(spelled, BigInteger)


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def engine(place: Place, read_only: bool) -> Engine:
    """Connections to `place`, made when they are asked for. Raises Unavailable where the password
    cannot be read or the driver is not installed."""
    if isinstance(place, Path):
        return _file_engine(place, read_only)
    return _server_engine(place, read_only)


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Hold the lock beside the SQLite file, which ends with the process: WAL with several writing
    connections is not safe in every release (sqlite.org/wal.html, "the WAL-reset bug").

    Raises Unavailable if another process has it, or where there can be none.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        number = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        reason = trouble.of_database(path, error.strerror or str(error))
        raise Unavailable(f"{path}: {reason}") from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"{path}: process {_writer(number)} writes it already, and SQLite has room for "
                "one; stop it, or let several workers share a PostgreSQL: [state] url"
            ) from None
        except OSError as error:  # of a file system without locks, or without room for one more
            raise Unavailable(f"{lock}: cannot be locked: {error.strerror}") from None
        with contextlib.suppress(OSError):  # for people: a full disk keeps nobody from starting
            os.ftruncate(number, 0)
            os.write(number, f"{os.getpid()}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(number)


def cut(connection: Connection) -> None:
    """End the connection to a server, from any thread. Raises OSError."""
    raw = connection.connection.dbapi_connection
    if raw is not None and not isinstance(raw, sqlite3.Connection):
        with socket.socket(fileno=os.dup(raw.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


def be_lenient(connection: Connection) -> None:
    """Let an SQLite connection read texts that are damaged, with signs for what cannot be read."""
    raw = connection.connection.dbapi_connection
    if isinstance(raw, sqlite3.Connection):
        raw.text_factory = lambda text: text.decode("utf-8", "replace")


def _writer(lock: int) -> str:
    """Who has the lock, as far as the file says."""
    with contextlib.suppress(OSError):
        if (said := os.read(lock, 20).decode("ascii", "replace").strip()).isdigit():
            return said
    return "another"


def _file_engine(path: Path, read_only: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        if not read_only:  # it holds secrets; the log beside it gets the rights of the file
            make_private(path)
            for ending in ("-wal", "-shm"):
                close_to_others(path.with_name(path.name + ending))
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

    made = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return made


def _server_engine(server: Server, read_only: bool) -> Engine:
    url = make_url(server.url).set(drivername="postgresql+psycopg")
    password = None
    if (file := server.password_file) is not None:
        try:
            password = secretfile.InUse(str(file), partial(secretfile.text, file))
        except OSError as error:
            raise Unavailable(f"{file}: {error.strerror}") from None
    how: dict[str, Any] = {name: value for name, value in _SESSION.items() if name not in url.query}
    how["options"] = " ".join(f"-c {name}={value}" for name, value in server.settings.items())
    try:
        made = create_engine(url, connect_args=how, poolclass=NullPool)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{server}: {error.name} is not installed: pip install 'shuichi[cloud,postgres]'"
        ) from None
    event.listen(made, "connect", _let_nul_pass)
    if password is not None:
        event.listen(made, "do_connect", partial(_connected, password))
    if read_only:  # one picture of all tables, from the first statement to the last
        return made.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return made


def _connected(
    password: "secretfile.InUse[str]",
    dialect: Dialect,
    _: object,
    arguments: tuple[Any, ...],
    how: dict[str, Any],
) -> Any:
    """A connection. Where the server refuses the password, its file is read again, and a new one is
    tried at once: an error of a connection has no code (psycopg), so each that the server has sent
    counts."""
    import psycopg

    used = password.value
    try:
        return dialect.connect(*arguments, **(how | {"password": used}))
    except psycopg.OperationalError:
        if (other := password.instead(used)) is None:
            raise
        try:
            found = dialect.connect(*arguments, **(how | {"password": other}))
        except psycopg.OperationalError:
            password.decline(other)
            raise
    password.accept(other)
    return found


def _let_nul_pass(connection: "psycopg.Connection[Any]", _: object) -> None:
    """A text of PostgreSQL has no NUL (PostgreSQL 15, 8.3), and JSON may: it becomes the sign for
    what cannot be shown, so that nobody's message can hold up those of others."""
    from psycopg.types.string import StrDumper

    class Text(StrDumper):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))

    connection.adapters.register_dumper(str, Text)
