"""Where channels end: a real endpoint for each kind, which knows who may speak to it, can be told
to say no, and keeps what it has taken. `<kind>_endpoint` belongs to cloud/channels/<kind>.py."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

from cloud.alerts import cap
from tests.contract.board_and_mail import board_endpoint, email_endpoint
from tests.contract.sink import Answer, Request, Sink, sink
from tests.contract.telling import (
    MUST_BE_READ,
    SECRET,
    STATUS_IS_ALL,
    TOKEN,
    Arrival,
    Endpoint,
    Mood,
    of_json,
)
from tests.services import Service

__all__ = ["board_endpoint", "email_endpoint", "endpoint"]


def endpoint(kind: str, folder: Path, broker: Service) -> AbstractAsyncContextManager[Endpoint]:
    make = globals().get(f"{kind}_endpoint")
    assert make, f"cloud/channels/{kind}.py has no {kind}_endpoint in this file"
    found: AbstractAsyncContextManager[Endpoint] = make(folder, broker)
    return found


# A file


@asynccontextmanager
async def log_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    class Lines(list[Arrival]):
        def __iter__(self) -> Iterator[Arrival]:
            for line in (folder / "a.jsonl").read_text("utf-8").splitlines():
                yield of_json(json.loads(line))

        def __len__(self) -> int:
            return len(list(iter(self))) if (folder / "a.jsonl").exists() else 0

    yield Endpoint({"path": "a.jsonl"}, Lines())


def _ended(
    at: Sink,
    path: str,
    config: dict[str, Any],
    folder: Path,
    moods: frozenset[Mood] = MUST_BE_READ,
    to: str = "",
) -> Endpoint:
    """An endpoint at a sink; its secrets are in the files `token` and `secret`."""
    names = {"token_file": TOKEN, "secret_file": SECRET}
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "secret").write_text(f"{SECRET}\n")

    def aimed(port: int) -> dict[str, Any]:
        return config | {"url": f"http://127.0.0.1:{port}{path}"}

    return Endpoint(
        aimed(at.port),
        at.arrived,
        at.be,
        moods,
        aimed,
        folder / ("secret" if "secret_file" in config else "token"),
        tuple(word for key, word in names.items() if key in config),
        to,
    )


@asynccontextmanager
async def webhook_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def admit(request: Request) -> bool:
        now = request.headers["Shuichi-Timestamp"]
        signed = hmac.new(SECRET.encode(), f"{now}.".encode() + request.body, hashlib.sha256)
        fresh = abs(time.time() - int(now)) < 60
        return fresh and request.headers["Shuichi-Signature"] == f"v1={signed.hexdigest()}"

    def take(request: Request) -> Arrival:
        assert unquote(request.headers["Idempotency-Key"]) == request.json["key"]
        return of_json(request.json)

    with sink(take, admit=admit).running() as at:
        config = {"secret_file": "secret"}
        yield _ended(at, "/hook?token=abc", config, folder, STATUS_IS_ALL)


@asynccontextmanager
async def cap_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def admit(request: Request) -> bool:
        return request.headers["Authorization"] == f"Bearer {TOKEN}"

    def take(request: Request) -> Arrival:
        assert request.headers["Content-Type"].startswith("application/cap+xml")
        info = ElementTree.fromstring(request.body).find(f"{{{cap.NAMESPACE}}}info")
        assert info is not None
        words = [info.findtext(f"{{{cap.NAMESPACE}}}{tag}") for tag in ("headline", "description")]
        key = unquote(request.headers["Idempotency-Key"])
        return Arrival("\n".join(filter(None, words)), key)

    with sink(take, admit=admit).running() as at:
        yield _ended(at, "/cap", {"token_file": "token"}, folder, STATUS_IS_ALL)


@asynccontextmanager
async def dingtalk_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def admit(request: Request) -> bool:
        now = request.query["timestamp"]
        signed = hmac.new(SECRET.encode(), f"{now}\n{SECRET}".encode(), hashlib.sha256)
        return (
            request.query["access_token"] == TOKEN
            and abs(time.time() * 1000 - int(now)) < 60_000
            and request.query["sign"] == base64.b64encode(signed.digest()).decode()
        )

    def take(request: Request) -> Arrival:
        assert request.json["msgtype"] == "text"
        return Arrival(request.json["text"]["content"], None)

    at = sink(
        take,
        admit=admit,
        yes=(200, b'{"errcode":0,"errmsg":"ok"}'),
        never=(200, f'{{"errcode":400102,"errmsg":"{TOKEN} is stopped"}}'.encode()),
        again=(200, b'{"status":1111,"errcode":130101,"errmsg":"send too fast"}'),
        denied=(200, f'{{"errcode":310000,"errmsg":"sign not match {SECRET}"}}'.encode()),
    )
    with at.running():
        config = {"token_file": "token", "secret_file": "secret"}
        yield _ended(at, "/robot/send", config, folder)


@asynccontextmanager
async def feishu_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def admit(request: Request) -> bool:
        assert request.path == f"/hook/{TOKEN}"
        key = f"{request.json['timestamp']}\n{SECRET}"
        assert abs(time.time() - int(request.json["timestamp"])) < 60
        signed = hmac.new(key.encode(), b"", hashlib.sha256).digest()
        return bool(request.json["sign"] == base64.b64encode(signed).decode())

    def take(request: Request) -> Arrival:
        assert request.json["msg_type"] == "text"
        return Arrival(request.json["content"]["text"], None)

    at = sink(
        take,
        admit=admit,
        yes=(200, b'{"code":0,"msg":"success","data":{}}'),
        never=(200, b'{"code":19024,"msg":"Key Words Not Found"}'),
        again=(200, b'{"code":11232,"msg":"frequency limited"}'),
        denied=(200, f'{{"code":19021,"msg":"sign match fail {SECRET}"}}'.encode()),
    )
    with at.running():
        config = {"token_file": "token", "secret_file": "secret"}
        yield _ended(at, "/hook", config, folder)


@asynccontextmanager
async def wecom_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def take(request: Request) -> Arrival:
        assert request.json["msgtype"] == "text"
        return Arrival(request.json["text"]["content"], None)

    at = sink(
        take,
        admit=lambda request: request.query["key"] == TOKEN,
        yes=(200, b'{"errcode":0,"errmsg":"ok"}'),
        never=(200, b'{"errcode":93004,"errmsg":"robot is stopped"}'),
        again=(200, b'{"errcode":45009,"errmsg":"api freq out of limit"}'),
        denied=(200, f'{{"errcode":93000,"errmsg":"invalid webhook url {TOKEN}"}}'.encode()),
    )
    with at.running():
        yield _ended(at, "/cgi-bin/webhook/send", {"token_file": "token"}, folder)


def _bearer(request: Request) -> bool:
    return request.headers["Authorization"] == f"Bearer {TOKEN}"


@asynccontextmanager
async def sms_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def take(request: Request) -> Arrival:
        said = dict(parse_qsl(request.body.decode()))
        assert said["mobile"] == "+8613800138000"
        assert said["extend"] == "4711"
        return Arrival(said["content"], said["msgid"])

    at = sink(
        take,
        admit=_bearer,
        yes=(200, b'{"result":[{"code":0,"sid":"s-1"}]}'),
        never=(200, b'{"result":[{"code":1002}]}'),
        again=(200, b'{"result":[{"code":5000}]}'),
    )
    config = {
        "encoding": "form",
        "headers": {"Authorization": "Bearer {token}"},
        "body": {
            "mobile": "{to}",
            "content": "{title}\n{text}\n{link}",
            "extend": "{code}",
            "msgid": "{key}",
        },
        "token_file": "token",
        "success_path": "result.0.code",
        "success_value": 0,
        "never_values": [1002],
        "id_path": "result.0.sid",
    }
    with at.running():
        yield _ended(at, "/sms", config, folder, to="+86 138-0013-8000")


@asynccontextmanager
async def voice_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def take(request: Request) -> Arrival:
        call = request.json["call"]
        assert call["callee"] == ["13800138000"]
        assert request.json["digits"] == "4711"
        assert "请按 4 7 1 1" in call["tts"]
        return Arrival(call["tts"], request.json["id"])

    at = sink(
        take,
        admit=_bearer,
        yes=(201, b'{"status":"queued"}'),
        never=(200, b'{"status":"unknown number"}'),
        again=(200, b'{"status":"no line free"}'),
    )
    config = {
        "headers": {"Authorization": "Bearer {token}"},
        "body": {
            "call": {"callee": ["{to}"], "tts": "{speech}", "times": 2},
            "digits": "{code}",
            "id": "{key}",
        },
        "token_file": "token",
        "success_path": "status",
        "success_value": "queued",
        "never_values": ["unknown number"],
    }
    with at.running():
        yield _ended(at, "/call", config, folder, to="13800138000")


@asynccontextmanager
async def tencent_endpoint(folder: Path, _: Service) -> AsyncIterator[Endpoint]:
    def admit(request: Request) -> bool:
        """TC3-HMAC-SHA256, as Tencent Cloud's page on signatures describes it."""
        words = dict(
            part.strip().split("=", 1)
            for part in request.headers["Authorization"].removeprefix("TC3-HMAC-SHA256 ").split(",")
        )
        account, scope = words["Credential"].split("/", 1)
        names = words["SignedHeaders"].split(";")
        given = {name.lower(): value for name, value in request.headers.items()}
        canonical = "\n".join(
            [
                *("POST", "/", ""),
                *(f"{name}:{given[name].strip().lower()}" for name in names),
                *("", words["SignedHeaders"], hashlib.sha256(request.body).hexdigest()),
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"TC3{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        text = f"TC3-HMAC-SHA256\n{given['x-tc-timestamp']}\n{scope}\n{digest}"
        signed = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return account == "AKID-1" and words["Signature"] == signed

    def take(request: Request) -> Arrival:
        assert request.json["PhoneNumberSet"] == ["+8613800138000"]
        return Arrival("\n".join(request.json["TemplateParamSet"]), request.json["SessionContext"])

    def status(code: str) -> Answer:
        one = {"SerialNo": "s-1", "Code": code, "Message": f"{code}, {SECRET}"}
        return 200, json.dumps({"Response": {"SendStatusSet": [one], "RequestId": "r"}}).encode()

    error = {"Code": "AuthFailure.SignatureFailure", "Message": SECRET}
    at = sink(
        take,
        admit=admit,
        yes=status("Ok"),
        never=status("FailedOperation.PhoneNumberInBlacklist"),
        again=status("LimitExceeded.DeliveryFrequencyLimit"),
        denied=(200, json.dumps({"Response": {"Error": error, "RequestId": "r"}}).encode()),
    )
    config = {
        "secret_id": "AKID-1",
        "secret_file": "secret",
        "app_id": "1400006666",
        "template_id": "1110",
        "sign_name": "大坪防汛",
        "params": ["{title}", "{text}", "{link}"],
    }
    with at.running():
        yield _ended(at, "", config, folder, to="+8613800138000")
