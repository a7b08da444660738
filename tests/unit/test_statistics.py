"""How the alerts of a month were answered."""

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cloud import tables
from cloud.alerts import byhand, reportpage, statistics, statsreport
from cloud.alerts.byhand import Demand
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.news import News
from tests.dispatching import BEGIN_MS, MINUTE, PLAN, SITE, Office
from tests.pageparts import Parts
from wire.messages import Level

ZONE = ZoneInfo("Asia/Shanghai")
MONTH = statistics.this_month(BEGIN_MS, ZONE)


@pytest.fixture(scope="module")
def office():
    """Two alerts: the village answers one after 6 minutes and reports it as false, nobody answers
    the other; and an exercise."""
    made = Office()
    made.find(Level.RED)
    made.run(6)
    call = made.last_call()
    assert call.contact == "lu-ming"
    made.work(lambda c, n: made.dispatch.answer(c, call.id, "", "sms", "收到", n))
    made.now_ms += MINUTE
    news = News("result", "sms", "误报", {"result": "false alarm"})
    made.work(lambda c, n: made.dispatch.report(c, call.id, news, n))
    made.find(Level.RED, site="jialing-huangshaxi", hazard=Hazard.RIVER)
    made.run(30)
    exercise = made.dispatch.exercise
    made.work(lambda c, n: exercise(c, SITE, Hazard.UNDERPASS, Level.RED, Stage.NOW, n))
    made.run(1)
    return made


def month(office, name=MONTH):
    with office.connection.begin():
        return statistics.of_month(office.connection, PLAN, name)


def test_alerts_answers_and_silence_are_counted(office):
    found = month(office)
    assert (found.alerts, found.unanswered, found.false_alarms) == (2, 1, 1)
    people = {one.name: one for one in found.people}
    village = people["陆明"]
    assert (village.called, village.answered, village.silent) == (1, 1, 0)
    assert village.to_answer_s == 60
    assert village.to_result_s == 60
    grid = people["何岚"]
    assert (grid.called, grid.answered, grid.silent, grid.silent_share) == (1, 0, 1, 1.0)
    tiers = {one.name: one for one in found.tiers}
    assert tiers["village"].called == 2
    assert tiers["village"].silent == 1
    assert found.total.messages == sum(one.messages for one in found.people) == found.messages
    assert "演练" not in json.dumps([one.name for one in found.people])


def test_another_month_has_nothing(office):
    found = month(office, "1999-12")
    assert (found.alerts, found.people, found.total.silent_share) == (0, [], None)


def test_a_month_begins_where_the_plan_is():
    begin_ms, end_ms = statistics.bounds("2025-12", ZONE)
    assert (end_ms - begin_ms) == 31 * 86_400_000
    assert begin_ms % 86_400_000 == 16 * 3_600_000  # 00:00 at UTC+8
    for wrong in ("2025", "2025-13", "x"):
        with pytest.raises(ValueError, match="is not a month"):
            statistics.bounds(wrong, ZONE)


def storm(seed):
    """Some sites, and people who answer, decline, report or keep silent as it comes."""
    chance = random.Random(seed)
    made = Office()
    sites = (SITE, "jialing-huangshaxi", "nowhere")
    for _ in range(8):
        site = chance.choice(sites)
        hazard = Hazard.RIVER if site == "jialing-huangshaxi" else Hazard.UNDERPASS
        level = chance.choice([Level.ORANGE, Level.RED, None])
        made.find(level, site=site, hazard=hazard)
        made.run(chance.choice([1, 4, 12]))
        calls = made.rows(tables.call)
        if not calls:
            continue
        call = chance.choice(calls)
        result = News("result", "sms", "", {"result": chance.choice(RESULTS)})
        said: dict[str, Callable[[], object]] = {
            "yes": partial(answer, made, call.id),
            "no": partial(decline, made, call.id),
            "result": partial(report, made, call.id, result),
            "nothing": lambda: None,
        }
        said[chance.choice([*said])]()
        made.run(chance.choice([1, 3]))
    return made


