"""A channel that is opened again where its secrets are refused and its files hold others now.

Nobody can list by which answers a provider refuses a secret: 401, 535, `errcode` 310000, a board
that is silent. So each failure has the files looked at, and nothing follows if they hold the same.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from cloud.channels import Channel, ChannelConfig, Message, Receipt
from cloud.errors import Rejected, Unavailable
from configs import loader
from wire.secretfile import InUse


class _Held(NamedTuple):
    """What its files hold, and those words of it that nobody may read."""

    files: tuple[str, ...]
    secrets: tuple[str, ...]


class _Line:
    """An open channel, and who speaks on it."""

    def __init__(self, held: _Held, stack: AsyncExitStack, channel: Channel) -> None:
        self.held = held
        self.stack = stack
        self.channel = channel
        self.speakers = 0
        self.is_old = False


@contextlib.asynccontextmanager
async def opened(config: ChannelConfig, folder: Path) -> AsyncIterator["Renewed"]:
    """The channel of a config. Raises Unavailable for a secret or a library that is not there."""
    read = partial(_read, config, folder)
    places = ", ".join(config.secret_places()) or "no file"
    name = f"{places} of a channel of kind {config.kind}"
    files = await asyncio.to_thread(InUse, name, read, (Unavailable,))
    channel = Renewed(config, folder, files)
    try:
        await channel.begin()
        yield channel
    finally:
        await channel.close()


class Renewed:
    """As `Channel`. `hidden` are the words that nobody may read: it is kept up to date.

    Another line takes the place of the one in use only once a message was taken on it: a file that
    is missing, empty or wrong ends nothing that works.
    """

    def __init__(self, config: ChannelConfig, folder: Path, files: InUse[_Held]) -> None:
        self.hidden: Final[set[str]] = set()
        self._config = config
        self._folder = folder
        self._files = files
        self._line: _Line | None = None
        self._is_doubted = False

    async def begin(self) -> None:
        """Open the first line. Raises Unavailable."""
        self._line = await self._open(self._files.value)

    async def close(self) -> None:
        """Close the line in use."""
        if self._line is not None:
            await self._line.stack.aclose()

    async def send(self, message: Message) -> Receipt:
        """As `Channel.send`. A message that was surely not taken goes out once more, at once, where
        the files hold something else now. One that perhaps was taken does not: the next message
        begins with what they hold then."""
        line = self._line
        assert line is not None
        if self._is_doubted and (other := await self._another(line)) is not None:
            try:
                return await self._on_trial(other, message)
            except (Rejected, Unavailable) as error:
                if _is_unsure(error):
                    raise
        self._is_doubted = True  # until there is an answer, whatever ends us
        try:
            receipt = await _sent(line, message)
        except (Rejected, Unavailable) as error:
            self._is_doubted = _is_unsure(error)
            if self._is_doubted or (other := await self._another(line)) is None:
                raise
            return await self._on_trial(other, message)
        self._is_doubted = False
        return receipt

    async def _open(self, held: _Held) -> _Line:
        module = loader.plugin("cloud.channels", self._config.kind)
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(module.open(self._config, self._folder))
            self.hidden.update(held.secrets)
            return _Line(held, stack.pop_all(), channel)

    async def _another(self, line: _Line) -> _Line | None:
        """A line with other secrets than those of `line`; None if there are no others."""
        held = await asyncio.to_thread(self._files.instead, line.held)
        if held is None:
            return None
        if self._line is not None and self._line.held == held:
            return self._line  # it was renewed while we spoke
        try:
            return await self._open(held)
        except Unavailable:
            self._files.decline(held)
            return None

    async def _on_trial(self, line: _Line, message: Message) -> Receipt:
        try:
            receipt = await _sent(line, message)
        except BaseException as error:
            if isinstance(error, Rejected | Unavailable) and not _is_unsure(error):
                self._files.decline(line.held)
            if line is not self._line:
                await line.stack.aclose()
            raise
        before = self._line
        assert before is not None
        if line is not before:
            self._line = line
            self._files.accept(line.held)
            self.hidden.intersection_update({*line.held.secrets, *before.held.secrets})
            before.is_old = True
            await _close_old(before)
        self._is_doubted = False
        return receipt


async def _sent(line: _Line, message: Message) -> Receipt:
    line.speakers += 1
    try:
        return await line.channel.send(message)
    finally:
        line.speakers -= 1
        await _close_old(line)


async def _close_old(line: _Line) -> None:
    if line.is_old and not line.speakers:
        await line.stack.aclose()


def _is_unsure(error: Rejected | Unavailable) -> bool:
    """Whether the message may have been taken all the same."""
    return isinstance(error, Unavailable) and error.unsure


def _read(config: ChannelConfig, folder: Path) -> _Held:
    """Raises Unavailable."""
    return _Held(config.held(folder), tuple(config.secrets(folder)))
