"""`cloud.toml`: what it means, and all of its faults at once."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cloud import config
from cloud.cli import cloud
from cloud.database import Server
from configs.loader import ConfigError, UserError, plugins
from tests.conftest import ROOT

CHANNELS = ", ".join(f"'{kind}'" for kind in plugins("cloud.channels"))
RULES = ", ".join(f"'{kind}'" for kind in plugins("cloud.alerts.rules"))


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
    assert {rule.name for rule in setup.config.rules} == {"service", "twin_gateway"}
    assert setup.database == tmp_path / "cloud.db"


def test_the_configs_that_come_with_us_are_right() -> None:
    files = sorted((ROOT / "configs" / "sites").glob("*/cloud.toml"))
    assert files
    for file in files:
        assert config.read(file).config.rules


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        brokr = 1
        [broker]
        port = 99999
        [ingest]
        shards = "0-3,A/B"
        lease_s = 0.1
        [store]
        kind = "influx"
        url = "localhost:8086"
        api = "v1"
        [rule.a]
        kind = "threshold"
        quantity = "depth"
        orange = { over_cm = 15, clear_cm = 15 }
        red = { over_cm = 30, clear_cm = 27 }
        pink = { over_cm = 15, clear_cm = 12 }
        [rule.b]
        kind = "thresh"
        [rule.c]
        kind = "stale"
        silent_s = 0
        [channel.w]
        kind = "log"
        [channel.x]
        kind = "pigeon"
        [channel.y]
        kind = "webhook"
        timeout_s = -1
        """,
    )
    assert found == {
        "brokr": "is not a key here (did you mean 'broker'?)",
        "broker.port": "99999: input should be less than or equal to 65535",
        "ingest.shards": "'A/B' is neither the name of a shard nor a range such as 0-3",
        "ingest.lease_s": "0.1: input should be greater than or equal to 0.5",
        "store.url": "'localhost:8086' does not begin with http://HOST or https://HOST",
        "rule.a.orange": "clear_cm is not below over_cm: it would never clear",
        "rule.a.pink": "is not a key here",
        "rule.b.kind": f"'thresh' is not one of {RULES}",
        "rule.c.silent_s": "0: input should be greater than or equal to 1",
        "channel.x.kind": f"'pigeon' is not one of {CHANNELS}",
        "channel.y.url": "is missing",
        "channel.y.timeout_s": "-1: input should be greater than 0",
    }


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        (
            '[rule.a]\nkind="stale"',
            "channel",
            "is missing: there are rules, but nobody would be told",
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


@pytest.mark.parametrize(
    ("text", "shards"),
    [
        ("0", "0"),
        ("0-3", "0 1 2 3"),
        ("0,2, 5-7", "0 2 5 6 7"),
        ("1-2,0-2", "1 2 0"),
        ("north,south-1", "north south-1"),
    ],
)
def test_shards_are_named_one_by_one_or_as_ranges(text: str, shards: str, tmp_path: Path) -> None:
    assert read(tmp_path, f'[ingest]\nshards = "{text}"').config.ingest.shards == (*shards.split(),)
    assert read(tmp_path, "").only(text).config.ingest.shards == (*shards.split(),)


@pytest.mark.parametrize("text", ["", "0,", "3-0", "0-1000", "a b", "A"])
def test_what_names_no_shard_is_refused(text: str, tmp_path: Path) -> None:
    assert "ingest.shards" in faults(tmp_path, f'[ingest]\nshards = "{text}"')
    with pytest.raises(ValueError, match=r"^'"):
        read(tmp_path, "").only(text)


URL = "postgresql://shuichi@db.example:5432/flood?sslmode=verify-full"


def test_a_state_on_a_server_has_its_password_in_a_file(tmp_path: Path) -> None:
    own = '[store]\nkind = "sqlite"\npath = "points.db"\n[ingest]\nlease_s = 4.0\n'
    setup = read(tmp_path, f'{own}[state]\nurl = "{URL}"\npassword_file = "word"')
    assert setup.database == Server(URL, tmp_path / "word", patience_s=4)
    assert str(setup.database) == "postgresql://shuichi@db.example:5432/flood"
    assert read(tmp_path, f'{own}[state]\nurl = "{URL}"').database == Server(URL, None, 4)


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ('url="mysql://u@h/d"', "state.url", "is not postgresql://USER@HOST:PORT/DATABASE"),
        ('url="postgresql://u@h"', "state.url", "is not postgresql://USER@HOST:PORT/DATABASE"),
        ('url="db.example"', "state.url", "is not postgresql://USER@HOST:PORT/DATABASE"),
        ('url="postgresql://u:p@h/d"', "state.url", "has a password in it"),
        ('password_file="word"', "state", "has a password_file, but no url"),
        (f'url="{URL}"\npath="cloud.db"', "state", "has both path and url"),
        (f'url="{URL}"', "store.path", "is missing: [state] is on a server"),
    ],
)
def test_a_state_that_cannot_be_is_refused(
    text: str, key: str, problem: str, tmp_path: Path
) -> None:
    found = faults(tmp_path, f"[state]\n{text}")[key]
    assert found.startswith(problem)
    assert "u:p" not in found


def test_the_quarantine_has_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text("")
    assert config.read(file).config.quarantine.most_bytes == 256_000_000
    file.write_text("[quarantine]\nmost_mb = 0\n")
    with pytest.raises(ConfigError, match=r"quarantine\.most_mb"):
        config.read(file)


