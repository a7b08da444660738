"""Orders from afar: believed by signature, refused with a reason, followed to the read-back.

A raise is carried out at once. Whatever may end in a less restrictive aspect needs a person's name,
and a lowering also an end and a clock that can be trusted to notice it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, Protocol

from edge import clock, interlock, rulers
from edge.interlock import Agree, Order, Rule, State
from edge.memory import SequenceMemory
from wire.aspect import Aspect
from wire.codec import DecodeError
from wire.messages import Action, Command, Outcome, Reply
from wire.signing import SignatureError, verify_command
from wire.topics import is_name

log: Final = logging.getLogger("shuichi.command")

LONGEST_LOWER_MS: Final = 24 * 3600 * 1000
"""A lowering that is meant to last longer is a change of the config."""


class Site(Protocol):
    """What the desk needs of an interlock at work."""

    rule: Rule
    state: State

    def take(self, event: interlock.Event, now: float) -> None: ...

    @property
    def shows(self) -> Aspect | None: ...


Move = Callable[[Command], Awaitable[None]]
"""Has the gateway speak in `command.shard`. Raises OSError if the disk will not remember it."""

Tell = Callable[[str, str, str, dict[str, str | int | float | bool | None]], None]
"""`tell(site, kind, text, detail)` records an event."""


class _Followed(NamedTuple):
    command: Command
    key: str
    order: Order | None


class CommandDesk:
    """Takes commands and follows them, for the keys (name → public key) in `keys`.

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
        self._gateway = gateway
        self._now_ms = now_ms
        self._sites = sites
        self._memory = memory
        self._trusted = trusted
        self._tell = tell
        self._reply = reply
        self._move = move
        self._followed: dict[str, _Followed] = {}
        self._unconfirmed: set[str] = set()

    async def receive(self, payload: bytes) -> None:
        """One message from the topic `command`. What is not signed by a key of ours gets no
        answer, but a line in the log."""
        try:
            command, key = verify_command(payload, self.keys)
        except (SignatureError, DecodeError) as error:
            log.warning("command refused: %s", error)
            return
        if (reason := self._refusal(command, key)) is not None:
            self._answer(command, key, Outcome.REFUSED, reason)
            return
        self._memory.take(key, command.sequence)
        self._answer(command, key, Outcome.ACCEPTED)
        if command.action is Action.MOVE:
            await self._remember()
            await self._carry_out_move(command, key)
            return
        if command.action is Action.RAISE:
            self._apply(command, key)
            await self._remember()
        else:
            await self._remember()
            self._apply(command, key)

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

    def _refusal(self, command: Command, key: str) -> str | None:
        """Why `command` is not carried out, or None."""
        if command.gateway != self._gateway:
            return f"it is for gateway {command.gateway!r}"
        if command.action is Action.MOVE:
            return self._move_refusal(command, key)
        if (site := self._sites.get(command.site)) is None:
            return f"there is no interlock {command.site!r} here"
        if replay := self._replay(command, key):
            return replay
        expires = command.expires_ms
        if expires is not None and self._trusted() and expires <= self._now_ms():
            return "it has expired"
        match command.action:
            case Action.RAISE if command.aspect is None:
                return "a raise needs an aspect"
            case Action.LOWER:
                return self._lower_refusal(command)
            case Action.CLEAR:
                return _clear_refusal(command, site)
        return None

    def _replay(self, command: Command, key: str) -> str | None:
        if command.sequence <= (last := self._memory.last(key)):
            return f"sequence {command.sequence} is not above {last}: it was sent before"
        return None

    def _move_refusal(self, command: Command, key: str) -> str | None:
        if not is_name(command.shard):
            return f"{command.shard!r} is no name of a shard"
        return self._replay(command, key)

    async def _carry_out_move(self, command: Command, key: str) -> None:
        try:
            await self._move(command)
        except OSError as error:
            self._answer(command, key, Outcome.ENDED, f"it cannot be saved: {error.strerror}")
        else:
            self._answer(command, key, Outcome.APPLIED)

    def _lower_refusal(self, command: Command) -> str | None:
        if command.aspect is None:
            return "a lowering needs an aspect"
        if not command.person.strip():
            return "a lowering needs a person's name"
        if command.expires_ms is None:
            return "a lowering needs an end"
        if not self._trusted():
            return "the gateway's clock is not trusted: it could not tell when to end"
        if command.expires_ms - self._now_ms() > LONGEST_LOWER_MS:
            return "a lowering may last 24 hours at most"
        return None

    def _apply(self, command: Command, key: str) -> None:
        site = self._sites[command.site]
        now = clock.monotonic()
        by = f"{command.person or 'nobody named'} ({key})"
        order: Order | None = None
        match command.action:
            case Action.RAISE:
                order = Order(command.aspect, None, self._until(command, now), by)
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

    async def _remember(self) -> None:
        try:
            await asyncio.to_thread(self._memory.save)
        except OSError as error:
            log.error("the sequence of commands cannot be saved: %s", error)

    def _answer(
        self,
        command: Command,
        key: str,
        outcome: Outcome,
        reason: str = "",
        aspect: Aspect | None = None,
    ) -> None:
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
        self._reply(Reply(command.id, outcome, self._now_ms(), reason, aspect))


def _clear_refusal(command: Command, site: Site) -> str | None:
    if not command.person.strip():
        return "to clear needs a person's name"
    if site.state.band != interlock.RED:
        return "there is no red to clear"
    healthy = [r for r in site.state.rulers.values() if not r.lost]
    if not healthy:
        return "no ruler answers: nobody can tell that the water has gone"
    if max(rulers.settled(site.rule.rulers, r) for r in healthy) == interlock.RED:
        return "the water still stands over the clear threshold"
    return None
