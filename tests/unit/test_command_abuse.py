"""Commands by clocks that are wrong, disks that fail, and people who mean ill. A raise gets through
in every case, and what lowers is never believed twice."""

import asyncio
import json
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import clock, interlock
from edge import commands as commands_module
from edge.commands import REFUSALS_PER_S
from tests.commanding import OTHER_PRIVATE, Desk
from tests.examples import examples
from tests.waiting import until
from wire import signing
from wire.aspect import Aspect
from wire.messages import LATEST_SEQUENCE, Action, Outcome

NOW_MS = 1_780_000_000_000
MINUTE_MS = 60_000
LATEST = LATEST_SEQUENCE
WINDOW_MS = 10 * MINUTE_MS


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.now_ms = NOW_MS
    desk.site.water(0.0)
    return desk


async def give(desk, action, **fields):
    """As `shuichi command` does: by the time of now, and once more above what a refusal says."""
    fields = {"sequence": NOW_MS, "issued_ms": NOW_MS} | fields
    await desk.send(action, **fields)
    reply = desk.replies[-1]
    if reply.outcome is Outcome.REFUSED and reply.last is not None:
        fields |= {"sequence": max(reply.last + 1, reply.at_ms), "issued_ms": reply.at_ms}
        await desk.send(action, id="again", **fields)
    return desk.replies[-1]


def lowering(**fields):
    return {"aspect": Aspect.GREEN, "person": "Li", "expires_ms": NOW_MS + MINUTE_MS} | fields


@pytest.mark.parametrize("ahead_ms", [WINDOW_MS + 1, 86_400_000, LATEST - NOW_MS, 2**53 - NOW_MS])
async def test_a_sequence_ahead_of_the_clock_is_refused_and_keeps_nobody_out(desk, ahead_ms):
    await give(desk, Action.RAISE, aspect=Aspect.AMBER)
    desk.replies.clear()
    await desk.send(Action.RAISE, aspect=Aspect.RED, sequence=NOW_MS + ahead_ms, issued_ms=NOW_MS)
    (refused,) = desk.replies
    assert (refused.outcome, refused.last) == (Outcome.REFUSED, NOW_MS)
    assert desk.site.wanted() is Aspect.AMBER
    assert (await give(desk, Action.RAISE, aspect=Aspect.RED)).outcome is Outcome.APPLIED
    assert desk.site.wanted() is Aspect.RED
    assert (await give(desk, Action.LOWER, **lowering())).outcome is Outcome.APPLIED


steps = st.lists(
    st.tuples(
        st.sampled_from(("trusted", "untrusted", "restart")),
        st.sampled_from((Action.RAISE, Action.CANCEL)),
        st.sampled_from((0, NOW_MS - 1, NOW_MS, NOW_MS + WINDOW_MS, LATEST - 1, LATEST, 2**53))
        | st.integers(0, 2**53),
        st.sampled_from((0, NOW_MS, NOW_MS + 2 * WINDOW_MS, 2**53)),
    ),
    max_size=8,
)


@examples(60)
@given(steps, st.booleans(), st.sampled_from((0, 2**53, LATEST, NOW_MS + 2 * WINDOW_MS)))
def test_whatever_was_taken_before_a_person_can_raise(steps, trusted, found):
    async def live(folder):
        (folder / "commands.json").write_text(json.dumps({"ops": found}))
        desk = Desk(folder)
        desk.now_ms = NOW_MS
        desk.site.water(0.0)
        for n, (what, action, sequence, issued_ms) in enumerate(steps):
            if what == "restart":
                desk = Desk(folder)
                desk.now_ms = NOW_MS
                desk.site.water(0.0)
            desk.trusted = what == "trusted"
            await desk.send(
                action, id=f"s{n}", aspect=Aspect.AMBER, sequence=sequence, issued_ms=issued_ms
            )
        desk.trusted = trusted
        assert (await give(desk, Action.RAISE, aspect=Aspect.RED)).outcome is Outcome.APPLIED
        assert desk.site.wanted() is Aspect.RED

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder)))


