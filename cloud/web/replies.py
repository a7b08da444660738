"""What a provider passes on: who says what, and which call that answers. Pure."""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import msgspec

from cloud.web.settings import Hook

_WORD: Final = re.compile(r"[0-9]+|[^\W0-9_]+")
"""A code stands alone even where no space parts it from the words: 收到1234."""

_COUNTRY: Final = "86"
_LONGEST: Final = 11
"""Digits that a Chinese number has at most without its country."""

_LONGEST_TEXT: Final = 500


class Reply(NamedTuple):
    """`message_id` is the provider's own name for it, `key` that of our message which it answers;
    "" where it has none. `sent_ms` (UTC) is when the provider says that it was sent, if it does."""

    sender: str
    text: str
    message_id: str
    key: str = ""
    sent_ms: int | None = None


class OpenCall(NamedTuple):
    """A call that waits for an answer: the phone number that it went to, the key of its message,
    and the alerts that it asks about and nobody has answered."""

    id: str
    code: str
    contact: str
    number: str
    key: str
    made_ms: int
    alerts: frozenset[str]


class Meaning(NamedTuple):
    """The call that is meant, or why it cannot be told."""

    call: OpenCall | None
    accepts: bool
    problem: str = ""


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
        _field(fields, hook.text, hook.format)[:_LONGEST_TEXT],
        "" if hook.message_id is None else _field(fields, hook.message_id, hook.format),
        "" if hook.key is None else _field(fields, hook.key, hook.format),
        None if hook.time is None else _moment(_field(fields, hook.time, hook.format), hook.time),
    )


def is_fresh(hook: Hook, reply: Reply, now_ms: int) -> bool:
    """Whether it was sent just now, as far as it says so."""
    if hook.time is None:
        return True
    return reply.sent_ms is not None and abs(now_ms - reply.sent_ms) <= 1000 * hook.time_within_s


def understand(hook: Hook, reply: Reply, calls: Iterable[OpenCall]) -> Meaning:
    """Which of the open calls is answered, and how.

    An answer code in the text names a call to the number that replies, and means yes unless a word
    for no stands beside it. Without a code the text must begin with a word for yes or no, and the
    calls to the number must all be about the same: a word is no answer to what it may not mean.
    """
    own = [
        call
        for call in calls
        if (call.key == reply.key if reply.key else _same_number(call.number, reply.sender))
    ]
    words = _WORD.findall(unicodedata.normalize("NFKC", reply.text).casefold())
    yes, no = ({word.casefold() for word in some} for some in (hook.yes, hook.no))
    accepts = not no.intersection(words)
    if not own:
        what = f"with key {reply.key}" if reply.key else "to this number"
        return Meaning(None, accepts, f"no call {what} is open")
    if named := [call for call in own if call.code in words]:
        return Meaning(max(named, key=_when), accepts)
    if not words or words[0] not in yes | no:
        return Meaning(None, accepts, "neither a code nor a word for yes or no")
    waiting = [call for call in own if call.alerts] or own
    newest = max(waiting, key=_when)
    if any(call.alerts - newest.alerts for call in waiting):
        return Meaning(None, accepts, "calls about several alerts are open, and no code is said")
    return Meaning(newest, words[0] in yes)


def _when(call: OpenCall) -> int:
    return call.made_ms


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


def _same_number(a: str, b: str) -> bool:
    one, other = _digits(a), _digits(b)
    return bool(one) and one == other


def _digits(number: str) -> str:
    """A phone number without what some write before it and some do not: +86, 0086, 0."""
    digits = re.sub(r"\D", "", unicodedata.normalize("NFKC", number))
    digits = digits.removeprefix("00")
    if len(digits) > _LONGEST:
        digits = digits.removeprefix(_COUNTRY)
    return digits.removeprefix("0")
