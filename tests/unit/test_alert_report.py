"""The review of an incident: what is on record becomes a document, and what that looks like."""

import re
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, update

from cloud import tables
from cloud.alerts import delays, report, reportpage, reportwords, review
from cloud.alerts.document import Chart, Document, Table
from cloud.alerts.office import LONGEST_REST_S, LONGEST_S, pause_s
from cloud.alerts.review import Series
from tests.dispatching import BEGIN_MS, MINUTE, SITE, Office
from wire.messages import Level
from wire.reading import Quantity

ZONE = ZoneInfo("Asia/Shanghai")
POINTS = tuple((BEGIN_MS - MINUTE + n * 10_000, 0.05 * n) for n in range(20))


@pytest.fixture
def story() -> Office:
    """A flood: the grid does not answer, the village does; then it is over. One message was
    refused, all others were delivered after 0.4 s."""
    office = Office()
    office.find(Level.ORANGE, value=0.16)
    office.run(6)
    deliver(office)
    call = office.last_call()
    office.now_ms += 30_000
    office.work(lambda c, *a: office.dispatch.answer(c, *a), call.id, "", "link", "on | my way")
    office.find(None, value=0.1)
    office.run(15)
    deliver(office)
    out = tables.outgoing
    with office.connection.begin():
        office.connection.execute(
            update(out)
            .where(out.c.contact == call.contact, out.c.channel == "voice")
            .values(outcome="refused", detail="the number is not in use")
        )
        office.connection.execute(
            insert(tables.event_log).values(
                gateway="gw",
                stream="s",
                batch=1,
                position=0,
                at_ms=BEGIN_MS + 5,
                site=SITE,
                kind="aspect_confirmed",
                text="amber confirmed",
                detail='{"aspect":"amber","latency_ms":98.5}',
            )
        )
    return office


def deliver(office: Office) -> None:
    """All that waits is taken, 0.4 s after it was decided."""
    office.deliver()
    out = tables.outgoing
    with office.connection.begin():
        office.connection.execute(
            update(out)
            .where(out.c.outcome.in_(("", "delivered")))
            .values(done_ms=out.c.made_ms + 400, outcome="delivered", provider_id="p1")
        )


def facts(office: Office) -> review.Facts:
    with office.connection.begin():
        (incident,) = [row.id for row in office.connection.execute(tables.incident.select())]
        found = review._of_state(office.connection, incident)
    return found._replace(series=(Series("ruler-1", Quantity.DEPTH, POINTS, 4711),))


def rows(document: Document, title: str) -> list[list[str]]:
    """The first table of a section, () for one that says that there is nothing."""
    wanted = reportwords.WORDS[document.language][title]
    (section,) = [one for one in document.sections if one.title == wanted]
    table = section.parts[0]
    assert isinstance(table, Table)
    return [[cell.text for cell in row] for row in table.rows]


def test_delays_are_worked_out_from_what_is_on_record(story):
    document = report.build(facts(story), "en", ZONE)
    ((alert, over, to_alert, delivered, answered, by),) = rows(document, "delays")
    assert alert == "underpass flooding"
    assert re.fullmatch(r"(\d\d-\d\d )?\d\d:\d\d:\d\d", over)
    assert (to_alert, delivered, answered, by) == ("0 ms", "400 ms", "6 min 30 s", "Lu Ming")


def test_each_tier_is_told_with_how_it_ended(story):
    document = report.build(facts(story), "en", ZONE)
    (grid, village) = rows(document, "tiers")
    assert (grid[0], grid[3]) == (
        "Shiqiao grid 3",
        "no answer in 5 min 0 s: climbed to Shiqiao community",
    )
    assert (village[0], village[3]) == ("Shiqiao community", "answered after 1 min 30 s (Lu Ming)")


def test_what_was_said_who_was_silent_and_what_did_not_arrive(story):
    document = report.build(facts(story), "zh", ZONE)
    ((_, who, how, said, counted),) = rows(document, "said")
    assert (who, how, said, counted) == ("陆明", "链接", "on | my way", "有效")
    silent = [row[0] for row in rows(document, "silent")]
    assert len(silent) == 1
    assert silent[0] in ("周青", "何岚")
    failed = rows(document, "failures")
    assert {(row[1], row[2], row[4]) for row in failed} == {
        ("陆明", "voice", "the number is not in use")
    }


