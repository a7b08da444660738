"""Commands from afar: believed by signature, refused with a reason, followed to the read-back.

A raise is carried out at once. Whatever may end in a less restrictive aspect needs a person's name,
and a lowering also an end and a clock that can be trusted to notice it; and its sequence must be on
the disk before, or it could be played back after a restart.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from edge import clock
from edge.commandrules import CommandRules, Refusal, Site
from edge.interlock import Agree, Order
from edge.memory import SequenceMemory
from wire import codec, limits, signing
from wire.aspect import Aspect
from wire.codec import DecodeError
from wire.messages import Action, Command, Outcome, Reply
from wire.seldom import Seldom
from wire.signing import LARGEST_COMMAND, Context, SignatureError, Signed

log: Final = logging.getLogger("shuichi.command")

SAVE_WITHIN_S: Final = 5.0
"""After this a disk counts as one that refuses."""

REFUSALS_PER_S: Final = 10
OTHERS_PER_S: Final = 50
"""Signatures that are verified each second (one takes 0.1 ms, on a small machine 1 ms): of commands
that would be refused, and of those that would be obeyed. A raise that would be obeyed has no limit:
junk must not keep it out."""

KNOWN: Final = 256
"""Signed messages that are remembered: one that is played back costs no second look."""

LINES: Final = 10
"""Of each kind in the log, a minute."""

Move = Callable[[Command], Awaitable[None]]
"""Has the gateway speak in `command.shard`. Raises OSError if the disk will not remember it."""

Tell = Callable[[str, str, str, dict[str, str | int | float | bool | None]], None]
"""`tell(site, kind, text, detail)` records an event."""


class Counts(NamedTuple):
    """Commands since the start: `taken`, `refused` with an answer, `dropped` without one."""

    taken: int = 0
    refused: int = 0
    dropped: int = 0


class _Followed(NamedTuple):
    command: Command
    key: str
    order: Order | None


class CommandDesk:
    """Takes commands and follows them, for the keys (name → public key) in `keys`; `rules` judges
    them.

    `now_ms` is UTC as well as it is known, `trusted` whether it can be believed.
    """

    def __init__(
        self,
        gateway: str,
        keys: Mapping[str, str],
        sites: Mapping[str, Site],
        memory: SequenceMemory,
        now_ms: Callable[[], int],
        trusted: Callable[[], bool],
        tell: Tell,
        reply: Callable[[Reply], None],
        move: Move,
    ) -> None:
        self.keys = keys
        self.rules = CommandRules(gateway, sites, memory, now_ms, trusted)
        self.counts = Counts()
        self._now_ms = now_ms
        self._trusted = trusted
        self._sites = sites
        self._memory = memory
        self._tell = tell
        self._reply = reply
        self._move = move
        self._followed: dict[str, _Followed] = {}
        self._unconfirmed: set[str] = set()
        self._saving: asyncio.Task[None] | None = None
        self._library_is_loaded = False
        self._known = OrderedDict[bytes, None]()
        self._refusals = _Budget(REFUSALS_PER_S)
        self._others = _Budget(OTHERS_PER_S)
        self._lines = Seldom(burst=LINES, now=clock.monotonic)
        self._told = Seldom(now=clock.monotonic)

    async def receive(self, payload: bytes) -> None:
        """One message from the topic `command`. What is not signed by a key of ours gets no
        answer, but a line in the log. Raises nothing: whatever a message brings about stays here.
        """
        try:
            await self._receive(payload)
        except Exception as error:  # noqa: BLE001 - the seam: a message must not end the uplink
            self._drop(f"{type(error).__name__}: {error}")

    def look(self) -> None:
        """Tell of commands that have been confirmed by read-back, or have ended."""
        for name, (command, key, order) in list(self._followed.items()):
            if (site := self._sites.get(command.site)) is None:
                del self._followed[name]  # a new config has no such interlock
                self._unconfirmed.discard(name)
                continue
            if name in self._unconfirmed and site.shows is site.state.wanted:
                self._unconfirmed.discard(name)
                self._answer(command, key, Outcome.CONFIRMED, aspect=site.shows)
            if order is None:
                ended = name not in self._unconfirmed
            elif ended := site.state.order is not order:
                self._answer(command, key, Outcome.ENDED)
            if ended:
                del self._followed[name]
                self._unconfirmed.discard(name)
        for refused_of, count in self._told.due():
            self._tell(
                "",
                "command_refused",
                f"{count} more commands by {refused_of} were refused within a minute",
                {"key": str(refused_of), "count": count},
            )

    async def _receive(self, payload: bytes) -> None:
        if (read := self._read(payload)) is None:
            return
        signed, command = read
        if not self._library_is_loaded:
            await asyncio.to_thread(signing.load_library)
            self._library_is_loaded = True
        refusal = self.rules.refusal(command, signed.key)
        digest = hashlib.sha256(payload).digest()
        if digest in self._known:  # its signature is right, and that was seen
            if refusal is None or not self._refusals.allows():
                self._drop("the same message was received before")
                return
        else:
            if not self._may_verify(command, refusal):
                self._drop("more than can be verified")
                return
            try:
                signing.verify(signed, self.keys, Context.COMMAND)
            except SignatureError as error:
                self._drop(str(error))
                await asyncio.sleep(0)  # whatever comes in one go, others get their turn
                return
            self._known[digest] = None
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)
        if refusal is not None:
            self._refuse(command, signed.key, refusal)
        else:
            await self._carry_out(command, signed.key)

    def _read(self, payload: bytes) -> tuple[Signed, Command] | None:
        """The command, not verified yet, if it is worth that."""
        if len(payload) > LARGEST_COMMAND:
            self._drop(f"more than {LARGEST_COMMAND} bytes")
            return None
        try:
            signed = signing.opened(payload)
            if signed.key not in self.keys:
                raise SignatureError(f"key {signed.key[:64]!r} is not known here")
            return signed, codec.decode(signed.body.encode(), Command)
        except (SignatureError, DecodeError, UnicodeEncodeError) as error:
            self._drop(str(error))
            return None

    def _may_verify(self, command: Command, refusal: Refusal | None) -> bool:
        if refusal is not None:
            return self._refusals.allows()
        return command.action is Action.RAISE or self._others.allows()

    async def _carry_out(self, command: Command, key: str) -> None:
        lowers, is_new = self.rules.may_lower(command), self.rules.is_new(command, key)
        self._memory.take(key, command.sequence, trusted=self._trusted())
        if lowers:
            # On the disk first. What was right then may be wrong by now.
            reason = await self._save()
            refusal = Refusal(reason) if reason else self.rules.mistake(command)
            if refusal is not None:
                self._refuse(command, key, refusal)
                return
        self.counts = self.counts._replace(taken=self.counts.taken + 1)
        self._answer(command, key, Outcome.ACCEPTED)
        if command.action is Action.MOVE:
            await self._carry_out_move(command, key)
            return
        self._apply(command, key, is_new=is_new)
        if not lowers:
            await self._save()

    async def _carry_out_move(self, command: Command, key: str) -> None:
        try:
            await self._move(command)
        except OSError as error:
            self._answer(command, key, Outcome.ENDED, f"it cannot be saved: {error.strerror}")
        else:
            self._answer(command, key, Outcome.APPLIED)

    def _apply(self, command: Command, key: str, *, is_new: bool) -> None:
        site = self._sites[command.site]
        now = clock.monotonic()
        by = f"{command.person or 'nobody named'} ({key})"
        order: Order | None = None
        match command.action:
            case Action.RAISE:
                until, before = self._until(command, now), site.state.order
                if not is_new and before.floor is not None:
                    until = max(until, before.until)  # played back, it ends no raise sooner
                order = Order(command.aspect, None, until, by)
            case Action.LOWER:
                order = Order(None, command.aspect, self._until(command, now), by)
            case Action.CANCEL:
                site.take(Order(None, None, now, by), now)
            case Action.CLEAR:
                site.take(Agree(by), now)
        if order is not None:
            site.take(order, now)
        self._followed[command.id] = _Followed(command, key, order)
        self._unconfirmed.add(command.id)
        self._answer(command, key, Outcome.APPLIED, aspect=site.state.wanted)

    def _until(self, command: Command, now: float) -> float:
        """The end on the monotonic clock; a raise without an end, or with one that a clock of
        doubt cannot place, lasts until it is cancelled."""
        if command.expires_ms is None or not self._trusted():
            return float("inf")
        return now + (command.expires_ms - self._now_ms()) / 1000

    async def _save(self) -> str:
        """Put the sequences on the disk; why that could not be done, or ""."""
        if self._saving is not None and not self._saving.done():
            reason = "the disk does not answer"
        else:
            self._saving = asyncio.create_task(
                asyncio.to_thread(self._memory.save), name="sequences of commands"
            )
            self._saving.add_done_callback(lambda one: one.cancelled() or one.exception())
            await asyncio.wait((self._saving,), timeout=SAVE_WITHIN_S)
            if not self._saving.done():
                reason = f"the disk does not answer within {SAVE_WITHIN_S:g} s"
            elif isinstance(error := self._saving.exception(), OSError):
                reason = error.strerror or str(error)
            elif error is not None:
                raise error
            else:
                return ""
        if (more := self._lines.says("saving")) is not None:
            log.error("the sequence of commands cannot be saved: %s%s", reason, _before(more))
        return f"its sequence cannot be saved, so that it could be played back: {reason}"

    def _drop(self, reason: str) -> None:
        """What gets no answer."""
        self.counts = self.counts._replace(dropped=self.counts.dropped + 1)
        if (more := self._lines.says("dropped")) is not None:
            log.warning("command refused: %s%s", reason[:200], _before(more))

    def _refuse(self, command: Command, key: str, refusal: Refusal) -> None:
        self.counts = self.counts._replace(refused=self.counts.refused + 1)
        if (more := self._told.says(key)) is not None:
            self._record(command, key, Outcome.REFUSED, refusal.reason + _before(more))
        now_ms, reason = self._now_ms(), refusal.reason[: limits.REASON]
        self._reply(Reply(command.id, Outcome.REFUSED, now_ms, reason, last=refusal.last))

    def _answer(
        self,
        command: Command,
        key: str,
        outcome: Outcome,
        reason: str = "",
        aspect: Aspect | None = None,
    ) -> None:
        self._record(command, key, outcome, reason)
        self._reply(Reply(command.id, outcome, self._now_ms(), reason[: limits.REASON], aspect))

    def _record(self, command: Command, key: str, outcome: Outcome, reason: str) -> None:
        why = f": {reason}" if reason else ""
        self._tell(
            command.site if command.site in self._sites else "",
            f"command_{outcome.value}",
            f"{command.action.value} by {command.person or 'nobody named'} ({key}) "
            f"{outcome.value}{why}",
            {
                "command": command.id,
                "action": command.action.value,
                "key": key,
                "person": command.person,
                "sequence": command.sequence,
                "reason": reason or command.reason,
            },
        )


class _Budget:
    """So many each second, and no more saved up than for one."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at = clock.monotonic()

    def allows(self) -> bool:
        now = clock.monotonic()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _before(more: int) -> str:
    return f" ({more} more before)" if more else ""
