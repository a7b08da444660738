"""Where a broker is: as people write it, and what is said of it before anybody connects."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud.cli import cloud
from edge.cli import edge
from wire import mqtt
from wire.mqtt import Broker, Refused, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "tls"),
    [
        ("broker.example", "broker.example", None, None),
        ("broker:1884", "broker", 1884, None),
        (" 10.0.0.1:1 ", "10.0.0.1", 1, None),
        ("[::1]:1883", "::1", 1883, None),
        ("[2001:db8::5]", "2001:db8::5", None, None),
        ("::1", "::1", None, None),
        ("fe80::1%eth0", "fe80::1%eth0", None, None),
        ("[fe80::1%eth0]:99", "fe80::1%eth0", 99, None),
        ("mqtt://h", "h", None, False),
        ("mqtts://h", "h", None, True),
        ("MQTTS://h:8884/", "h", 8884, True),
        ("ssl://[::1]:65535", "::1", 65535, True),
    ],
)
def test_an_address_is_read(text, host, port, tls):
    found = parse_address(text)
    assert (found.host, found.port, found.tls) == (host, port, tls)
    assert found.effective_port == (port or (8883 if tls else 1883))


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "h:", "h:abc", "h:0", "h:70000", "h:1:2", "::1]:5", "[::1", "[1:2]:5"),
        *("[10.0.0.1]:5", "ws://h", "mqtts://", "h/topic", "u@h", "mqtt://u:p@h", "a b", "h?x=1"),
    ],
)
def test_what_is_no_address_is_one_line(text):
    with pytest.raises(ValueError, match=r"^.+$") as told:
        parse_address(text)
    assert "\n" not in str(told.value)
    with pytest.raises(ValidationError):
        Broker(host=text)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_value_error(text):
    try:
        found = parse_address(text)
    except ValueError:
        return
    assert found.host
    assert 1 <= found.effective_port <= 65535


def test_a_config_may_say_all_of_it_in_the_host():
    assert Broker(host="mqtts://h").model_dump(include={"host", "port", "tls"}) == {
        "host": "h",
        "port": 8883,
        "tls": True,
    }
    one = Broker(host="[::1]:1884")
    assert (one.host, one.port, str(one)) == ("::1", 1884, "[::1]:1884")
    assert Broker(host="mqtts://h", port=9).port == 9
    assert Broker(host="h", tls=True).port == 1883  # as it always was
    for clash in ({"port": 9}, {"tls": True}):
        with pytest.raises(ValidationError, match="says"):
            Broker(host="mqtt://h:10", **clash)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "broker.example", "username": "gw"}, "plain text"),
        ({"host": "192.0.2.1", "password_file": "x"}, "plain text"),
        ({"host": "[2001:db8::1]", "username": "gw"}, "plain text"),
        ({"host": "localhost.example", "username": "gw"}, "plain text"),
        ({"ca_file": "ca.pem"}, "not used"),
        ({"host": "localhost", "username": "gw"}, None),
        ({"host": "127.0.0.9", "username": "gw"}, None),
        ({"host": "::1", "username": "gw"}, None),
        ({"host": "broker.example"}, None),
        ({"host": "broker.example", "username": "gw", "tls": True, "ca_file": "c"}, None),
    ],
)
def test_a_password_in_plain_text_is_doubted_off_this_machine(settings, words):
    doubts = Broker(**settings).doubts()
    assert bool(doubts) == bool(words)
    assert all(words in doubt for doubt in doubts)


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file", "password_file"])
def test_a_file_that_is_missing_is_named(key, tmp_path: Path):
    (tmp_path / "there").write_bytes(b"")
    there = str(tmp_path / "there")
    files = {"cert_file": there} if key == "key_file" else {}
    broker = Broker(tls=True, **files | {key: str(tmp_path / "none")})

    async def main() -> None:
        async with mqtt.connect(broker, "probe"):
            pass

    with pytest.raises(Refused, match=rf"No such file or directory: {tmp_path}/none"):
        asyncio.run(main())


def test_a_password_that_is_no_text_is_told(tmp_path: Path):
    (tmp_path / "password").write_bytes(b"\xff\xfe")

    async def main() -> None:
        async with mqtt.connect(Broker(password_file=str(tmp_path / "password")), "probe"):
            pass

    with pytest.raises(Refused, match=r"not text in UTF-8: .*password"):
        asyncio.run(main())


def test_both_checks_show_the_doubts(tmp_path: Path):
    broker = 'broker]\nhost = "broker.example"\nusername = "gw"\n'
    (tmp_path / "gateway.toml").write_text(f'[gateway]\nid = "g"\nsite = "s"\n[uplink.{broker}')
    (tmp_path / "cloud.toml").write_text(f"[{broker}")
    wide = CliRunner(env={"COLUMNS": "200"})
    for command, file, key in ((edge, "gateway", "uplink.broker"), (cloud, "cloud", "broker")):
        said = wide.invoke(command, ["check", "--config", str(tmp_path / f"{file}.toml")])
        assert said.exit_code == 0, said.output
        assert f"unsure: {key}: user and password go" in said.output
