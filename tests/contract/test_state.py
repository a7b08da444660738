"""One contract for the state, whether in an SQLite file or on a PostgreSQL."""

import asyncio
import os
import threading
import time
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, insert, select, text

from cloud import database, ledger, migrations, state, tables
from cloud.database import Place, Server
from cloud.errors import Rejected, Unavailable
from cloud.ledger import Conflict, Key, Stream
from tests.services import Postgres

REAL_MIGRATIONS = True
KEY = Key("g", "a")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, shared_postgres: Postgres) -> Place:
    if request.param == "sqlite":
        return tmp_path / "cloud.db"
    return shared_postgres.database(uuid.uuid4().hex)


def row(first: int, last: int | None) -> dict[str, object]:
    return {"gateway": "g", "stream": "s", "first": first, "last": last}


def put(connection: Connection, *rows: dict[str, object]) -> None:
    connection.execute(insert(tables.ledger), list(rows))


def ranges(connection: Connection) -> list[tuple[int, int]]:
    wanted = select(tables.ledger.c.first, tables.ledger.c.last).order_by(tables.ledger.c.first)
    return [tuple(found) for found in connection.execute(wanted)]


async def test_work_is_committed_as_a_whole_or_not_at_all(place: Place) -> None:
    def fail(connection: Connection) -> None:
        put(connection, row(1, 2))
        raise LookupError

    async with state.opened(place) as one:
        with pytest.raises(LookupError):
            await one.run(fail)
        assert await one.run(ranges) == []
        await one.run(lambda c: put(c, row(1, 2), row(5, 6)))
    async with state.opened(place, read_only=True) as one:
        assert await one.run(ranges) == [(1, 2), (5, 6)]


@pytest.mark.parametrize("wrong", [row(2, None), row(2, 2**63), row(1, 1)])
async def test_what_it_cannot_hold_is_rejected_and_harms_nothing(
    wrong: dict[str, object], place: Place
) -> None:
    async with state.opened(place) as one:
        await one.run(lambda c: put(c, row(1, 1)))
        with pytest.raises(Rejected):
            await one.run(lambda c: put(c, row(3, 3), wrong))
        await one.run(lambda c: put(c, row(4, 4)))
        assert await one.run(ranges) == [(1, 1), (4, 4)]


async def test_a_text_with_nul_in_it_is_not_refused(place: Place) -> None:
    async with state.opened(place) as one:
        await one.run(lambda c: put(c, row(1, 1) | {"stream": "a\0b"}))
        wanted = select(tables.ledger.c.stream)
        (found,) = await one.run(lambda c: c.execute(wanted).scalars().all())
    assert found == ("a\0b" if isinstance(place, Path) else "a\N{REPLACEMENT CHARACTER}b")


async def test_an_upsert_inserts_what_is_new_and_changes_what_is_there(place: Place) -> None:
    async with state.opened(place) as one:
        await one.run(lambda c: put(c, row(1, 1), row(5, 5)))
        await one.run(lambda c: state.upsert(c, tables.ledger, [row(1, 3), row(7, 8)]))
        await one.run(lambda c: state.upsert(c, tables.ledger, []))
        assert await one.run(ranges) == [(1, 3), (5, 5), (7, 8)]


async def test_a_reader_cannot_write(place: Place) -> None:
    async with state.opened(place):
        pass
    async with state.opened(place, read_only=True) as one:
        with pytest.raises(Unavailable, match=r"read-?only"):
            await one.run(lambda c: put(c, row(1, 1)))


async def test_a_reader_is_told_of_a_state_that_nobody_has_laid_out(place: Place) -> None:
    with pytest.raises(Unavailable, match=r"there is no such file|has `shuichi cloud run` run yet"):
        async with state.opened(place, read_only=True):
            pass


def accepting(number: int, before: dict[Key, Stream]) -> dict[Key, Stream]:
    after = {key: stream.copy() for key, stream in before.items()}
    for stream in after.values():
        stream.accept(number, 10, now_ms=number)
    return after


