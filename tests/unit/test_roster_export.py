"""Duty as a calendar, and back."""

from typing import Any

import icalendar
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cloud.alerts import dutyviews, rosterexport, rosterfile
from cloud.alerts.dutychanges import Change, Duty, Kind
from cloud.alerts.dutyviews import Wanted
from configs.loader import UserError
from tests.examples import examples
from tests.unit.test_duty_changes import MINUTES, PLAN, at, cover, minutes, worlds


def duty_of(roster):
    return Duty(
        Change(
            number=number,
            kind=Kind.ROSTER,
            contact=one.contact,
            area=one.area,
            from_ms=roster.from_ms,
            until_ms=roster.until_ms,
            spans=one.spans,
        )
        for number, one in enumerate(roster.duties)
    )


@given(worlds(), st.lists(minutes, min_size=12, max_size=12))
@examples(25)
def test_what_was_exported_gives_the_same_duty_when_it_is_imported(world, moments):
    plan, changes, begin_ms = world
    duty = Duty(changes)
    wanted = Wanted("", "grid", begin_ms, begin_ms + MINUTES * 60_000)
    content = rosterexport.calendar(plan, duty, wanted)
    assume(b"BEGIN:VEVENT" in content)
    back = duty_of(rosterfile.read(content, plan, begin_ms, "x.ics"))
    for minute in (one for one in moments if one < MINUTES):
        now_ms = begin_ms + minute * 60_000
        on_duty = set(duty.on_duty(plan, "grid", now_ms))
        assert set(back.on_duty(plan, "grid", now_ms)) == on_duty


NIGHT = ("2026-07-01 20:00", "2026-07-02 08:00")


def test_a_night_is_one_event_that_says_why():
    duty = Duty([cover(7, "township-1", *NIGHT, area="grid", by="Wang", said="flood\nhelp; soon")])
    wanted = Wanted("township-1", "", at("2026-07-01 12:00"), at("2026-07-03 00:00"))
    content = rosterexport.calendar(PLAN, duty, wanted)
    (calendar,) = icalendar.Calendar.from_ical(content, multiple=True)
    events = {str(one["X-SHUICHI-AREA"]): one for one in calendar.walk("VEVENT")}
    one: Any = events["grid"]
    assert one["DTSTART"].dt.isoformat() == "2026-07-01T12:00:00+00:00"
    assert one["DTEND"].dt.isoformat() == "2026-07-02T00:00:00+00:00"
    assert str(one["SUMMARY"]) == "township one, Grid"
    assert "covers Grid (grid), change 7 by Wang" in str(one["DESCRIPTION"])
    assert b"flood" not in content  # what was said is for the duty room
    assert len([*calendar.walk("VEVENT")]) == 3  # and the two days of their own area
    assert all(len(line) <= 75 for line in content.split(b"\r\n"))
    for name in ("UID", "DTSTAMP"):
        assert all(name in each for each in calendar.walk("VEVENT"))
    assert content == rosterexport.calendar(PLAN, duty, wanted)


@pytest.mark.parametrize(
    ("contact", "area", "until", "says"),
    [
        ("", "", "+1d", "give either a contact or an area"),
        ("zhang", "grid", "+1d", "give either a contact or an area"),
        ("zhong", "", "+1d", "is no contact of the plan"),
        ("", "grit", "+1d", "did you mean 'grid'"),
        ("zhang", "", "never", "is not a time"),
        ("zhang", "", "1999-01-01", "not between 2000"),
        ("zhang", "", "2020-01-01", "would end before it begins"),
        ("zhang", "", "+4000d", "at most 732 days"),
    ],
)
def test_what_cannot_be_is_refused(contact, area, until, says):
    def ask():
        wanted = dutyviews.asked_calendar(PLAN, contact, area, ("", until), at(NIGHT[0]))
        rosterexport.calendar(PLAN, Duty(), wanted)

    with pytest.raises(UserError, match=says):
        ask()


def test_there_is_an_end_to_how_much_is_written(monkeypatch):
    monkeypatch.setattr(rosterexport, "MOST_DUTIES", 2)
    wanted = Wanted("", "grid", at(NIGHT[0]), at("2026-07-05 08:00"))
    with pytest.raises(UserError, match="at most 2 duties"):
        rosterexport.calendar(PLAN, Duty(), wanted)
