"""Calendars of duty (RFC 5545): what comes of them, and what is wrong with them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import rosterchild, rosterfile
from cloud.alerts.roster import MOST_BYTES, MOST_EVENTS
from configs.loader import ConfigError, UserError
from tests import plans
from tests.examples import examples

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = round(datetime(2026, 7, 1, tzinfo=SHANGHAI).timestamp()) * 1000


DECLINED = "ATTENDEE;PARTSTAT=DECLINED:mailto:zhang-san@flood.example"


def city():
    written = plans.tables(3, channel={"sms": {"address": "phone"}, "mail": {"address": "email"}})
    one = written["contact"].pop("grid-1")
    for key, name in (
        ("zhang-san", "张三"),
        ("he-lan", "何岚"),
        ("he-lanlan", "何岚岚"),
        ("twin-1", "双"),
        ("twin-2", "双"),
    ):
        address = {"phone": "+8612300000001", "email": f"{key}@flood.example"}
        written["contact"][key] = one | {
            "name": name,
            "name_en": key.title(),
            "address": address,
            "channels": ["sms"],
        }
    for contact in written["contact"].values():
        contact["channels"] = ["sms"]
    written["contact"]["horn"] = one | {"name": "大喇叭", "public": True, "channels": ["sms"]}
    return plans.made(written)


PLAN = city()


def event(*lines, uid="1", summary="张三", begin="20260703T200000", end="20260704T080000"):
    return [
        "BEGIN:VEVENT",
        f"UID:{uid}",
        "DTSTAMP:20260601T000000Z",
        *([f"DTSTART:{begin}"] if begin else []),
        *([f"DTEND:{end}"] if end else []),
        *([f"SUMMARY:{summary}"] if summary else []),
        *lines,
        "END:VEVENT",
    ]


def calendar(*events, head=()):
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", *head]
    for one in events:
        lines += one
    return ("\r\n".join([*lines, "END:VCALENDAR"]) + "\r\n").encode()


def read(*events, head=(), now_ms=NOW, plan=PLAN):
    return rosterfile.read(calendar(*events, head=head), plan, now_ms, "july.ics")


def clock(at_ms, zone=SHANGHAI):
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone):%m-%d %H:%M}"


def duties(*events, zone=SHANGHAI, **more):
    """`who from - until` of each duty."""
    return [
        f"{one.contact} {clock(begin, zone)} - {clock(end, zone)}"
        for one in read(*events, **more).duties
        for begin, end in one.spans
    ]


def faults(*events, **more):
    with pytest.raises(ConfigError) as refused:
        read(*events, **more)
    return [str(one).removeprefix("july.ics: ") for one in str(refused.value).splitlines()]


def test_an_event_is_a_duty_of_its_contact_over_midnight():
    roster = read(event(), head=["X-WR-CALNAME:七月值班"])
    assert roster.calendar == "七月值班"
    (one,) = roster.duties
    assert (one.contact, one.area, len(one.uids)) == ("zhang-san", "grid", 1)
    assert (clock(roster.from_ms), clock(roster.until_ms)) == ("07-03 20:00", "07-04 08:00")
    assert read(event()).calendar == "july.ics"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"begin": "20260703T120000Z", "end": "20260704T000000Z"}, "07-03 20:00 - 07-04 08:00"),
        (
            {"begin": "20260703T200000", "end": "", "lines": ["DURATION:PT12H"]},
            "07-03 20:00 - 07-04 08:00",
        ),
        (
            {
                "begin": "",
                "end": "",
                "lines": [
                    "DTSTART;TZID=Europe/Berlin:20260703T140000",
                    "DTEND;TZID=Europe/Berlin:20260704T020000",
                ],
            },
            "07-03 20:00 - 07-04 08:00",
        ),
        (
            {"begin": "", "end": "", "lines": ["DTSTART;VALUE=DATE:20260703"]},
            "07-03 00:00 - 07-04 00:00",
        ),
        (
            {
                "begin": "",
                "end": "",
                "lines": ["DTSTART;VALUE=DATE:20260703", "DTEND;VALUE=DATE:20260706"],
            },
            "07-03 00:00 - 07-06 00:00",
        ),
    ],
)
def test_times_are_understood_in_their_zone(given, found):
    lines = given.pop("lines", ())
    assert duties(event(*lines, **given)) == [f"zhang-san {found}"]


def test_times_without_a_zone_are_those_of_the_calendar_or_of_the_plan():
    head = ["X-WR-TIMEZONE:Europe/Berlin"]
    assert duties(event(), head=head) == ["zhang-san 07-04 02:00 - 07-04 14:00"]


def test_a_zone_of_the_file_s_own_is_followed_and_not_kept_for_the_next_file():
    def with_zone(offset):
        zone = [
            "BEGIN:VTIMEZONE",
            "TZID:Ours",
            "BEGIN:STANDARD",
            "DTSTART:16010101T000000",
            f"TZOFFSETFROM:{offset}",
            f"TZOFFSETTO:{offset}",
            "END:STANDARD",
            "END:VTIMEZONE",
        ]
        times = ["DTSTART;TZID=Ours:20260703T200000", "DTEND;TZID=Ours:20260704T080000"]
        return duties(event(*times, begin="", end=""), head=zone)

    assert with_zone("+0800") == ["zhang-san 07-03 20:00 - 07-04 08:00"]
    assert with_zone("+0900") == ["zhang-san 07-03 19:00 - 07-04 07:00"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["RRULE:FREQ=WEEKLY;COUNT=3", "EXDATE:20260710T200000"], ["07-03", "07-17"]),
        (["RRULE:FREQ=WEEKLY;COUNT=3", "EXDATE;VALUE=DATE:20260710"], ["07-03", "07-17"]),
        (["RRULE:FREQ=DAILY;UNTIL=20260705T120000Z"], ["07-03", "07-04", "07-05"]),
        (["RRULE:FREQ=DAILY;UNTIL=20260705T115959Z"], ["07-03", "07-04"]),
        (["RRULE:FREQ=DAILY;UNTIL=20260705"], ["07-03", "07-04", "07-05"]),
        (["RRULE:FREQ=MONTHLY;BYDAY=1FR;COUNT=2"], ["07-03", "08-07"]),
        (["RDATE:20260708T200000,20260703T200000"], ["07-03", "07-08"]),
    ],
)
def test_what_repeats_is_followed(lines, found):
    assert [one.split(" ")[1] for one in duties(event(*lines))] == found


def test_a_rule_without_an_end_is_followed_for_so_many_days():
    roster = read(event("RRULE:FREQ=DAILY"), now_ms=NOW + 86_400_000 * 30)
    (one,) = roster.duties
    assert len(one.spans) == 401
    assert clock(one.spans[0][0]) == "07-30 20:00"  # what is over by now is no duty
    assert "28 over already" in roster.notes or "27 over already" in roster.notes


def test_one_time_of_an_event_may_be_moved_given_to_another_or_cancelled():
    rule = event("RRULE:FREQ=DAILY;COUNT=4")
    to_lan = event(
        "RECURRENCE-ID:20260704T200000",
        summary="何岚",
        begin="20260704T210000",
        end="20260705T080000",
    )
    cancelled = event(
        "RECURRENCE-ID:20260705T200000",
        "STATUS:CANCELLED",
        begin="20260705T200000",
        end="20260706T080000",
    )
    assert duties(rule, to_lan, cancelled) == [
        "he-lan 07-04 21:00 - 07-05 08:00",
        "zhang-san 07-03 20:00 - 07-04 08:00",
        "zhang-san 07-06 20:00 - 07-07 08:00",
    ]


def test_cancelled_and_replaced_events_do_not_count():
    roster = read(
        event(),
        event("STATUS:CANCELLED", uid="2", summary="何岚"),
        event(
            "SEQUENCE:1", uid="3", summary="何岚", begin="20260708T200000", end="20260709T080000"
        ),
        event(uid="3", summary="何岚"),
    )
    assert [one.contact for one in roster.duties] == ["he-lan", "zhang-san"]
    assert len(roster.duties[0].spans) == 1
    assert roster.notes == ("1 cancelled", "1 replaced by a later SEQUENCE")


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_a_night_ends_at_the_same_clock_time_where_the_clock_changes(zone):
    tables = PLAN.model_dump(mode="json", exclude_none=True)
    plan = plans.made(tables | {"timezone": zone})
    now_ms = round(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
    rule = event("RRULE:FREQ=DAILY;COUNT=40", begin="20261001T200000", end="20261002T080000")
    found = duties(rule, plan=plan, now_ms=now_ms, zone=ZoneInfo(zone))
    assert {(one[16:21], one[-5:]) for one in found} == {("20:00", "08:00")}


@pytest.mark.parametrize(
    ("lines", "summary", "who"),
    [
        ([], "zhang-san", ["zhang-san"]),
        ([], "Zhang-San", ["zhang-san"]),
        ([], "夜班 张三", ["zhang-san"]),
        ([], "张三、何岚", ["he-lan", "zhang-san"]),
        ([], "值班：何岚岚", ["he-lanlan"]),
        ([], "Duty: Zhang-San (night)", ["zhang-san"]),
        (["ATTENDEE:mailto:HE-LAN@flood.example"], "夜班", ["he-lan"]),
        (['ATTENDEE;CN="张三":mailto:other@flood.example'], "夜班", ["zhang-san"]),
        (["ATTENDEE:mailto:he-lan@flood.example", DECLINED], "", ["he-lan"]),
        (["ATTENDEE:mailto:nobody@flood.example"], "张三", ["zhang-san"]),
        (["X-SHUICHI-CONTACT:he-lan", "X-SHUICHI-AREA:village"], "张三", ["he-lan"]),
    ],
)
def test_an_event_is_for_whom_it_names(lines, summary, who):
    assert [one.contact for one in read(event(*lines, summary=summary)).duties] == who


def test_all_faults_are_told_at_once_with_line_and_event():
    found = faults(
        event(summary="王五"),
        event(begin="garbage"),
        event(end="20260703T190000"),
        event("RRULE:FREQ=SECONDLY"),
        event(end=""),
        event(summary="大喇叭"),
        event(summary="双"),
        event(summary=""),
        event(end="20260903T080000"),
        event("RRULE:FREQ=DAILY;BYHOUR=1,2,3"),
        event("RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"),
        event("RECURRENCE-ID;RANGE=THISANDFUTURE:20260703T200000"),
        event("RDATE;VALUE=PERIOD:20260708T200000/PT5H"),
        event("X-SHUICHI-AREA:nowhere", "X-SHUICHI-CONTACT:he-lan"),
        event(begin="00010101T000000", end="00010101T100000"),
        event("DTSTART;TZID=Atlantis:20260703T200000", begin=""),
    )
    assert found[0] == "line 4, event '王五': names nobody of the plan: '王五'"
    assert found[1].startswith("line 11, event '张三': DTSTART cannot be read")
    assert [one.split(": ", 1)[1][:42] for one in found[2:]] == [
        "ends before it begins, or at once",
        "FREQ=SECONDLY: duty repeats by days, weeks",
        "has no end",
        "names nobody of the plan: '大喇叭'",
        "'双' is the name of twin-1, twin-2: use the",
        "names nobody",
        "lasts longer than 31 days",
        "BYHOUR: duty repeats by days, weeks, month",
        "has RRULE more than once",
        "RECURRENCE-ID with RANGE is not followed: ",
        "RDATE with periods is not followed: use ev",
        "'nowhere' is no area of the plan",
        "is not between 1990 and 2199",
        "DTSTART: the time zone 'Atlantis' is not k",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no calendar, or is cut off"),
        (b"hello", "line 1 is no line of a calendar: 'hello'"),
        (calendar(event())[:-40], "is no calendar, or is cut off"),
        (b"\xff\xfe\x00", "line 1: is not text in UTF-8"),
        (b"BEGIN:VCALENDAR\nEND:VCALENDAR\n", "has no duty from now on"),
        (calendar(event(begin="20200101T000000", end="20200101T100000")), "1 over already"),
        (b" " * (MOST_BYTES + 1), "has more than 1024 KiB"),
        (b"BEGIN:VEVENT\n" * (MOST_EVENTS + 1), "and may have 5000"),
        (
            calendar(
                head=[
                    "BEGIN:VTIMEZONE",
                    "TZID:x",
                    "BEGIN:STANDARD",
                    "RRULE:FREQ=SECONDLY",
                    "END:STANDARD",
                    "END:VTIMEZONE",
                ]
            ),
            "line 7: a time zone whose clock changes",
        ),
    ],
)
def test_what_is_no_calendar_of_duty_is_one_line(content, says):
    with pytest.raises(ConfigError) as refused:
        rosterfile.read(content, PLAN, NOW, "july.ics")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_there_is_an_end_to_how_many_duties_come_of_it(monkeypatch):
    monkeypatch.setattr(rosterfile, "MOST_DUTIES", 500)
    two = [event("RRULE:FREQ=DAILY", uid=str(n)) for n in range(2)]
    assert faults(*two) == ["gives more than 500 duties"]


LINES = st.sampled_from(
    (
        *event(),
        *("BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "TZID:x", ""),
        *("RRULE:FREQ=WEEKLY;BYDAY=MO", "RRULE:FREQ=DAILY;COUNT=0", "RRULE:FREQ=DAILY;INTERVAL=0"),
        *("EXDATE:20260703T200000", "EXDATE:x", "RDATE:20260703", "DURATION:PT1H", "DURATION:-P9W"),
        *("RECURRENCE-ID:20260703", "SEQUENCE:x", "STATUS:CANCELLED", "ATTENDEE:x", " folded", ":"),
        *("DTSTART;VALUE=DATE:20260703", "DTEND;TZID=Nowhere:20260704T000000", "X;:;", "\u0000"),
        *("X-SHUICHI-RANGE:1/2", "X-SHUICHI-MEMBERS:he-lan x", "RRULE:FREQ=YEARLY;BYMONTH=13"),
    )
)


@given(st.lists(LINES, max_size=12))
@examples(100)
def test_whatever_lines_a_file_has_it_is_read_or_refused(lines):
    content = calendar(["BEGIN:VEVENT", *lines, "END:VEVENT"], event(uid="2"))
    try:
        roster = rosterfile.read(content, PLAN, NOW, "july.ics")
    except ConfigError:
        return
    assert roster.from_ms < roster.until_ms


def test_a_process_of_its_own_reads_it_and_is_ended_when_it_takes_too_long():
    assert rosterchild.read(calendar(event()), PLAN, NOW, "july.ics") == read(event())
    never = event("RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")
    many = calendar(*[[*never[:1], f"UID:{n}", *never[2:]] for n in range(50)])
    with pytest.raises(UserError, match="does one of its rules never fit"):
        rosterchild.read(many, PLAN, NOW, "july.ics", within_s=1.0)
