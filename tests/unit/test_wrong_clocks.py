"""A gateway whose clock is wrong silences nothing: the rules see what it measures when it does,
whatever its clock says. Quarantine and store have it as it came."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloud.alerts.rule import ServiceFault
from cloud.alerts.rules.service import FAULTS
from cloud.ingest import examination
from cloud.ingest.clocks import FAR_MS, NAME, Clocks
from cloud.ledger import Key
from tests.rules import rules
from tests.taking import Flow, flowing
from tests.waiting import until
from wire import codec, topics
from wire.messages import Batch, Event, GatewayState, Status
from wire.mqtt import Message
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OFF = {
    "a day ahead": DAY_MS,
    "2 h ahead": 2 * HOUR_MS,
    "in 2040": 14 * 365 * DAY_MS,
    "2 h behind": -2 * HOUR_MS,
    "a day behind": -DAY_MS,
    "in 2000": -26 * 365 * DAY_MS,
}


class World:
    """Our clock, and a gateway with one of its own, which is `off_ms` from it."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.now_ms = time.time_ns() // 1_000_000
        self.off_ms = 0
        self.stream = "s1"
        self.number = 0
        self.mid = 0

    def says(self, now_ms: int | None = None) -> None:
        """A status."""
        at_ms = (self.now_ms if now_ms is None else now_ms) + self.off_ms
        self._send(What.STATUS, Status("g", GatewayState.ONLINE, at_ms, self.stream, self.number))

    def reads(self, *depths: float, number: int = 0, events: Sequence[Event] = ()) -> None:
        """A batch; its readings are 10 ms apart, the last one is of now."""
        self.number = max(self.number + (not number), number)
        first_ms = self.now_ms + self.off_ms - 10 * len(depths)
        found = tuple(
            Reading("site", "ruler", Quantity.DEPTH, depth, first_ms + 10 * n, Quality.GOOD)
            for n, depth in enumerate(depths, 1)
        )
        batch = Batch("g", self.stream, number or self.number, found, tuple(events))
        self._send(What.DATA, batch)

    def _send(self, what: What, said: Batch | Status) -> None:
        payload = codec.encode_batch(said) if isinstance(said, Batch) else codec.encode(said)
        self.mid += 1
        self.flow.send(Message(topics.topic("0", "g", what), payload, False, self.mid, 1))

    async def pass_time(self, seconds: float = 5) -> None:
        """Once all is taken that was sent."""
        await self.taken()
        self.now_ms += round(1000 * seconds)

    async def taken(self) -> None:
        await until(lambda: len(self.flow.session.acked) == self.mid)

    async def set_clock(self, off_ms: int) -> None:
        """As a gateway does whose clock is set: back by more than an hour begins a stream."""
        if off_ms < self.off_ms:
            self.stream, self.number = f"{self.stream}x", 0
        self.off_ms = off_ms

    async def found(self) -> list[tuple[str | None, int]]:
        """Level and time (by our clock, ms ago) of what was found, one after another."""
        await self.taken()
        rows = await self.flow.table("alert_change")
        rows.sort(key=lambda row: (row["alert"], row["number"]))
        return [(row["level"], self.now_ms - row["at_ms"]) for row in rows]

    async def levels(self) -> list[str | None]:
        return [level for level, _ in await self.found()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    water = rules("threshold", quantity="depth", red={"over_cm": 30, "clear_cm": 27})

    class Opened:
        async def __aenter__(self) -> World:
            self.inner = flowing(tmp_path, water)
            flow = await self.inner.__aenter__()
            flow.store.judge = lambda _: None
            one = World(flow)
            monkeypatch.setattr(examination, "_now_ms", lambda: one.now_ms)
            return one

        async def __aexit__(self, *error: Any) -> None:
            await self.inner.__aexit__(*error)

    return Opened()


@pytest.mark.parametrize("off", OFF)
async def test_water_that_rises_is_found_whatever_the_clock_shows(off: str, world: Any) -> None:
    async with world as one:
        one.says()
        one.reads(0.0, 0.1)
        await one.pass_time()
        await one.set_clock(OFF[off])
        for _ in range(3):
            one.says()
            one.reads(0.1)
            await one.pass_time()
        one.reads(0.2, 0.35)
        ((level, ago_ms),) = await one.found()
        assert level == "red"
        assert -1 <= ago_ms < 1000  # people read when it was by our clock
        await one.pass_time()
        one.says()
        one.reads(0.0)
        assert await one.levels() == ["red", None]
        await one.pass_time()
        await one.set_clock(0)  # somebody has mended it
        one.says()
        one.reads(0.4)
        assert await one.levels() == ["red", None, "red"]


@pytest.mark.parametrize("off", [name for name, off_ms in OFF.items() if abs(off_ms) >= DAY_MS])
@pytest.mark.parametrize("readings", [1, 300])
async def test_a_time_that_cannot_be_true_is_of_now_before_any_status(
    off: str, readings: int, world: Any
) -> None:
    """Also where so many are refused that the message is one case."""
    async with world as one:
        await one.set_clock(OFF[off])
        one.reads(*[0.1] * readings)
        one.reads(*[0.35] * readings)
        ((level, ago_ms),) = await one.found()
        assert (level, -1 <= ago_ms < 4000) == ("red", True)
        assert len(await one.flow.table("quarantine")) == 2
        assert one.flow.store.points == []


async def test_what_was_sealed_earlier_is_not_of_now(world: Any) -> None:
    """A backlog whose times cannot be true comes after what is new."""
    async with world as one:
        await one.set_clock(DAY_MS)
        one.reads(0.35, number=10)
        one.reads(0.0, number=4)
        assert await one.levels() == ["red"]
        one.reads(0.1, number=11)
        assert await one.levels() == ["red", None]
        one.reads(0.5, number=5)
        one.reads(0.5, number=11)  # again
        assert await one.levels() == ["red", None]


@pytest.mark.parametrize("off", OFF)
async def test_a_backlog_of_a_wrong_clock_is_as_old_as_it_is(off: str, world: Any) -> None:
    async with world as one:
        await one.set_clock(OFF[off])
        for _ in range(3):
            one.says()
            await one.pass_time()
        one.reads(0.35, number=10)
        await one.taken()
        one.now_ms -= 60_000  # sealed a minute ago
        one.number = 3
        old = one.now_ms
        one.reads(0.0, number=4)
        one.now_ms = old + 60_000
        assert await one.levels() == ["red"]


async def test_events_with_a_wrong_time_are_heard(world: Any) -> None:
    async with world as one:
        await one.set_clock(DAY_MS)
        at_ms = one.now_ms + one.off_ms
        told = Event(at_ms, "site", "signal_unconfirmed", "it shows green", {})
        heard: list[Event] = []
        watch = one.flow.ingest._watch
        examine = watch.examine

        def look(batches: Sequence[Batch], *rest: Any) -> Any:
            heard.extend(event for batch in batches for event in batch.events)
            return examine(batches, *rest)

        watch.examine = look
        one.reads(0.1, events=[told])
        await one.taken()
        assert [(event.kind, event.at_ms) for event in heard] == [(told.kind, one.now_ms + 1)]


async def test_a_right_clock_that_waited_is_not_moved(world: Any) -> None:
    """Readings of an outage: an old flood, which the rules see with its own time."""
    async with world as one:
        for _ in range(3):
            one.says()
            await one.pass_time()
        one.now_ms -= 40 * 60_000
        one.reads(0.35)
        one.now_ms += 40 * 60_000
        ((level, ago_ms),) = await one.found()
        assert (level, ago_ms) == ("red", 40 * 60_000)


async def test_a_queue_of_old_statuses_is_no_wrong_clock() -> None:
    clocks, key, now_ms = Clocks(), Key("g", "s"), 2_000_000_000_000
    for n in range(100):  # 3 h of them, in a moment
        old = Status("g", GatewayState.ONLINE, now_ms - 3 * HOUR_MS + 5000 * n, "s")
        clocks.hear([old], now_ms + 3 * n)
        assert clocks.behind_ms(key) == 0
    assert FAR_MS < HOUR_MS


def test_a_wrong_clock_is_told_once_and_its_end_too() -> None:
    assert NAME in FAULTS
    clocks, now_ms = Clocks(), 2_000_000_000_000

    def hear(off_ms: int, stream: str) -> list[tuple[bool, str]]:
        nonlocal now_ms
        now_ms += 5000
        clocks.hear([Status("g", GatewayState.ONLINE, now_ms + off_ms, stream)], now_ms)
        return [(one.active, one.gateway) for one in clocks.faults()]

    assert hear(0, "s") == []
    assert hear(DAY_MS, "s") == []  # it may have been set just now
    assert hear(DAY_MS, "s") == [(True, "g")]
    assert hear(DAY_MS, "s") == []
    assert hear(0, "t") == [(False, "g")]
    assert [hear(-DAY_MS, "u"), hear(-DAY_MS, "u")] == [[], [(True, "g")]]
    will = Status("g", GatewayState.LOST, now_ms, "u")
    clocks.hear([will], now_ms)
    assert clocks.faults() == []
    later = Clocks()  # another process
    later.inherit([ServiceFault(NAME, True, "g")])
    later.hear([Status("g", GatewayState.ONLINE, now_ms, "v")], now_ms)
    assert later.faults() == [ServiceFault(NAME, False, "g")]
