"""Every message that the system can say, as text files that people read: `words-zh.txt` and
`words-en.txt` in `tests/golden`. `python -m tests.everyword` writes them anew after a change of the
wording."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from cloud.alerts import (
    causes,
    compose,
    devices,
    exercises,
    facts,
    publicwords,
    replywording,
    wording,
)
from cloud.alerts.actions import Kind, Send, Way
from cloud.alerts.alarm import Cover
from cloud.alerts.alarm import Status as Held
from cloud.alerts.compose import Below, Fact, Reported, Told
from cloud.alerts.escalation import Outcome
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.phrases import Silence
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.replywording import About, Came
from cloud.alerts.rule import SERVICE, Finding
from cloud.alerts.trend import Trend
from cloud.alerts.wording import News, Wording
from cloud.channels import Language, Measurement, Message, voice
from cloud.web.pagewords import WORDS
from tests.dispatching import PLAN
from tests.everyfinding import LEVELS, NOW, found_by_hazard, found_of_equipment, water
from tests.rules import DAY, HOUR, MINUTE, rule
from wire.messages import Level

FILES: Final = Path(__file__).parent / "golden"
SITES: Final = {
    Hazard.UNDERPASS: "daping-underpass",
    Hazard.RIVER: "jialing-huangshaxi",
    Hazard.RAINSTORM: "jialing-huangshaxi",
    Hazard.LANDSLIDE: "daping-slope",
    Hazard.EQUIPMENT: "daping-underpass",
}
PLACES: Final = {  # who is called first: area, contact
    "daping-underpass": ("daping-shiqiao-3", "zhou-qing"),
    "jialing-huangshaxi": ("hekou-shangwan", "ding-rui"),
    "daping-slope": ("hekou-shangwan", "ding-rui"),
    SERVICE: ("yunting", "city-duty"),
}


class Shown(NamedTuple):
    """A message, and by which name it stands in the file."""

    section: str
    name: str
    said: Wording


def plan(tongue: Language) -> Plan:
    """The example city, all of whose people read one language."""
    contacts = {
        name: one.model_copy(update={"language": None}) for name, one in PLAN.contact.items()
    }
    horn = PLAN.contact["zhou-qing"].model_copy(update={"public": True})
    return PLAN.model_copy(update={"language": tongue, "contact": contacts | {"horn": horn}})


def send(kind: Kind, hazard: Hazard, level: Level, **changes: Any) -> Send:
    site = changes.pop("site", SITES[hazard])
    area, contact = PLACES[site]
    given = {
        "alert": f"{site}.{hazard}.1",
        "site": site,
        "hazard": hazard,
        "level": level,
        "stage": Stage.NOW,
        "round": 1,
        "kind": kind,
        "area": area,
        "contact": contact,
        "number": 0,
        "at_ms": NOW,
        "ways": (Way("sms", 0),),
    }
    return Send(**(given | changes))


def fact(kind: Kind, hazard: Hazard, level: Level, tongue: Language, **changes: Any) -> Fact:
    """What `facts.stand` makes of a rule's finding; `found` is that finding."""
    of_fact = {name: changes.pop(name) for name in [*changes] if name in Fact._fields}
    found: Finding | None = changes.pop("found", None)
    given: dict[str, Any] = {"deadline_ms": NOW + 5 * MINUTE}
    if found is not None:
        known = causes.now("rule::gw-1:ruler-1", found)
        lasts = known.since_ms is not None
        measured = None if lasts else known.measured
        at_ms = known.since_ms if measured is None else measured.at_ms
        figures = {"lamp": "红色" if tongue == "zh" else "red", **known.figures}
        if hazard is Hazard.EQUIPMENT:
            figures["device"] = devices.name(figures.get("device", ""), tongue)
        given |= {"cause": known.cause, "since_ms": at_ms, "lasts": lasts}
        given |= {"measured": measured, "figures": figures}
    return Fact(send(kind, hazard, level, **changes), **(given | of_fact))


# What rules find

DEPTH: Final = rule("threshold", quantity="depth", **LEVELS)


_TESTED: Final[dict[Language, str]] = {"zh": "水泵检修", "en": "a test of the pump"}
TRENDS: Final = (Trend.RISING, Trend.STEADY, Trend.FALLING)


