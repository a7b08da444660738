"""All rules over all places: what arrives is looked at once, and what follows from it is committed
together with the note of what was looked at (`cloud.ingest.examination`). So neither kill -9 nor a
batch that comes again can lose a finding or repeat it.

Each place of a rule has a state of its own. Which places a series of readings concerns is worked
out once, when its first reading comes; a reading of a series that concerns nobody costs one look
into a table.
"""

import logging
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, select

from cloud import ledger, tables
from cloud.alerts import episodes, moments
from cloud.alerts.episodes import Change, Key, Present
from cloud.alerts.rule import Finding, Heard, Hole, Place, Rule, Said, ServiceFault, Tick
from cloud.alerts.rules import service
from cloud.alerts.trend import Samples, trend
from wire.messages import Batch, GatewayState, InterlockState, Status
from wire.reading import Columns, Quality, Quantity, Reading, Series, columns

log: Final = logging.getLogger("shuichi.watch")

TICK_S: Final = 5.0
"""How often the rules are told that time has passed."""

KEEP_MS: Final = 660_000
"""For how long after a rule is normal again its place is still measured for messages: as long as
the off-delay of alarms."""

_GOOD: Final = frozenset({Quality.GOOD, Quality.NOT_EVALUATED})
"""What messages may quote."""

_SERIES_KNOWN: Final = 32768
"""Series of which it is remembered whom they concern."""


_EXACT_PARTS: Final = 1000
"""With more intervals in a stream, what is missing is told as if nothing that was declared lost had
come after all."""


_NameT = TypeVar("_NameT", bound=Hashable)

MayFind = Callable[[str, str, bool, int], bool]
"""Whether a gateway may raise or worsen a finding at a site, now: of something that is looked at
again and again, or only once. Then it is counted."""


class Ear(NamedTuple):
    """A rule at one place, which hears something there."""

    key: Key
    rule: Rule[Any]


class Findings(NamedTuple):
    """What was said changes: new states, and what is to be told, in order."""

    states: dict[Key, msgspec.Struct]
    changes: list[Change]
    heard: dict[str, int]
    """When each gateway was heard itself, by the cloud's clock."""
    said: dict[str, int]
    """The time in the last status of each."""
    newest: dict[Key, Reading]
    """The newest good reading of each place whose rule is not normal."""

    def parts(self) -> "list[Findings]":
        """The same, each state with its changes by itself."""
        return [
            Findings(
                {key: state},
                [one for one in self.changes if one.key == key],
                *({}, {}),
                {key: self.newest[key]} if key in self.newest else {},
            )
            for key, state in self.states.items()
        ]


def together(findings: Iterable[Findings]) -> Findings:
    """Several in their order, as one."""
    whole = _nothing()
    for one in findings:
        whole.states.update(one.states)
        whole.changes.extend(one.changes)
        whole.heard.update(one.heard)
        whole.said.update(one.said)
        whole.newest.update(one.newest)
    return whole


def _nothing() -> Findings:
    return Findings({}, [], {}, {}, {})


