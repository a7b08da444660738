"""Response plans: what they say, what they lack, and how they are written out for people."""

from datetime import UTC, date, datetime

import pytest

from cloud.alerts import duty, plan, plancheck, wording
from cloud.alerts.duty import Shift
from cloud.alerts.hazard import Stage
from cloud.alerts.plan import Plan
from cloud.channels import ChannelConfig
from configs import loader
from configs.loader import ConfigError
from tests import plans

EXAMPLE = loader.HERE / "plans" / "example-city.toml"
EIGHT = int(datetime(2026, 7, 1, 0, 0, tzinfo=UTC).timestamp() * 1000)  # 08:00 in Shanghai
HOUR = 3_600_000


@pytest.mark.parametrize("file", loader.library("plans"), ids=lambda file: file.stem)
def test_the_plans_that_come_with_us_lack_nothing(file):
    assert plancheck.findings(plan.read(file)) == []


def test_a_plan_comes_back_from_where_it_was_kept_with_its_version():
    read = plan.read(EXAMPLE)
    assert plan.parse(read.model_dump_json()) == read
    assert plan.parse(read.model_dump_json()).version == read.version


def test_comments_make_no_version_and_contents_do(tmp_path):
    text = EXAMPLE.read_text("utf-8")
    versions = []
    for changed in (text, f"# news\n{text}", text.replace("何岚", "何蓝")):
        file = tmp_path / "plan.toml"
        file.write_text(changed, "utf-8")
        versions.append(plan.read(file).version)
    assert versions[0] == versions[1] != versions[2]


DOCS = loader.HERE.parent / "docs" / "response-plans.md"


def test_the_plan_in_the_docs_can_be_read(tmp_path):
    file = tmp_path / "docs.toml"
    file.write_text(DOCS.read_text("utf-8").partition("```toml\n")[2].partition("```")[0], "utf-8")
    assert plan.read(file).ladder("north-underpass") == ("river-village", "north")


def test_the_docs_name_every_placeholder():
    text = DOCS.read_text("utf-8")
    for names in wording.VALUES.values():
        assert all(f"`{name}`" in text for name in names)


# Duty


@pytest.mark.parametrize(
    ("window", "moment", "is_on"),
    [
        ("Mon-Fri 08:00-18:00", "2026-07-01 08:00", True),  # a Wednesday
        ("Mon-Fri 08:00-18:00", "2026-07-01 18:00", False),
        ("Mon-Fri 08:00-18:00", "2026-07-04 12:00", False),
        ("Sat-Mon 08:00-18:00", "2026-07-05 12:00", True),
        ("Sat,Wed 20:00-08:00", "2026-07-02 07:59", True),  # since Wednesday night
        ("Sat,Wed 20:00-08:00", "2026-07-01 07:59", False),
        ("daily 00:00-24:00", "2026-07-01 23:59", True),
        ("daily 08:00-08:00", "2026-07-01 03:00", True),
    ],
)
def test_windows(window, moment, is_on):
    at = datetime.fromisoformat(moment)
    assert duty.on_duty([Shift((window,))], frozenset(), at) is is_on


def test_an_exceptional_date_has_its_own_times_and_ends_its_own_night():
    shift = Shift(("daily 20:00-08:00",), {date(2026, 7, 1): ["10:00-12:00"]})
    hours = {
        hour: duty.on_duty([shift], frozenset(), datetime(2026, 7, 1, hour, tzinfo=UTC))
        for hour in (7, 9, 11, 21)
    }
    assert hours == {7: True, 9: False, 11: True, 21: False}


def test_nobody_s_duty_begins_on_a_day_away():
    away = frozenset({date(2026, 7, 1)})
    people = [((Shift(("daily 20:00-08:00",)),), away)]
    assert duty.uncovered(people, date(2026, 7, 1)) == ["08:00-24:00"]
    assert duty.uncovered(people, date(2026, 7, 2)) == ["00:00-20:00"]


@pytest.mark.parametrize(
    "window", ["", "Mon", "Mon 8:00-9:00", "Man 08:00-09:00", "Mon 08:00-25:00"]
)
def test_what_is_no_window_is_told(window):
    with pytest.raises(ValueError, match="is not a"):
        duty.weekly(window)