def every(tongue: Language) -> Iterator[Shown]:
    """Every message, in the order of the file."""
    yield from _calls(tongue)
    yield from _situations(tongue)
    yield from _found(tongue)
    yield from _digests(tongue)
    yield from _to_everybody(tongue)
    yield from _spoken(tongue)
    yield from _answers(tongue)
    for key, words in WORDS[tongue].items():
        said = wording.fill(words, {"count": "3", "reds": "2"})
        yield Shown("answer page", key, Wording(said, ""))


def _calls(tongue: Language) -> Iterator[Shown]:
    made = plan(tongue)
    common: dict[str, Any] = {"found": water(0.352), "trend": Trend.RISING}
    answered = {"answered": ("zhou-qing", NOW - 9 * MINUTE)}
    for kind in Kind:
        if kind in (Kind.CLIMB, Kind.PUBLIC):
            continue
        given = dict(common)
        if kind in (Kind.FOLLOW_UP, Kind.ANSWERED, Kind.RESULT):
            given |= answered
        if kind is Kind.RESULT:
            given["reported"] = Reported("zhou-qing", Outcome.CLOSED, None, NOW - MINUTE)
        if kind is Kind.CLEAR:
            given = {"since_ms": NOW}
        if kind is Kind.HELD:
            given["held"] = [
                Cover(Held.SHELVED, "1", "zhou-qing", _TESTED[tongue], NOW + HOUR, Level.RED)
            ]
        level = Level.RED
        if kind in (Kind.FALL, Kind.HAND_BACK):
            level = Level.ORANGE
            given = {"found": water(0.18), "trend": Trend.FALLING, **answered}
        one = fact(kind, Hazard.UNDERPASS, level, tongue, **given)
        yield Shown("each kind", kind, compose.whole(made, one, NOW, "https://flood.example/a/1"))
    for tier in (Tier.GRID, Tier.VILLAGE, Tier.TOWNSHIP, Tier.DISTRICT):
        for why in Silence:
            one = fact(Kind.CLIMB, Hazard.UNDERPASS, Level.RED, tongue, **common,
                       below=Below(tier, why), area="daping", contact="tan-bo")  # fmt: skip
            said = compose.whole(made, one, NOW)
            if (tier, why) != (Tier.GRID, Silence.NO_ANSWER):
                said = said._replace(text="")
            yield Shown("climb", f"{tier}: {why}", said)
    for outcome in Outcome:
        for people in (1, 23) if outcome is Outcome.EVACUATED else (None,):
            told = Reported("何岚" if tongue == "zh" else "He Lan", outcome, people, NOW - MINUTE)
            one = fact(Kind.RESULT, Hazard.RIVER, Level.RED, tongue, **answered, reported=told)
            yield Shown(
                "result", f"{outcome} {people or ''}".strip(), compose.whole(made, one, NOW)
            )
    for hazard in Hazard:
        over = fact(Kind.CLEAR, hazard, Level.RED, tongue, since_ms=NOW)
        yield Shown("over", hazard, compose.whole(made, over, NOW))
        asked = fact(Kind.FOLLOW_UP, hazard, Level.RED, tongue, answered=("zhou-qing", NOW))
        yield Shown("report", hazard, compose.whole(made, asked, NOW))
    copied = fact(Kind.COPY, Hazard.UNDERPASS, Level.RED, tongue, **common, **answered)
    yield Shown("for information", "answered below", compose.whole(made, copied, NOW))
    free = fact(Kind.RAISE, Hazard.UNDERPASS, Level.RED, tongue, **common, off_duty=True)
    yield Shown("call", "nobody on duty", compose.whole(made, free, NOW))
    by_hand = {
        "zh": "李伟报告：村民来电，水没过轮胎",
        "en": "Li Wei reported: water over the tyres",
    }
    one = fact(Kind.RAISE, Hazard.UNDERPASS, Level.RED, tongue, cause=by_hand, since_ms=NOW)
    yield Shown("call", "by hand", compose.whole(made, one, NOW))
    yield Shown("call", "seen by somebody", compose.standing(made, copied, NOW))
    practice = fact(Kind.RAISE, Hazard.UNDERPASS, Level.RED, tongue, exercise=True,
                    cause=exercises.CAUSE)  # fmt: skip
    said = compose.whole(made, practice, NOW)
    message = Message(key="k", title=said.title, text=said.text, kind="raise", at_ms=NOW,
                      exercise=True, language=tongue)  # fmt: skip
    yield Shown("call", "exercise", Wording(message.title, message.text))


