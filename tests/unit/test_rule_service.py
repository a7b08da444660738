"""Faults that the service observes: each raises one finding, and ends, over restarts too."""

from pathlib import Path

import pytest

from cloud import state
from cloud.alerts.rule import SERVICE, ServiceFault
from cloud.alerts.rules.service import FAULTS
from cloud.alerts.watch import Watch
from cloud.config import Config
from configs.loader import parse
from tests.rules import NOW, assert_tongues, rules
from wire.messages import Level

RULES = rules("service")


def test_every_fault_has_a_level_and_a_text_in_both_languages() -> None:
    watch = Watch(RULES)
    for name in FAULTS:
        for active in (True, False):
            findings = watch.report([ServiceFault(name, active, "g")], NOW)
            watch.adopt(findings)
            (change,) = findings.changes
            assert (change.finding.level is not None) is active
            assert_tongues(change.finding)


def test_a_fault_that_is_reported_again_is_found_once() -> None:
    watch = Watch(RULES)
    fault = ServiceFault("quota_exceeded", True, "g", detail={"quota": "records"})
    for n in range(3):
        findings = watch.report([fault], NOW + n)
        watch.adopt(findings)
        assert [one.finding.parts["quota"] for one in findings.changes] == ["records"] * (n == 0)
    assert [one.gateway for one in watch.standing("quota_exceeded")] == ["g"]


def test_the_end_of_a_fault_that_was_not_there_says_nothing() -> None:
    assert Watch(RULES).report([ServiceFault("store_away", False)], NOW).changes == []


def test_faults_of_the_service_are_told_apart_by_their_subject() -> None:
    watch = Watch(RULES)
    both = [ServiceFault("store_away", True, subject=f"shard-{n}") for n in (0, 1)]
    found = watch.report(both, NOW)
    assert [one.key.place for one in found.changes] == [
        (SERVICE, "", "shard-0"),
        (SERVICE, "", "shard-1"),
    ]


def test_an_unknown_name_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Watch(RULES).report([ServiceFault("no such fault", True)], NOW)


async def test_a_fault_that_stands_is_known_to_the_next_process(tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        watch = Watch(RULES)
        findings = watch.report([ServiceFault("store_away", True, subject="shard-0")], NOW)
        await database.run(lambda connection: watch.save(connection, findings, NOW))
        again = Watch(RULES)
        await database.run(again.load)
        (fault,) = again.standing("store_away")
        assert (fault.gateway, fault.subject) == (SERVICE, "shard-0")
        ended = again.report([fault._replace(active=False)], NOW + 1)
        assert [one.finding.level for one in ended.changes] == [None]


def test_the_rule_is_there_without_a_table_and_a_table_sets_its_levels() -> None:
    found = {one.part for one in parse({}, Config, "cloud.toml").rules if one.name == "service"}
    assert found == set(FAULTS)
    table = {"rule": {"own": {"kind": "service", "store_away": "red"}}, "channel": {}}
    table["channel"] = {"log": {"kind": "log", "path": "x"}}
    own = {one.part: one for one in parse(table, Config, "cloud.toml").rules if one.name == "own"}
    assert own.keys() == set(FAULTS)
    assert own["store_away"].level is Level.RED  # type: ignore[attr-defined]


def test_the_channel_that_fails_is_named_when_it_begins_and_when_it_ends() -> None:
    watch, said = Watch(RULES), []
    for active in (True, False):
        detail = {"error": "no answer"} if active else {}
        fault = ServiceFault("channel_failing", active, subject="channel sms", detail=detail)
        findings = watch.report([fault], NOW)
        watch.adopt(findings)
        said += [(one.finding.text, one.finding.text_zh) for one in findings.changes]
    assert said == [
        (
            "the channel sms has taken no message: some people may not be told, phone them",
            "通知渠道“sms”发不出消息，有人可能收不到预警，请电话通知",
        ),
        ("the channel sms takes messages again", "通知渠道“sms”恢复正常"),
    ]
