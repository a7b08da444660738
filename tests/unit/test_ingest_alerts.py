"""What arrives is examined when it arrives: what becomes of it in the store changes no finding."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import Rejected, Unavailable
from cloud.ingest import worker, writing
from cloud.store import Points
from tests.examples import examples
from tests.rules import rule, rules
from tests.taking import NOW_MS, Flow, away, flowing, message, takes_all
from tests.waiting import until
from wire import codec, topics
from wire.aspect import Aspect
from wire.messages import GatewayState, InterlockState, Status
from wire.mqtt import Message
from wire.ranges import Intervals
from wire.topics import What

DEPTH = rule(
    "threshold",
    quantity="depth",
    orange={"over_cm": 15, "clear_cm": 12},
    red={"over_cm": 30, "clear_cm": 27},
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(writing, "LONGEST_DELAY_S", 0.02)
    monkeypatch.setattr(worker, "LOOK_S", 0.02)


async def levels(flow: Flow) -> list[str | None]:
    return [one["level"] for one in await flow.table("alert_change")]


async def test_a_level_is_found_while_the_store_is_away_and_once_however_often_it_comes(
    tmp_path: Path,
) -> None:
    wet = [message(1, depth=0.2), message(2, depth=0.4)]
    async with flowing(tmp_path, [DEPTH], release_after_s=0.1) as flow:
        flow.store.judge = away
        flow.send(*wet)
        await until(lambda: len(flow.session.acked) == 2)
        assert await levels(flow) == ["orange", "red"]
        assert flow.woken >= 1
        assert (await flow.ledgered(), await flow.examined()) == (Intervals(), Intervals([1, 2]))
        flow.send(*wet)  # the gateway, which has heard nothing
        await until(lambda: len(flow.session.acked) == 4)
    async with flowing(tmp_path, [DEPTH], release_after_s=0.1) as flow:  # another process
        flow.store.judge = away
        flow.send(*wet)
        await until(lambda: len(flow.session.acked) == 2)
        flow.store.judge = takes_all
        flow.send(*wet, message(3, depth=0.1))
        await until(lambda: flow.session.acks == Intervals([1, 2, 3]))
        assert await levels(flow) == ["orange", "red", None]
        assert (await flow.ledgered(), await flow.examined()) == (Intervals([1, 2, 3]), Intervals())
        assert {number for _, number, _ in flow.store.written} == {1, 2, 3}


async def test_what_the_store_refuses_raises_all_the_same(tmp_path: Path) -> None:
    def refuses(_: Any) -> None:
        raise Rejected("field type conflict")

    async with flowing(tmp_path, [DEPTH]) as flow:
        flow.store.judge = refuses
        flow.send(message(1, depth=0.4))
        await until(lambda: flow.session.acks == Intervals([1]))
        assert await levels(flow) == ["red"]
        assert [one["reason"] for one in await flow.table("quarantine")] == ["refused"]


async def test_what_gateways_say_of_themselves_is_kept_while_the_store_is_away(
    tmp_path: Path,
) -> None:
    status = Status("g", GatewayState.ONLINE, NOW_MS, "s", 9, 90, 2)
    interlock = InterlockState("here", Aspect.RED, Aspect.GREEN, 0.3, "x", NOW_MS)
    said = {
        topics.topic("0", "g", What.STATUS): codec.encode(status),
        topics.topic("0", "g", What.INTERLOCK, "here"): codec.encode(interlock),
    }
    async with flowing(tmp_path, release_after_s=0.1) as flow:
        flow.store.judge = away
        flow.send(message(1), *(Message(*one, True, n, 1) for n, one in enumerate(said.items(), 2)))
        garbage = message(4)._replace(payload=b"garbage")
        flow.send(garbage)
        await until(lambda: len(flow.session.acked) == 4)
        assert [one["pending"] for one in await flow.table("gateway")] == [2]
        assert [one["wanted"] for one in await flow.table("interlock")] == ["red"]


async def test_batches_that_wait_for_the_store_are_not_missing(tmp_path: Path) -> None:
    missing = rules("ledger_gap", missing_s=1)
    async with flowing(tmp_path, missing, release_after_s=0.1) as flow:
        flow.store.judge = away
        for number in (1, 2, 3, 5):
            flow.send(message(number))
        await until(lambda: len(flow.session.acked) == 4)
        (stream,) = await flow.table("stream")
        assert stream["hole"] == 4
        (state,) = await flow.table("rule_state")
        assert '"s":[' in state["state"]
        assert state["state"].endswith("}")
        flow.send(message(4))
        await until(lambda: len(flow.session.acked) == 5)
        await flow.ingest._examination.save()
        (stream,) = await flow.table("stream")
        assert stream["hole"] is None


async def test_what_was_examined_is_committed_at_the_tick_and_nothing_without_need(
    tmp_path: Path,
) -> None:
    async with flowing(tmp_path, [DEPTH], release_after_s=300) as flow:
        flow.store.judge = away
        flow.send(message(1))
        examination = flow.ingest._examination
        await until(lambda: examination.hand)
        await examination.tick(NOW_MS)
        assert await flow.examined() == Intervals(), "it may be stored in a moment"
        examination.hand[0].began -= 60
        await examination.tick(NOW_MS)
        assert await flow.examined() == Intervals([1])
        assert len(await flow.table("rule_state")) == 1


@examples(5)
@given(st.lists(st.tuples(st.floats(0, 0.5), st.booleans(), st.booleans()), min_size=2, max_size=6))
def test_outages_and_kills_change_no_finding(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[float, bool, bool]]
) -> None:
    """Each batch with the store there or away; and after it perhaps a new process, to which all
    that is not acknowledged comes again."""

    async def run(folder: Path, *, trouble: bool) -> list[tuple[Any, ...]]:
        sent: list[Message] = []
        acks = Intervals()
        n = 0
        while n < len(batches):
            async with flowing(folder, [DEPTH], release_after_s=0.1) as flow:
                flow.store.judge = takes_all
                flow.session.acks = acks
                flow.send(*(one for one in sent if one.mid not in acks))
                while n < len(batches):
                    depth, is_away, is_killed = batches[n]
                    n += 1
                    one = message(n, depth=depth)
                    sent.append(one)
                    flow.store.judge = away if trouble and is_away else takes_all
                    acked = flow.session.acked = []
                    flow.send(one)
                    await until(partial(acked.__contains__, n))
                    if trouble and is_killed:
                        break
        async with flowing(folder, [DEPTH]) as flow:
            flow.store.judge = takes_all
            flow.session.acks = acks
            flow.send(*sent)
            await until(lambda: acks == Intervals(range(1, len(batches) + 1)))
            assert await flow.ledgered() == Intervals(range(1, len(batches) + 1))
            assert await flow.examined() == Intervals()
            found = await flow.table("alert_change")
            states = await flow.table("rule_state")
            kept = [(one["level"], one["at_ms"], one["value"]) for one in found]
            return [*kept, *((one["state"],) for one in states)]

    folder = tmp_path_factory.mktemp("flow")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    expected = asyncio.run(run(folder / "a", trouble=False))
    assert asyncio.run(run(folder / "b", trouble=True)) == expected


async def test_a_store_that_is_away_for_long_is_found_and_its_return_too(tmp_path: Path) -> None:
    async with flowing(tmp_path, rules("service"), release_after_s=0.1, store_away_s=1) as flow:
        flow.store.judge = away
        flow.send(message(1))

        async def found(*expected: str | None) -> bool:
            return tuple(await levels(flow)) == expected

        await until(lambda: found("orange"))
        (alert,) = await flow.table("alert")
        assert (alert["gateway"], alert["sensor"]) == ("cloud-service", "shard-0")
        flow.store.judge = takes_all
        await until(lambda: found("orange", None))


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "hangs"])
async def test_what_comes_behind_many_takes_that_wait_is_examined(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TAKE", 1)
    async with flowing(tmp_path, [DEPTH], release_after_s=300) as flow:
        flow.store.judge = away if fails else None
        flow.send(*(message(n) for n in range(1, 40)), message(40, depth=0.4))
        await until(lambda: levels(flow))
        assert await levels(flow) == ["red"]
        assert flow.session.acks == Intervals()


async def test_what_the_store_fails_at_for_ever_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TAKE", 1)
    monkeypatch.setattr(writing, "DOUBT_S", 0.1)
    monkeypatch.setattr(writing, "OVERTAKE_S", 0.05)
    monkeypatch.setattr("cloud.refusals._ROUND_S", 0.01)

    def fails_at_one(points: Sequence[Points]) -> None:
        if any(reading.value == 0.4 for _, some in points for reading in some):
            raise Unavailable("500: internal error")

    async with flowing(tmp_path, [DEPTH]) as flow:
        flow.store.judge = fails_at_one
        flow.send(message(1, depth=0.4))
        await until(lambda: levels(flow))
        flow.send(*(message(n, gateway="h") for n in range(2, 6)))
        await until(lambda: Intervals([2, 3, 4, 5]) == flow.session.acks or 1 in flow.session.acks)
        await until(lambda: flow.session.acks == Intervals([1, 2, 3, 4, 5]))
        (case,) = await flow.table("quarantine")
        assert (case["kind"], case["reason"], case["batch"]) == ("reading", "refused", 1)
        assert "500" in case["words"]
        assert {number for _, number, _ in flow.store.written} == {2, 3, 4, 5}
        flow.store.judge = away  # and then it is away: nothing is condemned any more
        flow.send(message(6, depth=0.2))
        await until(lambda: flow.ingest._examination.hand)
        await until(lambda: flow.ingest._writing.is_failing)
        flow.store.judge = takes_all
        await until(lambda: 6 in flow.session.acks)
        assert len(await flow.table("quarantine")) == 1
