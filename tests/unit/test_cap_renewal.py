"""Warnings that end by themselves, and are renewed until they are over: any water, holds, kills,
clocks and outages, in virtual time."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud import tables
from cloud.alerts import capfeed, episodes, holding, plan, wording
from cloud.alerts.alarm import Status
from cloud.alerts.cap import HOUR_MS, Publisher
from cloud.alerts.dispatch import Settings
from cloud.alerts.episodes import Present
from cloud.alerts.figures import FIGURES
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.rule import Finding, Place
from cloud.alerts.trend import Trend
from configs import loader
from tests import caprules
from tests.caprules import moment, said
from tests.dispatching import MINUTE, PLAN, SITE, Office
from tests.examples import examples
from wire.messages import Level
from wire.reading import Quantity

URL = "https://flood.example"
PUBLISHER = Publisher(
    sender="water.example",
    name="防汛办",
    name_en="Flood office",
    contact="电话 023-12345",
    contact_en="Phone 023-12345",
)
SETTINGS = Settings(off_delay_ms=10 * MINUTE, answer_url=URL, publisher=PUBLISHER)
PLACES = {
    "daping-underpass": {"polygon": "29.551,106.512 29.552,106.514 29.550,106.515"},
    "jialing-huangshaxi": {"circle": "29.56,106.50 0.3", "geocode": {"GB/T 2260": "500103"}},
}


class Kill(Exception):
    """What a kill -9 is to a transaction."""


def placed():
    """The example plan, each site with a place."""
    written = PLAN.model_dump(mode="json", exclude_none=True)
    for name, site in written["site"].items():
        site |= PLACES.get(name, {"circle": "29.55,106.51 0.5"})
    return loader.parse(written, plan.Plan, "plan.toml", plan.faults)


PLACED = placed()


class Publishing(Office):
    """An office that publishes."""

    def __init__(self, settings=SETTINGS):
        super().__init__(PLACED, settings)

    def find(self, *given, **where):
        self.now_ms += 1  # a finding of the same instant would be an old one
        return super().find(*given, **where)

    def papers(self):
        """All that was published, in order."""
        rows = self.rows(tables.cap_document)
        return sorted(rows, key=lambda row: (row.sent_ms, row.number))

    def documents(self):
        return [ElementTree.fromstring(row.document) for row in self.papers()]

    def kinds_of_documents(self):
        return [said(one, "msgType") for one in self.documents()]

    def killed_round(self):
        """A round that does everything and is killed before it is committed; then a new start."""
        try:
            with self.connection.begin():
                self.dispatch.round(self.connection, self.now_ms)
                raise Kill
        except Kill:
            self.restart()

    def feed(self):
        with self.connection.begin():
            feed = capfeed.Feed(self.settings.publisher, f"{URL}/cap")
            return feed.page(self.connection, self.now_ms).body

    def shown(self):
        """The kinds of documents in the feed, by identifier."""
        path = "a:entry/a:content/c:alert"
        found = ElementTree.fromstring(self.feed()).iterfind(path, caprules.NS)
        return {said(one, "identifier"): said(one, "msgType") for one in found}

    def answer_all(self):
        """So that nobody is rung for hours: it is about documents here."""
        work = self.dispatch.acknowledge
        for row in self.rows(tables.escalation):
            self.work(lambda c, ms, alert=row.alert: work(c, alert, "Li", "command", "", ms))

    def let_go(self, site=SITE, hazard=Hazard.UNDERPASS):
        given = holding.End("Li", None, "", site, hazard, Status.OUT_OF_SERVICE)
        return self.work(lambda c, n: holding.end(self.dispatch, c, given, n))


@pytest.fixture
def office():
    return Publishing()


def test_every_document_names_its_end(office):
    office.find(Level.ORANGE)
    office.find(Level.RED)
    office.find(None)
    office.run(11)
    assert office.kinds_of_documents() == ["Alert", "Update", "Cancel"]
    for one in office.documents():
        for info in one.iterfind("c:info", caprules.NS):
            hours = (moment(said(info, "expires")) - moment(said(one, "sent"))) / 3600
            assert hours == (24 if said(one, "msgType") == "Cancel" else 6)


def test_what_lasts_is_renewed_before_it_ends_and_never_shows_a_gap(office):
    office.find(Level.RED)
    office.answer_all()
    for _ in range(8):
        office.run(180)
        in_force = [row for row in office.papers() if row.in_force]
        assert [row.expires_ms > office.now_ms for row in in_force] == [True]
        assert [*office.shown()] == [in_force[0].identifier]
    papers = office.papers()
    assert [row.number for row in papers] == [*range(1, 10)]  # each 3 h, and the first
    for earlier, later in pairwise(papers):
        assert later.sent_ms < earlier.expires_ms
    # What has ended by itself is referred to no more: the list does not grow for weeks.
    assert max(len(said(one, "references").split()) for one in office.documents()) <= 2
    assert {said(one, "info/headline") for one in office.documents()} == {
        said(office.documents()[0], "info/headline")
    }


def test_a_renewal_carries_what_was_found_since(office):
    office.find(Level.RED, value=0.34)
    office.answer_all()
    office.run(60)
    office.find(Level.RED, value=0.51)
    office.run(121)
    first, second = office.documents()
    assert "积水约34厘米" in said(first, "info/description")
    assert "积水约51厘米" in said(second, "info/description")
    assert "34" not in said(second, "info/description")


@pytest.mark.parametrize(
    ("trend", "zh", "en"),
    [
        (Trend.RISING, "积水约150厘米，仍在上涨", "150 cm of water, still rising"),
        (Trend.FALLING, "积水约150厘米，正在消退", "150 cm of water, falling"),
        (None, "积水约150厘米", "150 cm of water"),
    ],
)
def test_a_renewal_carries_the_newest_good_value_and_whether_it_rises(office, trend, zh, en):
    office.find(Level.RED, value=0.31)
    office.answer_all()
    office.run(175)
    key = episodes.Key("depth", Place("gw", SITE, "ruler-1"))
    now = Finding(office.now_ms, Level.RED, 1.5, 0.3, "m", "depth", *en_and_zh(1.5))
    with office.connection.begin():
        episodes.save_present(office.connection, {key: Present(now, trend)})
    office.run(20)
    first, again = office.documents()
    assert "31厘米" in said(first, "info/description")
    assert "ruler" not in said(first, "info/description")
    chinese, english = again.iterfind("c:info", caprules.NS)
    at = wording.clock(office.plan, now.at_ms)
    assert said(chinese, "description") == f"{at}{zh}。"
    assert said(english, "description") == f"At {at}, {en}."
    assert said(chinese, "parameter/value").startswith("1.5 m ")


def en_and_zh(value):
    return [FIGURES[Quantity.DEPTH].now(value, language) for language in ("en", "zh")]


def test_what_changes_when_a_renewal_is_due_is_told_once(office):
    office.find(Level.ORANGE)
    office.answer_all()
    office.run(175)
    office.now_ms += 10 * MINUTE
    office.find(Level.RED)  # in the same round
    office.round()
    assert office.kinds_of_documents() == ["Alert", "Update"]
    assert said(office.documents()[-1], "info/severity") == "Extreme"


def test_a_clock_that_was_far_ahead_leaves_no_document_that_holds_for_a_year(office):
    office.now_ms += 8760 * HOUR_MS
    office.find(Level.ORANGE)
    office.now_ms -= 8760 * HOUR_MS
    office.round()
    office.find(Level.RED)
    newest = max(office.papers(), key=lambda row: row.number)
    assert (newest.level, newest.sent_ms) == ("red", office.now_ms)
    assert newest.expires_ms == office.now_ms + 6 * HOUR_MS


def test_nothing_is_renewed_after_the_end(office):
    office.find(Level.RED)
    office.find(None)
    office.run(11)
    office.run(30 * 60)
    assert office.kinds_of_documents() == ["Alert", "Cancel"]
    assert {row.due_ms for row in office.papers()} == {None}


def test_a_cancel_stays_for_a_day_and_never_shorter_than_what_it_ends():
    brief = PUBLISHER.model_copy(update={"expires_h": 12.0, "keep_cancel_h": 1.0})
    for publisher, hours in ((PUBLISHER, 24), (brief, 12)):
        office = Publishing(SETTINGS._replace(publisher=publisher))
        office.find(Level.RED)
        office.answer_all()
        office.find(None)
        office.run(11)
        (name,) = office.shown()
        assert office.shown()[name] == "Cancel"
        office.run(60 * hours - 12)
        assert name in office.shown()
        office.run(13)
        assert office.shown() == {}


@pytest.mark.parametrize("kills", [1, 3])
def test_a_renewal_comes_once_whatever_is_killed(office, kills):
    office.find(Level.RED)
    office.answer_all()
    office.run(179)
    office.now_ms += 2 * MINUTE
    for _ in range(kills):
        office.killed_round()
    assert office.kinds_of_documents() == ["Alert"]
    office.round()
    office.restart()
    office.round()
    office.round()
    assert office.kinds_of_documents() == ["Alert", "Update"]


def test_a_renewal_is_handed_to_the_channels_once():
    office = Publishing(SETTINGS._replace(cap_channels=("warnings",)))
    office.find(Level.RED)
    office.answer_all()
    office.run(200)
    pushed = office.rows(tables.outgoing, tables.outgoing.c.channel == "warnings")
    assert len({row.key for row in pushed}) == len(pushed) == 2


def test_a_dead_publishers_warnings_end_by_themselves_and_begin_anew(office):
    office.find(Level.RED)
    office.now_ms += 7 * HOUR_MS  # and nobody was there
    assert office.shown() == {}
    office.round()
    first, again = office.documents()
    assert (said(again, "msgType"), said(again, "references")) == ("Alert", "")
    assert said(again, "identifier") != said(first, "identifier")
    assert list(office.shown().values()) == ["Alert"]
    office.find(None)
    office.run(11)
    assert said(office.documents()[-1], "references").count(",") == 2


def test_what_ended_while_nobody_was_there_needs_no_cancel(office):
    office.find(Level.RED)
    office.find(None)
    office.run(5)
    office.now_ms += 7 * HOUR_MS
    office.round()
    assert office.kinds_of_documents() == ["Alert"]
    assert office.shown() == {}
    assert office.dispatch.errors == []
    office.find(Level.RED)
    assert office.kinds_of_documents() == ["Alert", "Alert"]


def test_what_is_held_back_is_renewed_word_for_word(office):
    office.find(Level.ORANGE)
    assert office.hold(31 * 24 * 60).ok
    office.find(Level.RED, value=0.9)
    office.run(200)
    first, again = office.documents()
    assert said(again, "msgType") == "Update"
    for tag in ("headline", "description", "severity", "instruction", "event", "onset"):
        assert said(again, f"info/{tag}") == said(first, f"info/{tag}")
    assert moment(said(again, "info/expires")) > moment(said(first, "info/expires"))
    assert caprules.broken(office.papers()[-1].document) == []
    assert office.release(1).ok
    assert said(office.documents()[-1], "info/severity") == "Extreme"


def test_a_clock_that_is_set_back_makes_no_gap_and_no_reference_to_the_future(office):
    office.find(Level.ORANGE)
    office.answer_all()
    office.run(170)
    office.now_ms -= HOUR_MS
    office.find(Level.RED)
    office.answer_all()
    office.run(200)
    papers = office.papers()
    assert caprules.broken_in([row.document for row in papers]) == []
    for earlier, later in pairwise(papers):
        assert later.sent_ms < earlier.expires_ms


def test_documents_of_an_older_release_are_renewed_at_once(office):
    office.find(Level.RED)
    old = tables.cap_document.update().values(expires_ms=None)
    with office.connection.begin():
        office.connection.execute(old.values(due_ms=office.now_ms - 1))
    office.round()
    assert office.kinds_of_documents() == ["Alert", "Update"]
    assert office.papers()[-1].expires_ms > office.now_ms
    office.find(None)
    office.run(11)
    assert len(said(office.documents()[-1], "references").split()) == 2


def test_what_cannot_be_made_costs_nobody_a_call(office, monkeypatch):
    def refuse(*_):
        raise ValueError("no such words")

    monkeypatch.setattr("cloud.alerts.cap.document", refuse)
    office.find(Level.RED)
    assert office.called()
    assert "cap" in office.kinds()
    assert office.dispatch.errors == []


def test_without_a_publisher_nothing_is_renewed_and_nobody_spins(office):
    office.find(Level.RED)
    office.settings = SETTINGS._replace(publisher=None)
    office.restart()
    office.now_ms += 4 * HOUR_MS
    due_ms = office.round()
    assert due_ms is None or due_ms > office.now_ms
    assert office.kinds_of_documents() == ["Alert"]


@pytest.mark.parametrize("hours", [1, 8])
@pytest.mark.parametrize("over", [False, True])
def test_a_slip_in_the_config_leaves_no_warning_without_an_end(office, hours, over):
    """The publisher is gone for a while: what happened meanwhile is published afterwards."""
    office.find(Level.RED)
    office.answer_all()
    office.settings = SETTINGS._replace(publisher=None)
    office.restart()
    if over:
        office.find(None)
    office.run(60 * hours)
    assert office.kinds_of_documents() == ["Alert"]
    office.settings = SETTINGS
    office.restart()
    office.run(181)
    kinds = office.kinds_of_documents()
    if over:
        assert kinds == (["Alert", "Cancel"] if hours < 6 else ["Alert"])
    else:
        assert kinds[:2] == ["Alert", "Update" if hours < 6 else "Alert"]
        assert len(office.shown()) == 1
    for row in office.papers():
        assert caprules.broken(row.document) == []


def test_what_an_exercise_advises_is_marked(office):
    work = office.dispatch.exercise
    office.work(lambda c, ms: work(c, SITE, Hazard.RIVER, Level.RED, Stage.NOW, ms))
    (root,) = office.documents()
    marks = [said(root, f"info/{tag}")[:4] for tag in ("headline", "description", "instruction")]
    assert marks == ["【演练】"] * 3


LEVELS = st.sampled_from([None, *Level])
SITES = st.sampled_from([*PLACES])
HAZARDS = st.sampled_from([Hazard.UNDERPASS, Hazard.RIVER, Hazard.LANDSLIDE, Hazard.EQUIPMENT])


class Histories(RuleBasedStateMachine):
    """Whatever happens, all that was ever published is right."""

    @initialize()
    def begin(self):
        self.office = Publishing()
        self.checked = 0
        self.back = 0

    @rule(level=LEVELS, site=SITES, hazard=HAZARDS, value=st.floats(0, 3), answered=st.booleans())
    def water(self, level, site, hazard, value, answered):
        self.office.find(level, rule=f"of-{hazard}", site=site, hazard=hazard, value=value)
        if answered:
            self.office.answer_all()

    @rule(level=LEVELS, stage=st.sampled_from(Stage))
    def exercise(self, level, stage):
        work = self.office.dispatch.exercise
        self.office.now_ms += 1
        self.office.work(lambda c, ms: work(c, SITE, Hazard.RIVER, level, stage, ms))

    @rule(minutes=st.floats(0, 240))
    def wait(self, minutes):
        self.office.run(round(minutes))

    @rule(hours=st.floats(0, 20))
    def sleep(self, hours):
        self.office.now_ms += round(hours * HOUR_MS)
        self.office.round()

    @precondition(lambda self: self.back < 3)
    @rule(hours=st.floats(0.01, 1.9))
    def clock_back(self, hours):
        """Less than a document lasts in all: of a clock that is off by more nothing is promised."""
        self.back += 1
        self.office.now_ms -= round(hours * HOUR_MS)
        self.office.round()

    @rule(minutes=st.floats(0, 200))
    def kill(self, minutes):
        self.office.now_ms += round(minutes * MINUTE)
        self.office.killed_round()
        self.office.round()

    @rule(out=st.booleans(), hazard=HAZARDS)
    def hold(self, out, hazard):
        if out:
            self.office.hold(1440, site=SITE, hazard=hazard, alone=True)
        else:
            self.office.let_go(SITE, hazard)

    @invariant()
    def all_is_right(self):
        rows = self.office.rows(tables.cap_document)
        assert self.office.dispatch.errors == []
        if len(rows) == self.checked:
            return
        for row in rows[self.checked :]:
            assert caprules.broken(row.document) == []
        self.checked = len(rows)
        rows.sort(key=lambda row: (row.alert, row.number))
        assert caprules.broken_in([row.document for row in rows]) == []
        assert caprules.broken_feed(self.office.feed()) == []

    @invariant()
    def what_stands_is_shown(self):
        shown = self.office.shown()
        for row in self.office.papers():
            if row.in_force:
                assert row.identifier in shown
                assert row.due_ms < row.expires_ms


Histories.TestCase.settings = settings(examples(4), stateful_step_count=12)
TestHistories = Histories.TestCase
