"""The whole line in one folder: simulator, cloud and gateway as processes of their own, each of
which can be killed and started again, beside a broker that the test owns.

    with Line(tmp_path / "line", broker.port, record=flood(tmp_path)) as line:
        line.until(lambda: line.lamp(Aspect.RED))
        line.kill("cloud")
        ...
        line.start("cloud")
        account = line.hand_over()
"""

import asyncio
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec
import tomlkit

from cloud import account as accounts
from cloud import config, service
from cloud.account import Account
from firmware_sim import truth
from firmware_sim.demo import programs, stage
from firmware_sim.demo.programs import Program
from tests.services import free_port
from tests.waiting import PATIENCE_S
from wire.aspect import Aspect
from wire.reading import Quantity

SETTINGS: Final[dict[tuple[str, ...], float | str]] = {
    ("sensor", "ruler-1", "interval_s"): 0.2,
    ("uplink", "resend_after_s"): 1,  # so that a test need not wait for what a crash has lost
    ("uplink", "drain_at_stop_s"): PATIENCE_S,
}
"""What differs from the site's own gateway.toml, beside ports and paths."""

PASSING_MS: Final = 3000
"""A relay that pulses passes through red for some 35 ms; a busy machine makes it longer."""


class Outbox(NamedTuple):
    """What the gateway's own disk says. `pending` are batches that wait for an ack."""

    sealed: int
    readings_sealed: int
    pending: int


