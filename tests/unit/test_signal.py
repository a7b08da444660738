"""A signal is believed by read-back only: tried until it obeys, told of once, refreshed."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, Unavailable
from edge.poller import Bus
from edge.signal import SLOWEST_RETRY_S
from tests import virtual
from tests.examples import examples
from tests.lamp import LAMP_S, REFRESH_S, Keeper, running
from wire.aspect import Aspect


def test_nothing_is_shown_until_something_is_wanted():
    async def main():
        here = Keeper()
        async with running(here.keeper.run()):
            await asyncio.sleep(60)
        assert here.lamp.asked == []

    virtual.run(main())


def test_an_aspect_is_confirmed_once_and_refreshed_without_a_word():
    async def main():
        here = Keeper()
        async with running(here.keeper.run()):
            here.want(Aspect.RED)
            await here.keeper.obeyed()
            assert here.confirmed is here.lamp.shows is Aspect.RED
            await asyncio.sleep(35)
        times = [at for at, _ in here.lamp.asked]
        assert len(times) == 4
        assert [b - a for a, b in pairwise(times)] == pytest.approx([REFRESH_S + LAMP_S] * 3)
        assert here.events == [
            (
                "aspect_confirmed",
                {"aspect": "red", "cause": "water rises", "latency_ms": pytest.approx(90)},
            )
        ]
        assert here.seen == [Aspect.RED]

    virtual.run(main())


@pytest.mark.parametrize(("turns_after_s", "missed"), [(4, False), (20, True)])
def test_a_controller_has_its_time_to_end_the_green(turns_after_s, missed):
    async def main():
        here = Keeper(turns_within_s=10)
        async with running(here.keeper.run()):
            here.want(Aspect.GREEN)
            await here.keeper.obeyed()
            here.lamp.stuck = True
            here.want(Aspect.RED)
            await asyncio.sleep(turns_after_s)
            here.lamp.stuck = False
            await here.keeper.obeyed()
            await asyncio.sleep(0.1)
            kinds = here.kinds()
        assert kinds[1:] == ["signal_unconfirmed"] * missed + ["aspect_confirmed"]
        assert here.confirmed is Aspect.RED

    virtual.run(main())


def test_a_controller_that_is_silent_is_missed_at_once():
    async def main():
        here = Keeper(turns_within_s=10)
        async with running(here.keeper.run()):
            here.lamp.error = Unavailable("no answer")
            here.want(Aspect.RED)
            await asyncio.sleep(1)
            assert here.kinds() == ["signal_unconfirmed"]

    virtual.run(main())


@pytest.mark.parametrize("how", ["no answer", "garbled", "another aspect", "no aspect of ours"])
def test_it_tries_until_the_read_back_matches_and_tells_of_the_trouble_once(how):
    async def main():
        here = Keeper()
        async with running(here.keeper.run()):
            here.want(Aspect.GREEN)
            await here.keeper.obeyed()
            match how:
                case "no answer":
                    here.lamp.error = Unavailable("bus: no answer within 300 ms")
                case "garbled":
                    here.lamp.error = BadReply("bus: unit 1: wrong checksum")
                case "another aspect":
                    here.lamp.stuck = True
                case "no aspect of ours":
                    here.lamp.stuck, here.lamp.shows = True, None
            start = virtual.now()
            here.want(Aspect.RED)
            await asyncio.sleep(30)
            assert here.kinds() == ["aspect_confirmed", "signal_unconfirmed"]
            assert here.confirmed is not Aspect.RED
            tries = [at - start for at, _ in here.lamp.asked if at >= start]
            pauses = [b - a for a, b in pairwise(tries)]
            assert tries[0] == 0
            assert pauses[0] < 0.5
            assert pauses == sorted(pauses)
            assert SLOWEST_RETRY_S <= max(pauses) <= SLOWEST_RETRY_S + LAMP_S + 1e-9
            here.lamp.error, here.lamp.stuck = None, False
            await here.keeper.obeyed()
            assert virtual.now() - start <= 30 + SLOWEST_RETRY_S + 2 * LAMP_S
            assert here.confirmed is Aspect.RED
            await asyncio.sleep(60)
        assert here.kinds() == ["aspect_confirmed", "signal_unconfirmed", "aspect_confirmed"]

    virtual.run(main())


def test_a_signal_lost_during_a_refresh_is_told_and_its_recovery_too():
    async def main():
        here = Keeper()
        async with running(here.keeper.run()):
            here.want(Aspect.AMBER)
            await here.keeper.obeyed()
            for _ in range(2):
                here.lamp.error = Unavailable("bus: no answer")
                await asyncio.sleep(REFRESH_S + 1)
                assert here.confirmed is None
                here.lamp.error = None
                await asyncio.sleep(REFRESH_S)
                assert here.confirmed is Aspect.AMBER
        assert here.kinds() == ["aspect_confirmed"] + ["signal_unconfirmed", "aspect_confirmed"] * 2

    virtual.run(main())


def test_a_new_wish_does_not_wait_for_the_next_retry():
    async def main():
        here = Keeper()
        async with running(here.keeper.run()):
            here.lamp.error = Unavailable("bus: no answer")
            here.want(Aspect.AMBER)
            await asyncio.sleep(30)  # the retries are slow by now
            here.lamp.error = None
            start = virtual.now()
            here.want(Aspect.RED)
            await here.keeper.obeyed()
            assert virtual.now() - start <= 2 * LAMP_S + 1e-9

    virtual.run(main())


WISHES = st.lists(
    st.tuples(
        st.sampled_from([Aspect.GREEN, Aspect.AMBER, Aspect.RED]),
        st.sampled_from([0.0, 0.01, 0.03, 0.05, 0.1, 0.3]),
    ),
    min_size=1,
    max_size=12,
)


@examples(60)
@given(WISHES)
def test_the_last_wish_wins_and_is_obeyed_only_when_seen(wishes):
    """However quickly the wishes follow each other, also while an older one is on its way."""

    async def main():
        here = Keeper()
        async with running(here.keeper.run()):
            for aspect, wait_s in wishes:
                here.want(aspect)
                await asyncio.sleep(wait_s)
            last = wishes[-1][0]
            start = virtual.now()
            await here.keeper.obeyed()
            assert here.lamp.shows is here.confirmed is last
            assert virtual.now() - start <= 2 * LAMP_S + 1e-9
            await asyncio.sleep(0.01)
            assert here.told("aspect_confirmed")[-1]["aspect"] == last.value
            assert here.kinds() == ["aspect_confirmed"] * len(here.events)

    virtual.run(main())


def test_on_a_bus_it_goes_through_the_bus():
    async def main():
        bus = Bus("bus", [], lambda heard: None)
        here = Keeper(bus)
        async with running(bus.run(), here.keeper.run()):
            start = virtual.now()
            held = asyncio.create_task(bus.first(lambda: asyncio.sleep(2)), name="held")
            await asyncio.sleep(0.1)
            here.want(Aspect.RED)
            await here.keeper.obeyed()
            await held
        assert [at - start for at, _ in here.lamp.asked] == [pytest.approx(2.03)]

    virtual.run(main())
