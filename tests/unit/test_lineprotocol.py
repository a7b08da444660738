"""Line protocol: the escapes, and that a reader who knows the rules gets back what went in."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import Rejected
from cloud.store import Points, influx
from cloud.store.lineprotocol import encode
from cloud.store.names import is_readable
from wire.reading import Quality, Quantity, Reading


def reading(**changes: object) -> Reading:
    whole = {
        "site": "underpass",
        "sensor": "ruler",
        "quantity": Quantity.DEPTH,
        "value": 0.153,
        "at_ms": 1_700_000_000_123,
        "quality": Quality.GOOD,
    }
    return Reading(**(whole | changes))  # type: ignore[arg-type]  # what a test changes fits


def line(gateway: str = "g1", **changes: object) -> str:
    return encode([Points(gateway, [reading(**changes)])]).decode()


def parse(text: str) -> tuple[str, dict[str, str], dict[str, str], int]:
    """Measurement, tags, fields and time, split at what is not escaped, as a server does it."""
    head, fields, at_ms = re.split(r"(?<!\\) ", text)
    measurement, *tags = re.split(r"(?<!\\),", head)
    pairs = (re.split(r"(?<!\\)=", tag, maxsplit=1) for tag in tags)
    return (
        measurement,
        {key: re.sub(r"\\([,= ])", r"\1", value) for key, value in pairs},
        dict(field.split("=") for field in fields.split(",")),
        int(at_ms),
    )


def test_a_reading_is_one_line() -> None:
    assert (
        line()
        == "depth,gateway=g1,sensor=ruler,site=underpass value=0.153,quality=1i 1700000000123"
    )


def test_what_is_missing_has_no_value() -> None:
    missing = line(value=None, quality=Quality.MISSING)
    assert missing == "depth,gateway=g1,sensor=ruler,site=underpass quality=9i 1700000000123"


def test_many_are_lines_without_one_at_the_end() -> None:
    text = encode([Points("a", [reading(), reading(at_ms=2)]), Points("b", [reading()])]).decode()
    assert [parse(one)[1]["gateway"] for one in text.split("\n")] == ["a", "a", "b"]
    assert encode([]) == encode([Points("a", [])]) == b""


@pytest.mark.parametrize(
    ("site", "escaped"),
    [("a b", "a\\ b"), ("a,b", "a\\,b"), ("a=b", "a\\=b"), ("a\\b", "a\\b"), ('"水"', '"水"')],
)
def test_tags_are_escaped_by_the_rules(site: str, escaped: str) -> None:
    assert f",site={escaped} value=" in line(site=site)


@pytest.mark.parametrize("site", ["", "a\nb", "ends with \\"])
def test_a_tag_that_no_escape_can_carry_is_rejected(site: str) -> None:
    with pytest.raises(Rejected, match="cannot carry"):
        line(site=site)


# A backslash before one that needs an escape has no reading that all servers agree on.
tags = st.text(st.characters(codec="utf-8", exclude_characters="\\"), min_size=1).filter(
    is_readable
)


@given(
    gateway=tags,
    site=tags,
    sensor=tags,
    value=st.floats(allow_nan=False, allow_infinity=False),
    at_ms=st.integers(0, 2**53),
    quantity=st.sampled_from(Quantity),
    quality=st.sampled_from([q for q in Quality if q is not Quality.MISSING]),
)
def test_it_reads_back(
    gateway: str,
    site: str,
    sensor: str,
    value: float,
    at_ms: int,
    quantity: Quantity,
    quality: Quality,
) -> None:
    changes = {
        "site": site,
        "sensor": sensor,
        "value": value,
        "at_ms": at_ms,
        "quantity": quantity,
        "quality": quality,
    }
    measurement, found, fields, time = parse(line(gateway, **changes))
    assert measurement == quantity
    assert found == {"gateway": gateway, "sensor": sensor, "site": site}
    assert list(found) == sorted(found)
    assert math.copysign(1, float(fields["value"])) == math.copysign(1, value)
    assert float(fields["value"]) == value
    assert fields["quality"] == f"{quality:d}i"
    assert time == at_ms


@given(st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=20))
def test_what_is_too_large_goes_in_bodies_of_whole_lines(lines):
    whole = "\n".join(lines).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(influx, "MOST_BYTES", 10)
        bodies = list(influx._bodies(whole))
    assert b"\n".join(bodies) == whole
    assert all(0 < len(body) <= 10 for body in bodies)
