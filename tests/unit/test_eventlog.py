"""The gateway's own event log: lines are added, files rotate, a disk that refuses loses nothing."""

import json

from edge import eventlog
from edge.eventlog import EventLog
from wire.messages import Event


def event(i):
    return Event(i, "here", "aspect_wanted", "x" * 40, {"i": i})


def numbers(path):
    return [json.loads(line)["detail"]["i"] for line in path.read_text().splitlines()]


async def test_events_are_added_in_order(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    for i in range(3):
        log.add(event(i))
    await log.flush()
    log.add(event(3))
    await log.flush()
    assert numbers(tmp_path / "events.jsonl") == [0, 1, 2, 3]


async def test_old_files_are_kept_up_to_a_number(tmp_path, monkeypatch):
    monkeypatch.setattr(eventlog, "LARGEST_BYTES", 300)
    log = EventLog(tmp_path / "events.jsonl")
    for i in range(40):
        log.add(event(i))
        await log.flush()
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files == ["events.jsonl", *(f"events.jsonl.{i}" for i in range(1, 5))]
    together = [n for name in reversed(files[1:]) for n in numbers(tmp_path / name)]
    together += numbers(tmp_path / "events.jsonl")
    assert together == list(range(together[0], 40))


async def test_a_disk_that_refuses_is_asked_again(tmp_path, caplog):
    folder = tmp_path / "later"
    log = EventLog(folder / "events.jsonl")
    log.add(event(1))
    await log.flush()
    log.add(event(2))
    await log.flush()
    assert caplog.text.count("cannot be written") == 1
    folder.mkdir()
    await log.flush()
    assert numbers(folder / "events.jsonl") == [1, 2]
