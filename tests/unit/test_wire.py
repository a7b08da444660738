"""The codec, the topics, and the golden frames of version 1."""

import json
import re
import string
import zlib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from wire import codec, limits, senml, topics
from wire.messages import Ack, Batch, Event, GatewayState, Status
from wire.ranges import Intervals
from wire.reading import Columns, Quality, Quantity, Reading, columns
from wire.topics import Address, What

GOLDEN = Path(__file__).parent.parent / "golden"

# All that topics.NAME_PATTERN allows; from_regex takes six times as long to draw it.
LETTERS = string.ascii_lowercase + string.digits
names = st.tuples(st.sampled_from(LETTERS), st.text(LETTERS + "-", max_size=limits.NAME - 1)).map(
    "".join
)
times = st.integers(1_600_000_000_000, 4_000_000_000_000)
values = st.floats(-1e6, 1e6, allow_nan=False)
readings = st.one_of(
    st.builds(
        Reading,
        site=names,
        sensor=names,
        quantity=st.sampled_from(Quantity),
        value=values,
        at_ms=times,
        quality=st.sampled_from([q for q in Quality if q is not Quality.MISSING]),
    ),
    st.builds(
        Reading,
        site=names,
        sensor=names,
        quantity=st.sampled_from(Quantity),
        value=st.none(),
        at_ms=times,
        quality=st.just(Quality.MISSING),
        reason=st.text(max_size=20),
    ),
)
events = st.builds(
    Event,
    at_ms=times,
    site=names,
    kind=st.text(min_size=1, max_size=10),
    text=st.text(max_size=20),
    detail=st.dictionaries(st.text(max_size=5), st.one_of(st.text(), st.booleans(), st.none())),
)
batches = st.builds(
    Batch,
    gateway=names,
    stream=st.text("0123456789abcdef", min_size=16, max_size=16),
    number=st.integers(1, 2**40),
    readings=st.lists(readings, max_size=20).map(tuple),
    events=st.lists(events, max_size=5).map(tuple),
)


@given(names)
def test_names_are_what_a_topic_allows(name):
    assert re.fullmatch(topics.NAME_PATTERN, name)


def by_place(reading):
    return (reading.site, reading.sensor, reading.quantity, reading.at_ms)


@given(batches)
def test_a_batch_survives_the_wire(batch):
    payload = codec.encode_batch(batch)
    back = codec.decode_batch(payload)
    assert (back.gateway, back.stream, back.number) == (batch.gateway, batch.stream, batch.number)
    assert back.events == batch.events
    assert list(back.readings) == sorted(batch.readings, key=by_place)
    by_column, faults = codec.decode_lenient(payload)  # as an aggregator has them
    assert not faults
    assert isinstance(by_column.readings, Columns)
    assert list(by_column.readings) == list(back.readings)


@given(st.lists(readings, max_size=30))
def test_columns_are_the_readings_series_by_series(many):
    found = columns(many)
    assert columns(found) is found
    assert found == many
    assert found == tuple(many)
    assert [found[n] for n in range(-len(many), len(many))] == many + many
    assert found[1:-1] == many[1:-1]
    assert [one for part in found.parts() for one in found.of(*part)] == many
    assert all(one != after for one, after in pairwise(found.series))
    times = [one.at_ms for one in many]
    assert (found.first_ms, found.last_ms) == (min(times, default=None), max(times, default=None))
    with pytest.raises(IndexError):
        found[len(many)]


base: dict[str, st.SearchStrategy[object]] = {
    "bn": st.sampled_from(["gw/s/r/depth", "gw/s/r/level"]),
    "bu": st.just("m"),
}
odd = st.fixed_dictionaries(
    {},
    optional={
        "bn": st.sampled_from(["gx/s/r/depth", "gw/s/r/voltage", "gw/s/", "x"]),
        "bt": st.sampled_from([1_750_000_000.5, 0.25, -1.0, 1e300, 9e12]),
        "bu": st.sampled_from(["m", "V"]),
        "n": st.sampled_from(["r/depth", ""]),
        "v": st.sampled_from([0.0, -1.5, 2]),
        "vs": st.sampled_from(["", "no answer"]),
        "t": st.sampled_from([1e300, -2e9, 9.1e12]),
        "q": st.sampled_from([1, 4, 9, 5, -1]),
        "colour": st.just("green"),
    },
)
valued: dict[str, st.SearchStrategy[object]] = {
    "v": st.sampled_from([0.0, -1.5, 2]),
    "t": st.sampled_from([0.0005, -0.25, 3]),
}
missing = {"vs": st.sampled_from(["", "no answer"]), "q": st.just(9)}
records = st.one_of(
    st.fixed_dictionaries(valued, optional={"q": st.sampled_from([1, 2, 3, 4])}),
    st.fixed_dictionaries(valued | base, optional={"vs": st.just("odd")}),
    st.fixed_dictionaries(missing, optional={"t": st.just(1)}),
    odd,
)
firsts = st.fixed_dictionaries(
    {"bn": st.just("gw/s/r/depth"), "bu": st.just("m"), "bt": st.just(1_750_000_000.5)},
    optional={"v": st.just(0.5), "vs": st.just("no answer"), "q": st.sampled_from([1, 9])},
)


