"""Every message that the system can say, as text files that people read: `words-zh.txt` and
`words-en.txt` in `tests/golden`. `python -m tests.everyword` writes them anew after a change of the
wording."""

from collections.abc import Iterator
from datetime import UTC, datetime
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
from cloud.alerts.rule import SERVICE, Finding, Heard, Hole, Said, ServiceFault, Tick
from cloud.alerts.rules.service import FAULTS
from cloud.alerts.trend import Trend
from cloud.alerts.wording import News, Wording
from cloud.channels import Language, Measurement, Message, voice
from cloud.web.pagewords import WORDS
from tests.dispatching import PLAN
from tests.rules import DAY, HOUR, MINUTE, reading, rule, rules
from wire.aspect import Aspect
from wire.messages import Event, Gap, GatewayState, InterlockState, Level, Status
from wire.reading import Quantity, Reading

FILES: Final = Path(__file__).parent / "golden"
NOW: Final = int(datetime(2026, 6, 30, 21, 0, tzinfo=UTC).timestamp() * 1000)  # 05:00 in Shanghai
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

LEVELS: Final[dict[str, Any]] = {
    "orange": {"over_cm": 15, "clear_cm": 12},
    "red": {"over_cm": 30, "clear_cm": 27},
}
DEPTH: Final = rule("threshold", quantity="depth", **LEVELS)


def last(kind: str, said: list[tuple[Said, int]], part: str = "", **keys: Any) -> Finding:
    """What a rule finds in the end, and by the newest reading if it is one that measures."""
    (one,) = [one for one in rules(kind, **keys) if part in ("", one.part)]
    state: Any = one.memory()
    found = None
    for what, now_ms in said:
        state, finding = one.step(state, what, now_ms)
        found = finding or found
    assert found is not None, kind
    newest = said[-1][0]
    return (isinstance(newest, Reading) and one.now(state, newest)) or found


def water(metres: float, at_ms: int = NOW - MINUTE) -> Finding:
    return last("threshold", [(reading(metres, at_ms), at_ms)], quantity="depth", **LEVELS)


def found_by_hazard() -> Iterator[tuple[str, Hazard, Finding]]:
    """One finding of each rule that measures, at each of its levels."""
    for metres in (0.18, 0.352):
        yield "depth", Hazard.UNDERPASS, water(metres)
    at_ms = NOW - MINUTE
    rising = [(reading(0.02 * n, at_ms - (15 - n) * 20_000), NOW) for n in range(16)]
    yield (
        "rise",
        Hazard.UNDERPASS,
        last("rise", [(one, one.at_ms) for one, _ in rising], orange={"over_cm": 5, "clear_cm": 2}),
    )
    blind: list[tuple[Said, int]] = [
        (reading(mm / 1000, at, quantity=Quantity.RAIN_TOTAL, site="hill"), at)
        for mm, at in ((n, NOW - HOUR + n * MINUTE) for n in range(60))
    ]
    blind.append((Tick(NOW, NOW - HOUR), NOW))
    keys: dict[str, Any] = {"site": "here", "rain_site": "hill"}
    yield "blind", Hazard.UNDERPASS, last("blind", blind, **keys)
    yield "blind, a river", Hazard.RIVER, last("blind", blind, quantity="level", **keys)
    marks: dict[str, Any] = {"datum": "1985国家高程基准", "gauge_zero_m": 158.0}
    marks |= {"fortify_m": 179.0, "warning_m": 180.5, "guarantee_m": 183.5}
    for metres in (21.1, 22.5, 22.8, 25.57):
        one = reading(metres, at_ms, quantity=Quantity.LEVEL)
        yield "stage", Hazard.RIVER, last("stage", [(one, at_ms)], **marks)
    for mm, hours in ((52, 11), (55, 5), (61, 2), (104, 2)):
        steps = range(hours * 12 + 1)
        begin = at_ms - hours * HOUR
        rain: list[tuple[Said, int]] = [
            (reading(0, begin - n * 5 * MINUTE, quantity=Quantity.RAIN_TOTAL), NOW)
            for n in range(145, 0, -1)
        ]
        rain += [
            (
                reading(
                    mm * n / steps[-1] / 1000,
                    begin + n * 5 * MINUTE,
                    quantity=Quantity.RAIN_TOTAL,
                ),
                NOW,
            )
            for n in steps
        ]
        yield "rain_sum", Hazard.RAINSTORM, last("rain_sum", rain)
    gap: list[tuple[Said, int]] = [
        (reading(m, at_ms + ms, quantity=Quantity.RAIN_TOTAL), NOW)
        for m, ms in ((0, -2 * HOUR), (0.06, 0))
    ]
    yield "rain_sum, data missing", Hazard.RAINSTORM, last("rain_sum", gap)
    for speed in (0.6, 2.7, 7.3):
        opening: list[tuple[Said, int]] = [
            (
                reading(speed / 24000 * n, at_ms - (80 - n) * HOUR, quantity=Quantity.DISPLACEMENT),
                NOW,
            )
            for n in range(81)
        ]
        yield "crack", Hazard.LANDSLIDE, last("crack", opening, v0_mm_day=0.5)
    hot = reading(62.14, at_ms, quantity=Quantity.TEMPERATURE)
    yield (
        "temperature",
        Hazard.EQUIPMENT,
        last(
            "threshold",
            [(hot, at_ms)],
            quantity="temperature",
            yellow={"over_c": 60, "clear_c": 55},
        ),
    )


