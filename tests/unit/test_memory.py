"""What a gateway keeps over a restart."""

import shutil

from edge.memory import LatchMemory, SequenceMemory, ShardMemory


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
