"""One hostile or mad gateway costs only itself, and an honest one never meets its quota."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import quotas
from cloud.admission import Admission
from cloud.alerts.rule import SERVICE, ServiceFault
from cloud.alerts.watch import Watch
from cloud.config import Config, Gateway
from cloud.intake import sort
from cloud.limits import Quota, by_gateway
from cloud.quarantine import Reason
from cloud.quotas import OTHERS, STANDS_MS, Bucket, Quotas
from configs import loader
from wire import codec, topics
from wire.messages import Batch, Event, Gap, GatewayState, InterlockState, Status
from wire.mqtt import Message
from wire.ranges import Intervals
from wire.reading import Quality, Quantity, Reading, Series
from wire.topics import What

NOW = 1_700_000_000_000
MINUTE = 60_000
HOUR = 3_600_000
SMALL = Quota(
    messages_per_minute=60,
    records_per_minute=600,
    events_per_minute=60,
    faults_per_minute=60,
    burst_minutes=1,
    streams_per_hour=5,
    streams=8,
    sites=2,
    sensors=4,
    series=5,
    quarantine_cases=10,
)


def of(limits: Quota = SMALL, **gateways: Gateway) -> Admission:
    return Admission.of(Config(quota=limits, gateway=gateways))


def reading(site: str = "a", sensor: str = "s", at_ms: int = NOW) -> Reading:
    return Reading(site, sensor, Quantity.DEPTH, 0.1, at_ms, Quality.GOOD)


def message(batch: Batch, what: What = What.DATA) -> Message:
    payload = codec.encode_batch(batch)
    return Message(topics.topic("0", batch.gateway, what), payload, False, 1, 1)


def may(_: str) -> bool:
    return True


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 300)), max_size=200),
    st.integers(1, 100),
)
def test_what_a_bucket_gives_is_bounded(steps: list[tuple[int, int]], most: int) -> None:
    bucket = Bucket(per_ms=0.01, most=most, tokens=most, at_ms=0)
    now, given_, largest = 0, 0, 0
    for wait, amount in steps:
        now += wait
        if bucket.has_some(now):
            bucket.take(amount)
            given_ += amount
            largest = max(largest, amount)
        assert given_ <= most + now * 0.01 + largest  # the last may be larger than what was left
        assert bucket.tokens <= most


@given(st.lists(st.integers(-(10**12), 10**12), max_size=50))
def test_a_clock_that_jumps_gives_no_more_than_a_full_bucket(jumps: list[int]) -> None:
    bucket = Bucket(per_ms=1.0, most=10.0, tokens=10.0, at_ms=NOW)
    for jump in jumps:
        if bucket.has_some(NOW + jump):
            bucket.take(1)
        assert bucket.tokens <= 10


def test_an_honest_gateway_that_makes_up_for_days_never_meets_its_quota() -> None:
    """Hundred sensors each second, and three days of them at ten times the usual rate."""
    admission = of(Quota())
    series = [Series("a", f"s-{n}", Quantity.DEPTH) for n in range(100)]
    state = admission.quotas
    now, left = NOW, 3 * 86_400 * 100
    number = 0
    while left > 0:
        now += 2000
        for _ in range(84):  # 400 kB/s of batches of 200 readings, 9.6 bytes each
            number += 1
            assert state.refusal("g", What.DATA, 1920, now) == ""
            assert state.batch_refusal("g", "stream", number, 0, now) == ""
            assert state.strangers("g", series, may, now)[0] == {}
            state.count_records("g", What.DATA, 200, now)
        left -= 84 * 200
    assert state.exceeded(now) == []


@given(st.lists(st.sampled_from(["evil", "honest"]), max_size=300), st.integers(0, 500))
def test_a_flood_costs_only_its_gateway(who: list[str], step_ms: int) -> None:
    state = of(honest=Gateway(), evil=Gateway()).quotas
    honest = [one for one in who if one == "honest"]
    if len(honest) >= 60:
        return
    now, refused = NOW, Counter[str]()
    for one in who:
        now += step_ms
        for _ in range(1 if one == "honest" else 20):
            refused[one] += state.refusal(one, What.DATA, 10, now) != ""
    assert refused["honest"] == 0
    allowed = 20 * (len(who) - len(honest)) - refused["evil"]
    assert allowed <= 60 + 60 * len(who) * step_ms / MINUTE + 1


def test_events_come_through_beside_a_flood_of_data() -> None:
    state = of().quotas
    while not state.refusal("g", What.DATA, 10, NOW):
        pass
    assert state.refusal("g", What.EVENT, 10, NOW) == ""


def test_what_is_beyond_a_rate_is_not_acknowledged_and_is_counted() -> None:
    admission = of()
    sent = [message(Batch("g", "s", n, (reading(),))) for n in range(1, 101)]
    intake = sort(sent, admission, NOW)
    assert len(intake.batches) == 60
    (case,) = intake.cases
    assert (case.surplus, case.words, case.key, case.payload) == (
        40,
        "messages_per_minute",
        None,
        b"",
    )
    (numbers,) = intake.acks().values()
    assert list(numbers) == [(1, 60)]
    (one,) = admission.quotas.exceeded(NOW)
    assert (one.gateway, one.quota, one.active, one.refused) == (
        "g",
        "messages_per_minute",
        True,
        40,
    )
    again = sort(sent[60:], admission, NOW + MINUTE)
    assert (len(again.batches), again.cases) == (40, [])


def test_it_is_over_when_nothing_was_refused_for_a_while() -> None:
    state = of().quotas
    state.refuse("g", "series", NOW)
    assert [one.active for one in state.exceeded(NOW + STANDS_MS - 1)] == [True]
    assert [one.active for one in state.exceeded(NOW + STANDS_MS)] == [False]
    assert state.exceeded(NOW + STANDS_MS) == []


def test_series_beyond_the_quota_are_refused_and_those_that_are_known_go_on() -> None:
    admission = of()
    known = [reading(sensor=f"s-{n}") for n in range(4)]
    (first,) = sort([message(Batch("g", "s", 1, tuple(known)))], admission, NOW).batches
    assert len(first.new) == 4
    more = [reading(sensor=f"x-{n}") for n in range(100)]
    sent = message(Batch("g", "s", 2, (*known, *more)))
    (arrived,) = sort([sent], admission, NOW).batches
    assert list(arrived.batch.readings) == known
    kept = [one for one in arrived.cases if not one.surplus]
    assert {one.reason for one in kept} == {Reason.QUOTA}
    assert len(kept) + sum(one.surplus for one in arrived.cases) == 100
    assert sum(one.readings or 0 for one in arrived.cases) == 100
    other = sort([message(Batch("h", "s", 1, (reading(sensor="y"),)))], admission, NOW)
    assert not other.batches[0].cases


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("stuvw")), max_size=60))
def test_no_quota_of_names_is_ever_passed(names: list[tuple[str, str]]) -> None:
    admission = of()
    taken: set[tuple[str, str]] = set()
    for number, (site, sensor) in enumerate(names, 1):
        state = Quotas(Quota(), {}, (), accepted=True)  # rates are not what this is about
        state = admission.quotas
        spoilt, _ = state.strangers("g", [Series(site, sensor, Quantity.DEPTH)], may, NOW + number)
        if not spoilt:
            taken.add((site, sensor))
    assert len({site for site, _ in taken}) <= SMALL.sites
    assert len(taken) <= SMALL.sensors


def test_streams_are_bounded_by_the_hour_and_in_all() -> None:
    state = of().quotas
    taken = [n for n in range(20) if not state.stream_refusal("g", f"s-{n}", NOW)]
    assert taken == [0, 1, 2, 3, 4]
    assert state.stream_refusal("g", "s-0", NOW) == ""  # one that is known goes on
    later = [n for n in range(20, 40) if not state.stream_refusal("g", f"s-{n}", NOW + HOUR)]
    assert later == [20, 21, 22]
    assert state.stream_refusal("g", "x", NOW + 9 * HOUR) == "streams"
    assert state.stream_refusal("h", "x", NOW) == ""


@pytest.mark.parametrize("what", ["status", "garbage", "events", "gaps", "interlock"])
def test_every_way_to_make_state_grow_has_an_end(what: str) -> None:
    admission = of(SMALL.model_copy(update={"messages_per_minute": 100_000}))
    sent = []
    for n in range(1, 301):
        topic, site = What.DATA, None
        if what == "status":
            payload = codec.encode(Status("g", GatewayState.ONLINE, NOW, f"s-{n}", 1))
            topic = What.STATUS
        elif what == "interlock":
            topic, site = What.INTERLOCK, f"site-{n}"
            payload = codec.encode(InterlockState(site, "red", None, 0.4, "depth", NOW))  # type: ignore[arg-type]
        elif what == "events":
            payload = codec.encode_batch(
                Batch("g", "s", n, events=(Event(NOW, "a", "k", "t"),) * 9)
            )
        elif what == "gaps":
            payload = codec.encode_batch(Batch("g", "s", n, gaps=(Gap("disk full", NOW, NOW),) * 9))
        else:
            payload = codec.encode_batch(Batch("other", f"s-{n}", n, (reading(),)))
        sent.append(Message(topics.topic("0", "g", topic, site), payload, False, 1, 1))
    intake = sort(sent, admission, NOW)
    rows = sum(len(one.batch.events) + len(one.batch.gaps) for one in intake.batches)
    assert len(intake.keys()) <= SMALL.streams_per_hour
    assert rows <= SMALL.events_per_minute + 9
    assert len(intake.interlocks) <= SMALL.sites
    assert admission.quotas.exceeded(NOW)


def test_long_texts_count_as_many_events() -> None:
    admission = of(g=Gateway())
    long = Event(NOW, "a", "k", "t" * 4000, {f"k{n}": "v" * 2000 for n in range(30)})
    sent = [message(Batch("g", "s", n, events=(long,))) for n in range(1, 50)]
    intake = sort(sent, admission, NOW)
    assert len(intake.batches) < 10  # each counts as what is kept of it
    assert [one.quota for one in admission.quotas.exceeded(NOW)] == ["events_per_minute"]
    short = [message(Batch("h", "s", n, events=(Event(NOW, "", "k", "t"),))) for n in range(1, 50)]
    assert len(sort(short, of(h=Gateway()), NOW).batches) == 49


def test_gateways_that_nobody_knows_share_one_quota() -> None:
    admission = of(g=Gateway())
    sent = [message(Batch(f"new-{n}", "s", 1, (reading(),))) for n in range(500)]
    intake = sort(sent, admission, NOW)
    assert (intake.batches, intake.keys()) == ([], set())
    assert len([one for one in intake.cases if not one.surplus]) == 60
    assert sum(one.surplus for one in intake.cases) == 440
    assert {one.gateway for one in admission.quotas.exceeded(NOW)} == {OTHERS}
    assert list(admission.quotas) == [OTHERS]
    assert sort([message(Batch("g", "s", 1, (reading(),)))], admission, NOW).batches


def test_where_all_are_accepted_there_is_an_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MOST_UNNAMED", 10)
    state = of().quotas
    assert len({state.owner(f"g-{n}") for n in range(1000)}) == 11


def test_a_gateway_may_have_a_quota_of_its_own() -> None:
    own = Quota(series=9)
    limits = by_gateway(SMALL, {"g": own, "h": None})
    assert (limits["g"].series, limits["g"].sites, "h" in limits) == (9, SMALL.sites, False)
    state = of(SMALL, g=Gateway(quota=own), h=Gateway()).quotas
    assert (state.limits("g").series, state.limits("h").series) == (9, SMALL.series)


def test_a_wrong_clock_makes_one_case_of_a_message() -> None:
    admission = of(Quota())
    readings = tuple(reading(at_ms=NOW + 10 * HOUR + n) for n in range(600))
    (case,) = sort([message(Batch("g", "s", 1, readings))], admission, NOW).cases
    assert (case.reason, case.readings, case.batch, case.ledgered) == (Reason.TIME, 600, 1, True)
    assert case.words.startswith("all 600 readings and events: is 10 h ahead")


def test_what_is_exceeded_is_a_finding_of_the_gateway_and_ends() -> None:
    admission = of(g=Gateway())
    rule = {part.part: part for part in Config().rules}["quota_exceeded"]
    states: dict[str, Any] = {}
    texts: list[tuple[str, str]] = []

    def report(now_ms: int) -> None:
        for fault in admission.conditions(now_ms):
            if rule.place(fault.gateway, fault) is None:
                continue
            key = f"{fault.gateway}/{fault.subject}"
            states[key], finding = rule.step(states.get(key, rule.memory()), fault, now_ms)
            if finding is not None:
                texts.append((key, finding.text))

    report(NOW)
    sort([message(Batch("g", "s", 1, (reading("a"), reading("b"), reading("c"))))], admission, NOW)
    sort([message(Batch("x", f"s-{n}", 1, (reading(),))) for n in range(61)], admission, NOW)
    report(NOW)
    report(NOW)
    assert [one for one, _ in texts] == ["g/sites", "cloud-service/messages_per_minute"]
    assert "more than it may" in texts[0][1]
    report(NOW + STANDS_MS)
    report(NOW + STANDS_MS)
    assert len(texts) == 4


@pytest.mark.parametrize(("now_ms", "wrong"), [(NOW, False), (0, True), (-1, True), (2**62, True)])
def test_a_clock_that_cannot_be_right_is_a_finding(now_ms: int, *, wrong: bool) -> None:
    (fault,) = of().conditions(now_ms)
    assert (fault.name, fault.active) == ("clock_implausible", wrong)


def test_what_an_earlier_process_reported_ends_too() -> None:
    admission = of()
    standing = [
        ServiceFault("quota_exceeded", True, gateway, "sites") for gateway in ("g", SERVICE)
    ]
    admission.inherit(standing, NOW)
    for now_ms, active in ((NOW, True), (NOW + STANDS_MS, False)):
        _, *found = admission.conditions(now_ms)
        assert {(one.gateway, one.subject, one.active) for one in found} == {
            ("g", "sites", active),
            (SERVICE, "sites", active),
        }


@given(st.lists(st.integers(1, 60), max_size=80), st.booleans())
def test_what_came_of_a_stream_lies_in_a_bounded_number_of_pieces(
    numbers: list[int], loaded: bool
) -> None:
    limits = SMALL.model_copy(update={"intervals": 6})
    state = of(limits).quotas
    got = Intervals()
    if loaded:
        got = Intervals([1, 3, 5, 7])
        state.know_streams([("g", "s", got.parts)])
        state.know_batches("g", "s", got)
    for number in numbers:
        if not state.batch_refusal("g", "s", number, 0, NOW):
            got.add(number)
        assert got.parts <= 6
    for first, last in got:  # and it always goes on where it is
        assert state.batch_refusal("g", "s", last + 1, 0, NOW) == ""
        assert state.batch_refusal("g", "s", first, 0, NOW) == ""


RULES = {"deep": {"kind": "threshold", "quantity": "depth", "red": {"over_cm": 30, "clear_cm": 27}}}


def test_findings_of_a_flapping_gateway_wait_and_those_of_others_do_not() -> None:
    limits = SMALL.model_copy(update={"findings_per_hour": 6, "sensors": 1000})
    tables = {"quota": limits.model_dump(), "gateway": {"g": {}, "h": {}}}
    tables |= {"rule": RULES, "channel": {"log": {"kind": "log"}}}
    config = loader.parse(tables, Config, "test")
    admission = Admission.of(config)
    watch = Watch(config.rules, admission.quotas.may_find)

    def depth(gateway: str, depth_m: float, at_ms: int, site: str = "a") -> list[str | None]:
        one = Reading(site, "s", Quantity.DEPTH, depth_m, at_ms, Quality.GOOD)
        admission.quotas.strangers(gateway, [Series(site, "s", Quantity.DEPTH)], may, at_ms)
        found = watch.examine([Batch(gateway, "s", at_ms, (one,))], [], [], {}, at_ms)
        watch.adopt(found)
        levels = [one.finding.level for one in found.changes if one.key.rule == "deep"]
        return [None if level is None else level.name for level in levels]

    for n in range(6):
        assert depth("g", 0.4, NOW + 10 * n) == ["RED"]
        assert depth("g", 0.1, NOW + 10 * n + 5) == [None]
    assert depth("g", 0.4, NOW + 100) == []  # it waits
    assert [one.quota for one in admission.quotas.exceeded(NOW)] == ["findings_per_hour"]
    assert depth("h", 0.4, NOW + 110) == ["RED"]
    assert depth("g", 0.4, NOW + 120, "b") == ["RED"]
    assert depth("g", 0.4, NOW + HOUR) == ["RED"]  # and is found as soon as it may
    assert depth("g", 0.1, NOW + HOUR + 1) == [None]


def test_what_the_service_observes_waits_for_nobody() -> None:
    watch = Watch(Config().rules, lambda *_: False)
    found = watch.report([ServiceFault("quota_exceeded", True, "g", "sites")], NOW)
    assert len(found.changes) == 1