def test_the_course_of_events_is_in_one_language(story):
    chinese = [" ".join(row) for row in rows(report.build(facts(story), "zh", ZONE), "course")]
    assert chinese
    for line in chinese:
        plain = re.sub(r"\[[a-z-]+\]|[a-z]+(-[a-z0-9]+)+|（\w+）|on \| my way", "", line)
        assert not re.search(r"(?<![A-Za-z])[a-z]{3,}(?![A-Za-z])", plain), line


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("lu-ming by link, 10.0.0.1", "lu-ming 通过链接，10.0.0.1"),
        ("Li by sms, +86: it has risen since", "Li 通过sms，+86：其后已升级"),
        ("Li by MQTT: nobody was being called", "Li 通过MQTT：当时已停止呼叫"),
        ("to orange", "降至橙色"),
        ("active-acknowledged", "已应答"),
        ("shelved", "已搁置"),
        ("nobody has answered, up to the top", "至最高级仍无人应答"),
        ("it has risen since that message", "该消息之后已升级"),
        ("what people say stays", "what people say stays"),
    ],
)
def test_what_the_timeline_says_has_chinese_words(text, chinese):
    assert reportwords.phrase(text, "zh") == chinese
    assert reportwords.phrase(text, "en") == text


def test_nobody_answers_and_it_is_over_by_itself():
    office = Office()
    office.find(Level.ORANGE)
    office.find(None)
    office.run(11)
    found = facts(office)
    assert [one.how for one in delays.calls(found.lines, found.told)][-1] in ("over", "open")
    document = report.build(found, "en", ZONE)
    assert rows(document, "delays")[0][-1] == "nobody"
    assert reportwords.WORDS["en"]["none"] in str(document)


def test_markdown_is_a_table_for_each_section_and_marks_stay_words(story):
    text = reportpage.markdown(report.build(facts(story), "en", ZONE))
    assert text.startswith("# Review of an incident: Daping underpass\n")
    assert r"on \| my way" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_page_needs_nothing_from_elsewhere_and_shows_no_link(story):
    given = facts(story)
    assert any(one.message.link for one in given.told)
    page = reportpage.html(report.build(given, "zh", ZONE))
    assert not re.search(r"(src|href|url\(|@import|https?:)", page)
    assert page.count("<svg") == 1
    assert "回读确认信号灯为黄色，用时 98.5 毫秒" in page
    assert '<html lang="zh-CN">' in page


def test_what_people_write_is_no_markup(story):
    given = facts(story)
    lines = tuple(
        msg if msg.kind != "answer" else type(msg)(**{**_fields(msg), "text": "<script>x</script>"})
        for msg in given.lines
    )
    page = reportpage.html(report.build(given._replace(lines=lines), "en", ZONE))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def _fields(line):
    return {name: getattr(line, name) for name in line.__struct_fields__}


def test_a_chart_has_the_thresholds_of_the_rise(story):
    document = report.build(facts(story), "en", ZONE)
    (chart,) = [part for one in document.sections for part in one.parts if isinstance(part, Chart)]
    assert chart.lines == (("orange", 30.0),)
    at_ms, shown = chart.points[-1]
    assert at_ms == POINTS[-1][0]
    assert shown == pytest.approx(95)
    assert [word for _, word in chart.marks] == [
        "Calls begin",
        "No answer: climbs",
        "Calls end",
        "Over",
    ]


def test_thinned_readings_keep_the_extremes():
    points = [(at, float(at % 97)) for at in range(0, 100_000, 7)]
    thin = review.thinned(points, 0, 100_000)
    assert len(thin) <= 2 * (review.COLUMNS + 1)
    assert thin == sorted(thin)
    assert {value for _, value in thin} >= {0.0, 96.0}


def test_the_course_of_a_long_incident_is_cut_and_says_so(story, monkeypatch):
    monkeypatch.setattr(report, "COURSE_LINES", 3)
    document = report.build(facts(story), "en", ZONE)
    table, more = document.sections[-1].parts
    assert isinstance(table, Table)
    assert len(table.rows) == 3
    assert "more lines" in str(more)


def test_the_office_rests_by_what_a_look_cost_but_not_from_what_is_left():
    assert pause_s(0.2, 1000, None) == LONGEST_S
    assert pause_s(0.2, 1000, 1000) == 0
    assert pause_s(10.0, 1000, 900) == 0
    assert pause_s(0.001, 1000, 8000) == 7
    assert pause_s(0.02, 1000, 1010) == pytest.approx(4)
    assert pause_s(9.0, 1000, 1010) == LONGEST_REST_S
    assert pause_s(0.0, 1000, 10**9) == LONGEST_S
