"""`shuichi account` and `shuichi quarantine` as people use them, and misuse them."""

import asyncio
import base64
import fcntl
import json
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, event, select

import shuichi
from cloud import cases, config, desk, ledger, quarantine, service, state, tables, told
from cloud.cases import Order, Outcome
from cloud.desk import Clerk, Operation, open_desk
from cloud.intake import Arrived
from cloud.ledger import Key, Stream
from cloud.quarantine import Case, Filter, Kind, Reason
from cloud.store import Points
from configs.loader import UserError
from wire import codec
from wire.messages import Batch, Gap
from wire.mqtt import Message
from wire.reading import Quality, Quantity, Reading

NOW = time.time_ns() // 1_000_000
TOPIC = "shuichi/v1/0/gw-07/data"
STREAM = "5f0c9a1be2d34477"
READING = Reading("north-underpass", "ruler-1", Quantity.DEPTH, 0.14, NOW - 9999, Quality.GOOD)

Run = Callable[..., "Ended"]


class Ended(msgspec.Struct):
    """A command that has: `lines` is what it printed."""

    code: int
    lines: list[str]
    errors: list[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A config beside a state in which all there is to be shown is found."""
    file = tmp_path / "cloud.toml"
    file.write_text('[store]\nkind = "sqlite"\n')
    now_ms = time.time_ns() // 1_000_000
    key, other = Key("gw-07", STREAM), Key("gw-08", "b")
    point = Case(
        Kind.READING,
        Reason.REFUSED,
        "http://127.0.0.1:8086 says 400: partial write: points beyond retention policy dropped=1",
        TOPIC,
        quarantine.record("gw-07", READING),
        *key,
        2,
        3,
        1,
        True,
    )
    garbage = Case(Kind.MESSAGE, Reason.UNREADABLE, "not zlib", TOPIC, b"\xff\x00", "gw-07")
    strange = Case(Kind.MESSAGE, Reason.UNREADABLE, "not a batch", TOPIC, b"?", "gw-08", "b", 2)

    def fill(connection: Connection) -> None:
        one, two = Stream(), Stream()
        for number in (1, 2, 5, 9):
            one.accept(number, 10, now_ms - 600_000, now_ms - 8000)
        gap = Gap("disk full", now_ms - 90_000, now_ms - 60_000, 30, ((3, 3),))
        one.declare(gap)
        one.expect(12, 111)
        one.look_for_hole(now_ms - 300_000)
        two.accept(2, 0, now_ms)
        two.look_for_hole(now_ms)
        one.redelivered = 4
        ledger.save(connection, {key: one, other: two}, {key: Stream(), other: Stream()})
        message = Message(TOPIC, b"", False, 1, 1)
        told.save(connection, [Arrived(Batch(*key, 9, gaps=(gap,)), message)])
        said = {"gateway": "gw-07", "shard": "0", "state": "online", "stream": STREAM, "pending": 5}
        times = {"at_ms": now_ms, "received_at_ms": now_ms - 12_000}
        state.upsert(connection, tables.gateway, [said | times])
        cases = [point, garbage, strange._replace(readings=None, ledgered=True)]
        quarantine.save(connection, cases, now_ms)

    async def make() -> None:
        stored = [msgspec.structs.replace(READING, at_ms=now_ms - 8000 - n) for n in range(40)]
        async with service.opened(config.read(file)) as (_, store):
            await store.write([Points("gw-07", stored)], fill)

    asyncio.run(make())
    return file


@pytest.fixture
def run(file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "80")

    def command(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["shuichi", *words, "--config", str(file)])
        with pytest.raises(SystemExit) as ended:
            shuichi.main()
        code = ended.value.code
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return Ended(int(code or 0), said.out.splitlines(), said.err.splitlines())

    return command


def ids(run: Run) -> dict[str, str]:
    return {one["words"][:4]: one["id"] for one in listed(run)}


def listed(run: Run, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("quarantine", "list", "--json", *options).lines]


def test_the_account_in_eighty_columns(run: Run) -> None:
    told = run("account")
    text = "\n".join(told.lines)
    assert max(map(len, told.lines)) <= 80
    assert told.code == 1
    for part in (
        "gw-07: online, heard ",
        "5 batches waiting there",
        "batches   4 received of 12, 4 again",
        "MISSING   4, 6",
        "pending   7-8, 10-12, with the gateway",
        "waits     for batch 4, as the oldest for ",
        "readings  111 sealed, 40 stored, 1 in quarantine, 30 declared lost",
        "lost      disk full: 30 from ",
        "gw-08: has never said how it is",
        "0 stored, 1 whole batch in quarantine",
        "NOT OK: 2 batches missing; 6 pending;",
    ):
        assert part in text
    assert run("account", "--since", "5m").lines[0].startswith("gw-08")


def test_the_account_for_machines(run: Run) -> None:
    (line,) = run("account", "--json").lines
    one, two = json.loads(line)["streams"]
    assert (one["missing"], one["on_the_way"]) == ([[4, 4], [6, 6]], [[7, 8], [10, 12]])
    assert (one["expected_batches"], one["hole"]) == (12, 4)
    assert one["gaps"][0]["reason"] == "disk full"
    assert two["quarantined_unknown"] == 1
    assert json.loads(line)["ok"] is False


def test_cases_are_listed_and_shown(run: Run) -> None:
    lines = run("quarantine", "list").lines
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith(" ")]) >= 3
    assert len(listed(run, "--gateway", "gw-07")) == 2
    assert len(listed(run, "--reason", "refused")) == 1
    assert len(listed(run, "--since", "1h")) == 3
    assert listed(run, "--since", "2030-01-01") == []
    assert run("quarantine", "list", "--limit", "1").errors == ["2 more; --limit shows them"]
    case = ids(run)["http"]
    shown = run("quarantine", "show", case[:8]).lines
    assert max(len(line) for line in shown if not line.startswith(("id", "{"))) <= 80
    assert case in shown[0]
    assert json.loads(shown[-1])["bn"] == "gw-07/north-underpass/ruler-1/depth"
    raw = run("quarantine", "show", case, "--raw").lines
    assert codec.decode_record("gw-07", raw[0].encode()) == READING


def test_cases_are_exported_with_what_came(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "cases.jsonl"
    assert run("quarantine", "export", str(out)).lines == [f"{out}: 3 cases"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    payloads = {base64.b64decode(one["payload"]) for one in lines}
    assert payloads == {b"\xff\x00", b"?", quarantine.record("gw-07", READING)}
    assert len(run("quarantine", "export", "-", "--gateway", "gw-08").lines) == 1


def test_a_retry_without_a_service_does_it_here(run: Run) -> None:
    case = ids(run)["http"]
    assert run("quarantine", "retry", case) == Ended(0, ["1 case ended; 1 reading stored"], [])
    told = run("quarantine", "retry", "--all")
    assert (told.code, told.lines) == (1, ["0 cases ended; 0 readings stored"])
    assert len(told.errors) == 2
    text = "\n".join(run("account", "--gateway", "gw-07").lines)
    assert "111 sealed, 41 stored, 30 declared lost" in text


def test_what_is_dropped_is_told(run: Run, file: Path) -> None:
    case = ids(run)["http"]
    assert run("quarantine", "drop", case, "--yes").lines == ["1 case dropped, 1 reading in them"]
    text = "\n".join(run("account").lines)
    assert "40 stored, 1 dropped, 30 declared lost" in text
    assert "1 dropped; 2 cases in quarantine" in text

    async def log() -> list[Any]:
        async with service.opened(config.read(file), read_only=True) as (database, _):
            rows = select(tables.quarantine_log)
            return [*await database.run(lambda c: c.execute(rows).all())]

    (row,) = asyncio.run(log())
    assert (row.who, row.verdict) == (desk.me(), "dropped")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("account --since yesterday", "neither a span such as"),
        ("account --gateway nobody", "nothing has ever come from it"),
        ("quarantine show zzzz", "is not an ID"),
        ("quarantine show 12", "is not an ID"),
        ("quarantine show 00000000", "there is no such case"),
        ("quarantine retry", "Name the cases by ID, or give --all."),
        ("quarantine retry --all abcd", "Name the cases by ID, or give --all."),
        ("quarantine retry --gateway g abcd", "--gateway and --reason go with --all."),
        ("quarantine drop --reason refused abcd", "--gateway and --reason go with --all."),
        ("quarantine drop", "Name the cases by ID, or give --all."),
        ("quarantine drop --all abcd", "Name the cases by ID, or give --all."),
        ("quarantine drop ffff0000ffff --yes", "there is no such case"),
        ("quarantine list --reason bored", "is not one of"),
        ("quarantine list --limit 0", "is not in the range"),
        ("quarantine export /nowhere/out", "cannot be written"),
        ("quarantine throw", "No such command"),
    ],
)
def test_wrong_input_is_one_line(run: Run, words: str, problem: str) -> None:
    ended = run(*words.split())
    assert (ended.code, ended.lines, len(ended.errors)) == (2, [], 1)
    assert problem in ended.errors[0]


def test_all_wrong_ids_are_told_at_once(run: Run) -> None:
    ended = run("quarantine", "drop", "--yes", "zzzz", "00000000", ids(run)["http"])
    assert (ended.code, ended.lines) == (2, [])
    assert [line.partition(":")[2][:5] for line in ended.errors] == [" zzzz", " 0000"]
    assert len(listed(run)) == 3


def test_all_cases_of_a_kind_are_dropped_at_once(run: Run) -> None:
    told = run(
        "quarantine", "drop", "--all", "--reason", "unreadable", "--gateway", "gw-07", "--yes"
    )
    assert told.lines == ["1 case dropped, 0 readings in them"]
    assert run("quarantine", "drop", "--all", "--reason", "unreadable", "--yes").code == 0
    (left,) = listed(run)
    assert left["reason"] == "refused"


@pytest.fixture
def few_variables() -> Iterator[int]:
    """How many values a statement of SQLite may have here; without this it is 32766."""
    most = 3000

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, most)

    event.listen(Engine, "connect", limit)
    yield most
    event.remove(Engine, "connect", limit)


def test_more_cases_than_a_statement_has_room_for(run: Run, file: Path, few_variables: int) -> None:
    count = few_variables + 100

    async def fill() -> None:
        many = [Case(Kind.MESSAGE, Reason.UNREADABLE, "-", TOPIC, b"%d" % n) for n in range(count)]
        async with state.opened(config.read(file).database) as database:
            await database.run(lambda c: quarantine.save(c, many, NOW - 9999))

    asyncio.run(fill())
    assert len(run("quarantine", "export", "-").lines) == count + 3
    more = f"{count + 2} more; --limit shows them"
    assert run("quarantine", "list", "--limit", "1").errors == [more]
    told = run("quarantine", "drop", "--all", "--yes").lines
    assert told == [f"{count + 3} cases dropped, 1 reading in them"]


def test_a_case_that_cannot_be_tried_keeps_its_words(run: Run, file: Path) -> None:
    async def fill() -> None:
        state_of = Case(Kind.STATE, Reason.UNREADABLE, "not a Status", TOPIC, b"{", "gw-07")
        async with state.opened(config.read(file).database) as database:
            await database.run(lambda c: quarantine.save(c, [state_of], NOW))

    asyncio.run(fill())
    for _ in range(2):
        told = run("quarantine", "retry", "--all", "--gateway", "gw-07", "--reason", "unreadable")
        assert told.code == 1
    words = {one["words"] for one in listed(run, "--gateway", "gw-07") if one["kind"] == "state"}
    assert words == {"is no batch, drop it: not a Status"}


def test_what_is_over_and_complete_shares_a_line(run: Run, file: Path) -> None:
    def fill(connection: Connection) -> None:
        streams = {Key("gw-07", f"{n:016x}"): Stream() for n in range(30)}
        for stream in streams.values():
            stream.accept(1, 0, NOW - 9_000_000)
        ledger.save(connection, streams, {key: Stream() for key in streams})
        silent = {
            "gateway": "gw-09",
            "shard": "0",
            "state": "lost",
            "stream": None,
            "pending": None,
        }
        times = {"at_ms": NOW, "received_at_ms": NOW}
        state.upsert(connection, tables.gateway, [silent | times])

    async def make() -> None:
        async with state.opened(config.read(file).database) as database:
            await database.run(fill)

    asyncio.run(make())
    lines = run("account").lines
    assert lines[1] == "  30 earlier streams, complete: 30 batches received, 0 readings stored"
    assert lines[2].startswith(f"  stream {STREAM}")
    assert not any(line.endswith(" ") for line in lines)
    assert any(line.startswith("gw-09: lost") for line in lines)
    in_full = run("account", "--gateway", "gw-07").lines
    assert len([line for line in in_full if line.startswith("  stream ")]) == 31
    none = run("account", "--since", "2030-01-01").lines
    assert none[0] == "nothing has come that can be counted"


def test_while_the_store_is_away_the_ledger_is_told(run: Run, file: Path) -> None:
    file.write_text(
        '[store]\nkind = "influx"\napi = "v1"\nurl = "http://127.0.0.1:1"\ndatabase = "x"\n'
    )
    told = run("account")
    assert (told.code, len(told.errors)) == (2, 1)
    assert "http://127.0.0.1:1 cannot be reached" in told.errors[0]
    text = " ".join(told.lines)
    assert "MISSING   4, 6" in text
    assert "40 readings in the ledger, those in the store not counted" in text
    (line,) = run("account", "--json").lines
    assert json.loads(line)["readings_in_store"] is None


def test_without_a_state_it_says_so(run: Run, file: Path) -> None:
    (file.parent / "cloud.db").unlink()
    for words in ("account", "quarantine list", "quarantine retry --all"):
        ended = run(*words.split())
        assert (ended.code, len(ended.errors)) == (2, 1)
        assert "there is no such file" in ended.errors[0]


def test_beside_a_writer_that_keeps_no_desk_it_writes_nothing(run: Run, file: Path) -> None:
    with (file.parent / "cloud.db.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run("quarantine", "retry", "--all")
    assert (ended.code, len(ended.errors)) == (2, 1)
    assert "writes it already" in ended.errors[0]


def echo(failure: Exception | None = None) -> Operation[Order, Outcome]:
    async def run(clerk: Clerk, order: Order) -> Outcome:
        if failure:
            raise failure
        return Outcome(ended=7)

    return Operation("echo", Order, Outcome, run)


async def test_a_service_does_it_for_the_command_line(file: Path) -> None:
    setup, order = config.read(file), Order(Filter())
    socket = desk.socket_of(setup)
    async with (
        service.opened(setup) as (database, store),
        open_desk(setup, database, store, echo(), cases.RETRY),
    ):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert await desk.ask(setup, echo(), order) == Outcome(ended=7)
        assert (await desk.ask(setup, cases.RETRY, order)).readings == 1
        with pytest.raises(UserError, match=r"knows no operation 'quarantine\.drop'"):
            await desk.ask(setup, cases.DROP, order)
        for nonsense in (b"\n", b"5\n", b'{"operation":"echo","who":"x","order":{"wanted":5}}\n'):
            reader, writer = await asyncio.open_unix_connection(socket)
            writer.write(nonsense)
            assert b"does not understand" in await reader.read()
            writer.close()
    # It is gone, and what it has left behind stops nobody.
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):  # from Python 3.13 on removed
        await asyncio.open_unix_connection(socket)
    assert (await desk.ask(setup, cases.DROP, order)).ended == 2
    async with (
        service.opened(setup) as (database, store),
        open_desk(setup, database, store, echo(UserError("no"))),
    ):
        with pytest.raises(UserError, match="no"):
            await desk.ask(setup, echo(), order)


async def test_an_operation_that_breaks_does_not_end_the_service(file: Path) -> None:
    setup = config.read(file)
    async with service.opened(setup) as (database, store):
        broken = echo(RuntimeError("oh"))
        async with open_desk(setup, database, store, broken):
            for _ in range(2):
                with pytest.raises(UserError, match="the log of the service says how"):
                    await desk.ask(setup, broken, Order(Filter()))


async def test_a_visitor_who_says_nothing_does_not_hold_up_the_end(file: Path) -> None:
    setup = config.read(file)
    async with service.opened(setup) as (database, store):
        async with open_desk(setup, database, store, echo()):
            _, writer = await asyncio.open_unix_connection(desk.socket_of(setup))
            await asyncio.sleep(0)
        writer.close()
