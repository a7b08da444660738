"""Exercises beside the real thing: it goes first, and nobody takes one for the other."""

import msgspec
import pytest

from cloud import tables
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.hazard import Hazard, Stage
from tests.dispatching import MINUTE, SITE, Office
from wire.messages import Level

RIVER = "jialing-huangshaxi"


def exercise(office, level, site=SITE, hazard=Hazard.UNDERPASS):
    work = office.dispatch.exercise
    return office.work(lambda c, n: work(c, site, hazard, level, Stage.NOW, n))


def exercised(office, site=SITE, *, is_it=True):
    alarm = tables.alarm.c
    (row,) = office.rows(tables.alarm, alarm.exercise == is_it, alarm.site == site)
    return msgspec.json.decode(row.state, type=Alarm)


def real(office):
    return exercised(office, is_it=False)


@pytest.mark.parametrize("after_ms", [0, MINUTE])
def test_an_exercise_that_nobody_answered_leaves_nothing_open(after_ms):
    office = Office()
    alert = exercise(office, Level.RED)
    office.now_ms += after_ms  # 0: within the same millisecond
    assert exercise(office, None) == alert
    assert exercised(office).process is Status.NORMAL
    office.now_ms += MINUTE
    assert exercise(office, Level.RED) != alert


def test_a_real_alert_ends_the_exercises_of_its_site():
    office = Office()
    mine = exercise(office, Level.RED)
    exercise(office, Level.RED, RIVER, Hazard.RIVER)
    office.run(1)
    office.find(Level.ORANGE)
    assert exercised(office).level is None
    (note,) = office.rows(tables.timeline, tables.timeline.c.kind == "gave way")
    assert (note.alert, note.text) == (mine, office.alarm().alert)
    assert exercised(office, RIVER).calls  # of another site: it goes on
    assert office.alarm().calls
    told = [m for _, m in office.messages() if m.site == SITE and not m.exercise]
    assert any(one.kind == "raise" for one in told)


def test_a_real_alert_that_is_held_back_ends_an_exercise_once_it_calls():
    """As when water is poured on the ruler for the exercise."""
    office = Office()
    assert office.hold(minutes=30).ok
    exercise(office, Level.RED)
    office.find(Level.RED)
    assert exercised(office).calls
    office.run(31)
    assert real(office).calls
    assert exercised(office).level is None


def test_a_device_that_fails_ends_no_exercise():
    office = Office()
    exercise(office, Level.RED)
    office.find(Level.YELLOW, rule="stale", hazard=Hazard.EQUIPMENT)
    assert exercised(office).level is Level.RED


def test_who_is_called_for_both_is_handed_the_real_call_first():
    office = Office()
    office.channels_are_away = True
    exercise(office, Level.RED)
    exercise(office, Level.RED, RIVER, Hazard.RIVER)
    office.now_ms += MINUTE
    office.find(Level.RED)
    office.channels_are_away = False
    office.now_ms += MINUTE
    waiting = {(row.channel, row.contact) for row in office._waiting()}
    for channel, contact in waiting:
        told = []
        while (
            message := office.work(
                lambda c, n, by=channel, to=contact: office.dispatch.hand_over.next(c, by, to, n)
            )
        ) is not None:
            told.append(message.exercise)
            with office.connection.begin():
                out = tables.outgoing
                office.connection.execute(
                    out.update().where(out.c.key == message.key).values(done_ms=office.now_ms)
                )
        assert told == sorted(told), (channel, contact)
    assert waiting
