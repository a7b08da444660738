"""Where a warning holds: polygons that a receiver can draw, circles, codes; and what a plan and a
config lack for warnings to everybody."""

import math
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import cap, caparea, plancheck, publicwords, wording
from cloud.alerts import plan as planning
from cloud.alerts.caparea import Circle
from cloud.alerts.hazard import Hazard, Stage
from cloud.cli import cloud
from cloud.plancli import group
from configs import loader
from tests import caprules
from tests.dispatching import PLAN
from tests.examples import examples
from wire.messages import Level

BOW_TIE = "29.55,106.51 29.56,106.52 29.55,106.52 29.56,106.51"


def flaws(text):
    return [*caparea.polygon_flaws(caparea.polygon(text))]


@pytest.mark.parametrize(
    "text",
    [
        "29.551,106.512 29.552,106.514 29.550,106.515",
        "29.551,106.512 29.552,106.514 29.550,106.515 29.551,106.512",  # closed by its writer
        "29.550,106.515 29.552,106.514 29.551,106.512",  # the other way round
        "0,0 0,2 2,2 2,1 1,1 1,0",  # an L
        "0,0 0,1 0,2 2,2 2,0",  # a corner on a straight side
        "-1,179.5 -1,179.9 -2,179.9",
    ],
)
def test_a_polygon_that_can_be_drawn_has_no_flaw(text):
    assert flaws(text) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOW_TIE, "side from corner 1 (29.55,106.51) to 2 (29.56,106.52) meets the side from 3"),
        ("0,0 0,2 2,2 -1,1", "crosses or touches itself"),  # open, and the last side crosses
        ("0,0 0,2 1,1 2,2 2,0 1,1", "crosses or touches itself"),  # two triangles at a corner
        ("0,0 0,2 1,0 2,2 2,0", "crosses or touches itself"),  # a corner on another side
        ("0,0 0,4 0,2 2,2", "crosses or touches itself"),  # back along the way it came
        ("0,0 0,1 0,2", "crosses or touches itself"),  # no area
        ("0,0 2,2 1,1", "crosses or touches itself"),
        ("0,0 0,0 0,1 1,1", "corner 2 (0,0) is written twice"),
        ("0,0 0,1 1,1 1,1 0,0", "corner 4 (1,1) is written twice"),
        ("0,0 0.00000001,0 0,1 1,1", "twice in a row"),  # the same as it is written
        ("0,179 0,-179 1,0", "goes round the Earth"),
    ],
)
def test_a_polygon_that_cannot_be_drawn_is_told_with_place_and_remedy(text, says):
    (found,) = flaws(text)
    assert says in found
    assert any(remedy in found for remedy in ("write the corners", "leave one out", "end the area"))


corners = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=7, unique=True
)


@examples(30)
@given(corners)
def test_what_crosses_is_found_as_another_reckoning_finds_it(ring):
    """On a small grid, where corners lie on sides and sides on each other."""
    points = [(one[0] / 100 + 29, one[1] / 100 + 106) for one in ring]
    whole = [*(tuple(map(float, one)) for one in ring), tuple(map(float, ring[0]))]
    if caprules.crosses(whole):
        assert [*caparea.polygon_flaws(points)]
    turned = [*points[2:], *points[:2]]
    for other in (turned, points[::-1]):
        assert bool([*caparea.polygon_flaws(other)]) == bool([*caparea.polygon_flaws(points)])


@examples(10)
@given(st.integers(3, 30), st.floats(0, 2 * math.pi))
def test_a_ring_around_a_place_is_sound(count, turn):
    ring = [
        (
            29 + math.sin(turn + i * 2 * math.pi / count),
            106 + math.cos(turn + i * 2 * math.pi / count),
        )
        for i in range(count)
    ]
    assert [*caparea.polygon_flaws(ring)] == []


@pytest.mark.parametrize(("radius_m", "good"), [(0, False), (5, False), (10, True), (5e5, True)])
def test_a_circle_has_a_radius_that_can_be_shown(radius_m, good):
    assert bool([*caparea.circle_flaws(Circle((29.0, 106.0), radius_m))]) != good


@pytest.mark.parametrize(
    ("system", "code", "good"),
    [
        ("GB/T 2260", "500103", True),
        ("GB/T 2260", "50", True),
        ("GB/T 2260", "500103001002", True),
        ("GB/T 2260", "50010", False),
        ("GB/T 2260", "Yuzhong", False),
        ("GB/T 2260", " 500103", False),
        ("UGC", "CQZ001", True),
        ("UGC", "a\x07b", False),
        (" ", "1", False),
    ],
)
def test_a_code_is_well_formed(system, code, good):
    assert bool([*caparea.geocode_flaws(system, code)]) != good


def test_latitude_comes_first():
    with pytest.raises(ValueError, match="the latitude comes first"):
        caparea.polygon("106.5,29.5 106.6,29.5 106.6,29.6")


# Plans


