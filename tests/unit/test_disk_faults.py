"""A disk that fails at any one call, once or from there on: nothing that was taken is lost without
a word, no file is left half written where somebody would take it for whole, and all goes on when
the disk does."""

import contextlib
import errno
import fcntl
import json
import math
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from cloud import database, state
from cloud.channels import Message
from cloud.channels.log import _Log
from cloud.errors import Unavailable
from configs import files, tomlfile, trouble
from configs.loader import ConfigError
from edge import keeper, memory, outboxdisk
from edge.clock import Source
from edge.eventlog import EventLog
from edge.outbox import open_outbox
from tests.diskfaults import ERRORS, HAS_SQLITE, Disk, failing_disk
from tests.machine import FakeMachine
from tests.outbox_gateway import Gateway
from wire import keyfile
from wire.messages import Event

needs_sqlite = pytest.mark.skipif(not HAS_SQLITE, reason="SQLite's own calls cannot be reached")

OLD = "a = 1\n"
NEW = "a = 2\n"


def walk(
    folder: Path, write: Callable[[Path], None], before: str | None = OLD
) -> Iterator[tuple[Disk, Path, bool]]:
    """`write(file)` anew for each call to the disk that it makes, which then fails; the disk,
    healed again, the file, and whether `write` said so."""
    with failing_disk(folder) as disk:
        for at in count():
            file = folder / f"{at}" / "it"
            file.parent.mkdir()
            if before is not None:
                file.write_text(before)
            disk.failed.clear()
            disk.fail(at, ERRORS[at % len(ERRORS)])
            raised = False
            try:
                write(file)
            except (OSError, ConfigError):
                raised = True
            disk.heal()
            if not disk.failed:
                assert at > 2
                assert not raised
                break
            yield disk, file, raised


def replace_it(file: Path) -> None:
    with files.replacing(file) as opened:
        opened.write(NEW.encode())


def edit_it(file: Path) -> None:
    with tomlfile.editing(file, lambda _: None) as document:
        document["a"] = 2


def remember_it(file: Path) -> None:
    memory._replace(file, NEW)


def keep_key(file: Path) -> None:
    keyfile.write(file, [NEW.strip()], file.parent)


@pytest.mark.parametrize("write", [replace_it, edit_it, remember_it, keep_key])
def test_what_is_replaced_is_the_old_or_the_new_whole(tmp_path, write):
    whole = {OLD, NEW, json.dumps(NEW)}
    for disk, file, raised in walk(tmp_path, write):
        assert file.read_text() in whole, disk.failed
        assert raised or file.read_text() != OLD, (disk.failed, "it says that all went well")
        write(file)
        assert file.read_text() in whole - {OLD}
    assert {one.name for one in tmp_path.rglob("*") if one.is_file()} <= {"it"} | {
        one.name for one in tmp_path.rglob(".it*.new")
    }


def test_a_secret_is_there_whole_or_not_at_all(tmp_path):
    for disk, file, raised in walk(tmp_path, lambda file: files.make_secret(file, NEW), None):
        there = file.exists()
        assert not raised or not there or disk.failed[0].startswith("unlink"), disk.failed
        if there:
            assert file.read_text() == NEW


def test_lines_that_are_added_stay_lines(tmp_path):
    lines = b'{"n": 1}\n{"n": 2}\n'
    for disk, file, raised in walk(tmp_path, lambda file: files.append(file, lines), '{"n": 0}\n'):
        if raised:
            files.append(file, lines)
        found = [json.loads(line)["n"] for line in file.read_text().splitlines()]
        assert found in ([0, 1, 2], [0, 1, 2, 1, 2]), disk.failed


@pytest.mark.parametrize("torn", [b'{"n": 0', b"\0\0\0\0"])
def test_a_line_that_a_power_cut_tore_spoils_no_other(tmp_path, torn):
    (tmp_path / "it").write_bytes(b"{}\n" + torn)
    files.append(tmp_path / "it", b'{"n": 1}\n')
    assert (tmp_path / "it").read_bytes() == b"{}\n" + torn + b'\n{"n": 1}\n'


