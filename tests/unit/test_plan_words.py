"""What people read of a plan: calls, digests, and values in their language."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cloud.alerts import compose, plan, wording
from cloud.alerts.actions import Kind, Send, Way
from cloud.alerts.compose import Below, Fact, Reported, Told
from cloud.alerts.escalation import Outcome
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plantables import Tier
from cloud.alerts.trend import Trend
from cloud.channels import Language, Measurement
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


WATER: dict[Language, str] = {"zh": "水位7.20米", "en": "water level 7.20 m"}
READ = Measurement("gauge-1", "level", 7.2, "m", EIGHT - 30_000)


def fact(made, kind=Kind.RAISE, **changes) -> Fact:
    """A river that stands at 7.20 m since half a minute."""
    of_fact: dict[str, Any] = {
        name: changes.pop(name) for name in (*changes,) if name in Fact._fields
    }
    given: dict[str, Any] = {
        "cause": WATER,
        "since_ms": READ.at_ms,
        "measured": READ,
        "figures": {"stage_m": "7.20"},
        "deadline_ms": EIGHT + 300_000,
    }
    return Fact(send(made, kind, **changes), **(given | of_fact))


def whole(made, one, now_ms=EIGHT, link=""):
    return compose.whole(made, one, now_ms, link)


def test_a_call_begins_with_the_order_and_ends_with_the_deadline():
    written = plans.tables(1)
    written["instruction"][0] |= {"zh": "请转移到{shelter}。", "en": "Move to {shelter}."}
    written["site"]["north"]["values"] = {"shelter": {"zh": "小学", "en": "the school"}}
    made = plans.made(written)
    chinese = whole(made, fact(made, trend=Trend.RISING), link="https://f.example/a/1")
    assert chinese.title == "红色预警：North洪水"
    assert chinese.text.splitlines() == [
        "请转移到小学。",
        "07:59水位7.20米，仍在上涨。",
        "请在08:05前应答。",
        "https://f.example/a/1",
    ]
    written["contact"]["grid-1"]["language"] = "en"
    made = plans.made(written)
    english = whole(made, fact(made, trend=Trend.FALLING))
    assert english.title == "Red alert: river flood at North"
    assert english.text.splitlines() == [
        "Move to the school.",
        "At 07:59, water level 7.20 m, falling.",
        "Please answer by 08:05.",
    ]


@pytest.mark.parametrize("seconds", [-3600, 0, 20, 45])
def test_a_deadline_that_passes_while_it_is_read_says_at_once(seconds):
    made = plans.small(1)
    told = whole(made, fact(made, deadline_ms=EIGHT + seconds * 1000))
    assert "请立即应答。" in told.text


def test_a_call_that_is_repeated_says_what_has_changed():
    made = plans.small(1)
    before = Told(Level.ORANGE, _value(6.8))
    told = whole(made, fact(made, Kind.AGAIN, told=before))
    assert "由橙色转为红色，比上次通知高0.40米" in told.text
    same = Told(Level.RED, _value(7.2))
    assert "比上次" not in whole(made, fact(made, Kind.AGAIN, told=same)).text


def _value(metres: float) -> Measurement:
    return Measurement("gauge-1", "level", metres, "m", EIGHT - 300_000)


def test_an_old_value_is_said_to_be_the_last_one():
    made = plans.small(1)
    old = fact(made, since_ms=EIGHT - 3_600_000)
    assert "07:00最后测得水位7.20米，此后无读数。" in whole(made, old).text
    yesterday = fact(made, since_ms=EIGHT - 86_400_000)
    assert "昨日08:00最后测得水位7.20米" in whole(made, yesterday).text


@pytest.mark.parametrize(("language", "said"), [("zh", "North：未知"), ("en", "North: unknown")])
def test_a_value_that_nobody_knows_is_said_to_be_unknown(language, said):
    made = plans.small(1, language=language)
    assert said in whole(made, fact(made, figures={})).text


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_message_has_a_brace_left(kind, language):
    made = plans.small(1, language=language)
    told = whole(made, fact(made, kind))
    assert "{" not in told.title + told.text
    assert told.title
    assert told.text


def test_a_placeholder_reaches_nothing_but_its_value():
    assert wording.fill("{a} {a.__class__} {0}", {"a": "x"}) == "x {a.__class__} {0}"


def test_a_digest_has_some_calls_whole_names_all_reds_and_counts_the_rest():
    made = plans.small(1)
    many = [
        fact(made, site=f"s{number}", level=Level.RED if number < 7 else Level.BLUE)
        for number in range(12)
    ]
    told = compose.digest(made, many, EIGHT, "https://f.example/a/1")
    assert told.title == "12处预警待应答，其中红色7处"
    lines = told.text.splitlines()
    assert lines[0] == "红色，s0洪水：s0：7.20。07:59水位7.20米。"
    assert lines[6] == "红色，s6洪水：s6：7.20。07:59水位7.20米。"
    assert lines[7:] == ["另有5处：Grid蓝色5处。", "请立即应答。", "https://f.example/a/1"]
    english = compose.digest(plans.small(1, language="en"), many, EIGHT)
    assert english.title == "12 alerts to answer, 7 of them red"
    assert "5 more: 5 blue in Grid." in english.text
    crowd = [fact(made, site=f"s{number}") for number in range(22)]
    told = compose.digest(made, crowd, EIGHT)
    assert told.text.count("07:59水位7.20米") == 20
    assert told.text.splitlines()[20] == "另有红色：s20洪水、s21洪水。"
    assert {one.send.site for one in compose.named(crowd)} == {f"s{n}" for n in range(22)}
    assert {one.send.site for one in compose.named(many)} == {f"s{n}" for n in range(7)}


def test_ends_are_carried_beside_calls():
    made = plans.small(1)
    over = fact(made, Kind.CLEAR, site="a", since_ms=EIGHT - 600_000)
    told = compose.digest(made, [fact(made, site="b"), over], EIGHT)
    assert told.title == "红色预警：b洪水"
    assert "已解除：07:50a洪水。" in told.text
    news = [
        over,
        fact(made, Kind.ANSWERED, site="b", answered=("grid-1", EIGHT)),
        fact(made, Kind.FALL, site="c", level=Level.BLUE),
        fact(made, Kind.RESULT, site="d", reported=Reported("Li", Outcome.EVACUATED, 23, EIGHT)),
    ]
    told = compose.digest(made, news, EIGHT)
    assert told.title == "4处预警有变化"
    assert told.text.splitlines() == [
        "已解除：07:50a洪水。",
        "b洪水：grid one已于08:00应答，呼叫停止。",
        "c洪水：蓝色。07:59水位7.20米。",
        "d洪水：08:00Li报告：已转移23人。",
        "无需应答。",
    ]


def test_a_value_of_a_site_may_differ_by_language():
    written = plans.tables(1)
    written["site"]["north"]["values"] = {"way": {"zh": "石桥路", "en": "Mill Road"}, "n": "7"}
    written["instruction"][0] |= {"zh": "走{way}{n}", "en": "take {way} {n}"}
    made = plans.made(written)
    assert "走石桥路7" in whole(made, fact(made)).text
    made = plans.made(written | {"language": "en"})
    assert "Take Mill Road 7" in whole(made, fact(made)).text
    assert plan.parse(made.model_dump_json()).site["north"].values["n"].zh == "7"


def test_who_answered_is_told_to_those_who_were_called():
    made = plans.small(1)
    told = whole(made, fact(made, Kind.ANSWERED, answered=("李伟", EIGHT)))
    assert told.text == "李伟已于08:00应答，呼叫停止。\n无需应答。"
    over = whole(made, fact(made, Kind.CLEAR, since_ms=EIGHT))
    assert over.text == "North洪水险情已于08:00解除。\n无需应答。"


def test_whoever_answered_is_asked_for_the_result():
    made = plans.small(1)
    told = whole(made, fact(made, Kind.FOLLOW_UP, answered=("grid-1", EIGHT - 600_000)))
    assert told.title == "请报告处置结果：North洪水"
    assert "您已于07:50应答。" in told.text
    assert "“已转移20人”" in told.text


def test_a_tier_above_hears_which_tier_has_not_answered():
    made = plans.small(2)
    climb = fact(made, Kind.CLIMB, area="village", contact="village-1", below=Below(Tier.GRID))
    assert whole(made, climb).title == "红色预警：North洪水，网格未应答"
    made = plans.small(2, language="en")
    assert whole(made, climb).title == "Red alert: river flood at North, the grid has not answered"


def test_every_tier_has_a_name_in_both_languages():
    made = plans.small(5)
    for tier in Tier:
        assert whole(made, fact(made, area=tier.value)).title