def written(**site):
    """The example plan, with changes to its underpass."""
    tables = PLAN.model_dump(mode="json", exclude_none=True)
    tables["site"]["daping-underpass"] |= site
    return tables


def made(tables):
    return loader.parse(tables, planning.Plan, "plan.toml", planning.faults)


def found(tables, **given):
    checked = loader.parse(tables, planning.Plan, "plan.toml")
    return [f"{one.key}: {one.problem}" for one in plancheck.findings(checked, **given)]


def test_a_bow_tie_is_found_and_left_out_and_the_plan_still_calls():
    tables = written(polygon=BOW_TIE, geocode={"GB/T 2260": "500103"})
    (line,) = found(tables)
    assert line.startswith("site.daping-underpass.polygon: it crosses or touches itself")
    place = made(tables).site["daping-underpass"].place
    assert place.polygons == ()
    assert place.geocodes == (("GB/T 2260", "500103"),)
    # Kept in the state by an older release, it can still be read.
    assert planning.parse(made(tables).model_dump_json()).version == made(tables).version


def test_sites_without_a_place_are_told_in_one_line_where_warnings_are_published():
    assert found(written()) == []
    (line,) = found(written(), published=True)
    assert line.startswith("site: daping-underpass, jialing-huangshaxi, daping-slope: no polygon")
    tables = written(circle="29.5,106.5 0")
    assert any(
        "daping-underpass" in one for one in found(tables, published=True) if "no poly" in one
    )


def test_a_long_name_is_told_where_warnings_are_published():
    lines = found(written(name_en="x" * 50, circle="29.5,106.5 0.3"), published=True)
    assert (
        "site.daping-underpass.name_en: has 50 characters: receivers of warnings show 49" in lines
    )


@pytest.mark.parametrize(
    ("instruction", "says"),
    [
        ({"zh": "绕行{detour}", "en": "take {detour}"}, None),
        ({"zh": "{site}", "en": "{site}"}, None),
        ({"zh": "{depth_cm}", "en": "x"}, "public_instruction.0.zh: {depth_cm} has no value"),
        ({"zh": "x", "en": "take {detuor}"}, "did you mean 'detour'?"),
        ({"zh": "x", "en": "{Detour}"}, "is not a placeholder"),
        ({"hazard": "equipment", "zh": "x", "en": "x"}, "of equipment nothing is published"),
    ],
)
def test_instructions_for_everybody_are_checked(instruction, says):
    tables = written() | {"public_instruction": [{"hazard": "underpass"} | instruction]}
    lines = found(tables)
    assert len(lines) == (0 if says is None else 1)
    assert says is None or says in lines[0]


def test_an_instruction_that_is_never_said_is_told():
    one = {"hazard": "underpass", "zh": "x", "en": "x"}
    lines = found(written() | {"public_instruction": [one, one | {"levels": ["red"]}]})
    assert lines == ["public_instruction.1: is never said: those before it fit first"]


def test_a_plan_without_them_keeps_the_version_of_older_releases():
    assert PLAN.version == "e7a75492244f8d5b"  # as 96583dd works it out
    assert made(written() | {"public_instruction": []}).version == PLAN.version
    own = [{"hazard": "underpass", "zh": "x", "en": "y"}]
    assert made(written() | {"public_instruction": own}).version != PLAN.version


# Words


def test_our_own_words_say_something_for_every_hazard_level_and_stage():
    for hazard in cap.EVENTS:
        for level in Level:
            for stage in Stage:
                said = publicwords.advice(hazard, level, stage)
                assert said.responses
        assert publicwords.at_the_end(hazard).responses == ("AllClear",)
    for said in publicwords.everything():
        assert "AllClear" not in said.responses or said.responses == ("AllClear",)
        assert said.zh.endswith("。")
        assert said.en.endswith(".")
        assert not said.en.isascii() or not any(one > "\u2fff" for one in said.en)
        assert {*wording.placeholders(said.zh)} == {*wording.placeholders(said.en)}
        assert {*wording.placeholders(said.zh)} <= {*publicwords.PLACEHOLDERS}


def test_who_may_have_to_leave_is_told_to_leave_and_the_far_stages_to_get_ready():
    advice = publicwords.advice
    assert advice(Hazard.LANDSLIDE, Level.RED, Stage.IMMINENT).responses == ("Evacuate",)
    assert advice(Hazard.RIVER, Level.RED, Stage.SOON).responses == ("Prepare",)
    assert advice(Hazard.UNDERPASS, Level.ORANGE, Stage.NOW).responses == ("Avoid",)
    assert advice(Hazard.RAINSTORM, Level.BLUE, Stage.TREND).responses == ("Monitor",)