PLAIN = msgspec.json.Decoder(list[senml.PlainRecord]).decode
FULL = msgspec.json.Decoder(list[senml.Record]).decode


@given(st.builds(lambda first, rest: [first, *rest], firsts, st.lists(records, max_size=4)))
def test_the_short_way_takes_nothing_that_the_long_way_would_read_otherwise(pack):
    def read(of, decode):
        try:
            some = decode(json.dumps(pack))
        except msgspec.ValidationError:
            return None
        return of(some)

    found = read(lambda some: senml.plain("gw", some, 0), PLAIN)
    if found is not None:
        assert list(found) == read(senml.Pack("gw", 0).read, FULL)


FIRST = {"bn": "gw/s/r/depth", "bu": "m", "bt": 1_750_000_000.5, "v": 0.5}


def short(*pack):
    return senml.plain("gw", PLAIN(json.dumps(pack)), codec.ABSOLUTE_FROM_MS)


def test_what_our_gateways_write_goes_the_short_way():
    found = short(
        FIRST, {"v": 1, "t": 1}, {"bn": "gw/s/r/voltage", "bu": "V", "vs": "mute", "q": 9}
    )
    assert list(found) == [
        Reading("s", "r", Quantity.DEPTH, 0.5, 1_750_000_000_500, Quality.GOOD),
        Reading("s", "r", Quantity.DEPTH, 1.0, 1_750_000_001_500, Quality.GOOD),
        Reading("s", "r", Quantity.VOLTAGE, None, 1_750_000_000_500, Quality.MISSING, "mute"),
    ]


@pytest.mark.parametrize(
    "second",
    [
        {"bn": "gw/s/r/voltage", "bu": "m", "v": 1},
        {"bn": "gw/s/r/level", "v": 1},
        {"bn": "gx/s/r/level", "bu": "m", "v": 1},
        {"bn": "nonsense", "bu": "m", "v": 1},
        {"bu": "m", "v": 1},
        {"bt": 1_750_000_001, "v": 1},
        {**FIRST, "bt": 1_750_000_001},
        {"v": 1, "t": -1_749_999_999},
        {"v": 1, "t": 9.1e12},
        {"v": 1, "t": 1e300},
        {"v": 1, "q": 9},
        {"v": 1, "q": 5},
        {"vs": "mute", "q": 1},
        {"vs": "mute", "q": 4},
        {"q": 9},
        {},
    ],
)
def test_what_is_odd_goes_the_long_way(second):
    assert short(FIRST, second) is None


@pytest.mark.parametrize(
    "first",
    [
        {"v": 1},
        {"bn": "gw/s/r/depth", "bu": "m", "v": 1},
        FIRST | {"bt": 1e300},
        FIRST | {"bt": 1000.0},
        FIRST | {"bt": -1.0, "t": 1_750_000_000},
        FIRST | {"bn": "gx/s/r/depth"},
    ],
)
def test_so_does_what_begins_oddly(first):
    assert short(first) is None
    assert short(first, {**FIRST, "bt": None}) is None
    assert short() is None


@given(st.binary(max_size=200))
def test_noise_is_a_decode_error_and_nothing_else(noise):
    for payload in (noise, zlib.compress(noise)):
        with pytest.raises(codec.DecodeError):
            codec.decode_batch(payload)


@examples(40)
@given(batches, st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=5))
def test_a_flipped_byte_never_passes_silently(batch, flips):
    payload = codec.encode_batch(batch)
    for place, flip in flips:
        flipped = bytearray(payload)
        flipped[place % len(payload)] ^= flip
        try:
            back = codec.decode_batch(bytes(flipped))
        except codec.DecodeError:
            continue
        # zlib's own header has bits that mean nothing; the content must then be untouched.
        assert list(back.readings) == sorted(batch.readings, key=by_place)


def envelope(**changes):
    record = {"bn": "gw/site/ruler-1/depth", "bu": "m", "bt": 1_750_000_000.5, "v": 0.31}
    whole = {"v": 1, "gateway": "gw", "stream": "ab", "number": 1, "senml": [record]} | changes
    return zlib.compress(json.dumps(whole).encode())


def packed(*records):
    return envelope(senml=list(records))


