"""The gateway, killed (-9) at any moment: nothing that it has sealed is lost or comes twice."""

from pathlib import Path

from bench.edge_kill import run

KILLS = 30


async def test_what_is_sealed_arrives_however_often_it_is_killed(tmp_path: Path) -> None:
    account = await run(tmp_path, KILLS)
    assert account.in_commit > KILLS / 10, account
    assert account.told > KILLS, account
    assert account.sealed >= account.told
    assert (account.lost, account.missing, account.changed, account.doubled) == (0, 0, 0, 0)
    assert account.streams == 1  # the boot is the same
