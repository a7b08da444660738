"""A channel in use: what every one of them needs around it, done once."""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import msgspec

from cloud.channels import Channel, ChannelConfig, Message, Receipt, rate, renewed
from cloud.errors import Rejected, Unavailable
from configs.text import clean

MOST_OF_A_NUMBER: Final = 100
"""Characters of a provider's number for a message."""

log: Final = logging.getLogger("shuichi.delivery")


class Failed(Exception):
    """A channel has failed in a way that it does not declare: with its traceback, without its
    secrets."""


class Expired(Rejected):
    """It came too late: no word about the channel."""


@asynccontextmanager
async def opened(config: ChannelConfig, folder: Path) -> AsyncIterator["Running"]:
    """The channel of a config, ready for use. Raises Unavailable for a secret or a library that
    is not there."""
    async with renewed.opened(config, folder) as channel:
        yield Running(channel, config, channel.hidden)


@asynccontextmanager
async def kept(config: ChannelConfig, folder: Path) -> AsyncIterator["Kept"]:
    """The channel of a config, whether it can be opened now or later."""
    async with AsyncExitStack() as stack:
        channel = Kept(config, folder, stack)
        with suppress(Unavailable):
            await channel.open()
        yield channel


class Kept:
    """A channel that is opened when it can be: a secret that is missing today costs the messages
    of this channel a delay, and no other channel anything. `fault` says why it is closed, "" once
    it is open."""

    def __init__(self, config: ChannelConfig, folder: Path, stack: AsyncExitStack) -> None:
        self.fault = ""
        self._config = config
        self._folder = folder
        self._stack = stack
        self._channel: Running | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> "Running":
        """The channel, opened now if it was not. Raises Unavailable."""
        async with self._opening:
            return await self._open()

    async def _open(self) -> "Running":
        if self._channel is None:
            try:
                self._channel = await self._stack.enter_async_context(
                    opened(self._config, self._folder)
                )
            except Unavailable as error:
                self.fault = str(error)
                raise
            except Exception as error:
                self.fault = f"it cannot be opened: {type(error).__name__}"
                log.exception("a channel of kind %s cannot be opened", self._config.kind)
                raise Unavailable(self.fault) from None
            self.fault = ""
        return self._channel

    async def turn(self) -> None:
        """As `Running.turn`."""
        await (await self.open()).turn()

    async def send(self, message: Message) -> Receipt:
        """As `Channel.send`."""
        return await (await self.open()).send(message)

    async def send_beside(self, message: Message) -> Receipt:
        """As `Running.send_beside`."""
        return await (await self.open()).send_beside(message)


class Running:
    """A channel that keeps its pace and its time limit, fills in the address, does not tell what
    is no longer worth telling, and lets no secret into an error or a receipt."""

    def __init__(self, channel: Channel, config: ChannelConfig, hidden: Collection[str]) -> None:
        self._channel = channel
        self._config = config
        self._hidden = hidden
        limit = config.rate_per_minute
        self._rate = None if limit is None else rate.per_minute(limit)
        self._bucket = rate.Bucket(0.0 if self._rate is None else self._rate.burst, 0.0)
        self._queue = asyncio.Lock()
        self._has_turn = False

    async def turn(self) -> None:
        """Wait until its pace allows one more message, which is composed after that."""
        if not self._has_turn:
            await self._turn()
            self._has_turn = True

    async def send(self, message: Message) -> Receipt:
        """As `Channel.send`, once it is its turn."""
        if not self._has_turn:
            await self._turn()
        self._has_turn = False
        return await self._send(message)

    async def send_beside(self, message: Message) -> Receipt:
        """The same beside whoever has waited for a `turn`, which stays theirs."""
        await self._turn()
        return await self._send(message)

    async def _send(self, message: Message) -> Receipt:
        if not message.to and self._config.to:
            message = msgspec.structs.replace(message, to=self._config.to)
        if message.expires_ms is not None and message.expires_ms <= time.time_ns() // 1_000_000:
            raise Expired("it was not told in time, and is no longer worth telling")
        try:
            async with asyncio.timeout(self._config.timeout_s):
                receipt = await self._channel.send(message)
        except TimeoutError:
            words = f"no answer within {self._config.timeout_s:g} s"
            raise Unavailable(words, unsure=True) from None
        except Unavailable as error:  # without its cause, which may quote what we hide
            words = self._public(str(error))
            raise Unavailable(words, error.retry_after_s, unsure=error.unsure) from None
        except Rejected as error:
            raise Rejected(self._public(str(error))) from None
        except Exception as error:  # noqa: BLE001  # said by whoever catches Failed
            # A fault of ours. Its own text may quote what we hide; where it was raised does not.
            where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            words = self._public(f"{type(error).__name__}: {error}")
            raise Failed(f"{words}\n{where}") from None
        number = receipt.provider_id and self._public(receipt.provider_id)[:MOST_OF_A_NUMBER]
        return Receipt(number, self._public(receipt.detail))

    async def _turn(self) -> None:
        if self._rate is None:
            return
        async with self._queue:  # who came first goes first
            while True:
                now_s = asyncio.get_running_loop().time()
                self._bucket, wait_s = rate.take(self._rate, self._bucket, now_s)
                if not wait_s:
                    return
                await asyncio.sleep(wait_s)

    def _public(self, text: str) -> str:
        """What a provider says, as anybody may read it and any database can hold it, in one line
        that is not too long."""
        some = self._hidden
        forms = {form for word in some for form in (word, quote(word, ""), quote_plus(word))}
        for word in sorted(forms, key=len, reverse=True):
            text = text.replace(word, "***")
        return clean(" ".join(text.split()))
