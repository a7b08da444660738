"""A site's interlock at work: its stopwatch, what it believes, what it leaves behind."""

import asyncio
import contextlib

import pytest

from edge.interlock import Order
from edge.lampconfig import Interlock
from edge.memory import Raised
from edge.site import CROSSINGS, SiteInterlock
from tests import virtual
from tests.lamp import Keeper, running
from wire.aspect import Aspect
from wire.messages import InterlockState
from wire.reading import Quality, Quantity, Reading


class Site(Keeper):
    """A site with one ruler, read every half second, and its keeper."""

    def __init__(self, raised=None, **settings):
        super().__init__()
        interlock = Interlock.model_validate_json(
            '{"rulers": ["ruler"], "hold_s": 60, "stale_after_s": 10, "signal":'
            '{"kind": "modbus_relay", "port": "bus",'
            '"channels": {"green": [0], "amber": [1], "red": []}}}'
        ).model_copy(update=settings)
        self.published: list[InterlockState] = []
        self.site = SiteInterlock(
            *("here", interlock.rule, interlock.rulers, self.keeper, self.tell),
            self.published.append,
            raised=raised,
        )
        self.keeper.on_seen = self.site.announce

    async def hear(self, *depths_cm, quality=Quality.GOOD, sensor="ruler", quantity=Quantity.DEPTH):
        for depth_cm in depths_cm:
            await asyncio.sleep(0.5)
            value = None if depth_cm is None else depth_cm / 100
            reading = Reading("here", sensor, quantity, value, 1, quality)
            self.site.hear(reading, virtual.now())

    @contextlib.asynccontextmanager
    async def dry(self):
        """Running, the lamp green."""
        async with running(self.keeper.run()):
            self.site.start()
            assert await self.settled() is Aspect.AMBER  # safe until the water is known
            await self.hear(2, 3, 2)
            assert await self.settled() is Aspect.GREEN
            self.events.clear()
            yield


def latencies(here):
    return {d["aspect"]: d["latency_ms"] for d in here.told("aspect_confirmed")}


def test_latency_counts_from_the_first_reading_over():
    async def main():
        here = Site()
        async with here.dry():
            await here.hear(34, 35)
            await here.keeper.obeyed()
            await asyncio.sleep(0.1)
            assert latencies(here) == {"red": pytest.approx(500 + 60)}

    virtual.run(main())


def test_each_threshold_has_its_own_stopwatch():
    async def main():
        here = Site()
        async with here.dry():
            await here.hear(16, 18, 20, 22, 24, 31, 33)
            await asyncio.sleep(0.1)
            assert latencies(here) == {
                "amber": pytest.approx(500 + 60),
                "red": pytest.approx(500 + 60),
            }

    virtual.run(main())


def test_a_splash_does_not_start_the_stopwatch_of_the_flood_that_follows():
    async def main():
        here = Site()
        async with here.dry():
            await here.hear(33, 3, 4, 3, 16, 3, 32, 34)
            await asyncio.sleep(0.1)
            assert latencies(here) == {"red": pytest.approx(500 + 60)}

    virtual.run(main())


@pytest.mark.parametrize(
    ("quality", "believed"),
    [
        (Quality.GOOD, True),
        (Quality.SUSPECT, True),
        (Quality.NOT_EVALUATED, False),
        (Quality.BAD, False),
    ],
)
def test_a_bad_reading_is_not_believed(quality, believed):
    async def main():
        here = Site()
        async with here.dry():
            await here.hear(34, 35, 36, quality=quality)
            await asyncio.sleep(0.1)
            assert (here.lamp.shows is Aspect.RED) is believed
            assert bool(here.told("over_threshold")) is believed

    virtual.run(main())


def test_bad_readings_alone_end_in_the_safe_aspect():
    async def main():
        here = Site()
        async with here.dry():
            for _ in range(20):
                await here.hear(4, quality=Quality.BAD)
                here.site.tick()
            await here.hear(None, quality=Quality.MISSING)
            here.site.tick()
            await asyncio.sleep(0.1)
            assert here.lamp.shows is Aspect.AMBER
            assert "ruler_lost" in here.kinds()

    virtual.run(main())


def test_what_is_no_depth_of_its_ruler_is_not_heard():
    async def main():
        here = Site()
        async with here.dry():
            await here.hear(34, 35, 36, sensor="another")
            await here.hear(34, 35, 36, quantity=Quantity.LEVEL)
            await asyncio.sleep(0.1)
            assert here.lamp.shows is Aspect.GREEN
            assert here.events == []

    virtual.run(main())


@pytest.mark.parametrize(
    ("depths_cm", "safe", "shown"),
    [
        ((2, 3), Aspect.AMBER, Aspect.AMBER),
        ((2, 3), Aspect.FLASHING_AMBER, Aspect.FLASHING_AMBER),
        ((2, 3), Aspect.RED, Aspect.RED),
        ((34, 35), Aspect.AMBER, Aspect.RED),
        ((16, 17), Aspect.FLASHING_AMBER, Aspect.AMBER),
    ],
)
def test_who_leaves_shows_at_least_the_safe_aspect_and_then_nothing_else(depths_cm, safe, shown):
    async def main():
        here = Site(safe_aspect=safe)
        async with running(here.keeper.run()):
            here.site.start()
            await here.hear(2, 3, *depths_cm)
            here.site.leave()
            await here.keeper.obeyed()
            assert here.lamp.shows is shown
            await here.hear(*([60] * 4 if shown is not Aspect.RED else [2] * 200))
            here.site.tick()
            await asyncio.sleep(0.1)
            assert here.lamp.shows is shown

    virtual.run(main())


def test_what_is_wanted_and_what_is_confirmed_are_published():
    async def main():
        here = Site()
        async with here.dry():
            here.published.clear()
            await here.hear(34, 35)
            await asyncio.sleep(0.1)
            told = [(s.wanted, s.confirmed, s.depth, s.cause) for s in here.published]
            assert told == [
                (Aspect.RED, Aspect.GREEN, 0.35, "water rises"),
                (Aspect.RED, Aspect.RED, 0.35, "water rises"),
            ]

    virtual.run(main())


@pytest.mark.parametrize("lasts_s", [None, 100.0])
def test_what_a_person_has_raised_outlives_a_restart(lasts_s):
    async def main():
        here = Site()
        async with here.dry():
            until = float("inf") if lasts_s is None else virtual.now() + lasts_s
            assert here.site.raised is None
            here.site.take(Order(Aspect.RED, None, until, "Li"), virtual.now())
            raised = here.site.raised
            assert raised == Raised(Aspect.RED, lasts_s, "Li")
            await asyncio.sleep(5)
            assert here.site.raised == raised, "it is written once"

        again = Site(raised=raised)
        async with running(again.keeper.run()):
            again.site.start()
            assert again.site.raised == raised
            assert await again.settled() is Aspect.RED
            await again.hear(*[2, 3] * 90)
            assert again.keeper.wanted is Aspect.RED
            if lasts_s is None:
                again.site.take(Order(None, None, virtual.now(), "Wang"), virtual.now())
            await again.hear(*[2, 3] * 150)
            assert await again.settled() is Aspect.GREEN
            assert again.site.raised is None

    virtual.run(main())


def test_waves_at_a_threshold_fill_no_card():
    async def main():
        here = Site()
        async with here.dry():
            await here.hear(*[14.9, 15.1] * 600)
        assert 5 <= len(here.told("over_threshold")) <= 11 * CROSSINGS, "of 600 in ten minutes"

    virtual.run(main())
