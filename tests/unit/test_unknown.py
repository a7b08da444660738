"""Unknown is the most restrictive: what a signal shows when nobody can read it, a ruler that was
not heard yet, and time in which nothing was heard."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, Unavailable
from edge import interlock
from edge.interlock import Found, Local, Order, Tick
from edge.rulers import Sample
from edge.signal import FIND_WITHIN_S
from edge.site import SiteInterlock
from tests import virtual
from tests.examples import examples
from tests.lamp import Keeper, running
from tests.unit.test_interlock import RULE, Site
from wire.aspect import Aspect

GREEN, AMBER, RED = Aspect.GREEN, Aspect.AMBER, Aspect.RED


# A ruler that was not heard yet


@pytest.mark.parametrize("found", [RED, AMBER])
def test_the_first_ruler_that_answers_does_not_decide_alone(found):
    site = Site(rulers=("a", "b"))
    site.say(Found(found))
    assert site.feed(0.0, 0.0, 0.0, ruler="a") is found
    assert site.feed(0.4, 0.4, ruler="b") is RED


def test_once_all_were_heard_dry_the_aspect_may_fall():
    site = Site(rulers=("a", "b"))
    site.say(Found(RED))
    site.feed(0.0, 0.0, ruler="a")
    assert site.feed(0.0, ruler="b") is RED
    assert site.feed(0.0, ruler="b") is GREEN


def test_a_ruler_that_stays_away_is_waited_for_as_long_as_one_that_is_lost():
    site = Site(rulers=("a", "b"))
    site.say(Found(RED))
    assert site.feed(*[0.0] * 10, ruler="a") is RED
    assert "ruler_lost" not in site.kinds()
    assert site.feed(0.0, ruler="a") is GREEN
    assert [n.detail["ruler"] for n in site.notices if n.kind == "ruler_lost"] == ["b"]


def test_what_the_signal_shows_counts_also_after_the_first_ruler():
    site = Site(rulers=("a", "b"))
    site.feed(0.0, 0.0, ruler="a")
    assert site.say(Found(RED)) is RED
    assert site.feed(0.0, 0.0, ruler="b") is GREEN  # it has not risen: it was found so


def test_nobody_lowers_while_a_ruler_is_unknown():
    site = Site(rulers=("a", "b"))
    site.say(Found(RED))
    site.feed(0.0, 0.0, ruler="a")
    assert site.say(Order(None, GREEN, 1e9, "wang")) is RED


@pytest.mark.parametrize(("said", "then"), [(None, GREEN), (RED, RED)])
def test_a_switch_that_was_not_read_yet_may_be_on(said, then):
    site = Site(switched=True)
    site.say(Found(RED))
    assert site.feed(*[0.0] * 5) is RED
    assert site.say(Order(None, GREEN, 1e9, "wang")) is RED
    assert site.say(Local(said)) is then or then is GREEN
    site.say(Order(None, None, 0.0, "wang"))
    assert site.feed(0.0) is then


def test_a_switch_that_is_never_read_is_waited_for_as_long_as_a_ruler():
    site = Site(switched=True)
    site.say(Found(RED))
    assert site.feed(*[0.0] * 10) is RED
    assert site.feed(0.0, 0.0) is GREEN
    assert "switch_unread" in site.kinds()


def test_water_raises_at_once_also_while_a_ruler_is_unknown():
    site = Site(rulers=("a", "b"))
    assert site.feed(0.4, 0.4, ruler="a") is RED


def test_a_ruler_that_a_new_config_adds_must_be_heard_before_the_aspect_falls():
    site = Site(rulers=("a",))
    site.feed(0.0, 0.0, 0.2, 0.2)
    site.feed(*[0.0] * 40)
    site.state = interlock.changed(site.state, ("a", "b"))
    site.feed(*[0.0] * 10)
    assert site.shown() is AMBER
    site.feed(*[0.0] * 40)
    assert site.shown() is GREEN  # it was waited for long enough


@examples(100)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.2, 0.4, None])), max_size=20),
    st.sampled_from([AMBER, RED]),
)
def test_until_both_are_known_nothing_ever_falls(samples, found):
    site = Site(rulers=("a", "b"))
    site.say(Found(found))
    before = site.shown()
    for ruler, depth in samples:
        site.feed(depth, ruler=ruler, every=0.4)
        if not all(one.met for one in site.state.rulers.values()):
            assert site.shown().severity >= before.severity
        before = site.shown()


# Time in which nothing was heard


def dry_red():
    site = Site()
    site.feed(0.0, 0.0, 0.4, 0.4, 0.05)  # the hold of 60 s begins
    return site


def test_silence_is_no_part_of_the_hold():
    site = dry_red()
    for _ in range(6):  # ten seconds each, of which a second or two are heard
        site.wait(8.0)
        site.feed(0.05, 0.05)
    assert site.shown() is RED
    assert site.feed(*[0.05] * 60) is AMBER


@pytest.mark.parametrize("depth", [0.05, None])
def test_missing_readings_do_not_serve_the_hold(depth):
    site = dry_red()
    site.feed(*[0.05] * 30)
    for _ in range(5):
        site.feed(*[None] * 8)
        assert site.feed(depth) is RED
    assert site.shown() is RED


@examples(100)
@given(st.lists(st.sampled_from([0.5, 1.0, 4.0, 9.0, 200.0]), min_size=1, max_size=80))
def test_no_aspect_falls_before_so_much_time_was_heard(gaps):
    site = dry_red()
    heard_s = 0.0
    for gap_s in gaps:
        site.feed(0.05, every=gap_s)
        # A reading speaks for no more than one and a half of the longest pauses between readings.
        heard_s += min(gap_s, 1.5 * 4.0 if gap_s > 4.0 else 1.5 * gap_s)
        if heard_s < RULE.hold_s:
            assert site.shown() is RED


def test_a_process_that_was_stopped_finds_no_hold_served():
    site = dry_red()
    site.now += 3600.0
    state, wanted, _ = interlock.step(site.rule, site.state, Sample("a", 0.05), site.now)
    assert wanted is RED
    assert not interlock.step(site.rule, state, Tick(), site.now)[0].lower_s


def test_a_slow_ruler_serves_the_hold_too():
    site = Site()
    site.feed(0.0, 0.0, 0.4, 0.4, 0.05, every=5.0)
    assert site.feed(*[0.05] * 12, every=5.0) is AMBER


# What a signal shows when nobody can read it


def put_together(here, rulers=("a",)):
    site = SiteInterlock("here", RULE, rulers, here.keeper, here.tell, lambda _: None)
    here.keeper.on_found = site.find
    site.start()
    return site


@pytest.mark.parametrize("error", [Unavailable("no answer"), BadReply("garbled"), ValueError()])
@pytest.mark.parametrize("lost", [1, 2, 4])
@pytest.mark.parametrize("shows", [RED, AMBER, GREEN])
def test_a_read_back_that_is_lost_at_the_start_is_asked_for_again(monkeypatch, error, lost, shows):
    async def main():
        here = Keeper()
        here.lamp.shows = shows
        read_back, answers = here.lamp.read_back, 0

        async def lose():
            nonlocal answers
            answers += 1
            if answers <= lost:
                raise error
            return await read_back()

        monkeypatch.setattr(here.lamp, "read_back", lose)
        put_together(here)
        async with running(here.keeper.run()):
            await asyncio.sleep(FIND_WITHIN_S + 1)
        written = {aspect for _, aspect in here.lamp.asked}
        assert written == {max(shows, AMBER, key=lambda aspect: aspect.severity)}

    virtual.run(main())


@pytest.mark.parametrize("shows", [RED, None])
def test_a_signal_that_cannot_be_read_counts_as_red(shows):
    async def main():
        here = Keeper()
        here.lamp.shows = shows
        if shows is not None:
            here.lamp.error = Unavailable("no answer")
        site = put_together(here)
        start = virtual.now()
        async with running(here.keeper.run()):
            await asyncio.sleep(FIND_WITHIN_S + 5)
            assert site.state.wanted is RED
            assert {aspect for _, aspect in here.lamp.asked} == {RED}
            assert here.lamp.asked[0][0] - start <= FIND_WITHIN_S + 1
            for _ in range(3):  # the water is known: it decides
                site.take(Sample("a", 0.0), virtual.now())
                await asyncio.sleep(1)
            assert site.state.wanted is GREEN

    virtual.run(main())


@pytest.mark.parametrize(("depth", "aspect"), [(0.0, GREEN), (0.2, AMBER), (0.4, RED)])
def test_known_water_ends_the_asking(depth, aspect):
    async def main():
        here = Keeper()
        here.lamp.error = Unavailable("no answer")
        site = put_together(here)
        start = virtual.now()
        async with running(here.keeper.run()):
            for _ in range(2):
                await asyncio.sleep(0.2)
                site.take(Sample("a", depth), virtual.now())
            await asyncio.sleep(0.5)
            assert here.lamp.asked[0][1] is aspect
            assert here.lamp.asked[0][0] - start <= 0.5

    virtual.run(main())


def test_whoever_leaves_before_the_signal_was_read_leaves_red():
    async def main():
        here = Keeper()
        here.lamp.shows = RED
        here.lamp.error = Unavailable("no answer")
        site = put_together(here)
        async with running(here.keeper.run()):
            await asyncio.sleep(1)
            site.leave()
            here.lamp.error = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await here.keeper.obeyed()
        assert {aspect for _, aspect in here.lamp.asked} <= {RED}

    virtual.run(main())
