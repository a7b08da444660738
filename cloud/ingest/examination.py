"""What the rules and the ledger make of what arrives, and how that is committed.

The rules see each batch once, when it arrives, whether or not the store can have it. What changes
by it is in memory at first. It is committed at once if it changes a level; else together with the
ledger, or at the next tick. A state of a rule is only ever committed together with the batches that
led to it: those that are stored are in the ledger, the others are `examined`. So after kill -9 the
rules see again exactly what their states do not know, and no batch twice.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy import Connection

from cloud import ledger, quarantine, told
from cloud.alerts.rule import ServiceFault
from cloud.alerts.watch import TICK_S, Findings, Watch, together
from cloud.errors import Unavailable
from cloud.ingest import condemning
from cloud.ingest.clocks import Clocks
from cloud.ingest.failures import Failures
from cloud.ingest.streams import Plan, Streams
from cloud.ingest.take import Take
from cloud.intake import Intake, Name
from cloud.ledger import Conflict, Key, Stream
from cloud.room import Room
from cloud.shards import Lease, Lost
from cloud.state import State
from cloud.store import Points, Store
from wire.messages import Batch


class Examination:
    """The rules and the ledger of one shard. Whatever it raises of Unavailable and Conflict, the
    same can be asked again."""

    def __init__(
        self,
        database: State,
        lease: Lease,
        shard: str,
        watch: Watch,
        wake: Callable[[], None],
        room: Room | None = None,
    ) -> None:
        self.failures = Failures()
        self.hand: list[Take] = []
        self._database = database
        self._lease = lease
        self._shard = shard
        self._watch = watch
        self._wake = wake
        self._room = room
        self._streams = Streams(database)
        self._owners: dict[Name, Take] = {}
        self.clocks = Clocks()
        self._loose: list[Findings] = []  # what time and the service itself brought
        self._turn = asyncio.Lock()
        self._is_behind = True  # at first, and after a conflict: others may have been at work

    async def examine(self, take: Take) -> None:
        """Have the rules see `take`, once however often it is asked. When this returns, each change
        of a level is committed."""
        async with self._in_turn():
            if take not in self.hand:
                await self._look(take)
                self.hand.append(take)
                for one in take.intake.batches:
                    self._owners.setdefault(one.name, take)
        if take.findings is not None and take.findings.changes:
            await self.save()

    async def tick(self, listening_ms: int) -> None:
        """Have the rules see what follows from the mere passing of time, and commit all there is to
        commit, if that changes anything or has waited since the last tick."""
        async with self._in_turn():
            now_ms = _now_ms()
            findings = self._watch.tick(now_ms, listening_ms)
            self._keep(findings)
        while self._watch.failed:
            self.failures.tell(self._watch.failed.pop())
        late = time.monotonic() - TICK_S / 2
        if findings.states or any(one.findings and one.began < late for one in self.hand):
            await self.save()

    async def report(self, faults: Sequence[ServiceFault]) -> None:
        """Have the rules see what the service itself observes, and commit what follows."""
        async with self._in_turn():
            findings = self._watch.report(faults, _now_ms())
            self._keep(findings)
        if findings.states:
            await self.save()

    async def save(self) -> None:
        """Commit all that the rules have seen."""
        async with self._in_turn():
            await self._save_all()

    def owner_of(self, batch: Batch) -> Take | None:
        """The take that brought it first, as long as that is on its way."""
        return self._owners.get((batch.gateway, batch.stream, batch.number))

    def disown(self, take: Take, names: Iterable[Name]) -> None:
        """These batches do not come in with `take`: whoever brings them again does it."""
        for name in names:
            if self._owners.get(name) is take:
                del self._owners[name]

    async def plan_points(self, take: Take, intake: Intake) -> list[Batch]:
        """The batches of `intake` that the store is to have: neither does the ledger have them, nor
        are they on their way with another take."""
        known = await self._streams.load(intake.keys())
        wanted: dict[Name, Batch] = {}
        for one in intake.batches:
            is_new = one.batch.number not in known[one.key].committed.received
            if is_new and self._owners.get(one.name, take) is take:
                wanted.setdefault(one.name, one.batch)
        return [*wanted.values()]

    async def commit(self, take: Take, intake: Intake, store: Store) -> list[Batch]:
        """Commit the ledger for `intake`, a part of `take` or all of it, whose points the store has
        been sent. Returns the batches of which it has not, and then nothing is committed: they came
        in two takes at once, and the other one has not brought them in."""
        async with self._in_turn():
            unsaved = [one for one in self.hand if one.findings is not None]
            if self._loose or any(one is not take for one in unsaved[:1]):
                await self._save_all()
            plan = await self._plan(intake)
            if missing := [one.batch for one in plan.fresh if one.name not in take.sent]:
                return missing
            save = partial(self._save, take=take, intake=intake, plan=plan)
            if plan.fresh:
                await store.commit(points_of(one.batch for one in plan.fresh), save)
            else:
                await self._database.run(save)
            self._streams.adopt(plan.streams)
            self._is_saved([take])
        self.failures.count(plan.cases)
        return []

    async def release(self, take: Take) -> Intake:
        """Commit what is to be kept of `take` without the store, all but its batches, and forget
        it. Gives what its gateways may be told: these batches the ledger has."""
        async with self._in_turn():
            await self._save_all()
            rest = Intake(cases=take.intake.cases)
            plan = await self._plan(rest)
            await self._database.run(partial(self._save, take=take, intake=rest, plan=plan))
            self._streams.adopt(plan.streams)
            known = await self._streams.load(take.intake.keys())
        self.failures.count(plan.cases)
        self.forget(take)
        stored = [
            one
            for one in take.intake.batches
            if one.batch.number in known[one.key].committed.received
        ]
        return Intake(batches=stored, cases=rest.cases)

    def forget(self, take: Take) -> None:
        """It has ended, in whatever way."""
        take.ended.set()
        if take in self.hand:
            self.hand.remove(take)
        for one in take.intake.batches:
            if self._owners.get(one.name) is take:
                del self._owners[one.name]

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """One at a time looks at the rules and commits what they find."""
        async with self._turn:
            try:
                await self._catch_up()
                yield
            except Conflict:
                self._is_behind = True
                raise

    # In our turn.

    async def _catch_up(self) -> None:
        """Know how everything stands, if others may have been at work."""
        if not self._is_behind:
            return
        self._streams.clear()
        self._loose.clear()  # time will bring it again
        await self._database.run(self._watch.load)
        for take in self.hand:
            if take.findings is not None:
                await self._look(take)
        self._is_behind = False

    async def _look(self, take: Take) -> None:
        """Have the rules see it; a message over which one of them fails becomes a case."""
        streams = await self._streams.arrived(take.intake.keys())
        try:
            take.findings = self._see(take.intake, streams)
        except Exception as error:  # noqa: BLE001 - whatever one message raises is its own
            self.failures.tell(error)
            take.intake, take.findings = self._see_in_parts(take.intake, streams, error)

    def _see_in_parts(
        self, intake: Intake, streams: dict[Key, Stream], error: Exception
    ) -> tuple[Intake, Findings]:
        small = condemning.parts(intake)
        if len(small) == 1:
            case = condemning.condemned(intake, error, self._shard)
            self.failures.blame(condemning.gateways(intake))
            others = self._see_apart(intake, streams)
            return case, together([others, self._see(case, streams)])
        seen: list[Intake] = []
        findings = together([])
        for part in small:
            try:
                found = self._see(part, streams)
            except Exception as one:  # noqa: BLE001
                part, found = self._see_in_parts(part, streams, one)
            seen.append(part)
            findings = together([findings, found])
        return condemning.merged(seen), findings

    def _see_apart(self, intake: Intake, streams: dict[Key, Stream]) -> Findings:
        """What the other rules make of a message over which one raises: a warning is no less true
        for that."""
        fresh = [
            one.batch for one in intake.batches if one.batch.number not in streams[one.key].received
        ]
        try:
            findings = self._watch.examine_apart(
                fresh, intake.statuses, intake.interlocks, _now_ms()
            )
        except Exception:  # noqa: BLE001 - it is told already
            return together([])
        self._watch.adopt(findings)
        return findings

    def _see(self, intake: Intake, streams: dict[Key, Stream]) -> Findings:
        """What the rules make of what they have not seen. If one raises, nothing has changed."""
        now_ms = _now_ms()
        fresh: list[Batch] = []
        added: list[tuple[Stream, int]] = []
        shown = self.clocks.shown
        self.clocks.hear(intake.statuses, now_ms)
        try:
            for arrived in intake.batches:
                stream, batch = streams[arrived.key], arrived.batch
                if batch.number in stream.received:
                    continue
                is_newest = batch.number > stream.received.highest
                stream.received.add(batch.number)
                added.append((stream, batch.number))
                for gap in batch.gaps:
                    stream.declare(gap)
                fresh.append(shown(batch, arrived.undated, now_ms, is_newest=is_newest))
            for case in intake.cases:
                if case.key is not None and case.batch is not None:
                    stream = streams[case.key]
                    if case.batch not in stream.received:
                        is_newest = case.batch > stream.received.highest
                        stream.received.add(case.batch)
                        added.append((stream, case.batch))
                        if case.undated:
                            bare = Batch(*case.key, case.batch)
                            found = shown(bare, case.undated, now_ms, is_newest=is_newest)
                            fresh.append(found)
            for status in intake.statuses:
                if status.stream:
                    key = Key(status.gateway, status.stream)
                    streams[key].expect(status.sealed, status.readings_sealed)
            named = intake.keys()
            said = {key: streams[key] for key in named}
            for stream in said.values():
                stream.look_for_hole(now_ms)
            findings = self._watch.examine(fresh, intake.statuses, intake.interlocks, said, now_ms)
        except BaseException:
            for stream, number in added:
                stream.take_back(number)
            raise
        self._watch.adopt(findings)
        return findings

    def _keep(self, findings: Findings) -> None:
        self._watch.adopt(findings)
        if findings.states:
            self._loose.append(findings)

    async def _save_all(self) -> None:
        takes = [one for one in self.hand if one.findings is not None]
        if not takes and not self._loose:
            return
        try:
            await self._save_examined(takes)
        except (Unavailable, Conflict, Lost):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one message raises is its own
            self.failures.tell(error)
            await self._save_in_parts(takes)

    async def _save_examined(self, takes: Sequence[Take]) -> None:
        """Commit what the rules made of these, and of the rest."""
        intake = condemning.merged(one.intake for one in takes)
        found = [one.findings for one in takes if one.findings is not None]
        findings = together([*found, *self._loose])
        before = await self._streams.committed(intake.keys())
        streams = {key: stream.copy() for key, stream in before.items()}
        for one in intake.batches:
            if one.batch.number not in (stream := streams[one.key]).received:
                stream.examined.add(one.batch.number)
        for status in intake.statuses:
            if status.stream:
                key = Key(status.gateway, status.stream)
                streams[key].expect(status.sealed, status.readings_sealed)
        self._streams.note_holes(streams)
        changed = {key: one for key, one in streams.items() if one != before[key]}
        now_ms = _now_ms()

        def work(connection: Connection) -> None:
            self._lease.check(connection)
            ledger.save(connection, changed, before)
            told.save_states(connection, intake, self._shard, now_ms)
            self._watch.save(connection, findings, now_ms)

        await self._database.run(work)
        self._streams.adopt(changed)
        self._is_saved(takes)
        self._loose.clear()
        if findings.changes:
            self._wake()

    async def _save_in_parts(self, takes: Sequence[Take]) -> None:
        """The database refuses what `takes` come to: begin again with what it has, and commit part
        by part. A message that is refused alone becomes a case."""
        loose = [part for one in self._loose for part in one.parts()]
        await self._begin_again()
        self._is_behind = True  # if we do not come to the end of this
        for take in takes:
            take.intake = await self._save_part(take.intake, None)
            take.findings = None
            take.is_saved = True
        for part in loose:
            try:
                await self._save_findings(part)
            except (Unavailable, Lost):
                raise
            except Exception as error:  # noqa: BLE001 - it keeps no other one from being told
                self.failures.tell(error)
        self._is_behind = False

    async def _save_findings(self, findings: Findings) -> None:
        def work(connection: Connection) -> None:
            self._lease.check(connection)
            self._watch.save(connection, findings, _now_ms())

        await self._database.run(work)
        self._watch.adopt(findings)
        if findings.changes:
            self._wake()

    async def _save_part(self, intake: Intake, error: Exception | None) -> Intake:
        small = condemning.parts(intake)
        if error is not None and len(small) == 1:
            self.failures.blame(condemning.gateways(intake))
            return condemning.condemned(intake, error, self._shard)
        kept: list[Intake] = []
        for part in small:
            one = Take(part, (), None)  # type: ignore[arg-type]  # it has no messages
            try:
                await self._look(one)
                await self._save_examined([one])
                kept.append(one.intake)
            except (Unavailable, Conflict, Lost):
                raise
            except Exception as fault:  # noqa: BLE001
                await self._begin_again()
                kept.append(await self._save_part(part, fault))
        return condemning.merged(kept)

    async def _begin_again(self) -> None:
        """What was seen and could not be committed was never seen."""
        self._streams.clear()
        self._loose.clear()
        await self._database.run(self._watch.load)

    async def _plan(self, intake: Intake) -> Plan:
        """What `intake` comes to. Nothing of ours is changed before it is committed."""
        return self._streams.plan(intake, await self._streams.committed(intake.keys()), _now_ms())

    def _save(self, connection: Connection, take: Take, intake: Intake, plan: Plan) -> None:
        """Everything that is committed together with the points; in the database's thread. Raises
        Lost and Conflict: then nothing is committed."""
        self._lease.check(connection)
        ledger.save(connection, plan.streams, plan.before)
        quarantine.save(connection, plan.cases, plan.now_ms, self._room)
        told.save(connection, plan.fresh)
        if not take.is_saved:
            told.save_states(connection, take.intake, self._shard, plan.now_ms)
        if take.findings is not None:
            self._watch.save(connection, take.findings, plan.now_ms)

    def _is_saved(self, takes: Iterable[Take]) -> None:
        for take in takes:
            take.findings = None
            take.is_saved = True


def points_of(batches: Iterable[Batch]) -> list[Points]:
    """As a store takes them."""
    return [Points(batch.gateway, batch.readings) for batch in batches]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
