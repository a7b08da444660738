"""What fails in the dispatch costs that one thing only; and a clock that is set back holds up
nothing."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, update

from cloud import tables
from cloud.alerts import compose, rounds, wording
from cloud.alerts.hazard import Hazard
from tests.dispatching import MINUTE, PLAN, SITE, Office
from tests.examples import examples
from wire.messages import Level

OTHER = "north-gate"


def told(office: Office) -> set[str]:
    return {message.site for _, message in office.messages()}


def spoil(office: Office, table: str, **values: object) -> None:
    with office.connection.begin():
        office.connection.execute(update(tables.metadata.tables[table]).values(values))


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("alarm", {"state": "{}"}),
        ("alarm", {"known": "?"}),
        ("alarm", {"hazard": "meteor"}),
        ("escalation", {"state": "[1]"}),
        ("escalation", {"incident": "none"}),
        ("incident", {"state": ""}),
        ("plan", {"content": "{}"}),
        ("mailbox", {"state": "null", "due_ms": 1}),
        ("alert", {"hazard": "meteor"}),
        ("alert", {"level": "purple", "hazard": "meteor"}),
        ("alert_change", {"level": "purple", "taken_at_ms": None}),
        ("alert_change", {"parts": "no json", "taken_at_ms": None}),
    ],
)
def test_a_row_that_cannot_be_used_costs_no_other(table, values, caplog) -> None:
    office = Office()
    office.find(Level.ORANGE)
    office.find(Level.RED, at_once=False)
    spoil(office, table, **values)
    office.restart()
    office.find(Level.RED, rule="other", site=OTHER, hazard=Hazard.RIVER)
    office.run(2)
    assert OTHER in told(office)
    if "set aside" in office.kinds():
        assert caplog.text.count("is set aside and tried again later") >= 1
        assert office.dispatch.errors


def test_what_is_set_aside_is_tried_again_and_said_once(caplog) -> None:
    office = Office()
    office.find(Level.RED, at_once=False)
    spoil(office, "alert", hazard="meteor")
    due_ms = office.round()
    assert office.now_ms < due_ms <= office.now_ms + rounds.FIRST_PAUSE_MS
    office.run(10)
    assert office.kinds() == ["set aside"]
    spoil(office, "alert", hazard="underpass")
    office.run(20)
    assert told(office) == {SITE}
    assert office.dispatch.errors == []
    assert caplog.text.count("tried again later") == 1


def test_an_instruction_that_cannot_be_used_is_replaced_by_plain_words(monkeypatch, caplog) -> None:
    def write(*_: object) -> None:
        raise KeyError("no such word")

    monkeypatch.setattr(compose, "whole", write)
    office = Office()
    office.find(Level.RED)
    (_, message), *_ = office.messages()
    assert message.title == "红色预警：大坪下穿道积水"
    assert message.link in message.text
    assert message.answer_code
    assert "KeyError" in caplog.text


def test_a_contact_for_whom_no_message_can_be_made_costs_no_other(monkeypatch) -> None:
    office = Office()
    of = wording.language
    unlucky = office.plan.members("daping-shiqiao")[0]

    def language(plan, contact):
        if contact == unlucky:
            raise LookupError("a fault of ours")
        return of(plan, contact)

    monkeypatch.setattr(wording, "language", language)
    office.find(Level.RED)
    office.run(60)
    contacts = {row.contact for row, _ in office.messages()}
    assert unlucky not in contacts
    assert {office.plan.contact[one].area for one in contacts} >= {"daping", "dongjiang", "yunting"}
    assert "set aside" in office.kinds()


def test_a_row_that_no_message_is_made_of_stays_in_the_database_only() -> None:
    office = Office()
    with office.connection.begin():
        office.connection.execute(
            insert(tables.timeline).values(
                incident="", alert="", at_ms=1, kind="x", who="", area="", text="", detail="{}"
            )
        )
    assert office.round() is None


@pytest.mark.parametrize("content", ["{}", "", "no json", '{"title": 3}'])
def test_what_began_under_a_plan_that_cannot_be_read_any_more_goes_on_by_ours(content) -> None:
    office = Office()
    office.find(Level.RED)
    with office.connection.begin():
        office.connection.execute(update(tables.plan).values(version="old", content=content))
    (row,) = office.rows(tables.escalation)
    state = msgspec.json.decode(row.state) | {"plan": "old"}
    spoil(office, "escalation", state=msgspec.json.encode(state).decode())
    office.restart()
    office.run(60)
    assert office.dispatch.errors == []
    assert "top" in office.kinds()
    office.acknowledge()
    assert office.alarm().answered_by == "Li"


# A clock that is set back


def calls(steps: dict[int, int], minutes: int = 20) -> list[tuple[int, str, str]]:
    """When (minutes of a clock that nobody sets, to the tenth) each message is due, by whom; the
    wall clock is set back by so many ms at those minutes."""
    office = Office(PLAN)
    office.find(Level.RED)
    true_ms = off_ms = known_ms = 0
    begin_ms = office.now_ms
    found = []
    known: set[str] = set()
    pending = sorted(steps.items())
    while true_ms <= minutes * MINUTE:
        if pending and pending[0][0] * MINUTE <= true_ms:
            off_ms += pending.pop(0)[1]
        office.now_ms = begin_ms + true_ms - off_ms
        office.dispatch.not_before(office.now_ms + off_ms - known_ms)
        known_ms = off_ms
        office.round()
        for row in office.rows(tables.outgoing, tables.outgoing.c.key.not_in(known)):
            if row.key not in known:
                known.add(row.key)
                after_ms = row.not_before_ms - office.now_ms
                found.append((round((true_ms + after_ms) / 6000), row.contact, row.channel))
        true_ms += 30_000
    return sorted(found)


UNMOVED = calls({})


@examples(8)
@given(
    st.dictionaries(
        st.integers(1, 15),
        st.sampled_from([400, 30_000, 5 * MINUTE, 60 * MINUTE]),
        max_size=3,
    )
)
def test_a_clock_that_is_set_back_moves_no_call(steps) -> None:
    assert calls(steps) == UNMOVED


def test_after_a_restart_the_last_moment_on_record_says_how_far_it_was_set_back() -> None:
    office = Office()
    office.find(Level.RED)
    first = office.called()
    office.now_ms -= 60 * MINUTE
    office.restart()
    office.run(60)
    assert len(office.called()) > len(first)
    assert "top" in office.kinds()


def test_a_finding_of_the_service_after_the_step_counts() -> None:
    office = Office()
    office.find(Level.RED)
    office.find(None)
    office.run(11)
    office.now_ms -= 60 * MINUTE
    office.find(Level.RED)
    assert office.alarm().level is Level.RED
    assert msgspec.json.encode(office.alarm())
