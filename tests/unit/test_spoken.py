"""What a phone says: words, numbers and pauses, and nothing that a synthesis would spell out."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import compose
from cloud.alerts.actions import CALLS, Kind, Send
from cloud.alerts.compose import Below, Fact, Reported, Told
from cloud.alerts.escalation import Outcome
from cloud.alerts.figures import FIGURES, LANGUAGES, against
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plantables import Tier
from cloud.alerts.trend import Trend
from cloud.channels import Language, Measurement, Message, spoken, voice
from tests.dispatching import BEGIN_MS, PLAN
from tests.examples import examples
from wire.messages import Level
from wire.reading import Quantity

CONFIG = voice.Config(
    kind="voice",
    url="https://voice.example/call",
    body={"tts": "{speech}"},
    success_path="status",
    success_value="queued",
    max_chars=2000,
)


GOLDEN = Path(__file__).parents[1] / "golden"


def said(text, language="zh"):
    return "".join(spoken.sentences(text, language))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("红色预警（村社区未应答）：大坪下穿道积水", "红色预警，村社区未应答，大坪下穿道积水。"),
        (
            "积水约35厘米（红色标准30厘米），仍在上涨（19:46）。",
            "积水约35厘米，红色标准30厘米，仍在上涨，19点46分。",
        ),
        ("请在19:51前应答。", "请在19点51分前应答。"),
        ("滑坡险情：04:59：丁睿报告", "滑坡险情，4点59分，丁睿报告。"),
        ("险情已于08:00解除。", "险情已于8点整解除。"),
        ("（11月30日03:05最后一次读数）", "11月30日3点05分最后一次读数。"),
        ("2026-11-30 19:46:07 +08:00更新", "2026年11月30日 19点46分07秒更新。"),
        ("裂缝位移速率3毫米/天", "裂缝位移速率每天3毫米。"),
        ("雨强40毫米每小时", "雨强每小时40毫米。"),
        ("流量 250 m³/s，涨幅 0.5 m/h", "流量每秒250立方米，涨幅每小时0.5米。"),
        ("低于警戒 -0.20 m，湿度85%，35℃", "低于警戒负0.20米，湿度百分之85，35摄氏度。"),
        ("3-5 h后，水深30~40厘米", "3至5小时后，水深30至40厘米。"),
        ("拨打110或119求助", "拨打1 1 0或1 1 9求助。"),
        ("致电023-6300 0000", "致电0 2 3 6 3 0 0 0 0 0 0。"),
        ("如“已封路”“已转移20人”；否则停", "如已封路、已转移20人。否则停。"),
        ("3#泵停机 🌊…请查看", "3号泵停机。请查看。"),
        ("水深≥30厘米，<50%", "水深不低于30厘米，低于百分之50。"),
        ("回复见https://flood.example/a/9f?x=1。请封路", "回复见。请封路。"),
        ("【知会】ruler-1 离线", "知会，ruler 1 离线。"),
        ("请按 4 7 1 1 或按#键", "请按 4 7 1 1 或按井号键。"),
        ("！！！", ""),
        ("一行\n二行。\n\n", "一行。二行。"),
    ],
)
def test_chinese_is_said_in_words(written, expected):
    assert said(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "35 cm of water (red limit 30 cm), still rising (19:46).",
            "35 centimetres of water, red limit 30 centimetres, still rising, at 19 46.",
        ),
        ("please answer by 19:51.", "Please answer by 19 51."),
        ("ended at 08:00", "Ended at 8 o'clock."),
        ("from 00:00 to 20:00", "From midnight to 20 hundred hours."),
        ("result:04:59:He Lan", "Result, 4 59, He Lan."),
        ("ratio 1:250, 10:20:30:40", "Ratio 1, 250, 10, 20, 30, 40."),
        ("(last reading at 03:20 on 2026-11-30)", "Last reading at 3 20 on 30 November 2026."),
        (
            "rain at 40 mm/h, crack 1 mm/d",
            "Rain at 40 millimetres an hour, crack 1 millimetre a day.",
        ),
        ("trend of the next 24 h", "Trend of the next 24 hours."),
        ("-0.5 m, 85%, 3-5 min", "Minus 0.5 metres, 85 percent, 3 to 5 minutes."),
        ("call 110 or 119.", "Call 1 1 0 or 1 1 9."),
        ("phone 023-6300 0000", "Phone 0 2 3 6 3 0 0 0 0 0 0."),
        ("1,000 readings; don't go", "1000 readings.Don't go."),
        ("daping-underpass: pump #3 & lamp", "Daping underpass, pump number 3 and lamp."),
        ("see https://flood.example/a/9f?x=1.", "See."),
        ("Is it closed?! (yes)", "Is it closed?Yes."),
    ],
)
def test_english_is_said_in_words(written, expected):
    assert said(written, "en") == expected


def assert_can_be_said(text, language):
    for one in text:
        kind = unicodedata.category(one)[0]
        assert kind in "LM" or one.isdecimal() or one in spoken.ALLOWED[language], (one, text)
    assert "  " not in text


@examples(60)
@given(st.text(max_size=80), st.text(max_size=200), st.sampled_from(LANGUAGES), st.booleans())
def test_whatever_is_written_can_be_said(title, text, language, exercise):
    told = Message(
        key="k", title=title, text=text, kind="raise", at_ms=0, language=language,
        answer_code="4711", exercise=exercise,
    )  # fmt: skip
    spoken_text = voice.speech(told, CONFIG)
    assert_can_be_said(spoken_text, language)
    assert "4 7 1 1" in spoken_text


MEASURED = {
    Hazard.UNDERPASS: Quantity.DEPTH,
    Hazard.RIVER: Quantity.LEVEL,
    Hazard.RAINSTORM: Quantity.RAIN_RATE,
    Hazard.LANDSLIDE: Quantity.DISPLACEMENT,
}
SITES = {
    Hazard.UNDERPASS: "daping-underpass",
    Hazard.RIVER: "jialing-huangshaxi",
    Hazard.RAINSTORM: "jialing-huangshaxi",
    Hazard.LANDSLIDE: "daping-slope",
    Hazard.EQUIPMENT: "daping-slope",
}


@st.composite
def facts(draw):
    """Everything that can be told of an alert, as the rules write it."""
    hazard, level = draw(st.sampled_from(list(Hazard))), draw(st.sampled_from(list(Level)))
    kind = draw(st.sampled_from(list(Kind)))
    contact = draw(st.sampled_from(list(PLAN.contact)))
    send = Send(
        "a", draw(st.sampled_from([SITES[hazard], "unknown-site_7"])), hazard, level,
        draw(st.sampled_from(list(Stage))), 1, kind, PLAN.contact[contact].area, contact, 0,
        BEGIN_MS, (), BEGIN_MS + draw(st.integers(0, 86_400_000)), draw(st.booleans()),
    )  # fmt: skip
    value = draw(st.floats(-2, 200, allow_nan=False))
    quantity = MEASURED.get(hazard)
    measured = figure = None
    cause: dict[Language, str] = {
        "zh": "网关“gw-1”离线61秒",
        "en": 'gateway "gw-1" is silent for 61 s',
    }
    if quantity is not None:
        figure = FIGURES[quantity]
        measured = Measurement("ruler-1", str(quantity), value, "m", BEGIN_MS)
        cause = {
            tongue: figure.now(value, tongue) + against(level, figure.limit(0.3, tongue), tongue)
            for tongue in LANGUAGES
        }
    before = Told(draw(st.sampled_from(list(Level))), measured)
    at_ms = BEGIN_MS + draw(st.integers(-(10**9), 10**9))
    report = Reported(
        contact, draw(st.sampled_from(list(Outcome))), draw(st.integers(0, 999)), at_ms
    )
    return Fact(
        send,
        cause=cause,
        since_ms=at_ms,
        measured=measured,
        trend=draw(st.sampled_from([None, *Trend])),
        figures={} if figure is None else {figure.placeholder: figure.shown(value, "zh")},
        told=draw(st.sampled_from([None, before])),
        deadline_ms=send.answer_by_ms,
        below=draw(st.sampled_from([None, Below(Tier.VILLAGE)])),
        answered=draw(st.sampled_from([None, (contact, at_ms), ("Li “Wei”", at_ms)])),
        reported=draw(st.sampled_from([None, report])),
    )


@examples(60)
@given(st.lists(facts(), min_size=1, max_size=8))
def test_every_message_can_be_said(found):
    contact = found[0].send.contact
    language = PLAN.contact[contact].language or PLAN.language
    words = (
        compose.whole(PLAN, found[0], BEGIN_MS, "https://flood.example/a/x")
        if len(found) == 1
        else compose.digest(PLAN, found, BEGIN_MS, "https://flood.example/a/x")
    )
    told = Message(
        key="k", title=words.title, text=words.text, kind="raise", at_ms=0, language=language,
        link="https://flood.example/a/x",
    )  # fmt: skip
    text = voice.speech(told, CONFIG)
    assert_can_be_said(text, language)
    assert "flood.example" not in text
    assert text.endswith(("。", ".", "？", "?", "！", "!"))
    if len(found) == 1 and found[0].send.kind in CALLS and language == "zh":
        assert "cm" not in text


def test_the_order_is_said_though_it_is_too_long():
    short = CONFIG.model_copy(update={"max_chars": 40})
    order = "请何岚立即封闭大坪下穿道两端，" + "引导车辆绕行石桥北路，" * 9 + "确认道内无人。"
    told = Message(
        key="k", title="红色预警：积水", text=f"{order}\n积水约35厘米。", kind="raise", at_ms=0
    )
    assert (
        voice.speech(told, short)
        == "红色预警，积水。请何岚立即封闭大坪下穿道两端，引导车辆绕行石桥北路。"
    )


def test_a_test_and_an_exercise_say_so_first():
    told = Message(key="k", title="渠道测试", text="这条消息不是预警。", kind="test", at_ms=0)
    assert voice.speech(told, CONFIG) == "这是测试。渠道测试。这条消息不是预警。"
    told = Message(
        key="k", title="Red", text="Water.", kind="raise", at_ms=0, exercise=True, language="en"
    )
    assert voice.speech(told, CONFIG) == "This is an exercise. Red. Water."


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_of_the_collection_can_be_said(language):
    """What rules, plans and answers say, one message a line."""
    lines = (GOLDEN / f"words-{language}.txt").read_text("utf-8").splitlines()
    for line in lines:
        text = said(line, language)
        assert_can_be_said(text.replace("  ", " "), language)
        assert not re.search(r"\d[:：]\d", text), line
        assert not re.search(r"\d ?(cm|mm|m|h|min)\b", text), line
    assert len(lines) > 100
