"""What the broker does not let a gateway do: logged once, and shown in the gateway's status."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from edge import clock
from edge.batches import Sealed
from edge.outboxfile import MOST_PAYLOAD
from wire.mqtt import PublishRefused, Session
from wire.mqtt.terms import HUNG_UP, TAKEN_OVER, TOO_LARGE
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.uplink")

LEAST_PAYLOAD: Final = 1024
"""A broker that takes no more than that takes nothing of ours; less is not believed."""

SHORT_S: Final = 60.0
CUTS: Final = 3
"""After so many connections in a row that the broker has cut within so long, without a word, there
may be two of us: some brokers do not say why they throw the older one out. And what was the largest
that was on its way each time may be too large for the broker: over MQTT 3.1.1 none says so."""

LOOK_AGAIN_S: Final = 60.0
BELIEVED_S: Final = 3600.0
"""How long a limit holds that the broker has not named itself."""

TWINS_EVERY_S: Final = 3600.0

Key = tuple[str, int]
"""A batch: stream and number."""


class BrokerNo:
    """`said` is why the last connection failed or ended, in the broker's words where it has any; ""
    once one has come about. `unheard` are the topics that it does not let us listen to.
    `most_payload` is what a batch may have. `aside` names batches in the outbox that have more, or
    were refused: they wait, are tried again now and then, and hold up no other."""

    def __init__(self) -> None:
        self.said = ""
        self.unheard: Mapping[str, str] = {}
        self._refused: dict[str, str] = {}
        self.aside: set[Key] = set()
        self.most_payload = MOST_PAYLOAD
        self._tell_aside = True
        self._unconfirmed: dict[Key, int] = {}  # bytes of what was sent on this connection
        self._suspect: Key | None = None
        self._suspected = 0
        self._known_most = MOST_PAYLOAD  # by what ended an earlier one
        self._known_at = 0.0
        self._since: float | None = None  # of this connection
        self._looked_at = clock.monotonic()
        self._cuts = 0
        self._told: dict[str, str] = {}  # over many connections
        self._twins = Seldom(TWINS_EVERY_S)

    @property
    def denied(self) -> dict[str, str]:
        """The topics that it does not take, or let us listen to, each with its reason."""
        return {**self._refused, **self.unheard}

    def connected(self, session: Session) -> None:
        """A connection begins: what was denied may be allowed now."""
        self.said = ""
        self._since = clock.monotonic()
        self._refused.clear()
        self.aside.clear()
        self._unconfirmed.clear()
        if self._since - self._known_at >= BELIEVED_S:
            self._known_most = MOST_PAYLOAD
        most = max(min(session.most_payload, self._known_most), LEAST_PAYLOAD)
        self._tell_aside |= most != self.most_payload
        self.most_payload = most

    def ended(self, why: str) -> None:
        """A connection has ended, or did not come about. It is logged already."""
        self.said = why
        since, self._since = self._since, None
        if since is None:
            return
        is_short = clock.monotonic() - since < SHORT_S
        self._cuts = self._cuts + 1 if is_short and HUNG_UP in why else 0
        if TAKEN_OVER in why:
            self._twin("another client uses this gateway's id")
        elif self._cuts >= CUTS:
            self._twin("another client may use this gateway's id")
        self._look_for_the_largest(by_name=TOO_LARGE in why)

    def _look_for_the_largest(self, *, by_name: bool) -> None:
        """Whether it is the same batch each time that the connection ends over."""
        if not self._unconfirmed:
            self._suspect = None
            return
        largest = max(self._unconfirmed, key=self._unconfirmed.__getitem__)
        self._suspected = self._suspected + 1 if largest == self._suspect else 1
        self._suspect = largest
        size = self._unconfirmed[largest]
        if (by_name or self._suspected >= CUTS) and size > LEAST_PAYLOAD:
            self._suspected = 0
            self._known_most, self._known_at = size // 2, clock.monotonic()
            log.error(
                "the broker ends the connection over batch %d, of %d bytes; for an hour batches "
                "have at most half of that, and larger ones wait",
                largest[1],
                size,
            )

    def _twin(self, words: str) -> None:
        self.said = f"{words}; {self.said}"
        if self._twins.says() is not None:
            log.error("%s: is there a second gateway of that name, or a copy of its card?", words)

    def takes(self, batch: Sealed) -> bool:
        """Whether `batch` may go out; if not, it is set aside."""
        size = len(batch.payload)
        key = (batch.stream, batch.number)
        if size <= self.most_payload:
            return key not in self.aside
        if self._tell_aside:
            self._tell_aside = False
            log.error(
                "batch %d has %d bytes and the broker takes %d: it is set aside, and others like "
                "it; raise the broker's maximum packet size",
                batch.number,
                size,
                self.most_payload,
            )
        self.aside.add(key)
        return False

    def sent(self, batch: Sealed) -> None:
        """`batch` goes out."""
        self._unconfirmed[batch.stream, batch.number] = len(batch.payload)

    def confirmed(self, key: Key, sent: asyncio.Future[bool]) -> bool:
        """The broker's answer to a batch has come: whether it has taken it."""
        if sent.cancelled():
            return False
        error = sent.exception()
        if isinstance(error, PublishRefused):
            self._unconfirmed.pop(key, None)
            self.aside.add(key)
        elif error is None:
            self._unconfirmed.pop(key, None)
        return error is None

    def deny(self, topic: str, why: str) -> None:
        """The broker does not let us publish to `topic`."""
        if self._told.get(topic) != why:
            log.error("%s", why)
            self._told[topic] = why
        self._refused[topic] = why

    def look_again(self) -> None:
        """Forget now and then what is set aside: it is tried again, or the outbox has let go of it
        meanwhile."""
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
                self._refused.pop(topic, None)
                if self._told.pop(topic, None) is not None:
                    log.info("the broker takes what we publish to %s again", topic)
                    self.aside.clear()  # what it refused may go out now

        return look
