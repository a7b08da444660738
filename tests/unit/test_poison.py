"""Whatever one message raises, wherever it raises it, costs that message and nothing else."""

import asyncio
import time
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import StatementError

from cloud import quarantine, told
from cloud.alerts import episodes
from cloud.alerts.rule import Finding
from cloud.alerts.rules import threshold
from cloud.errors import Rejected
from cloud.ingest import decoding, writing
from cloud.ingest.beginning import Beginning
from cloud.ingest.condemning import digest
from cloud.ingest.turns import gateway_of
from cloud.intake import Arrived
from cloud.intake import sort as real_sort
from cloud.shards import Lease
from tests.rules import rule
from tests.taking import Flow, flowing, message, takes_all
from tests.waiting import until
from wire.mqtt import Message
from wire.ranges import Intervals

BAD = 3
"""The number of the batch over which something raises."""

DEPTH: Any = rule("threshold", quantity="depth", red={"over_cm": 30, "clear_cm": 27})

ERRORS: list[Callable[[], Exception]] = [
    lambda: OverflowError("int too large to convert to float"),
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: MemoryError(),
    lambda: StatementError("cannot bind", "INSERT", (), ValueError("x")),
    lambda: Rejected("the database cannot hold it"),
]

GOOD = {1, 2, 4, 5}


class Dead(Exception):
    """The process has ended."""


class Raising(threshold.Threshold):
    """A rule that one reading raises in."""

    error: Any = None

    def look(self, state: Any, reading: Any, now_ms: int) -> tuple[Any, Finding | None]:
        if reading.value == 0.333:
            raise type(self).error()
        return super().look(state, reading, now_ms)


def raising(error: Callable[[], Exception]) -> Any:
    Raising.error = staticmethod(error)
    return Raising(**{one.name: getattr(DEPTH, one.name) for one in fields(DEPTH)})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FIRST_DELAY_S", 0.01)


def mixed() -> list[Message]:
    """Of three gateways, the bad one in their midst."""
    return [
        message(1),
        message(2, gateway="h", depth=0.4),
        message(BAD, depth=0.333),
        message(4, gateway="i"),
        message(5, depth=0.5),
    ]


async def survived(flow: Flow, sent: Iterable[Message]) -> None:
    """All is taken, the bad one is a case, and the next ones are taken too."""
    flow.store.judge = takes_all
    flow.send(*sent)
    await until(lambda: sorted(flow.session.acked) == [1, 2, 3, 4, 5])
    assert {number for _, number, _ in flow.store.written} == GOOD
    await until(lambda: flow.session.acks == Intervals([1, 2, 3, 4, 5]))
    (case,) = await flow.table("quarantine")
    assert (case["batch"], case["ledgered"], case["kind"]) == (BAD, True, "message")
    streams = {one["gateway"]: one["readings"] for one in await flow.table("stream")}
    assert streams == {"g": 2, "h": 1, "i": 1}
    flow.send(message(6, depth=0.1))
    await until(lambda: 6 in flow.session.acks)