class Watch:
    """The rules and how each stands at each place. One for each shard: it ticks for the gateways
    that it has heard, retained messages included. `keep_ms`: see `KEEP_MS`."""

    def __init__(
        self,
        rules: Iterable[Rule[Any]],
        may_find: MayFind | None = None,
        keep_ms: int = KEEP_MS,
    ) -> None:
        self._may_find = may_find
        self._parts = {(rule.name, rule.part): rule for rule in rules}
        self._states: dict[Key, msgspec.Struct] = {}
        self._samples = Samples()
        self._open_until: dict[Key, int] = {}
        self._sites_until: dict[tuple[str, str], int] = {}
        """By rule and site, the same of any of its places."""
        self._keep_ms = keep_ms
        self._ears = lru_cache(_SERIES_KNOWN)(self._find_ears)
        self._latest_ms = 0
        self.failed: list[Exception] = []
        """What rules have raised at ticks; whoever tells of it clears it."""
        self._unheard: dict[str, Sequence[Series]] = {}
        """Of each gateway, the series of its last batch of which no rule hears any: most batches
        have the same."""
        self._heard: dict[str, int] = {}
        self._said: dict[str, int] = {}
        self._ticking: dict[str, dict[Key, Rule[Any]]] = {}
        self._hearing: dict[type, tuple[Rule[Any], ...]] = {}
        for rule in self._parts.values():
            for kind in rule.hears:
                self._hearing[kind] = (*self._hearing.get(kind, ()), rule)

    def load(self, connection: Connection) -> None:
        """Take up where the last process ended. What a rule found that is no more, or that has
        become another, is over."""
        self._states, self._ticking, now_ms = {}, {}, time.time_ns() // 1_000_000
        for row in connection.execute(select(tables.rule_state)).all():
            key = Key(row.rule, Place(row.gateway, row.site, row.sensor), row.part)
            try:
                rule = self._parts[row.rule, row.part]
                memory = msgspec.json.decode(row.state, type=rule.memory)
                self._states[key] = moments.not_after(memory, now_ms)
            except (KeyError, msgspec.MsgspecError, UnicodeDecodeError):
                log.warning("rule %s is another one now, or none: it ends at %s", *key[:2])
                episodes.drop(connection, key, now_ms)
            else:
                self._let_tick(key, rule)
        until_ms = now_ms + self._keep_ms
        self._open_until = dict.fromkeys(episodes.measured(connection), until_ms)
        self._sites_until = dict.fromkeys(
            ((key.rule, key.place.site) for key in self._open_until if key.place.site), until_ms
        )

    def examine(
        self,
        batches: Collection[Batch],
        statuses: Iterable[Status],
        interlocks: Iterable[tuple[str, InterlockState]],
        streams: Mapping[ledger.Key, ledger.Stream],
        now_ms: int,
    ) -> Findings:
        """What has arrived changes. Nothing is changed yet: see `adopt`. Raises what rules do."""
        findings, said = self._said_by(batches, statuses, interlocks, streams, now_ms)
        for _, gateway, one in said:
            for key, rule in self._listening(gateway, one):
                self._step(findings, key, rule, one, now_ms)
        return findings

    def examine_apart(
        self,
        batches: Collection[Batch],
        statuses: Iterable[Status],
        interlocks: Iterable[tuple[str, InterlockState]],
        now_ms: int,
    ) -> Findings:
        """The same of what a rule raises over: what the other rules make of it, and this one of
        the rest of it."""
        findings, said = self._said_by(batches, statuses, interlocks, {}, now_ms)
        for _, gateway, one in said:
            for key, rule in self._listening(gateway, one):
                with suppress(Exception):  # who has caught it says so
                    self._step(findings, key, rule, one, now_ms)
        return findings

    def _said_by(
        self,
        batches: Collection[Batch],
        statuses: Iterable[Status],
        interlocks: Iterable[tuple[str, InterlockState]],
        streams: Mapping[ledger.Key, ledger.Stream],
        now_ms: int,
    ) -> tuple[Findings, list[tuple[int, str, Said]]]:
        """Who was heard, and what was said by which gateway, in its order."""
        self._look_at_clock(now_ms)
        findings = _nothing()
        said: list[tuple[int, str, Said]] = []
        for batch in batches:
            gateway = batch.gateway
            findings.heard[gateway] = now_ms
            readings = columns(batch.readings)
            if readings.series != self._unheard.get(gateway):
                said += self._heard_readings(gateway, readings)
            said += [(event.at_ms, gateway, event) for event in batch.events]
            said += [(now_ms, gateway, gap) for gap in batch.gaps]
        if Heard in self._hearing:  # before the statuses: a last will tells of what came after
            said += [(now_ms, gateway, Heard()) for gateway in findings.heard]
        for status in statuses:
            if self._is_news(status):
                findings.heard[status.gateway] = now_ms
            findings.said[status.gateway] = status.at_ms
            said.append((now_ms, status.gateway, status))
        said += [(one.at_ms, gateway, one) for gateway, one in interlocks]
        if Hole in self._hearing:
            said += [
                (now_ms, gateway, _hole(name, one)) for (gateway, name), one in streams.items()
            ]
        said.sort(key=itemgetter(0))  # what is said at one time, in the order in which it came
        return findings, said

    def tick(self, now_ms: int, listening_ms: int) -> Findings:
        """What follows from that it is now `now_ms`; since `listening_ms` we have listened to the
        broker without a break. A rule that raises at one place keeps no other one from its turn:
        see `failed`."""
        self._look_at_clock(now_ms)
        findings = _nothing()
        for gateway, heard_ms in self._heard.items():
            tick = Tick(heard_ms, min(listening_ms, now_ms))
            for key, rule in self._ticking.get(gateway, {}).items():
                try:
                    self._step(findings, key, rule, tick, now_ms)
                except Exception as error:  # noqa: BLE001 - it would come again at each tick
                    self.failed.append(error)
        return findings

    def report(self, faults: Iterable[ServiceFault], now_ms: int) -> Findings:
        """What follows from faults that the service itself observes, and from their ends."""
        findings = _nothing()
        for fault in faults:
            assert service.FAULTS[fault.name]
            for key, rule in self._find(fault.gateway, fault):
                self._step(findings, key, rule, fault, now_ms)
        return findings

    def standing(self, name: str) -> list[ServiceFault]:
        """The faults of this name that stand, also those that an earlier process reported."""
        return [
            ServiceFault(name, True, key.place.gateway, key.place.sensor)
            for key, state in self._states.items()
            if key.part == name and isinstance(state, service.State) and state.level is not None
        ]

    def has_heard(self, gateway: str) -> bool:
        """Whether it has spoken to us since we began."""
        return self._heard.get(gateway, 0) > 0

    def adopt(self, findings: Findings) -> None:
        """The findings hold from now on; whoever asked for them commits them."""
        for key in findings.states.keys() - self._states.keys():
            self._let_tick(key, self._parts[key.rule, key.part])
        self._states |= findings.states
        self._heard |= findings.heard
        self._said |= findings.said
        for gateway in {key.place.gateway for key in findings.states} | findings.said.keys():
            self._heard.setdefault(gateway, 0)

    def save(self, connection: Connection, findings: Findings, now_ms: int) -> None:
        """Write states, and what was found, for the dispatch to take."""
        episodes.save_states(connection, findings.states)
        episodes.save_present(connection, dict(self._present(findings)))
        for change in findings.changes:
            episodes.record(connection, change, now_ms)

    def _present(self, findings: Findings) -> Iterator[tuple[Key, Present]]:
        for key, reading in findings.newest.items():
            rule, state = self._parts[key.rule, key.part], findings.states.get(key)
            if state is None:
                state = self._states[key]
            if (found := rule.now(state, reading)) is not None:
                value = (reading.at_ms, reading.value or 0.0)
                yield key, Present(found, trend(reading.quantity, self._samples.of(key), value))

    def _look_at_clock(self, now_ms: int) -> None:
        """If it was set back, nothing that is remembered is after now."""
        if now_ms < self._latest_ms:
            states = self._states.items()
            self._states = {key: moments.not_after(one, now_ms) for key, one in states}
            self._heard = {name: min(at_ms, now_ms) for name, at_ms in self._heard.items()}
            self._samples = Samples()
        self._latest_ms = now_ms

    def _heard_readings(self, gateway: str, readings: Columns) -> list[tuple[int, str, Said]]:
        """Those that a rule hears, each with its time."""
        found: list[tuple[int, str, Said]] = []
        for series, begin, end in readings.parts():
            if self._ears(gateway, *series):
                found += [(one.at_ms, gateway, one) for one in readings.of(series, begin, end)]
        if not found:
            self._unheard[gateway] = readings.series
        return found

    def _is_news(self, status: Status) -> bool:
        """Whether it shows that the gateway lives. The first may be one that the broker kept."""
        before = self._said.get(status.gateway)
        return before not in (None, status.at_ms) and status.state is not GatewayState.LOST

    def _find_ears(
        self, gateway: str, site: str, sensor: str, quantity: Quantity
    ) -> tuple[Ear, ...]:
        return tuple(self._find(gateway, Reading(site, sensor, quantity, None, 0)))

    def _listening(self, gateway: str, said: Said) -> Iterable[Ear]:
        if isinstance(said, Reading):
            return self._ears(gateway, said.site, said.sensor, said.quantity)
        return self._find(gateway, said)

    def _find(self, gateway: str, said: Said) -> Iterator[Ear]:
        for rule in self._hearing.get(type(said), ()):
            if (place := rule.place(gateway, said)) is not None:
                yield Ear(Key(rule.name, place, rule.part), rule)

    def _step(self, findings: Findings, key: Key, rule: Rule[Any], said: Said, now_ms: int) -> None:
        before = findings.states.get(key) or self._states.get(key) or rule.memory()
        after, finding = rule.step(before, said, now_ms)
        if self._is_too_much(key.place, finding, said, now_ms):
            return  # a rule that looks at the same again finds it then
        if after is not before and after != before:
            findings.states[key] = after
        if type(said) is Reading and said.quality in _GOOD and said.value is not None:
            if said.at_ms > now_ms:  # its gateway's clock is wrong: it was read now at the latest
                said = msgspec.structs.replace(said, at_ms=now_ms)
            self._samples.add(key, said)
            if self._is_open(key, after, now_ms) and said.at_ms >= after.newest_ms:
                findings.newest[key] = said
        if finding is not None:
            findings.changes.append(Change(key, rule.hazard, finding))

    def _is_open(self, key: Key, state: Any, now_ms: int) -> bool:
        """Whether a rule is not normal, or was not until lately: its alarm may still stand. Then
        the other gauges of the site are of interest too: one of them may be all that is left."""
        site = key.rule, key.place.site
        if getattr(state, "level", None) is not None:
            self._open_until[key] = now_ms + self._keep_ms
            if key.place.site:
                self._sites_until[site] = now_ms + self._keep_ms
            return True
        return _lasts(self._open_until, key, now_ms) or _lasts(self._sites_until, site, now_ms)

    def _is_too_much(self, place: Place, finding: Finding | None, said: Said, now_ms: int) -> bool:
        """Whether a gateway has found so much of late that this must wait. What is over is over at
        once, and what the service itself observes does not wait."""
        if self._may_find is None or finding is None or finding.level is None:
            return False
        if isinstance(said, ServiceFault):
            return False
        again = isinstance(said, Reading | Tick)
        return not self._may_find(place.gateway, place.site, again, now_ms)

    def _let_tick(self, key: Key, rule: Rule[Any]) -> None:
        if Tick in rule.hears:
            self._ticking.setdefault(key.place.gateway, {})[key] = rule


def _lasts(until: dict[_NameT, int], name: _NameT, now_ms: int) -> bool:
    """Whether the time of a name has not passed; one that has is forgotten."""
    until_ms = until.get(name)
    if until_ms is not None and now_ms > until_ms:
        del until[name]
        return False
    return until_ms is not None


def _hole(name: str, stream: ledger.Stream) -> Hole:
    if stream.hole is None:
        return Hole(name, 0, None)
    if stream.received.parts + stream.lost.parts <= _EXACT_PARTS:
        missing = sum(last - first + 1 for first, last in stream.missing)
    else:  # this is paid for at each take, and the number is for people
        missing = max(1, stream.expected - stream.received.count - stream.lost.count)
    return Hole(name, missing, stream.hole_since_ms)
