"""Front door: `shuichi`. Loads nothing before it is settled what Ctrl-C means meanwhile."""

import os
import signal
import threading
from typing import Any


def main() -> None:
    """Run the command; a user's mistake is one line a fault on stderr, and exit code 2.

    Ctrl-C while modules are loading ends the process at once with exit code 130: nothing is open
    yet, and a traceback out of the middle of an import helps nobody.
    """
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if is_ours:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        from configs import commands

        commands.main(_as_usual if is_ours else lambda: None)
    finally:
        if is_ours:
            _as_usual()


def _as_usual() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def __getattr__(name: str) -> Any:
    """`shuichi.cli`, for those who want the commands and not the process."""
    if name == "cli":
        from configs import commands

        return commands.cli
    raise AttributeError(name)


if __name__ == "__main__":
    main()
