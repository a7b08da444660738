"""Who may write what, and which times can be true."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.admission import Admission, NotAllowed
from cloud.config import Config, Gateway, Ingest
from cloud.ingest.failures import Failures
from cloud.intake import sort
from cloud.quarantine import Kind, Reason
from wire import codec, topics
from wire.aspect import Aspect
from wire.messages import Batch, Event, Gap, GatewayState, InterlockState, Status
from wire.mqtt import Message
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

NOW = 1_700_000_000_000
DAY = 86_400_000


def admission(sites: dict[str, list[str]] | None = None, **ingest: Any) -> Admission:
    gateways = {name: Gateway(sites=tuple(own)) for name, own in (sites or {}).items()}
    return Admission.of(Config(ingest=Ingest(**ingest), gateway=gateways))


def reading(site: str = "a", at_ms: int = NOW) -> Reading:
    return Reading(site, "ruler", Quantity.DEPTH, 0.1, at_ms, Quality.GOOD)


def sifted(rule: Admission, *items: Reading | Event, gateway: str = "g") -> list[tuple[int, str]]:
    readings = tuple(one for one in items if isinstance(one, Reading))
    events = tuple(one for one in items if isinstance(one, Event))
    batch = Batch(gateway, "s", 1, readings, events)
    batch, refused, stay, told = rule.sift(batch, NOW)
    out = {one.place for one in refused}
    kept = [one for n, one in enumerate([*readings, *events]) if n not in out]
    assert [*batch.readings, *batch.events] == kept
    if refused:
        assert stay is not None
        assert told is not None
        assert [readings[n] for n in stay] == list(batch.readings)
        assert [events[n] for n in told] == list(batch.events)
    return [(one.place, one.reason) for one in refused]


@pytest.mark.parametrize(
    ("at_ms", "fits"),
    [
        (NOW, True),
        (NOW + 600_000, True),
        (NOW + 600_001, False),
        (NOW - 400 * DAY, True),
        (NOW - 400 * DAY - 1, False),
        (2**52, False),
    ],
)
def test_a_time_that_cannot_be_true(at_ms: int, fits: bool) -> None:
    event = Event(at_ms, "a", "aspect_wanted", "red")
    wrong = [] if fits else [(1, Reason.TIME), (3, Reason.TIME)]
    told = sifted(admission(), reading(), reading(at_ms=at_ms), reading(), event)
    assert told == wrong


def test_the_limits_are_in_the_config() -> None:
    strict = admission(future_s=1, oldest_days=1)
    late, old = reading(at_ms=NOW + 1001), reading(at_ms=NOW - DAY - 1)
    assert sifted(strict, late, reading(), old) == [(0, Reason.TIME), (2, Reason.TIME)]


def test_a_gateway_writes_its_own_sites_and_nobody_elses() -> None:
    rule = admission({"g": ["a", "b"], "h": ["c"], "free": []})
    a, c, d = reading("a"), reading("c"), reading("d")
    assert sifted(rule, a, c, d) == [(1, Reason.NOT_ALLOWED), (2, Reason.NOT_ALLOWED)]
    for other in ("free", "unheard-of"):
        assert sifted(rule, a, c, d, gateway=other) == [
            (0, Reason.NOT_ALLOWED),
            (1, Reason.NOT_ALLOWED),
        ]
    assert sifted(rule, a, Event(NOW, "c", "k", "t")) == [(1, Reason.NOT_ALLOWED)]
    assert sifted(admission(), a, c, d) == []


def test_an_event_that_no_database_takes() -> None:
    assert sifted(admission(), Event(NOW, "a", "k", "x\0y")) == [(0, Reason.UNREADABLE)]


times = st.one_of(
    st.integers(NOW - 500 * DAY, NOW + 2 * DAY), st.sampled_from([NOW, NOW - DAY, NOW + 5000])
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), times), max_size=30))
def test_the_quick_look_at_all_is_the_look_at_each(given: list[tuple[str, int]]) -> None:
    rule = admission({"g": ["a", "b"], "h": ["c"]}, future_s=3600)
    readings = [reading(site, at_ms) for site, at_ms in given]
    together = [place for place, _ in sifted(rule, *readings)]
    assert together == [n for n, one in enumerate(readings) if sifted(rule, one)]


def message(what: What, payload: bytes, gateway: str = "new") -> Message:
    site = "a" if what is What.INTERLOCK else None
    return Message(topics.topic("0", gateway, what, site), payload, False, 1, 1)


def test_a_gateway_that_is_not_known_is_put_aside_as_soon_as_any_is() -> None:
    data = codec.encode_batch(Batch("new", "s", 3, (reading(), reading("b"))))
    status = codec.encode(Status("new", GatewayState.ONLINE, NOW, "s", 3, 2))
    lost = codec.encode(Status("new", GatewayState.LOST, NOW))
    shown = codec.encode(InterlockState("a", Aspect.RED, None, 0.4, "depth", NOW))
    messages = [
        message(What.DATA, data),
        message(What.STATUS, status),
        message(What.STATUS, lost),
        message(What.INTERLOCK, shown),
    ]
    for rule in (admission(), admission({"g": []}, unknown_gateways="accept")):
        accepted = sort(messages, rule, NOW)
        assert (len(accepted.batches), len(accepted.interlocks), accepted.cases) == (1, 1, [])
        assert len(accepted.statuses) == 2
    refused = sort(messages, admission({"g": []}), NOW)
    assert (refused.batches, refused.interlocks, refused.statuses) == ([], [], [])
    assert (refused.keys(), refused.acks()) == (set(), {})  # its gateway keeps what it has
    batch, *states = refused.cases
    assert (batch.kind, batch.reason, batch.ledgered) == (Kind.MESSAGE, Reason.NOT_ALLOWED, False)
    assert {one.words for one in refused.cases} == {"the config has no [gateway.new]"}
    assert {(one.kind, one.reason) for one in states} == {(Kind.STATE, Reason.NOT_ALLOWED)}
    assert len({one.digest for one in states}) == 2  # a topic keeps its newest alone
    foreign = sort(messages, admission({"g": ["a"]}, unknown_gateways="accept"), NOW)
    assert foreign.interlocks == []
    assert [case.position for case in foreign.batches[0].cases] == [0]


def test_a_site_that_neither_config_nor_plan_knows_calls_nobody() -> None:
    config = Config(gateway={"g": Gateway(), "h": Gateway(sites=("b",))})
    rule = Admission.of(config, planned=["a"])
    event = Event(NOW, "c", "over_threshold", "red")
    gateways_own = Event(NOW, "", "disk_full", "full")
    told = sifted(rule, reading("a"), reading("b"), reading("c"), event, gateways_own)
    assert told == [(1, Reason.NOT_ALLOWED), (2, Reason.UNPLANNED), (3, Reason.UNPLANNED)]
    stranger = sifted(Admission.of(Config(), planned=["a"]), reading("a"), reading("c"))
    assert stranger == [(1, Reason.NOT_ALLOWED)]
    assert sifted(Admission.of(config), reading("c")) == []  # nobody has said which there are
    shown = codec.encode(InterlockState("c", Aspect.RED, None, 0.4, "depth", NOW))
    topic = topics.topic("0", "g", What.INTERLOCK, "c")
    refused = sort([Message(topic, shown, False, 1, 1)], rule, NOW)
    assert (refused.interlocks, [one.reason for one in refused.cases]) == ([], [Reason.NOT_ALLOWED])
    accepting = config.model_copy(update={"ingest": Ingest(unknown_sites="accept")})
    assert sifted(Admission.of(accepting, planned=["a"]), reading("c"), event) == []


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        ("https://evil.example/", "k"),
        ("a/../b", "k"),
        ("A", "k"),
        ("a b", "k"),
        ("a\u202e", "k"),
        ("x" * 64, "k"),
        ("a", "k\n"),
        ("a", ""),
        ("a", "\x1b[31m"),
        ("a", "k" * 64),
    ],
)
def test_names_in_events_are_names(site: str, kind: str) -> None:
    event = Event(NOW, site, kind, "t")
    ((place, reason),) = sifted(admission(), event)
    assert (place, reason) == (0, Reason.UNREADABLE)


def test_words_are_cleaned_where_they_come_in() -> None:
    evil = "\x1b]0;x\x07 see https://evil.example/\u202e\nERROR"
    shown = "␛]0;x␇ see https[:]//evil[.]example/\ufffd␊ERROR"
    event = Event(NOW, "a", "ruler_lost", evil, {"ruler": evil, "silent_s": 3})
    gap = Gap(evil, NOW, NOW)
    sent = codec.encode_batch(Batch("new", "s", 1, events=(event,), gaps=(gap,)))
    state = codec.encode(InterlockState("a", Aspect.RED, None, 0.4, evil, NOW))
    intake = sort([message(What.EVENT, sent), message(What.INTERLOCK, state)], admission(), NOW)
    (arrived,) = intake.batches
    (kept,) = arrived.batch.events
    assert (kept.text, kept.detail) == (shown, {"ruler": shown, "silent_s": 3})
    assert arrived.batch.gaps[0].reason == shown
    assert intake.interlocks[0][1].cause == shown


@pytest.mark.parametrize("now_ms", [0, 86_400_000, 2**43])
def test_a_clock_that_shows_an_absurd_year_judges_no_other(now_ms: int) -> None:
    rule = admission()
    batch = Batch("g", "s", 1, (reading(), reading(at_ms=NOW + DAY)))
    assert rule.sift(batch, now_ms).refused == ()
    one = Batch("g", "s", 1, (reading(),), (Event(NOW, "a", "k", "t"),))
    assert rule.sift(one, now_ms).refused == ()


def test_origin() -> None:
    rule = admission()
    rule.check_origin("g", "g")
    with pytest.raises(NotAllowed, match="is of gateway 'g', but came from 'h'"):
        rule.check_origin("g", "h")


@pytest.mark.parametrize(("named", "faults"), [(True, ["g"]), (False, [])])
def test_a_gateway_of_ours_at_a_site_that_is_in_no_plan_is_a_finding(
    *, named: bool, faults: list[str]
) -> None:
    config = Config(gateway={"g": Gateway()} if named else {})
    batch = Batch("g", "s", 1, tuple(reading("c", NOW + n) for n in range(20)))
    sent = message(What.DATA, codec.encode_batch(batch), "g")
    intake = sort([sent], Admission.of(config, planned=["a"]), NOW)
    failures = Failures()
    failures.count([case for one in intake.batches for case in one.cases])
    assert [one.gateway for one in failures.faults()] == faults
