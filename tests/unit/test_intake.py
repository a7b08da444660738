"""What comes from the broker is sorted, and no payload can stop that."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud.admission import Admission
from cloud.config import Config
from cloud.intake import Intake, filters, sort
from cloud.ledger import Key
from cloud.quarantine import Case, Kind, Reason
from wire import codec, topics
from wire.messages import Batch, GatewayState, Status
from wire.mqtt import Message
from wire.ranges import Intervals
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

NOW = 1_700_000_100_000
OPEN = Admission.of(Config())
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
    intake = sort([one], OPEN, NOW)
    # `edge check --online` publishes an empty one on each topic.
    if what in (What.DATA, What.EVENT, What.STATUS, What.INTERLOCK) and not payload:
        assert intake == Intake()
    else:
        (case,) = intake.cases
        assert (case.topic, case.payload) == (one.topic, payload)
        assert case.words


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 2**63},
        {"number": 10**400},
        {"senml": 5},
        {"events": [{"at_ms": 2**60, "site": "s", "kind": "k", "text": "t"}]},
        {"events": [{"at_ms": -1, "site": "s", "kind": "k", "text": "t"}]},
        {"gaps": [{"reason": "\0", "from_ms": 1, "to_ms": 2}]},
        {"gaps": [{"reason": "disk full", "from_ms": 1, "to_ms": 2, "batches": [[5, 3]]}]},
        {"stream": "a\0b"},
        {"stream": ""},
        {"gateway": "other"},
        {"v": 2},
    ],
    ids=str,
)
def test_what_no_database_could_hold_is_put_aside(changes: dict[str, object]) -> None:
    assert sort([message(What.DATA, envelope())], OPEN, NOW).batches
    intake = sort([message(What.DATA, envelope(**changes))], OPEN, NOW)
    (case,) = intake.cases
    assert not intake.batches
    named = changes.keys() & {"number", "v", "stream"} == set()
    assert (case.key, case.batch, case.ledgered) == (
        (Key("g", "s"), 7, True) if named else (None, None, False)
    )
    assert intake.acks() == ({Key("g", "s"): Intervals([7])} if named else {})


@pytest.mark.parametrize(
    "record",
    [
        {"n": "g/site/sensor/depth", "u": "m", "v": 1, "t": 1e300},
        {"n": "g/site/sensor/depth", "u": "m", "v": 1e308, "bv": 1e308, "t": 1.7e9},
        {"n": "g/site/sensor/smell", "u": "m", "v": 1, "t": 1.7e9},
        {"n": "other/site/sensor/depth", "u": "m", "v": 1, "t": 1.7e9},
        {"n": "g/site/sensor/depth", "u": "m", "v": 1, "t": 60},
        {"n": "g/site/sensor/depth", "u": "m", "v": 1, "t": 1.5e9},
        {"n": "g/site/sensor/depth", "u": "m", "v": 1, "t": 1.8e9},
        {"n": "g/site/sensor/depth", "u": "m", "v": "text", "t": 1.7e9},
        5,
    ],
    ids=str,
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_point_is_put_aside_alone(record: object, place: int) -> None:
    good = [{"n": "g/site/sensor/depth", "u": "m", "v": n, "t": 1.7e9 + n} for n in range(2)]
    pack: list[object] = [*good[:place], record, *good[place:]]
    if isinstance(record, dict) and "bv" in record:
        pack = [*good, record]  # what comes after rests on its base value
        place = 2
    intake = sort([message(What.DATA, envelope(senml=pack))], OPEN, NOW)
    assert intake.cases == []
    (arrived,) = intake.batches
    assert [one.value for one in arrived.batch.readings] == [0, 1]
    (case,) = arrived.cases
    assert (case.kind, case.key, case.batch) == (Kind.READING, Key("g", "s"), 7)
    assert (case.position, case.readings, case.ledgered) == (place, 1, True)
    assert case.words
    assert arrived.readings == [n for n in range(3) if n != place]
    assert intake.acks() == {Key("g", "s"): Intervals([7])}


@pytest.mark.parametrize(
    "payload",
    [b'{"gateway":"\xff"}', b"[" * 200_000, b'{"gateway":"g","state":"online","at_ms":1e400}'],
)
def test_a_status_that_is_none_is_put_aside(payload: bytes) -> None:
    assert len(sort([message(What.STATUS, payload)], OPEN, NOW).cases) == 1
    assert len(sort([message(What.DATA, zlib.compress(payload))], OPEN, NOW).cases) == 1


def test_each_thing_goes_to_its_place() -> None:
    status = Status("g", GatewayState.ONLINE, 1, "s", 3)
    intake = sort(
        [
            message(What.DATA, codec.encode_batch(batch(1))),
            message(What.EVENT, codec.encode_batch(batch(2))),
            message(What.STATUS, codec.encode(status)),
            message(What.DATA, codec.encode_batch(batch(3)), gateway="h"),
        ],
        OPEN,
        NOW,
    )
    assert [one.batch.number for one in intake.batches] == [1, 2]
    assert intake.statuses == [status]
    (case,) = intake.cases
    assert (case.key, case.batch) == (Key("h", "s"), 3)  # under the name of the one that sent it
    assert (case.reason, case.words) == (
        Reason.NOT_ALLOWED,
        "is of gateway 'g', but came from 'h'",
    )
    assert case.readings == 1
    assert intake.keys() == {Key("g", "s"), Key("h", "s")}
    assert intake.acks() == {Key("g", "s"): Intervals([1, 2]), Key("h", "s"): Intervals([3])}


@given(st.integers(1, 30), st.integers(0, 29))
def test_narrowing_finds_the_one_that_is_rejected(count: int, bad: int) -> None:
    bad = bad % count + 1
    status = message(What.STATUS, codec.encode(Status("g", GatewayState.ONLINE, 1)))
    batches = [message(What.DATA, codec.encode_batch(batch(n))) for n in range(1, count + 1)]
    stored, put_aside, statuses = [], [], 0
    left = [sort([status, *batches], OPEN, NOW)]
    while left:
        intake = left.pop()
        if bad in [one.batch.number for one in intake.batches]:
            left += intake.narrowed("because")
            continue
        stored += [one.batch.number for one in intake.batches]
        put_aside += [(case.words, case.payload, case.readings) for case in intake.cases]
        statuses += len(intake.statuses)
    assert sorted(stored) == [n for n in range(1, count + 1) if n != bad]
    assert put_aside == [("because", batches[bad - 1].payload, 1)]
    assert statuses == 1


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 3))))
def test_what_the_store_refuses_leaves_its_batch_and_is_a_case_of_its_own(
    refused: set[tuple[int, int]],
) -> None:
    readings = tuple(replace(READING, at_ms=READING.at_ms + n) for n in range(4))
    sent = [Batch("g", "s", number, readings) for number in (1, 2, 3)]
    intake = sort([message(What.DATA, codec.encode_batch(one)) for one in sent], OPEN, NOW)
    narrow = intake.without(dict.fromkeys(refused, "no"))
    for n, one in enumerate(narrow.batches):
        kept = [m for m in range(4) if (n, m) not in refused]
        assert [r.at_ms - READING.at_ms for r in one.batch.readings] == kept
        aside = {case.position: case for case in one.cases}
        assert aside.keys() == {m for m in range(4) if (n, m) in refused}
        for m, case in aside.items():
            assert codec.decode_record("g", case.payload) == readings[m or 0]
    digests = {case.digest for one in narrow.batches for case in one.cases}
    assert len(digests) == len(refused)
    # Once more: what was refused first keeps its place.
    again = narrow.without({(0, 0): "no"}) if narrow.batches[0].batch.readings else narrow
    places = [case.position for case in again.batches[0].cases]
    assert len(places) == len(set(places))


def test_a_state_is_one_case_however_often_it_comes() -> None:
    states = [
        Case(Kind.STATE, Reason.UNREADABLE, "no", "shuichi/v1/0/g/status", payload, "g")
        for payload in (b"1", b"2")
    ]
    assert len({one.digest for one in states}) == 1


def test_a_worker_listens_to_its_shard_only() -> None:
    assert filters("7") == [
        "shuichi/v1/7/+/data",
        "shuichi/v1/7/+/event",
        "shuichi/v1/7/+/status",
        "shuichi/v1/7/+/interlock/+",
    ]
