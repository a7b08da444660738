"""A broker that does not let us listen to a topic, in whatever way it says so, keeps us from no
other."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from cloud.alerts.rules.service import FAULTS
from cloud.intake import filters
from tests import virtual
from tests.taking import flowing, message
from tests.waiting import until
from wire.mqtt.subscriptions import CUTS, LONGEST_WAIT_S, Subscriptions
from wire.mqtt.terms import SAID, TAKEN_OVER, Disconnected, Refused


class Session:
    """A connection, on which `no` says what becomes of a filter."""

    def __init__(self, no: Callable[[str], Exception | None]) -> None:
        self.no = no
        self.heard: list[tuple[float, str]] = []

    async def subscribe(self, *filters: str) -> None:
        for one in filters:
            if (error := self.no(one)) is not None:
                raise error
            self.heard.append((virtual.now(), one))

    @property
    def topics(self) -> list[str]:
        return [topic for _, topic in self.heard]


def refused(*topics: str) -> Callable[[str], Exception | None]:
    return lambda one: Refused(f"no {one}") if one in topics else None


def cut(*topics: str, why: str = "it hung up") -> Callable[[str], Exception | None]:
    return lambda one: Disconnected(why) if one in topics else None


def test_what_is_refused_is_said_once_and_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        one, session = Subscriptions("a", "b", "c"), Session(refused("a", "c"))
        for _ in range(5):
            await one.begin(session)
        assert one.denied == {"a": "no a", "c": "no c"}
        assert set(session.topics) == {"b"}
        keeping = asyncio.create_task(one.keep(session))
        await asyncio.sleep(2 * LONGEST_WAIT_S)
        session.no = refused("c")
        await asyncio.sleep(2 * LONGEST_WAIT_S)
        assert one.denied == {"c": "no c"}
        assert session.topics.count("a") == 1
        keeping.cancel()

    with caplog.at_level(logging.INFO):
        virtual.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "no a",
        "no c",
        "the broker lets us subscribe to a again",
    ]


def test_a_topic_over_which_connections_end_is_asked_for_last() -> None:
    async def main() -> None:
        one = Subscriptions("a", "b")
        lasted: list[float] = []
        for turn in range(CUTS + 6):
            session = Session(cut("a"))
            if turn < CUTS:
                with pytest.raises(Disconnected):
                    await one.begin(session)
                continue
            await one.begin(session)
            assert session.topics == ["b"]
            assert "a" in one.denied
            began = virtual.now()
            await one.keep(session)  # until it ends over it
            lasted.append(virtual.now() - began)
        assert lasted == sorted(lasted)
        assert lasted[0] >= 10
        assert lasted[-1] == LONGEST_WAIT_S
        session = Session(cut())  # other rules
        await one.begin(session)
        keeping = asyncio.create_task(one.keep(session))
        await asyncio.sleep(2 * LONGEST_WAIT_S)
        keeping.cancel()
        assert session.topics == ["b", "a"]
        assert one.denied == {}
        await one.begin(session)
        assert session.topics[2:] == ["a", "b"]

    virtual.run(main())


def test_whoever_takes_our_session_over_keeps_us_from_no_topic() -> None:
    async def main() -> None:
        one = Subscriptions("a")
        for _ in range(5 * CUTS):
            with pytest.raises(Disconnected):
                await one.begin(Session(cut("a", why=f"{SAID}: {TAKEN_OVER}")))
        session = Session(cut())
        await one.begin(session)
        assert session.topics == ["a"]

    virtual.run(main())


@pytest.mark.parametrize("which", range(4))
async def test_a_cloud_that_may_not_hear_one_kind_takes_the_others_and_says_so(
    which: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = filters("0")[which]
    signs: list[object] = []
    async with flowing(tmp_path) as flow:
        ingest = flow.ingest

        async def subscribe(*some: str) -> None:
            if denied in some:
                raise Refused(f"the broker does not let us subscribe to {denied}: not authorized")

        monkeypatch.setattr(flow.session, "subscribe", subscribe)
        monkeypatch.setattr("cloud.ingest.worker.TICK_S", 0.01)
        ingest.on_sign_of_life = lambda: signs.append(1)
        flow.store.judge = lambda _: None
        ticks: list[object] = []
        tick = ingest._examination.tick

        async def ticked(at_ms: int) -> None:
            await tick(at_ms)
            ticks.append(1)

        ingest._examination.tick = ticked
        flow.send(message(1))
        await until(lambda: flow.session.acked == [1] and len(ticks) > 2)
        assert denied in ingest.trouble
        # Without readings or events nobody may believe that the shard is served.
        assert bool(signs) is (which >= 2)
    assert "part_failing" in FAULTS
