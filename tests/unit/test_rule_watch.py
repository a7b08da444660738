"""The watch: what is said reaches the rules it concerns, and what they find is committed once."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import state, tables
from cloud.admission import Admission
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import Finding, Place, Rule, Said
from cloud.alerts.rules.threshold import State
from cloud.alerts.watch import Findings, Watch
from cloud.config import Config
from cloud.ingest.worker import Ingest
from cloud.intake import sort
from cloud.ledger import Key, Stream
from cloud.shards import Lease
from cloud.store import sqlite
from configs.loader import parse
from tests.examples import examples
from tests.rules import MINUTE, NOW, reading, rule, rules
from tests.taking import settle
from wire import codec, topics
from wire.aspect import Aspect
from wire.messages import Batch, Event, Gap, GatewayState, InterlockState, Level, Status
from wire.mqtt import Message
from wire.reading import Reading
from wire.topics import What

DEPTH = rule(
    "threshold",
    quantity="depth",
    orange={"over_cm": 15, "clear_cm": 12},
    red={"over_cm": 30, "clear_cm": 27},
)


def batch(*readings: Reading, gateway: str = "g", events: tuple[Event, ...] = ()) -> Batch:
    return Batch(gateway, "stream", 1, readings, events)


def hear(watch: Watch, *batches: Batch, now_ms: int = NOW, **other: Any) -> Findings:
    said: dict[str, Any] = {"statuses": (), "interlocks": (), "streams": {}} | other
    findings = watch.examine(batches, **said, now_ms=now_ms)
    watch.adopt(findings)
    return findings


def told(findings: Findings) -> list[tuple[str, str, Level | None]]:
    return [
        (one.key.place.gateway, one.key.part or one.key.place.sensor, one.finding.level)
        for one in findings.changes
    ]


def test_readings_are_looked_at_in_the_order_of_their_time_whatever_batch_they_came_in() -> None:
    late = batch(reading(0.1, NOW + 3), reading(0.2, NOW + 1))
    found = hear(Watch([DEPTH]), late, batch(reading(0.35, NOW + 2)), now_ms=NOW + 9)
    assert told(found) == [
        ("g", "s", Level.ORANGE),
        ("g", "s", Level.RED),
        ("g", "s", None),
    ]


def test_what_is_remembered_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.alerts.watch._SERIES_KNOWN", 2)
    watch = Watch([DEPTH])
    for n in range(5):
        hear(watch, batch(reading(0.1, NOW + n, sensor=f"s{n}")), now_ms=NOW + 9)
    assert watch._ears.cache_info().currsize == 2
    found = hear(watch, batch(reading(0.2, NOW + 9, sensor="s0")), now_ms=NOW + 9)
    assert told(found) == [("g", "s0", Level.ORANGE)]


def test_each_sensor_of_each_gateway_stands_by_itself() -> None:
    watch = Watch([DEPTH])
    found = hear(
        watch,
        batch(reading(0.2, NOW), reading(0.1, NOW, sensor="b")),
        batch(reading(0.4, NOW), gateway="h"),
    )
    assert told(found) == [("g", "s", Level.ORANGE), ("h", "s", Level.RED)]
    assert hear(watch, batch(reading(0.2, NOW + 1)), now_ms=NOW + 1).changes == []


def test_what_is_not_adopted_is_found_again() -> None:
    watch = Watch([DEPTH])
    once = watch.examine([batch(reading(0.2, NOW))], (), (), {}, NOW)
    again = watch.examine([batch(reading(0.2, NOW))], (), (), {}, NOW)
    assert once == again
    assert told(once) == [("g", "s", Level.ORANGE)]


def test_a_series_that_concerns_nobody_is_asked_about_once() -> None:
    asked: list[Said] = []

    class Curious(Rule[State]):
        hears = frozenset({Reading})
        memory = State

        def place(self, gateway: str, said: Said) -> Place | None:
            asked.append(said)
            return None

        def step(self, state: State, said: Said, now_ms: int) -> tuple[State, Finding | None]:
            raise AssertionError("nobody has a place here")

    watch = Watch([Curious(name="curious", hazard=Hazard.EQUIPMENT)])
    for n in range(50):
        assert hear(watch, batch(reading(1, NOW + n, sensor="a"))).states == {}
    assert len(asked) == 1


STALE = rule("stale", silent_s=60)
EQUIPMENT = [
    STALE,
    *rules("gateway_dead", silent_s=60, lost_s=30),
    *rules("clock_untrusted", after_s=30),
    *rules("ledger_gap", missing_s=30),
    *rules("interlock"),
]


def status(at_ms: int, **other: Any) -> Status:
    return Status("g", other.pop("state", GatewayState.ONLINE), at_ms, "stream", **other)


def test_what_is_said_of_equipment_reaches_its_rules_and_ticks_do_the_rest() -> None:
    watch = Watch(EQUIPMENT)
    lost_ruler = Event(NOW, "here", "ruler_lost", "silent", {"ruler": "s"})
    gap = msgspec.structs.replace(
        batch(reading(0.1, NOW), events=(lost_ruler,)), gaps=(Gap("disk full", NOW, NOW, 3),)
    )
    hole = Stream(hole=2, hole_since_ms=NOW, sealed=4)
    found = hear(
        watch,
        gap,
        statuses=[status(NOW, clock_trusted=False)],
        interlocks=[("g", InterlockState("here", Aspect.RED, Aspect.GREEN, 0.3, "x", NOW))],
        streams={Key("g", "stream"): hole},
    )
    assert set(told(found)) == {("g", "ruler", Level.ORANGE), ("g", "lost", Level.YELLOW)}
    found = watch.tick(NOW + 31_000, NOW)
    watch.adopt(found)
    assert set(told(found)) == {
        ("g", "missing", Level.YELLOW),
        ("g", "lamp", Level.RED),
        ("g", "", Level.YELLOW),
    }
    hear(watch, statuses=[status(NOW + 61_000)], now_ms=NOW + 61_000)
    found = watch.tick(NOW + 62_000, NOW)
    watch.adopt(found)
    assert told(found) == [("g", "s", Level.YELLOW)], "the gateway speaks, its sensor does not"
    assert told(watch.tick(NOW + 125_000, NOW)) == [("g", "", Level.ORANGE)]


async def test_ticks_are_only_for_gateways_that_were_heard_and_retained_words_do_not_raise_the_dead(
    tmp_path: Path,
) -> None:
    first = Watch(EQUIPMENT)
    readings = batch(reading(0.1, NOW))
    found = hear(first, readings, statuses=[status(NOW)])

    async with state.opened(tmp_path / "cloud.db") as database:
        await database.run(lambda connection: first.save(connection, found, NOW))
        second = Watch(EQUIPMENT)
        await database.run(second.load)
    later = NOW + 10 * MINUTE
    assert second.tick(later, NOW).changes == [], "perhaps another worker's gateway"
    hear(second, statuses=[status(NOW)], now_ms=later)  # the broker kept it for us
    assert told(second.tick(later, NOW)) == [("g", "", Level.ORANGE)], "dead, no sensor stale"


@examples(30)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.floats(0, 0.5), st.integers(0, 50)), max_size=4
        ),
        max_size=12,
    )
)
def test_a_restart_between_any_two_takes_changes_nothing(
    takes: list[list[tuple[str, float, int]]],
) -> None:
    steady, found, again = Watch([DEPTH]), [], []
    stored: dict[Any, Any] = {}
    for n, take in enumerate(takes):
        readings = batch(*(reading(v, NOW + at, sensor=s) for s, v, at in take))
        found += hear(steady, readings, now_ms=NOW + n).changes
        restarted = Watch([DEPTH])
        restarted._states = {
            key: msgspec.json.decode(text, type=DEPTH.memory) for key, text in stored.items()
        }
        findings = hear(restarted, readings, now_ms=NOW + n)
        stored |= {key: msgspec.json.encode(one) for key, one in findings.states.items()}
        again += findings.changes
    assert found == again


async def written(path: Path, one: Rule[Any], *depths: float, start: int = 0) -> None:
    """Each call is a process of its own."""
    async with state.opened(path) as database:
        watch = Watch([one])
        await database.run(watch.load)
        readings = (reading(depth, NOW + start + n) for n, depth in enumerate(depths))
        findings = hear(watch, batch(*readings), now_ms=NOW + start + len(depths))
        await database.run(lambda connection: watch.save(connection, findings, NOW + 7))


async def rows(path: Path, table: Any) -> list[dict[str, Any]]:
    async with state.opened(path, read_only=True) as database:
        return await database.run(
            lambda connection: [dict(row) for row in connection.execute(table.select()).mappings()]
        )


async def test_an_episode_is_one_alert_with_the_history_of_its_level(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    await written(path, DEPTH, 0.2, 0.35)
    await written(path, DEPTH, 0.35, 0.26, 0.1, start=10)
    await written(path, DEPTH, 0.2, start=20)
    first, second = await rows(path, tables.alert)
    assert (first["level"], first["hazard"], first["raised_value"]) == ("orange", "underpass", 0.2)
    assert (first["raised_at_ms"], first["received_at_ms"]) == (NOW, NOW + 7)
    assert (first["cleared_at_ms"], first["cleared_value"]) == (NOW + 12, 0.1)
    assert (second["raised_at_ms"], second["cleared_at_ms"]) == (NOW + 20, None)
    changes = await rows(path, tables.alert_change)
    assert [(one["alert"], one["number"], one["level"]) for one in changes] == [
        (first["id"], 1, "orange"),
        (first["id"], 2, "red"),
        (first["id"], 3, "orange"),
        (first["id"], 4, None),
        (second["id"], 1, "orange"),
    ]


@pytest.mark.parametrize("other", ["stale", "rise", None])
async def test_what_a_rule_found_is_over_when_it_becomes_another_or_none(
    other: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "cloud.db"
    await written(path, DEPTH, 0.4)
    keys = {"orange": {"over_cm": 10, "clear_cm": 3}} if other == "rise" else {}
    now = rule(other, **keys) if other else STALE
    await written(path, replace(now, name="threshold" if other else "stale"), 0.4, start=10)
    (alert,) = await rows(path, tables.alert)
    assert (alert["level"], alert["cleared_value"]) == ("red", None)
    assert alert["cleared_at_ms"] is not None
    assert [one["text"] for one in await rows(path, tables.alert_change)][1:] == [
        "the rule is no more"
    ]


async def test_ingest_commits_what_it_hears_and_what_time_brings(tmp_path: Path) -> None:
    now = time.time_ns() // 1_000_000
    tables_of = {
        "rule": {
            "dead": {"kind": "gateway_dead", "lost_s": 0},
            "depth": {
                "kind": "threshold",
                "quantity": "depth",
                "red": {"over_cm": 30, "clear_cm": 27},
            },
        },
        "channel": {"log": {"kind": "log"}},
    }
    config = parse(tables_of, Config, "test")
    woken: list[None] = []
    path = tmp_path / "cloud.db"
    async with (
        state.opened(path) as database,
        sqlite.open(sqlite.Config(kind="sqlite"), tmp_path, database) as store,
    ):
        await database.run(
            lambda connection: connection.execute(
                tables.lease.insert().values(name="shard 0", owner="us", until_ms=0, generation=1)
            )
        )
        admission = Admission.of(config)
        ours = config.broker, config.ingest, admission, Lease("shard 0", 1), "0"
        watch = Watch(config.rules)
        ingest = Ingest(*ours, database, store, watch, lambda: woken.append(None))
        will = Status("g", GatewayState.LOST, now)
        said = {
            What.DATA: codec.encode_batch(batch(reading(0.4, now))),
            What.STATUS: codec.encode(will),
        }
        messages = [
            Message(topics.topic("0", "g", what), payload, False, n, 1)
            for n, (what, payload) in enumerate(said.items())
        ]
        await settle(ingest, sort(messages, admission, now))
        assert [one["rule"] for one in await rows(path, tables.alert)] == ["depth"]
        await ingest._examination.tick(now)
        await ingest._examination.tick(now)
        assert [one["rule"] for one in await rows(path, tables.alert)] == ["depth", "dead"]
        assert len(woken) == 2
        await settle(ingest, sort(messages, admission, now))  # the same again
        assert len(await rows(path, tables.alert_change)) == 2
