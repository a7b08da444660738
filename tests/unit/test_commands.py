"""Commands from afar: who may give them, what is refused, and how they are followed."""

import json

import pytest

from edge import clock, interlock
from tests.commanding import OTHER_PRIVATE, PRIVATE, Desk
from wire import signing
from wire.aspect import Aspect
from wire.messages import Action, Lease, Outcome


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


async def test_a_raise_is_applied_at_once_and_confirmed_by_read_back(desk):
    desk.site.water(0.0)
    await desk.send(Action.RAISE, aspect=Aspect.RED)
    assert desk.site.wanted() is Aspect.RED
    assert desk.outcomes() == [Outcome.ACCEPTED, Outcome.APPLIED]
    desk.desk.look()
    assert desk.outcomes()[2:] == []  # the lamp has not been read back
    desk.site.obey()
    desk.desk.look()
    desk.desk.look()
    assert desk.outcomes()[2:] == [Outcome.CONFIRMED]
    await desk.send(Action.CANCEL)
    desk.site.obey()
    desk.desk.look()
    assert desk.outcomes()[3:] == [
        Outcome.ACCEPTED,
        Outcome.APPLIED,
        Outcome.ENDED,
        Outcome.CONFIRMED,
    ]
    assert desk.site.wanted() is Aspect.GREEN


async def test_a_move_is_carried_out_once_or_refused(desk):
    await desk.send(Action.MOVE, site="", shard="s-2")
    assert desk.outcomes() == [Outcome.ACCEPTED, Outcome.APPLIED]
    await desk.send(Action.MOVE, site="", shard="s-3", sequence=1)
    assert "sent before" in desk.replies[-1].reason
    for shard in ("", "a/b", "+"):
        await desk.send(Action.MOVE, site="", shard=shard)
        assert "no name of a shard" in desk.replies[-1].reason
    assert desk.moved == ["s-2"]
    desk.full = True
    await desk.send(Action.MOVE, site="", shard="s-2")
    assert desk.replies[-1].outcome is Outcome.ENDED
    assert "No space left" in desk.replies[-1].reason


async def test_a_lowering_lasts_until_its_end(desk):
    desk.site.water(0.0, 0.2)
    await desk.send(Action.LOWER, aspect=Aspect.GREEN, person="Li", expires_ms=desk.soon(60))
    assert desk.site.wanted() is Aspect.GREEN
    desk.site.take(interlock.Tick(), clock.monotonic() + 61)
    assert desk.site.wanted() is Aspect.AMBER
    desk.desk.look()
    assert Outcome.ENDED in desk.outcomes()
    kinds = [kind for _, kind, _, _ in desk.events]
    assert kinds[:2] == ["command_accepted", "command_applied"]
    assert all(detail["person"] == "Li" for *_, detail in desk.events)


@pytest.mark.parametrize(
    ("action", "fields", "reason"),
    [
        (Action.RAISE, {}, "needs an aspect"),
        (Action.LOWER, {"aspect": "green", "expires_ms": 60}, "needs a person's name"),
        (Action.LOWER, {"aspect": "green", "person": "Li"}, "needs an end"),
        (Action.LOWER, {"person": "Li", "expires_ms": 60}, "needs an aspect"),
        (Action.LOWER, {"aspect": "green", "person": "Li", "expires_ms": 86500}, "24 hours"),
        (Action.LOWER, {"aspect": "green", "person": "Li", "expires_ms": -1}, "has expired"),
        (Action.CLEAR, {}, "needs a person's name"),
        (Action.CLEAR, {"person": "Li"}, "no red to clear"),
        (Action.RAISE, {"aspect": "red", "gateway": "other"}, "for gateway 'other'"),
        (Action.RAISE, {"aspect": "red", "site": "there"}, "no interlock 'there'"),
    ],
)
async def test_what_is_refused_says_why_and_changes_nothing(desk, action, fields, reason):
    desk.site.water(0.0)
    if "expires_ms" in fields:
        fields = fields | {"expires_ms": desk.soon(fields["expires_ms"])}
    if "aspect" in fields:
        fields = fields | {"aspect": Aspect(fields["aspect"])}
    before = desk.site.state
    await desk.send(action, **fields)
    assert desk.outcomes() == [Outcome.REFUSED]
    assert reason in desk.replies[0].reason
    assert desk.site.state is before
    assert desk.events[0][1] == "command_refused"


async def test_a_replay_is_refused_even_after_a_restart(desk, tmp_path):
    payload = await desk.send(Action.RAISE, aspect=Aspect.RED, sequence=7)
    await desk.desk.receive(payload)
    assert desk.replies[-1].outcome is Outcome.REFUSED
    again = Desk(tmp_path)
    await again.desk.receive(payload)
    assert [r.outcome for r in again.replies] == [Outcome.REFUSED]
    assert "it was sent before" in again.replies[0].reason
    assert json.loads((tmp_path / "commands.json").read_text()) == {"ops": 7}


async def test_an_untrusted_clock_refuses_to_lower_but_raises(desk):
    desk.trusted = False
    desk.site.water(0.0)
    await desk.send(Action.RAISE, aspect=Aspect.RED, expires_ms=1)
    assert desk.site.wanted() is Aspect.RED
    await desk.send(Action.LOWER, aspect=Aspect.GREEN, person="Li", expires_ms=desk.soon())
    assert desk.replies[-1].outcome is Outcome.REFUSED
    assert "clock is not trusted" in desk.replies[-1].reason


async def test_clearing_a_latched_red(desk):
    desk.site.water(0.0, 0.4, 0.28)
    await desk.send(Action.CLEAR, person="Li")
    assert "still stands" in desk.replies[-1].reason
    desk.site.water(0.1, 0.1)
    assert desk.site.wanted() is Aspect.RED
    await desk.send(Action.CLEAR, person="Li")
    assert desk.site.wanted() is Aspect.AMBER


async def test_what_is_not_signed_by_us_gets_no_answer(desk, caplog):
    await desk.send(Action.RAISE, private=OTHER_PRIVATE, aspect=Aspect.RED)
    await desk.desk.receive(b"{}")
    lease = signing.sign(Lease("here", Aspect.RED, 1, 1), "ops", PRIVATE)
    await desk.desk.receive(lease)
    payload = json.loads(await desk.send(Action.CANCEL))
    desk.replies.clear()
    payload["body"] = payload["body"].replace("cancel", "raise")
    await desk.desk.receive(json.dumps(payload).encode())
    payload["key"] = "nobody"
    await desk.desk.receive(json.dumps(payload).encode())
    payload["signature"] = "no base64!"
    payload["key"] = "ops"
    await desk.desk.receive(json.dumps(payload).encode())
    assert desk.replies == []
    assert caplog.text.count("command refused") == 6
