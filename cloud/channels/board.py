"""Loudspeakers of villages and display boards at roads, over MQTT.

A board reads one topic (`topic`, where `{to}` is the board) and shows or says what it last read
there until `expires_ms`. The payload is JSON:

    {"v": 1, "id": "…", "kind": "raised", "language": "zh", "title": "…", "text": "…",
     "level": "red", "priority": 4, "repeat": 5, "at_ms": …, "expires_ms": …, "exercise": false,
     "incident": "…", "site": "…", "token": "…"}

`priority` is 1 (blue) to 4 (red), 0 without a level; `repeat` is how often a loudspeaker says it.
A board with a button answers a call with its `token` (`cloud.alerts.buttons`); it is null where
nothing is asked. A board that gets an `id` again has it already. With `signing_key` the payload is
signed for the context "board" as `wire.signing` says, and a board should act on nothing else.

What the broker acknowledges, the broker has. A board that says so itself publishes
`{"id": "…"}` on `ack_topic`, and then only that counts.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import msgspec
from pydantic import Field, model_validator

from cloud.channels import Channel, ChannelConfig, Message, Receipt, address
from cloud.channels.gateway import filled, named
from cloud.errors import Rejected, Unavailable
from cloud.http import secret
from wire import mqtt, signing
from wire.messages import Level
from wire.mqtt import Broker

PRIORITY: Final[dict[str | None, int]] = {level.name.lower(): level.value for level in Level}

REPEAT: Final = {"blue": 1, "yellow": 2, "orange": 3, "red": 5}
"""Ours: no rule on it is known."""


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "board"`.

    `retain`: the broker keeps the message for a board that is switched on later. Without it a
    board that is not there makes the message fail. `show_for_s`: how long a message without an
    end of its own is shown. `secret_file`: the private key that `signing_key` names.
    """

    kind: Literal["board"]
    broker: Broker = Broker()
    topic: Annotated[str, Field(min_length=1)] = "board/{to}/message"
    ack_topic: str | None = None
    retain: bool = True
    repeat: dict[str, Annotated[int, Field(ge=1, le=100)]] = REPEAT
    show_for_s: Annotated[float, Field(gt=0)] = 3600
    signing_key: str | None = None
    secret_file: str | None = None

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        for topic in filter(None, (self.topic, self.ack_topic)):
            if set(named(topic)) != {"to"}:
                raise ValueError(f"{topic!r} does not name the board, as board/{{to}}/message does")
            if set(topic) & set("+#\0"):
                raise ValueError(f"{topic!r} is a filter, not a topic")
        if (self.signing_key is None) != (self.secret_file is None):
            raise ValueError("signing_key and secret_file go together")
        if unknown := self.repeat.keys() - REPEAT.keys():
            raise ValueError(f"repeat: {min(unknown)!r} is not one of {', '.join(REPEAT)}")
        return self

    def secret_places(self) -> list[str]:
        return [*super().secret_places(), *filter(None, (self.broker.password_file,))]

    def certificates(self) -> list[str]:
        broker = self.broker
        files = (broker.ca_file, broker.cert_file, broker.key_file)
        return [file for file in files if file and broker.tls]


class Announcement(msgspec.Struct, frozen=True):
    """The payload; see above."""

    id: str
    kind: str
    language: str
    title: str
    text: str
    level: str | None
    priority: int
    repeat: int
    at_ms: int
    expires_ms: int
    exercise: bool
    incident: str
    site: str
    token: str | None
    v: int = 1


class _Shown(msgspec.Struct):
    id: str


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel to `config.broker`; nobody is called yet. Raises Unavailable for a key that
    cannot be read or used."""
    private = secret(folder, config.secret_file)
    if private is not None:
        try:
            signing.public_of(private)
        except ValueError:
            raise Unavailable(f"{config.secret_file}: is no private key") from None
    yield _Board(config, config.broker.beside(folder), private)


class _Board:
    def __init__(self, config: Config, broker: Broker, private: str | None) -> None:
        self._config = config
        self._broker = broker
        self._access = mqtt.Access(broker, is_steady=True)  # until the channel is opened again
        self._private = private

    async def send(self, message: Message) -> Receipt:
        config = self._config
        to = address(message, "board")
        if set(to) & set("+#\0"):
            raise Rejected(f"{to!r} cannot be the name of a board: it would be a filter")
        topic = filled(config.topic, {"to": to})
        payload = msgspec.json.encode(announcement(message, config))
        if config.signing_key is not None and self._private is not None:
            context = signing.Context.BOARD
            payload = signing.sign_body(payload, context, config.signing_key, self._private)
        # A name of its own, or the broker would throw out whoever else speaks under it.
        name = f"shuichi-board-{secrets.token_hex(4)}"
        deaf: mqtt.Refused | None = None
        try:
            async with mqtt.connect(self._broker, name, access=self._access) as session:
                if config.ack_topic is not None:
                    try:
                        await session.subscribe(filled(config.ack_topic, {"to": to}))
                    except mqtt.Refused as error:
                        deaf = error  # it is shown all the same, and counts for nothing
                heard = await session.publish(topic, payload, retain=config.retain)
                if not heard and not config.retain:
                    raise Unavailable(f"nobody reads {topic}: the board is not there")
                if deaf is not None:
                    raise deaf
                if config.ack_topic is not None:
                    await _confirmed(session, message.key)
        except (mqtt.Refused, mqtt.PublishRefused) as error:
            raise Rejected(str(error)) from error
        except (mqtt.Unreachable, mqtt.Disconnected) as error:
            is_unsure = isinstance(error, mqtt.Disconnected)
            raise Unavailable(str(error), unsure=is_unsure) from error
        return Receipt(detail="the board has it" if config.ack_topic else "the broker has it")


def announcement(message: Message, config: Config) -> Announcement:
    """What a board is told."""
    level = message.level
    ends_ms = message.at_ms + round(config.show_for_s * 1000)
    return Announcement(
        id=message.key,
        kind=message.kind,
        language=message.language,
        title=message.title,
        text=message.text_without_link,  # whoever passes by could answer by it
        level=level,
        priority=PRIORITY.get(level, 0),
        repeat=config.repeat.get(level or "", 1),
        at_ms=message.at_ms,
        expires_ms=ends_ms if message.expires_ms is None else message.expires_ms,
        exercise=message.exercise,
        incident=message.incident,
        site=message.site,
        token=message.token,
    )


async def _confirmed(session: mqtt.Session, key: str) -> None:
    """Wait until the board says that it has the message; the caller bounds the wait."""
    while True:
        for answer in await session.take(1):
            session.ack(answer)
            try:
                shown = msgspec.json.decode(answer.payload, type=_Shown)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # not a word that we know
            if shown.id == key:
                return
