"""Where mails and the messages to boards end: see endpoints.py."""

import asyncio
import email
import email.policy
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.certificates import Authority
from tests.contract.telling import SECRET, STATUS_IS_ALL, Arrival, Endpoint, Mood, of_json
from tests.services import Service, free_port
from wire import mqtt, signing

# SMTP


class _Mailbox:
    def __init__(self) -> None:
        self.arrived: list[Arrival] = []
        self.logins: list[Any] = []
        self.mood = Mood.YES

    def be(self, mood: Mood) -> None:
        self.mood = mood

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.mood is not Mood.YES:
            code = 550 if self.mood is Mood.NEVER else 451
            return f"{code} no, {SECRET}"
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        text, page = (part.get_content() for part in mail.iter_parts())
        assert "<b>" not in page
        assert envelope.rcpt_tos == ["zhang@example.org"]
        self.arrived.append(Arrival(f"{mail['Subject']}\n{text}", mail["Message-ID"]))
        return f"250 2.0.0 queued as 1 for {SECRET}"


@asynccontextmanager
async def email_endpoint(
    folder: Path, _: Service, tls: str = "starttls"
) -> AsyncIterator[Endpoint]:
    authority = Authority(folder, "authority")
    files = authority.sign("mail")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    (folder / "secret").write_text(f"{SECRET}\n")
    mailbox = _Mailbox()
    logins = mailbox.logins

    def authenticate(_: Any, __: Any, ___: Any, ____: str, data: Any) -> AuthResult:
        logins.append(data)
        known = (data.login, data.password) == (b"alerts", SECRET.encode())
        return AuthResult(success=known, handled=False)

    lines: dict[str, dict[str, Any]] = {
        "starttls": {"tls_context": context, "require_starttls": True, "auth_required": True},
        "tls": {"ssl_context": context, "auth_require_tls": False},
        "stripped": {"auth_require_tls": False},  # somebody between us took STARTTLS away
    }
    server = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=authenticate,
        **lines[tls],
    )
    config = {
        "host": "127.0.0.1",
        "tls": "tls" if tls == "tls" else "starttls",
        "ca_file": authority.file.name,
        "username": "alerts",
        "password_file": "secret",
        "sender": "alerts@water.example",
        "sender_name": "大坪防汛 🌊",
    }
    server.start()
    try:
        yield Endpoint(
            config | {"port": server.port},
            mailbox.arrived,
            mailbox.be,
            STATUS_IS_ALL,
            lambda port: config | {"port": port},
            folder / "secret",
            (SECRET,),
            "zhang@example.org",
            logins,
        )
    finally:
        server.stop()


# MQTT


PRIVATE, PUBLIC = signing.generate()


@asynccontextmanager
async def board_endpoint(folder: Path, broker: Service) -> AsyncIterator[Endpoint]:
    """A board that checks the signature, shows, and says so."""
    (folder / "password").write_text(SECRET)
    (folder / "key").write_text(PRIVATE)
    arrived: list[Arrival] = []
    moods = [Mood.YES]

    async def show(session: mqtt.Session) -> None:
        await session.subscribe("board/village-3/message")
        ready.set()
        while True:
            for heard in await session.take(1):
                session.ack(heard)
                if moods[-1] is not Mood.YES:
                    for said in (b"junk", b'{"id":"another"}'):
                        await session.publish("board/village-3/shown", said)
                    continue
                keys = {"ops": PUBLIC}
                body, _ = signing.verify_body(heard.payload, keys, signing.Context.BOARD)
                arrived.append(of_json({**json.loads(body), "key": json.loads(body)["id"]}))
                said = json.dumps({"id": arrived[-1].key}).encode()
                await session.publish("board/village-3/shown", said)

    ready = asyncio.Event()
    there = {"host": "127.0.0.1", "username": "cloud", "password_file": "password"}
    config = {
        "topic": "board/{to}/message",
        "ack_topic": "board/{to}/shown",
        "retain": False,
        "signing_key": "ops",
        "secret_file": "key",
    }

    def aimed(port: int) -> dict[str, Any]:
        return config | {"broker": there | {"port": port}}

    line = mqtt.Broker(
        port=broker.port, username="cloud", password_file=str(folder / "password-of-the-board")
    )
    (folder / "password-of-the-board").write_text(SECRET)
    async with asyncio.TaskGroup() as group, mqtt.connect(line, "board") as session:
        task = group.create_task(show(session), name="board")
        await ready.wait()
        yield Endpoint(
            aimed(broker.port),
            arrived,
            moods.append,
            frozenset({Mood.AGAIN}),
            aimed,
            folder / "password",
            (SECRET, PRIVATE),
            "village-3",
        )
        task.cancel()
