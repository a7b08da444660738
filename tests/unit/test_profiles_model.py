"""Device profiles: what is wrong with one is said in one line; registers to SI and back; blocks."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import loader
from configs.loader import ConfigError
from drivers import profiles
from drivers.errors import BadReply, Misconfigured
from drivers.measures import Measure
from drivers.profiles import MAX_REGISTERS, Profile
from tests.examples import examples
from wire.reading import Quantity


def profile(*measures: dict[str, Any], **tables: Any) -> Profile:
    given = {"title": "a device", "source": "this test", **tables}
    if measures:
        given["measure"] = list(measures)
    return loader.parse(given, Profile, "p.toml")


def depth(**keys: Any) -> dict[str, Any]:
    return {"quantity": "depth", "address": 0, "unit": "cm", **keys}


def measure(**keys: Any) -> Measure:
    (only,) = profile(depth(**keys)).measure
    return only


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        (
            depth(unit="inch"),
            "measure.0: unit 'inch' does not measure depth: "
            "use one of m, dm, cm, mm, um, mH2O, mmH2O, Pa, kPa, MPa, bar",
        ),
        (depth(unit="mm/h"), "measure.0: unit 'mm/h' does not measure depth: use one of m, dm,"),
        (
            depth(unit_address=2, unit_codes={"9": "furlong"}),
            "measure.0: unit 'furlong' does not measure depth",
        ),
        (depth(scale=0), "measure.0: scale is 0: every reading would be the same"),
        (depth(scale=float("nan")), "measure.0.scale: "),
        (
            depth(valid_min=200, valid_max=0),
            "measure.0: valid_min 200.0 is not below valid_max 0.0",
        ),
        (depth(valid_min=5, valid_max=5), "measure.0: valid_min 5.0 is not below valid_max 5.0"),
        (depth(unit_address=2), "measure.0: unit_address and unit_codes go together"),
        (depth(unit_codes={"9": "cm"}), "measure.0: unit_address and unit_codes go together"),
        (
            depth(type="u32", address=0xFFFF),
            "measure.0: a u32 at 0xffff ends beyond register 0xffff",
        ),
        (depth(missing=[-1]), "measure.0: missing: -1 is not the content of 16 bits"),
        (depth(missing=[0x10000]), "measure.0: missing: 65536 is not the content of 16 bits"),
        (depth(quantity="deepness"), "measure.0.quantity: 'deepness': "),
        (depth(function=6), "measure.0.function: 6: "),
        (depth(address=0x10000), "measure.0.address: 65536: "),
        (depth(word_order="middle"), "measure.0.word_order: 'middle': "),
        (depth(adress=1), "measure.0.adress: is not a key here (did you mean 'address'?)"),
    ],
)
def test_a_fault_of_a_measure_is_one_line(tables, line):
    with pytest.raises(ConfigError) as caught:
        profile(tables)
    assert str(caught.value).startswith(f"p.toml: {line}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("measures", "tables", "line"),
    [
        ((), {}, "has neither a [[measure]] nor [outputs]: nothing to read or switch"),
        ((depth(), depth(address=5)), {}, "measures depth twice"),
        ((depth(),), {"factory": {"two": 1}}, "factory: 'two' is not a register address"),
        (
            (depth(decimals_address=200),),
            {},
            "depth needs 201 registers at once, at most 125 fit",
        ),
        (
            (depth(type="u32"),),
            {"line": {"max_registers": 1}},
            "depth needs 2 registers at once, at most 1 fit",
        ),
        ((depth(),), {"line": {"baud": 9601}}, "line.baud: 9601: "),
        ((depth(),), {"line": {"max_registers": 126}}, "line.max_registers: 126: "),
        ((), {"outputs": {"count": 0}}, "outputs.count: 0: "),
    ],
)
def test_a_fault_of_the_whole_is_one_line(measures, tables, line):
    with pytest.raises(ConfigError) as caught:
        profile(*measures, **tables)
    assert str(caught.value).startswith(f"p.toml: {line}")


def test_all_faults_of_a_profile_come_at_once():
    with pytest.raises(ConfigError) as caught:
        loader.parse(
            {
                "title": "a device",
                "line": {"parity": "mark"},
                "measure": [depth(unit="inch"), depth(quantity="level", scale=0), depth()],
            },
            Profile,
            "p.toml",
        )
    keys = [fault.key for fault in caught.value.faults]
    assert sorted(keys) == ["line.parity", "measure.0", "measure.1", "source"]


def test_an_unknown_profile_names_those_that_there_are(tmp_path):
    (tmp_path / "mine.toml").write_text('title = "x"\nsource = "y"\n[outputs]\ncount = 1\n')
    assert profiles.find("mine", (tmp_path,)).outputs is not None
    with pytest.raises(ConfigError) as caught:
        profiles.find("minr", (tmp_path,))
    assert str(caught.value).startswith(
        "minr.toml: there is no such profile (did you mean 'mine'?); there are: "
    )
    assert "ruler-cm-9600" in str(caught.value)


def registers(*words: int) -> dict[int, int]:
    return dict(enumerate(words))


@pytest.mark.parametrize(
    ("keys", "words", "value"),
    [
        ({}, (57,), 0.57),
        ({"type": "i16"}, (0xFFFF,), -0.01),
        ({"type": "u32"}, (1, 2), 655.38),
        ({"type": "u32", "word_order": "low_first"}, (2, 1), 655.38),
        ({"type": "i32"}, (0xFFFF, 0xFFFE), -0.02),
        ({"type": "i32", "word_order": "low_first"}, (0xFFFE, 0xFFFF), -0.02),
        ({"type": "f32"}, (0x4148, 0x0000), 0.125),
        ({"type": "f32", "word_order": "low_first"}, (0x0000, 0xC148), -0.125),
        ({"type": "sm32"}, (0x0000, 0x1234), 46.60),
        ({"type": "sm32"}, (0x0100, 0x1234), -46.60),
        ({"type": "sm32"}, (0x0112, 0x3456), -11930.46),
        ({"type": "sm32"}, (0x0100, 0x0000), 0.0),
        ({"type": "metre_bcd_cm"}, (0x0031,), 0.31),
        ({"type": "metre_bcd_cm"}, (0x0299,), 2.99),
        ({"scale": -0.5, "offset": 100}, (10,), 0.95),
        ({"unit": "kPa"}, (98,), 9.99321888718),
        ({"missing": [0x7FFF]}, (0x7FFF,), None),
        ({"type": "u32", "missing": [0xFFFFFFFF]}, (0xFFFF, 0xFFFF), None),
        ({"type": "u32", "word_order": "low_first", "missing": [0x10002]}, (2, 1), None),
        ({"decimals_address": 1}, (1234, 2), 0.1234),
        ({"unit_address": 1, "unit_codes": {"9": "MPa", "17": "mmH2O"}}, (1234, 17), 1.234),
    ],
)
def test_registers_mean_si(keys, words, value):
    decoded = measure(**keys).decode(registers(*words))
    assert decoded == (None if value is None else pytest.approx(value, rel=1e-11))


@pytest.mark.parametrize(
    ("keys", "words", "complaint"),
    [
        ({"type": "sm32"}, (0x0200, 0), "sign byte 0x02 is neither 0 nor 1"),
        ({"type": "sm32"}, (0xFFFF, 0xFFFF), "sign byte 0xff"),
        ({"type": "metre_bcd_cm"}, (0x003A,), "low byte 0x3a is not BCD"),
        ({"type": "metre_bcd_cm"}, (0x00A3,), "low byte 0xa3 is not BCD"),
        ({"type": "f32"}, (0x7FC0, 0), "not a finite number"),
        ({"type": "f32"}, (0xFF80, 0), "not a finite number"),
        ({"decimals_address": 1}, (1, 10), "10 decimals in register 0x0001"),
        (
            {"unit_address": 1, "unit_codes": {"9": "cm"}},
            (1, 8),
            "unit code 8 in register 0x0001 is unknown",
        ),
    ],
)
def test_nonsense_in_the_registers_is_a_bad_reply(keys, words, complaint):
    with pytest.raises(BadReply, match=complaint):
        measure(**keys).decode(registers(*words))


RAW = {
    "u16": st.integers(0, 0xFFFF),
    "i16": st.integers(-0x8000, 0x7FFF),
    "u32": st.integers(0, 0xFFFFFFFF),
    "i32": st.integers(-0x80000000, 0x7FFFFFFF),
    "sm32": st.integers(-0xFFFFFF, 0xFFFFFF),
    "metre_bcd_cm": st.integers(0, 25599),
    "f32": st.floats(width=32, allow_nan=False, allow_infinity=False),
}


@pytest.mark.parametrize("word_order", ["high_first", "low_first"])
@pytest.mark.parametrize("kind", RAW)
@examples(50)
@given(data=st.data())
def test_what_is_encoded_is_decoded_as_it_was(kind, word_order, data):
    coded = measure(type=kind, word_order=word_order)
    value = data.draw(RAW[kind]) * 0.01
    words = coded.encode(value)
    assert set(words) == coded.addresses
    assert all(0 <= word <= 0xFFFF for word in words.values())
    assert coded.decode(words) == pytest.approx(value, rel=1e-7, abs=1e-40)


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        ("u16", -1.0, 0.0),
        ("u16", 1e6, 655.35),
        ("i16", -1e6, -327.68),
        ("sm32", 1e9, 167772.15),
        ("metre_bcd_cm", -1.0, 0.0),
        ("metre_bcd_cm", 1e6, 255.99),
        ("f32", 1e300, struct.unpack(">f", b"\x7f\x7f\xff\xff")[0] / 100),
    ],
)
def test_a_value_beyond_the_type_is_clamped(kind, value, held):
    coded = measure(type=kind)
    assert coded.decode(coded.encode(value)) == pytest.approx(held)


def test_a_missing_value_has_a_code_or_cannot_be_told():
    coded = measure(type="u32", word_order="low_first", missing=[0x1FFFE, 7])
    assert coded.encode(None) == {0: 0xFFFE, 1: 1}
    assert coded.decode(coded.encode(None)) is None
    with pytest.raises(Misconfigured, match="depth has no code for a missing value"):
        measure().encode(None)


def test_encoding_follows_the_settings_of_the_device():
    coded = measure(unit="mH2O", decimals_address=1, unit_address=2, unit_codes={"17": "mmH2O"})
    assert coded.encode(1.234, {1: 3}) == {0: 1234}
    assert coded.encode(1.234, {1: 1, 2: 17}) == {0: 12340}


def test_the_valid_range_is_told_in_si():
    assert measure(valid_min=-5, valid_max=200).valid_range_si == pytest.approx((-0.05, 2.0))
    assert measure().valid_range_si == (-math.inf, math.inf)


def spans(given: Profile) -> list[tuple[int, int, int]]:
    return [(block.function, block.address, block.words) for block in given.blocks()]


@pytest.mark.parametrize(
    ("second", "line", "blocks"),
    [
        ({"address": 1}, {}, [(3, 0, 2)]),
        ({"address": 5}, {"merge_gap": 4}, [(3, 0, 6)]),
        ({"address": 6}, {"merge_gap": 4}, [(3, 0, 1), (3, 6, 1)]),
        ({"address": 1}, {"merge_gap": 0}, [(3, 0, 2)]),
        ({"address": 2}, {"merge_gap": 0}, [(3, 0, 1), (3, 2, 1)]),
        ({"address": 1, "type": "u32"}, {"max_registers": 3}, [(3, 0, 3)]),
        ({"address": 1, "type": "u32"}, {"max_registers": 2}, [(3, 0, 1), (3, 1, 2)]),
        ({"address": 1, "function": 4}, {}, [(3, 0, 1), (4, 1, 1)]),
        ({"address": 60, "decimals_address": 3}, {}, [(3, 0, 61)]),
        ({"address": 0}, {}, [(3, 0, 1)]),  # two meanings of one register
    ],
)
def test_neighbours_share_a_read(second, line, blocks):
    assert spans(profile(depth(), depth(quantity="level", **second), line=line)) == blocks


@st.composite
def many_measures(draw: st.DrawFn) -> Profile:
    limit = draw(st.integers(2, MAX_REGISTERS))
    measures = []
    for quantity in draw(
        st.lists(st.sampled_from(["depth", "level", "displacement"]), unique=True)
    ):
        address = draw(st.integers(0, 150))
        extra = draw(st.none() | st.integers(max(0, address - limit + 2), address + limit - 1))
        measures.append(
            {
                "quantity": quantity,
                "unit": "mm",
                "function": draw(st.sampled_from([3, 4])),
                "address": address,
                "type": draw(st.sampled_from(["u16", "f32"])),
                "decimals_address": extra,
            }
        )
    outputs = {"outputs": {"count": 1}} if not measures else {}
    line = {"merge_gap": draw(st.integers(0, 64)), "max_registers": limit}
    return profile(*measures, line=line, **outputs)


@examples(200)
@given(many_measures())
def test_every_measure_is_in_one_block_that_holds_all_of_it(given):
    blocks = given.blocks()
    fetched: list[Quantity] = []
    for block in blocks:
        assert 1 <= block.words <= given.line.max_registers
        held = set(range(block.address, block.address + block.words))
        for one in block.measures:
            assert one.function == block.function
            assert one.addresses <= held
            fetched.append(one.quantity)
        used = sorted(set().union(*(one.addresses for one in block.measures)))
        assert (used[0], used[-1]) == (block.address, block.address + block.words - 1)
    assert sorted(fetched) == sorted(one.quantity for one in given.measure)
