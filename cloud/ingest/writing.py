"""Brings takes into the store and the ledger, for as long as that takes.

The store may be away, refuse readings, or say "not now" to some of them for ever while it takes the
others. What it refuses goes to quarantine alone, so that the rest passes. What it does not take for
want of a right or beyond a limit is no reading's fault: its batches are left to their gateways.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from cloud import refusals
from cloud.errors import Rejected, Unavailable
from cloud.ingest import condemning
from cloud.ingest.examination import Examination, points_of
from cloud.ingest.take import Take
from cloud.intake import Intake
from cloud.ledger import Conflict
from cloud.refusals import Point, TooMany
from cloud.shards import Lost
from cloud.store import Points, Store
from wire.messages import Batch

log: Final = logging.getLogger("shuichi.ingest")

SENDERS: Final = 2
"""Takes that are on their way to the store at once, each on a connection of its own."""

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0
"""Between tries of a store that is not available, with jitter."""

OVERTAKE_S: Final = 1.0
"""After which a take waits no longer for those before it."""

DOUBT_TRIES: Final = 3
DOUBT_S: Final = 2.0
"""A take that failed so often, over so long, is looked into: perhaps it is not the store."""

DOUBT_AGAIN_S: Final = 300.0
"""For so long after readings were found at which the store fails, the next take that fails is
looked into at once."""

_T = TypeVar("_T")


class Writing:
    """The way into one store, of one shard."""

    def __init__(self, store: Store, examination: Examination, shard: str) -> None:
        self.is_blocked = False
        """Whether the state does not answer: then nothing can be examined."""
        self.taken_at = 0.0
        """When the store last took something, by the monotonic clock; 0 if it has not yet."""
        self._down_since = 0.0
        self._store = store
        self._examination = examination
        self._shard = shard
        self._senders = asyncio.Semaphore(SENDERS)
        self._progress = asyncio.Event()
        self._control: list[Points] = []
        self._doubting_until = 0.0

    async def write(self, take: Take, before: Take | None) -> None:
        """Return once all of `take` is settled: in store and ledger, or in quarantine. Takes are
        sent beside each other and end in their order, this one after `before`."""
        try:
            failed = None
            try:
                take.intake = await self._bring(take, take.intake, partial(self._send, take))
            except Lost:
                raise
            except Exception as error:  # noqa: BLE001 - in our turn we shall see which message
                failed = error
            if before is not None and not before.ended.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(OVERTAKE_S):
                        await before.ended.wait()
            await self._settle(take, take.intake, failed)
        finally:
            self._examination.forget(take)

    async def insist(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do `work` again and again until what it needs is there."""
        delay, failed = FIRST_DELAY_S, False
        while True:
            try:
                result = await work()
            except Conflict as conflict:
                self._tell(conflict)
                continue
            except Unavailable as error:
                failed = self.is_blocked = True
                self._is_down(error)
            else:
                if failed:
                    self.is_blocked = False
                    self._is_up()
                return result
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _settle(self, take: Take, intake: Intake, failed: Exception | None) -> None:
        """Commit `intake`, which was sent, or has `failed`; in parts where it fails as a whole."""
        if failed is None:
            try:
                await self._bring(take, intake, partial(self._commit, take))
                return
            except Lost:
                raise
            except Exception as error:  # noqa: BLE001 - whatever one message raises is its own
                failed = error
        await self.insist(self._examination.save)
        small = None
        if isinstance(failed, Rejected):
            try:
                small = await self._narrow(take, intake, failed)
            except Rejected as again:
                failed = again
        else:
            self._examination.failures.tell(failed)
        for part in self._parts(intake, failed) if small is None else small:
            await self._send_and_settle(take, part)

    async def _send_and_settle(self, take: Take, intake: Intake) -> None:
        failed = None
        try:
            intake = await self._bring(take, intake, partial(self._send, take))
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001
            failed = error
        await self._settle(take, intake, failed)

    def _parts(self, intake: Intake, error: Exception) -> list[Intake]:
        """Smaller parts of what failed; the message that fails alone, as a case. What fails even
        then is left to its gateway, which sends it again."""
        small = condemning.parts(intake)
        if len(small) != 1:
            return small
        self._examination.failures.blame(condemning.gateways(intake))
        if not intake.batches and intake.cases:
            log.error("a case cannot be kept: %s", condemning.words_of(error))
            return []
        return [condemning.condemned(intake, error, self._shard)]

    async def _bring(
        self, take: Take, intake: Intake, work: Callable[[Intake], Awaitable[Intake]]
    ) -> Intake:
        """Do `work` with `intake` until what it needs is there. Where the store fails at some of
        its readings and at no others, without these. Returns what is left."""
        delay, tries, since = FIRST_DELAY_S, 0, time.monotonic()
        while True:
            try:
                intake = await work(intake)
            except Conflict as conflict:
                self._tell(conflict)
                continue
            except Unavailable as error:
                tries += 1
                now = time.monotonic()
                long = tries >= DOUBT_TRIES and now - since >= DOUBT_S
                if (long or now < self._doubting_until) and (
                    refused := await self._doubt(take, intake, error)
                ):
                    await self.insist(self._examination.save)
                    if error.of_the_request:
                        intake = self._left(take, intake, {n for n, _ in refused}, error)
                    else:
                        self._examination.failures.say(len(refused), str(error))
                        intake = intake.without(refused)
                    continue
                self._is_down(error)
            else:
                return intake
            await self._pause(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or a little until another take is taken: then try again at once."""
        await asyncio.sleep(min(seconds, FIRST_DELAY_S))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - FIRST_DELAY_S):
                await self._progress.wait()

    async def _send(self, take: Take, intake: Intake) -> Intake:
        """Have the store take the points. Done again, or in vain, it changes nothing that counts:
        what is fresh is only known in our turn."""
        await self._send_batches(take, await self._examination.plan_points(take, intake))
        return intake

    async def _send_batches(self, take: Take, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        async with self._senders:
            await self._store.send(points_of(batches))
        take.sent |= {(one.gateway, one.stream, one.number) for one in batches}

    async def _commit(self, take: Take, intake: Intake) -> Intake:
        while missing := await self._examination.commit(take, intake, self._store):
            for batch in missing:  # what another take has brings that in first
                if (owner := self._examination.owner_of(batch)) not in (None, take):
                    await owner.ended.wait()
                    break
            else:
                await self._send_batches(take, missing)
        take.settled.append(intake)
        if take.sent:
            self.taken_at = time.monotonic()
            self._is_up()
            self._progress.set()
            self._progress.clear()  # whoever waits now has been woken
        if control := next((one.batch for one in intake.batches if len(one.batch.readings)), None):
            self._control = [Points(control.gateway, (control.readings[0],))]
        return intake

    async def _narrow(self, take: Take, intake: Intake, error: Rejected) -> list[Intake]:
        """`intake` without the readings that the store refuses, or in parts where it is not (or
        not yet) known which these are."""
        if not intake.batches:
            raise error
        points = await self._points(take, intake)
        try:
            alone = len(intake.batches) == 1
            refused = await refusals.find(self._try, points, error, at_last=alone)
        except TooMany:
            refused = {}
        except Unavailable as request:  # it says so of some; in parts, the others may pass
            small = condemning.parts(intake)
            return small if len(small) > 1 else [self._left(take, intake, {0}, request)]
        if not refused:
            small = condemning.parts(intake)
            return small if len(small) > 1 else intake.narrowed(str(error))
        self._examination.failures.say(len(refused), str(error))
        return [intake.without(refused)]

    async def _doubt(
        self, take: Take, intake: Intake, error: Unavailable
    ) -> dict[refusals.Place, str]:
        """The readings at which the store fails however often, while it takes others. None if it
        takes nothing at all, or if nobody can tell."""
        points = await self._points(take, intake)
        is_known = time.monotonic() < self._doubting_until
        try:
            refused = await refusals.doubted(
                self._write, points, error, self._control, rounds=1 if is_known else DOUBT_TRIES
            )
        except Unavailable:
            return {}
        if refused:
            self._doubting_until = time.monotonic() + DOUBT_AGAIN_S
        return refused

    def _left(
        self, take: Take, intake: Intake, batches: Collection[int], error: Unavailable
    ) -> Intake:
        """`intake` without these of its batches. The store takes none of them until a person has
        mended something (a limit, a right), and all others: they are not acknowledged, so that
        their gateways keep them and send them again, and they hold no others up."""
        gateways = {intake.batches[n].batch.gateway for n in batches}
        self._examination.disown(take, [intake.batches[n].name for n in batches])
        self._examination.failures.leave(len(batches), gateways, error)
        return replace(
            intake, batches=[one for n, one in enumerate(intake.batches) if n not in batches]
        )

    async def _points(self, take: Take, intake: Intake) -> list[Point]:
        wanted = {id(one) for one in await self._examination.plan_points(take, intake)}
        return [
            Point(one.batch.gateway, reading, (n, m))
            for n, one in enumerate(intake.batches)
            if id(one.batch) in wanted
            for m, reading in enumerate(one.batch.readings)
        ]

    async def _try(self, points: Sequence[Points]) -> None:
        """Write, however long that takes: alerts go on meanwhile. Raises Unavailable only where a
        person must mend something first."""
        delay = FIRST_DELAY_S
        while True:
            try:
                await self._write(points)
            except Unavailable as error:
                if error.of_the_request:
                    raise
                self._is_down(error)
            else:
                return
            await self._pause(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _write(self, points: Sequence[Points]) -> None:
        await self._store.write(points, lambda _: None)

    def _tell(self, conflict: Conflict) -> None:
        log.info("shard %s: %s; looking again", self._shard, conflict)

    def _is_down(self, error: Unavailable) -> None:
        if not self._down_since:
            log.error("%s; alerts go on, nothing is acknowledged until it is back", error)
            self._down_since = time.monotonic()

    @property
    def is_failing(self) -> bool:
        """Whether the store, or the state, has said that it cannot, and has not yet taken anything
        since."""
        return bool(self._down_since)

    def _is_up(self) -> None:
        if self._down_since:
            log.info("stored again after %.1f s", time.monotonic() - self._down_since)
            self._down_since = 0.0
