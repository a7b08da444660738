"""The event loop of our programs: a name server that never answers holds nobody up."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

Addresses = list[Any]
"""As `socket.getaddrinfo` gives them: family, kind, protocol, canonical name, address."""

_Question = tuple[Any, ...]


class Loop(asyncio.SelectorEventLoop):
    """Looks names up in threads for which nobody waits, and numeric addresses in none.

    asyncio's own loop asks in a thread of its default executor: a few questions without an answer
    take all of its threads, and the end of the program waits for every one. Here a question is put
    by one daemon thread at a time, and whoever asks the same meanwhile waits for that answer.

    While it `contains_exits`, a SystemExit or KeyboardInterrupt that a task or callback raises goes
    to the exception handler as any other exception does, and the loop goes on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.contains_exits = False
        self._main: asyncio.Future[Any] | None = None
        self._asked: dict[_Question, asyncio.Future[Addresses]] = {}

    def run_until_complete(self, future: Any) -> Any:
        """As asyncio's."""
        self._main = asyncio.ensure_future(future, loop=self)
        return super().run_until_complete(self._main)

    def run_forever(self) -> None:
        """As asyncio's."""
        while True:
            try:
                super().run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                if not self.contains_exits or (self._main is not None and self._main.done()):
                    raise
                message = "raised by a task or a callback"
                self.call_exception_handler({"message": message, "exception": error})
            else:
                return

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Addresses:
        """As `socket.getaddrinfo`. Raises socket.gaierror."""
        if isinstance(host, str) and host.isascii():
            host = host.encode()  # else Python loads its tables of all letters there are
        try:
            numeric = flags | socket.AI_NUMERICHOST
            return socket.getaddrinfo(host, port, family, type, proto, numeric)
        except (OSError, UnicodeError):
            pass  # a name
        question = (host, port, family, type, proto, flags)
        if (answer := self._asked.get(question)) is None:
            answer = self._asked[question] = self.create_future()
            threading.Thread(
                target=self._ask, args=(question,), name="look up", daemon=True
            ).start()
        return await asyncio.shield(answer)

    def _ask(self, question: _Question) -> None:
        """In the thread."""
        addresses: Addresses | OSError
        try:
            addresses = socket.getaddrinfo(*question)
        except OSError as error:
            addresses = error
        except UnicodeError:
            addresses = OSError(f"{question[0]!r} is not the name of a host")
        with contextlib.suppress(RuntimeError):  # the program has ended meanwhile
            self.call_soon_threadsafe(self._answered, question, addresses)

    def _answered(self, question: _Question, addresses: Addresses | OSError) -> None:
        answer = self._asked.pop(question)
        if isinstance(addresses, OSError):
            answer.set_exception(addresses)
            answer.exception()  # seen: those who asked may have given up
        else:
            answer.set_result(addresses)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """As `asyncio.run`, in a loop of ours."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