class Line:
    """From ruler to store. `with` starts all three programs, and ends what still runs."""

    def __init__(
        self,
        folder: Path,
        broker_port: int,
        *,
        record: Path,
        speed: float = 1,
        store: dict[str, Any] | None = None,
    ) -> None:
        """`record` is a CSV with columns `t_s` and `depth_m`: what the water does from the moment
        at which the gateway first asks; in the end it stays."""
        folder.mkdir(exist_ok=True)
        self.stage = stage.prepare(
            *(folder, broker_port, free_port(), free_port()), store or {"kind": "sqlite"}
        )
        self.folder = folder
        change(folder / "gateway.toml", SETTINGS)
        # The water waits for the gateway, however long that takes to start.
        playing = ["--hold", "--speed", f"{speed:g}", "--truth", "truth.jsonl"]
        playing += ["--replay", str(record), "--column", "depth_m", "--time-column", "t_s"]
        self._commands = {
            "sim": programs.shuichi("sim", "run", "sim.toml", *playing),
            "cloud": programs.shuichi("cloud", "run", "--unattended"),
            "edge": programs.shuichi("edge", "run", "--unattended"),
        }
        self._running: dict[str, Program] = {}

    def start(self, name: str) -> None:
        """Start "sim", "cloud" or "edge"."""
        self._running[name] = Program(name, self._commands[name], self.folder)

    def kill(self, name: str) -> None:
        """SIGKILL: what it had not put on disk is gone."""
        self._running.pop(name).kill()

    def stop(self, name: str) -> None:
        """SIGTERM; it must end by itself and well."""
        code = self._running.pop(name).stop(2 * PATIENCE_S)
        assert code == 0, f"{name} ended with {code}; its log:\n{self.log(name)}"

    def sealed(self) -> bool:
        """Whether the gateway's disk has anything to lose."""
        return self.outbox().sealed > 0

    def acked(self) -> bool:
        """Whether the cloud has ever taken anything."""
        outbox = self.outbox()
        return outbox.sealed > outbox.pending

    def hand_over(self) -> dict[str, Any]:
        """End the gateway, which first sees to it that the cloud has everything; the account, once
        the cloud has heard how much that was."""
        self.stop("edge")
        self.until(lambda: self.ledger().readings_sealed == self.outbox().readings_sealed)
        return self.account()

    def until(self, holds: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        """Wait until `holds()`; a program that ends meanwhile fails the test at once."""
        deadline = time.monotonic() + within_s
        while not holds():
            for program in self._running.values():
                assert program.ended is None, f"{program.name} ended: {program.last_words()}"
            assert time.monotonic() < deadline, f"not within {within_s:g} s; {self._state()}"
            time.sleep(0.02)

    def log(self, name: str) -> str:
        """All that a program has said, in all its lives."""
        return (self.folder / f"{name}.log").read_text("utf-8")

    def facts(self) -> list[truth.Fact]:
        """What really happened on the lines so far."""
        file = self.folder / "truth.jsonl"
        whole = file.read_bytes().rpartition(b"\n")[0] if file.exists() else b""
        return [_FACT.decode(line) for line in whole.splitlines()]

    def water(self) -> list[tuple[int, float]]:
        """Depths that the ruler has told, m, each with its UTC in ms; equal ones in a row once."""
        return [
            (fact.at_ms, fact.value)
            for fact in self.facts()
            if isinstance(fact, truth.Answered) and fact.device == self.stage.ruler
            if fact.quantity is Quantity.DEPTH and fact.value is not None
        ]

    def shown(self) -> list[tuple[int, Aspect]]:
        """What the relay was switched to, each with its UTC in ms.

        Not the red through which a relay that pulses goes from green to amber, for a moment: a red
        that is meant is held for longer than `PASSING_MS` before it falls.
        """
        aspects = {channels: Aspect(name) for name, channels in self.stage.channels.items()}
        turns = [
            (fact.at_ms, aspects[frozenset(fact.on)])
            for fact in self.facts()
            if isinstance(fact, truth.Outputs) and fact.device == self.stage.relay
        ]
        passing = (Aspect.RED, Aspect.AMBER)
        return [
            turn
            for turn, after in zip_longest(turns, turns[1:])
            if after is None or (turn[1], after[1]) != passing or after[0] - turn[0] > PASSING_MS
        ]

    def lamp(self, aspect: Aspect) -> bool:
        """Whether the lamp shows `aspect` now."""
        return [a for _, a in self.shown()][-1:] == [aspect]

    def account(self) -> dict[str, Any]:
        """What `shuichi account` says of the ledger and the store, once the cloud has them."""
        command = programs.shuichi("account", "--config", self.folder / "cloud.toml", "--json")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if "run yet?" not in done.stderr or time.monotonic() > deadline:
                break
        assert done.returncode in (0, 1), done.stderr
        account: dict[str, Any] = json.loads(done.stdout)
        return account

    def ledger(self) -> Account:
        """The same without a process of its own, for those who ask again and again."""

        async def take() -> Account:
            settings = config.read(self.folder / "cloud.toml")
            async with service.opened(settings, read_only=True) as (database, store):
                return await accounts.take(database, store)

        return asyncio.run(take())

    def outbox(self) -> Outbox:
        """What the gateway's disk holds, be the gateway alive or dead."""
        file = self.folder / "outbox.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            sealed, readings = database.execute(
                "SELECT sealed, readings_sealed FROM outbox"
            ).fetchone()
            (pending,) = database.execute("SELECT count(*) FROM batch").fetchone()
        return Outbox(sealed, readings, pending)

    def _state(self) -> str:
        said = "".join(f"\n{p.name}: {p.last_words()}" for p in self._running.values())
        return f"water {self.water()[-5:]}, lamp {self.shown()[-5:]}{said}"

    def __enter__(self) -> Self:
        self.start("sim")
        self.start("cloud")
        self._running["sim"].wait_until((self.folder / "ttyBus").exists)
        self.start("edge")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in ("edge", "cloud", "sim"):  # a gateway shows its safe aspect before it goes
            if (program := self._running.pop(name, None)) is not None:
                program.stop() if error is None else program.kill()


_FACT: Final = msgspec.json.Decoder(truth.Fact)


def change(file: Path, settings: Mapping[tuple[str, ...], float | str]) -> None:
    """Set keys in a TOML file, each named by its path."""
    document: Any = tomlkit.parse(file.read_text("utf-8"))
    for (*path, key), value in settings.items():
        table = document
        for name in path:
            table = table.setdefault(name, {})
        table[key] = value
    file.write_text(tomlkit.dumps(document), "utf-8")
