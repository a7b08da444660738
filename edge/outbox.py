"""The outbox: what is sealed here survives kill -9 and a power cut, until the cloud has stored it.

`Outbox` lets the event loop use one `OutboxFile` in a thread of its own. A file that is damaged is
set aside, never deleted, and a new one takes its place; while no disk can be written, batches live
in memory. `docs/loss-contract.md` says what is promised.
"""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from configs import trouble
from edge import outboxdisk
from edge.batches import Draft, Position, Sealed
from edge.clock import ThisMachine
from edge.dating import Offset
from edge.outboxdisk import open_file
from edge.outboxfile import MOST_PAYLOAD, OutboxFile
from edge.rulers import Notice
from edge.salvage import Salvage, last_life, open_aside
from edge.shelf import Priority, Range
from wire.messages import Event
from wire.reading import Reading

log: Final = logging.getLogger("shuichi.outbox")

PATIENCE: Final = 5
"""Errors in a row after which a file is given up that is not damaged as far as SQLite can tell."""

_T = TypeVar("_T")


class Outbox:
    """Seals, hands out and forgets batches. Coroutines raise sqlite3.Error if the disk refuses;
    `mend` then says whether it is worth trying again at once.

    Until `open` has opened its file, whoever asks it for something waits. `notices` is what is to
    be told as events. `position`, `readings_lost`, `acked` (see `Books`), `sendable` (batches that
    are dated) and `pending_by_priority` are as of the last call. What is sealed from now on has at
    most `most_bytes` a batch, unless it is one single thing.
    """

    def __init__(self, path: Path, gateway: str, boot: str, thread: ThreadPoolExecutor) -> None:
        self.path = path
        self.in_memory = False
        self.most_bytes = MOST_PAYLOAD
        self.notices: deque[Notice] = deque()
        self.salvage: Salvage | None = None
        self.make_room: Callable[[OutboxFile], bool] = lambda _: False
        self._gateway = gateway
        self._boot = boot
        self._thread = thread
        self._failed: OutboxFile | None = None
        self._failures = 0
        self._refusals = 0
        self._is_open = asyncio.Event()
        self._file: OutboxFile
        self.position = Position("", 0, 0, 0)
        self.readings_lost = 0
        self.acked = 0
        self.sendable = 0
        self.pending_by_priority: dict[str, int] = {}

    async def open(self, *, demand: bool = False) -> None:
        """Open the file, once. Where a person has to mend something (the path is wrong, or names a
        file of somebody else) batches live in memory until it is mended, or, on `demand`, it raises
        sqlite3.Error."""
        if not self._is_open.is_set():
            await self._in_thread(lambda: self._open(demand=demand))
            self._is_open.set()

    async def seal(self, readings: Sequence[Reading], events: Sequence[Event] = ()) -> Sealed:
        """Put readings and events on the disk as the next batch."""
        priority = Priority.EVENT if events else Priority.ROUTINE
        (sealed,) = await self.seal_all([Draft(priority, tuple(readings), tuple(events))])
        return sealed

    async def seal_all(self, drafts: Sequence[Draft], *, local: bool = False) -> list[Sealed]:
        """Put each draft on the disk as a batch: all of them, or none. `local`: their times are ms
        since this boot, and they wait until they can be dated."""

        def work(file: OutboxFile) -> list[Sealed]:
            file.most_bytes = self.most_bytes
            return file.seal(drafts, local=local)

        return await self.run(work)

    async def forget(self, batches: Sequence[Range], stream: str | None = None) -> None:
        """Delete the batches in these closed intervals: the cloud has stored them."""
        await self.run(lambda file: file.forget(stream or file.stream, batches))

    async def pending(self, after: int, up_to: int, limit: int) -> list[Sealed]:
        """The first `limit` batches with after < key <= up_to, in order (`edge.shelf.Key`; the keys
        of routine readings in the first stream of a file are their numbers)."""
        return await self.run(lambda file: file.pending(after, up_to, limit))

    async def begin_stream(self) -> None:
        """From now on seal into a new stream."""
        await self.run(lambda file: file.begin_life())

    async def learn(self, offset_ms: int) -> list[tuple[str, Offset]]:
        """See `OutboxFile.learn`."""
        return await self.run(lambda file: file.learn(offset_ms))

    async def run(self, work: Callable[[OutboxFile], _T]) -> _T:
        """Call `work` with the file, in its thread.

        Shielded: a transaction that has begun is finished, so that the position stays true.
        """

        def call() -> _T:
            file, commits = self._file, self._file.commits
            try:
                result = work(file)
            except sqlite3.Error:
                self._failed = file
                raise
            else:
                if file.commits > commits:  # to read proves nothing: a dying card can be read
                    self._failures = 0
                return result
            finally:
                self._note()

        await self._is_open.wait()
        return await self._in_thread(call)

    async def mend(self, error: sqlite3.Error) -> bool:
        """Do what can be done about an error of this outbox; True if that may have helped."""
        return await self._in_thread(lambda: self._mend(error))

    async def return_to_disk(self) -> bool:
        """From memory back into a file; False if the disk still refuses."""
        return await self._in_thread(self._return_to_disk)

    def close(self) -> None:
        """In the outbox's thread. What a disk does not take any more has been told of by then."""
        if not self._is_open.is_set():
            return
        try:
            self._file.close()
        except sqlite3.Error as error:
            log.error("%s: %s", self.path, error)

    @property
    def _database(self) -> sqlite3.Connection:
        return self._file.database

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, call))

    def _note(self) -> None:
        books = self._file.books
        self.position = self._file.position
        self.readings_lost = books.readings_lost
        self.acked = books.acked
        self.sendable = books.sendable
        self.pending_by_priority = books.pending_by_priority

    def _open(self, *, demand: bool) -> None:
        try:
            self._file = self._opened()
        except (sqlite3.Error, OSError) as error:
            if demand:
                raise sqlite3.OperationalError(str(error)) from error
            self._file = self._in_memory(error)
        self._note()

    def _opened(self) -> OutboxFile:
        try:
            file = open_file(self.path, self._gateway, self._boot)
        except sqlite3.Error as error:
            if outboxdisk.is_damaged(error) and outboxdisk.is_ours(self.path):
                return self._replacement(error)
            if outboxdisk.is_dying(error, self.path):
                return self._in_memory(error)
            raise
        if file.books.salvage:
            self._salvage_from(self.path.with_name(file.books.salvage), file)
        return file

    def _mend(self, error: sqlite3.Error) -> bool:
        if self._failed is not self._file:
            return True  # replaced since
        self._failures += 1
        if outboxdisk.is_full(error, self.path) and (
            outboxdisk.is_really_full(error) or self._failures < 2 * PATIENCE
        ):
            return self.make_room(self._file)
        if self.in_memory:
            return False
        is_damaged = outboxdisk.is_damaged(error)
        patience = 2 * PATIENCE if outboxdisk.is_busy(error) else PATIENCE
        if not is_damaged and self._failures < patience:
            return False
        with suppress(sqlite3.Error):
            self._file.database.close()
        self._file = self._replacement(error) if is_damaged else self._in_memory(error)
        self._failures = 0
        self._note()
        return True

    def _replacement(self, error: sqlite3.Error) -> OutboxFile:
        """A new file in the place of one that cannot be used, or memory if there cannot be one."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        try:
            aside = outboxdisk.set_aside(self.path, stamp)
            file = open_file(self.path, self._gateway, self._boot)
        except (OSError, sqlite3.Error) as trouble:
            return self._in_memory(trouble)
        log.error("%s: %s; set aside as %s, a new stream begins", self.path, error, aside.name)
        self.notices.append(
            Notice(
                "outbox_damaged",
                f"the outbox is damaged ({error}) and was set aside as {aside.name}",
                {"error": str(error), "file": aside.name},
            )
        )
        self._salvage_from(aside, file)
        return file

    def _salvage_from(self, aside: Path, file: OutboxFile) -> None:
        """Begin to read a file that was set aside; `edge.keeper` goes on with it."""
        try:
            source = open_aside(aside)
            file.begin_life(at_least=last_life(source) + 1)
            file.books.salvage = aside.name
            salvage = Salvage(source)
            salvage.begin(file)
        except sqlite3.Error as error:
            log.error("%s: nothing can be salvaged: %s", aside, error)
        else:
            self.salvage = salvage

    def _in_memory(self, error: Exception) -> OutboxFile:
        if not self.in_memory:
            why = trouble.of_database(self.path, str(error))
            log.error("%s: %s; batches are kept in memory only", self.path, why)
            self.notices.append(
                Notice(
                    "outbox_in_memory",
                    f"the disk refuses the outbox ({error}): what is not sent will not survive",
                    {"error": str(error)},
                )
            )
        self.in_memory = True
        file = open_file(None, self._gateway, self._boot)
        file.begin_life(at_least=outboxdisk.MEMORY_LIFE)
        return file

    def _return_to_disk(self) -> bool:
        """The file is as it was left: what it holds is sent once it can be written again. One that
        refuses for long, on a disk that takes others, is set aside."""
        try:
            file = open_file(self.path, self._gateway, self._boot)
        except sqlite3.Error as error:
            if not (outboxdisk.is_damaged(error) and outboxdisk.is_ours(self.path)):
                return False
            file = self._replacement(error)
            if file.is_in_memory:
                return False
        if (batches := self._carry_to(file)) is None:
            return False
        self._file.database.close()
        self._file, self.in_memory = file, False
        self._note()
        log.info("%s: the disk takes the outbox again", self.path)
        text = f"the disk takes the outbox again, with {batches} batches from memory"
        self.notices.append(Notice("outbox_on_disk", text, {"batches": batches}))
        return True

    def _carry_to(self, file: OutboxFile) -> int | None:
        """Put what is in memory into `file`: how many batches, or None if it refuses them."""
        carried = Salvage(self._file.database)
        try:
            self._file.flush()
            carried.begin(file)
            while carried.step(file):
                pass
            file.begin_life()
        except sqlite3.Error as error:
            file.database.close()
            self._refusals += 1
            if self._refusals >= PATIENCE and outboxdisk.takes_files(self.path.parent):
                self._refusals = 0
                self._replacement(error).database.close()  # the next attempt finds the new one
            return None
        self._refusals = 0
        return carried.batches


@asynccontextmanager
async def open_outbox(
    path: Path, gateway: str, boot: str = "", *, later: bool = False
) -> AsyncIterator[Outbox]:
    """The outbox at `path`, in this boot of the machine. Raises sqlite3.Error for a path at which
    there can be none; opened `later`, by its `open`, not here."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
    try:
        outbox = Outbox(path, gateway, boot or ThisMachine().boot, thread)
        if not later:
            await outbox.open(demand=True)
        try:
            yield outbox
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, outbox.close)
    finally:
        thread.shutdown()
