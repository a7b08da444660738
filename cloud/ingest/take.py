"""What is taken from the broker at once, and how far it has come."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cloud.alerts.watch import Findings
from cloud.intake import Intake, Name
from wire.mqtt import Message, Session


@dataclass(eq=False, slots=True)
class Take:
    """`findings` are what the rules made of it and the state does not have yet, None once it has.
    `settled` are the parts of which store and ledger have all. `is_released`: the broker has its
    messages back, acknowledged; their gateways still have the batches. `ended`: it is settled, or
    given up."""

    intake: Intake
    messages: Sequence[Message]
    session: Session
    began: float = field(default_factory=time.monotonic)
    findings: Findings | None = None
    is_saved: bool = False
    is_released: bool = False
    sent: set[Name] = field(default_factory=set)
    settled: list[Intake] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def records(self) -> int:
        """Readings and events in it."""
        return sum(len(one.batch.readings) + len(one.batch.events) for one in self.intake.batches)

    def release(self) -> None:
        """Let the broker forget its messages."""
        if not self.is_released:
            self.is_released = True
            for message in self.messages:
                self.session.ack(message)