RESULTS = ["closed", "false alarm", "cannot act", "evacuated"]


def answer(office, call):
    office.work(lambda c, n: office.dispatch.answer(c, call, "", "sms", "收到", n))


def decline(office, call):
    office.work(lambda c, n: office.dispatch.decline(c, call, "", "sms", "去不了", n))


def report(office, call, news):
    office.work(lambda c, n: office.dispatch.report(c, call, news, n))


def recount(office):
    """All of it once more, line by line, without a word of the code that is tried."""
    outgoing = [row for row in office.rows(tables.outgoing) if row.outcome == "delivered"]
    lines = sorted(office.rows(tables.timeline), key=lambda row: row.id)
    people: dict[str, dict[str, Any]] = {}
    alerts: dict[str, list[list[Any]]] = {}
    for line in lines:
        if line.kind == "opened":
            alerts.setdefault(line.alert, []).append([])
        if line.alert in alerts:
            alerts[line.alert][-1].append(line)
    for alert, rounds in alerts.items():
        for number, own in enumerate(rounds):
            begin = own[0].at_ms
            end = rounds[number + 1][0].at_ms if number + 1 < len(rounds) else 10**15
            called: dict[str, int] = {}
            for row in sorted(outgoing, key=lambda row: row.done_ms):
                asks = any(part[0] == alert and part[3] for part in json.loads(row.parts))
                if asks and begin <= row.made_ms < end:
                    called.setdefault(row.contact, row.done_ms)
            details = [(line, json.loads(line.detail)) for line in own]
            given = [(li, d) for li, d in details if li.kind == "answer" and not d["refused"]]
            spoke = {d["contact"] for li, d in details if li.kind == "answer"}
            refused = {d["contact"] for li, d in details if li.kind == "declined"}
            for who, since in called.items():
                row = people.setdefault(who, dict.fromkeys(("called", "answered", "silent"), 0))
                times = row.setdefault("times", [])
                row["called"] += 1
                if given and given[0][1]["contact"] == who:
                    row["answered"] += 1
                    times.append(max(given[0][0].at_ms - since, 0) / 1000)
                elif who not in spoke | refused:
                    climbs = [li.at_ms for li in own if li.kind in ("climbed", "top")]
                    late = given and not any(since <= at <= given[0][0].at_ms for at in climbs)
                    row["silent"] += not late
    told: dict[str, set[str]] = {}
    for row in outgoing:
        if {part[0] for part in json.loads(row.parts)} & alerts.keys():
            told.setdefault(row.contact, set()).add(row.key)
    return alerts, people, told