def _situations(tongue: Language) -> Iterator[Shown]:
    made = plan(tongue)

    def call(name: str, now_ms: int = NOW, **given: Any) -> Shown:
        kind = given.pop("kind", Kind.AGAIN)
        one = fact(kind, Hazard.UNDERPASS, Level.RED, tongue, **given)
        return Shown("how it stands", name, compose.whole(made, one, now_ms))

    yield call("no value")
    for trend in TRENDS:
        yield call(f"{trend}", found=water(0.352), trend=trend)
    before = Measurement("ruler-1", "depth", 0.21, "m", NOW - 4 * MINUTE)
    yield call("risen since", found=water(0.352), told=Told(Level.ORANGE, before))
    before = Measurement("ruler-1", "depth", 0.44, "m", NOW - 4 * MINUTE)
    yield call("fallen since", found=water(0.352), told=Told(Level.RED, before))
    yield call("deadline passed", found=water(0.352), deadline_ms=NOW - HOUR)
    yield call("old value", found=water(0.352, NOW - HOUR), trend=Trend.RISING)
    yield call("value of yesterday", found=water(0.352, NOW - 8 * HOUR))
    yield call("value of last week", found=water(0.352, NOW - 7 * DAY))
    yield call("deadline after midnight", NOW - 5 * HOUR - 2 * MINUTE,
               found=water(0.352, NOW - 5 * HOUR - 3 * MINUTE),
               deadline_ms=NOW - 5 * HOUR + 3 * MINUTE)  # fmt: skip
    yield call("deadline tomorrow", found=water(0.352), deadline_ms=NOW + 20 * HOUR)
    for stage in Stage:
        yield call(f"stage {stage}", kind=Kind.RAISE, found=water(0.352), stage=stage)
        yield call(f"stage {stage}, no value", kind=Kind.RAISE, stage=stage)


def _found(tongue: Language) -> Iterator[Shown]:
    made = plan(tongue)
    for name, hazard, found in found_by_hazard():
        assert found.level is not None
        for trend in TRENDS if found.level is Level.RED else (None,):
            one = fact(Kind.RAISE, hazard, found.level, tongue, found=found, trend=trend)
            shown = f"{name}, {found.level.name.lower()}{f', {trend}' if trend else ''}"
            yield Shown("what is measured", shown, compose.whole(made, one, NOW))
    for name, found in found_of_equipment():
        assert found.level is not None
        site = SERVICE if name.startswith("service") else "daping-underpass"
        one = fact(Kind.RAISE, Hazard.EQUIPMENT, found.level, tongue, found=found, site=site)
        yield Shown("equipment", name, compose.whole(made, one, NOW))


def _digests(tongue: Language) -> Iterator[Shown]:
    made = plan(tongue)
    red = fact(Kind.RAISE, Hazard.UNDERPASS, Level.RED, tongue, found=water(0.352))
    orange = fact(Kind.AGAIN, Hazard.UNDERPASS, Level.ORANGE, tongue, found=water(0.18), alert="b")
    river = fact(Kind.RAISE, Hazard.RIVER, Level.RED, tongue, contact="zhou-qing")
    over = fact(Kind.CLEAR, Hazard.RIVER, Level.RED, tongue, since_ms=NOW - MINUTE, alert="c")
    early = over._replace(since_ms=NOW - 6 * HOUR)
    fallen = fact(Kind.FALL, Hazard.LANDSLIDE, Level.YELLOW, tongue,
                  answered=("ding-rui", NOW - HOUR), deadline_ms=None)  # fmt: skip
    told = Reported("ding-rui", Outcome.EVACUATED, 23, NOW - MINUTE)
    done = fact(Kind.RESULT, Hazard.LANDSLIDE, Level.RED, tongue, reported=told)
    crowd = [
        fact(Kind.RAISE, Hazard.UNDERPASS, level, tongue, found=water(0.352), alert=f"x{n}")
        for n, level in enumerate([Level.RED] * 23 + [Level.ORANGE] * 3 + [Level.BLUE] * 2)
    ]
    for name, some in {
        "one call and news": [red, over],
        "two reds": [red, river],
        "calls and news": [red, orange, over, early, fallen],
        "news alone": [over, fallen, done],
        "one piece of news": [over],
        "a flood": crowd,
    }.items():
        yield Shown("digest", name, compose.digest(made, some, NOW, "https://flood.example/a/1"))


