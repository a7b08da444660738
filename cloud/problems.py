"""What is wrong in an account, a line each, and what somebody should know beside that. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cloud.admission import clock_fault
from cloud.quotas import OTHERS

if TYPE_CHECKING:
    from cloud.account import Account
    from cloud.comparison import Mismatch

MOST_IN_QUARANTINE: Final = 100
"""Readings, or cases: more are no longer a few that a person will look at some day."""

LATELY_MS: Final = 3_600_000
"""What was refused within this time is refused now."""

_MOST_NAMES: Final = 5

_MOST_AGAIN: Final = 100
"""Batches that come again after an outage or two."""

_LOST: Final = "lost"


def of(found: "Account") -> list[str]:
    """Why the account is not ok."""
    return [
        *_of_clock(found),
        *_of_acks(found),
        *_of_streams(found),
        *_of_store(found),
        *_of_quarantine(found),
    ]


def notes(found: "Account") -> list[str]:
    """What somebody should know all the same."""
    return [
        *_ended(found),
        *_strangers(found),
        *_foreign_acks(found),
        *_refused(found, lately=False),
    ]


def _of_clock(found: "Account") -> Iterator[str]:
    if fault := clock_fault(found.at_ms):
        yield fault


def _of_acks(found: "Account") -> Iterator[str]:
    """Gateways that keep and send again what we have: our acks do not arrive, or prove nothing."""
    for one in found.gateways:
        if one.acks_unproven and one.pending:
            yield (
                f"{one.gateway}: believes none of our acks, for they are not proven by its key: "
                f"shuichi cloud key {one.gateway} takes it"
            )
        elif one.pending and (again := _again(found, one.gateway)):
            yield (
                f"{one.gateway}: {_many(again, 'batch')} came again, and "
                f"{_many(one.pending, 'batch')} wait there: do our acks reach it?"
            )


def _again(found: "Account", gateway: str) -> int:
    """Batches of its streams that came again, if that is more than outages explain."""
    streams = [one for one in found.streams if one.gateway == gateway]
    again = sum(one.redelivered_batches for one in streams)
    received = sum(one.received_batches for one in streams)
    return again if again > max(_MOST_AGAIN, received) else 0


def _foreign_acks(found: "Account") -> Iterator[str]:
    for one in found.gateways:
        if one.acks_refused and not one.acks_unproven:
            yield (
                f"{one.gateway}: did not believe {_many(one.acks_refused, 'ack')} since it "
                "started: who else may write to its topic?"
            )


def _of_streams(found: "Account") -> Iterator[str]:
    for one in found.streams:
        if one.missing:
            count = sum(last - first + 1 for first, last in one.missing)
            yield f"{one.gateway}: {_many(count, 'batch')} missing of stream {one.stream}"
        if (left := one.readings_unaccounted or 0) > 0:
            yield f"{one.gateway}: {_many(left, 'reading')} not accounted for, stream {one.stream}"


def _of_store(found: "Account") -> Iterator[str]:
    if found.store_fault:
        yield f"the store could not be counted: {found.store_fault}"
    for one in found.mismatches:
        yield f"{one.gateway}: {_difference(one)}"
    if found.rollups_refused:
        many = _many(found.rollups_refused, "rollup")
        yield f"{many} refused by the store, and tried again each hour: {found.rollup_fault}"


def _difference(one: "Mismatch") -> str:
    when = "" if one.day_ms is None else f" of {day(one.day_ms)}"
    if one.in_store == one.in_ledger:
        return f"the store has as many readings{when} as the ledger, but others"
    apart = one.in_ledger - one.in_store
    word = "too few" if apart > 0 else "too many"
    return (
        f"the store has {_many(abs(apart), 'reading')}{when} {word}: {one.in_store}, the ledger "
        f"{one.in_ledger}"
    )


def _of_quarantine(found: "Account") -> Iterator[str]:
    if max(found.readings_quarantined, found.quarantined) > MOST_IN_QUARANTINE:
        worst: dict[str, int] = {}
        for one in found.streams:
            if one.readings_quarantined:
                worst[one.gateway] = worst.get(one.gateway, 0) + one.readings_quarantined
        names = sorted(worst, key=lambda name: -worst[name])[:_MOST_NAMES]
        whose = f", most of {', '.join(names)}" if names else ""
        readings = _many(found.readings_quarantined, "reading")
        cases = _many(found.quarantined, "case")
        yield f"{cases} with {readings} in quarantine{whose}: shuichi quarantine list"
    yield from _refused(found, lately=True)


def _refused(found: "Account", *, lately: bool) -> Iterator[str]:
    """What is beyond a quota. That of gateways that nobody knows is no problem of ours."""
    for one in found.refused:
        is_problem = one.gateway != OTHERS and found.at_ms - one.last_at_ms < LATELY_MS
        if is_problem is lately:
            who = one.gateway or "gateways that the config does not name"
            yield f"{who}: {one.things} refused so far, beyond [quota] {one.quota}"


def _strangers(found: "Account") -> Iterator[str]:
    if found.strangers:
        some = ", ".join(found.strangers[:_MOST_NAMES])
        more = len(found.strangers) - _MOST_NAMES
        names = f"{some} and {more} more" if more > 0 else some
        yield (
            f"not named in the config, so in quarantine: {names}. If one is yours, add "
            "[gateway.NAME]: it has kept what it sent"
        )


def _ended(found: "Account") -> Iterator[str]:
    """Streams whose gateway went without saying how much it had sealed."""
    lost = {one.gateway: one for one in found.gateways if one.state == _LOST}
    for one in found.streams:
        said = lost.get(one.gateway)
        if said is not None and said.stream in (None, one.stream):
            yield (
                f"{one.gateway}: stream {one.stream} ended without a last word: what was sealed "
                f"after batch {one.expected_batches} and not sent is not known"
            )


def day(day_ms: int) -> str:
    """A day as people write it; -1 stands for none that the ledger knows."""
    if day_ms < 0:
        return "days of which the ledger knows nothing"
    return f"{datetime.fromtimestamp(day_ms / 1000, UTC):%Y-%m-%d}"


def _many(number: int, thing: str) -> str:
    ending = "es" if thing.endswith("ch") else "s"
    return f"{number} {thing}{'' if number == 1 else ending}"
