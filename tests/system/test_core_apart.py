"""Nothing beside the signal's own line keeps the signal from the right aspect."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from tests.services import free_port
from tests.system.gateway import Gateway
from wire.aspect import Aspect

SITE = "daping-underpass"


def test_with_everything_in_the_state_folder_broken_the_signal_is_right(tmp_path: Path) -> None:
    with Gateway(tmp_path, free_port(), depth_m=0.0) as gateway:
        gateway.change({("interlock", SITE, "latch_red"): True})
        (tmp_path / "latches.json").write_text("")
        (tmp_path / "commands.json").write_bytes(bytes(range(256)))
        (tmp_path / "shard.json").mkdir()
        (tmp_path / "events.jsonl").mkdir()
        (tmp_path / "outbox.db").write_text("somebody's letter")
        (tmp_path / "outbox.sock").write_text("no socket")
        gateway.start("edge")
        gateway.until(lambda: "red confirmed" in gateway.log("edge"))
        log = gateway.log("edge")
        assert "which latches held is unknown: red waits for a person at daping-underpass" in log
        assert "refused until it is mended" in log
        assert "Traceback" not in log
        assert json.loads((tmp_path / "latches.json").read_text()) == [SITE]
        assert (tmp_path / "outbox.db").read_text() == "somebody's letter"

        (tmp_path / "outbox.sock").unlink()  # a person mends it while the gateway runs
        gateway.until(gateway.answers)
        status = gateway.status()
        assert status["queue"]["in_memory"]
        assert status["lamps"][0]["wanted"] == status["lamps"][0]["confirmed"] == "red"
        gateway.stop("edge")


def test_while_each_part_fails_again_and_again_the_signal_is_right(tmp_path: Path) -> None:
    with Gateway(tmp_path, free_port(), depth_m=0.4) as gateway:
        gateway.change({("metrics", "port"): free_port()})
        gateway.runs("-m", "bench.saboteur", "1", "0.04")
        gateway.start("edge")
        gateway.until(lambda: "red confirmed" in gateway.log("edge"))
        shown = gateway.aspects()
        pid = gateway.pid()

        def have_failed() -> set[str]:
            try:
                return {part["name"] for part in gateway.status()["parts"] if part["failures"]}
            except (OSError, ValueError):
                return set()  # the socket has just failed

        gateway.until(lambda: have_failed() >= PARTS)
        assert gateway.aspects() == shown, "the signal did not move"
        assert gateway.pid() == pid
        assert "CoreFailed" not in gateway.log("edge")


def has_open(pid: int, file: Path) -> bool:
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if one.readlink() == file:
                return True
    return False


def test_a_storm_of_reloads_and_a_disk_that_never_answers_do_not_keep_a_stop_waiting(
    tmp_path: Path,
) -> None:
    with Gateway(tmp_path, free_port(), depth_m=0.0) as gateway:
        gateway.start("edge")
        gateway.until(lambda: "green confirmed" in gateway.log("edge"))
        for _ in range(300):
            os.kill(gateway.pid(), signal.SIGHUP)
            time.sleep(0.001)
        gateway.until(lambda: "new config is in force" in gateway.log("edge"))
        assert gateway.log("edge").count("new config is in force") <= 10
        config = tmp_path / "gateway.toml"
        config.unlink()
        os.mkfifo(config)
        writer = os.open(
            config, os.O_RDWR
        )  # before it reads: an open pipe without a writer is empty
        os.kill(gateway.pid(), signal.SIGHUP)
        gateway.until(lambda: has_open(gateway.pid(), config))
        for _ in range(300):
            os.kill(gateway.pid(), signal.SIGHUP)
        os.kill(gateway.pid(), signal.SIGTERM)
        gateway.until(lambda: gateway.aspects()[-1] is Aspect.AMBER)
        os.close(writer)
        assert gateway.wait("edge") == 0


PARTS = {
    *("sealer", "outbox keeper", "event log", "latches", "uplink", "commands", "metrics"),
    *("systemd", "status socket"),
}

FAILING_TICK = """
import asyncio, sys
from edge.agent import Agent
from shuichi import main

async def tick(self):
    while "green confirmed" not in open("edge.log").read():
        await asyncio.sleep(0.1)
    raise SystemExit(0)

Agent._tick = tick
main()
"""


def test_a_core_that_fails_ends_the_process_and_leaves_the_safe_aspect(tmp_path: Path) -> None:
    with Gateway(tmp_path, free_port(), depth_m=0.0) as gateway:
        gateway.runs("-c", FAILING_TICK)
        gateway.start("edge")
        assert gateway.wait("edge") == 1
        assert "the gateway ends, and its signals fall back" in gateway.log("edge")
        assert gateway.aspects()[-1] is Aspect.AMBER