def test_the_plans_own_words_come_first():
    own = [
        {"hazard": "underpass", "levels": ["red"], "zh": "红", "en": "red", "stages": ["now"]},
        {"hazard": "underpass", "responses": ["Execute"], "zh": "全", "en": "all"},
    ]
    written_own = made(written() | {"public_instruction": own}).public_instruction
    assert publicwords.advice(Hazard.UNDERPASS, Level.RED, Stage.NOW, written_own) == (
        ("Avoid",),
        "红",
        "red",
    )
    assert publicwords.advice(Hazard.UNDERPASS, Level.RED, Stage.SOON, written_own).en == "all"
    assert publicwords.advice(Hazard.RIVER, Level.RED, Stage.NOW, written_own).en.startswith(
        "Leave"
    )


# Documents


def one(**changes):
    words = cap.Words("en", "Flood", "Red alert", "Water", "Underpass", "Keep out")
    fields: dict[str, Any] = {"identifier": "a.1", "sender": "s", "sent_ms": 10**12}
    fields |= {"action": cap.Action.ALERT}
    return cap.Alert(**fields | {"level": Level.RED, "words": (words,)} | changes)


@pytest.mark.parametrize("bad", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\u202e", "\ufffe", "\r"])
def test_no_control_character_is_in_a_document(bad):
    words = cap.Words("en", f"Fl{bad}ood", f"{bad}", f"<a>{bad}&", f"Under{bad}pass", bad, bad, bad)
    pairs = ((bad, "1"), ("GB/T 2260", bad), (f"a{bad}", f"b{bad}"))
    document = cap.document(one(words=(words,), area=caparea.Area(geocodes=pairs)))
    caprules.SCHEMA.validate(document.decode())
    root = ElementTree.fromstring(document)
    assert bad not in "".join(root.itertext())
    assert caprules.said(root, "info/event") == "Flood"
    assert root.find(".//c:headline", caprules.NS) is None
    codes = [caprules.said(each, "value") for each in root.iterfind(".//c:geocode", caprules.NS)]
    assert codes == ["b"]
    with pytest.raises(ValueError, match="names no event"):
        cap.document(one(words=(words._replace(event=bad),)))


@pytest.mark.parametrize("exercise", [False, True])
def test_a_headline_is_cut_where_receivers_cut_it(exercise):
    words = cap.Words("zh", "积水", "很长" * 200, "d", "a")
    document = cap.document(one(words=(words,), exercise=exercise))
    headline = caprules.said(ElementTree.fromstring(document), "info/headline")
    assert len(headline) == 140
    assert headline.endswith("…")


def test_a_document_that_is_repeated_keeps_its_words_and_its_structure():
    first = one(exercise=True)
    again = cap.again(
        cap.document(first), "a.2", 10**12 + 5000, (cap.reference(first),), 2 * 10**12
    )
    caprules.SCHEMA.validate(again.decode())
    root = ElementTree.fromstring(again)
    assert b"<status>Exercise</status>" in again
    assert caprules.said(root, "msgType") == "Update"
    assert caprules.said(root, "references") == f"s,a.1,{cap.time(10**12)}"
    assert caprules.said(root, "info/expires") == cap.time(2 * 10**12)
    anew = cap.again(again, "a.3", 10**12 + 9000, (), 3 * 10**12)
    caprules.SCHEMA.validate(anew.decode())
    assert caprules.said(ElementTree.fromstring(anew), "msgType") == "Alert"
    assert b"<references>" not in anew


# The config


def test_cloud_check_says_what_receivers_will_miss(tmp_path):
    example = loader.HERE / "plans" / "example-city.toml"
    (tmp_path / "plan.toml").write_text(
        example.read_text().replace(
            "[site.daping-underpass]", f'[site.daping-underpass]\npolygon = "{BOW_TIE}"'
        )
    )
    file = tmp_path / "cloud.toml"
    file.write_text('[cap]\nsender = "a.example"\n[alerts]\nplan = "plan.toml"\n')
    told = CliRunner().invoke(cloud, ["check", "--config", str(file)])
    assert told.exit_code == 0
    keys = [line.split(":")[1].strip() for line in told.output.splitlines() if "unsure" in line]
    assert keys == [
        "site.daping-underpass.polygon",
        "site",
        "gateway",
        "cap.web",
        "cap.name",
        "cap.contact",
    ]
    plan_file = str(tmp_path / "plan.toml")
    told = CliRunner().invoke(group, ["check", plan_file])
    assert told.exit_code == 1
    assert "polygon: it crosses or touches itself" in told.output
    assert "no polygon, circle or geocode" not in told.output
    told = CliRunner().invoke(group, ["check", plan_file, "--config", str(file)])
    assert told.exit_code == 1
    assert told.output.count("no polygon, circle or geocode") == 1


@pytest.mark.parametrize(
    "text",
    ["expires_h = 0", "expires_h = 73", "expires_h = nan", "keep_cancel_h = 0", 'web = "now"'],
)
def test_times_and_pages_that_are_none_are_refused(text, tmp_path):
    file = tmp_path / "cloud.toml"
    file.write_text(f'[cap]\nsender = "a.example"\n{text}\n')
    told = CliRunner().invoke(cloud, ["check", "--config", str(file)])
    assert told.exit_code != 0
    assert f"cap.{text.split()[0]}" in str(told.exception)
