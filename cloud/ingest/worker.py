"""Takes in what gateways send: decode, let the rules see what is new, store, commit the ledger, and
only then acknowledge; first to the broker, then to the gateway.

Whatever is killed at whatever point, a message is still with somebody: unacknowledged at the
broker, or in the gateway's outbox, which forgets a batch on our own ack alone. What comes twice
because of that, the ledger knows.

While the store is away the broker gets its messages back acknowledged, and the gateways get no ack
of ours: they keep their batches and send them again. So new messages go on coming in, and the rules
see them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cloud import takeover
from cloud.admission import Admission
from cloud.alerts.rule import ServiceFault
from cloud.alerts.watch import TICK_S, Watch
from cloud.config import Ingest as Settings
from cloud.ingest import clocks, condemning, unbelieved
from cloud.ingest.beginning import Beginning
from cloud.ingest.decoding import decode_beside
from cloud.ingest.examination import Examination
from cloud.ingest.failures import WINDOW_S
from cloud.ingest.quiet import Quiet
from cloud.ingest.take import Take
from cloud.ingest.turns import Turns, gateway_of
from cloud.ingest.unbelieved import Unbelieved
from cloud.ingest.writing import SENDERS, Writing
from cloud.intake import Intake, filters
from cloud.ledger import Key
from cloud.ownclock import OwnClock
from cloud.proofs import Ring
from cloud.shards import Lease
from cloud.state import State
from cloud.store import Store
from wire import codec, topics
from wire.messages import Ack, Status
from wire.mqtt import (
    Broker,
    Disconnected,
    Message,
    PublishRefused,
    Session,
    Subscriptions,
    keep_connected,
)
from wire.topics import What

log: Final = logging.getLogger("shuichi.ingest")

TAKE: Final = 250
"""Messages in one commit at most."""

TAKE_BYTES: Final = 2 << 20
"""Of payload in one commit at most, unless it is one message: six times what so many batches of
100 readings come to. What is unpacked of it is tens of times as much."""

IN_HAND: Final = (SENDERS + 1) * TAKE
"""Messages on their way to the store: one take is committed while others are sent."""

TAKES_IN_HAND: Final = 16
"""Takes on their way, however small."""

SLOW_S: Final = 0.3
"""A store that has not taken in so long what it was sent is not waited for as long as memory
allows: up to the next three."""

MOST_IN_HAND: Final = 1000
MOST_TAKES_IN_HAND: Final = 128
MOST_RECORDS_IN_HAND: Final = 200_000

UNACKED: Final = MOST_IN_HAND + TAKE
"""Messages that the broker may have given us and not yet have back: this bounds our memory, and how
much of one gateway's flood lies before a message of another one."""

ALONE_S: Final = 60.0
"""For so long a gateway shares no take with others, after something failed over its message."""

STREAMS_WAITING: Final = 32768
"""Streams that are told when the store is there again."""

PAUSE_S: Final = 0.02
"""Between looks for room."""

QUIET_S: Final = 3.0
"""Without a message for so long, a worker that has begun is through with what had waited."""

STEP_MS: Final = 1000
"""A clock that is adjusted changes by less between two ticks: it was set, or we were asleep."""

LOOK_S: Final = 0.5
"""Between looks at how long takes have waited for the store."""


