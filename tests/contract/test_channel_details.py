"""What is peculiar to one channel or another; what is common to all is in test_channels.py."""

import logging
import re
import sys
import time
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from cloud import outside
from cloud.alerts import plantables
from cloud.channels import Message, Receipt, board, feishu, gateway, robot, voice
from cloud.config import Config, Setup
from cloud.errors import Rejected, Unavailable
from cloud.heartbeat import Config as Heartbeat
from cloud.http import secret
from configs import loader
from configs.loader import ConfigError, Model
from tests.contract.endpoints import dingtalk_endpoint, feishu_endpoint, sms_endpoint
from tests.contract.sink import Request, Sink, sink
from tests.contract.telling import Channels, message, opened, parsed
from tests.services import Service, free_port

PLAN_TABLES: dict[str, type[Model]] = {
    "channel": plantables.Channel,
    "contact": plantables.Contact,
    "tier": plantables.TierRule,
}


def at(server: Sink) -> str:
    return f"http://127.0.0.1:{server.port}/hook?token=abc"


def test_the_guide_shows_configs_that_can_be_used() -> None:
    page = Path(__file__).parents[2] / "docs/channels.md"
    examples = re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    of_plan = [tomllib.loads(one) for one in examples if one.startswith("# the plan\n")]
    of_cloud = [tomllib.loads(one) for one in examples if not one.startswith("# the plan\n")]
    beats = [
        loader.parse(one["heartbeat"], Heartbeat, "docs") for one in of_cloud if "heartbeat" in one
    ]
    shown = [loader.parse(one, Channels, "docs") for one in of_cloud if "channel" in one]
    kinds = {config.kind for one in shown for config in one.channel.values()}
    assert kinds == loader.plugins("cloud.channels").keys() - {"log", "feishu", "wecom"}
    assert [one.daily is not None for one in beats] == [True]
    assert len(shown) + len(beats) == len(of_cloud)
    for written in of_plan:
        for table in ("channel", "contact", "tier"):
            for one in written.get(table, {}).values():
                loader.parse(one, PLAN_TABLES[table], "docs")
    assert len(of_plan) == 2


# The caller's part


async def test_what_came_too_late_is_not_told(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    async with opened("log", tmp_path, {"path": "a.jsonl"}) as channel:
        await channel.send(message(expires_ms=now_ms + 60_000))
        with pytest.raises(Rejected, match="no longer worth telling"):
            await channel.send(message(expires_ms=now_ms - 1))
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


def test_a_secret_is_in_a_file_or_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "word").write_text("one\n")
    monkeypatch.setenv("SHUICHI_TEST_WORD", "two")
    assert secret(tmp_path, "word") == "one"
    assert secret(tmp_path, "env:SHUICHI_TEST_WORD") == "two"
    assert secret(tmp_path, None) is None
    for place, why in [
        ("env:SHUICHI_NO_SUCH_WORD", "SHUICHI_NO_SUCH_WORD is not in the environment"),
        ("nowhere", "No such file"),
        ("empty", "is empty"),
        ("binary", "not text in UTF-8"),
    ]:
        (tmp_path / "empty").write_text(" \n")
        (tmp_path / "binary").write_bytes(b"\xff")
        with pytest.raises(Unavailable, match=why):
            secret(tmp_path, place)


async def test_the_check_of_a_config_finds_a_secret_that_is_missing(tmp_path: Path) -> None:
    tables: dict[str, Any] = {
        "broker": {"port": free_port()},
        "channel": {
            "robot": {"kind": "wecom", "token_file": "nowhere"},
            "log": {"kind": "log"},
        },
    }
    setup = Setup(loader.parse(tables, Config, "test"), tmp_path)
    lines = [line for line in await outside.faults(setup) if "channel" in line]
    assert lines == [
        f"[channel.robot] {tmp_path}/nowhere: the secret cannot be read: No such file or directory"
    ]


# log


