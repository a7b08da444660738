"""Nothing beside the signal's own line keeps the signal from the right aspect."""

import json
from pathlib import Path

from tests.services import free_port
from tests.system.gateway import Gateway

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
