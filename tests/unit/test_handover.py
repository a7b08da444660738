"""What waits for a channel, when things change before it is sent."""

import pytest

from cloud import tables
from cloud.alerts.actions import Kind
from cloud.alerts.hazard import Hazard
from tests import plans
from tests.dispatching import Office
from wire.messages import Level

NORTH = {"site": "north", "hazard": Hazard.RIVER}


def pair(tiers=2, **changes):
    """A plan with two people in the nearest area."""
    written = plans.tables(tiers, **changes)
    written["contact"]["grid-2"] = {**written["contact"]["grid-1"], "name": "grid two"}
    return written


@pytest.fixture
def office():
    return Office(plans.made(pair()))


def call_of(office, contact):
    """The newest call of a contact."""
    calls = [row for row in office.rows(tables.call) if row.contact == contact]
    return max(calls, key=lambda row: row.made_ms).id


def say(office, what, contact, *words):
    """A contact answers or declines their newest call."""
    call, work = call_of(office, contact), getattr(office.dispatch, what)
    office.work(lambda c, now_ms: work(c, call, "", "sms", "", now_ms))


def test_who_declines_takes_no_call_from_anybody_else(office):
    office.find(Level.RED, **NORTH)
    office.deliver()
    say(office, "decline", "grid-1")
    assert office.waiting() == [(Kind.RAISE, "grid-2", "voice")]


def test_who_declines_takes_nothing_from_the_digest_of_anybody_else(office):
    office.find(Level.ORANGE, **NORTH)
    office.find(Level.ORANGE, site="south", hazard=Hazard.RIVER)
    office.run(2)  # repeated calls wait for the digest
    office.channels_are_away = True
    office.round(60_000)
    office.round(60_000)
    before = [one for one in office.waiting() if one[1] == "grid-2"]
    say(office, "decline", "grid-1")
    assert [one for one in office.waiting() if one[1] == "grid-2"] == before
