"""A gateway's commands with an interlock beside them, and a person who signs."""

import errno

from edge import clock, interlock
from edge.commands import CommandDesk
from edge.interlock import Rule
from edge.memory import SequenceMemory
from edge.rulers import RulerRule, Sample
from wire import signing
from wire.aspect import Aspect
from wire.messages import Command, Reply

RULE = Rule(
    rulers=RulerRule(0.15, 0.30, 0.12, 0.27, rise_samples=1, stale_after_s=1e9),
    hold_s=0.0,
    safe=Aspect.AMBER,
    latch_red=True,
)
PRIVATE, PUBLIC = signing.generate()
OTHER_PRIVATE, _ = signing.generate()


class FakeSite:
    """An interlock whose lamp shows what it wants when told to obey."""

    def __init__(self):
        self.rule = RULE
        self.state = interlock.begin(RULE, ("a",))
        self.shows: Aspect | None = None

    def take(self, event, now):
        self.state, _, _ = interlock.step(self.rule, self.state, event, now)

    def water(self, *depths):
        for depth in depths:
            self.take(Sample("a", depth), clock.monotonic())

    def wanted(self) -> Aspect:
        return self.state.wanted

    def obey(self):
        self.shows = self.state.wanted


class Desk:
    def __init__(self, folder):
        self.site = FakeSite()
        self.replies: list[Reply] = []
        self.events: list[tuple[str, str, str, dict[str, object]]] = []
        self.trusted = True
        self.now_ms: int | None = None  # what the gateway takes for the time; None: the real one
        self.memory = SequenceMemory(folder / "commands.json")
        self.desk = CommandDesk(
            "gw",
            {"ops": PUBLIC},
            {"here": self.site},
            self.memory,
            lambda: self.now_ms if self.now_ms is not None else clock.utc_ms(),
            lambda: self.trusted,
            lambda *event: self.events.append(event),
            self.replies.append,
            self.move,
        )
        self.sequence = 0
        self.moved: list[str] = []
        self.full = False

    async def move(self, command):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.moved.append(command.shard)

    async def send(self, action, private=PRIVATE, **fields):
        """Sign a command and have it received; the payload."""
        payload = self.signed(action, private, **fields)
        await self.desk.receive(payload)
        return payload

    def signed(self, action, private=PRIVATE, **fields):
        self.sequence += 1
        whole = {
            "id": f"c{self.sequence}",
            "gateway": "gw",
            "site": "here",
            "action": action,
            "sequence": self.sequence,
            "issued_ms": clock.utc_ms(),
        } | fields
        self.sequence = whole["sequence"]
        return signing.sign(Command(**whole), "ops", private)

    def outcomes(self):
        return [reply.outcome for reply in self.replies]

    def soon(self, seconds=60):
        return clock.utc_ms() + round(seconds * 1000)
