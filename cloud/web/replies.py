"""What a provider passes on: who says what, to which number of ours. Pure."""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import msgspec

from cloud.alerts.actions import Part
from cloud.channels import Message
from cloud.web.settings import Hook

_COUNTRY: Final = "86"
_LONGEST: Final = 11
"""Digits that a Chinese number has at most without its country."""


class Reply(NamedTuple):
    """`message_id` is the provider's own name for it, `key` that of our message which it answers;
    "" where it has none. `sent_ms` (UTC) is when the provider says that it was sent, if it does."""

    sender: str
    text: str
    message_id: str
    key: str = ""
    sent_ms: int | None = None


class OpenCall(NamedTuple):
    """A call: the phone number that it went to, the key of its message, and the alerts that it asks
    about and nobody has answered. `stands`: those of its alerts that are not over; `waits`: it can
    still be answered; `answered_by`: who has answered it, or its alerts; `channel`: "" if that does
    not take what we send."""

    id: str
    code: str
    contact: str
    number: str
    key: str
    made_ms: int
    alerts: frozenset[str]
    channel: str = ""
    message: Message | None = None
    parts: tuple[Part, ...] = ()
    stands: frozenset[str] = frozenset()
    waits: bool = True
    answered_by: str = ""

    def is_to(self, reply: Reply) -> bool:
        """Whether it is one that `reply` may answer: by its key, where the provider gives that
        back, else by the number."""
        if reply.key:
            return self.key == reply.key
        return is_same_number(self.number, reply.sender)


def is_authentic(hook: Hook, secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether it comes from the provider. `headers` by names in lower case."""
    said = headers.get(hook.secret_header.lower(), "")
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() if hook.signed else secret
    return hmac.compare_digest(said.encode(), wanted.encode())


def read(hook: Hook, body: bytes) -> Reply:
    """The reply in a body. Raises ValueError with what is missing."""
    try:
        text = body.decode()
        fields: Any = (
            {name: values[0] for name, values in parse_qs(text).items()}
            if hook.format == "form"
            else msgspec.json.decode(text)
        )
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"is not {hook.format}: {error}") from None
    return Reply(
        _field(fields, hook.sender, hook.format),
        _field(fields, hook.text, hook.format),
        "" if hook.message_id is None else _field(fields, hook.message_id, hook.format),
        "" if hook.key is None else _field(fields, hook.key, hook.format),
        None if hook.time is None else _moment(_field(fields, hook.time, hook.format), hook.time),
    )


def is_fresh(hook: Hook, reply: Reply, now_ms: int) -> bool:
    """Whether it was sent just now, as far as it says so."""
    if hook.time is None:
        return True
    return reply.sent_ms is not None and abs(now_ms - reply.sent_ms) <= 1000 * hook.time_within_s


def _field(fields: Any, path: str, form: str) -> str:
    found = fields
    for key in [path] if form == "form" else path.split("."):
        if not isinstance(found, dict) or key not in found:
            raise ValueError(f"has no {path}")
        found = found[key]
    if not isinstance(found, str | int):
        raise ValueError(f"{path} is neither a text nor a number")
    return str(found).replace("\0", "")  # which no database takes


def _moment(text: str, path: str) -> int:
    """UTC in ms. Raises ValueError."""
    try:
        if re.fullmatch(r"\d{9,11}(\.\d{1,9})?", text):
            return round(1000 * float(text))
        if re.fullmatch(r"\d{12,14}", text):
            return int(text)
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        return round(1000 * found.timestamp())
    except (ValueError, OverflowError):
        raise ValueError(
            f"{path} is no time: seconds or milliseconds since 1970, or ISO 8601 with a zone"
        ) from None


def is_same_number(a: str, b: str) -> bool:
    """Whether two ways to write a phone number mean one."""
    one, other = _digits(a), _digits(b)
    return bool(one) and one == other


def _digits(number: str) -> str:
    """A phone number without what some write before it and some do not: +86, 0086, 0."""
    if "@" in number:
        return ""  # an address for mail, whatever digits it has
    digits = re.sub(r"\D", "", unicodedata.normalize("NFKC", number))
    digits = digits.removeprefix("00")
    if len(digits) > _LONGEST:
        digits = digits.removeprefix(_COUNTRY)
    return digits.removeprefix("0")
