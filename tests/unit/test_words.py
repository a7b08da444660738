"""The words that people are told: all of them, as they stand in files; and what no message has,
whatever it says."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import causes, compose, replies, wording
from cloud.alerts.actions import Kind
from cloud.alerts.compose import Below, Fact, Reported, Told
from cloud.alerts.escalation import Outcome
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.phrases import DONE, Silence
from cloud.alerts.plantables import Tier
from cloud.alerts.rule import Finding
from cloud.alerts.trend import Trend
from cloud.alerts.wording import Wording
from cloud.channels import Language, Measurement
from tests import everyfinding, everyword
from tests.everyfinding import NOW
from tests.everyword import SITES
from tests.examples import examples
from tests.rules import DAY, MINUTE
from wire.messages import Level

TONGUES: list[Language] = ["zh", "en"]
PLANS = {tongue: everyword.plan(tongue) for tongue in TONGUES}
FOUND = [*everyfinding.found_by_hazard()] + [
    (name, Hazard.EQUIPMENT, found) for name, found in everyfinding.found_of_equipment()
]

NEVER = {
    "two brackets in a row": re.compile(r"[)）]\s*[(（]|[(（]\s*[)）]"),
    "a value of a program": re.compile(
        r"\b(None|nan|inf|True|False|NaN)\b|[{}]|\bLevel\.|\bHazard\."
    ),
    "a key": re.compile(r"ruler-\d|gw-\d|[a-z]+_[a-z]+|cloud-service|\b[a-z]+-shiqiao\b"),
    "a long number": re.compile(r"\d{5,}|\d{4,}\.\d|\d{3}\.\d{3}|\.\d{3}"),
    "two signs in a row": re.compile(r"[。，；：、]{2}|(?<!\.)\.\.(?!\.)|,,|\s{2}|。\.| [,.]"),
    "an exponent": re.compile(r"\d[eE][+-]?\d"),
}
HAN = re.compile(r"[\u4e00-\u9fff]")
WORD = re.compile(r"[A-Za-z]{3,}")


@pytest.mark.parametrize("tongue", TONGUES)
def test_the_words_are_those_of_the_files(tongue: Language) -> None:
    written = everyword.file(tongue).read_text(encoding="utf-8")
    assert everyword.text(tongue) == written, "read it, then run python -m tests.everyword"


@pytest.mark.parametrize("tongue", TONGUES)
def test_no_message_of_all_reads_like_a_program(tongue: Language) -> None:
    for one in everyword.every(tongue):
        if one.section == "answer page" and one.name in ("colon", "comma", "and"):
            continue
        assert_plain(one.said, tongue)


def assert_plain(said: Wording, tongue: Language) -> None:
    link = re.compile(r"https?://\S+")
    for line in (said.title, *said.text.splitlines()):
        read = link.sub("", line)
        for what, pattern in NEVER.items():
            assert not pattern.search(read), f"{what}: {line}"
        if tongue == "en":
            assert not HAN.search(read), line
            assert read == read.strip()
        else:
            # Names of machines and channels are none of a language.
            assert not WORD.search(re.sub(r"serial-[a-z]|“sms”", "", read)), line
            assert not re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]", read), line
    assert said.title == said.title.strip()


BELOW = st.builds(Below, st.sampled_from(Tier), st.sampled_from(Silence))


@st.composite
def facts(draw: st.DrawFn, tongue: Language) -> Fact:
    """An alert of some kind, as it may stand."""
    _, hazard, found = draw(st.sampled_from(FOUND))
    kind = draw(st.sampled_from([one for one in Kind if one is not Kind.PUBLIC]))
    at_ms = NOW - draw(st.integers(0, 40 * DAY // MINUTE)) * MINUTE
    if found.value is not None and found.unit == "m" and found.quantity == "depth":
        found = everyfinding.water(draw(st.floats(0.16, 9.9)), at_ms)
    changes: dict[str, Any] = {
        "found": found,
        "trend": draw(st.sampled_from([None, *Trend])),
        "stage": draw(st.sampled_from(Stage)),
        "off_duty": draw(st.booleans()),
        "deadline_ms": draw(st.none() | st.integers(NOW - DAY, NOW + 2 * DAY)),
        "below": draw(
            st.none() | st.builds(Below, st.sampled_from(Tier), st.sampled_from(Silence))
        ),
        "answered": draw(st.none() | st.tuples(st.just("zhou-qing"), st.integers(at_ms, NOW))),
        "reported": draw(st.none() | reports(at_ms)),
        "told": draw(st.none() | st.builds(Told, st.sampled_from(Level), values(found))),
        "alert": draw(st.sampled_from("abcdefgh")),
    }
    if kind is Kind.CLEAR:
        changes = {"since_ms": NOW - draw(st.integers(0, DAY)), "alert": changes["alert"]}
    level = draw(st.sampled_from(Level))
    return everyword.fact(kind, hazard, level, tongue, **changes)


def reports(at_ms: int) -> st.SearchStrategy[Reported]:
    people = st.none() | st.integers(1, 9999)
    by = st.just("zhou-qing")
    return st.builds(Reported, by, st.sampled_from(Outcome), people, st.integers(at_ms, NOW))


def values(found: Finding) -> st.SearchStrategy[Measurement | None]:
    known = causes.now("rule::gw-1:ruler-1", found).measured
    if known is None:
        return st.none()
    value = st.floats(0, 2).map(
        lambda times: Measurement(
            "ruler-1", known.quantity, times * known.value, known.unit, NOW - DAY
        )
    )
    return st.none() | value


@pytest.mark.parametrize("tongue", TONGUES)
@examples(60)
@given(data=st.data())
def test_whatever_is_told_is_plain(tongue: Language, data: st.DataObject) -> None:
    found = data.draw(st.lists(facts(tongue), min_size=1, max_size=8))
    made = PLANS[tongue]
    for one in found:
        assert_plain(compose.whole(made, one, NOW), tongue)
        assert_plain(compose.standing(made, one, NOW), tongue)
        assert_no_deadline_has_passed(compose.whole(made, one, NOW).text, one)
    assert_plain(compose.digest(made, found, NOW, "https://flood.example/a/1"), tongue)


def assert_no_deadline_has_passed(text: str, one: Fact) -> None:
    asked = re.search(r"请在(明日)?(\d\d:\d\d)前|(?:by) (\d\d:\d\d)( tomorrow)?[.,]", text)
    if asked is not None and "on " not in text[asked.end() - 1 : asked.end() + 3]:
        assert one.deadline_ms is not None
        assert one.deadline_ms > NOW, text


@given(st.integers(NOW - 800 * DAY, NOW + 3 * DAY), st.integers(0, DAY))
def test_a_moment_that_is_not_of_today_says_its_day(at_ms: int, later_ms: int) -> None:
    made, now_ms = PLANS["zh"], NOW + later_ms
    said = wording.moment(made, at_ms, now_ms, "zh")
    is_today = (at_ms + 8 * 3_600_000) // DAY == (now_ms + 8 * 3_600_000) // DAY
    soon = 0 < at_ms - now_ms < DAY // 2
    assert (len(said) == 5) is (is_today or soon), said


@pytest.mark.parametrize("tongue", TONGUES)
@pytest.mark.parametrize("hazard", Hazard)
def test_what_we_ask_people_to_reply_is_understood(tongue: Language, hazard: Hazard) -> None:
    quoted = re.findall(r"[“\"]([^”\"]+)[”\"]", DONE[tongue][hazard])
    assert quoted
    for reply in quoted:
        assert replies.read(reply, []).says is replies.Says.RESULT, reply
    cannot = {"zh": "无法处置", "en": "cannot act"}[tongue]
    assert replies.read(cannot, []).says is replies.Says.DECLINE
    declined = {"zh": "4711去不了", "en": "4711 no"}[tongue]
    assert replies.read(declined, ["4711"]).says is replies.Says.DECLINE


def test_the_files_show_each_kind_of_message_and_each_site() -> None:
    shown = [(one.section, one.name) for one in everyword.every("en")]
    assert {name for section, name in shown if section == "each kind"} >= {
        str(kind) for kind in Kind if kind not in (Kind.CLIMB, Kind.PUBLIC)
    }
    assert SITES.keys() == {*Hazard}