class Ingest:
    """The worker of one shard."""

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        admission: Admission,
        lease: Lease,
        shard: str,
        database: State,
        store: Store,
        watch: Watch,
        wake: Callable[[], None],
        keys: Ring | None = None,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._admission = admission
        self._clock = OwnClock()
        self._shard = shard
        self._watch = watch
        self._keys = keys or Ring()  # what proves our acks
        self._looking: asyncio.Task[None] | None = None
        self._refused: set[str] = set()
        self._unbelieved = Unbelieved()
        self._quiet = Quiet(shard)
        self._examination = Examination(database, lease, shard, watch, wake, admission.room)
        self._writing = Writing(store, self._examination, shard)
        self._beginning = Beginning(database, lease, shard)
        self._before: Take | None = None  # the last one that was sent on its way
        self._room = asyncio.Event()
        self._session: Session | None = None
        self._deciding = asyncio.Lock()  # admission counts, here and in the decoding thread
        self._waiting: set[Key] = set()  # streams whose batches the broker got back
        self._store_is_away: bool | None = None
        self._handled = 0
        self.takeover = takeover.Watcher(f"shuichi-cloud-{shard}")
        self._subscriptions = Subscriptions(*filters(shard))
        self.on_sign_of_life: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Take in for ever, connection after connection."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_after(), name=f"shard {self._shard} store")
            await keep_connected(
                self._broker,
                f"shuichi-cloud-{self._shard}",
                partial(self.serve, group),
                keep_session_s=self._settings.keep_session_s,
                receive_maximum=UNACKED,
                on_trouble=self.takeover,
            )

    @property
    def trouble(self) -> str:
        """What keeps us from hearing all gateways at the broker, "" if nothing does."""
        denied = self._subscriptions.denied
        return self.takeover.trouble or "; ".join(denied.values())

    async def report(self, faults: list[ServiceFault]) -> None:
        """Faults that somebody else observes, for the rules of this shard."""
        await self._writing.insist(partial(self._examination.report, faults))

    async def serve(self, group: asyncio.TaskGroup, session: Session) -> None:
        """Take in over one connection, to its end; what is on its way to the store then goes on in
        `group`."""
        await self._subscriptions.begin(session)
        log.info("shard %s: listening at %s", self._shard, self._broker)
        self._session = session
        self._quiet.begin()
        await self._writing.insist(self._beginning.begin)
        turns, news = Turns(self._settings.gateway_share), asyncio.Event()
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as here:
            pulling = here.create_task(
                self._pull(session, turns, news), name=f"shard {self._shard} pull"
            )
            pulling.add_done_callback(lambda _: news.set())
            ticking = here.create_task(self._tick(), name=f"shard {self._shard} tick")
            asking = here.create_task(
                self._subscriptions.keep(session), name=f"shard {self._shard} subscriptions"
            )
            while not pulling.done():
                if turns.is_ready(clock()):
                    await self._take(group, session, turns)
                elif turns.count:
                    await asyncio.sleep(PAUSE_S)  # they have cost more than their share
                else:
                    news.clear()
                    await self._idle(news)
            ticking.cancel()
            asking.cancel()
        raise pulling.result()

    async def _pull(self, session: Session, turns: Turns, news: asyncio.Event) -> Disconnected:
        """Have everything that comes wait for its turn, as far as there is room."""
        clock = asyncio.get_running_loop().time
        while True:
            while turns.is_full:
                if surplus := turns.surplus(clock()):
                    self._let_go(session, surplus)
                else:
                    await asyncio.sleep(PAUSE_S)
            try:
                messages = await session.take(TAKE, TAKE_BYTES)
            except Disconnected as error:
                return error
            self._quiet.hear()
            if surplus := turns.put(messages, clock()):
                self._let_go(session, surplus)
            news.set()

    def _let_go(self, session: Session, surplus: list[Message]) -> None:
        """Give messages back to the broker unseen: their gateways have them, and send them again
        when we can take them."""
        for message in surplus:
            session.ack(message)
        gateways = {gateway_of(one) for one in surplus}
        self._examination.failures.pass_over(len(surplus), gateways)

    async def _idle(self, news: asyncio.Event) -> None:
        """Wait for a message. If none comes for a while, nothing has waited for us any more."""
        if self._beginning.is_over:
            await news.wait()
            return
        try:
            async with asyncio.timeout(QUIET_S):
                await news.wait()
        except TimeoutError:
            if not self._examination.hand:
                await self._writing.insist(self._beginning.end)

    async def _take(self, group: asyncio.TaskGroup, session: Session, turns: Turns) -> None:
        """Decode and examine what is next, and start its way to the store."""
        clock = asyncio.get_running_loop().time
        failures, beginning = self._examination.failures, self._beginning
        while failures.suspects:
            turns.set_alone(failures.suspects.pop(), clock() + ALONE_S)
        drawn = turns.draw(1 if beginning.is_careful else TAKE, TAKE_BYTES, clock())
        if beginning.is_careful:
            await self._writing.insist(partial(beginning.note, drawn[0]))
        shown = self._clock.look()
        async with self._deciding:
            self._admission.judge_by(shown)
            now_ms = shown.now_ms
            found = await decode_beside(drawn, self._admission, now_ms, beginning.deadly)
        now = clock()
        turns.put_back(drawn[found.done :], now)
        for message, cost_s in zip(drawn, found.costs, strict=False):
            turns.charge(gateway_of(message), cost_s, now)
        failures.blame(map(gateway_of, found.failed))
        intake = found.intake
        if cases := [*intake.cases, *(one for part in intake.batches for one in part.cases)]:
            failures.say(len(cases), cases[0].words)
        self._unbelieved.hear(intake.statuses)
        self._look_at_keys(group, intake.statuses)
        take = Take(intake, drawn[: found.done], session)
        await self._writing.insist(partial(self._examination.examine, take))
        self._handled += found.done
        if await self._has_room(take):
            writing = self._write(group, take)
            if beginning.is_careful:
                await asyncio.wait((writing,), timeout=self._settings.release_after_s)
        else:
            settled = await self._writing.insist(partial(self._examination.release, take))
            self._gave_back(take)
            self._answer([settled])
        if not beginning.is_over and self._handled >= UNACKED:
            await self._writing.insist(beginning.end)  # the broker cannot have more of ours

    def _look_at_keys(self, group: asyncio.TaskGroup, statuses: Sequence[Status]) -> None:
        """Read those keys again by which our acks prove nothing; nobody waits for the disk."""
        if self._looking is not None and not self._looking.done():
            return
        doubting = {
            one.gateway
            for one in statuses
            if one.acks_unproven and self._keys.has_file(one.gateway)
        }
        if doubting:
            work = asyncio.to_thread(self._keys.look_again, doubting)
            self._looking = group.create_task(work, name=f"shard {self._shard} keys")

    async def _has_room(self, take: Take) -> bool:
        """Wait until one more take may be on its way to the store; False if that would hold up what
        comes behind it, because the store fails, or has taken nothing for too long."""
        while not self._fits(others := [one for one in self._examination.hand if one is not take]):
            if self._writing.is_failing or self._late(others[0]):
                return False
            self._room.clear()
            await self._room.wait()
        take.began = time.monotonic()
        return True

    def _fits(self, hand: Sequence[Take]) -> bool:
        messages = sum(len(one.messages) for one in hand)
        if messages < IN_HAND and len(hand) < TAKES_IN_HAND:
            return True
        if self._writing.is_failing or time.monotonic() - hand[0].began < SLOW_S:
            return False
        # The store is slow, or hangs: what comes must not wait for it, as far as memory allows.
        records = sum(one.records for one in hand)
        return (
            messages < MOST_IN_HAND
            and len(hand) < MOST_TAKES_IN_HAND
            and records < MOST_RECORDS_IN_HAND
        )

    def _write(self, group: asyncio.TaskGroup, take: Take) -> asyncio.Task[None]:
        before, self._before = self._before, take

        async def work() -> None:
            await self._writing.write(take, before)
            take.release()
            self._answer(take.settled)
            self._room.set()

        return group.create_task(work(), name=f"shard {self._shard} take")

    def _late(self, take: Take) -> bool:
        return time.monotonic() - take.began >= self._settings.release_after_s

    def _gave_back(self, take: Take) -> None:
        """The broker has its messages back; its gateways wait for our ack."""
        take.release()
        if len(self._waiting) < STREAMS_WAITING:
            self._waiting |= {one.key for one in take.intake.batches}

    async def _look_after(self) -> None:
        """See how long takes wait for the store, and do what follows."""
        while True:
            await asyncio.sleep(LOOK_S)
            late = [one for one in self._examination.hand if self._late(one)]
            if [one for one in late if not one.is_released]:
                await self._writing.insist(self._examination.save)
                for take in late:
                    self._gave_back(take)
            self._room.set()
            if self._waiting and not late and self._writing.taken_at:
                self._wake_up()
            await self._judge_store()

    async def _judge_store(self) -> None:
        """Report that the store is away, or is there again."""
        hand, taken_at = self._examination.hand, self._writing.taken_at
        since = max(taken_at, hand[0].began) if hand else None
        away_s = 0.0 if since is None else time.monotonic() - since
        is_away = away_s >= self._settings.store_away_s
        if is_away is self._store_is_away or not (is_away or taken_at):
            return
        detail = {"away_s": round(away_s)} if is_away else {}
        fault = ServiceFault("store_away", is_away, subject=f"shard-{self._shard}", detail=detail)
        await self.report([fault])
        self._store_is_away = is_away

    def _wake_up(self) -> None:
        """The store is there again: tell the gateways that have waited longest for an ack. One that
        acknowledges nothing says so all the same, and they send again at once."""
        for key in self._waiting:
            self._acknowledge(key, Ack(key.stream, ()))
        self._waiting.clear()

    async def _tick(self) -> None:
        """Tell the rules that time passes, while we listen: silence in a time in which nothing
        could be heard, or examined, is nobody's; nor is a step of the clock."""
        listening_ms = before_ms = time.time_ns() // 1_000_000
        before_s = time.monotonic()
        inherited: set[str] | None = None
        carrying = {topics.every_gateway(self._shard, what) for what in (What.DATA, What.EVENT)}
        ends_at = time.monotonic() + WINDOW_S
        while True:
            if not (self._writing.is_blocked or self._subscriptions.denied.keys() & carrying):
                self.on_sign_of_life()  # we are connected, and what comes is taken in
            await asyncio.sleep(TICK_S)
            now_ms, now_s = time.time_ns() // 1_000_000, time.monotonic()
            step_ms = now_ms - before_ms - round(1000 * (now_s - before_s))
            before_ms, before_s = now_ms, now_s
            if abs(step_ms) > STEP_MS:
                listening_ms += step_ms
            if self._writing.is_blocked:
                listening_ms = now_ms
                continue
            if not self._examination.hand:  # else there is no room perhaps
                self._quiet.look()
            await self._writing.insist(partial(self._examination.tick, listening_ms))
            if inherited is None:  # what an earlier process has reported must end too
                inherited = {one.gateway for one in self._watch.standing("readings_refused")}
                self._admission.inherit(self._watch.standing("quota_exceeded"), now_ms)
                self._unbelieved.inherit(self._watch.standing(unbelieved.NAME))
                self._examination.clocks.inherit(self._watch.standing(clocks.NAME))
            shown = self._clock.look()
            async with self._deciding:
                self._admission.judge_by(shown)
                faults = self._admission.conditions(now_ms)
            over = set[str]()
            if time.monotonic() >= ends_at:
                over = {one for one in inherited if self._watch.has_heard(one)}
                inherited -= over
            faults += [*self._examination.failures.faults(over), *self._unbelieved.faults()]
            if max(self._admission.doubt) < clocks.FAR_MS:  # else it may be ours that is wrong
                faults += self._examination.clocks.faults()
            await self.report(faults)

    def _answer(self, settled: Sequence[Intake]) -> None:
        """Tell the gateways what they may forget. What is lost of this they send again."""
        for key, numbers in condemning.merged(settled).acks().items():
            self._acknowledge(key, Ack(key.stream, tuple(numbers)))

    def _acknowledge(self, key: Key, ack: Ack) -> None:
        if self._session is not None:
            if (keys := self._keys.get(key.gateway)) is not None:
                ack = keys.prove(ack, key.gateway)
            topic = topics.topic(self._shard, key.gateway, What.ACK)
            sent = self._session.send(topic, codec.encode(ack))
            sent.add_done_callback(partial(self._told, key.gateway))

    def _told(self, gateway: str, sent: asyncio.Future[bool]) -> None:
        error = None if sent.cancelled() else sent.exception()
        if isinstance(error, PublishRefused):
            if gateway not in self._refused:
                log.error("the broker refuses our acks to %s: %s", gateway, error)
                self._refused.add(gateway)
        elif error is None and gateway in self._refused:
            log.info("the broker takes our acks to %s again", gateway)
            self._refused.discard(gateway)