def found_of_equipment() -> Iterator[tuple[str, Finding]]:
    """What each rule of equipment finds."""
    since = NOW - 48 * MINUTE
    for quantity in (
        Quantity.DEPTH,
        Quantity.LEVEL,
        Quantity.RAIN_TOTAL,
        Quantity.DISPLACEMENT,
        Quantity.TEMPERATURE,
    ):
        silent: list[tuple[Said, int]] = [
            (reading(0.1, since, quantity=quantity), since),
            (Tick(NOW, since), NOW),
        ]
        yield f"stale, {quantity}", last("stale", silent)
    online = Status("gw-1", GatewayState.ONLINE, since, "s", clock_trusted=True)
    lost = Status("gw-1", GatewayState.LOST, since + 1, "s")
    stopped = Status("gw-1", GatewayState.STOPPED, since, "s", clock_trusted=True)
    tick: tuple[Said, int] = (Tick(NOW, since), NOW)
    yield "gateway_dead, silent", last("gateway_dead", [(Heard(), since), tick])
    yield "gateway_dead, lost", last("gateway_dead", [(online, since), (lost, since), tick])
    yield "gateway_dead, stopped", last("gateway_dead", [(stopped, since), tick])
    wrong = Status("gw-1", GatewayState.ONLINE, since, "s", clock_trusted=False)
    yield "clock_untrusted", last("clock_untrusted", [(wrong, since), tick])
    for part, said in _of_the_lamp(since):
        keys = {"latched_below_cm": 10} if part == "latched" else {}
        yield f"interlock, {part}", last("interlock", said, part, **keys)
    yield "ledger_gap, missing", last("ledger_gap", [(Hole("s", 3, since), since), tick], "missing",
                                      missing_s=60)  # fmt: skip
    for reason in ("disk full", "disk refused", "outbox full", "too old", "outbox damaged"):
        gap = Gap(reason, since, since + 1, 7)
        yield f"ledger_gap, lost, {reason}", last("ledger_gap", [(gap, since)], "lost")
    turns: list[tuple[Said, int]] = [
        (
            Status("gw-1", GatewayState.ONLINE, since + n * MINUTE, name, machine=f"serial-{name}"),
            since + n * MINUTE,
        )
        for n, name in enumerate("ababab")
    ]
    yield "twin_gateway", last("twin_gateway", turns)
    detail = {"error": "no answer", "quota": "readings", "reason": "of the future"}
    for name in FAULTS:
        subject = {"channel_failing": "channel sms", "shard_without_worker": "shard-0"}.get(
            name, ""
        )
        fault = ServiceFault(name, True, SERVICE, subject, detail)
        yield f"service, {name}", last("service", [(fault, since)], name)


def _of_the_lamp(since: int) -> Iterator[tuple[str, list[tuple[Said, int]]]]:
    tick: tuple[Said, int] = (Tick(NOW, since), NOW)

    def event(kind: str, **detail: Any) -> tuple[Said, int]:
        return Event(since, "here", kind, "it happened", detail), since

    def shows(wanted: Aspect, shown: Aspect | None, cause: str) -> tuple[Said, int]:
        return InterlockState("here", wanted, shown, 0.2, cause, since), since

    yield "lamp", [shows(Aspect.RED, Aspect.FLASHING_AMBER, "water rises"), tick]
    yield "lamp", [event("signal_unconfirmed", wanted="red"), tick]
    yield "ruler", [event("ruler_lost", ruler="ruler-1", silent_s=12.0), tick]
    yield "disagreement", [event("rulers_disagree", apart_m=0.1234)]
    yield "override", [shows(Aspect.GREEN, Aspect.GREEN, "local switch"), tick]
    yield "override", [shows(Aspect.RED, Aspect.RED, "order of ops-1"), tick]
    dry: list[tuple[Said, int]] = [
        (reading(0.02, since + n * MINUTE), since + n * MINUTE) for n in range(1, 30)
    ]
    yield "latched", [shows(Aspect.RED, Aspect.RED, "water rises"), *dry, tick]


# What is said

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
