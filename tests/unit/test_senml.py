"""One record that is wrong does not cost the others, and nothing of it is lost."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import codec
from wire.messages import Batch
from wire.reading import Quality, Quantity, Reading

HEAD = {"bn": "gw/s/r/depth", "bu": "m", "bt": 1_750_000_000, "v": 0.5}
BEFORE = Reading("s", "r", Quantity.DEPTH, 0.5, 1_750_000_000_000, Quality.GOOD)
AFTER = Reading("s", "r", Quantity.DEPTH, 0.25, 1_750_000_001_000, Quality.GOOD)


def payload(*records: Any) -> bytes:
    whole = {"v": 1, "gateway": "gw", "stream": "ab", "number": 3, "senml": records}
    return zlib.compress(json.dumps(whole).encode())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"t": 2, "v": "text"}, "Expected `float"),
        ({"t": 2, "v": 1, "u": "cm"}, "'cm'"),
        ({"t": 2, "v": 1, "q": 7}, "QARTOD"),
        ({"t": 2, "v": 1, "q": 9}, "does not go"),
        ({"t": 2, "vs": "no answer"}, "does not go"),
        ({"t": 2, "v": 1, "n": "/x"}, "not a name of"),
        ({"t": -1.7e9, "v": 1}, "no absolute time"),
        ({"t": 1e300, "v": 1}, "beyond all calendars"),
        ({"t": "soon", "v": 1}, "Expected `float"),
        ("text", "not a record"),
        (None, "not a record"),
    ],
    ids=str,
)
def test_the_others_are_readings(bad: Any, reason: str) -> None:
    bytes_of = payload(HEAD, bad, {"t": 1, "v": 0.25})
    with pytest.raises(codec.DecodeError):
        codec.decode_batch(bytes_of)
    batch, (fault,) = codec.decode_lenient(bytes_of)
    assert (batch.stream, batch.number, batch.readings) == ("ab", 3, (BEFORE, AFTER))
    assert fault.position == 1
    assert reason in fault.reason
    if isinstance(bad, dict):
        held = {label: HEAD[label] for label in ("bn", "bu", "bt")}
        assert json.loads(fault.record) == held | bad
    else:
        assert json.loads(fault.record) == bad
    with pytest.raises(codec.DecodeError):
        codec.decode_record("gw", fault.record)


def test_another_gateways_name_is_a_fault_until_the_next_name() -> None:
    foreign = {"bn": "other/s/r/depth", "t": 2, "v": 1}
    again = {"bn": "gw/s/r/depth", "t": 1, "v": 0.25}
    batch, faults = codec.decode_lenient(payload(HEAD, foreign, {"t": 3, "v": 2}, again))
    assert batch.readings == (BEFORE, AFTER)
    assert [fault.position for fault in faults] == [1, 2]
    assert {fault.reason for fault in faults} == {"'other/s/r/depth' is not a name under gw/"}
    assert json.loads(faults[1].record)["bn"] == "other/s/r/depth"


def test_the_base_fields_of_a_bad_record_hold_for_those_that_follow() -> None:
    bad = {"bn": "gw/s/other/level", "bt": 1_750_000_002, "v": "text"}
    batch, (fault,) = codec.decode_lenient(payload(HEAD, bad, {"v": 2}))
    assert batch.readings == (
        BEFORE,
        Reading("s", "other", Quantity.LEVEL, 2, 1_750_000_002_000, Quality.GOOD),
    )
    assert fault.position == 1


@pytest.mark.parametrize("base", [{"bn": 5}, {"bt": "x"}, {"bt": 1e300}, {"bver": 11}, {"bv": []}])
def test_what_rests_on_wrong_base_fields_is_a_fault_too(base: dict[str, Any]) -> None:
    batch, faults = codec.decode_lenient(payload(HEAD, base | {"v": 1}, {"t": 1, "v": 0.25}))
    assert batch.readings == (BEFORE,)
    assert [fault.position for fault in faults] == [1, 2]
    assert faults[1].reason == f"rests on record 1: {faults[0].reason}"


@pytest.mark.parametrize(
    "changes", [b"{}", b"[", b'{"v":2,"gateway":"gw","stream":"a","number":1}'], ids=repr
)
def test_what_is_no_batch_is_none_leniently_either(changes: bytes) -> None:
    with pytest.raises(codec.DecodeError):
        codec.decode_lenient(zlib.compress(changes))


def test_a_fault_can_be_decoded_by_itself_once_it_is_mended() -> None:
    bad = {"n": "/t", "v": 1, "bv": 0.5}
    _, (fault,) = codec.decode_lenient(payload(HEAD, bad))
    mended = fault.record.replace(b'"/t"', b'""')
    expected = Reading("s", "r", Quantity.DEPTH, 1.5, 1_750_000_000_000, Quality.GOOD)
    assert codec.decode_record("gw", mended) == expected
    for none in (b"", b"[]", b"{}", b'{"bn":"gw/s/r/depth"}', b"\xff"):
        with pytest.raises(codec.DecodeError):
            codec.decode_record("gw", none)


labels = st.fixed_dictionaries(
    {},
    optional={
        "bn": st.sampled_from(["gw/s/r/depth", "gw/s/", "x", 5]),
        "bu": st.sampled_from(["m", "V"]),
        "bt": st.sampled_from([1.75e9, 0, "x"]),
        "bv": st.floats(-5, 5),
        "bver": st.sampled_from([10, 11]),
        "n": st.sampled_from(["", "q/level", "q/voltage"]),
        "u": st.sampled_from(["m", "V", "cm"]),
        "v": st.one_of(st.floats(-5, 5), st.just("x")),
        "vs": st.text(max_size=3),
        "t": st.integers(-5, 5),
        "q": st.sampled_from([1, 3, 9, 7]),
    },
)


@given(st.lists(labels, max_size=6))
def test_lenient_is_strict_where_nothing_is_wrong_and_loses_nothing(
    records: list[dict[str, Any]],
) -> None:
    bytes_of = payload(*records)
    batch, faults = codec.decode_lenient(bytes_of)
    try:
        strict: Batch | None = codec.decode_batch(bytes_of)
    except codec.DecodeError:
        strict = None
    assert (strict is None) == bool(faults)
    if strict is not None:
        assert batch == strict
    base_only = sum(not record.keys() & {"v", "vs", "n"} for record in records)
    assert len(batch.readings) + len(faults) >= len(records) - base_only
