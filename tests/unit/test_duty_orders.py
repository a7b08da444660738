"""Changes of duty by hand, in the dispatch: who is called next, what is refused, what is told."""

import json
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from cloud import config, desk, state, tables
from cloud.alerts import dutydesk, dutyorders, dutystore, dutyviews, rosterorders
from cloud.alerts.actions import Send
from cloud.alerts.dutychanges import Duty
from cloud.alerts.dutyorders import Absence, Asked, Cover, Remove, Swap
from cloud.alerts.hazard import Hazard
from cloud.alerts.roster import Duties, Roster
from cloud.alerts.rosterorders import Import
from configs.loader import UserError
from tests import plans
from tests.dispatching import BEGIN_MS, Office
from wire.messages import Level

# BEGIN_MS is 2025-06-15 23:06:40 in Shanghai.
HOUR = 3_600_000
NOBODY: Any = None
NIGHT = {"night": {"windows": ["daily 20:00-08:00"]}, "day": {"windows": ["daily 08:00-20:00"]}}


def city():
    written = plans.tables(3, duty=NIGHT, digest_window_s=0)
    one = written["contact"].pop("grid-1")
    for name, duty in (("zhang", ["night"]), ("li", ["day"])):
        written["contact"][name] = one | {"name": name.title(), "duty": duty, "channels": ["sms"]}
    written["contact"]["horn"] = one | {"name": "Horn", "public": True}
    return written


PLAN = plans.made(city())


@pytest.fixture
def office():
    return Office(PLAN)


WORK: dict[Any, Any] = {
    Absence: dutyorders.absence,
    Cover: dutyorders.cover,
    Swap: dutyorders.swap,
    Remove: dutyorders.remove,
    Import: rosterorders.bring,
}


def do(office, given):
    """Carry it out, and what whoever did it is told."""
    work, asked = WORK[type(given)], Asked("command line, root", office.now_ms)
    drawn = office.work(lambda c, _: work(office.dispatch, c, given, asked))
    return drawn.told()


def flood(office, level=Level.RED):
    office.find(level, site="north", hazard=Hazard.RIVER)


def sent(office):
    """Who was called until now, by kind."""
    rows = sorted(office.rows(tables.outgoing), key=lambda row: row.made_ms)
    found = []
    for row in rows:
        for one in msgspec.json.decode(row.sends, type=list[Send]):
            if (str(one.kind), one.contact) not in found:
                found.append((str(one.kind), one.contact))
    return found


def ill(**more):
    return Absence(contact="zhang", until="2025-06-16 12:00", by="Wang", **more)


def takes_the_night(**more):
    return Cover(contact="li", covered="zhang", until="08:00", by="Wang", **more)


def test_a_running_alert_calls_whoever_covers_with_its_next_call(office):
    flood(office)
    assert sent(office) == [("public", "horn"), ("raise", "zhang")]
    do(office, ill(said="fever"))
    told = do(office, takes_the_night())
    assert told.lines == (
        "2: Li (li) covers Zhang (zhang) from 2025-06-15 23:06 to 2025-06-16 08:00 (Asia/Shanghai)",
    )
    assert told.notes == ()
    office.run(2)
    assert sent(office)[2:] == [("again", "li")]
    calls = [row.contact for row in office.rows(tables.outgoing)]
    assert calls.count("zhang") == 1


def test_it_holds_over_a_restart_and_for_an_alert_that_begins_later(office):
    do(office, takes_the_night())
    office.restart()
    flood(office)
    assert sent(office) == [("public", "horn"), ("raise", "li")]


def test_a_running_alert_of_an_older_plan_follows_changes_too(office):
    flood(office)
    office.dispatch.use(plans.made(city() | {"title": "another"}))
    do(office, takes_the_night())
    office.run(2)
    assert ("again", "li") in sent(office)


def test_when_all_of_a_tier_have_declined_whoever_comes_on_duty_is_called(office):
    flood(office)
    call = office.last_call()
    decline = office.dispatch.decline
    office.work(lambda c, now_ms: decline(c, call.id, "zhang", "link", "", now_ms))
    do(office, Cover(contact="village-1", area="grid", until="+12h", by="Wang"))
    office.run(11)
    grid = [
        one.area
        for row in office.rows(tables.outgoing)
        for one in msgspec.json.decode(row.sends, type=list[Send])
        if one.contact == "village-1"
    ]
    assert "grid" in grid


