"""Rules as a config makes them, and what they find in a row of things said."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import create_model

from cloud.alerts.rule import Finding, Rule, RuleConfig, Said
from configs.loader import Model, parse, plugins
from wire.messages import Level
from wire.reading import Quality, Quantity, Reading

_HAN = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
_ENGLISH = re.compile(r"(?<![A-Za-z])[a-z]{3,}(?![A-Za-z])")
_DEVICE = re.compile(r"[a-z]+(-[a-z0-9]+)+")

NOW = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def rules(kind: str, **keys: Any) -> list[Rule[Any]]:
    """What `[rule.<kind>]` with these keys comes to. Raises ConfigError."""
    demanded: Any = {"rule": (plugins("cloud.alerts.rules")[kind], ...)}
    config = create_model("One", __base__=Model, **demanded)
    made: Any = parse({"rule": {"kind": kind, **keys}}, config, "test")
    assert isinstance(made.rule, RuleConfig)
    return list(made.rule.rules(kind))


def rule(kind: str, **keys: Any) -> Rule[Any]:
    (one,) = rules(kind, **keys)
    return one


def reading(
    value: float | None,
    at_ms: int,
    quality: Quality = Quality.GOOD,
    quantity: Quantity = Quantity.DEPTH,
    sensor: str = "s",
    site: str = "here",
) -> Reading:
    quality = Quality.MISSING if value is None else quality
    return Reading(site, sensor, quantity, value, at_ms, quality)


def follow(
    one: Rule[Any], said: Iterable[tuple[Said, int]], *, restart: bool = False
) -> tuple[Any, list[Finding]]:
    """The last state and all findings after each of `said`, heard at its time. With `restart` the
    state goes through JSON after each."""
    state: Any = one.memory()
    findings = []
    for what, now_ms in said:
        state, finding = one.step(state, what, now_ms)
        if finding is not None:
            assert_tongues(finding)
            findings.append(finding)
        if restart:
            state = msgspec.json.decode(msgspec.json.encode(state), type=one.memory)
    return state, findings


def assert_tongues(finding: Finding) -> None:
    """English is wholly English, and Chinese wholly Chinese, but for units and names of devices."""
    assert not _HAN.search(finding.text), finding.text
    assert _HAN.search(finding.text_zh), finding.text_zh
    assert not _ENGLISH.search(_DEVICE.sub("", finding.text_zh)), finding.text_zh


def live(readings: Iterable[Reading]) -> list[tuple[Said, int]]:
    """Each heard at the moment of its reading."""
    return [(one, one.at_ms) for one in readings]


def levels(findings: Iterable[Finding]) -> list[Level | None]:
    return [one.level for one in findings]
