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

log: Final = logging.getLogger("shuichi.dispatch")

RETRY_S: Final = 1.0
HOW: Final = "MQTT"
LONGEST_WORDS: Final = 500


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
                    log.error("%s: an answer is let go: %r", topics.ANSWER, error)
                session.ack(message)

    async def _take(self, payload: bytes) -> None:
        """Return once it is committed, or is known to be nothing."""
        if len(payload) > limits.SMALL_BYTES:
            log.warning("%s: not an answer: %d bytes", topics.ANSWER, len(payload))
            return
        try:
            pressed = msgspec.json.decode(payload, type=Pressed)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s: not an answer: %s", topics.ANSWER, error)
            return
        if (call := self._dispatch.call_of(pressed.token)) is None:
            log.warning("%s: an answer with a token that is not ours", topics.ANSWER)
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
            log.warning("%s: an answer that does not count: %s", topics.ANSWER, outcome.text)
        self._wake()

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