async def test_what_was_taken_without_a_clock_counts_until_the_clock_contradicts_it(desk):
    desk.trusted = False
    future = NOW_MS + 3600 * MINUTE_MS
    await desk.send(Action.RAISE, aspect=Aspect.RED, sequence=future)
    await desk.send(Action.CANCEL, sequence=future)
    assert "sent before" in desk.replies[-1].reason
    desk.trusted = True
    assert (await give(desk, Action.CANCEL)).outcome is Outcome.APPLIED
    assert desk.site.wanted() is Aspect.GREEN


@pytest.mark.parametrize("action", [Action.CANCEL, Action.LOWER, Action.RAISE])
async def test_while_time_goes_on_the_second_try_is_the_last(desk, action):
    desk.trusted = False
    await desk.send(Action.RAISE, aspect=Aspect.AMBER, sequence=LATEST - 1)
    desk.trusted = True
    sequence = desk.now_ms
    for _ in range(2):  # each try arrives a moment after it was issued
        issued_ms = desk.now_ms
        desk.now_ms += 800
        await desk.send(action, **lowering(), sequence=sequence, issued_ms=issued_ms)
        if (last := desk.replies[-1].last) is not None:
            sequence = max(last + 1, desk.replies[-1].at_ms)
    assert desk.replies[-1].outcome is Outcome.APPLIED


async def test_a_clock_that_is_set_back_opens_no_way_to_what_was_taken(desk, tmp_path):
    before_ms = NOW_MS - 365 * 24 * 60 * MINUTE_MS
    desk.now_ms = before_ms
    payload = desk.signed(
        *(Action.LOWER,),
        **lowering(expires_ms=before_ms + MINUTE_MS),
        sequence=before_ms,
        issued_ms=before_ms,
    )
    await desk.desk.receive(payload)
    assert desk.outcomes() == [Outcome.ACCEPTED, Outcome.APPLIED]
    desk.now_ms = NOW_MS
    await give(desk, Action.RAISE, aspect=Aspect.AMBER)
    again = Desk(tmp_path)
    again.site.water(0.0, 0.2)
    again.now_ms = before_ms  # somebody forges the time
    await again.desk.receive(payload)
    assert again.outcomes() == [Outcome.REFUSED]
    assert again.site.wanted() is Aspect.AMBER
    assert (await give(again, Action.RAISE, aspect=Aspect.RED)).outcome is Outcome.APPLIED


@pytest.mark.parametrize("off_ms", [-NOW_MS, -WINDOW_MS - 1, WINDOW_MS + 1, 10**12])
@pytest.mark.parametrize("action", [Action.RAISE, Action.CANCEL, Action.LOWER, Action.MOVE])
async def test_a_command_is_fresh_for_a_time(desk, action, off_ms):
    fields = lowering(shard="s-2", site="" if action is Action.MOVE else "here")
    await desk.send(action, **fields, issued_ms=NOW_MS + off_ms)
    assert desk.outcomes() == [Outcome.REFUSED]
    assert "by the gateway's time" in desk.replies[0].reason or "ahead" in desk.replies[0].reason
    assert desk.replies[0].last == -1
    await desk.send(action, **fields, issued_ms=NOW_MS + (WINDOW_MS if off_ms > 0 else -WINDOW_MS))
    assert desk.outcomes()[1:] == [Outcome.ACCEPTED, Outcome.APPLIED]


async def test_a_raise_from_1970_is_taken_while_no_clock_is_trusted(desk):
    desk.trusted = False
    await desk.send(Action.RAISE, aspect=Aspect.RED, issued_ms=0)
    assert desk.site.wanted() is Aspect.RED


