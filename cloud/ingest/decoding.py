"""Decoding and admission of one take, within a budget.

Small messages, as nearly all are, are decoded in the event loop, in slices of a few milliseconds:
a thread would fight it for the GIL, which costs as much as a fifth of the decoding. A take with a
large message is decoded in a thread. A take ends when its budget does: the rest comes with the
next. So no message holds up the lease, and none of one gateway holds up those of others for long.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from cloud.admission import Admission
from cloud.ingest.condemning import case_of, digest, untouched, words_of
from cloud.intake import Intake, sort, sum_up
from wire.mqtt import Message

BUDGET_S: Final = 0.25
"""CPU time for one take; the message that goes beyond it is the last."""

RECORDS: Final = 60_000
"""Readings, events and gaps of one take; the message that goes beyond it is the last."""

RECORD_S: Final = 2e-6
CASE_S: Final = 1e-4
"""What a reading costs behind the decoding, and what a case in quarantine does."""

SMALL_BYTES: Final = 8192
"""Of payload; a batch of 100 readings has 1300. The worst that can be made of so many is unpacked
to 2 MiB and costs 0.1 s (`docs/wire.md`)."""

SLICE_S: Final = 0.005
"""CPU time after which the event loop has its turn."""

SLOW_S: Final = 2.0
"""CPU time for one message, beyond which it goes to quarantine: its readings and events would cost
as much again in each part that handles them. What our gateways send takes a few milliseconds."""


class Decoded(NamedTuple):
    """What the first `done` messages bring."""

    intake: Intake
    done: int
    failed: Sequence[Message]
    """Those of them that something of ours failed over, or that took too long."""
    costs: Sequence[float]
    """Of each of them: CPU time, s, with an estimate of what its records and cases cost later."""


async def decode_beside(
    messages: Sequence[Message],
    admission: Admission,
    now_ms: int,
    deadly: Collection[bytes] = (),
) -> Decoded:
    """As `decode`, and the event loop goes on meanwhile."""
    if any(len(one.payload) > SMALL_BYTES for one in messages):
        return await asyncio.to_thread(decode, messages, admission, now_ms, deadly)
    whole = decode(messages, admission, now_ms, deadly, SLICE_S)
    while whole.done < len(messages) and sum(whole.costs) < BUDGET_S:
        await asyncio.sleep(0)
        part = decode(messages[whole.done :], admission, now_ms, deadly, SLICE_S)
        whole.intake.add(part.intake)
        whole = Decoded(
            whole.intake,
            whole.done + part.done,
            [*whole.failed, *part.failed],
            [*whole.costs, *part.costs],
        )
    sum_up(whole.intake.cases)
    return whole


def decode(
    messages: Sequence[Message],
    admission: Admission,
    now_ms: int,
    deadly: Collection[bytes] = (),
    budget_s: float = BUDGET_S,
) -> Decoded:
    """Sort `messages` up to the end of the budget, one at least. Never raises over one of them.
    Those whose digests are `deadly` become cases untouched."""
    intake = Intake()
    failed: list[Message] = []
    costs: list[float] = []
    records = 0
    began = before = time.thread_time()
    for message in messages:
        try:
            if deadly and digest(message) in deadly:
                part = Intake(cases=[untouched(message)])
            else:
                part = sort([message], admission, now_ms)
        except Exception as error:  # noqa: BLE001 - whatever one message raises is its own
            part = Intake(cases=[case_of(message, words_of(error))])
            failed.append(message)
        now = time.thread_time()
        cost, before = now - before, now
        if cost > SLOW_S:
            part = Intake(cases=[case_of(message, f"takes {cost:.1f} s to decode")])
            failed.append(message)
        intake.add(part)
        for arrived in part.batches:
            batch = arrived.batch
            many = len(batch.readings) + len(batch.events) + len(batch.gaps)
            records += many
            cost += RECORD_S * many + CASE_S * len(arrived.cases)
        costs.append(cost + CASE_S * len(part.cases))
        if now - began > budget_s or records > RECORDS:
            break
    sum_up(intake.cases)
    return Decoded(intake, len(costs), failed, costs)
