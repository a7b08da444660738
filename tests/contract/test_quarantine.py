"""The quarantine on real stores: only what is refused goes there, each with the store's words; and
whatever happens, sealed = stored + quarantined + dropped, to the reading."""

import json
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, insert, select, text

from cloud import account as accounts
from cloud import cases, overflow, quarantine, service, tables
from cloud.account import Account, StreamAccount
from cloud.admission import Admission
from cloud.alerts.watch import Watch
from cloud.cases import Order, Outcome
from cloud.config import Config, Setup
from cloud.desk import Clerk
from cloud.ingest.worker import Ingest
from cloud.intake import sort
from cloud.problems import MOST_IN_QUARANTINE
from cloud.quarantine import Case, Filter, Kind, Reason
from cloud.shards import Lease
from cloud.state import State
from cloud.store import Points, Store
from configs import loader
from tests.influxservers import Place
from tests.services import Postgres
from tests.taking import settle
from wire import codec, topics
from wire.messages import Batch, Event, GatewayState, Status
from wire.mqtt import Message
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

NOW = time.time_ns() // 1_000_000
HOUR = 3_600_000
ALL = Order(Filter())


def setup_of(folder: Path, **tables: Any) -> Setup:
    return Setup(loader.parse(tables, Config, "test"), folder)


@dataclass
class Cloud:
    """An ingest without a broker: messages are handed to it."""

    setup: Setup
    database: State
    store: Store
    writes: list[int] = field(default_factory=list)
    """How many readings each write to the store had."""

    async def take(self, *messages: Message) -> None:
        """One take, from a worker that has just begun."""
        config = self.setup.config
        admission = Admission.of(config)
        worker = Ingest(
            config.broker,
            config.ingest,
            admission,
            Lease("shard 0", 1),
            "0",
            self.database,
            self.store,
            Watch([]),
            lambda: None,
        )
        await settle(worker, sort(messages, admission, NOW))

    async def status(self, sealed: int, readings: int, pending: int = 0) -> None:
        status = Status("g", GatewayState.ONLINE, NOW, "s", sealed, readings, pending)
        topic = topics.topic("0", "g", What.STATUS)
        await self.take(Message(topic, codec.encode(status), False, 1, 1))

    async def retry(self, order: Order = ALL, **tables: Any) -> Outcome:
        """With another config, if need be."""
        setup = setup_of(self.setup.folder, **tables) if tables else self.setup
        return await cases.retry(Clerk(setup, self.database, self.store, "li"), order)

    async def drop(self, order: Order = ALL) -> Outcome:
        return await cases.drop(Clerk(self.setup, self.database, self.store, "li"), order)

    async def cases(self, **asked: Any) -> list[Case]:
        wanted = Filter(**asked)
        kept = await self.database.run(lambda connection: quarantine.find(connection, wanted))
        return [one.case for one in kept]

    async def account(self) -> Account:
        return await accounts.take(self.database, self.store)

    async def stream(self) -> StreamAccount:
        account = await self.account()
        assert account.missing_batches == account.readings_unaccounted == 0
        assert account.mismatches == []
        assert account.ok is (account.quarantined <= MOST_IN_QUARANTINE)
        (one,) = account.streams
        return one

    async def execute(self, statement: str) -> None:
        await self.database.run(lambda connection: connection.execute(text(statement)))


