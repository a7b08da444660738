"""A provider's HTTP interface, described in the config: what to send, and what it says when it has
taken it. For SMS and voice calls, of which every provider has his own."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

import httpx
import msgspec
from pydantic import Field, JsonValue, model_validator

from cloud.channels import NEVER, ChannelConfig, Message, Receipt
from cloud.errors import Rejected, Unavailable
from cloud.http import Url, ask, header, json_of
from configs.loader import suggest

PLACEHOLDERS: Final = frozenset(
    {
        *("to", "name", "title", "text", "code", "reply", "link"),
        *("key", "level", "incident", "site", "token"),
    }
)
"""What `{…}` in a template may name; beside it, what a channel adds."""

SHOWING: Final = frozenset({"title", "text"})
"""Placeholders of which a template must have one: they carry the mark of an exercise."""

_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
_PHONE: Final = re.compile(r"\+?[0-9]{3,18}")

Scalar = str | int | bool


class GatewayConfig(ChannelConfig):
    """How a provider is called.

    `body` (a table, as deep as need be) is sent as JSON or as a form, or in the URL with
    `encoding = "query"`; its texts and those of `headers` may have placeholders, which are filled
    in before anything is encoded, so that no message can break out of its place. `token_file`
    holds what `{token}` stands for.

    The provider has taken a message if its answer is 2xx, is JSON, and has `success_value` at
    `success_path` (`"result.0.code"`: keys and indices). With another value that is in
    `never_values` the message is refused for good; with any other it is tried again. `id_path`
    leads to the provider's number for the message.
    """

    url: Url
    method: Literal["GET", "POST", "PUT"] = "POST"
    encoding: Literal["json", "form", "query"] = "json"
    headers: dict[str, str] = {}
    body: dict[str, JsonValue]
    token_file: str | None = None
    success_path: Annotated[str, Field(min_length=1)]
    success_value: Scalar
    never_values: tuple[Scalar, ...] = ()
    id_path: str | None = None

    @classmethod
    def placeholders(cls) -> frozenset[str]:
        """What may stand in this channel's templates."""
        return PLACEHOLDERS

    @classmethod
    def showing(cls) -> frozenset[str]:
        """Of which one must stand in `body`."""
        return SHOWING

    @model_validator(mode="after")
    def _templates_can_be_filled(self) -> Self:
        shown = set(named(self.body))
        for name in [*shown, *named(self.headers)]:
            if name not in self.placeholders():
                close = suggest(name, self.placeholders())
                raise ValueError(f"{{{name}}} stands for nothing{close}")
        if not shown & self.showing():
            choice = " or ".join(f"{{{name}}}" for name in sorted(self.showing()))
            raise ValueError(f"body shows no {choice}: nobody would see what is told")
        if "token" in {*shown, *named(self.headers)} and self.token_file is None:
            raise ValueError("{token} is used, but there is no token_file")
        if self.encoding != "json" and any(isinstance(v, dict | list) for v in self.body.values()):
            raise ValueError("only JSON can have tables and lists in its body")
        return self


async def call(
    http: httpx.AsyncClient, config: GatewayConfig, values: Mapping[str, str]
) -> Receipt:
    """Hand over the body with `values` in it. Raises Unavailable or Rejected."""
    body = _map(config.body, lambda text: filled(text, values).strip())
    headers = {name: header(filled(text, values)) for name, text in config.headers.items()}
    content, params = None, None
    match config.encoding:
        case "json":
            content = msgspec.json.encode(body)
            headers = {"Content-Type": "application/json; charset=utf-8"} | headers
        case "form":
            content = str(httpx.QueryParams(body)).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"} | headers
        case "query":
            params = body
    answer = await ask(
        http,
        config.method,
        config.url,
        params=params,
        content=content,
        headers=headers,
        refused=NEVER,
    )
    return _receipt(config, answer.content)


def filled(template: str, values: Mapping[str, str]) -> str:
    """`template` with each `{name}` that is known replaced."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def values_of(message: Message, token: str | None) -> dict[str, str]:
    """What the placeholders of `PLACEHOLDERS` stand for. Raises Rejected without a number."""
    return {
        "to": phone(message),
        "name": message.name,
        "title": message.title,
        "text": message.text,
        "code": message.answer_code or "",
        "reply": message.reply,
        "link": message.link or "",
        "key": message.key,
        "level": message.level or "",
        "incident": message.incident,
        "site": message.site,
        "token": token or "",
    }


def phone(message: Message) -> str:
    """The number to call, without what people write between its digits. Raises Rejected."""
    number = re.sub(r"[\s()-]", "", message.to)
    if not _PHONE.fullmatch(number):
        who = message.name or "the contact"
        raise Rejected(
            f"{who}: {message.to!r} is no phone number" if number else f"{who} has no phone number"
        )
    return number


def _receipt(config: GatewayConfig, answer: bytes) -> Receipt:
    said = json_of(answer)
    found = _at(said, config.success_path)
    if not _same(found, config.success_value):
        shown = "nothing" if found is None else repr(found)
        words = f"the provider's {config.success_path} is {shown}, not {config.success_value!r}"
        refused = any(_same(found, value) for value in config.never_values)
        raise (Rejected if refused else Unavailable)(words)
    number = None if config.id_path is None else _at(said, config.id_path)
    return Receipt(None if number is None else str(number), f"{config.success_path} {found!r}")


def _at(value: Any, path: str) -> Any:
    """What stands at a path in an answer, or None."""
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return value


def _same(found: Any, wanted: Scalar) -> bool:
    return type(found) is type(wanted) and bool(found == wanted)  # True is no 1 here


def _map(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of a tree with each text in it changed."""
    match value:
        case str():
            return change(value)
        case dict():
            return {key: _map(item, change) for key, item in value.items()}
        case list():
            return [_map(item, change) for item in value]
    return value


def named(value: Any) -> Iterator[str]:
    """The placeholders in the texts of a tree."""
    match value:
        case str():
            yield from _PLACEHOLDER.findall(value)
        case dict():
            for item in value.values():
                yield from named(item)
        case list():
            for item in value:
                yield from named(item)