async def test_events_are_written_once_whole_whatever_the_disk_does(tmp_path):
    with failing_disk(tmp_path) as disk:
        for at in range(12):
            log = EventLog(tmp_path / f"{at}.jsonl")
            log.add(Event(1, "s", "first", "t"))
            await log.flush()
            log.add(Event(2, "s", "second", "t"))
            disk.fail(at, ERRORS[at % len(ERRORS)])
            await log.flush()
            disk.heal()
            log.add(Event(3, "s", "third", "t"))
            await log.flush()
            lines = (tmp_path / f"{at}.jsonl").read_text().splitlines()
            assert [json.loads(line)["kind"] for line in lines] == ["first", "second", "third"]


async def test_messages_in_the_log_are_whole_lines(tmp_path):
    message = Message(key="k", title="t", text="water", kind="raised", at_ms=1)
    with failing_disk(tmp_path) as disk:
        for at in range(9):
            log = _Log(tmp_path / f"{at}.jsonl", show_answer_codes=True)
            disk.fail(at, ERRORS[at % len(ERRORS)])
            with contextlib.suppress(Unavailable):
                await log.send(message)
            disk.heal()
            await log.send(message)
            lines = (tmp_path / f"{at}.jsonl").read_text().splitlines()
            assert {json.loads(line)["text"] for line in lines} == {"water"}


# The gateway's outbox


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(keeper, "MB", 4096)
    monkeypatch.setattr(keeper, "PAUSE_S", 0)
    monkeypatch.setattr(keeper, "RETURN_EVERY", 1)


READINGS = 14


async def an_hour(gateway: Gateway) -> None:
    """Start, seal, tell, look, forget."""
    gateway.keeper._looks = 9
    await attempt(gateway.keeper.start)
    gateway.add(3)
    await attempt(gateway.sealer.seal)
    gateway.sealer.tell(Event(gateway.clock.now(), "s", "k", "t"))
    await attempt(gateway.sealer.seal)
    await attempt(gateway.look)
    gateway.add(2, "ruler")
    await attempt(gateway.sealer.seal)
    gateway.add(READINGS - 5)
    await attempt(gateway.sealer.seal)
    await attempt(gateway.look)


async def attempt(work: Callable[[], Awaitable[object]]) -> None:
    """As a part does it, which starts again after it has failed."""
    try:
        await work()
    except sqlite3.Error as error:
        raise AssertionError("whoever calls it does not expect that") from error


async def gone_through(path: Path, disk: Disk, at: int, error: int, times: float) -> Gateway:
    """The gateway after an hour in which the disk failed, and a while in which it does not."""
    machine = FakeMachine()
    disk.fail(at, error, times)
    async with open_outbox(path, "gw", machine.boot, later=True) as outbox:
        gateway = Gateway(outbox, machine, Source.TRUSTED)
        await outbox.open()
        await an_hour(gateway)
        disk.heal()
        for _ in range(30):
            await gateway.look()
            await gateway.sealer.seal()
            if not (gateway.sealer.unsealed or outbox.in_memory or outbox.salvage):
                break
        assert (gateway.sealer.unsealed, outbox.in_memory) == (0, False)
        assert len(await gateway.readings()) == READINGS, (disk.failed[:9], gateway.told)
        assert await gateway.gaps() == []
    return gateway


