"""How the alerts of a month were answered."""

import json
from zoneinfo import ZoneInfo

import pytest

from cloud.alerts import statistics
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.news import News
from tests.dispatching import BEGIN_MS, MINUTE, PLAN, SITE, Office
from wire.messages import Level

ZONE = ZoneInfo("Asia/Shanghai")
MONTH = statistics.this_month(BEGIN_MS, ZONE)


@pytest.fixture
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
