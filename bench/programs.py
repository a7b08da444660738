"""Programs that a figure runs beside itself: ours, by their own front door."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from configs.loader import UserError

_READY_WITHIN_S: Final = 30.0
_STOP_WITHIN_S: Final = 20.0


class Program:
    """`shuichi ARGUMENTS` in `folder`, from entry to exit of the `with` block.

    It has a session of its own, so that Ctrl-C reaches only the measurement, which then ends its
    programs in order, and a log of its own, `<name>.log`.
    """

    def __init__(self, name: str, folder: Path, *arguments: str | Path) -> None:
        self.name = name
        self._folder = folder
        self._command = [sys.executable, "-m", "shuichi", *map(str, arguments)]
        self._log = folder / f"{name}.log"

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def look(self) -> None:
        """Raises UserError with its last words if it has ended."""
        if (code := self._process.poll()) is not None:
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()
            said = lines[-1] if lines else "it said nothing"
            raise UserError(f"{self.name} ended with code {code}: {said}")

    def wait_until(self, ready: Callable[[], object]) -> None:
        """Wait until it can be used. Raises UserError if it ends before, or takes too long."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ready():
            self.look()
            if time.monotonic() > deadline:
                raise UserError(f"{self.name} is not ready after {_READY_WITHIN_S:g} s")
            time.sleep(0.05)
