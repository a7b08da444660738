"""Whatever a server answers to a write: each reading is stored, or in quarantine because an answer
condemns it, or its gateway keeps it. Nothing is acknowledged and lost; no limit and no right that
is missing puts a reading into quarantine."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import refusals
from cloud.errors import Rejected, Unavailable
from cloud.ingest import writing
from cloud.store import Points
from cloud.store.refusal import Refused, TooLate, heard, judged, of_the_request
from tests.examples import examples
from tests.taking import NOW_MS, Flow, flowing, message
from tests.waiting import until
from wire.ranges import Intervals

LIMIT = "partial write: max-series-per-database limit exceeded: (1000) dropped=1"
MEND = "raise max-series-per-database"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST_DELAY_S", 0.001), ("LONGEST_DELAY_S", 0.002), ("DOUBT_S", 0.0)):
        monkeypatch.setattr(writing, name, value)
    monkeypatch.setattr(refusals, "_ROUND_S", 0.001)


def values_of(points: Sequence[Points]) -> list[float | None]:
    return [one.value for _, some in points for one in some]


def limited(points: Sequence[Points]) -> None:
    """A server at its limit: it takes no series but those it has."""
    if 0.666 in values_of(points):
        raise of_the_request(LIMIT, MEND)


def limited_and_picky(points: Sequence[Points]) -> None:
    """The limit is reached while one that it refuses is looked for."""
    if 0.333 in values_of(points):
        raise Rejected("field type conflict")
    limited(points)


async def cases(flow: Flow) -> list[Any]:
    return [one["batch"] for one in await flow.table("quarantine")]


async def test_a_limit_holds_its_own_batches_and_nothing_else(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        flow.store.judge = limited
        flow.send(message(1), message(2, depth=0.666), message(3), message(4, gateway="h"))
        await until(lambda: flow.session.acks == Intervals([1, 3, 4]))
        assert await cases(flow) == []
        flow.send(message(5))
        await until(lambda: 5 in flow.session.acks)
        flow.send(message(2, depth=0.666))  # its gateway sends it again
        await until(lambda: len(flow.session.acked) == 6)
        assert 2 not in flow.session.acks
        assert await cases(flow) == []
        flow.store.judge = lambda _: None  # an operator has raised the limit
        flow.send(message(2, depth=0.666))
        await until(lambda: flow.session.acks == Intervals([1, 2, 3, 4, 5]))
        assert ("g", 2, 0.666) in flow.store.written


async def test_a_limit_that_is_reached_while_another_is_looked_for(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        flow.store.judge = limited_and_picky
        flow.send(message(1), message(2, depth=0.666), message(3, depth=0.333), message(4))
        await until(lambda: flow.session.acks == Intervals([1, 3, 4]))
        assert await cases(flow) == [3]


async def test_alerts_go_on_while_a_search_waits_for_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the store that is away in the midst of it, not the state."""
    asked = 0

    def judge(points: Sequence[Points]) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Unavailable("timeout")
        raise Rejected("field type conflict", 1)

    async with flowing(tmp_path) as flow:
        flow.store.judge = judge
        flow.send(message(1), message(2))
        await until(lambda: asked > 4)
        assert not flow.ingest._writing.is_blocked
        assert not flow.session.acks
        flow.store.judge = lambda _: None
        await until(lambda: flow.session.acks == Intervals([1, 2]))


async def test_no_right_puts_nothing_into_quarantine(tmp_path: Path) -> None:
    asked: list[Sequence[Points]] = []

    def judge(points: Sequence[Points]) -> None:
        asked.append(points)
        raise of_the_request("http://db says 403: forbidden", "it needs the right to write")

    async with flowing(tmp_path) as flow:
        flow.store.judge = judge
        flow.send(*(message(n) for n in range(1, 6)))
        await until(lambda: len(asked) > 20)
        assert await cases(flow) == []
        assert not flow.session.acks
        flow.store.judge = lambda _: None
        await until(lambda: flow.session.acks == Intervals(range(1, 6)))


def answer(words: str, dropped: int | None) -> bytes:
    return json.dumps(
        {"error": words + ("" if dropped is None else f" dropped={dropped}")}
    ).encode()


ANSWERS = st.tuples(
    st.sampled_from([400, 401, 403, 404, 405, 413, 422, 429, 500, 502, 503]),
    st.sampled_from(
        [
            *(b"", b"<html>partial write: unable to parse</html>", b'{"error": "unable to par'),
            *(answer("partial write: field type conflict", n) for n in (None, 0, 1, 2, 99)),
            *(answer("unable to parse 'dropped=9'", n) for n in (None, 3)),
            answer("partial write: max-values-per-tag limit exceeded (1/1)", 1),
            answer("the frobnicator says no", 5),
            answer("timeout", None),
        ]
    ),
)


@examples(15)
@given(st.lists(ANSWERS, max_size=12), st.sets(st.integers(1, 8)), st.booleans())
async def test_nothing_is_lost_whatever_a_server_answers(
    answers: list[tuple[int, bytes]], bad: set[int], own: bool
) -> None:
    """It answers so for a while, then it takes all that it does not really refuse."""
    condemned: set[int] = set()
    left = [*answers]

    def judge(points: Sequence[Points]) -> None:
        numbers = {one.at_ms - NOW_MS for _, some in points for one in some}
        if left:
            status, body = left.pop(0)
            error = Refused("http://db", status, "no", heard(body, len(numbers)), len(numbers))
            row = judged(status, error.answer, error.lines)
            if row is None:
                raised: Exception = Rejected("no") if own else of_the_request("no", "")
            else:
                raised = error.as_judged(row, 0.0)
            assert not isinstance(raised, TooLate)
            if isinstance(raised, Rejected):
                condemned.update(numbers)
            raise raised
        if numbers & bad:
            condemned.update(numbers & bad)
            raise Rejected("field type conflict")

    with TemporaryDirectory() as folder:
        async with flowing(Path(folder)) as flow:
            flow.store.judge = judge
            flow.send(*(message(n) for n in range(1, 9)))
            async with asyncio.timeout(20):
                while flow.session.acks != Intervals(range(1, 9)):
                    sent = len(flow.session.acked)
                    await until(lambda: not flow.ingest._examination.hand or _all(flow))
                    if not _all(flow):
                        stored = {number for _, number, _ in flow.store.written}
                        held = {*await cases(flow)}
                        acked = {n for n in range(1, 9) if n in flow.session.acks}
                        assert acked <= stored | held
                        flow.send(*(message(n) for n in range(1, 9) if n not in acked))
                        await until(partial(_has_more, flow, sent))
            stored = {number for _, number, _ in flow.store.written}
            held = {*await cases(flow)}
            assert stored | held == set(range(1, 9))
            assert held <= condemned
            assert bad <= held | stored


def _all(flow: Flow) -> bool:
    return flow.session.acks == Intervals(range(1, 9))


def _has_more(flow: Flow, sent: int) -> bool:
    return len(flow.session.acked) > sent
