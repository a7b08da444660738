"""A shard to which nothing comes any more says so once, and once when it is over."""

import logging

from cloud.ingest import quiet as module
from cloud.ingest import worker
from cloud.ingest.quiet import QUIET_S, Quiet
from tests.taking import flowing, message
from tests.waiting import until


def test_silence_is_told_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    quiet = Quiet("0", lambda: now[0])

    def passes(seconds: float) -> int:
        now[0] += seconds
        quiet.look()
        return len(caplog.records)

    assert passes(QUIET_S - 1) == 0
    quiet.hear()
    assert passes(QUIET_S - 1) == 0
    quiet.begin()  # the broker was away, and nobody could be heard
    assert passes(QUIET_S - 1) == 0
    assert passes(1) == 1
    assert passes(10 * QUIET_S) == 1
    assert "let us read" in caplog.text
    quiet.hear()
    quiet.hear()
    assert [one.levelname for one in caplog.records] == ["ERROR", "INFO"]
    assert passes(QUIET_S) == 3


async def test_a_worker_that_hears_nothing_says_so(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "QUIET_S", 0.1)
    monkeypatch.setattr(worker, "TICK_S", 0.02)
    async with flowing(tmp_path) as flow:
        await until(lambda: "nothing has come from any gateway" in caplog.text)
        flow.send(message(1))
        await until(lambda: "messages come again" in caplog.text)
