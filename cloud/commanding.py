"""Sends a signed command to a gateway and follows its replies, which anybody at the broker may have
written: only those count that the gateway's key proves."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

import click

from cloud import proofs
from cloud.config import Setup
from configs import files
from configs.loader import UserError
from configs.text import for_terminal
from wire import codec, signing, topics
from wire.authentication import Keys
from wire.messages import LATEST_SEQUENCE, Action, Command, Outcome, Reply
from wire.mqtt import Disconnected, Message, PublishRefused, Session, Unreachable, connect
from wire.signing import LARGEST_COMMAND
from wire.topics import What

_LARGEST_REPLY: Final = 16_384
_MOST_SHOWN: Final = 8
"""Answers that nothing proves, of one command: there may be thousands."""

REPEAT_EVERY_S: Final = 3.0

_CLOCKS_AGREE_MS: Final = 60_000
_FAR_MS: Final = 600_000
"""A gateway that proves nothing is not followed further than this from our own clock, unless to
raise: what it says may be a stranger's, who would have us sign for a time of his choice."""


class Result(IntEnum):
    """What became of a command, and the exit code that says so."""

    CONFIRMED = 0
    NOT_CONFIRMED = 1
    SAID_TO_BE_CONFIRMED = 3


class Target(NamedTuple):
    """The gateway, the shards in which it may listen, and those in which it may answer."""

    gateway: str
    sent_in: Collection[str]
    heard_in: Collection[str]


class Moment(NamedTuple):
    """When a command is issued, and its sequence."""

    issued_ms: int
    sequence: int


Draft = Callable[[str, Moment], Command]
"""The command with an id, for a moment."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A person's private key and its name on the gateway."""

    private: str
    name: str

    @classmethod
    async def read(cls, key: Path, name: str | None) -> "Signer":
        """The key in a file. Raises UserError."""
        try:
            private = (await asyncio.to_thread(_read, key)).strip()
            signing.public_of(private)
        except OSError as error:
            raise UserError(f"--key {key}: {error.strerror}") from None
        except ValueError as error:
            raise UserError(f"--key {key}: is not a private key: {error}") from None
        if said := files.doubt(key):
            click.echo(f"--key: {said}", err=True)
        return cls(private, name or key.stem)

    def sign(self, command: Command) -> bytes:
        """The command as it travels. Raises UserError for one that no gateway reads."""
        try:
            codec.decode(codec.encode(command), Command)  # with the bounds that a gateway has
        except codec.DecodeError as error:
            raise UserError(f"no gateway takes this command: {error}") from None
        payload = signing.sign(command, self.name, self.private)
        if len(payload) > LARGEST_COMMAND:
            raise UserError(f"the command has more than {LARGEST_COMMAND} bytes: shorten --reason")
        return payload


def _read(key: Path) -> str:
    with key.open("rb") as file:
        return file.read(1024).decode("ascii")


async def carry_out(
    setup: Setup, target: Target, signer: Signer, draft: Draft, wait_s: float
) -> Result:
    """Send the command, print what is answered, and say what became of it. If the gateway refuses
    it for its sequence or its time, it is sent once more, as the gateway wants it.

    Raises UserError where the broker does not take it.
    """
    found_keys = await asyncio.to_thread(proofs.read, setup)
    if fault := found_keys.faults.get(target.gateway):
        click.echo(f"key_file of {target.gateway}: {fault}: no answer can be proven", err=True)
    keys = found_keys.keys.get(target.gateway)
    identifier = secrets.token_hex(8)
    now_ms = time.time_ns() // 1_000_000
    command = draft(identifier, Moment(now_ms, now_ms))
    payload = signer.sign(command)
    try:
        async with connect(setup.config.broker, f"shuichi-command-{identifier}") as session:
            followed = {topics.topic(one, target.gateway, What.REPLY) for one in target.heard_in}
            await session.subscribe(*sorted(followed))
            follower = _Follower(session, followed, target.gateway, keys)
            found = await _exchange(session, target, follower, command, payload, wait_s)
            if isinstance(found, Moment):
                follower.may_go_on = False  # once is enough
                command = draft(secrets.token_hex(8), found)
                payload = signer.sign(command)
                found = await _exchange(session, target, follower, command, payload, wait_s)
            assert isinstance(found, Result)
            return found
    except (Unreachable, Disconnected, PublishRefused) as error:
        raise UserError(str(error)) from None


async def _exchange(
    session: Session,
    target: Target,
    follower: "_Follower",
    command: Command,
    payload: bytes,
    wait_s: float,
) -> "Result | Moment":
    """Send a command and follow its answers. While there is none it is sent again, the same bytes:
    a broker under a flood drops messages. The gateway takes it once."""
    follower.is_answered = False
    await _send(session, target, payload)
    repeating = asyncio.create_task(_repeat(session, target, follower, payload))
    try:
        return await follower.follow(command, wait_s)
    finally:
        repeating.cancel()
        await asyncio.wait((repeating,))


