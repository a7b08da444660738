"""The terms of a connection: settings, messages, and what goes wrong."""

import sys
from collections import deque
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wire import limits, secretfile
from wire.mqtt.address import is_loopback, parse_address, shown

GOODBYE_S: Final = 1.0
"""What a broker that does not listen any more may take of our time when we leave."""

ANY_SIZE: Final = sys.maxsize
"""No limit to bytes."""

SAID: Final = "the broker has ended it"
"""Of a connection whose end the broker gives a reason for."""

TOO_LARGE: Final = "packet too large"
TAKEN_OVER: Final = "session taken over by another client of the same name"

HUNG_UP: Final = "it hung up without a word"


class Unreachable(Exception):
    """No connection could be made: nobody listens, no route, no name, no answer."""


class Refused(Unreachable):
    """The broker answered and said no: wrong password, not authorised, wrong version."""


class CannotRetain(Refused):
    """The broker takes no retained message, and so no last will that is one."""


class Disconnected(Exception):
    """The connection ended while it was in use."""


class PublishRefused(Exception):
    """The broker acknowledged a publish with a reason code that means failure, or has said before
    that it takes none so large."""


class Broker(BaseModel):
    """Where the broker is and who we are to it.

    `host` is a name or a numeric address, or all of it as `parse_address` reads it: "[::1]:1883",
    "mqtts://broker.example".

    `protocol` "3.1.1" is for brokers that do not speak MQTT 5, as some clustered ones. It knows no
    reason codes: a publish that such a broker refuses looks like a good one, or ends the
    connection, and a kept session lasts as long as the broker likes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password_file: str | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    connect_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10

    @model_validator(mode="before")
    @classmethod
    def _take_the_host_apart(cls, given: Any) -> Any:
        """A host that says port or TLS as well. Raises ValueError."""
        if not isinstance(given, dict) or not isinstance(given.get("host"), str):
            return given
        address = parse_address(given["host"])
        said = {"port": address.port, "tls": address.tls}
        if address.tls and address.port is None and "port" not in given:
            said["port"] = address.effective_port
        for key, value in said.items():
            if value is not None and given.get(key, value) != value:
                raise ValueError(f"host says {key} {value}, and {key} says {given[key]}")
        found = {key: value for key, value in said.items() if value is not None}
        return given | {"host": address.host} | found

    def __str__(self) -> str:
        return shown(self.host, self.port)

    def doubts(self) -> list[str]:
        """What is allowed and hardly meant, a line each."""
        if self.tls:
            return []
        found: list[str] = []
        if (self.username or self.password_file) and not is_loopback(self.host):
            found.append(
                f"user and password go to {self} in plain text: set tls = true, or reach the "
                "broker through a VPN"
            )
        for key in ("ca_file", "cert_file"):
            if getattr(self, key) is not None:
                found.append(f"{key} is not used without tls = true")
        return found

    def beside(self, folder: Path) -> Self:
        """The same with its files where the config is that names them."""
        keys = ("password_file", "ca_file", "cert_file", "key_file")
        files = {key: file for key in keys if (file := getattr(self, key)) is not None}
        return self.model_copy(update={key: str(folder / file) for key, file in files.items()})

    def password(self) -> str | None:
        """What the password file says. Raises OSError. A disk may take its time: not for an event
        loop on which others depend."""
        if self.password_file is None:
            return None
        return secretfile.text(self.password_file, pipes=False)


class Will(NamedTuple):
    """What the broker says for us when we vanish; retained, where it can."""

    topic: str
    payload: bytes
    retain: bool = True


class Message(NamedTuple):
    """A message that arrived and that nobody has acknowledged yet."""

    topic: str
    payload: bytes
    retained: bool
    mid: int
    qos: int


def draw(inbox: deque[Message], limit: int, limit_bytes: int) -> list[Message]:
    """The oldest of `inbox`, taken out of it: the first, and as many more as keep to both limits,
    the second one of their payloads' bytes."""
    messages: list[Message] = []
    room = limit_bytes
    while inbox and len(messages) < limit:
        room -= len(inbox[0].payload)
        if room < 0 and messages:
            break
        messages.append(inbox.popleft())
    return messages


class Room(NamedTuple):
    """How much of what arrives is kept in memory: of one packet, and of payloads that wait for a
    `take`."""

    packet_bytes: int
    inbox_bytes: int


TO_GATEWAY: Final = Room(limits.PACKET_TO_GATEWAY, limits.INBOX_TO_GATEWAY)
TO_CLOUD: Final = Room(limits.PACKET_TO_CLOUD, limits.INBOX_TO_CLOUD)


class Terms(NamedTuple):
    """What a client asks of its broker when it connects; see `wire.mqtt.connect`."""

    broker: Broker
    identifier: str
    will: Will | None
    keep_session_s: int
    receive_maximum: int
    room: Room = TO_CLOUD
