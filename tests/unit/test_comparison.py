"""The store holds what the ledger says, gateway by gateway and day by day; what does not fit is
named, and a loss and a surplus do not cancel."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, text

import shuichi
from cloud import account as accounts
from cloud import (
    comparison,
    config,
    ledger,
    problems,
    service,
    state,
    tables,
    tally,
    told,
    writeoffs,
)
from cloud.account import Account
from cloud.config import Setup
from cloud.desk import Clerk
from cloud.errors import Unavailable
from cloud.intake import Arrived
from cloud.ledger import Key, Stream
from cloud.quarantine import Case, Kind, Reason, save
from cloud.state import State
from cloud.store import DAY_MS, Counted, Points, Query, Store
from wire.messages import Batch, GatewayState
from wire.mqtt import Message
from wire.reading import Quality, Quantity, Reading, columns

DAY0 = 1_760_000_000_000 // DAY_MS * DAY_MS
MESSAGE = Message("shuichi/v1/0/g/data", b"", False, 1, 1)


def reading(at_ms: int, sensor: str = "s") -> Reading:
    return Reading("a", sensor, Quantity.DEPTH, 0.1, at_ms, Quality.GOOD)


async def stored(
    database: State, store: Store, gateway: str, number: int, times: Sequence[int]
) -> None:
    """A batch as ingest commits it."""
    batch = Batch(gateway, "s", number, tuple(reading(at_ms) for at_ms in times))

    def also(connection: Connection) -> None:
        key = Key(gateway, "s")
        before = ledger.load(connection, {key})
        after = {key: before[key].copy()}
        after[key].accept(number, len(times), DAY0, max(times))
        ledger.save(connection, after, before)
        told.save(connection, [Arrived(batch, MESSAGE)])

    await store.write([Points(gateway, batch.readings)], also)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[State, Store]]:
    async with service.opened(Setup(config.Config(), folder)) as (database, store):
        for gateway in ("g", "h"):
            for day in range(3):
                times = [DAY0 + day * DAY_MS + n * 1000 for n in range(10)]
                await stored(database, store, gateway, day + 1, times)
        yield database, store


async def execute(database: State, statement: str) -> None:
    await database.run(lambda connection: connection.execute(text(statement)))


def wrong(found: Account) -> list[tuple[str, int | None, int, int]]:
    return [
        (
            one.gateway,
            None if one.day_ms is None else (one.day_ms - DAY0) // DAY_MS,
            one.in_ledger,
            one.in_store,
        )
        for one in found.mismatches
    ]


ONE = "DELETE FROM reading WHERE series = (SELECT min(id) FROM series WHERE gateway = 'g')"


async def test_what_is_right_is_ok(tmp_path: Path) -> None:
    async with opened(tmp_path) as (database, store):
        steps: list[tuple[int, int]] = []
        found = await accounts.take(database, store, None, None, lambda *one: steps.append(one))
        assert (found.ok, found.problems, found.mismatches) == (True, [], [])
        assert (found.readings_in_store, found.readings_ledgered) == (60, 60)
        assert steps[-1][0] == steps[-1][1] > 3
        since = await accounts.take(database, store, None, DAY0 + DAY_MS)
        assert (since.ok, since.readings_in_store, since.readings_ledgered) == (True, 40, 40)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([f"{ONE} AND at_ms = {DAY0 + DAY_MS}"], [("g", 1, 10, 9)]),
        (
            [
                f"{ONE} AND at_ms = {DAY0 + DAY_MS}",
                f"INSERT INTO reading SELECT min(id), {DAY0 + 5}, 1, 1 FROM series"
                " WHERE gateway = 'h'",
            ],
            [("g", 1, 10, 9), ("h", 0, 10, 11)],
        ),
        (
            [
                f"UPDATE reading SET at_ms = {DAY0 + DAY_MS + 1} WHERE series = 1"
                f" AND at_ms = {DAY0}",
            ],
            [("g", 0, 10, 9), ("g", 1, 10, 11)],
        ),
        (
            [
                f"{ONE} AND at_ms = {DAY0}",
                f"INSERT INTO reading SELECT min(id), {DAY0 + 7}, 1, 1 FROM series"
                " WHERE gateway = 'g'",
            ],
            [("g", 0, 10, 10)],
        ),
        (
            [
                "INSERT INTO series (gateway, site, sensor, quantity)"
                " VALUES ('foreign', 'a', 's', 'depth')",
                f"INSERT INTO reading SELECT max(id), {DAY0 + 400 * DAY_MS}, 1, 1 FROM series",
                f"{ONE} AND at_ms = {DAY0}",
            ],
            [("foreign", None, 0, 1), ("g", 0, 10, 9)],
        ),
    ],
    ids=["a loss", "a loss and a surplus", "another day", "another time", "a foreign gateway"],
)
async def test_what_is_wrong_is_named(
    tmp_path: Path,
    statements: list[str],
    expected: list[tuple[str, int | None, int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "_PAUSE_S", 0)
    async with opened(tmp_path) as (database, store):
        for statement in statements:
            await execute(database, statement)
        found = await accounts.take(database, store)
        assert not found.ok
        named = wrong(found)
        assert [(g, n, m) for g, _, n, m in named] == [(g, n, m) for g, _, n, m in expected]
        assert [d for g, d, *_ in named if g != "foreign"] == [
            d for g, d, *_ in expected if g != "foreign"
        ]
        for gateway, *_ in expected:
            assert any(line.startswith(f"{gateway}: the store has") for line in found.problems)
            alone = await accounts.take(database, store, gateway)
            assert {one.gateway for one in alone.mismatches} == {gateway}


async def test_what_an_older_release_stored_is_compared_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_PAUSE_S", 0)
    async with opened(tmp_path) as (database, store):
        await execute(database, f"DELETE FROM tally WHERE gateway = 'g' AND day_ms = {DAY0}")
        assert (await accounts.take(database, store)).ok
        await execute(database, f"{ONE} AND at_ms = {DAY0}")
        await execute(database, "INSERT INTO reading SELECT max(id), 5, 1, 1 FROM series")
        found = await accounts.take(database, store)
        assert [(one.gateway, one.in_ledger, one.in_store) for one in found.mismatches] == [
            ("g", 30, 29),
            ("h", 0, 1),
        ]


async def test_a_service_that_stores_meanwhile_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_PAUSE_S", 0)
    async with opened(tmp_path) as (database, store):
        numbers = iter(range(4, 8))
        counted = store.counted

        async def busy(query: Query) -> dict[str, Counted]:
            found = await counted(query)
            if (number := next(numbers, None)) is not None:
                times = [DAY0 + 2 * DAY_MS + number * 100_000]
                await stored(database, store, "g", number, times)
            return found

        monkeypatch.setattr(store, "counted", busy)
        found = await accounts.take(database, store)
        assert (found.ok, found.readings_ledgered) == (True, 64)


async def test_a_day_that_is_too_much_for_the_store_is_counted_by_the_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as (database, store):
        counted = store.counted

        async def slow(query: Query) -> dict[str, Counted]:
            if query.since_ms is not None and query.until_ms is not None:
                span = query.until_ms - query.since_ms
                if 3_600_000 < span <= DAY_MS:
                    raise Unavailable("no answer within 20 s")
            return await counted(query)

        monkeypatch.setattr(store, "counted", slow)
        assert (await accounts.take(database, store)).ok


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, DAY_MS - 1)), unique=True, max_size=40))
def test_tallies_are_the_sums_of_their_days(times: list[tuple[int, int]]) -> None:
    at = [DAY0 + day * DAY_MS + offset for day, offset in times]
    found = dict(tally._days(columns(tuple(map(reading, at)))))
    for day in range(4):
        own = [offset for one, offset in times if one == day]
        assert found.get(DAY0 + day * DAY_MS, (0, 0)) == (len(own), sum(own))


async def test_a_person_closes_a_loss_once_and_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_PAUSE_S", 0)
    async with opened(tmp_path) as (database, store):
        await execute(database, f"{ONE} AND at_ms = {DAY0}")
        await execute(database, "UPDATE stream SET sealed = 6, readings_sealed = 75")

        def said(connection: Connection) -> None:
            row = {"shard": "0", "state": GatewayState.ONLINE, "stream": "s", "pending": 0}
            row |= {"at_ms": DAY0, "received_at_ms": DAY0}
            rows = [row | {"gateway": gateway} for gateway in ("g", "h")]
            connection.execute(insert(tables.gateway), rows)

        await database.run(said)
        found = await accounts.take(database, store, "g")
        assert (found.missing_batches, len(found.mismatches), found.ok) == (3, 1, False)
        asked = writeoffs.Close(
            "li",
            "it burned",
            (writeoffs.Lost("g", "s", ((1, 100),)),),
            (writeoffs.Differs("g", DAY0, 1),),
        )
        clerk = Clerk(Setup(config.Config(), tmp_path), database, store, "li")
        assert await writeoffs.close(clerk, asked) == writeoffs.Closed(3, 46)
        assert await writeoffs.close(clerk, writeoffs.Close("li", "-", asked.lost)) == (
            writeoffs.Closed(0, 0)
        )
        found = await accounts.take(database, store, "g")
        assert (found.ok, found.problems, found.readings_lost) == (True, [], 45)
        (stream,) = found.streams
        assert stream.gaps[0].reason == "closed by li: it burned"
        assert not (await accounts.take(database, store, "h")).ok
        await execute(database, f"{ONE} AND at_ms = {DAY0 + 1000}")  # one more is a new loss
        assert not (await accounts.take(database, store, "g")).ok


async def test_who_holds_a_stream_in_memory_sees_that_it_was_closed(tmp_path: Path) -> None:
    async with opened(tmp_path) as (database, store):
        key = Key("g", "s")
        held = await database.run(lambda c: ledger.load(c, {key}))
        await execute(database, "UPDATE stream SET sealed = 4 WHERE gateway = 'g'")
        asked = writeoffs.Close("li", "r", (writeoffs.Lost("g", "s", ((4, 4),)),))
        clerk = Clerk(Setup(config.Config(), tmp_path), database, store, "li")
        await writeoffs.close(clerk, asked)
        after: dict[Key, Stream] = {key: held[key].copy()}
        with pytest.raises(ledger.Conflict):
            await database.run(lambda c: ledger.save(c, after, held))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(comparison, "_PAUSE_S", 0)
    (tmp_path / "cloud.toml").write_text('[store]\nkind = "sqlite"\n', "utf-8")

    def command(*words: str) -> tuple[int, str, str]:
        file = str(tmp_path / "cloud.toml")
        monkeypatch.setattr(sys, "argv", ["shuichi", *words, "--config", file])
        with pytest.raises(SystemExit) as ended:
            shuichi.main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), said.out, said.err

    return command


def filled(folder: Path, fill: Callable[[Connection], None] = lambda _: None) -> None:
    async def work() -> None:
        async with opened(folder) as (database, _):
            await database.run(fill)

    asyncio.run(work())


def test_a_loss_is_closed_by_somebody_who_has_a_name(run: Run, tmp_path: Path) -> None:
    def delete(connection: Connection) -> None:
        connection.execute(text(f"{ONE} AND at_ms = {DAY0}"))

    filled(tmp_path, delete)
    code, out, _ = run("account", "--problems")
    lines = out.splitlines()
    assert code == 1
    assert lines[0].startswith("g: the store has 1 reading of 2025-10-")
    assert lines[-2].startswith("NOT OK: ") or lines[-1].startswith("NOT OK: ")
    close = ("account", "close", "--gateway", "g", "--reason", "rows deleted by hand", "--yes")
    for nobody in ("\u200b", " ", "a\x1b[2J"):
        code, _, err = run(*close, "--person", nobody)
        assert code == 2
        assert "--person: has no letters" in err
    assert run(*close, "--person", "李军")[:2] == (0, "0 batches and 1 reading closed as lost\n")
    assert run("account", "--problems")[0] == 0
    code, _, err = run(*close, "--person", "li")
    assert (code, err) == (2, "shuichi: g: there is nothing to be closed\n")


@pytest.mark.parametrize("made", [False, True], ids=["no state", "another state"])
def test_a_state_into_which_nothing_came_is_not_ok(run: Run, tmp_path: Path, *, made: bool) -> None:
    async def make() -> None:
        async with state.opened(tmp_path / "cloud.db"):
            pass

    if made:
        asyncio.run(make())
    for words in (("account",), ("account", "--json"), ("account", "--problems")):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert "cloud.db: " in err


def quarantined(connection: Connection) -> None:
    cases = [
        Case(Kind.READING, Reason.TIME, "is old", "t", b"{}", "g", "s", 1, n, 1, ledgered=True)
        for n in range(problems.MOST_IN_QUARANTINE + 1)
    ]
    save(connection, cases, DAY0)


def refused(connection: Connection) -> None:
    now_ms = time.time_ns() // 1_000_000
    row = {"quota": "series", "things": 7, "first_at_ms": 1, "last_at_ms": now_ms}
    connection.execute(insert(tables.refused), [row | {"gateway": "g"}, row | {"gateway": ""}])


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (quarantined, "101 cases with 101 readings in quarantine, most of g"),
        (refused, "g: 7 refused so far, beyond [quota] series"),
    ],
)
def test_it_is_not_ok_while_readings_are_refused(
    run: Run, tmp_path: Path, fill: Callable[[Connection], None], words: str
) -> None:
    filled(tmp_path, fill)
    code, out, _ = run("account", "--problems")
    assert code == 1
    assert words in out
    assert "NOT OK" in out


def test_an_absurd_clock_is_not_ok(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def take() -> Account:
        async with opened(tmp_path) as (database, store):
            monkeypatch.setattr("cloud.account.time.time_ns", lambda: 86_400_000_000_000)
            return await accounts.take(database, store)

    found = asyncio.run(take())
    assert not found.ok
    assert found.problems == [
        "the clock of this machine shows the year 1970: set it, times are not judged now"
    ]


def lost(connection: Connection) -> None:
    row = {"shard": "0", "state": GatewayState.LOST, "at_ms": 1, "received_at_ms": 2}
    connection.execute(insert(tables.gateway), [row | {"gateway": "g", "stream": "s"}])


def test_a_stream_that_ended_without_a_last_word_is_named(run: Run, tmp_path: Path) -> None:
    filled(tmp_path, lost)
    code, out, _ = run("account", "--problems")
    assert code == 0
    assert "g: stream s ended without a last word" in out


def hostile(connection: Connection) -> None:
    gap = {"reason": "\x1b]0;x\u202e\nok", "from_ms": 0, "to_ms": 2**53, "batches": "[]"}
    place = {"gateway": "g", "stream": "s", "batch": 1}
    rows = [place | gap | {"position": n, "readings": None} for n in range(1000)]
    connection.execute(insert(tables.gap), rows)


def test_what_a_gateway_wrote_does_nothing_to_the_terminal(run: Run, tmp_path: Path) -> None:
    filled(tmp_path, hostile)
    code, out, _ = run("account")
    assert code == 0
    assert not set(out) & set("\x1b\u202e")
    assert "␛]0;x\ufffd␊ok" in out
    assert f"no time ({2**53} ms)" in " ".join(out.split())
    assert "and 980 more gaps" in out
    assert len(out) < 10_000


def test_gateways_that_nobody_named_are_listed(run: Run, tmp_path: Path) -> None:
    def strange(connection: Connection) -> None:
        words = "the config has no [gateway.new-1]"
        topic = "shuichi/v1/0/new-1/data"
        cases = [
            Case(Kind.MESSAGE, Reason.NOT_ALLOWED, words, topic, b"%d" % n, f"new-{n}")
            for n in range(7)
        ]
        save(connection, cases, DAY0)

    filled(tmp_path, strange)
    code, out, _ = run("account", "--problems")
    assert code == 0
    assert "not named in the config, so in quarantine: new-0, " in " ".join(out.split())
    assert "new-4 and 2 more" in " ".join(out.split())
