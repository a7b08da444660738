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

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import httpx
from pydantic import Field

from cloud.channels import EXERCISE, TEST, Channel, Language, Message, Receipt, spoken
from cloud.channels.gateway import PLACEHOLDERS, GatewayConfig, call, values_of
from cloud.http import client, secret

_LETTERS: Final[dict[Language, int]] = {"zh": 1, "en": 3}
_BETWEEN: Final[dict[Language, str]] = {"zh": "", "en": " "}
_EXERCISE: Final[dict[Language, str]] = {"zh": "这是演练。", "en": "This is an exercise."}
_TEST: Final[dict[Language, str]] = {"zh": "这是测试。", "en": "This is a test."}


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
    kind, title, text = _unmarked(message)
    room = config.max_chars * _LETTERS[language]
    parts = [*kind, *spoken.sentences(title, language)]
    room -= sum(map(len, parts))
    for sentence in spoken.sentences(text, language):
        if len(sentence) > room:
            is_first = text and not parts[len(kind) + 1 :]
            if is_first:  # it is the order: better its beginning than nothing
                parts.append(spoken.shortened(sentence, room, language))
            break
        parts.append(sentence)
        room -= len(sentence)
    if message.answer_code:
        prompt = config.prompt_zh if language == "zh" else config.prompt_en
        prompt = prompt.replace("{code}", " ".join(message.answer_code))
        parts += spoken.sentences(prompt, language)
    return _BETWEEN[language].join(filter(None, parts))


def _unmarked(message: Message) -> tuple[list[str], str, str]:
    """That it is an exercise or a test, as a sentence; title and text without the mark of it, and
    without the link, which nobody can follow."""
    title, text = message.title, message.text_without_link
    for marks, said in ((EXERCISE, _EXERCISE), (TEST, _TEST)):
        mark = marks[message.language]
        if title.startswith(mark):
            return [said[message.language]], title.removeprefix(mark), text.removeprefix(mark)
    return [], title, text