def _to_everybody(tongue: Language) -> Iterator[Shown]:
    made = plan(tongue)
    for hazard in Hazard:
        if hazard is Hazard.EQUIPMENT:
            continue
        for level in Level:
            one = send(Kind.PUBLIC, hazard, level, contact="horn")
            spoken = Fact(one, public=facts.public(made, one))
            yield Shown("loudspeaker", f"{hazard}, {level.name.lower()}",
                        compose.whole(made, spoken, NOW))  # fmt: skip
        one = send(Kind.CLEAR, hazard, Level.RED, contact="horn")
        ended = Fact(one, since_ms=NOW, public=facts.public(made, one))
        yield Shown("loudspeaker", f"{hazard}, over", compose.whole(made, ended, NOW))
        for stage in Stage:
            advice = publicwords.advice(hazard, Level.RED, stage)
            words = {name: one[tongue] for name, one in publicwords.UNNAMED.items()}
            yield Shown("public advice", f"{hazard}, red, {stage}",
                        Wording(wording.fill(advice.of(tongue), words), ""))  # fmt: skip
    found = water(0.352)
    known = causes.now("rule::gw-1:ruler-1", found)
    dated = {tongue: wording.dated(made, known, NOW, tongue)}
    for kind in (Kind.RAISE, Kind.RISE, Kind.FALL, Kind.CLEAR):
        for stage in (Stage.NOW, Stage.IMMINENT):
            cause = {} if kind is Kind.CLEAR else dated
            news = News(
                kind, SITES[Hazard.UNDERPASS], Hazard.UNDERPASS, Level.RED, stage, NOW, cause
            )
            yield Shown("CAP", f"{kind}, {stage}", wording.public(made, news, tongue))


def _spoken(tongue: Language) -> Iterator[Shown]:
    made = plan(tongue)
    config = voice.Config(kind="voice", url="https://voice.example/call", body={"say": "{speech}"},
                          success_path="status", success_value="queued")  # fmt: skip
    red = fact(Kind.RAISE, Hazard.UNDERPASS, Level.RED, tongue, found=water(0.352))
    over = fact(Kind.CLEAR, Hazard.UNDERPASS, Level.RED, tongue, since_ms=NOW)
    for name, one in {"call": red, "over": over}.items():
        said = compose.whole(made, one, NOW)
        code = "4711" if one.is_call else None
        message = Message(key="k", title=said.title, text=said.text, kind=str(one.send.kind),
                          at_ms=NOW, language=tongue, answer_code=code)  # fmt: skip
        yield Shown("spoken", name, Wording(voice.speech(message, config), message.reply))


def _answers(tongue: Language) -> Iterator[Shown]:
    title = replywording.title(
        "大坪下穿道" if tongue == "zh" else "Daping underpass", "red", tongue
    )
    about = About(
        (title,), (("4711", title),), "道路已封闭" if tongue == "zh" else "the road is closed",
        "何岚" if tongue == "zh" else "He Lan",
    )  # fmt: skip
    for came in Came:
        words = replywording.write(came, about, tongue)
        yield Shown("answer to a reply", came, Wording(*words))


def text(tongue: Language) -> str:
    """The file of a language."""
    lines: list[str] = []
    section = ""
    for one in every(tongue):
        if one.section != section:
            section = one.section
            lines += ["", f"== {section} =="]
        lines += [f"[{one.name}] {one.said.title}"]
        lines += [f"    {line}" for line in one.said.text.splitlines()]
    return "\n".join(lines).lstrip() + "\n"


def file(tongue: Language) -> Path:
    return FILES / f"words-{tongue}.txt"


if __name__ == "__main__":
    for one in ("zh", "en"):
        file(one).write_text(text(one), encoding="utf-8")