@pytest.mark.parametrize("error", ERRORS)
async def test_in_decoding(
    error: Callable[[], Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sort(messages: list[Message], *rest: Any) -> Any:
        if messages[0].mid == BAD:
            raise error()
        return real_sort(messages, *rest)

    monkeypatch.setattr(decoding, "sort", sort)
    async with flowing(tmp_path, [DEPTH]) as flow:
        await survived(flow, mixed())
        found = [one["level"] for one in await flow.table("alert_change")]
        assert (len(found), found.count("red")) == (3, 2)


@pytest.mark.parametrize("error", ERRORS)
async def test_in_a_rule(error: Callable[[], Exception], tmp_path: Path) -> None:
    async with flowing(tmp_path, [raising(error)]) as flow:
        await survived(flow, mixed())
        found = [one["level"] for one in await flow.table("alert_change")]
        assert (len(found), found.count("red")) == (3, 2)
        (case,) = await flow.table("quarantine")
        assert case["reason"] == "failed"
        assert case["words"].startswith(type(error()).__name__)


@pytest.mark.parametrize("error", ERRORS)
async def test_a_rule_that_raises_blinds_no_other_rule(
    error: Callable[[], Exception], tmp_path: Path
) -> None:
    other = replace(DEPTH, name="other")
    async with flowing(tmp_path, [raising(error), other]) as flow:
        await survived(flow, mixed())
        names = {one["id"]: one["rule"] for one in await flow.table("alert")}
        found = [
            (one["level"], one["value"])
            for one in await flow.table("alert_change")
            if names[one["alert"]] == "other"
        ]
        assert ("red", 0.333) in found


@pytest.mark.parametrize("error", ERRORS)
async def test_in_the_commit_of_findings(
    error: Callable[[], Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = episodes.record

    def recorded(connection: Connection, change: Any, now_ms: int) -> None:
        if change.finding.value == 0.333:
            raise error()
        record(connection, change, now_ms)

    monkeypatch.setattr(episodes, "record", recorded)
    async with flowing(tmp_path, [DEPTH]) as flow:
        await survived(flow, mixed())
        found = await flow.table("alert_change")
        assert {(one["level"], one["value"]) for one in found} == {
            ("red", 0.4),
            ("red", 0.5),
            (None, 0.1),
        }
        assert len(found) == 3


@pytest.mark.parametrize("error", ERRORS)
async def test_in_the_commit_of_the_ledger(
    error: Callable[[], Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = told.save

    def saved(connection: Connection, batches: Iterable[Arrived]) -> None:
        many = [*batches]
        save(connection, many)
        if any(one.batch.number == BAD for one in many):
            raise error()

    monkeypatch.setattr(told, "save", saved)
    async with flowing(tmp_path, [DEPTH]) as flow:
        flow.store.judge = takes_all
        flow.send(*mixed())
        await until(lambda: flow.session.acks == Intervals([1, 2, 3, 4, 5]))
        (case,) = await flow.table("quarantine")
        assert case["batch"] == BAD
        flow.send(message(6))
        await until(lambda: 6 in flow.session.acks)


async def test_a_case_that_cannot_be_kept_is_left_to_its_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OverflowError

    save = quarantine.save

    def saved(connection: Connection, cases: Iterable[Any], *rest: Any) -> None:
        many = [*cases]
        if many:
            refused()
        save(connection, many, *rest)

    monkeypatch.setattr(quarantine, "save", saved)
    async with flowing(tmp_path) as flow:
        flow.store.judge = takes_all
        flow.send(message(1), message(2)._replace(payload=b"garbage"), message(3))
        await until(lambda: sorted(flow.session.acked) == [1, 2, 3])
        await until(lambda: flow.session.acks == Intervals([1, 3]))


async def test_the_one_at_fault_shares_no_take_with_others_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes: list[set[str]] = []
    decode = decoding.decode

    def seen(messages: Any, *rest: Any) -> Any:
        takes.append({gateway_of(one) for one in messages})
        return decode(messages, *rest)

    monkeypatch.setattr(decoding, "decode", seen)
    async with flowing(tmp_path, [raising(OverflowError)]) as flow:
        await survived(flow, mixed())
        takes.clear()
        flow.send(*(message(n, gateway=g) for n, g in enumerate("gghhiigghhii", 10)))
        await until(lambda: len(flow.session.acked) >= 18)
        assert {"g"} in takes
        assert all(one == {"g"} or "g" not in one for one in takes)


async def test_a_message_that_takes_too_long_is_the_last_of_its_take_and_then_a_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cost, clock = {2: 0.5, 4: 5.0}, 0.0

    def sort(messages: list[Message], *rest: Any) -> Any:
        nonlocal clock
        clock += cost.get(messages[0].mid, 0.001)
        return real_sort(messages, *rest)

    monkeypatch.setattr(decoding, "sort", sort)
    monkeypatch.setattr(time, "thread_time", lambda: clock)
    from cloud.admission import Admission

    admission = Admission({}, "accept", 10**12, 10**12)
    sent = [message(n) for n in range(1, 6)]
    first = decoding.decode(sent, admission, time.time_ns() // 1_000_000)
    assert (first.done, len(first.intake.batches), first.failed) == (2, 2, [])
    second = decoding.decode(sent[2:], admission, time.time_ns() // 1_000_000)
    assert (second.done, len(second.intake.batches)) == (2, 1)
    assert [one.mid for one in second.failed] == [4]
    (case,) = second.intake.cases
    assert (case.batch, case.words) == (4, "takes 5.0 s to decode")


async def test_a_message_over_which_the_process_ends_is_found_and_not_touched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in decoding: nobody can catch that, but the next process can know."""
    sent = [message(1), message(2), message(BAD), message(4)]
    touched: list[int] = []
    died = 0

    def decode(messages: Any, *rest: Any) -> Any:
        nonlocal died
        (deadly,) = rest[2:3]
        touched.extend(one.mid for one in messages if digest(one) not in deadly)
        if any(one.mid == BAD and digest(one) not in deadly for one in messages):
            died += 1
            raise Dead
        return real_decode(messages, *rest)

    real_decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", decode)
    left = sent
    for _ in range(6):
        left = await one_life(tmp_path, left, partial(int.__lt__, died), lambda: died)
        if not left:
            break
    assert left == []
    assert died <= 4
    (case,) = await flow_table(tmp_path)
    assert case["words"] == "the service ended over it, more than once"
    touched.clear()
    async with flowing(tmp_path) as flow:  # it comes again, as its gateway has no ack
        flow.store.judge = takes_all
        flow.send(message(BAD), message(5))
        await until(lambda: len(flow.session.acked) == 2)
        assert touched == [5]


async def one_life(
    folder: Path, sent: list[Message], is_dead: Callable[[int], bool], deaths: Callable[[], int]
) -> list[Message]:
    """What is not acknowledged when the process ends."""
    async with flowing(folder) as flow:
        flow.store.judge = takes_all
        flow.send(*sent)
        await until(lambda: is_dead(deaths()) or len(flow.session.acked) == len(sent))
        return [one for one in sent if one.mid not in flow.session.acked]


async def flow_table(folder: Path) -> list[dict[str, Any]]:
    async with flowing(folder) as flow:
        return await flow.table("quarantine")


async def test_a_worker_that_gets_through_what_waited_takes_no_care(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        lease = Lease("shard 0", 1)
        for _ in range(2):
            one = Beginning(flow.database, lease, "x")
            await one.begin()
            assert not one.is_careful
            await one.end()
        await Beginning(flow.database, lease, "x").begin()
        last = Beginning(flow.database, lease, "x")
        await last.begin()
        assert last.is_careful


async def test_at_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rule raises as time passes, and a finding that the database refuses, cost nobody else
    theirs."""
    dead = rule("stale", quantity="depth", silent_s=1)
    record = episodes.record

    def recorded(connection: Connection, change: Any, now_ms: int) -> None:
        if change.key.place.gateway == "h":
            raise OverflowError
        record(connection, change, now_ms)

    monkeypatch.setattr(episodes, "record", recorded)
    async with flowing(tmp_path, [dead]) as flow:
        flow.store.judge = takes_all
        flow.send(*(message(n, gateway=one) for n, one in enumerate("ghi", 1)))
        await until(lambda: flow.session.acks == Intervals([1, 2, 3]))
        watch = flow.ingest._watch
        at_ms = max(watch._heard.values()) + 60_000
        monkeypatch.setattr("cloud.ingest.examination._now_ms", lambda: at_ms)
        watch._heard = dict.fromkeys(watch._heard, at_ms)  # the gateways speak, without sensors
        for key, one in watch._ticking["g"].items():
            broken = copy(one)
            object.__setattr__(broken, "step", raise_overflow)
            watch._ticking["g"][key] = broken
        await flow.ingest._examination.tick(0)
        found = await flow.table("alert")
        assert [one["gateway"] for one in found] == ["i"]
        flow.send(message(4, gateway="g"))
        await until(lambda: 4 in flow.session.acks)


def raise_overflow(*_: Any) -> Any:
    raise OverflowError


async def test_a_take_of_small_messages_leaves_the_event_loop_its_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 0.0
    turns = 0

    def sort(messages: list[Message], *rest: Any) -> Any:
        nonlocal clock
        clock += 0.002
        return real_sort(messages, *rest)

    async def elsewhere() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(decoding, "sort", sort)
    monkeypatch.setattr(time, "thread_time", lambda: clock)
    from cloud.admission import Admission

    admission = Admission({}, "accept", 10**12, 10**12)
    sent = [message(n) for n in range(1, 101)]
    other = asyncio.create_task(elsewhere(), name="elsewhere")
    found = await decoding.decode_beside(sent, admission, time.time_ns() // 1_000_000)
    other.cancel()
    assert found.done == len(found.costs) == len(found.intake.batches) == 100
    assert turns >= 30
    clock = 0.0
    many = [message(n) for n in range(1, 251)]
    found = await decoding.decode_beside(many, admission, time.time_ns() // 1_000_000)
    assert found.done < 250, "the budget of a take holds over all of its slices"