def test_duty_is_in_the_time_zone_of_the_plan():
    written = plans.tables(1, duty={"day": {"windows": ["daily 08:00-20:00"]}})
    written["contact"]["grid-1"]["duty"] = ["day"]
    there = plans.made(written)
    assert there.on_duty("grid", EIGHT) == ("grid-1",)
    assert there.on_duty("grid", EIGHT - 60_000) == ()
    utc = plans.made(written | {"timezone": "UTC"})
    assert utc.on_duty("grid", EIGHT) == ()
    assert utc.on_duty("grid", EIGHT + 8 * HOUR) == ("grid-1",)


# The ladder and the times


def test_the_ladder_follows_the_parents_and_what_escalates_elsewhere():
    written = plans.tables(3)
    assert plans.made(written).ladder("north") == ("grid", "village", "township")
    written["area"]["grid"]["escalates_to"] = "township"
    assert plans.made(written).ladder("north") == ("grid", "township")


def test_deadlines_are_of_the_plan_then_of_the_tier():
    made = plans.small(
        2,
        answer_within_min={"now": 7, "6h": 20},
        tier={"grid": {"answer_within_min": {"now": 3}, "retry_every_min": 1}},
    )
    assert made.deadlines("grid", Stage.NOW) == (180_000, 60_000, 600_000)
    assert made.deadlines("village", Stage.NOW) == (420_000, 120_000, 600_000)
    assert made.deadlines("grid", Stage.SOON).answer == 20 * 60_000
    assert made.deadlines("grid", Stage.IMMINENT).answer == 10 * 60_000


# What cannot be read


def test_all_faults_are_told_at_once():
    written = plans.tables(2, timezone="Asia/Chongqin", duty={"day": {"windows": ["Mo 1-2"]}})
    written["contact"]["grid-1"]["area"] = "gird"
    written["hazard"] = {"river": {"levels": ["purple"]}}
    with pytest.raises(ConfigError) as raised:
        plans.made(written)
    assert {fault.key for fault in raised.value.faults} >= {
        "timezone",
        "duty.day.windows",
        "hazard.river.levels.0",
        "contact.grid-1.area",
    }
    assert "did you mean 'grid'" in str(raised.value)


@pytest.mark.parametrize("key", ["parent", "escalates_to"])
def test_a_loop_is_refused(key):
    written = plans.tables(3)
    written["area"]["township"][key] = "village"
    with pytest.raises(ConfigError, match="is a loop") as raised:
        plans.made(written)
    assert f"area.village.{key}" in str(raised.value) or f"area.township.{key}" in str(raised.value)


# What a plan lacks


def findings(written, **given) -> list[str]:
    checked = loader.parse(written, Plan, "plan.toml")
    return [f"{fault.key}: {fault.problem}" for fault in plancheck.findings(checked, **given)]


def configured(*names: str, **kinds: str) -> dict[str, ChannelConfig]:
    return {name: ChannelConfig(kind=kinds.get(name, name)) for name in names}


def test_a_board_is_told_of_the_end_only_if_it_is_the_first_channel():
    written = plans.tables(1)
    written["channel"]["ramp"] = {"address": "board"}
    written["contact"]["grid-1"]["address"]["board"] = "ramp-1"
    for channels, count in ((["ramp"], 0), (["sms", "ramp"], 1)):
        written["contact"]["grid-1"]["channels"] = channels
        given = configured("sms", "voice", "ramp", ramp="board")
        found = [one for one in findings(written, channels=given) if "board" in one]
        assert len(found) == count


def test_a_good_plan_has_no_findings():
    assert findings(plans.tables(3)) == []


def without_contacts(written):
    written["contact"] = {}


def without_one_tier(written):
    del written["contact"]["village-1"]


def without_a_night(written):
    written["duty"] = {"day": {"windows": ["daily 08:00-20:00"]}}
    written["contact"]["grid-1"]["duty"] = ["day"]


def with_a_holiday(written):
    written["duty"] = {"all": {"windows": ["daily 00:00-24:00"], "on": {"2026-10-01": []}}}
    written["contact"]["grid-1"]["duty"] = ["all"]


def with_a_loop(written):
    written["area"]["township"]["parent"] = "grid"


