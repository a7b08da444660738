"""A file with one JSON line for each message, and a line in our own log."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from cloud.channels import Channel, ChannelConfig, Message, Receipt
from cloud.errors import Unavailable

log: Final = logging.getLogger("shuichi.alert")


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "log"`."""

    kind: Literal["log"]
    path: Annotated[str, Field(min_length=1)] = "alerts.jsonl"


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel into `config.path`. The file is opened anew for each message, so that it may be
    rotated."""
    yield _Log(folder / config.path)


class _Log:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, message: Message) -> Receipt:
        await asyncio.to_thread(self._append, msgspec.json.encode(message) + b"\n")
        log.warning("%s", message.text)
        return Receipt(detail=str(self._path))

    def _append(self, line: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error
