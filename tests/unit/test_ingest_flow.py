"""Takes overlap on their way to the store; what follows from them is in order, and nothing is
acknowledged before its time."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloud import ledger
from cloud.errors import Unavailable
from cloud.ingest import streams, worker, writing
from cloud.ingest.writing import SENDERS
from cloud.store import Points
from tests.taking import KEY, flowing, message
from tests.waiting import until
from wire.ranges import Intervals


@pytest.fixture(autouse=True)
def one_message_is_a_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TAKE", 1)


async def test_sends_overlap_and_the_rest_is_in_order(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        for number in (1, 2, 3):
            flow.session.waiting.put_nowait(message(number))
        await until(lambda: flow.store.asked.keys() == {1, 2})
        assert SENDERS == 2
        flow.store.answer(2)  # the later one is there first: the third may go
        await until(lambda: 3 in flow.store.asked)
        flow.store.answer(3)
        assert (flow.session.acked, flow.store.committed) == ([], [])
        assert await flow.ledgered() == Intervals()
        flow.store.answer(1)
        await until(lambda: len(flow.session.acked) == 3)
        assert flow.store.committed == flow.session.acked == [1, 2, 3]
        assert await flow.ledgered() == Intervals([1, 2, 3])


async def test_streams_that_were_not_used_for_long_are_had_from_the_database_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAMS_KNOWN", 2)
    async with flowing(tmp_path) as flow:
        known: Any = flow.ingest._examination._streams._known
        held = []
        for number, stream in enumerate("abacb", 1):
            flow.session.waiting.put_nowait(message(number, stream))
            await until(partial(flow.store.asked.__contains__, number))
            flow.store.answer(number)
            await until(partial(flow.session.acked.__contains__, number))
            held.append("".join(key.stream for key in known))
        assert held == ["a", "ab", "ba", "ac", "cb"]
        found = await flow.database.run(ledger.load)
        received = {key.stream: one.received for key, one in found.items()}
        assert received == {
            "a": Intervals([1, 3]),
            "b": Intervals([2, 5]),
            "c": Intervals([4]),
        }
        flow.session.waiting.put_nowait(message(3, "a"))  # forgotten, and known again
        await until(lambda: len(flow.session.acked) == 6)
        assert flow.store.committed == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("take", [1, 10])
async def test_a_batch_that_comes_twice_at_once_is_written_and_counted_once(
    take: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is in the other one: numbers on their way are taken."""
    monkeypatch.setattr(worker, "TAKE", take)
    monkeypatch.setattr(writing, "OVERTAKE_S", 0.01)
    async with flowing(tmp_path) as flow:
        flow.send(message(1), message(1, depth=0.2), message(2))
        await until(lambda: 1 in flow.store.asked)
        if take == 1:
            await until(lambda: 2 in flow.store.asked)
            flow.store.answer(2)
            await until(lambda: 2 in flow.session.acked)
        assert len(flow.store.asked[1]) == 1
        flow.store.answer(1)
        await until(lambda: take == 1 or 2 in flow.store.asked)
        flow.store.answer(2)
        await until(lambda: len(flow.session.acked) == 3)
        assert len(flow.store.asked[1]) == len(flow.store.asked[2]) == 1
        assert sorted(flow.store.committed) == [1, 2]
        found = await flow.database.run(lambda connection: ledger.load(connection, {KEY}))
        assert (found[KEY].readings, found[KEY].redelivered) == (2, 1)
        (reading,) = (r for at, r in flow.store.points if at == 1)
        assert reading.value == 0.1


async def test_while_the_store_is_away_messages_are_taken_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(writing, "LONGEST_DELAY_S", 0.05)
    away = True
    async with flowing(tmp_path, release_after_s=0.1) as flow:

        async def send(points: Sequence[Points]) -> None:
            if away:
                raise Unavailable("nobody there")

        monkeypatch.setattr(flow.store, "send", send)
        for number in range(1, 31):
            flow.session.waiting.put_nowait(message(number))
        # The broker has all of them back, and nothing is stored, and no gateway hears of it.
        await until(lambda: sorted(flow.session.acked) == [*range(1, 31)])
        assert await flow.ledgered() == Intervals()
        assert flow.session.acks == Intervals()
        assert await flow.examined() == Intervals(range(1, 31))
        hand = flow.ingest._examination.hand
        assert len(hand) <= worker.TAKES_IN_HAND + 1
        away = False
        await until(lambda: not hand)
        stored = await flow.ledgered()
        assert stored == flow.session.acks == Intervals(flow.store.committed)

        async def all_acked() -> bool:
            # Their gateways have them, and send them again until they are acknowledged: on a busy
            # machine some are given back once more.
            for number in range(1, 31):
                if number not in flow.session.acks:
                    flow.session.waiting.put_nowait(message(number))
            await asyncio.sleep(0.3)
            return bool(flow.session.acks == Intervals(range(1, 31)))

        await until(all_acked)
        assert await flow.ledgered() == Intervals(range(1, 31))
        assert sorted(flow.store.committed) == [*range(1, 31)]
        assert await flow.examined() == Intervals()


async def test_what_is_in_flight_is_ended_before_the_connection_is_given_up(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        flow.session.waiting.put_nowait(message(1))
        await until(lambda: 1 in flow.store.asked)
        flow.session.waiting.put_nowait(None)
        await asyncio.sleep(0.05)
        assert await flow.ledgered() == Intervals()
        flow.store.answer(1)
        await until(lambda: flow.session.acked == [1])
        assert await flow.ledgered() == Intervals([1])


async def test_a_gateway_that_sends_nothing_but_garbage_does_not_flood_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with flowing(tmp_path) as flow:
        for number in range(1, 21):
            garbage = message(number)._replace(payload=b"garbage")
            flow.session.waiting.put_nowait(garbage)
        await until(lambda: len(flow.session.acked) == 20)
        told = [one.message for one in caplog.records if "to quarantine" in one.message]
        assert len(told) == 1
        assert "to quarantine: 1 more, among them: not zlib" in told[0]
        flow.ingest._examination.failures._quiet_until = 0.0  # a minute later
        flow.session.waiting.put_nowait(message(21)._replace(payload=b"garbage"))
        await until(lambda: len(flow.session.acked) == 21)
        assert "to quarantine: 20 more" in caplog.text
