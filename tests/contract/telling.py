"""What tests of channels share: the message, the channel as the service opens it, and what an
endpoint is. The endpoints are in endpoints.py."""

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cloud.alerts import cap
from cloud.channels import ChannelConfig, Message, running
from cloud.channels.running import Running
from configs import loader
from configs.loader import Kind, Model
from wire.messages import Level

NOW_MS = 1_700_000_000_000
TOKEN = "token-that-nobody-may-see"
SECRET = "SEC-that-nobody-may-see"
"""What the endpoints demand, and quote whenever they say no."""


class Mood(StrEnum):
    """How an endpoint answers."""

    YES = "yes"
    NEVER = "never"
    AGAIN = "again"
    NOT_JSON = "not json"
    OTHER_JSON = "other json"


MUST_BE_READ = frozenset({Mood.NEVER, Mood.AGAIN, Mood.NOT_JSON, Mood.OTHER_JSON})
STATUS_IS_ALL = frozenset({Mood.NEVER, Mood.AGAIN})
"""The moods of an endpoint whose answers have words of their own, and of one without."""


class Arrival(NamedTuple):
    """What has arrived: all that a person would read, and the key by which a repetition is known
    (None where this kind has no place for it)."""

    shown: str
    key: str | None


@dataclass
class Endpoint:
    """`config` is what to write under [channel.x], `at` the same with another port of 127.0.0.1,
    `admits` the file with the secret by which we are known, `moods` what it can be told to be."""

    config: dict[str, Any]
    arrived: list[Arrival]
    be: Callable[[Mood], None] = lambda _: None
    moods: frozenset[Mood] = frozenset()
    at: Callable[[int], dict[str, Any]] | None = None
    admits: Path | None = None
    secrets: tuple[str, ...] = ()
    to: str = ""
    """An address of this kind, where one is needed."""

    logins: list[Any] = field(default_factory=list)
    """Of mail: who has tried to log in."""


class Channels(Model):
    channel: dict[str, Annotated[ChannelConfig, Kind("cloud.channels")]]


@asynccontextmanager
async def opened(kind: str, folder: Path, config: Mapping[str, Any]) -> AsyncIterator[Running]:
    """A channel as the service opens it."""
    async with running.opened(parsed(kind, config), folder) as channel:
        yield channel


def parsed(kind: str, config: Mapping[str, Any]) -> ChannelConfig:
    tables = {"channel": {"x": {"kind": kind, **config}}}
    return loader.parse(tables, Channels, "test").channel["x"]


def message(**changes: Any) -> Message:
    """One in which a careless encoder loses something."""
    fields: dict[str, Any] = {
        "key": "5f0c9a/大坪/1",
        "title": "红色预警：大坪下穿道 🌊",
        "text": '积水 0.31 m，请立即封闭道路！"<b>&\\{to}\n第二行 🚧',
        "kind": "raised",
        "at_ms": NOW_MS,
        "name": "张 “三”",
        "level": "red",
        "incident": "inc-7",
        "site": "daping-underpass",
        "link": "https://alerts.example/a?t=1&u=2",
        "answer_code": "4711",
    } | changes
    made = Message(**fields)
    if made.cap is None:
        made = Message(**fields | {"cap": warning(made)})
    return made


def warning(told: Message) -> bytes:
    words = cap.Words(told.language, "积水", told.title, told.text, "大坪")
    return cap.document(
        cap.Alert(
            identifier="a.1",
            sender="water.example",
            sent_ms=NOW_MS,
            action=cap.Action.ALERT,
            level=Level.RED,
            words=(words,),
            exercise=told.exercise,
        )
    )


def of_json(said: dict[str, Any]) -> Arrival:
    return Arrival(f"{said['title']}\n{said['text']}", said["key"])


# Lines that fail


@contextmanager
def raw_server(first: bytes | None, *, hang_up: bool) -> Iterator[int]:
    """A port that says `first` to whoever comes, and hangs up or says nothing more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        lines: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                lines.append(line)
                if first is not None:
                    line.sendall(first)
                if hang_up:
                    line.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for line in lines:
                line.close()