def with_an_escalation_loop(written):
    written["area"]["township"]["escalates_to"] = "grid"


def with_a_wrong_kind(written):
    written["area"]["grid"]["kind"] = "city"


def with_an_unknown_placeholder(written):
    written["instruction"][0]["en"] = "{site}: {stage_n}"


def with_half_a_placeholder(written):
    written["instruction"][0]["en"] = "{site}: {stage_m"


def with_a_value_that_one_site_lacks(written):
    written["instruction"][0]["en"] = "{shelter}"
    written["site"]["south"] = written["site"]["north"] | {"values": {"shelter": "school"}}


def with_an_unknown_channel(written):
    written["contact"]["grid-1"]["channels"] = ["smss"]


def without_an_address(written):
    written["contact"]["grid-1"]["address"] = {"fone": "1"}


def without_an_instruction(written):
    written["instruction"][0]["levels"] = ["red"]
    written["instruction"][0]["tiers"] = ["grid"]


def with_two_instructions(written):
    written["instruction"] *= 2


def with_people_whom_nobody_calls(written):
    written["area"]["elsewhere"] = {"name": "e", "kind": "village", "parent": "township"}
    written["contact"]["idle"] = written["contact"]["grid-1"] | {"area": "elsewhere"}


def with_a_role_that_nobody_has(written):
    written["contact"]["grid-1"]["roles"] = ["office"]
    written["tell"] = [{"at": ["raise"], "roles": ["ofice"]}]


def with_a_tier_that_is_not_reached(written):
    written["tier"] = {"city": {}}
    written["hazard"] = {"landslide": {}}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_contacts, ["site.north: nobody would be called"]),
        (without_one_tier, ["area.village: has no contact"]),
        (without_a_night, ["area.grid: nobody is on duty on Mon, Tue, Wed, Thu, Fri, Sat, Sun "
                           "00:00-08:00, 20:00-24:00 (Asia/Shanghai)"]),
        (with_a_holiday, ["area.grid: nobody is on duty on 2026-10-01 00:00-24:00"]),
        (with_a_loop, ["is a loop: grid > village > township > grid"]),
        (with_an_escalation_loop, ["escalates_to: is a loop"]),
        (with_a_wrong_kind, ["area.grid.parent: a city cannot lie in a village"]),
        (with_an_unknown_placeholder, ["instruction.0.en: {stage_n} has no value for river "
                                       "(did you mean 'stage_m'?)"]),
        (with_half_a_placeholder, ["instruction.0.en: '{stage_m' is not a placeholder"]),
        (with_a_value_that_one_site_lacks, ["site.north.values.shelter: is missing"]),
        (with_an_unknown_channel, ["contact.grid-1.channels: 'smss' is not a channel of the plan "
                                   "(did you mean 'sms'?)"]),
        (without_an_address, ["contact.grid-1.address.phone: is missing: channel 'sms' needs it",
                              "contact.grid-1.address.fone: is an address that no channel uses"]),
        (without_an_instruction, ["instruction: river blue grid: is missing",
                                  "instruction: river red village: is missing"]),
        (with_two_instructions, ["instruction: river blue grid: is given 2 times"]),
        (with_people_whom_nobody_calls, ["area.elsewhere: has contacts, but no call reaches it"]),
        (with_a_role_that_nobody_has, ["tell.0.roles: nobody has the role 'ofice' (did you mean"]),
        (with_a_tier_that_is_not_reached, ["tier.city: no call reaches", "hazard.landslide: no"]),
    ],
)  # fmt: skip
def test_findings(spoil, told):
    written = plans.tables(3)
    spoil(written)
    found = findings(written)
    for words in told:
        assert any(words in line for line in found), found


def test_a_holiday_that_is_over_is_no_finding():
    written = plans.tables(3)
    with_a_holiday(written)
    assert len(findings(written, today=date(2026, 10, 1))) == 1
    assert findings(written, today=date(2026, 10, 2)) == []


def test_a_channel_that_is_not_configured():
    found = findings(plans.tables(2), channels=configured("sms", "voices"), source="cloud.toml")
    assert found == ["channel.voice: is not configured in cloud.toml (did you mean 'voices'?)"]