def test_an_area_without_contacts_is_called_when_somebody_covers_it():
    written = city()
    del written["contact"]["zhang"], written["contact"]["li"]
    office = Office(plans.made(written))
    flood(office)
    assert sent(office) == [("public", "horn"), ("climb", "village-1")]
    do(office, Cover(contact="township-1", area="grid", until="+12h", by="Wang"))
    office.run(10)
    areas = [
        one.area
        for row in office.rows(tables.outgoing, tables.outgoing.c.contact == "township-1")
        for one in msgspec.json.decode(row.sends, type=list[Send])
    ]
    assert "grid" in areas


def test_nobody_on_duty_is_told_and_everybody_else_is_called(office):
    told = do(office, ill())
    assert told.notes == (
        "nobody is on duty in Grid (grid) from 2025-06-15 23:06 to 2025-06-16 08:00: "
        "Li would be called",
    )
    flood(office)
    assert ("raise", "li") in sent(office)
    assert ("raise", "zhang") not in sent(office)


def test_a_swap_is_removed_as_a_whole_and_stays_on_record(office):
    swap = Swap(first="zhang", second="li", on="2025-06-16", by="Wang")
    assert do(office, swap).numbers == (1, 2)
    assert do(office, Remove(number=2, by="Zhao")).lines == ("1 is removed", "2 is removed")
    assert office.work(lambda c, now_ms: dutystore.read(c, now_ms)) == []
    kept = office.work(lambda c, _: dutystore.recorded(c, 10))
    stands = [one.stands for one in dutyviews.rows(PLAN, kept, office.now_ms)]
    assert stands == ["removed 2025-06-15 23:06 by Zhao (command line, root)"] * 2
    for again in (1, 7):
        with pytest.raises(UserError, match=r"was removed already|there is no change 7"):
            do(office, Remove(number=again, by="Zhao"))