def test_senml_is_resolved_by_the_rules_of_rfc_8428():
    payload = packed(
        {"bn": "gw/s/", "bt": 1_750_000_000, "bu": "m", "bv": 1, "n": "r/depth", "v": 0.5},
        {"n": "r/depth", "t": -10, "v": 0.25, "q": 3},
        {"n": "c/displacement", "u": "m", "vs": "no answer", "q": 9, "colour": "ignored"},
        {"bn": "gw/t/"},
        {"n": "r/level", "t": 0.001, "v": 2},
    )
    first, second, third, fourth = codec.decode_batch(payload).readings
    assert first == Reading("s", "r", Quantity.DEPTH, 1.5, 1_750_000_000_000, Quality.GOOD)
    assert (second.value, second.at_ms) == (1.25, 1_749_999_990_000)
    assert second.quality is Quality.SUSPECT
    assert (third.value, third.quality, third.reason) == (None, Quality.MISSING, "no answer")
    assert (fourth.site, fourth.value, fourth.at_ms) == ("t", 3.0, 1_750_000_000_001)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "cut short"),
        (b"{}", "not zlib"),
        (zlib.compress(b"{}"), "not a batch"),
        (zlib.compress(b"0" * 9_000_000), "unpacks to more"),
        (envelope()[:-6], "cut short"),
        (envelope(v=2), "version 2"),
        (envelope(number=0), "below 1"),
        (envelope(gateway="../x"), "not a name"),
        (packed({"bn": "other/s/r/depth", "u": "m", "bt": 1.75e9, "v": 1}), "under gw/"),
        (packed({"bn": "gw/s/r/depth", "u": "cm", "bt": 1.75e9, "v": 1}), "'cm'"),
        (packed({"bn": "gw/s/r/colour", "u": "m", "bt": 1.75e9, "v": 1}), "not a quantity"),
        (packed({"bn": "gw/s/r/depth", "u": "m", "v": 1}), "no absolute time"),
        (packed({"bn": "gw/s/r/depth", "u": "m", "bt": 1.75e9, "v": 1, "q": 7}), "QARTOD"),
        (packed({"bn": "gw/s/r/depth", "u": "m", "bt": 1.75e9, "v": 1, "q": 9}), "does not go"),
        (packed({"bn": "gw/s/r/depth", "u": "m", "bt": 1.75e9, "vs": "x"}), "does not go"),
        (packed({"bver": 11, "bn": "gw/s/r/depth", "u": "m", "bt": 1.75e9, "v": 1}), "version 11"),
    ],
)
def test_what_is_no_batch_says_why(payload, reason):
    with pytest.raises(codec.DecodeError, match=reason):
        codec.decode_batch(payload)


@pytest.mark.parametrize("frame", sorted(GOLDEN.glob("batch-v1-*.hex")), ids=lambda f: f.stem)
def test_golden_frames_decode_for_ever(frame):
    batch = codec.decode_batch(bytes.fromhex(frame.read_text()))
    shown = {
        "gateway": batch.gateway,
        "stream": batch.stream,
        "number": batch.number,
        "readings": [
            [r.site, r.sensor, r.quantity.value, r.value, r.at_ms, int(r.quality), r.reason]
            for r in batch.readings
        ],
        "events": [[e.at_ms, e.site, e.kind, e.text, e.detail] for e in batch.events],
    }
    assert shown == json.loads(frame.with_suffix(".json").read_text())


def test_there_are_golden_frames():
    assert len(list(GOLDEN.glob("batch-v1-*.hex"))) >= 3


@given(st.lists(st.integers(1, 99), max_size=20))
def test_small_messages_survive_the_wire(numbers):
    ack = Ack("ab", tuple(Intervals(numbers)))
    assert codec.decode(codec.encode(ack), Ack) == ack
    status = Status("gw", GatewayState.LOST, 5)
    assert codec.decode(codec.encode(status), Status) == status


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"stream":"a","batches":[[1,2]],"v":2}'])
def test_a_wrong_small_message_is_a_decode_error(payload):
    with pytest.raises(codec.DecodeError):
        codec.decode(payload, Ack)


@given(names, names, names, st.sampled_from(What))
def test_topics_are_read_as_they_are_written(shard, gateway, site, what):
    where = site if what is What.INTERLOCK else None
    assert topics.parse(topics.topic(shard, gateway, what, where)) == Address(
        shard, gateway, what, where
    )


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "shuichi/v1/0/gw",
        "shuichi/v2/0/gw/data",
        "shuichi/v1/0/gw/data/x",
        "shuichi/v1/0/gw/interlock",
        "shuichi/v1/0/GW/data",
        "shuichi/v1/0/gw/gossip",
        "shuichi/v1/0/+/data",
        "shuichi/v1//gw/data",
    ],
)
def test_other_topics_are_not_ours(topic):
    assert topics.parse(topic) is None