async def test_a_stream_that_somebody_else_has_changed_is_not_overwritten(place: Place) -> None:
    keys = {KEY, Key("g", "b"), Key("h", "a")}
    async with state.opened(place) as one:
        stale = await one.run(partial(ledger.load, keys={KEY}))  # not there yet
        before = await one.run(partial(ledger.load, keys=keys))
        await one.run(partial(ledger.save, new=accepting(1, before), old=before))
        with pytest.raises(Conflict):
            await one.run(partial(ledger.save, new=accepting(2, stale), old=stale))

        stale = before = await one.run(partial(ledger.load, keys=keys))
        await one.run(partial(ledger.save, new=accepting(2, before), old=before))
        with pytest.raises(Conflict):
            await one.run(partial(ledger.save, new=accepting(3, stale), old=stale))

        before = await one.run(partial(ledger.load, keys=keys))
        after = accepting(3, before)
        await one.run(partial(ledger.save, new=after, old=before))
        await one.run(partial(ledger.save, new=accepting(4, after), old=after))  # not loaded anew
        found = await one.run(ledger.load)
    assert found.keys() == keys
    assert all(list(stream.received) == [(1, 4)] for stream in found.values())
    assert {(stream.readings, stream.version) for stream in found.values()} == {(40, 4)}


async def test_its_time_is_ours_to_a_minute(place: Place) -> None:
    async with state.opened(place) as one:
        now_ms = await one.run(lambda c: c.execute(select(database.now_ms(c))).scalar_one())
    assert abs(now_ms / 1000 - time.time()) < 60


