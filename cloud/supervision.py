"""Parts of the service that fail apart: one that ends is started again, and no other notices.

Each attempt is a task of its own (`wire.tasks.apart`): what one leaves behind in its task, such as
the cancellation that Python 3.11.2 leaves after a TaskGroup has failed, ends with it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from cloud.errors import Rejected, Unavailable
from configs.loader import UserError
from wire.tasks import apart

log: Final = logging.getLogger("shuichi.cloud")

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
"""Between an end and the next attempt, with jitter."""

STEADY_S: Final = 60.0
"""A part that has run so long works again."""

AGAIN_AND_AGAIN: Final = 3
"""Failures in a row from which on a part counts as failing."""


class Ended(Exception):
    """A part that should work for ever has ended without an error."""


class Supervisor:
    """The parts of one process, by their names.

    A failure is logged, with its traceback if it is a fault of ours. The same one again is not; nor
    is it when the part comes back from it and fails in the same way before it has run for
    `STEADY_S`.
    """

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._last: dict[str, str] = {}

    def failing(self) -> dict[str, str]:
        """The parts that fail again and again, and the last error of each."""
        return {
            name: self._last[name]
            for name, count in self._failures.items()
            if count >= AGAIN_AND_AGAIN
        }

    async def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do `work()` for ever: again, after a pause that grows to `LONGEST_DELAY_S`, whenever it
        ends."""
        delay = FIRST_DELAY_S
        while True:
            steady = asyncio.get_running_loop().call_later(STEADY_S, self._recovered, name)
            try:
                await apart(work(), name)
                raise Ended("it has ended without being asked to")
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is one part's
                if name not in self._failures:
                    delay = FIRST_DELAY_S
                self._failed(name, error)
            finally:
                steady.cancel()
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY_S)

    def _failed(self, name: str, error: BaseException) -> None:
        is_known = isinstance(error, Unavailable | Rejected | UserError)
        words = str(error) if is_known else f"{type(error).__name__}: {error}"
        if words != self._last.get(name):
            trace = None if is_known else error
            log.error("%s has failed and is started again: %s", name, words, exc_info=trace)
        self._last[name] = words
        self._failures[name] = self._failures.get(name, 0) + 1

    def _recovered(self, name: str) -> None:
        if self._failures.pop(name, 0):
            log.info("%s: works again", name)
        self._last.pop(name, None)