@pytest.mark.parametrize("seed", range(2))
def test_every_number_is_that_of_a_recount(seed):
    office = storm(seed)
    found = month(office)
    alerts, people, told = recount(office)
    assert found.alerts == len(alerts) > 0
    answered = {
        row.alert
        for row in office.rows(tables.timeline, tables.timeline.c.kind == "answer")
        if not json.loads(row.detail)["refused"]
    }
    assert found.unanswered == len(alerts.keys() - answered)
    assert found.messages == sum(map(len, told.values()))
    assert found.messages_per_alert == found.messages / len(alerts)
    assert {one.contact for one in found.people} == people.keys()
    for one in found.people:
        row = people[one.contact]
        assert (one.called, one.answered, one.silent) == (
            *(row["called"], row["answered"], row["silent"]),
        )
        times = sorted(row["times"])
        assert one.answers == len(times)
        assert one.worst_answer_s == (times[-1] if times else None)
        middle = (times[len(times) // 2] + times[(len(times) - 1) // 2]) / 2 if times else None
        assert one.to_answer_s == middle
        assert one.messages == len(told[one.contact])
        assert not one.left
    assert found.total.answered >= sum(one.answered for one in found.people)
    assert sum(one.answered for one in found.tiers) == sum(one.answered for one in found.people)


def test_each_time_that_an_alert_calls_people_is_a_round():
    office = Office()
    office.find(Level.RED)
    office.run(1)
    answer(office, office.last_call().id)
    office.run(1)
    report(office, office.last_call().id, News("result", "sms", "", {"result": "cannot act"}))
    office.run(2)
    answer(office, office.last_call().id)
    office.run(1)
    report(office, office.last_call().id, News("result", "sms", "", {"result": "closed"}))
    found = month(office)
    assert (found.alerts, found.unanswered) == (1, 0)
    assert (found.total.called, found.total.answered, found.total.answers) == (2, 2, 2)
    assert (found.total.results, found.total.to_result_s) == (1, 60)  # that they cannot is none


def test_who_was_not_waited_for_is_not_silent():
    """Two are called, and one of them answers before it climbs."""
    office = Office()
    office.find(Level.RED)
    office.run(1)
    demand = Demand(office.alarm().alert, "Li Wei", "", "lu-ming")
    assert office.work(lambda c, n: byhand.add(office.dispatch, c, demand, n)).ok
    office.run(1)
    call, *_ = office.rows(tables.call, tables.call.c.contact == "lu-ming")
    answer(office, call.id)
    office.run(1)
    found = month(office)
    assert {one.contact: (one.answered, one.relieved, one.silent) for one in found.people} == {
        "lu-ming": (1, 0, 0),
        "he-lan": (0, 1, 0),
    }


def test_an_alert_belongs_to_the_month_in_which_it_began():
    office = Office()
    end_ms = statistics.bounds(MONTH, ZONE)[1]
    office.now_ms = end_ms - MINUTE
    office.find(Level.ORANGE)
    office.now_ms += 10_000
    office.deliver()
    answer(office, office.last_call().id)
    office.run(3)
    office.find(Level.RED)  # calls anew, in the next month
    office.run(1)
    later = statistics.this_month(office.now_ms, ZONE)
    assert later != MONTH
    assert (month(office).alerts, month(office, later).alerts) == (1, 0)


def test_who_has_left_the_plan_is_named_as_the_plan_of_that_time_named_them(office):
    others = {name: one for name, one in PLAN.contact.items() if name != "lu-ming"}
    smaller = PLAN.model_copy(update={"contact": others})
    with office.connection.begin():
        found = statistics.of_month(office.connection, smaller, MONTH)
    (left,) = [one for one in found.people if one.left]
    assert (left.contact, left.name, left.answered) == ("lu-ming", "陆明", 1)
    assert {one.name for one in found.tiers} == {one.name for one in month(office).tiers}
    page = reportpage.html(statsreport.build(found, "zh", ZONE))
    assert "陆明（已不在预案中）" in page


@pytest.mark.parametrize("tongue", ["zh", "en"])
def test_the_page_has_every_number_with_its_count(office, tongue):
    found = month(office)
    page = reportpage.html(statsreport.build(found, tongue, ZONE))
    text = Parts(page).text
    village = next(one for one in found.people if one.contact == "lu-ming")
    assert village.answers == 1
    expected = {
        "zh": ["2025-06", "中位 1 分 0 秒，最长 1 分 0 秒（n=1）", "1/2 (50%)", "(100%)"],
        "en": ["2025-06", "median 1 min 0 s, worst 1 min 0 s (n=1)", "1 of 2 (50%)", "(100%)"],
    }[tongue]
    for one in expected:
        assert one in text
    assert f"{found.messages / 2:.1f} (n=2)" in text
    for person in found.people:
        assert person.name in text


@pytest.mark.parametrize(("tongue", "says"), [("zh", "本月没有预警"), ("en", "There was no alert")])
def test_a_month_without_alerts_says_so(office, tongue, says):
    page = reportpage.html(statsreport.build(month(office, "1999-12"), tongue, ZONE))
    assert says in page
    assert "nan" not in page
    markdown = reportpage.markdown(statsreport.build(month(office, "1999-12"), tongue, ZONE))
    assert says in markdown
