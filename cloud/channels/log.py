"""A file with one JSON line for each message, and a line in our own log."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from cloud.channels import Channel, ChannelConfig, Message, Receipt
from cloud.errors import Unavailable
from configs import files

log: Final = logging.getLogger("shuichi.alert")

HIDDEN: Final = "***"
"""Stands where a link, a code or a token stood."""


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "log"`. With `show_answer_codes` the file holds by what a
    message is answered: link, code and token. Whoever reads it can answer: for demonstrations."""

    kind: Literal["log"]
    path: Annotated[str, Field(min_length=1)] = "alerts.jsonl"
    show_answer_codes: bool = False


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel into `config.path`. The file is opened anew for each message, so that it may be
    rotated."""
    yield _Log(folder / config.path, config.show_answer_codes)


class _Log:
    def __init__(self, path: Path, show_answer_codes: bool) -> None:
        self._path = path
        self._show_answer_codes = show_answer_codes

    async def send(self, message: Message) -> Receipt:
        public = _public(message)
        written = message if self._show_answer_codes else public
        await asyncio.to_thread(self._append, msgspec.json.encode(written) + b"\n")
        log.warning("%s", public.text)
        return Receipt(detail=str(self._path))

    def _append(self, line: bytes) -> None:
        try:
            files.append(self._path, line)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error


def _public(message: Message) -> Message:
    """Without what it can be answered by: whoever may read a log may not answer for others."""
    text = message.text
    for secret in (message.link, message.token):
        if secret:
            text = text.replace(secret, HIDDEN)
    if message.answer_code:
        text = re.sub(rf"(?<!\d){re.escape(message.answer_code)}(?!\d)", HIDDEN, text)
    return msgspec.structs.replace(
        message,
        text=text,
        link=message.link and HIDDEN,
        token=message.token and HIDDEN,
        answer_code=message.answer_code and HIDDEN,
    )
