"""A calendar is read in a process of its own, with limits of time and memory: a rule that never
fits, or a time zone that was made for it, could keep a library busy for ever."""

import resource
import subprocess
import sys
from typing import Final

import msgspec

from cloud.alerts import plan as plans
from cloud.alerts.plan import Plan
from cloud.alerts.roster import MOST_BYTES, Roster
from configs.loader import UserError

WITHIN_S: Final = 30
"""Of the clock; a big calendar takes two."""

_CPU_S: Final = 20
_MEMORY: Final = 1024 * 1024 * 1024


class _Task(msgspec.Struct):
    plan: str
    content: bytes
    now_ms: int
    source: str


class _Result(msgspec.Struct):
    """`fault` is "" or what is wrong, a line each."""

    fault: str = ""
    roster: Roster | None = None


def read(
    content: bytes, plan: Plan, now_ms: int, source: str, within_s: float = WITHIN_S
) -> Roster:
    """As `rosterfile.read`; raises UserError, also for a calendar that takes too long."""
    if len(content) > MOST_BYTES:
        raise UserError(f"{source}: has more than {MOST_BYTES // 1024} KiB")
    task = _Task(plan.model_dump_json(), content, now_ms, source)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cloud.alerts.rosterchild"],
            input=msgspec.msgpack.encode(task),
            capture_output=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{source}: takes too long: does one of its rules never fit?") from None
    except OSError as error:
        raise UserError(f"{source}: no process to read it: {error.strerror}") from None
    try:
        result = msgspec.msgpack.decode(done.stdout, type=_Result)
    except msgspec.MsgspecError:
        if b"ModuleNotFoundError" in done.stderr:
            missing = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1]
            raise UserError(
                f"{source}: {missing}: install shuichi with its extra, pip install 'shuichi[cloud]'"
            ) from None
        raise UserError(f"{source}: is more than can be read: {_end(done.returncode)}") from None
    if result.roster is None:
        raise UserError(result.fault)
    return result.roster


def _end(code: int) -> str:
    """How the process ended."""
    return (
        f"its reader was ended by signal {-code}" if code < 0 else f"its reader ended with {code}"
    )


def main() -> None:
    """Read a task from stdin, and write what came of it."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from cloud.alerts import rosterfile

    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_Task)
    try:
        roster = rosterfile.read(task.content, plans.parse(task.plan), task.now_ms, task.source)
        result = _Result(roster=roster)
    except UserError as error:
        result = _Result(fault=str(error))
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))


if __name__ == "__main__":
    main()
