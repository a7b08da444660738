"""The quarantine keeps its limits when a case comes in, for each gateway and in all; what has no
room is counted, and nothing of the ledger is lost without a word."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from cloud import quarantine, room, tables, told
from cloud.admission import Admission
from cloud.config import Config, Gateway, Quarantine
from cloud.intake import sort
from cloud.limits import Quota
from cloud.quarantine import Case, Filter, Kind, Reason
from tests import layout
from wire import codec, topics
from wire.messages import Batch
from wire.mqtt import Message
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

NOW = 1_760_000_000_000


@contextmanager
def state() -> Iterator[Connection]:
    engine = layout.in_memory()
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def admission(most_mb: float = 1, **quota: Any) -> Admission:
    names = ("evil", "honest", *(f"g-{n}" for n in range(9)))
    return Admission.of(
        Config(
            quota=Quota(**quota),
            quarantine=Quarantine(most_mb=most_mb),
            gateway={name: Gateway() for name in names},
        )
    )


def garbage(n: int, gateway: str | None = "evil", size: int = 1000) -> Case:
    payload = b"%d" % n + b"x" * size
    return Case(Kind.MESSAGE, Reason.UNREADABLE, "no", "t", payload, gateway)


def part(n: int, gateway: str = "honest") -> Case:
    place = (gateway, "s", 1, n, 1)
    return Case(Kind.READING, Reason.TIME, "is old", "t", b"{}", *place, ledgered=True)


def held(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(room.size()), 0))).scalar_one())


def refused(connection: Connection) -> dict[tuple[str, str], int]:
    rows = connection.execute(select(tables.refused)).all()
    return {(row.gateway, row.quota): row.things for row in rows}


def test_a_gateway_fills_its_own_room_and_no_other() -> None:
    rule = admission(quarantine_mb=0.1, quarantine_cases=1000)
    with state() as connection:
        for n in range(20):
            cases = [garbage(20 * n + m) for m in range(20)]
            quarantine.save(connection, cases, NOW, rule.room)
        assert 40_000 < held(connection) <= 50_000  # garbage gets half
        left = quarantine.count(connection, "evil")
        assert refused(connection) == {("evil", "quarantine_mb"): 400 - left}
        quarantine.save(connection, [part(n) for n in range(200)], NOW, rule.room)
        assert quarantine.count(connection, "honest") == 200
        (one,) = rule.quotas.exceeded(NOW)
        assert (one.gateway, one.quota) == ("evil", "quarantine_mb")


def test_all_together_fill_no_more_than_there_is() -> None:
    rule = admission(most_mb=1, quarantine_mb=1)
    with state() as connection:
        for n in range(900):
            quarantine.save(connection, [garbage(n, f"g-{n % 9}", 2000)], NOW, rule.room)
        assert held(connection) <= 500_000
        quarantine.save(connection, [part(n) for n in range(100)], NOW, rule.room)
        assert quarantine.count(connection, "honest") == 100


def test_what_is_there_already_needs_no_room() -> None:
    rule = admission(quarantine_cases=4)
    with state() as connection:
        quarantine.save(connection, [garbage(n) for n in range(4)], NOW, rule.room)
        for _ in range(10):
            quarantine.save(connection, [garbage(0), garbage(0)], NOW, rule.room)
        kept = quarantine.find(connection, Filter())
        assert sorted(one.times for one in kept) == [1, 21]


def test_what_is_counted_is_counted_anew_after_a_while() -> None:
    rule = admission(quarantine_cases=4)
    with state() as connection:
        quarantine.save(connection, [garbage(n) for n in range(4)], NOW, rule.room)
        connection.execute(tables.quarantine.delete())
        quarantine.save(connection, [garbage(5)], NOW + 61_000, rule.room)
        assert quarantine.count(connection) == 1


def test_readings_without_room_are_accounted_for_as_dropped() -> None:
    rule = admission(quarantine_cases=5)
    with state() as connection:
        quarantine.save(connection, [part(n) for n in range(12)], NOW, rule.room)
        (sums,) = quarantine.held(connection).values()
        assert (sums.readings, sums.dropped) == (5, 7)


@given(
    st.lists(
        st.tuples(st.sampled_from(["evil", "honest", "nobody", None]), st.integers(0, 3000)),
        max_size=80,
    )
)
def test_no_limit_is_ever_passed_and_nothing_vanishes(sent: list[tuple[str | None, int]]) -> None:
    rule = admission(quarantine_mb=0.02, quarantine_cases=20)
    with state() as connection:
        for n, (gateway, size) in enumerate(sent):
            quarantine.save(connection, [garbage(n, gateway, size)], NOW, rule.room)
        for gateway in ("evil", "honest"):
            assert quarantine.count(connection, gateway) <= 10
        assert held(connection) <= 3 * 10_000
        things = quarantine.count(connection) + sum(refused(connection).values())
        assert things == len(sent)
        assert {name for name, _ in refused(connection)} <= {"evil", "honest", ""}


@pytest.mark.parametrize("known", [False, True])
def test_what_was_used_before_counts_after_a_restart(*, known: bool) -> None:
    def reading(n: int) -> Reading:
        return Reading("a", f"s-{n}", Quantity.DEPTH, 0.1, NOW, Quality.GOOD)

    def message(n: int) -> Message:
        payload = codec.encode_batch(Batch("honest", f"stream-{n}", 1, (reading(n),)))
        return Message(topics.topic("0", "honest", What.DATA), payload, False, 1, 1)

    limits = {"series": 3, "streams": 10}
    with state() as connection:
        rule = admission(**limits)
        (arrived,) = sort([message(0)], rule, NOW).batches
        told.save(connection, [arrived])
        row = {"readings": 0, "redelivered": 0, "sealed": 0, "readings_sealed": 0, "version": 1}
        many = [row | {"gateway": "honest", "stream": f"stream-{n}"} for n in range(9 + known)]
        connection.execute(tables.stream.insert(), many)
        again = admission(**limits)
        room.load(connection, again.quotas)
        sent = [message(n) for n in range(9, 12)]
        taken = sort(sent, again, NOW)
        assert len(taken.batches) == 1  # of the tenth stream in all
        assert len(sort([message(0)], again, NOW).batches[0].new) == 0


def test_a_case_keeps_words_that_do_nothing_to_a_terminal() -> None:
    case = garbage(1)._replace(words="invalid \x1b]0;x\x07 \u202e\nERROR")
    with state() as connection:
        quarantine.save(connection, [case], NOW)
        (kept,) = quarantine.find(connection, Filter())
        assert kept.case.words == "invalid ␛]0;x␇ \ufffd␊ERROR"
