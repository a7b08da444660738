"""What people read of a plan: calls, digests, and values in their language."""

from datetime import UTC, datetime

import pytest

from cloud.alerts import plan, wording
from cloud.alerts.actions import Kind, Send, Way
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plantables import Tier
from tests import plans
from wire.messages import Level

EIGHT = int(datetime(2026, 7, 1, 0, 0, tzinfo=UTC).timestamp() * 1000)  # 08:00 in Shanghai


def send(made, kind=Kind.RAISE, **changes) -> Send:
    given = {
        "alert": "north.river.1",
        "site": "north",
        "hazard": Hazard.RIVER,
        "level": Level.RED,
        "stage": Stage.NOW,
        "round": 1,
        "kind": kind,
        "area": "grid",
        "contact": "grid-1",
        "number": 0,
        "at_ms": EIGHT,
        "ways": (Way("sms", 0),),
        "answer_by_ms": EIGHT + 300_000,
    }
    return Send(**(given | changes))


def test_a_call_has_the_instruction_and_the_deadline_in_the_contact_s_language():
    written = plans.tables(1)
    made = plans.made(written)
    chinese = wording.write(made, send(made), EIGHT, {"stage_m": "7.2"})
    assert chinese.title == "红色预警：North河道洪水"
    assert "North：7.2请在08:05前应答。" in chinese.text
    written["contact"]["grid-1"]["language"] = "en"
    made = plans.made(written)
    english = wording.write(made, send(made), EIGHT, {"stage_m": "7.2", "cause": "Over 7 m"})
    assert english.title == "Red alert: river flood, North"
    assert english.text == "Happening now, 08:00. Over 7 m. North: 7.2 Please answer by 08:05."


def test_after_the_deadline_it_says_at_once():
    made = plans.small(1)
    assert "请立即应答" in wording.write(made, send(made), EIGHT + 3_600_000, {}).text


@pytest.mark.parametrize(("language", "said"), [("zh", "North：未知"), ("en", "North: unknown")])
def test_a_value_that_nobody_knows_is_said_to_be_unknown(language, said):
    made = plans.small(1, language=language)
    assert said in wording.write(made, send(made), EIGHT, {}).text


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_message_has_a_brace_left(kind, language):
    made = plans.small(1, language=language)
    told = wording.write(made, send(made, kind), EIGHT, {})
    assert "{" not in told.title + told.text
    assert told.title


def test_a_placeholder_reaches_nothing_but_its_value():
    assert wording.fill("{a} {a.__class__} {0}", {"a": "x"}) == "x {a.__class__} {0}"


def test_a_digest_counts_and_names_the_worst():
    made = plans.small(1, language="en")
    many = [
        send(made, site=f"s{number}", level=Level.RED if number == 7 else Level.BLUE)
        for number in range(12)
    ]
    told = wording.digest(made, "grid-1", many)
    assert told.title == "12 alerts, the worst red"
    assert told.text.startswith("Red 1, blue 11: river flood, s7 (red); river flood, s0 (blue); ")
    assert told.text.endswith("and 7 more. Please answer at once.")
    chinese = wording.digest(plans.small(1), "grid-1", many, "https://flood.example/a/1")
    assert chinese.text.startswith("红色 1，蓝色 11：s7河道洪水（红色）；s0河道洪水（蓝色）；")
    assert chinese.text.endswith("，另有7条。请立即应答。https://flood.example/a/1")


def test_a_digest_of_news_only_does_not_look_like_alerts():
    made = plans.small(1)
    news = [
        send(made, Kind.CLEAR, site="a", level=Level.RED),
        send(made, Kind.ANSWERED, site="b"),
        send(made, Kind.FALL, site="c", level=Level.BLUE),
    ]
    told = wording.digest(made, "grid-1", news)
    assert told.title == "3条预警动态"
    assert "a河道洪水（已解除）；b河道洪水（红色，已应答）；c河道洪水（降为蓝色）" in told.text
    assert told.text.endswith("无需应答。")


def test_of_each_hazard_the_latest_is_told():
    made = plans.small(1)
    rose = [send(made, level=Level.ORANGE), send(made, Kind.RISE, round=2)]
    assert wording.newest(rose) == rose[1:]
    assert wording.newest([*rose, send(made, Kind.CLEAR)]) == [send(made, Kind.CLEAR)]
    (fallen,) = wording.newest([*rose, send(made, Kind.FALL, level=Level.BLUE)])
    assert (fallen.kind, fallen.level) == (Kind.RISE, Level.BLUE)


def test_a_value_of_a_site_may_differ_by_language():
    written = plans.tables(1)
    written["site"]["north"]["values"] = {"way": {"zh": "石桥路", "en": "Mill Road"}, "n": "7"}
    written["instruction"][0] |= {"zh": "走{way}{n}", "en": "take {way} {n}"}
    assert "走石桥路7" in wording.write(plans.made(written), send(None), EIGHT, {}).text
    made = plans.made(written | {"language": "en"})
    assert "take Mill Road 7" in wording.write(made, send(made), EIGHT, {}).text
    assert plan.parse(made.model_dump_json()).site["north"].values["n"].zh == "7"


def test_who_answered_is_told_to_those_who_were_called():
    made = plans.small(1)
    told = wording.write(made, send(made, Kind.ANSWERED), EIGHT, {"who": "李伟"})
    assert told.text == "李伟已于08:00应答，呼叫停止。您无需再应答。"
    over = wording.write(made, send(made, Kind.CLEAR), EIGHT, {})
    assert over.text == "North河道洪水预警已于08:00解除。无需应答。"


def test_every_tier_has_a_name_in_both_languages():
    made = plans.small(5)
    for tier in Tier:
        told = wording.write(made, send(made, area=tier.value), EIGHT, {})
        assert told.title
