"""Who is on duty once absences, covers, swaps and rosters are applied to a plan."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import dutyhours
from cloud.alerts.dutychanges import AS_PLANNED, Change, Duty, Kind, unknown
from tests import plans
from tests.examples import examples

HOUR = 3_600_000
DAY = 24 * HOUR
ZONE = ZoneInfo("Asia/Shanghai")
NIGHT = {"night": {"windows": ["daily 20:00-08:00"]}, "day": {"windows": ["daily 08:00-20:00"]}}


def at(text, zone=ZONE):
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1000


def city(**duties):
    """Contacts of `grid`, and `township-1`, who have these duties."""
    written = plans.tables(3, duty=NIGHT)
    one = written["contact"].pop("grid-1")
    for name, duty in duties.items():
        written["contact"][name] = one | {"name": name, "duty": duty}
    return plans.made(written)


PLAN = city(zhang=["night"], li=["day"])


def change(number, kind, contact, begin, end, **more):
    return Change(
        number=number, kind=kind, contact=contact, from_ms=at(begin), until_ms=at(end), **more
    )


def absence(number, contact, begin, end):
    return change(number, Kind.ABSENCE, contact, begin, end)


def cover(number, contact, begin, end, **more):
    return change(number, Kind.COVER, contact, begin, end, **more)


def on(changes, text, area="grid", plan=PLAN):
    return set(Duty(changes).on_duty(plan, area, at(text)))


def called(changes, text, area="grid", plan=PLAN):
    duty = Duty(changes)
    return set(duty.on_duty(plan, area, at(text)) or duty.everyone(plan, area, at(text)))


def test_without_changes_the_windows_of_the_plan_hold():
    assert on([], "2026-07-01 21:00") == {"zhang"}
    assert AS_PLANNED.on_duty(PLAN, "grid", at("2026-07-01 12:00")) == ("li",)


def test_somebody_is_ill_and_somebody_else_takes_the_night():
    changes = [
        absence(1, "zhang", "2026-07-01 18:00", "2026-07-04 00:00"),
        cover(2, "li", "2026-07-01 20:00", "2026-07-02 08:00", covered="zhang"),
    ]
    assert on(changes, "2026-07-01 21:00") == {"li"}
    assert on(changes, "2026-07-02 07:59") == {"li"}
    assert on(changes, "2026-07-02 21:00") == set()  # the next night has nobody
    assert called(changes, "2026-07-02 21:00") == {"li"}  # and an absent person is not called
    assert on(changes, "2026-07-04 00:00") == {"zhang"}


def test_an_absent_person_is_called_only_if_nobody_else_is_left():
    both = [
        absence(n, who, "2026-07-01 00:00", "2026-07-02 00:00")
        for n, who in enumerate(("zhang", "li"))
    ]
    assert called(both[:1], "2026-07-01 21:00") == {"li"}
    assert called(both, "2026-07-01 21:00") == {"zhang", "li"}


def test_a_swap_of_a_day_takes_the_night_that_begins_on_it_as_a_whole():
    friday = {"begin": "2026-07-03 00:00", "end": "2026-07-04 00:00", "days": True, "swap": 1}
    changes = [
        cover(1, "li", **friday, covered="zhang"),
        cover(2, "zhang", **friday, covered="li"),
    ]
    assert on(changes, "2026-07-03 07:59") == {"zhang"}  # it is Thursday's night
    assert on(changes, "2026-07-03 08:00") == {"zhang"}
    assert on(changes, "2026-07-03 20:00") == {"li"}
    assert on(changes, "2026-07-04 07:59") == {"li"}
    assert on(changes, "2026-07-04 08:00") == {"li"}


def test_whoever_is_absent_covers_nobody():
    changes = [
        cover(1, "li", "2026-07-01 20:00", "2026-07-02 08:00", covered="zhang"),
        absence(2, "li", "2026-07-01 22:00", "2026-07-02 00:00"),
    ]
    assert on(changes, "2026-07-01 21:00") == {"li"}
    assert on(changes, "2026-07-01 23:00") == {"zhang"}
    assert on(changes, "2026-07-02 01:00") == {"li"}


def test_a_cover_may_be_covered_in_the_order_in_which_they_were_made():
    night = ("2026-07-01 20:00", "2026-07-02 08:00")
    first = cover(1, "li", *night, covered="zhang")
    assert on([first, cover(2, "township-1", *night, covered="li")], night[0]) == {"township-1"}
    earlier = cover(0, "township-1", *night, covered="li")
    assert on([first, earlier], night[0]) == {"li"}  # it was known that li is covered


def test_an_area_is_covered_beside_those_on_duty_or_in_their_place():
    span = ("2026-07-01 20:00", "2026-07-02 08:00")
    beside = cover(1, "township-1", *span, area="grid")
    assert on([beside], "2026-07-01 21:00") == {"zhang", "township-1"}
    instead = cover(1, "township-1", *span, area="grid", instead=True)
    assert on([instead], "2026-07-01 21:00") == {"township-1"}
    assert on([instead], "2026-07-01 19:59") == {"li"}
    assert on([beside], "2026-07-01 21:00", area="village") == {"village-1"}


def test_copies_go_to_whoever_covers():
    night = ("2026-07-01 20:00", "2026-07-02 08:00")
    duty = Duty([cover(1, "township-1", *night, covered="zhang")])
    there = at("2026-07-01 21:00")
    assert duty.in_place_of(PLAN, "zhang", there) == {"township-1": "grid"}
    assert duty.in_place_of(PLAN, "li", there) == {}
    assert duty.in_place_of(PLAN, "township-1", there) == {"township-1": "township"}
    assert Duty().in_place_of(PLAN, "zhang", there) == {"zhang": "grid"}


def test_what_a_plan_does_not_have_changes_nothing():
    night = ("2026-07-01 20:00", "2026-07-02 08:00")
    changes = [
        cover(1, "gone", *night, covered="zhang"),
        cover(2, "gone", *night, area="grid", instead=True),
        cover(3, "li", *night, covered="gone"),
        cover(4, "li", *night, area="nowhere"),
        absence(5, "gone", *night),
        change(6, Kind.ROSTER, "gone", *night, area="grid", spans=((0, 2**42),)),
    ]
    assert on(changes, "2026-07-01 21:00") == {"zhang"}
    assert on(changes, "2026-07-01 21:00", area="nowhere") == set()
    assert all(unknown(PLAN, one) for one in changes)
    assert unknown(PLAN, cover(7, "li", *night, covered="zhang")) == ""


def test_a_roster_takes_the_place_of_windows_while_it_lasts():
    spans = (
        (at("2026-07-01 08:00"), at("2026-07-01 12:00")),
        (at("2026-07-02 20:00"), at("2026-07-03 08:00")),
    )
    span = ("2026-07-01 08:00", "2026-07-03 08:00")
    roster = change(1, Kind.ROSTER, "zhang", *span, area="grid", spans=spans)
    assert on([roster], "2026-07-01 07:00") == {"zhang"}
    assert on([roster], "2026-07-01 09:00") == {"zhang", "li"}
    assert on([roster], "2026-07-01 21:00") == set()
    assert on([roster], "2026-07-03 07:00") == {"zhang"}
    assert on([roster], "2026-07-03 21:00") == {"zhang"}
    newer = change(2, Kind.ROSTER, "zhang", *span, area="grid", spans=())
    assert on([roster, newer], "2026-07-01 09:00") == {"li"}
    elsewhere = change(3, Kind.ROSTER, "township-1", *span, area="grid", spans=spans)
    assert on([elsewhere], "2026-07-01 09:00") == {"li", "township-1"}
    assert on([elsewhere], "2026-07-01 09:00", area="township") == {"township-1"}


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe"])
def test_a_night_on_which_the_clock_changes_is_one_night(zone):
    written = plans.tables(1, duty=NIGHT, timezone=zone)
    written["contact"]["grid-1"]["duty"] = ["night"]
    written["contact"]["grid-2"] = written["contact"]["grid-1"] | {"duty": ["day"]}
    plan = plans.made(written)
    for first in ("2026-03-07", "2026-10-31", "2026-04-04", "2026-10-03"):
        day = datetime.fromisoformat(first)
        begin, end = (at(str(day + timedelta(days=n)), plan.zone) for n in (0, 1))
        one = Change(
            number=1, kind=Kind.COVER, contact="grid-2", covered="grid-1",
            from_ms=begin, until_ms=end, days=True,
        )  # fmt: skip
        night = [
            (stretch.from_ms, stretch.until_ms)
            for stretch in dutyhours.stretches(plan, Duty([one]), "grid", begin, end + DAY)
            if any(slot.owner != slot.contact for slot in stretch.slots)
        ]
        assert night == [
            (
                at(f"{first} 20:00", plan.zone),
                at(f"{(day + timedelta(days=1)):%Y-%m-%d} 08:00", plan.zone),
            )
        ]


# The same, minute by minute, as one would do it by hand

ZONES = ("Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC")
PEOPLE = ("zhang", "li", "wang", "village-1")
NEAR = {
    "America/New_York": ("2026-03-07", "2026-10-31"),
    "Europe/Berlin": ("2026-03-28", "2026-10-24"),
    "Australia/Lord_Howe": ("2026-04-04", "2026-10-03"),
}
MINUTES = 4 * 1440

minutes = st.integers(0, MINUTES)
spans = st.tuples(minutes, minutes).filter(lambda one: one[0] != one[1]).map(sorted)
whole_days = st.tuples(st.integers(0, 3), st.integers(1, 2)).map(
    lambda one: (one[0], one[0] + one[1])
)
clock = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
window = st.builds(
    lambda days, begin, end: f"{days} {begin}-{end}",
    st.sampled_from(("daily", "Mon-Fri", "Sat,Sun", "Sun")), clock, clock,
)  # fmt: skip


@st.composite
def worlds(draw):
    zone = draw(st.sampled_from(ZONES))
    day = datetime.fromisoformat(draw(st.sampled_from(NEAR.get(zone, ("2026-07-03",)))))
    days = [f"{day + timedelta(days=n):%Y-%m-%d}" for n in range(-1, 4)]
    written = plans.tables(2, timezone=zone)
    one = written["contact"].pop("grid-1")
    names = ("early", "late")
    written["duty"] = {
        name: {
            "windows": draw(st.lists(window, max_size=2)),
            "on": {
                draw(st.sampled_from(days)): draw(
                    st.lists(st.builds("{}-{}".format, clock, clock), max_size=1)
                )
            },
        }
        for name in names
    }
    for name in PEOPLE[:3]:
        written["contact"][name] = one | {
            "duty": draw(st.lists(st.sampled_from(names), max_size=2, unique=True)),
            "away": draw(st.lists(st.sampled_from(days), max_size=1)),
        }
    begin_ms = at(days[0], ZoneInfo(zone))
    changes = []
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(("absence", "cover", "area", "swap", "roster")))
        who, other = draw(st.permutations(PEOPLE))[:2]
        by_days = kind in ("cover", "swap") and draw(st.booleans())
        if by_days:
            low, high = (
                at(str(datetime.fromisoformat(days[0]) + timedelta(days=n)), ZoneInfo(zone))
                for n in draw(whole_days)
            )
        else:
            low, high = (begin_ms + 60_000 * n for n in draw(spans))
        common = {"from_ms": low, "until_ms": high, "days": by_days}
        if kind == "absence":
            changes.append(Change(number=2 * number, kind=Kind.ABSENCE, contact=who, **common))
        elif kind == "area":
            area, instead = draw(st.sampled_from(("grid", "village"))), draw(st.booleans())
            changes.append(
                Change(
                    number=2 * number,
                    kind=Kind.COVER,
                    contact=who,
                    area=area,
                    instead=instead,
                    **common,
                )
            )
        elif kind == "roster":
            area = draw(st.sampled_from(("grid", "village")))
            duties = tuple(
                sorted(
                    tuple(begin_ms + 60_000 * n for n in one)
                    for one in draw(st.lists(spans, max_size=3))
                )
            )
            changes.append(
                Change(
                    number=2 * number,
                    kind=Kind.ROSTER,
                    contact=who,
                    area=area,
                    spans=duties,
                    **common,
                )
            )
        else:
            swap = 2 * number if kind == "swap" else None
            changes.append(
                Change(
                    number=2 * number,
                    kind=Kind.COVER,
                    contact=who,
                    covered=other,
                    swap=swap,
                    **common,
                )
            )
            if kind == "swap":
                changes.append(
                    Change(
                        number=2 * number + 1,
                        kind=Kind.COVER,
                        contact=other,
                        covered=who,
                        swap=swap,
                        **common,
                    )
                )
    return plans.made(written), changes, begin_ms


def by_hand(plan, changes, area, now):
    """Who is on duty at a moment (ms), with what clocks show and nothing of the module."""

    def shown(ms):
        return datetime.fromtimestamp(ms / 1000, UTC).astimezone(plan.zone)

    clock = shown(now)
    today, yesterday = clock.date(), clock.date() - timedelta(days=1)
    away = {who: {str(day) for day in one.away} for who, one in plan.contact.items()}
    absent = {
        one.contact
        for one in changes
        if one.kind == "absence" and one.from_ms <= now < one.until_ms
    }

    def times(name, day):
        table = plan.duty[name]
        if str(day) in table.on:
            return table.on[str(day)]
        kept = []
        for text in table.windows:
            days, hours = text.split(" ")
            fits = {"daily": range(7), "Mon-Fri": range(5), "Sat,Sun": (5, 6), "Sun": (6,)}[days]
            if day.weekday() in fits:
                kept.append(hours)
        return kept

    def holds(hours, day):
        begin, end = hours.split("-")
        here = f"{clock:%H:%M}"
        if begin < end:
            return day == today and begin <= here < end
        return here >= begin if day == today else here < end

    duties = []  # [who has it, the day on which it begins]
    for who, one in plan.contact.items():
        rosters = [
            ch for ch in changes
            if ch.kind == "roster"
            and (ch.contact, ch.area) == (who, area)
            and ch.from_ms <= now < ch.until_ms
        ]  # fmt: skip
        if rosters:
            newest = max(rosters, key=lambda ch: ch.number)
            for low, high in newest.spans:
                if low <= now < high:
                    duties.append([who, shown(low).date() if high - low <= DAY else today])
        elif one.area == area:
            for day in (today, yesterday):
                if str(day) in away[who]:
                    continue
                if not one.duty and day == today:
                    duties.append([who, day])
                for name in one.duty:
                    if any(holds(hours, day) for hours in times(name, day)):
                        duties.append([who, day])

    def meant(ch, day):
        if not ch.days:
            return ch.from_ms <= now < ch.until_ms
        return shown(ch.from_ms).date() <= day <= shown(ch.until_ms - 60_000).date()

    covers = [ch for ch in changes if ch.kind == "cover" and ch.contact not in absent]
    for number in sorted({ch.number if ch.swap is None else ch.swap for ch in covers}):
        pair = [ch for ch in covers if number in (ch.number, ch.swap)]
        for ch in pair:
            if ch.area == area and ch.from_ms <= now < ch.until_ms:
                long = ch.until_ms - ch.from_ms > DAY
                if ch.instead:
                    duties = []
                duties.append([ch.contact, today if long else shown(ch.from_ms).date()])
        duties = [
            next(
                ([ch.contact, day] for ch in pair if ch.covered == who and meant(ch, day)),
                [who, day],
            )
            for who, day in duties
        ]  # fmt: skip
    return {who for who, _ in duties} - absent


@given(worlds(), st.lists(minutes, min_size=8, max_size=8))
@examples(80)
def test_it_is_what_one_finds_minute_by_minute(world, moments):
    plan, changes, begin_ms = world
    duty = Duty(changes)
    for area in ("grid", "village"):
        whole = [*dutyhours.stretches(plan, duty, area, begin_ms, begin_ms + MINUTES * 60_000)]
        assert whole[0].from_ms == begin_ms
        assert all(one.until_ms == two.from_ms for one, two in pairwise(whole))
        starts = [one.from_ms for one in whole]
        for minute in moments:
            now_ms = begin_ms + minute * 60_000
            found = set(duty.on_duty(plan, area, now_ms))
            assert found == by_hand(plan, changes, area, now_ms)
            stretch = whole[bisect_right(starts, now_ms) - 1]
            if minute < MINUTES:
                assert {one.contact for one in stretch.slots} == found
