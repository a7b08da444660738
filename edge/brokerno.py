"""What the broker does not let a gateway do: logged once, and shown in the gateway's status."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edge import clock
from edge.batches import Sealed
from edge.outboxfile import MOST_PAYLOAD
from wire.mqtt import PublishRefused, Session
from wire.mqtt.terms import HUNG_UP, TAKEN_OVER
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.uplink")

LEAST_PAYLOAD: Final = 1024
"""A broker that takes no more than that takes nothing of ours; less is not believed."""

SHORT_S: Final = 60.0
CUTS: Final = 3
"""After so many connections in a row that the broker has cut within so long, without a word, there
may be two of us: some brokers do not say why they throw the older one out."""

LOOK_AGAIN_S: Final = 60.0

TWINS_EVERY_S: Final = 3600.0


class BrokerNo:
    """`said` is why the last connection failed or ended, in the broker's words where it has any; ""
    once one has come about. `denied` are the topics that it does not take, each with its reason.
    `most_payload` is what a batch may have, `aside` names those in the outbox that have more: they
    wait until a broker takes them, and hold up no other."""

    def __init__(self) -> None:
        self.said = ""
        self.denied: dict[str, str] = {}
        self.aside: set[tuple[str, int]] = set()
        self.most_payload = MOST_PAYLOAD
        self._tell_aside = True
        self._largest = 0  # payload that was sent on this connection
        self._known_most = self.most_payload  # by what ended an earlier one
        self._since: float | None = None  # of this connection
        self._looked_at = clock.monotonic()
        self._cuts = 0
        self._told: dict[str, str] = {}  # over many connections
        self._twins = Seldom(TWINS_EVERY_S)

    def connected(self, session: Session) -> None:
        """A connection begins: what was denied may be allowed now."""
        self.said = ""
        self._since = clock.monotonic()
        self.denied.clear()
        self.aside.clear()
        self._largest = 0
        most = min(session.most_payload, self._known_most)
        most = max(most, LEAST_PAYLOAD)
        self._tell_aside |= most != self.most_payload
        self.most_payload = most

    def ended(self, why: str) -> None:
        """A connection has ended, or did not come about. It is logged already."""
        self.said = why
        since, self._since = self._since, None
        if since is not None:
            is_short = clock.monotonic() - since < SHORT_S
            self._cuts = self._cuts + 1 if is_short and HUNG_UP in why else 0
        if TAKEN_OVER in why:
            self._twin("another client uses this gateway's id")
        elif self._cuts >= CUTS:
            self._twin("another client may use this gateway's id")
        if "packet too large" in why and self._largest > LEAST_PAYLOAD:
            # A broker that has not said before how much it takes.
            self._known_most = self._largest - 1

    def _twin(self, words: str) -> None:
        self.said = f"{words}; {self.said}"
        if self._twins.says() is not None:
            log.error("%s: is there a second gateway of that name, or a copy of its card?", words)

    def takes(self, batch: Sealed) -> bool:
        """Whether `batch` may go out; if not, it is set aside."""
        size = len(batch.payload)
        if size <= self.most_payload:
            self._largest = max(self._largest, size)
            return True
        if self._tell_aside:
            self._tell_aside = False
            log.error(
                "batch %d has %d bytes and the broker takes %d: it is set aside, and others like "
                "it; raise the broker's maximum packet size",
                batch.number,
                size,
                self.most_payload,
            )
        self.aside.add((batch.stream, batch.number))
        return False

    def deny(self, topic: str, why: str) -> None:
        """The broker does not let us publish, or listen, to `topic`."""
        if self._told.get(topic) != why:
            log.error("%s", why)
            self._told[topic] = why
        self.denied[topic] = why

    def look_again(self) -> None:
        """Forget now and then what is set aside: the outbox may have let go of it."""
        if (now := clock.monotonic()) - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = now
            self.aside.clear()

    def watch(self, topic: str) -> Callable[[asyncio.Future[bool]], None]:
        """What looks at the end of a publish to `topic`."""

        def look(sent: asyncio.Future[bool]) -> None:
            if sent.cancelled():
                return
            error = sent.exception()
            if isinstance(error, PublishRefused):
                self.deny(topic, f"the broker refuses what we publish to {topic}: {error}")
            elif error is None:
                self.denied.pop(topic, None)
                if self._told.pop(topic, None) is not None:
                    log.info("the broker takes what we publish to %s again", topic)

        return look