def test_what_was_known_then_says_who_was_on_duty_then(office):
    do(office, takes_the_night())
    office.now_ms += HOUR
    do(office, Remove(number=1, by="Zhao"))

    def on_duty(at_ms):
        changes = office.work(lambda c, now_ms: dutystore.as_of(c, at_ms, now_ms))
        return Duty(changes).on_duty(PLAN, "grid", at_ms)

    assert on_duty(BEGIN_MS + HOUR // 2) == ("li",)
    assert on_duty(office.now_ms) == ("zhang",)
    assert on_duty(BEGIN_MS - HOUR) == ("zhang",)


MISTAKES = [
    (Absence(contact="zhong", until="+1h", by="W"), "'zhong' is no contact of the plan (did you"),
    (Absence(contact="horn", until="+1h", by="W"), "is a loudspeaker or a board"),
    (Absence(contact="zhang", begin="+2h", until="2025-06-16 00:30", by="W"), "would end at"),
    (Absence(contact="zhang", begin="2025-06-01", until="2025-06-14", by="W"), "it was over at"),
    (Absence(contact="zhang", until="tomorrow", by="W"), "'tomorrow' is not a time such as"),
    (Absence(contact="zhang", until="+999999d", by="W"), "too far ahead"),
    (Absence(contact="zhang", until="2029-01-01", by="W"), "more than two years"),
    (Absence(contact="zhang", until="1999-01-01", by="W"), "not between 2000 and 2199"),
    (Absence(contact="zhang", until="2025-02-30", by="W"), "is not a date"),
    (Absence(contact="zhang", until="9999-12-31 24:00", by="W"), "not between 2000 and 2199"),
    (Absence(contact="zhang", until="", by="W"), "say until when"),
    (Cover(contact="li", covered="li", until="+1h", by="W"), "cannot cover themselves"),
    (Cover(contact="Li", covered="li", until="+1h", by="W"), "cannot cover themselves"),
    (Cover(contact="li", until="+1h", by="W"), "give whom or which area"),
    (Cover(contact="li", covered="zhang", area="grid", until="+1h", by="W"), "give whom or which"),
    (Cover(contact="li", area="gird", until="+1h", by="W"), "(did you mean 'grid'?)"),
    (Cover(contact="li", area="grid", on="2025-06-16", by="W"), "days are for the duty of"),
    (Cover(contact="li", covered="zhang", instead=True, until="+1h", by="W"), "is for an area"),
    (Cover(contact="li", covered="zhang", on="2025-06-16", until="+1h", by="W"), "either days"),
    (Cover(contact="li", covered="zhang", on="2025-06-18..2025-06-16", by="W"), "ends before"),
    (Swap(first="zhang", second="zhang", until="+1h", by="W"), "cannot swap with themselves"),
    (Remove(number=1, by="W"), "there is no change 1"),
]


@pytest.mark.parametrize(("given", "words"), MISTAKES)
def test_mistakes_are_refused_in_one_line_and_change_nothing(office, given, words):
    with pytest.raises(UserError) as refused:
        do(office, given)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert office.rows(tables.duty_change) == []


def test_the_same_change_twice_is_one(office):
    do(office, takes_the_night())
    with pytest.raises(UserError, match="that is change 1 already"):
        do(office, takes_the_night())


def test_a_cover_that_changes_nothing_says_so(office):
    told = do(office, Cover(contact="zhang", covered="li", until="+3h", by="W"))
    assert told.notes == ("Li (li) has no duty then: it changes nothing",)
    do(office, ill())
    told = do(office, Cover(contact="zhang", covered="li", on="2025-06-16", by="W"))
    assert told.notes == (
        "Zhang (zhang) is absent until 2025-06-16 12:00, and covers nothing before",
    )


def test_what_cannot_be_read_or_followed_costs_no_call(office, caplog):
    do(office, takes_the_night())
    row = office.rows(tables.duty_change)[0]._asdict()
    broken = ["nonsense", "{}", json.dumps(json.loads(row["change"]) | {"until_ms": 2**62})]
    with office.connection.begin():
        for number, text in enumerate(broken, 10):
            office.connection.execute(
                insert(tables.duty_change).values(row | {"number": number, "change": text})
            )
    flood(office)
    assert ("raise", "li") in sent(office)
    assert caplog.text.count("cannot be read and is left out") == len(broken)


def test_a_fault_of_ours_in_duty_costs_no_call(office, caplog, monkeypatch):
    do(office, takes_the_night())
    monkeypatch.setattr(Duty, "slots", lambda *_: 1 / 0)
    flood(office)
    assert ("raise", "zhang") in sent(office)
    assert "duty is as the plan has it" in caplog.text


def test_a_contact_whom_a_reload_removes_harms_nothing_and_is_told(office):
    do(office, takes_the_night())
    written = city()
    del written["contact"]["li"]
    fresh = plans.made(written)
    office.dispatch.use(fresh)
    changes = office.work(lambda c, now_ms: dutystore.read(c, now_ms))
    assert dutyviews.left_out(fresh, changes) == [
        ("duty change 1", "the plan has no contact 'li', so it is left out")
    ]
    (row,) = dutyviews.rows(fresh, changes, office.now_ms)
    assert row.stands == "left out: the plan has no contact 'li'"
    flood(office)
    assert ("raise", "zhang") in sent(office)
    office.dispatch.use(PLAN)
    assert dutyviews.rows(PLAN, changes, office.now_ms)[0].stands == "in force"


def test_there_is_an_end_to_how_many_there_are(office, monkeypatch):
    monkeypatch.setattr(dutystore, "MOST_AT_ONCE", 1)
    do(office, takes_the_night())
    with pytest.raises(UserError, match="remove some first"):
        do(office, ill())


def test_who_says_why(office):
    do(office, ill(said="fever"))
    do(office, takes_the_night(said="phoned"))
    changes = office.work(lambda c, now_ms: dutystore.read(c, now_ms))
    (one,) = dutyviews.who(PLAN, Duty(changes), ("grid",), office.now_ms)
    assert [
        (person.contact, person.owner, person.why, person.changes) for person in one.people
    ] == [
        (
            "li",
            "zhang",
            "night: daily 20:00-08:00; covers Zhang (zhang), change 2 by Wang: phoned",
            (2,),
        )
    ]
    assert [(away.contact, away.why) for away in one.away] == [
        ("zhang", "absent until 2025-06-16 12:00, change 1 by Wang: fever")
    ]


def roster(calendar="July", contact="zhang", hours=((2, 4),), uids=("one",), starts=0, **more):
    spans = tuple((BEGIN_MS + a * HOUR, BEGIN_MS + b * HOUR) for a, b in hours)
    until_ms = max((end for _, end in spans), default=BEGIN_MS + HOUR)
    duties = (Duties(contact, "grid", spans, tuple(uids)),)
    given = Roster(calendar, BEGIN_MS + starts * HOUR, until_ms, duties)
    return Import(roster=given, by="Wang", **more)


def on_duty(office, hours):
    changes = office.work(lambda c, now_ms: dutystore.read(c, now_ms))
    return Duty(changes).on_duty(PLAN, "grid", BEGIN_MS + round(hours * HOUR))


def test_a_calendar_takes_the_place_of_windows_and_of_itself(office):
    told = do(office, roster())
    assert told.lines == (
        "1: Zhang (zhang) has 1 duty in Grid (grid) from 2025-06-15 23:06 to 2025-06-16 03:06 "
        "(Asia/Shanghai), by the calendar 'July'",
    )
    assert told.notes[0].startswith("nobody is on duty in Grid (grid) from 2025-06-15 23:06 to")
    assert (on_duty(office, 1), on_duty(office, 3), on_duty(office, 5)) == (
        (),
        ("zhang",),
        ("zhang",),
    )
    assert do(office, roster()).lines == ()  # it is there
    assert len(office.rows(tables.duty_change)) == 1
    assert do(office, roster(hours=((1, 2),))).numbers == (2, 1)
    assert (on_duty(office, 1), on_duty(office, 2.5)) == (("zhang",), ("zhang",))
    # By another name, with the same event: it has been moved.
    assert do(office, roster("July, corrected", hours=((3, 4),))).numbers == (3, 2)
    # The same calendar of the next month leaves this month as it is.
    later = roster("July, corrected", hours=((90, 91),), uids=("x",), starts=90)
    assert do(office, later).numbers == (4,)
    assert do(office, Remove(number=4, by="W")).numbers == (4,)
    # Another calendar with other events stands beside it.
    assert do(office, roster("August", hours=((800, 801),), uids=("two",))).numbers == (5,)
    office.run(5)
    gone = [one for one in office.work(lambda c, _: dutystore.recorded(c, 9)) if one.removed_ms]
    assert [one.number for one in gone] == [4, 2, 1]
    assert gone[1].removed_by == "Wang (command line, root), imported again"


def test_a_calendar_that_is_imported_each_day_does_not_fill_the_state(office):
    hours = tuple((24 * day, 24 * day + 8) for day in range(400))
    for day in range(3):
        do(office, roster(hours=hours[day : 390 + day]))
        office.now_ms += 24 * HOUR
    sizes = [len(row.change) for row in office.rows(tables.duty_change)]
    assert max(sizes[:2]) < 1000 < sizes[2]
    changes = office.work(lambda c, now_ms: dutystore.as_of(c, BEGIN_MS + HOUR, now_ms))
    assert [one.number for one in changes] == [1]  # what was known then is still known
    assert Duty(changes).on_duty(PLAN, "grid", BEGIN_MS + HOUR) == ("zhang",)


def test_a_dry_run_says_the_same_and_keeps_nothing(office):
    told = do(office, roster(dry_run=True))
    assert office.rows(tables.duty_change) == []
    assert told == do(office, roster())


def test_a_cover_counts_upon_an_imported_roster_and_the_import_says_so(office):
    do(office, takes_the_night())
    told = do(office, roster(hours=((0, 4),)))
    assert told.notes[0].startswith("change 1 counts as before: Li (li) covers Zhang (zhang) from")
    assert on_duty(office, 1) == ("li",)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (roster(contact="gone"), "'gone' is no contact of the plan in force"),
        (roster(contact="horn"), "'horn' is no contact of the plan in force"),
        (roster(hours=((4, 2),)), "the calendar ends before|not in order"),
        (roster(hours=((2, 4), (1, 2))), "are not in order"),
        (roster(hours=((2, 4000),)), "are not in order, or too long"),
        (roster(hours=()), "nothing"),
    ],
)
def test_a_roster_that_cannot_be_is_refused(office, given, says):
    if says == "nothing":  # somebody without a duty in that time: their windows do not count
        do(office, given)
        assert on_duty(office, 0.5) == ()
        return
    with pytest.raises(UserError, match=says):
        do(office, given)
    assert office.rows(tables.duty_change) == []