async def test_the_steps_lead_to_the_layout_that_the_tables_say(place: Place) -> None:
    """If this fails after a change in `cloud.tables`: `python -m cloud.migrations WORDS` writes
    the step that is missing."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, tables.metadata))

    async with state.opened(place) as one:
        assert await one.run(differences) == []


def test_of_sqlite_even_the_words_are_the_same() -> None:
    """alembic does not compare what only SQLite knows, such as tables without a rowid."""

    def words(connection: Connection) -> dict[str, set[str]]:
        found = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        )
        # A column that was added later stands at the end of a line.
        lines = {
            name: sql.replace(" \n", "\n").replace(", ", "\n").splitlines() for name, sql in found
        }
        lines.pop("alembic_version", None)
        return {name: {line.strip(" \t,") for line in sql} for name, sql in lines.items()}

    with create_engine("sqlite://").connect() as said, create_engine("sqlite://").connect() as led:
        tables.metadata.create_all(said)
        migrations.upgrade(led)
        assert words(led) == words(said)


async def test_a_layout_of_a_newer_release_is_refused(place: Place) -> None:
    async with state.opened(place) as one:
        await one.run(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    for read_only in (False, True):
        with pytest.raises(
            Rejected, match=r"^the state is laid out by a newer release \(step 9999"
        ):
            async with state.opened(place, read_only=read_only):
                pass


async def test_two_that_start_at_once_lay_it_out_once(shared_postgres: Postgres) -> None:
    server = shared_postgres.database(uuid.uuid4().hex)

    async def start() -> tuple[str | None, str]:
        async with state.connected(server) as one:
            return await one.run(migrations.upgrade)

    newest = migrations.steps()[-1]
    found = await asyncio.gather(*(start() for _ in range(4)))
    assert sorted(found, key=str) == [(newest, newest)] * 3 + [(None, newest)]


async def test_an_sqlite_file_has_one_writer_and_says_who(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    async with state.opened(path):
        with pytest.raises(Unavailable, match=rf"process {os.getpid()} writes it already"):
            async with state.opened(path):
                pass
        async with state.opened(path, read_only=True):
            pass
    async with state.opened(path):
        pass


async def test_a_server_that_is_away_is_unavailable_and_then_there_again(
    postgres: Postgres,
) -> None:
    def killed_meanwhile(connection: Connection) -> None:
        put(connection, row(2, 2))
        postgres.kill()
        put(connection, row(3, 3))

    async with state.opened(postgres.database()) as one:
        await one.run(lambda c: put(c, row(1, 1)))
        with pytest.raises(Unavailable):
            await one.run(killed_meanwhile)
        with pytest.raises(Unavailable, match="Connection refused"):
            await one.run(ranges)
        postgres.start()
        assert await one.run(ranges) == [(1, 1)]
        postgres.stop()  # and this time it says goodbye, while nobody listens
        postgres.start()
        with pytest.raises(Unavailable):
            await one.run(ranges)
        assert await one.run(ranges) == [(1, 1)]


async def test_a_worker_that_is_stopped_in_its_transaction_locks_nobody_out(
    shared_postgres: Postgres,
) -> None:
    server = shared_postgres.database(uuid.uuid4().hex)._replace(patience_s=0.4)
    stopped, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def stop(connection: Connection) -> None:
        put(connection, row(1, 1))
        loop.call_soon_threadsafe(stopped.set)
        go_on.wait(20)

    async with state.opened(server) as one, state.opened(server) as other:
        paused = asyncio.create_task(one.run(stop), name="paused")
        await stopped.wait()
        with pytest.raises(Unavailable, match="lock timeout"):
            await other.run(lambda c: put(c, row(1, 2)))
        while True:
            with suppress(Unavailable):
                await other.run(lambda c: put(c, row(1, 2)))
                break
        go_on.set()
        with pytest.raises(Unavailable):
            await paused
        assert await one.run(ranges) == [(1, 2)]


def sleep(connection: Connection) -> None:
    connection.execute(text("SELECT pg_sleep(600)"))


def wake_all(connection: Connection) -> None:
    """End those of this database that sleep: nobody waits for them."""
    connection.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
            " datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


async def test_a_server_that_hangs_is_left(shared_postgres: Postgres) -> None:
    """A process that is stopped while its kernel confirms what comes: nothing but we ends that."""
    server = shared_postgres.database(uuid.uuid4().hex)
    async with state.opened(server) as one:
        one.patience_s = 0.2
        hanging = asyncio.create_task(one.run(sleep), name="hanging")
        behind = asyncio.create_task(one.run(lambda c: put(c, row(1, 1))), name="behind")
        with pytest.raises(Unavailable):
            await hanging
        await behind
        assert await one.run(ranges) == [(1, 1)]
        await one.run(wake_all)


async def test_a_call_that_had_to_wait_for_its_turn_is_left_too(shared_postgres: Postgres) -> None:
    """Its patience begins when it does, not when it was asked for."""
    server = shared_postgres.database(uuid.uuid4().hex)
    async with state.opened(server) as one:
        one.patience_s = 0.4
        busy = asyncio.create_task(one.run(lambda _: time.sleep(0.3)), name="busy")
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await one.run(sleep)
        await asyncio.wait((busy,))
        await one.run(wake_all)


async def test_who_gave_up_a_call_that_hangs_holds_up_no_other(shared_postgres: Postgres) -> None:
    server = shared_postgres.database(uuid.uuid4().hex)
    async with state.opened(server) as one:
        one.patience_s = 0.2
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await one.run(sleep)
        await one.run(lambda c: put(c, row(1, 1)))
        assert await one.run(ranges) == [(1, 1)]
        await one.run(wake_all)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password_file": None}, "password"),
        ({"password_file": Path("/nowhere/password")}, "No such file or directory"),
    ],
)
async def test_who_may_not_come_in_is_told_in_one_line(
    wrong: dict[str, Any], words: str, shared_postgres: Postgres
) -> None:
    server = Server(
        shared_postgres.database(uuid.uuid4().hex).url, shared_postgres.password_file
    )._replace(**wrong)
    with pytest.raises(Unavailable, match=words) as caught:
        async with state.opened(server):
            pass
    assert "\n" not in str(caught.value)
