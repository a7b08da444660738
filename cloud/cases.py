"""What a person may do with cases in quarantine: try them again, or drop them."""

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from cloud import ledger, quarantine, refusals, told
from cloud.admission import Admission, NotAllowed
from cloud.alerts.office import planned_sites
from cloud.desk import Clerk, Operation
from cloud.errors import Rejected
from cloud.intake import Arrived, sort_batch
from cloud.ledger import Conflict, Key, Stream
from cloud.quarantine import Case, Filter, Kind, Reason, Verdict
from cloud.refusals import Point
from cloud.store import Points
from configs.loader import UserError
from wire import codec, topics
from wire.codec import DecodeError
from wire.messages import Batch, Event
from wire.mqtt import Message
from wire.topics import What

_AT_ONCE: Final = 500
"""Cases in one transaction."""

_SHOWN: Final = 100
"""Failures that are told one by one."""

_NO_BATCH: Final = "is no batch, drop it: "

_event: Final = msgspec.json.Decoder(Event).decode


class Order(msgspec.Struct, frozen=True):
    """Which cases."""

    wanted: Filter


class Failure(msgspec.Struct, frozen=True):
    """A case that stays, and why."""

    id: str
    words: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of them: `ended` cases are gone, `duplicates` of these because the ledger has
    their batch from another message; `readings` were stored, or dropped. Of `stay` cases the first
    are told in `failures`."""

    ended: int = 0
    duplicates: int = 0
    readings: int = 0
    stay: int = 0
    failures: tuple[Failure, ...] = ()

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.ended + other.ended,
            self.duplicates + other.duplicates,
            self.readings + other.readings,
            self.stay + other.stay,
            (self.failures + other.failures)[:_SHOWN],
        )


class _Trial(NamedTuple):
    """A case, and what it would bring into the store. `stays` says why it does not come in."""

    case: Case
    arrived: Arrived | None = None
    stays: tuple[Reason, str] | None = None
    is_duplicate: bool = False

    def refused(self, words: str) -> "_Trial":
        return self._replace(arrived=None, stays=(Reason.REFUSED, words))

    def as_duplicate(self) -> "_Trial":
        return self._replace(arrived=None, is_duplicate=True)


async def retry(clerk: Clerk, order: Order) -> Outcome:
    """Let the cases through admission and store once more. What is taken is in the ledger and out
    of quarantine in one transaction, with the points where the store can; what is not stays, with
    the reason of today."""
    digests = await clerk.database.run(partial(quarantine.digests, wanted=order.wanted))
    outcome = Outcome()
    for n in range(0, len(digests), _AT_ONCE):
        some = digests[n : n + _AT_ONCE]
        cases = await clerk.database.run(partial(quarantine.load, digests=some))
        outcome += await _retry(clerk, cases)
    return outcome


async def drop(clerk: Clerk, order: Order) -> Outcome:
    """Throw the cases away. The log keeps who did it, and the account how many readings."""

    def work(connection: Connection, some: Sequence[bytes]) -> Outcome:
        cases = quarantine.load(connection, some)
        quarantine.end(connection, cases, Verdict.DROPPED, clerk.who, _now_ms())
        readings = sum(one.readings or 0 for one in cases if one.ledgered)
        return Outcome(ended=len(cases), readings=readings)

    digests = await clerk.database.run(partial(quarantine.digests, wanted=order.wanted))
    outcome = Outcome()
    for n in range(0, len(digests), _AT_ONCE):
        outcome += await clerk.database.run(partial(work, some=digests[n : n + _AT_ONCE]))
    return outcome


RETRY: Final = Operation("quarantine.retry", Order, Outcome, retry)
DROP: Final = Operation("quarantine.drop", Order, Outcome, drop)


async def _retry(clerk: Clerk, cases: Sequence[Case]) -> Outcome:
    admission, now_ms = _admission(clerk), _now_ms()
    trials = [_try(admission, case, now_ms) for case in cases]
    while True:
        trials = await clerk.database.run(partial(_without_duplicates, trials=trials))
        points = [
            Point(one.arrived.batch.gateway, reading, (n, m))
            for n, one in enumerate(trials)
            if one.arrived
            for m, reading in enumerate(one.arrived.batch.readings)
        ]
        settle = partial(_settle, trials=trials, who=clerk.who, now_ms=now_ms)
        try:
            await clerk.store.write(refusals.grouped(points), settle)
        except Conflict:
            cases = await clerk.database.run(
                partial(quarantine.load, digests=[one.case.digest for one in trials])
            )
            trials = [_try(admission, case, now_ms) for case in cases]
        except Rejected as error:
            found = await refusals.find(partial(_write, clerk), points, error, at_last=True)
            if not found and len(trials) > 1:  # not the points: then one of the cases
                half = len(trials) // 2
                parts = [[one.case for one in some] for some in (trials[:half], trials[half:])]
                return await _retry(clerk, parts[0]) + await _retry(clerk, parts[1])
            refused: dict[int, dict[int, str]] = {}
            for (n, m), words in found.items():
                refused.setdefault(n, {})[m] = words
            trials = [
                _narrowed(one, refused[n]) if n in refused else one for n, one in enumerate(trials)
            ]
            if not found:
                trials = [one.refused(str(error)) for one in trials]
        else:
            return _outcome(trials)


def _admission(clerk: Clerk) -> Admission:
    """As of today, its quotas unused: whoever lets a case in has decided that there is room. Nor
    need the plan be fit to be read."""
    planned: frozenset[str] = frozenset()
    if clerk.dispatch is not None:  # the service runs: it may work by the last good plan
        planned = frozenset(clerk.dispatch.plan.site)
    else:
        with suppress(UserError):
            planned = planned_sites(clerk.setup)
    return Admission.of(clerk.setup.config, planned)


async def _write(clerk: Clerk, points: Sequence[Points]) -> None:
    await clerk.store.write(points, lambda _: None)


def _try(admission: Admission, case: Case, now_ms: int) -> _Trial:
    """What is in a case, if it may come in today."""
    address = topics.parse(case.topic)
    if case.kind is Kind.STATE or address is None or address.what not in (What.DATA, What.EVENT):
        return _Trial(case, stays=(case.reason, _NO_BATCH + case.words.removeprefix(_NO_BATCH)))
    message = Message(case.topic, case.payload, False, 1, 0)
    if case.kind is Kind.MESSAGE:
        found = sort_batch(address.gateway, message, admission, now_ms)
        if isinstance(found, Case):
            return _Trial(case, stays=(found.reason, found.words))
        if case.ledgered and case.readings == 0:  # they are elsewhere: it lies here for its events
            bare = msgspec.structs.replace(found.batch, readings=())
            found = Arrived(bare, message, events=found.events)
        return _Trial(case, found)
    try:
        return _try_part(admission, case, message, now_ms)
    except (DecodeError, msgspec.MsgspecError) as error:
        return _Trial(case, stays=(Reason.UNREADABLE, str(error)))
    except NotAllowed as error:
        return _Trial(case, stays=(Reason.NOT_ALLOWED, str(error)))


def _try_part(admission: Admission, case: Case, message: Message, now_ms: int) -> _Trial:
    gateway, stream, number = case.gateway or "", case.stream or "", case.batch or 0
    admission.check_known(gateway)
    if case.kind is Kind.READING:
        reading = codec.decode_record(gateway, case.payload)
        admitted = admission.sift(Batch(gateway, stream, number, (reading,)), now_ms)
    else:
        event = _event(case.payload)
        admitted = admission.sift(Batch(gateway, stream, number, events=(event,)), now_ms)
    if admitted.refused:
        (refused,) = admitted.refused
        return _Trial(case, stays=(refused.reason, refused.words))
    places = (case.position or 0,)
    if case.kind is Kind.READING:
        return _Trial(case, Arrived(admitted.batch, message, readings=places))
    return _Trial(case, Arrived(admitted.batch, message, events=places))


def _narrowed(trial: _Trial, refused: dict[int, str]) -> _Trial:
    """Without the readings that the store refuses: those of a message become cases of their own."""
    if trial.case.kind is Kind.READING or trial.arrived is None:
        return trial.refused(next(iter(refused.values())))
    return trial._replace(arrived=trial.arrived.without(refused))


def _without_duplicates(connection: Connection, trials: Sequence[_Trial]) -> list[_Trial]:
    """A message that the ledger does not count may have come again since, as another one."""
    unsure = {one.arrived.key for one in trials if one.arrived and not one.case.ledgered}
    streams = ledger.load(connection, unsure) if unsure else {}
    return [
        one.as_duplicate()
        if one.arrived
        and not one.case.ledgered
        and one.arrived.batch.number in streams[one.arrived.key].received
        else one
        for one in trials
    ]


def _settle(connection: Connection, trials: Sequence[_Trial], who: str, now_ms: int) -> None:
    """Commit what came of it. Raises Conflict if somebody was quicker."""
    if not quarantine.are_there(connection, [one.case.digest for one in trials]):
        raise Conflict("somebody else is at these cases")
    taken = [(one.case, one.arrived) for one in trials if one.arrived]
    streams = _counted(connection, taken, now_ms)
    ledger.save(connection, streams, ledger.load(connection, streams.keys()))
    told.save(connection, [arrived for _, arrived in taken])
    stored = [
        case._replace(readings=len(arrived.batch.readings), ledgered=True)
        for case, arrived in taken
    ]
    quarantine.end(connection, stored, Verdict.STORED, who, now_ms)
    parts = [part for _, arrived in taken for part in arrived.cases]
    quarantine.save(connection, parts, now_ms)
    copies = [one.case for one in trials if one.is_duplicate]
    quarantine.end(connection, copies, Verdict.DUPLICATE, who, now_ms)
    failed = [(one.case, *one.stays) for one in trials if one.stays]
    quarantine.blame(connection, failed, now_ms)


def _counted(
    connection: Connection, taken: Sequence[tuple[Case, Arrived]], now_ms: int
) -> dict[Key, Stream]:
    """The streams of what is taken, with it."""
    keys = {arrived.key for _, arrived in taken}
    streams = ledger.load(connection, keys) if keys else {}
    for case, arrived in taken:
        stream, batch = streams[arrived.key], arrived.batch
        if case.ledgered:
            stream.readings += len(batch.readings)
            stream.renew(arrived.newest_ms)
        elif batch.number in stream.received:
            raise Conflict("its gateway has sent the batch again")
        else:
            stream.accept(batch.number, len(batch.readings), now_ms, arrived.newest_ms)
        for gap in batch.gaps:
            stream.declare(gap)
        stream.look_for_hole(now_ms)
    return streams


def _outcome(trials: Sequence[_Trial]) -> Outcome:
    stay = [one for one in trials if one.stays]
    return Outcome(
        ended=len(trials) - len(stay),
        duplicates=sum(one.is_duplicate for one in trials),
        readings=sum(len(one.arrived.batch.readings) for one in trials if one.arrived),
        stay=len(stay),
        failures=tuple(
            Failure(one.case.digest.hex()[: quarantine.SHORTEST_ID], one.stays[1])
            for one in stay[:_SHOWN]
            if one.stays
        ),
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