async def test_log_is_a_line_of_json_and_a_line_in_our_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "shuichi.alert"):
        settings = {"path": "a.jsonl", "show_answer_codes": True}
        async with opened("log", tmp_path, settings) as channel:
            await channel.send(message())
    (line,) = (tmp_path / "a.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(line, type=Message) == message()
    assert caplog.messages == [message().text]


async def test_log_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    async with opened("log", tmp_path, {"path": "no/such/folder/a.jsonl"}) as channel:
        with pytest.raises(Unavailable, match=r"no/such/folder/a\.jsonl: No such file"):
            await channel.send(message())


# webhook


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, Rejected),
        (401, Rejected),
        (404, Rejected),
        (410, Rejected),
        (302, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
    ],
)
async def test_webhook_takes_only_2xx_for_a_success_and_keeps_its_url_to_itself(
    code: int, error: type[Exception], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with sink(admit=lambda _: False, denied=(code, b"no")).running() as server:
        async with opened("webhook", tmp_path, {"url": at(server)}) as channel:
            with pytest.raises(error, match=f"says {code}: (no|it sends us to)") as caught:
                await channel.send(message())
    assert "abc" not in str(caught.value)
    assert "abc" not in caplog.text


async def test_webhook_without_a_secret_is_not_signed(tmp_path: Path) -> None:
    with sink().running() as server:
        async with opened("webhook", tmp_path, {"url": at(server)}) as channel:
            await channel.send(message())
    (request,) = server.requests
    assert "Shuichi-Signature" not in request.headers
    assert msgspec.json.decode(request.body, type=Message) == message()


# Robots


async def test_a_robot_calls_somebody_by_name(tmp_path: Path, shared_mosquitto: Service) -> None:
    async with dingtalk_endpoint(tmp_path, shared_mosquitto) as end:
        async with opened("dingtalk", tmp_path, end.config) as channel:
            await channel.send(message(to="13800138000"))
        assert end.arrived[0].shown.endswith("\n@13800138000")
    async with feishu_endpoint(tmp_path, shared_mosquitto) as end:
        async with opened("feishu", tmp_path, end.config) as channel:
            await channel.send(message(to="ou_1"))
        assert end.arrived[0].shown.endswith('\n<at user_id="ou_1"></at>')


def test_what_is_too_long_for_a_robot_loses_its_end_but_not_its_link() -> None:
    long = message(text="水" * 5000)
    for limit in range(200, 210):  # whatever byte a letter is cut at
        shown = robot.content(long, limit)
        assert limit - 3 < len(shown.encode()) <= limit
        assert shown.startswith(long.title)
        assert shown.endswith("水…\nhttps://alerts.example/a?t=1&u=2")
    assert robot.content(message(link=None, text="a" * 500), 200).endswith("a…")
    assert robot.content(message(link=None), 2000).endswith("🚧")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ('{"StatusCode":0,"StatusMessage":"success"}', None),
        ('{"code":0,"StatusCode":0,"msg":"success"}', None),
        ('{"code":0,"StatusCode":19024}', Rejected),
        ('{"code":9499,"msg":"Bad Request"}', Rejected),
        ('{"code":2200}', Unavailable),
        ('{"code":false}', Unavailable),
        ('{"code":"0"}', Unavailable),
        ('{"code":0.0}', Unavailable),
        ("[0]", Unavailable),
        ("", Unavailable),
        ("{" * 100_000, Unavailable),
    ],
)
async def test_only_the_providers_own_zero_is_a_success(
    answer: str, error: type[Exception] | None, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t")
    with sink(yes=(200, answer.encode())).running() as server:
        config = {"url": f"http://127.0.0.1:{server.port}/hook", "token_file": "token"}
        async with opened("feishu", tmp_path, config) as channel:
            if error is None:
                await channel.send(message())
            else:
                with pytest.raises(error):
                    await channel.send(message())


def test_which_codes_are_final_is_a_setting() -> None:
    config = parsed("feishu", {"token_file": "t", "never": [7]})
    assert isinstance(config, feishu.Config)
    assert config.never == (7,)
    assert parsed("wecom", {"token_file": "t"}).rate_per_minute == 20


# SMS and voice

GOOD: dict[str, Any] = {
    "url": "https://sms.example/send",
    "body": {"to": "{to}", "text": "{text}"},
    "success_path": "code",
    "success_value": "0",
}


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        ("sms", {"body": {"text": "{txt}"}}, r"\{txt\} stands for nothing \(did you mean 'text'"),
        ("sms", {"body": {"deep": [{"a": "{speech}"}], "t": "{text}"}}, r"\{speech\} stands for"),
        ("sms", {"body": {"to": "{to}"}}, r"shows no \{text\} or \{title\}"),
        ("voice", {}, r"shows no \{speech\}"),
        ("sms", {"headers": {"Key": "{token}"}}, "there is no token_file"),
        ("sms", {"encoding": "form", "body": {"t": ["{text}"]}}, "only JSON can have tables"),
        ("sms", {"url": "ftp://x"}, "does not begin with http"),
        ("tencent", {}, "secret_id"),
    ],
)
def test_a_template_that_cannot_work_is_refused(
    kind: str, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        parsed(kind, GOOD | changes)


@pytest.mark.parametrize("encoding", ["json", "form", "query"])
async def test_no_message_breaks_out_of_its_place(encoding: str, tmp_path: Path) -> None:
    text = '","admin":true,"x":"&to=1{token}\r\nX-Evil: 1'
    (tmp_path / "token").write_text("t0ken")
    config = GOOD | {
        "encoding": encoding,
        "headers": {"X-Id": "{key}"},
        "body": {"to": "{to}", "text": "{text}"},
        "token_file": "token",
    }
    with sink(yes=(200, b'{"code":"0"}')).running() as server:
        config["url"] = f"http://127.0.0.1:{server.port}/send"
        async with opened("sms", tmp_path, config) as channel:
            await channel.send(message(to="138 0013 8000", text=text, key="a\r\nX-Evil: 1"))
    (request,) = server.requests
    assert "X-Evil" not in request.headers
    assert fields(request) == {"to": "13800138000", "text": text}


def fields(request: Request) -> dict[str, str]:
    if request.query:
        return request.query
    if request.headers["Content-Type"].startswith("application/json"):
        return dict(request.json)
    return dict(parse_qsl(request.body.decode()))


async def test_a_gateway_gives_its_own_number(tmp_path: Path, shared_mosquitto: Service) -> None:
    async with (
        sms_endpoint(tmp_path, shared_mosquitto) as end,
        opened("sms", tmp_path, end.config) as channel,
    ):
        receipt = await channel.send(message(to=end.to))
    assert receipt == Receipt("s-1", "result.0.code 0")


@pytest.mark.parametrize(
    ("answer", "wanted", "error"),
    [
        ('{"data":[{"code":0}]}', 0, None),
        ('{"data":[{"code":false}]}', 0, Unavailable),
        ('{"data":[{"code":0.0}]}', 0, Unavailable),
        ('{"data":[{"code":"0"}]}', 0, Unavailable),
        ('{"data":[{"code":1}]}', True, Unavailable),
        ('{"data":[{"code":true}]}', True, None),
        ('{"data":{"0":{"code":0}}}', 0, None),
        ('{"data":[]}', 0, Unavailable),
        ('{"data":{}}', 0, Unavailable),
        ('{"data":"0"}', 0, Unavailable),
        ('{"data":[{"code":"E1"}]}', 0, Rejected),
        ('{"data":[{"code":"E2"}]}', 0, Unavailable),
        ("0", 0, Unavailable),
    ],
)
async def test_only_the_value_that_was_agreed_on_is_a_success(
    answer: str, wanted: int | bool, error: type[Exception] | None, tmp_path: Path
) -> None:
    agreed = {"success_path": "data.0.code", "success_value": wanted, "never_values": ["E1"]}
    with sink(yes=(200, answer.encode())).running() as server:
        url = f"http://127.0.0.1:{server.port}/send"
        async with opened("sms", tmp_path, GOOD | agreed | {"url": url}) as channel:
            if error is None:
                await channel.send(message(to="13800138000"))
            else:
                with pytest.raises(error):
                    await channel.send(message(to="13800138000"))


@pytest.mark.parametrize("number", ["abc", "12", "13800138000;rm", "+", "138001380001380013800"])
def test_what_is_no_phone_number_is_not_called(number: str) -> None:
    with pytest.raises(Rejected, match="is no phone number"):
        gateway.phone(message(to=number))


@pytest.mark.parametrize(
    ("language", "asked"), [("zh", "回复4711确认。"), ("en", "Reply 4711 to confirm.")]
)
def test_an_sms_asks_for_a_reply_only_where_one_is_wanted(language: str, asked: str) -> None:
    told = message(to="+8613800138000", language=language)
    assert gateway.values_of(told, None)["reply"] == asked
    assert gateway.values_of(message(answer_code=None, to=told.to), None)["reply"] == ""


def test_no_link_is_read_out_or_shown_to_everybody() -> None:
    told = message(text="积水。请封闭道路。https://alerts.example/a?t=1&u=2")
    config = parsed("voice", GOOD | {"body": {"t": "{speech}"}})
    assert isinstance(config, voice.Config)
    said = voice.speech(told, config)
    assert "https" not in said
    assert "请封闭道路" in said
    on_board = parsed("board", {"broker": {"host": "x"}, "topic": "board/{to}/message"})
    assert isinstance(on_board, board.Config)
    assert board.announcement(told, on_board).text == "积水。请封闭道路。"


def test_a_call_is_short_and_in_whole_sentences() -> None:
    body = GOOD | {"body": {"t": "{speech}"}, "max_chars": 40}
    config = parsed("voice", body)
    assert isinstance(config, voice.Config)
    told = message(title="红色预警。", text="积水 0.31 m。请封路。" + "其余的话很长，" * 20)
    assert voice.speech(told, config) == "红色预警。积水 0.31米。请封路。收到请按 4 7 1 1。"
    told = message(title="Red alert", text="0.31 m deep. Close it. " + "And " * 50, language="en")
    said = "Red alert. 0.31 metres deep. Close it. To confirm, press 4 7 1 1."
    assert voice.speech(told, config) == said
    told = message(title="标题" * 40, text="正文" * 40, answer_code=None, exercise=True)
    assert voice.speech(told, config) == f"这是演练。{'标题' * 40}。"


async def test_tencent_without_its_sdk_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tencentcloud.common.credential", None)
    (tmp_path / "secret").write_text("s")
    config = {
        "secret_id": "i",
        "secret_file": "secret",
        "app_id": "1",
        "template_id": "1",
        "sign_name": "s",
    }
    with pytest.raises(Unavailable, match=r"pip install 'shuichi\[tencent\]'"):
        async with opened("tencent", tmp_path, config):
            pytest.fail("there is no SDK")


# CAP


async def test_cap_needs_a_document_and_one_that_says_what_it_is(tmp_path: Path) -> None:
    config = {"url": f"http://127.0.0.1:{free_port()}/cap"}
    plain = message()
    async with opened("cap", tmp_path, config) as channel:
        with pytest.raises(Rejected, match="no CAP document"):
            await channel.send(msgspec.structs.replace(plain, cap=None))
        with pytest.raises(Rejected, match="does not say that it is an exercise"):
            await channel.send(msgspec.structs.replace(plain, exercise=True))
