"""What comes from the broker is sorted, and no payload can stop that."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.intake import Intake, filters, sort
from cloud.ledger import Intervals, Key
from wire import codec, topics
from wire.messages import Batch, GatewayState, Status
from wire.mqtt import Message
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

READING = Reading("site", "sensor", Quantity.DEPTH, 0.1, 1_700_000_000_000, Quality.GOOD)


def message(what: What | str, payload: bytes, gateway: str = "g") -> Message:
    site = "site" if what == What.INTERLOCK else None
    topic = topics.topic("0", gateway, what, site) if isinstance(what, What) else what
    return Message(topic, payload, False, 1, 1)


def batch(number: int, gateway: str = "g") -> Batch:
    return Batch(gateway, "s", number, (READING,))


def envelope(**changes: object) -> bytes:
    record = {"n": "g/site/sensor/depth", "u": "m", "v": 1, "t": 1_700_000_000}
    whole = {"v": 1, "gateway": "g", "stream": "s", "number": 7, "senml": [record]} | changes
    return zlib.compress(json.dumps(whole).encode())


@given(
    st.sampled_from([*What, "shuichi/v1/0/g", "other", ""]),
    st.binary()
    | st.binary().map(zlib.compress)
    | st.text().map(lambda t: zlib.compress(t.encode())),
)
def test_any_bytes_are_used_or_put_aside(what: What | str, payload: bytes) -> None:
    one = message(what, payload)
    intake = sort([one])
    if what in (What.STATUS, What.INTERLOCK) and not payload:
        assert intake == Intake()
    else:
        ((topic, kept, reason, _),) = intake.cases
        assert (topic, kept) == (one.topic, payload)
        assert reason


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 2**63},
        {"number": 10**400},
        {"senml": [{"n": "g/site/sensor/depth", "u": "m", "v": 1, "t": 1e300}]},
        {"senml": [{"n": "g/site/sensor/depth", "u": "m", "v": 1e308, "bv": 1e308, "t": 1.7e9}]},
        {"events": [{"at_ms": 2**60, "site": "s", "kind": "k", "text": "t"}]},
        {"events": [{"at_ms": -1, "site": "s", "kind": "k", "text": "t"}]},
        {"gateway": "other"},
        {"v": 2},
    ],
    ids=str,
)
def test_what_no_database_could_hold_is_put_aside(changes: dict[str, object]) -> None:
    assert sort([message(What.DATA, envelope())]).batches
    intake = sort([message(What.DATA, envelope(**changes))])
    assert len(intake.cases) == 1
    assert not intake.batches
    named = changes.keys() & {"number", "v"} == set()
    assert intake.named == ([(Key("g", "s"), 7)] if named else [])
    assert intake.acks() == ({Key("g", "s"): Intervals([7])} if named else {})


@pytest.mark.parametrize(
    "payload",
    [b'{"gateway":"\xff"}', b"[" * 200_000, b'{"gateway":"g","state":"online","at_ms":1e400}'],
)
def test_a_status_that_is_none_is_put_aside(payload: bytes) -> None:
    assert len(sort([message(What.STATUS, payload)]).cases) == 1
    assert len(sort([message(What.DATA, zlib.compress(payload))]).cases) == 1


def test_each_thing_goes_to_its_place() -> None:
    status = Status("g", GatewayState.ONLINE, 1, "s", 3)
    intake = sort(
        [
            message(What.DATA, codec.encode_batch(batch(1))),
            message(What.EVENT, codec.encode_batch(batch(2))),
            message(What.STATUS, codec.encode(status)),
            message(What.DATA, codec.encode_batch(batch(3)), gateway="h"),
        ]
    )
    assert [one.batch.number for one in intake.batches] == [1, 2]
    assert intake.statuses == [status]
    assert intake.named == [(Key("h", "s"), 3)]  # under the name of the one that sent it
    assert intake.cases[0].reason == "is of gateway 'g', but came from 'h'"
    assert intake.keys() == {Key("g", "s"), Key("h", "s")}
    assert intake.acks() == {Key("g", "s"): Intervals([1, 2]), Key("h", "s"): Intervals([3])}


@given(st.integers(1, 30), st.integers(0, 29))
def test_narrowing_finds_the_one_that_is_rejected(count: int, bad: int) -> None:
    bad = bad % count + 1
    status = message(What.STATUS, codec.encode(Status("g", GatewayState.ONLINE, 1)))
    batches = [message(What.DATA, codec.encode_batch(batch(n))) for n in range(1, count + 1)]
    stored, put_aside, statuses = [], [], 0
    left = [sort([status, *batches])]
    while left:
        intake = left.pop()
        if bad in [one.batch.number for one in intake.batches]:
            left += intake.narrowed("because")
            continue
        stored += [one.batch.number for one in intake.batches]
        put_aside += [(case.reason, case.payload) for case in intake.cases]
        statuses += len(intake.statuses)
    assert sorted(stored) == [n for n in range(1, count + 1) if n != bad]
    assert put_aside == [("because", batches[bad - 1].payload)]
    assert statuses == 1


def test_a_worker_listens_to_its_shard_only() -> None:
    assert filters("7") == [
        "shuichi/v1/7/+/data",
        "shuichi/v1/7/+/event",
        "shuichi/v1/7/+/status",
        "shuichi/v1/7/+/interlock/+",
    ]
