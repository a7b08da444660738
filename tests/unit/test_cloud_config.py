"""`cloud.toml`: what it means, and all of its faults at once."""

from pathlib import Path

import pytest

from cloud import config
from cloud.alerts.rule import Rule
from configs.loader import ConfigError
from tests.conftest import ROOT
from wire.messages import Level
from wire.reading import Quantity


def read(folder: Path, text: str) -> config.Setup:
    file = folder / "cloud.toml"
    file.write_text(text, "utf-8")
    return config.read(file)


def faults(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return {fault.key: fault.problem for fault in caught.value.faults}


def test_an_empty_config_is_a_cloud_that_stores_and_warns_nobody(tmp_path: Path) -> None:
    setup = read(tmp_path, "")
    assert setup.config.store.kind == "sqlite"
    assert setup.config.rules == []
    assert setup.database == tmp_path / "cloud.db"


def test_the_configs_that_come_with_us_are_right() -> None:
    files = sorted((ROOT / "configs" / "sites").glob("*/cloud.toml"))
    assert files
    for file in files:
        assert config.read(file).config.rules


@pytest.mark.parametrize(
    ("quantity", "thresholds", "over", "clear"),
    [
        ("depth", "over_cm = 15\nclear_cm = 12", 0.15, 0.12),
        ("depth", "over_cm = 35\nclear_mm = 320", 0.35, 0.32),
        ("level", "over_m = 183.5\nclear_m = 183", 183.5, 183.0),
        ("displacement", "over_mm = 2.5\nclear_mm = -1", 0.0025, -0.001),
        ("rain_rate", "over_mm_h = 36\nclear_mm_h = 18", 1e-5, 5e-6),
    ],
)
def test_thresholds_become_si(
    quantity: str, thresholds: str, over: float, clear: float, tmp_path: Path
) -> None:
    setup = read(
        tmp_path,
        f'[rule.a]\nquantity = "{quantity}"\nlevel = "yellow"\n{thresholds}\n'
        '[channel.x]\nkind = "log"\n',
    )
    expected = Rule("a", Quantity(quantity), over, clear, Level.YELLOW)
    assert setup.config.rules == [expected]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        brokr = 1
        [broker]
        port = 99999
        [ingest]
        shard = "A/B"
        [store]
        kind = "influx"
        url = "localhost:8086"
        api = "v1"
        [rule.a]
        quantity = "depth"
        over_cm = 15
        clear_cm = 15
        level = "orange"
        [rule.b]
        quantity = "depth"
        over_cm = 15
        clear_cm = 12
        clear_mm = 120
        level = "pink"
        [rule.c]
        quantity = "rain_rate"
        over_cm = 15
        clear_cm = 12
        level = "red"
        [channel.x]
        kind = "sms"
        [channel.y]
        kind = "webhook"
        timeout_s = -1
        """,
    )
    assert found == {
        "brokr": "is not a key here (did you mean 'broker'?)",
        "broker.port": "99999: input should be less than or equal to 65535",
        "ingest.shard": "'A/B': string should match pattern '^[a-z0-9][a-z0-9-]{0,62}$'",
        "store.url": "'localhost:8086' does not begin with http://HOST or https://HOST",
        "rule.a": "clear_cm is not below over_cm: it would never clear",
        "rule.b.level": "'pink' is not one of blue, yellow, orange, red",
        "rule.c": "a rule on rain_rate needs exactly one of over_mm_h",
        "channel.x.kind": "'sms' is not one of 'log', 'webhook'",
        "channel.y.url": "is missing",
        "channel.y.timeout_s": "-1: input should be greater than 0",
    }


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        (
            '[rule.a]\nquantity="depth"\nlevel="red"\nover_cm=15\nclear_cm=12',
            "channel",
            "is missing: there are rules, but nobody would be told",
        ),
        (
            '[rule.a]\nquantity="depth"\nlevel="red"\nover_cm=15\n[channel.x]\nkind="log"',
            "rule.a",
            "a rule on depth needs exactly one of clear_m or clear_cm or clear_mm",
        ),
        ('[store]\nkind="influx"\nurl="http://h"\napi="v2"', "store", 'api = "v2" needs a bucket'),
        (
            '[store]\nkind="influx"\nurl="http://h"\napi="v1"',
            "store",
            'api = "v1" needs a database',
        ),
        ('[store]\nkind="influxdb"', "store.kind", "'influxdb' is not one of 'influx', 'sqlite'"),
        ('[store]\npath="x"', "store.kind", "is missing"),
    ],
)
def test_a_fault_says_what_and_where(text: str, key: str, problem: str, tmp_path: Path) -> None:
    assert faults(tmp_path, text)[key] == problem
