"""The layout of the state, step by step: `versions/<number>_<words>.py`, one file a step, which
alembic applies in order. A step is applied once, in the transaction that says so.

Python starts without alembic where there is nothing to do: a database says which step it has.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

from cloud import database
from cloud.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

HERE: Final = Path(__file__).parent

_LOCK: Final = 0x5EED_0F_3A7E
"""Of PostgreSQL's advisory locks, the one that says: somebody changes the layout."""


def steps() -> list[str]:
    """All there are, the oldest first, by number."""
    return sorted(file.name.partition("_")[0] for file in HERE.glob("versions/[0-9]*.py"))


def current(connection: Connection) -> str | None:
    """The step that the database has, None if it is new. Raises Rejected if we do not know it."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if found is not None and found not in steps():
        raise Rejected(
            f"the state is laid out by a newer release (step {found}, this one knows "
            f"{steps()[-1]}): start that release"
        )
    return None if found is None else str(found)


def check(connection: Connection) -> None:
    """Raise Unavailable unless the database has our layout, Rejected if it has a newer one."""
    found = current(connection)
    if found is None:
        raise Unavailable("the state is empty; has `shuichi cloud run` run yet?")
    if found != steps()[-1]:
        raise Unavailable(
            f"the state has layout {found}, not {steps()[-1]}: `shuichi cloud migrate`"
        )


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """Bring the database to our layout, in the transaction that is open: the step that it had and
    the one that it has. Raises Rejected if it has a newer one."""
    newest = steps()[-1]
    before = current(connection)
    if before != newest:
        if not database.is_sqlite(connection):  # of SQLite there is one writer only
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            before = current(connection)
        if before != newest:
            from alembic import command

            command.upgrade(config(connection), "head")
    return before, newest


def config(connection: Connection) -> "Config":
    """What alembic needs to work on `connection`."""
    from alembic.config import Config

    made = Config(attributes={"connection": connection})
    made.set_main_option("script_location", str(HERE).replace("%", "%%"))
    return made
