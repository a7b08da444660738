"""Writes log lines in a thread: a journal that does not read keeps nobody waiting.

A pipe or socket whose reader is stopped blocks whoever writes to it. What must not wait hands its
line over instead; lines beyond `MOST_WAITING` are left out and counted.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from typing import Final

MOST_WAITING: Final = 1000
"""Lines."""

FLUSH_WITHIN_S: Final = 2.0
"""How long the end of a program waits for its log to be read."""

_RETRY_S: Final = 0.05


class LogWriter(logging.Handler):
    """Writes to the file descriptor `fd`, which stays open."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._left_out = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - what cannot be said must not fail who says it
            line = f"a log line of {record.name} cannot be written: {type(error).__name__}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._left_out += 1
        if self._thread is None:
            with contextlib.suppress(RuntimeError):  # no thread is to be had: at the next line
                thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                thread.start()
                self._thread = thread

    def flush(self) -> None:
        """Wait until all is written, but not for ever."""
        end = time.monotonic() + FLUSH_WITHIN_S
        while self._thread is not None and self._lines.unfinished_tasks:
            if time.monotonic() > end:
                return
            time.sleep(0.002)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            self._write(line)
            if left_out := self._left_out:
                self._left_out -= left_out
                text = f"{left_out} log lines are left out: nobody has read the log fast enough"
                where = ("shuichi.log", logging.WARNING, __file__, 0)
                self._write(self.format(logging.LogRecord(*where, text, None, None)))
            self._lines.task_done()

    def _write(self, line: str) -> None:
        rest = f"{line}\n".encode(errors="backslashreplace")
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                time.sleep(_RETRY_S)
            except OSError:
                return  # nobody will ever read it
