"""Answers over MQTT, for boards and loudspeakers with a button: a call's own token on
`topics.ANSWER`,

    {"token": "…", "said": "…", "answer": "yes"}

`said` may be left out, and so may `answer`, which else is "yes" or "no". The broker forgets it once
it is committed; one that comes again finds the call answered.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final, Literal

import msgspec

from cloud.alerts.dispatch import Dispatch, Outcome
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from wire import limits, topics
from wire.mqtt import Broker, Session, keep_connected
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.dispatch")

RETRY_S: Final = 1.0
HOW: Final = "MQTT"
LONGEST_WORDS: Final = 500
LINES: Final = 10
"""In the log, a minute, about what is no answer."""


class Pressed(msgspec.Struct, frozen=True):
    token: Annotated[str, msgspec.Meta(max_length=limits.TEXT)]
    said: str = ""
    answer: Literal["yes", "no"] = "yes"


class Buttons:
    """What is pressed while nobody listens, the broker keeps for `keep_session_s`, under the `name`
    of the deployment: whichever of its workers listens next is given it."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        keep_session_s: int,
        database: State,
        dispatch: Dispatch,
        wake: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._name = name
        self._keep_session_s = keep_session_s
        self._database = database
        self._dispatch = dispatch
        self._wake = wake
        self._lines = Seldom(burst=LINES)

    async def run(self) -> None:
        """Listen for ever, connection after connection."""
        await keep_connected(
            self._broker,
            f"shuichi-cloud-answers-{self._name}",
            self._serve,
            keep_session_s=self._keep_session_s,
            receive_maximum=100,
        )

    async def _serve(self, session: Session) -> None:
        await session.subscribe(topics.ANSWER)
        while True:
            for message in await session.take(100):
                try:
                    await self._take(message.payload)
                except Exception as error:  # noqa: BLE001 - one answer holds up no other
                    self._say(f"an answer is let go: {error!r:.300}")
                session.ack(message)

    async def _take(self, payload: bytes) -> None:
        """Return once it is committed, or is known to be nothing."""
        if len(payload) > limits.SMALL_BYTES:
            self._say(f"not an answer: {len(payload)} bytes")
            return
        try:
            pressed = msgspec.json.decode(payload, type=Pressed)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._say(f"not an answer: {error!s:.300}")
            return
        if (call := self._dispatch.call_of(pressed.token)) is None:
            self._say("an answer with a token that is not ours")
            return
        accepts = pressed.answer == "yes"
        work = partial(
            self._dispatch.answer if accepts else self._dispatch.decline,
            call=call,
            by="",
            how=HOW,
            said=pressed.said[:LONGEST_WORDS].replace("\0", ""),
        )
        outcome = await self._insist(partial(work, now_ms=time.time_ns() // 1_000_000))
        if not outcome.ok:
            self._say(f"an answer that does not count: {outcome.text:.300}")
        self._wake()

    def _say(self, words: str) -> None:
        """What is no answer, a few times a minute: whoever may write to the topic fills no log."""
        if (more := self._lines.says()) is not None:
            held = f" ({more} more before)" if more else ""
            log.warning("%s: %s%s", topics.ANSWER, words, held)

    async def _insist(self, work: Callable[..., Outcome]) -> Outcome:
        failing = False
        while True:
            try:
                return await self._database.run(work)
            except Unavailable as error:
                if not failing:
                    log.error("%s; an answer waits until it is back", error)
                failing = True
            except Rejected as error:
                return Outcome(False, str(error))
            await asyncio.sleep(RETRY_S)