@needs_sqlite
@pytest.mark.parametrize("times", [1, math.inf])
@pytest.mark.usefixtures("small")
async def test_whichever_call_fails_nothing_that_was_read_is_lost(tmp_path, times, caplog):
    with failing_disk(tmp_path) as disk:
        await gone_through(tmp_path / "whole.db", disk, 10**6, errno.EIO, 1)
        calls = len(disk.calls)
        for at in range(0, calls, 9):
            disk.failed.clear()
            caplog.clear()
            error = ERRORS[at // 9 % len(ERRORS)]
            await gone_through(tmp_path / f"{at}" / "o.db", disk, at, error, times)
            if times > 1 and {"sqlite write o.db-wal", "sqlite sync o.db-wal"} & {*disk.failed}:
                assert [one for one in caplog.records if one.levelname == "ERROR"], disk.failed


@needs_sqlite
@pytest.mark.usefixtures("small")
async def test_a_sync_that_failed_is_not_believed_later(tmp_path):
    """What one failed fsync should have written is gone, though the next one succeeds."""
    with failing_disk(tmp_path) as disk:
        for at in count():
            path, kept = tmp_path / f"{at}" / "o.db", tmp_path / f"{at} after"
            kept.mkdir()
            machine = FakeMachine()
            async with open_outbox(path, "gw", machine.boot) as outbox:
                gateway = Gateway(outbox, machine, Source.TRUSTED)
                disk.fail_sync(at)
                await an_hour(gateway)
                await gateway.sealer.seal()
                sealed = {one.key for one in gateway.offered}
                assert not outbox.in_memory
                disk.survivors(path.parent, kept)
            done = not disk.failed
            disk.heal()
            disk.failed.clear()
            async with open_outbox(kept / "o.db", "gw", machine.boot) as outbox:
                found = await outbox.pending(-1, 2**63 - 1, 10**6)
                assert sealed <= {one.key for one in found}, f"sync {at}"
                assert not outbox.notices
            if done:
                assert at > 3
                return


@pytest.mark.usefixtures("small")
async def test_a_disk_of_which_nobody_knows_the_room_is_no_full_one(tmp_path, monkeypatch):
    def dead(_):
        raise OSError(errno.EIO, "Input/output error")

    machine = FakeMachine()
    async with open_outbox(tmp_path / "o.db", "gw", machine.boot) as outbox:
        gateway = Gateway(outbox, machine, Source.TRUSTED)
        await gateway.keeper.start()
        gateway.add(5)
        await gateway.sealer.seal()
        monkeypatch.setattr(os, "statvfs", dead)
        await gateway.look(12)
        assert len(await gateway.readings()) == 5
        assert "disk_full" not in gateway.told
        assert not outboxdisk.is_full(sqlite3.OperationalError("disk I/O error"), outbox.path)


@pytest.mark.parametrize("at", range(3))
def test_a_damaged_outbox_is_set_aside_with_its_log_or_not_at_all(tmp_path, monkeypatch, at):
    parts = {name: tmp_path / name for name in ("o.db", "o.db-wal", "o.db-shm")}
    for name, part in parts.items():
        part.write_text(name)
    rename, calls = Path.rename, count()

    def failing(path, target):
        if next(calls) == at:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        outboxdisk.set_aside(parts["o.db"], "now")
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {n: n for n in parts}


def test_a_disk_that_answers_no_question_is_an_answer(tmp_path, monkeypatch):
    with failing_disk(tmp_path) as disk:
        disk.fail(0, errno.EIO, math.inf)
        said = trouble.of_database(tmp_path / "o.db", "unable to open database file")
    assert "unable to open database file: Input/output error" in said


# The cloud's state


@needs_sqlite
async def test_the_state_says_what_was_committed_whichever_call_fails(tmp_path):
    def make(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (n INTEGER)"))

    def put(connection: Connection, n: int) -> None:
        connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": n})

    def got(connection: Connection) -> list[int]:
        return list(connection.execute(text("SELECT n FROM t ORDER BY n")).scalars())

    async def session(path: Path) -> set[int]:
        """The numbers that are said to be there."""
        said = set()
        async with state.connected(path) as one:
            await one.run(make)
            for n in range(5):
                for _ in range(3):
                    try:
                        await one.run(partial(put, n=n))
                        said.add(n)
                        break
                    except Unavailable:
                        pass
        return said

    with failing_disk(tmp_path) as disk:
        for at in count(step=5):
            path = tmp_path / f"{at}" / "cloud.db"
            path.parent.mkdir()
            disk.failed.clear()
            disk.fail(at, ERRORS[at // 5 % len(ERRORS)])
            said: set[int] = set()
            with contextlib.suppress(Unavailable):  # the service says so in one line, and ends
                said = await session(path)
            disk.heal()
            async with state.connected(path) as one:
                await one.run(make)
                found = await one.run(got)
            assert said <= {*found}, disk.failed
            assert len(said) in (0, 5), disk.failed
            if not disk.failed:
                assert at > 20
                return


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"no number", b"123456789\n"])
async def test_a_second_service_is_refused_whatever_stands_in_the_lock(tmp_path, content):
    path = tmp_path / "cloud.db"
    with database.only_writer(path):
        (tmp_path / "cloud.db.lock").write_bytes(content)
        refused = pytest.raises(Unavailable, match=r"process (another|123456789) writes it")
        with refused, database.only_writer(path):
            pass


def test_a_full_disk_keeps_no_service_from_taking_its_lock(tmp_path):
    with failing_disk(tmp_path) as disk:
        disk.fail(1, errno.ENOSPC, 2)
        with database.only_writer(tmp_path / "cloud.db"):
            assert disk.failed == ["ftruncate cloud.db.lock"]


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    refused = pytest.raises(Unavailable, match="cannot be locked: No locks available")
    with refused, database.only_writer(tmp_path / "cloud.db"):
        pass