def test_whoever_means_tonight_and_says_tomorrow_is_told(office):
    told = do(office, Cover(contact="li", covered="zhang", begin="20:00", until="08:00", by="W"))
    assert told.notes == ("it does not count yet: it begins in 20 h",)


async def test_a_running_service_carries_it_out_for_the_command_line(tmp_path):
    (tmp_path / "cloud.toml").write_text("")
    setup = config.read(tmp_path / "cloud.toml")
    woken: list[int] = []
    dispatch = Office(PLAN).dispatch
    async with (
        state.opened(tmp_path / "cloud.db") as database,
        desk.open_desk(
            setup, database, NOBODY, *dutydesk.ALL, wake=lambda: woken.append(1), dispatch=dispatch
        ),
    ):
        given = Cover(contact="li", covered="zhang", until="+2d", by="Wang")
        made = await desk.ask(setup, dutydesk.COVER, given)
        assert (made.numbers, woken) == ((1,), [1])
        assert (await desk.ask(setup, dutydesk.REMOVE, Remove(number=1, by="W"))).numbers == (1,)
        with pytest.raises(UserError, match="cannot cover themselves"):
            await desk.ask(
                setup, dutydesk.COVER, Cover(contact="li", covered="li", until="+1h", by="W")
            )
        given = msgspec.structs.replace(given, by=" ")
        with pytest.raises(UserError, match="does not understand"):
            await desk.ask(setup, dutydesk.COVER, given)