async def test_a_replay_a_thousand_times_a_second_pushes_nothing_out(desk, monkeypatch):
    checks = 0
    verify = signing.verify

    def counted(*arguments):
        nonlocal checks
        checks += 1
        return verify(*arguments)

    monkeypatch.setattr(signing, "verify", counted)
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    desk = Desk(Path(desk.memory._path).parent)
    desk.now_ms = NOW_MS
    desk.site.water(0.0)
    captured = [
        desk.signed(Action.CANCEL, sequence=n, issued_ms=NOW_MS, id=str(n)) for n in range(1, 4)
    ]
    await desk.desk.receive(captured[2])
    desk.events.clear()
    desk.replies.clear()
    for _ in range(180):
        now[0] += 1
        desk.desk.look()
        for payload in captured * 10:
            await desk.desk.receive(payload)
    assert len(desk.events) <= 5  # one a minute
    assert all(kind == "command_refused" for _, kind, _, _ in desk.events)
    told = sum(detail.get("count", 1) for *_, detail in desk.events)
    assert told <= desk.desk.counts.refused
    assert checks == 3  # each of them once
    assert len(desk.replies) == desk.desk.counts.refused <= 181 * REFUSALS_PER_S
    assert desk.desk.counts.refused + desk.desk.counts.dropped == 180 * 30


async def test_a_raise_gets_through_beside_junk_of_every_kind(desk, caplog, monkeypatch):
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)  # all within one moment
    desk = Desk(Path(desk.memory._path).parent)
    desk.now_ms = NOW_MS
    desk.site.water(0.0)
    right = {"sequence": NOW_MS, "issued_ms": NOW_MS}
    one = json.loads(desk.signed(Action.RAISE, aspect=Aspect.RED, **right))
    junk = [
        b"", b"{}", b"[" * 4000, b"\xff" * 100, b"x" * 5000, b"\0",
        json.dumps(one | {"signature": "AAAA"}).encode(),
        json.dumps(one | {"signature": "no"}).encode(),
        json.dumps(one | {"key": "k" * 3000}).encode(),
        json.dumps(one | {"body": "{}"}).encode(),
        json.dumps(one | {"body": "\ud800"}).encode(),
        desk.signed(Action.RAISE, OTHER_PRIVATE, aspect=Aspect.RED, **right),
        desk.signed(Action.LOWER, OTHER_PRIVATE, **lowering(), **right),
        desk.signed(Action.CANCEL, OTHER_PRIVATE, **right),
        desk.signed(Action.RAISE, OTHER_PRIVATE, aspect=Aspect.RED, sequence=0),
        desk.signed(Action.CANCEL, sequence=0, issued_ms=0),  # signed, and refused
    ]  # fmt: skip
    desk.replies.clear()
    for payload in junk * 100:
        await desk.desk.receive(payload)
    assert set(desk.outcomes()) == {Outcome.REFUSED}
    assert len(desk.replies) <= REFUSALS_PER_S
    desk.replies.clear()
    await desk.send(Action.RAISE, aspect=Aspect.RED, **right)
    assert desk.outcomes() == [Outcome.ACCEPTED, Outcome.APPLIED]
    assert desk.site.wanted() is Aspect.RED
    assert len(caplog.records) < 30
    assert max(len(record.getMessage()) for record in caplog.records) < 300
    counts = desk.desk.counts
    assert (counts.taken, counts.refused + counts.dropped) == (1, 100 * len(junk))


@pytest.mark.parametrize("fault", ["full", "hangs", "unreadable"])
async def test_a_disk_that_keeps_no_sequence_lets_a_raise_through_and_nothing_that_lowers(
    desk, tmp_path, monkeypatch, fault
):
    await give(desk, Action.RAISE, aspect=Aspect.AMBER)
    let_go = threading.Event()
    if fault == "full":
        desk.memory._path = tmp_path / "nowhere" / "commands.json"
    elif fault == "hangs":
        monkeypatch.setattr(commands_module, "SAVE_WITHIN_S", 0.05)
        monkeypatch.setattr(desk.memory, "save", let_go.wait)
    else:
        (tmp_path / "commands.json").write_text("{")
        site, desk = desk.site, Desk(tmp_path)
        desk.now_ms = NOW_MS
        desk.site.state = site.state
    try:
        for n, (action, fields) in enumerate(
            {
                Action.LOWER: lowering(),
                Action.CANCEL: {},
                Action.MOVE: {"site": "", "shard": "s-2"},
                Action.RAISE: {"aspect": Aspect.GREEN},  # it would end the raise to amber
            }.items()
        ):
            await desk.send(action, sequence=NOW_MS + 1 + n, issued_ms=NOW_MS, **fields)
            assert desk.replies[-1].outcome is Outcome.REFUSED, action
            assert desk.site.wanted() is Aspect.AMBER
        assert desk.moved == []
        await desk.send(Action.RAISE, sequence=NOW_MS + 9, issued_ms=NOW_MS, aspect=Aspect.RED)
        assert desk.replies[-1].outcome is Outcome.APPLIED
        assert desk.site.wanted() is Aspect.RED
    finally:
        let_go.set()
    if fault == "unreadable":
        assert (tmp_path / "commands.json").read_text() == "{"  # a person may still mend it


