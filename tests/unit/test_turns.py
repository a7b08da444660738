"""Gateways take turns: one that sends much holds up itself alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest import turns as module
from cloud.ingest.turns import ALONE, FAIR, WAITING, Turns
from wire import topics
from wire.mqtt import Message
from wire.topics import What

MANY = 10**9


def sent(gateway: str, count: int, size: int = 10, start: int = 0) -> list[Message]:
    topic = topics.topic("0", gateway, What.DATA)
    return [Message(topic, bytes(size), False, n, 1) for n in range(start, start + count)]


def names(messages: list[Message]) -> list[tuple[str, int]]:
    return [(module.gateway_of(one), one.mid) for one in messages]


def test_one_of_each_in_turn() -> None:
    turns = Turns()
    turns.put([*sent("flood", 900), *sent("a", 2), *sent("b", 1)], 0)
    assert names(turns.draw(6, MANY, 0)) == [
        ("flood", 0),
        ("a", 0),
        ("b", 0),
        ("flood", 1),
        ("a", 1),
        ("flood", 2),
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), max_size=40),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 120), st.integers(0, 9)), max_size=30),
)
def test_the_order_of_each_is_kept_and_nothing_is_lost(
    arrived: list[tuple[str, int]], draws: list[tuple[int, int, int]]
) -> None:
    turns = Turns()
    messages = [sent(name, 1, size, start=n)[0] for n, (name, size) in enumerate(arrived)]
    turns.put(messages, 0)
    out: list[Message] = []
    for limit, size, used in draws:
        drawn = turns.draw(limit, size, 0)
        assert len(drawn) <= limit
        assert len(drawn) < 2 or sum(len(one.payload) for one in drawn) <= size
        out += drawn[:used]
        turns.put_back(drawn[used:], 0)
    while turns.count:
        out += turns.draw(7, MANY, 0)
    assert turns.size == 0
    assert sorted(names(out)) == sorted(names(messages))
    for name in "abc":
        assert [n for one, n in names(out) if one == name] == [
            n for one, n in names(messages) if one == name
        ]


def test_without_room_the_oldest_of_who_has_most_go_if_we_are_behind_with_them() -> None:
    turns = Turns()
    turns.put([*sent("a", 5), *sent("flood", WAITING)], 0)
    assert turns.is_full
    assert turns.surplus(0.1) == [], "we may have them in a moment"
    out = turns.surplus(1)
    assert {module.gateway_of(one) for one in out} == {"flood"}
    assert names(out)[0] == ("flood", 0)
    assert not turns.is_full
    assert len([one for one in names(turns.draw(WAITING, MANY, 1)) if one[0] == "a"]) == 5


def test_where_each_has_its_fair_share_nobody_loses_anything() -> None:
    turns = Turns()
    for n in range(WAITING // FAIR):
        turns.put(sent(f"g{n}", FAIR + 1), 0)
    assert turns.is_full
    assert turns.surplus(60) == []


def test_bytes_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 10_000)
    monkeypatch.setattr(module, "FAIR_BYTES", 1_000)
    turns = Turns()
    turns.put([*sent("a", 60), *sent("flood", 4, 3000)], 0)
    assert {module.gateway_of(one) for one in turns.surplus(1)} == {"flood"}
    assert turns.size < 10_000
    assert len(turns.draw(100, MANY, 1)) >= 61


def test_who_must_be_alone_shares_no_take() -> None:
    turns = Turns()
    turns.put([*sent("bad", 20), *sent("a", 2), *sent("b", 2)], 0)
    turns.set_alone("bad", until=60)
    takes = []
    while turns.count:
        takes.append({name for name, _ in names(turns.draw(100, MANY, 1))})
    assert takes.count({"bad"}) == -(-20 // ALONE)
    assert takes.count({"a", "b"}) == 1
    assert takes.index({"a", "b"}) <= 1
    turns.put([*sent("bad", 1), *sent("a", 1)], 61)
    assert len(turns.draw(100, MANY, 61)) == 2


def test_who_costs_more_than_its_share_has_no_turn_until_that_is_paid() -> None:
    turns = Turns(0.1)
    turns.put([*sent("dear", 3), *sent("a", 3)], 100)
    turns.charge("a", 0.9, 100)
    assert len(turns.draw(2, MANY, 100)) == 2, "each has a credit"
    turns.charge("dear", 2.0, 100)
    assert {name for name, _ in names(turns.draw(9, MANY, 100))} == {"a"}
    assert not turns.is_ready(100)
    assert turns.count == 2
    assert turns.is_ready(111)
    assert len(turns.draw(9, MANY, 111)) == 2


def test_who_owes_leaves_room_for_others_at_once() -> None:
    turns = Turns(0.1)
    turns.charge("dear", 100.0, 1)
    out = turns.put([*sent("dear", 500), *sent("a", 5)], 1)
    assert {module.gateway_of(one) for one in out} == {"dear"}
    assert turns.count == FAIR + 5
    assert len(out) == 500 - FAIR


def test_nobody_may_fill_the_memory_alone() -> None:
    turns = Turns()
    out = turns.put(sent("flood", 12, 1 << 20), 1)
    assert turns.size == module.OWN_BYTES
    assert [one.mid for one in out] == [0, 1, 2, 3], "the oldest"


def test_a_share_of_one_is_no_limit() -> None:
    turns = Turns(1.0)
    turns.put(sent("dear", 3), 1)
    turns.charge("dear", 1000.0, 1)
    assert len(turns.draw(9, MANY, 1)) == 3
