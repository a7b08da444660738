"""Which commands are carried out, and why the others are not. Nothing here does anything.

A sequence is a time: that of its command, in ms, or one above the last. So the clock can tell one
that is ahead, and what was signed long ago is not believed later. None of this may keep a person
from raising a signal for long: a raise is believed without a clock, and where the memory of
sequences cannot be right; played back, it makes a signal more restrictive and nothing else.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from configs.text import is_visible_name
from edge import interlock, rulers
from edge.interlock import Rule, State
from edge.memory import SequenceMemory
from wire.aspect import Aspect
from wire.messages import LATEST_SEQUENCE, Action, Command
from wire.topics import is_name

LONGEST_LOWER_MS: Final = 24 * 3600 * 1000
"""A lowering that is meant to last longer is a change of the config."""

FRESH_FOR_S: Final = 600.0


class Site(Protocol):
    """What commands need of an interlock at work."""

    rule: Rule
    state: State

    def take(self, event: interlock.Event, now: float) -> None: ...

    @property
    def shows(self) -> Aspect | None: ...


class Refusal(NamedTuple):
    """Why a command is not carried out. `last` is the sequence above which the same command, issued
    now, may be taken; None where that is not the matter."""

    reason: str
    last: int | None = None


class CommandRules:
    """Judges what is signed by a key of ours, for `gateway`.

    `now_ms` is UTC as well as it is known, `trusted` whether it can be believed. A command is fresh
    for `fresh_for_s` around the time at which it was issued.
    """

    def __init__(
        self,
        gateway: str,
        sites: Mapping[str, Site],
        memory: SequenceMemory,
        now_ms: Callable[[], int],
        trusted: Callable[[], bool],
    ) -> None:
        self.fresh_for_s = FRESH_FOR_S
        self._gateway = gateway
        self._sites = sites
        self._memory = memory
        self._now_ms = now_ms
        self._trusted = trusted

    def refusal(self, command: Command, key: str) -> Refusal | None:
        """Why `command` of `key` is not carried out, or None."""
        if command.gateway != self._gateway:
            return Refusal(f"it is for gateway {command.gateway[:64]!r}")
        # Its age first: issued anew, it may have another end.
        return self.age(command, key) or self.mistake(command) or self.doubt(command, key)

    def mistake(self, command: Command) -> Refusal | None:
        """What is wrong with it as things stand, whatever its sequence."""
        if command.action is Action.MOVE:
            if not is_name(command.shard):
                return Refusal(f"{command.shard[:64]!r} is no name of a shard")
            return None
        if (site := self._sites.get(command.site)) is None:
            return Refusal(f"there is no interlock {command.site[:64]!r} here")
        expires = command.expires_ms
        if expires is not None and self._trusted() and expires <= self._now_ms():
            return Refusal("it has expired")
        reason = None
        match command.action:
            case Action.RAISE if command.aspect is None:
                reason = "a raise needs an aspect"
            case Action.LOWER:
                reason = self._lower_mistake(command)
            case Action.CLEAR:
                reason = _clear_mistake(command, site)
        return None if reason is None else Refusal(reason)

    def age(self, command: Command, key: str) -> Refusal | None:
        """Whether it was sent before, long ago, or by a clock that is ahead."""
        trusted, now_ms, window_ms = self._trusted(), self._now_ms(), round(self.fresh_for_s * 1000)
        latest = min(now_ms + window_ms, LATEST_SEQUENCE) if trusted else LATEST_SEQUENCE
        last = self._last(key, latest)
        above = min(last, latest - 1)
        if trusted:
            if (ahead_ms := command.issued_ms - now_ms) > window_ms:
                words = f"it was issued {_span(ahead_ms)} ahead of the gateway's time"
                return Refusal(words, above)
            if -ahead_ms > window_ms:
                words = f"it was issued {_span(-ahead_ms)} ago by the gateway's time"
                return Refusal(words, above)
        if command.sequence > latest:
            limit = f"{_span(command.sequence - now_ms)} ahead of the gateway's time"
            words = limit if trusted else "after the year 2100"
            return Refusal(f"sequence {command.sequence} is {words}", above)
        if command.sequence > last or (last >= latest and command.action is Action.RAISE):
            return None
        if last > latest:
            return Refusal(
                f"the last sequence of this key lies {_span(last - now_ms)} ahead of the gateway's "
                "time: until then it can only raise; or give its people a new key"
            )
        words = f"sequence {command.sequence} is not above {last}: it was sent before"
        return Refusal(words, above)

    def doubt(self, command: Command, key: str) -> Refusal | None:
        """What a raise does without and nothing else may: to know which commands were taken."""
        if self._memory.trustworthy or not self.may_lower(command):
            return None
        return Refusal(
            f"{self._memory.trouble}, so that it may have been sent before; to raise works: repair "
            "or remove the file and restart the gateway"
        )

    def may_lower(self, command: Command) -> bool:
        """Whether it may end in a less restrictive aspect, or in silence in this shard."""
        site = self._sites.get(command.site)
        floor = None if site is None else site.state.order.floor
        match command.action:
            case Action.RAISE:  # it takes the place of one that asked for more
                return (
                    command.aspect is not None
                    and floor is not None
                    and command.aspect.severity < floor.severity
                )
            case Action.CANCEL:
                return floor is not None
        return True

    def is_new(self, command: Command, key: str) -> bool:
        """Whether it is certain that it was never taken before: a raise may be taken without."""
        return self._memory.trustworthy and command.sequence > self._memory.last(key)

    def _last(self, key: str, latest: int) -> int:
        """The last sequence that counts, where `latest` is the highest that may be taken now.

        What was taken while no clock was trusted counts no more once that clock shows that it
        cannot be right. What was taken under a trusted clock counts always: a clock that somebody
        sets back must not open the way to what was taken.
        """
        if self._memory.last(key) > latest >= self._memory.sure(key) and self._trusted():
            self._memory.settle(key, self._now_ms())
        return self._memory.last(key)

    def _lower_mistake(self, command: Command) -> str | None:
        if command.aspect is None:
            return "a lowering needs an aspect"
        if not is_visible_name(command.person.strip()):
            return "a lowering needs a person's name"
        if command.expires_ms is None:
            return "a lowering needs an end"
        if not self._trusted():
            return "the gateway's clock is not trusted: it could not tell when to end"
        if command.expires_ms - self._now_ms() > LONGEST_LOWER_MS:
            return "a lowering may last 24 hours at most"
        return None


def _clear_mistake(command: Command, site: Site) -> str | None:
    if not is_visible_name(command.person.strip()):
        return "to clear needs a person's name"
    if site.state.band != interlock.RED:
        return "there is no red to clear"
    healthy = [r for r in site.state.rulers.values() if not r.lost]
    if not healthy:
        return "no ruler answers: nobody can tell that the water has gone"
    if max(rulers.settled(site.rule.rulers, r) for r in healthy) == interlock.RED:
        return "the water still stands over the clear threshold"
    return None


def _span(ms: int) -> str:
    minutes = ms / 60_000
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