async def test_a_latched_red_stays_while_the_sequence_cannot_be_saved(desk, tmp_path):
    desk.site.water(0.4, 0.1, 0.1)
    desk.memory._path = tmp_path / "nowhere" / "commands.json"
    await desk.send(Action.CLEAR, person="Li", issued_ms=NOW_MS)
    assert desk.replies[-1].outcome is Outcome.REFUSED
    assert "cannot be saved" in desk.replies[-1].reason
    assert desk.site.wanted() is Aspect.RED


async def test_water_that_rises_while_the_disk_is_slow_stops_a_clearance(desk, monkeypatch):
    desk.site.water(0.4, 0.1, 0.1)
    monkeypatch.setattr(desk.memory, "save", lambda: desk.site.water(0.4))
    await desk.send(Action.CLEAR, person="Li", issued_ms=NOW_MS)
    assert desk.replies[-1].outcome is Outcome.REFUSED
    assert "still stands" in desk.replies[-1].reason
    assert not desk.site.state.agreed


async def test_a_raise_played_back_without_a_memory_ends_no_raise_sooner(desk, tmp_path):
    soon = NOW_MS + MINUTE_MS
    payload = desk.signed(
        Action.RAISE, aspect=Aspect.RED, expires_ms=soon, sequence=5, issued_ms=NOW_MS
    )
    (tmp_path / "commands.json").write_text("{")
    again = Desk(tmp_path)
    again.now_ms = NOW_MS
    await again.send(Action.RAISE, aspect=Aspect.RED, issued_ms=NOW_MS, sequence=9)
    await again.desk.receive(payload)
    assert again.site.state.order.until == float("inf")


@pytest.mark.parametrize("person", ["", " ", "\u200b", "\u2060\u00ad", "\u3164", "\u202e", "\0"])
@pytest.mark.parametrize("action", [Action.LOWER, Action.CLEAR])
async def test_nobody_who_cannot_be_seen_lowers_or_clears(desk, action, person):
    desk.site.water(0.4, 0.1, 0.1)
    await desk.send(action, **lowering(person=person), issued_ms=NOW_MS)
    assert desk.outcomes() == [Outcome.REFUSED]
    assert "person's name" in desk.replies[0].reason


async def test_what_a_command_brings_about_stays_with_it(desk, caplog, monkeypatch):
    for error in (OverflowError("x"), RecursionError(), MemoryError(), KeyError("k"), OSError(5)):

        def fail(event, now, error=error):
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(desk.site, "take", fail)
            await desk.send(Action.RAISE, aspect=Aspect.RED, issued_ms=NOW_MS)
    assert "OverflowError: x" in caplog.text
    await desk.send(Action.RAISE, aspect=Aspect.RED, issued_ms=NOW_MS)
    assert desk.site.wanted() is Aspect.RED


async def test_who_cancels_a_wait_is_obeyed(desk, monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(desk.memory, "save", let_go.wait)
    task = asyncio.create_task(desk.send(Action.LOWER, **lowering(), issued_ms=NOW_MS))
    try:
        await until(lambda: desk.desk._saving is not None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        let_go.set()
    assert desk.site.state.order is interlock.NO_ORDER