@asynccontextmanager
async def opened(folder: Path, **tables_: Any) -> AsyncIterator[Cloud]:
    setup = setup_of(folder, **tables_)
    async with service.opened(setup) as (database, store):

        def lease(connection: Connection) -> None:
            row = {"name": "shard 0", "owner": "we", "until_ms": 0, "generation": 1}
            connection.execute(insert(tables.lease), [row])

        await database.run(lease)
        await store.init()
        cloud = Cloud(setup, database, store)
        send = store.send

        async def counted(points: Sequence[Points]) -> None:
            cloud.writes.append(sum(len(one.readings) for one in points))
            await send(points)

        store.send = counted  # type: ignore[method-assign]  # the protocol's is a method
        yield cloud


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    """With the embedded store."""
    async with opened(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
async def anywhere(
    request: pytest.FixtureRequest, tmp_path: Path, shared_postgres: Postgres
) -> AsyncIterator[Cloud]:
    """With the state beside the points, or on a server."""
    where: dict[str, Any] = {}
    if request.param == "postgresql":
        server = shared_postgres.database(uuid.uuid4().hex)
        where["state"] = {"url": server.url, "password_file": str(server.password_file)}
        where["store"] = {"kind": "sqlite", "path": "points.db"}
    async with opened(tmp_path, **where) as made:
        yield made


def reading(n: int = 0, **changes: Any) -> Reading:
    one = Reading("a", "ruler", Quantity.DEPTH, 0.1, NOW - 60_000 + n, Quality.GOOD)
    return replace(one, **changes)


def message(batch: Batch | bytes, gateway: str = "g") -> Message:
    payload = batch if isinstance(batch, bytes) else codec.encode_batch(batch)
    return Message(topics.topic("0", gateway, What.DATA), payload, False, 1, 1)


def batch(number: int, *readings: Reading, gateway: str = "g", **more: Any) -> Batch:
    return Batch(gateway, "s", number, readings, **more)


def packed(number: int, *records: object) -> bytes:
    whole = {"v": 1, "gateway": "g", "stream": "s", "number": number, "senml": records}
    return zlib.compress(json.dumps(whole).encode())


async def test_what_is_beyond_retention_is_retired_and_in_no_quarantine(
    influx_place: Place, tmp_path: Path
) -> None:
    if influx_place.server.major == 3:
        pytest.skip("InfluxDB 3 takes what is beyond its retention, and does not show it")
    async with opened(tmp_path, store=influx_place.config) as cloud:
        influx_place.keep(1)
        now_ms = time.time_ns() // 1_000_000
        sensors = [f"s{n}" for n in range(8)]
        old, new = (
            [reading(n, sensor=one, at_ms=at_ms + n) for one in sensors for n in range(25)]
            for at_ms in (now_ms - 2 * HOUR, now_ms - HOUR // 2)
        )
        await cloud.take(
            message(batch(1, *new[:100])), message(batch(2, *old, *new[100:])), message(batch(3))
        )
        assert await cloud.cases() == []
        await cloud.status(3, 400)
        stream = await cloud.stream()
        assert (stream.readings_ledgered, stream.readings_quarantined) == (400, 0)
        account = await cloud.account()
        assert (account.readings_retired, account.readings_in_store) == (200, 200)
        assert len(cloud.writes) < 20


async def test_only_what_conflicts_in_its_type_is_refused(
    influx_place: Place, tmp_path: Path
) -> None:
    says_which = influx_place.server.major != 3  # InfluxDB 3 takes all of a write or nothing
    async with opened(tmp_path, store=influx_place.config) as cloud:
        influx_place.put(f"depth,gateway=x value=1i {NOW}")
        influx_place.put(f'level,gateway=x value="high" {NOW}')
        good = [reading(n, quantity=Quantity.TEMPERATURE) for n in range(50)]
        silent = [
            reading(n, value=None, quality=Quality.MISSING, reason="no answer") for n in range(50)
        ]
        bad = [
            reading(100 + n, quantity=quantity)
            for quantity in (Quantity.DEPTH, Quantity.LEVEL)
            for n in range(50)
        ]
        await cloud.take(message(batch(1, *good, *bad, *silent)))
        refused = await cloud.cases()
        assert {codec.decode_record("g", one.payload) for one in refused} == set(bad)
        for case in refused:
            kind = codec.decode_record("g", case.payload).quantity
            word = "integer" if kind is Quantity.DEPTH else "string"
            said = f'"{kind}" is type float, already exists as type {word}'
            assert said in case.words if says_which else "says 4" in case.words
        if says_which:
            assert len(cloud.writes) <= 2 + 4  # a write for each kind of point
        # All of a batch, and it takes no more.
        cloud.writes.clear()
        await cloud.take(message(batch(2, *(reading(1000 + n) for n in range(2000)))))
        if says_which:
            assert len(cloud.writes) <= 3
        await cloud.status(2, 2200)
        stream = await cloud.stream()
        assert (stream.readings_ledgered, stream.readings_quarantined) == (100, 2100)
        outcome = await cloud.retry()
        assert (outcome.ended, outcome.stay, len(outcome.failures)) == (0, 2100, 100)


async def test_what_the_embedded_store_refuses(cloud: Cloud) -> None:
    await cloud.execute(
        "CREATE TRIGGER picky BEFORE INSERT ON reading WHEN NEW.value > 9"
        " BEGIN SELECT RAISE(ABORT, 'too deep'); END"
    )
    many = [reading(n, value=99.0 if n % 400 == 7 else 0.2) for n in range(2000)]
    await cloud.take(*(message(batch(n + 1, *many[n * 100 : n * 100 + 100])) for n in range(20)))
    refused = await cloud.cases()
    assert {(one.batch, one.position) for one in refused} == {(4 * n + 1, 7) for n in range(5)}
    assert all("too deep" in one.words for one in refused)
    await cloud.status(20, 2000)
    assert (await cloud.stream()).readings_quarantined == 5
    some = Order(Filter(ids=(refused[0].digest.hex(),)))
    outcome = await cloud.retry(some)
    assert (outcome.ended, outcome.stay) == (0, 1)
    assert "too deep" in outcome.failures[0].words
    await cloud.execute("DROP TRIGGER picky")
    assert await cloud.retry(some) == Outcome(ended=1, readings=1)
    assert await cloud.retry() == Outcome(ended=4, readings=4)
    stream = await cloud.stream()
    assert (stream.readings_ledgered, stream.readings_quarantined) == (2000, 0)


async def test_if_the_ledger_is_refused_the_message_is_put_aside(cloud: Cloud) -> None:
    await cloud.execute(
        "CREATE TRIGGER picky BEFORE INSERT ON event WHEN NEW.text = 'odd'"
        " BEGIN SELECT RAISE(ABORT, 'no such events'); END"
    )
    odd = batch(2, reading(2), events=(Event(NOW, "a", "k", "odd"),))
    await cloud.take(message(batch(1, reading(1))), message(odd), message(batch(3, reading(3))))
    (case,) = await cloud.cases()
    assert (case.kind, case.batch, case.readings) == (Kind.MESSAGE, 2, 0)
    assert "no such events" in case.words
    assert (await cloud.stream()).readings_ledgered == 3  # they were taken
    assert (await cloud.retry()).stay == 1
    await cloud.execute("DROP TRIGGER picky")
    assert await cloud.retry() == Outcome(ended=1)
    assert (await cloud.stream()).readings_ledgered == 3


async def test_a_dropped_case_is_told_and_does_not_come_back(anywhere: Cloud) -> None:
    sent = message(batch(1, reading(), reading(2), reading(at_ms=NOW + HOUR)))
    await anywhere.take(sent)
    await anywhere.status(1, 3)
    (case,) = await anywhere.cases()
    assert (case.reason, case.position) == (Reason.TIME, 2)
    assert (await anywhere.stream()).readings_quarantined == 1
    assert await anywhere.drop() == Outcome(ended=1, readings=1)
    await anywhere.take(sent)
    assert await anywhere.cases() == []
    stream = await anywhere.stream()
    assert (stream.readings_ledgered, stream.readings_quarantined) == (2, 0)
    assert (stream.readings_dropped, stream.redelivered_batches) == (1, 1)
    (row,) = await anywhere.database.run(
        lambda connection: connection.execute(select(tables.quarantine_log)).all()
    )
    assert (row.who, row.verdict, row.batch, row.position) == ("li", "dropped", 1, 2)
    assert row.words == case.words


async def test_what_there_is_no_room_for_is_counted(anywhere: Cloud) -> None:
    sent = message(batch(1, reading(), reading(at_ms=NOW + HOUR), reading(1, at_ms=NOW + HOUR)))
    garbage = [message(f"{n}".encode() * 100) for n in range(20)]
    await anywhere.take(sent, *garbage)
    await anywhere.status(1, 3)
    limit = overflow.Limit(anywhere.database, 1000)
    await limit.keep(NOW)
    left = await anywhere.cases()
    assert {one.kind for one in left} <= {Kind.READING}
    await overflow.Limit(anywhere.database, 0).keep(NOW)
    await anywhere.take(sent, garbage[0])
    account = await anywhere.account()
    (stream,) = account.streams
    assert (account.cases_let_go, account.quarantined, account.ok) == (22, 1, True)
    assert (stream.readings_ledgered, stream.readings_dropped) == (1, 2)
    assert (stream.readings_quarantined, stream.redelivered_batches) == (0, 1)


async def test_a_gateway_that_becomes_known_gets_its_batches_stored(tmp_path: Path) -> None:
    async with opened(tmp_path, gateway={"other": {}}) as cloud:
        wrong = reading(1, site="b")
        event = Event(NOW, "a", "k", "t")
        sent = message(batch(1, reading(), wrong, events=(event,)))
        await cloud.take(sent)
        assert (await cloud.account()).streams == []  # nor is it acknowledged: it is still there
        outcome = await cloud.retry()
        assert [one.words for one in outcome.failures] == ["the config has no [gateway.g]"]
        known: dict[str, Any] = {"gateway": {"other": {}, "g": {"sites": ["a"]}}}
        assert await cloud.retry(**known) == Outcome(ended=1, readings=1)
        (case,) = await cloud.cases()  # what is not its own stays, alone
        assert codec.decode_record("g", case.payload) == wrong
        stream = await cloud.stream()
        assert (stream.readings_ledgered, stream.readings_quarantined) == (1, 1)
        cloud.setup = setup_of(tmp_path, **known)
        await cloud.take(sent)  # its gateway sends it again: the ledger knows it
        assert (await cloud.stream()).redelivered_batches == 1
        events = await cloud.database.run(lambda c: c.execute(select(tables.event_log)).all())
        assert [(one.batch, one.position, one.text) for one in events] == [(1, 0, "t")]


async def test_readings_and_events_before_their_time(anywhere: Cloud) -> None:
    events = (Event(NOW, "a", "k", "0"), Event(NOW + HOUR, "a", "k", "1"))
    await anywhere.take(message(batch(1, reading(at_ms=NOW + HOUR), events=events)))
    assert sorted(one.kind for one in await anywhere.cases()) == [Kind.EVENT, Kind.READING]
    outcome = await anywhere.retry(ingest={"future_s": 7200})
    assert outcome == Outcome(ended=2, readings=1)
    told = await anywhere.database.run(lambda c: c.execute(select(tables.event_log)).all())
    assert sorted((one.position, one.text) for one in told) == [(0, "0"), (1, "1")]
    assert (await anywhere.stream()).readings_ledgered == 1


async def test_what_the_ledger_does_not_know_is_taken_in_once(anywhere: Cloud) -> None:
    """A message that an older release could not even name."""
    sent = message(batch(5, reading()))
    unnamed = Case(Kind.MESSAGE, Reason.UNREADABLE, "?", sent.topic, sent.payload, "g")
    garbage = unnamed._replace(payload=b"garbage")

    async def put() -> None:
        await anywhere.database.run(lambda c: quarantine.save(c, [unnamed, garbage], NOW))

    await put()
    outcome = await anywhere.retry()
    assert (outcome.ended, outcome.readings, outcome.stay) == (1, 1, 1)
    assert outcome.failures[0].words.startswith("not zlib")
    await put()
    outcome = await anywhere.retry()
    assert (outcome.ended, outcome.duplicates, outcome.readings) == (1, 1, 0)
    await anywhere.take(sent)
    account = await anywhere.account()
    (stream,) = account.streams
    assert (stream.readings_ledgered, stream.redelivered_batches) == (1, 1)
    assert account.readings_in_store == 1


async def test_a_state_is_kept_as_the_newest_of_its_topic(anywhere: Cloud) -> None:
    topic = topics.topic("0", "g", What.STATUS)
    for payload in (b"1", b"2", b"3"):
        await anywhere.take(Message(topic, payload, True, 1, 1))
    (case,) = await anywhere.cases()
    assert case.payload == b"3"
    outcome = await anywhere.retry()
    assert outcome.stay == 1
    assert "drop it" in outcome.failures[0].words
