"""Ways to reach a person, one module a channel.

A module exports `Config`, a model with `kind`, and `open(config, folder)`, an async context manager
that gives a `Channel`; `kind = "x"` in `cloud.toml` finds it by its file name. `folder` is where
relative paths in the config begin. A channel hands a message over once; its pace, its time limit
and what its errors may say are the business of `running.opened`, through which all are used.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import msgspec
from pydantic import Field

from cloud.errors import Rejected, Unavailable
from cloud.http import REFUSED, secret
from configs.loader import Model
from wire import secretfile

_MOST_OF_CERTIFICATES: Final = 4 << 20
"""Bytes of a file: certificates of all authorities are a tenth of that."""

Language = Literal["zh", "en"]

EXERCISE: Final[dict[str, str]] = {"zh": "【演练】", "en": "[EXERCISE] "}
"""What title and text of an exercise begin with, by language."""


def marked(words: str, language: str) -> str:
    """What is said of an exercise, with its mark, once."""
    return words if words.startswith(EXERCISE[language]) else EXERCISE[language] + words


TEST: Final[dict[str, str]] = {"zh": "【测试】", "en": "[TEST] "}
"""What title and text of a test message begin with."""

TEST_KIND: Final = "test"
"""The kind of a message that only shows that a channel works."""

REPLY: Final[dict[str, str]] = {"zh": "回复{code}确认。", "en": "Reply {code} to confirm."}
"""How an SMS asks for an answer."""

NEVER: Final = REFUSED | {401, 403, 404}
"""What a provider answers to a message that it will never take from us: a wrong token is no less
final than a wrong body, and the next channel should have its turn."""


class ChannelConfig(Model):
    """What every channel's config has: its kind, which is the name of the file that drives it, and
    what its caller does for it.

    `to`: the address for a message that names none. `rate_per_minute`: how many messages a minute
    at most, none for no limit. `timeout_s`: how long one may take.
    """

    kind: str
    to: str = ""
    rate_per_minute: Annotated[int, Field(ge=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10

    def secret_places(self) -> list[str]:
        """Where its secrets are: files, or `env:NAME`."""
        places = [getattr(self, key, None) for key in SECRETS]
        return [place for place in places if place]

    def secrets(self, folder: Path) -> list[str]:
        """The secrets that the config names. Raises Unavailable for one that cannot be read."""
        return [found for place in self.secret_places() if (found := secret(folder, place))]

    def certificates(self) -> list[str]:
        """The files of certificates and their keys that it names."""
        return []

    def held(self, folder: Path) -> tuple[str, ...]:
        """All that its files hold: it is opened again when a message is refused and this is no
        longer the same. Raises Unavailable."""
        files = [folder / name for name in self.certificates()]
        return (*self.secrets(folder), *map(_certificate, files))


def _certificate(file: Path) -> str:
    try:
        return secretfile.read(file, _MOST_OF_CERTIFICATES).hex()
    except OSError as error:
        raise Unavailable(f"{file}: cannot be read: {error.strerror}") from error


SECRETS: Final = ("password_file", "secret_file", "token_file")
"""The keys of a channel's config that name a secret: a file, or `env:NAME`."""


class Measurement(msgspec.Struct, frozen=True):
    """What a sensor measured; `value` in `unit`, the SI unit of `quantity`."""

    sensor: str
    quantity: str
    value: float
    unit: str
    at_ms: int


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What one person, group or board is told.

    key: the same each time this message is handed over, and no other has it: a receiver that
        remembers it is not told twice.
    to: the address on this channel (mailbox, phone number, board), "" where it needs none.
    name: of the person, if it is one.
    title, text: complete, plain, in `language`. Those of an exercise or a test begin with the mark
        of one: whatever a channel shows of them, it shows that.
    level: "blue", "yellow", "orange", "red" or None.
    kind: "raised", "escalated", "cleared", "digest", "board" …
    incident, site: what it is about.
    at_ms, expires_ms: when it was decided, and until when it is worth telling (UTC, milliseconds).
    link, answer_code, token: how to answer it, on a page, with a number, or over MQTT.
    readings: what was measured.
    cap: the same as a CAP document, where there is one.
    """

    key: str
    title: str
    text: str
    kind: str
    at_ms: int
    to: str = ""
    name: str = ""
    language: Language = "zh"
    level: str | None = None
    incident: str = ""
    site: str = ""
    expires_ms: int | None = None
    link: str | None = None
    answer_code: str | None = None
    token: str | None = None
    exercise: bool = False
    readings: tuple[Measurement, ...] = ()
    cap: bytes | None = None
    named: tuple[str, ...] = ()
    """The alerts that the text names, where it counts others: a code answers these only."""

    def __post_init__(self) -> None:
        # Here, so that no channel can forget it and no message is without it.
        if self.exercise or self.kind == TEST_KIND:
            mark = (EXERCISE if self.exercise else TEST)[self.language]
            for field in ("title", "text"):
                words = getattr(self, field)
                if not words.startswith(mark):
                    msgspec.structs.force_setattr(self, field, mark + words)

    @property
    def text_without_link(self) -> str:
        """For where a link is of no use, or must not be seen by everybody."""
        return self.text.replace(self.link, "").rstrip() if self.link else self.text

    @property
    def reply(self) -> str:
        """What to reply so that it counts as an answer; "" where none is wanted."""
        if not self.answer_code:
            return ""
        return REPLY[self.language].format(code=self.answer_code)


class Receipt(msgspec.Struct, frozen=True):
    """That a message was taken: the provider's own number for it, if it gave one, and its words."""

    provider_id: str | None = None
    detail: str = ""


class Channel(Protocol):
    """One way to tell somebody."""

    async def send(self, message: Message) -> Receipt:
        """Hand `message` over; returns only when the other side has taken it by its own word.
        Raises Unavailable (try again) or Rejected (the same will never be taken)."""


def address(message: Message, what: str) -> str:
    """Where `message` goes. Raises Rejected if it has no address."""
    if not message.to:
        raise Rejected(f"{message.name or 'the contact'} has no {what}, and the channel no `to`")
    return message.to


def written(message: Message) -> str:
    """Title, text and link as one plain text."""
    lines = [message.title, message.text]
    if message.link and message.link not in message.text:
        lines.append(message.link)
    return "\n".join(lines)