async def _repeat(session: Session, target: Target, follower: "_Follower", payload: bytes) -> None:
    with contextlib.suppress(Disconnected, PublishRefused):  # whoever listens hears of it too
        while True:
            await asyncio.sleep(REPEAT_EVERY_S)
            if follower.is_answered:
                return
            await _send(session, target, payload)


async def _send(session: Session, target: Target, payload: bytes) -> None:
    for shard in target.sent_in:
        await session.publish(topics.topic(shard, target.gateway, What.COMMAND), payload)


class _Follower:
    """Listens to the replies of one gateway."""

    def __init__(
        self, session: Session, followed: Collection[str], gateway: str, keys: Keys | None
    ) -> None:
        self._session = session
        self._topics = followed
        self._gateway = gateway
        self._keys = keys
        self._unproven = 0
        self.may_go_on = True
        self.is_answered = False
        """By something that proves as much as there is to prove here."""

    async def follow(self, command: Command, wait_s: float) -> Result | Moment:
        """Print each answer until the last: what became of the command, or for which moment it
        should be sent once more."""
        accepted, said = False, False
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    for message in await self._session.take(10):
                        self._session.ack(message)
                        if (reply := self._reply(message, command)) is None:
                            continue
                        is_proven = self._keys is not None and self._keys.believe(
                            reply, self._gateway
                        )
                        self._show(reply, is_proven=is_proven)
                        if self._keys is not None and not is_proven:
                            said |= reply.outcome is Outcome.CONFIRMED
                            continue  # a stranger must not end the wait
                        self.is_answered = True
                        accepted |= reply.outcome is Outcome.ACCEPTED
                        if reply.outcome is Outcome.CONFIRMED:
                            return Result.CONFIRMED if is_proven else Result.SAID_TO_BE_CONFIRMED
                        if reply.outcome is not Outcome.REFUSED or accepted:
                            continue  # refused was a copy, which somebody else has sent
                        moment = self._moment(reply, command, is_proven=is_proven)
                        return moment or Result.NOT_CONFIRMED
        except TimeoutError:
            click.echo(
                f"no {'proven ' if said else ''}confirmation within {wait_s:g} s: is the gateway "
                f"online, does it know the key{', has it the key that we have of it' * said}?",
                err=True,
            )
            return Result.SAID_TO_BE_CONFIRMED if said else Result.NOT_CONFIRMED

    def _reply(self, message: Message, command: Command) -> Reply | None:
        """The reply in a message, if it is one to this command. All else is nobody's answer."""
        if message.topic not in self._topics or len(message.payload) > _LARGEST_REPLY:
            return None
        try:
            reply = codec.decode(message.payload, Reply)
        except codec.DecodeError:
            return None
        return reply if reply.command == command.id else None

    def _show(self, reply: Reply, *, is_proven: bool) -> None:
        shown = f" {reply.aspect.value}" if reply.aspect else ""
        why = f": {for_terminal(reply.reason)}" if reply.reason else ""
        words = f"{reply.outcome.value}{shown}{why}"
        if is_proven:
            click.echo(words)
            return
        self._unproven += 1
        if self._unproven <= _MOST_SHOWN:
            lacks = (
                f"no key of {self._gateway} here"
                if self._keys is None
                else f"not by the key of {self._gateway}"
            )
            click.echo(f"the broker says: {words} (not proven: {lacks})")
        if self._unproven == _MOST_SHOWN:
            click.echo("more answers that are not proven are not shown")

    def _moment(self, reply: Reply, command: Command, *, is_proven: bool) -> Moment | None:
        """When the command should be issued to be taken, None if that is not the matter."""
        if not self.may_go_on or reply.last is None or reply.last >= LATEST_SEQUENCE:
            return None
        now_ms = time.time_ns() // 1_000_000
        off_ms = reply.at_ms - now_ms
        issued_ms = now_ms if abs(off_ms) <= _CLOCKS_AGREE_MS else reply.at_ms
        moment = Moment(issued_ms, max(reply.last + 1, issued_ms))
        if not (is_proven or command.action is Action.RAISE):
            far = max(abs(off_ms), moment.sequence - now_ms)
            if far > _FAR_MS:
                click.echo(
                    "not sent again: the answer is not proven, and it asks for a time that is far "
                    "from the one of this machine; is its clock right?",
                    err=True,
                )
                return None
        clocks = ""
        if issued_ms != now_ms:
            minutes = f"{abs(off_ms) / 60_000:.0f} min {'ahead' if off_ms > 0 else 'behind'}"
            clocks = f" and by the gateway's clock, which is {minutes}"
        click.echo(f"sent again, above sequence {reply.last}{clocks}")
        return moment
