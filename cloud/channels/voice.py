"""A phone call that speaks, through a provider's HTTP interface, as the config describes it.

    [channel.voice]
    kind = "voice"
    url = "https://voice.example/v1/call"
    headers = { Authorization = "Bearer {token}" }
    body = { callee = "{to}", tts = "{speech}", digits = "{code}", id = "{key}" }
    token_file = "voice.token"
    success_path = "status"
    success_value = "queued"

The provider's answer says only that it will call: the person answers with the keys of the phone,
and the provider reports them to the inbound webhook, with `{key}` or `{code}`.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import httpx
from pydantic import Field

from cloud.channels import EXERCISE, Channel, Language, Message, Receipt
from cloud.channels.gateway import PLACEHOLDERS, GatewayConfig, call, values_of
from cloud.http import client, secret

_STOP: Final = re.compile(r"[。！？；!?;\n]|\.(?=\s|$)")
"""The end of a sentence; the point in 0.31 m is none."""

_END: Final = re.compile(r"[。！？；!?;.\s]+$")

_STOPS: Final[dict[Language, tuple[str, str]]] = {"zh": ("。", ""), "en": (".", " ")}
"""What ends a sentence, and what stands between two."""

_LETTERS: Final[dict[Language, int]] = {"zh": 1, "en": 3}


class Config(GatewayConfig):
    """`[channel.<name>]` with `kind = "voice"`. `{speech}` is the title, the beginning of the
    text (both together no longer than `max_chars`, if the title is not), and the prompt. English
    takes three letters to say what Chinese says in one: it has room for three times as many."""

    kind: Literal["voice"]
    max_chars: Annotated[int, Field(ge=20)] = 180
    prompt_zh: str = "收到请按 {code}。"
    prompt_en: str = "To confirm, press {code}."

    @classmethod
    def placeholders(cls) -> frozenset[str]:
        return PLACEHOLDERS | {"speech"}

    @classmethod
    def showing(cls) -> frozenset[str]:
        return frozenset({"speech"})


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel to `config.url`; nobody is called yet. Raises Unavailable for a secret that
    cannot be read."""
    token = secret(folder, config.token_file)
    async with client(config.timeout_s) as http:
        yield _Voice(http, config, token)


class _Voice:
    def __init__(self, http: httpx.AsyncClient, config: Config, token: str | None) -> None:
        self._http = http
        self._config = config
        self._token = token

    async def send(self, message: Message) -> Receipt:
        values = values_of(message, self._token)
        values["speech"] = speech(message, self._config)
        return await call(self._http, self._config, values)


def speech(message: Message, config: Config) -> str:
    """What is said: short, in whole sentences, and last how to answer. The digits of the code
    stand apart, or they would be read as one number."""
    language = message.language
    stop, between = _STOPS[language]
    title = _END.sub("", message.title) + stop
    text = message.text_without_link  # nobody can follow a link that is read out
    if message.exercise:
        text = text.removeprefix(EXERCISE[language])
    room = config.max_chars * _LETTERS[language]
    parts = [title, _sentences(text, room - len(title))]
    if message.answer_code:
        prompt = config.prompt_zh if language == "zh" else config.prompt_en
        parts.append(prompt.replace("{code}", " ".join(message.answer_code)))
    return between.join(filter(None, parts))


def _sentences(text: str, room: int) -> str:
    """The first sentences of `text` that fit."""
    if len(text) <= room:
        return text
    return text[: max((end.end() for end in _STOP.finditer(text) if end.end() <= room), default=0)]
