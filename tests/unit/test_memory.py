"""What a gateway keeps over a restart."""

import os
import shutil
import socket

import pytest

from edge.memory import LatchMemory, Raised, RaiseMemory, SequenceMemory, ShardMemory
from wire.aspect import Aspect


async def test_latches_are_kept_and_let_go(tmp_path):
    file = tmp_path / "latches.json"
    memory = LatchMemory(file)
    await memory.keep([])
    assert not file.exists()  # a gateway without latches writes nothing
    await memory.keep(["b", "a"])
    kept = LatchMemory(file)
    assert "a" in kept
    assert "c" not in kept
    await kept.keep(["c"])
    assert "a" not in LatchMemory(file)
    assert "c" in LatchMemory(file)


async def test_a_disk_that_refuses_is_told_of_once_and_asked_again(tmp_path, caplog):
    folder = tmp_path / "state"
    memory = LatchMemory(folder / "latches.json")
    for _ in range(3):
        await memory.keep(["a"])
    assert len(caplog.records) == 1
    folder.mkdir()
    await memory.keep(["a"])
    assert "a" in LatchMemory(folder / "latches.json")
    shutil.rmtree(folder)


def test_sequences_are_kept(tmp_path):
    memory = SequenceMemory(tmp_path / "commands.json")
    assert memory.last("ops") == -1
    memory.take("ops", 7)
    memory.take("ops", 3)
    memory.save()
    assert SequenceMemory(tmp_path / "commands.json").last("ops") == 7


def test_a_moved_gateway_stays_moved_until_its_config_says_otherwise(tmp_path):
    file = tmp_path / "shard.json"
    assert ShardMemory(file).current("0") == "0"
    ShardMemory(file).move("0", "2")
    assert ShardMemory(file).current("0") == "2"
    assert ShardMemory(file).left == ("0",)
    assert ShardMemory(file).current("5") == "5"  # somebody has written another one
    memory = ShardMemory(file)
    memory.move("0", "3")
    assert memory.left == ("0", "2")
    memory.cleared(["0"])
    assert ShardMemory(file).left == ("2",)
    memory.move("0", "0")
    assert ShardMemory(file).current("0") == "0"
    assert ShardMemory(file).left == ("2", "3")


NOT_OURS = {
    "empty": b"",
    "cut off": b'{"ops": 4',
    "binary": bytes(range(256)),
    "zeros": bytes(4096),
    "null": b"null",
    "a number": b"7",
    "a text": b'"daping"',
    "a list of numbers": b"[1, 2]",
    "a table of texts": b'{"ops": "4"}',
    "a table of nonsense": b'{"configured": 1, "moved_to": ["a"], "left": {"b": null}}',
    "a flag": b'{"ops": true}',
    "a fraction": b'{"ops": 1.5}',
    "a topic": b'{"moved_to": "a/#", "configured": "0"}',
    "nested": b"[" * 100_000,
    "huge": b" " * 2_000_000 + b"[]",
    "a long number": b"9" * 10_000,
}


@pytest.mark.parametrize("content", [*NOT_OURS.values(), None], ids=[*NOT_OURS, "a folder"])
async def test_a_file_that_cannot_be_read_means_the_most_restrictive(tmp_path, content):
    file = tmp_path / "state.json"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    latches = LatchMemory(file)
    assert "any site" in latches
    assert str(file) in latches.trouble
    sequences = SequenceMemory(file)
    assert not sequences.trustworthy
    assert str(file) in sequences.trouble
    sequences.take("ops", 5)
    assert sequences.last("ops") == 5
    with pytest.raises(OSError, match="cannot be read"):
        sequences.save()  # what a person may still repair is left alone
    if content is not None:
        assert file.read_bytes() == content
    shards = ShardMemory(file)
    assert shards.current("0") == "0"
    assert shards.left == ()
    assert shards.trouble


async def test_a_folder_that_cannot_be_entered_means_the_most_restrictive(tmp_path):
    (tmp_path / "state").write_text("a file where a folder should be")
    for memory in (LatchMemory, SequenceMemory, ShardMemory):
        assert memory(tmp_path / "state" / "x.json").trouble


async def test_what_is_latched_for_want_of_a_file_is_saved_and_known_next_time(tmp_path):
    file = tmp_path / "latches.json"
    file.write_text("")
    await LatchMemory(file).keep(["a"])
    again = LatchMemory(file)
    assert not again.trouble
    assert "a" in again
    assert "b" not in again


def test_a_file_that_is_not_there_is_no_trouble(tmp_path):
    assert "a" not in LatchMemory(tmp_path / "a")
    assert SequenceMemory(tmp_path / "b").trustworthy
    assert not ShardMemory(tmp_path / "c").trouble


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop"])
def test_what_is_no_file_keeps_nobody_waiting(kind, tmp_path):
    path = tmp_path / "latches.json"
    with socket.socket(socket.AF_UNIX) as server:
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "socket":
                server.bind(str(path))
            case "device":
                path.symlink_to("/dev/zero")
            case "loop":
                path.symlink_to(path)
        memory = LatchMemory(path)
    assert "cannot be read" in memory.trouble
    assert "anywhere" in memory


async def test_what_a_person_has_raised_is_kept_and_let_go(tmp_path):
    file = tmp_path / "raises.json"
    memory = RaiseMemory(file)
    await memory.keep({})
    assert not file.exists()
    raised = {"a": Raised(Aspect.RED, None, "Li"), "b": Raised(Aspect.AMBER, 1800.0, "Wang")}
    await memory.keep(raised)
    kept = RaiseMemory(file)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (raised["a"], raised["b"], None)
    await kept.keep({})
    assert RaiseMemory(file).get("a") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"a": {}}', '{"a": null}', '{"a": ["red"]}', '{"a": ["blue", 1, "x"]}'),
        *('{"a": ["red", "1", "x"]}', '{"a": [[], 1, "x"]}', "[" * 100_000, "\x00"),
        *(f'{{"a": ["red", 1{"0" * 400}, "x"]}}', '{"a": ["red", 1, "x", 2'),
    ],
)
def test_where_it_cannot_be_read_every_site_counts_as_raised(text, tmp_path):
    (tmp_path / "raises.json").write_text(text)
    memory = RaiseMemory(tmp_path / "raises.json")
    found = memory.get("anywhere") or memory.get("a")
    assert found is not None
    assert found.floor is Aspect.RED
    assert found.lasts_s is None or found.lasts_s >= 0