def test_files_of_the_broker_lie_beside_the_config(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text('[broker]\npassword_file = "secret"\nca_file = "/etc/ca.pem"\ntls = true\n')
    (tmp_path / "secret").write_text("open sesame\n")
    broker = config.read(file).config.broker
    assert broker.password() == "open sesame"
    assert (broker.ca_file, broker.cert_file, broker.tls) == ("/etc/ca.pem", None, True)


def test_what_is_not_named_is_accepted_until_any_is(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    named = "[gateway.g]\n"
    for text, accepts in (
        ("", True),
        (named, False),
        (f'{named}[ingest]\nunknown_gateways = "accept"\n', True),
        (f'{named}[ingest]\nunknown_gateways = "quarantine"\n', False),
    ):
        file.write_text(text)
        setup = config.read(file)
        assert setup.config.accepts_unknown is accepts
        assert ("gateway" in dict(setup.doubts())) is not text.startswith(named)


def test_a_slip_in_the_table_of_a_gateway_does_not_make_it_unknown(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text(
        '[gateway.g]\nsites = ["Not A Name"]\n[gateway.h.quota]\nsereis = 7\n[gateway.i]\n'
    )
    setup, faults = config.read_in_part(file)
    assert {fault.key for fault in faults} == {"gateway.g.sites.0", "gateway.h.quota.sereis"}
    assert {*setup.config.gateway} == {"g", "h", "i"}
    assert not setup.config.accepts_unknown
    file.write_text("[gateway.g]\nx = 1\ny = 2\nsites = 3\n[gateway.h.quota]\nx = 1\ny = 1\n")
    setup, _ = config.read_in_part(file)
    assert {*setup.config.gateway} == {"g", "h"}
    assert not setup.config.accepts_unknown


def test_a_quota_in_the_config(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text("[quota]\nseries = 100\n[gateway.g.quota]\nsites = 3\n")
    read = config.read(file).config
    assert (read.quota.series, read.quota.sites) == (100, 100)
    own = read.quota.changed(read.gateway["g"].quota or read.quota)
    assert (own.series, own.sites) == (100, 3)
    for wrong in ("series = 0", "mb_per_minute = -1", "burst_minutes = 0", "seires = 4"):
        file.write_text(f"[quota]\n{wrong}\n")
        with pytest.raises(ConfigError, match=r"quota\."):
            config.read(file)


def test_check_reads_the_response_plan_too(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text('[alerts]\nplan = "plan.toml"\n')
    (tmp_path / "plan.toml").write_text("[area.street\n")
    for words in (["check"], ["run"]):
        done = CliRunner().invoke(cloud, [*words, "--config", str(file)])
        assert isinstance(done.exception, UserError)
        assert "plan.toml: is not TOML" in str(done.exception)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[channel.a]\nkind = "webhook"\n', "channel.a.url"),
        ('[channel.a]\nkind = "none"\n', "channel.a.kind"),
        ("[channel.a]\n", "channel.a.kind"),
        ('[rule.a]\nkind = "threshold"\n', "rule.a"),
        ("[hook.a]\n", "hook.a.secret_file"),
        ("[gateway.a]\nsite = 1\n", "gateway.a.site"),
        ("[web]\nport = 'x'\n", "web.port"),
        ("[cap]\n", "cap.sender"),
        ('[rule.a]\nkind = "threshold"\nquantity = "depth"\nred = 3\nx = 1\n', "rule.a.x"),
        ('[channel.a]\nkind = "wecom"\nx = 1\ny = 2\n', "channel.a.y"),
        ('[rule."a.b"]\nkind = "none"\n', "rule.a.b"),
        ("[hook.a]\nx = 1\ny = 1\n", "hook.a.y"),
        ("[cap]\nsender = 1\nx = 2\n", "cap.x"),
        ('[[rule]]\nkind = "threshold"\n', "rule"),
        ("[alerts]\nof_delay_s = 1\nplan = 5\n", "alerts.plan"),
        ("[quota]\nseires = 1\n", "quota.seires"),
        ("[quarantine]\nmost_mb = 0\n", "quarantine.most_mb"),
        ('[ingest]\nfuture_s = "x"\n', "ingest.future_s"),
        ('[store]\nkind = "sqlite"\n[store.retention]\nraw_day = 1\n', "store.retention"),
    ],
)
def test_a_faulty_table_is_left_out_and_the_rest_serves(tmp_path, more, key) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text(f'[channel.log]\nkind = "log"\n{more}')
    with pytest.raises(ConfigError):
        config.read(file)
    setup, faults = config.read_in_part(file)
    assert set(setup.config.channel) == {"log"}
    assert [one.key for one in faults if one.key.startswith(key)]


@pytest.mark.parametrize(
    "more",
    [
        "[broker]\nport = 0\n",
        "[state]\nno = 1\n",
        "[web\n",
        "x = 1\n",
        '[ingest]\nshards = ["A B"]\n',
        '[ingest]\nunknown_gateways = "quarantine"\n',
        "alerts = 1\nbroker = 1\n",
    ],
)
def test_what_nothing_can_be_done_without_is_still_refused(tmp_path, more) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text(more)
    with pytest.raises(ConfigError):
        config.read_in_part(file)
