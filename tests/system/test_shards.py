"""Several workers that share a PostgreSQL: killed, stopped and started twice, and with everything
that they lean on restarted; nothing is lost, nothing is counted twice."""

import asyncio
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

from cloud.database import Server
from tests.conftest import ROOT
from tests.services import Postgres, Service
from tests.system.aggregator import READINGS, Cloud, Gateway, connected, encoded, influx_store
from tests.system.test_cloud_kill import assert_all_is_there_once, insisting
from tests.waiting import until

LEASE_S = 3.0  # long enough for a machine that does much else


def sharing(server: Server, shards: str) -> str:
    """What stands in a config of one who shares its state."""
    return (
        f'[state]\nurl = "{server.url}"\npassword_file = "{server.password_file}"\n'
        f'[ingest]\nlease_s = {LEASE_S}\nshards = "{shards}"\n'
    )


async def test_one_that_was_stopped_in_mid_commit_wakes_up_and_changes_nothing(
    tmp_path: Path, shared_mosquitto: Service, shared_influxd: Service, shared_postgres: Postgres
) -> None:
    shard = uuid.uuid4().hex[:8]
    more = sharing(shared_postgres.database(uuid.uuid4().hex), shard)
    gateway = Gateway("g1", shard=shard)
    store = influx_store(shared_influxd).replace('"shuichi"', f'"d{shard}"')
    with (
        Cloud(tmp_path / "first", shared_mosquitto, store, more) as first,
        Cloud(tmp_path / "second", shared_mosquitto, store, more) as second,
    ):
        async with connected(gateway, shared_mosquitto) as session:
            first.start("-m", "tests.system.dying_cloud", "before-commit")
            await first.listening()
            second.start()
            await until(lambda: "waiting until it is free" in second.log.read_text())
            await gateway.send(session, *encoded("g1", *range(1, 11)))
            await until(lambda: first.is_paused)
            assert gateway.forgotten == set()
            # The broker gives the second what the first never acknowledged; and the ledger goes on.
            await until(lambda: gateway.forgotten == set(range(1, 11)))
            await gateway.send(session, *encoded("g1", 11, 12))
            await until(lambda: gateway.forgotten == set(range(1, 13)))
            first.send(signal.SIGCONT)
            yielded = re.compile(f"shard {shard}: .* waiting until it is free")
            await until(lambda: yielded.search(first.log.read_text()))
        account = await second.account()
        rows = await second.rows()
    assert account.ok
    assert account.streams[0].received_batches == 12
    assert account.streams[0].redelivered_batches == 0
    assert len(rows) == len({row.at_ms for row in rows}) == 12 * READINGS


async def test_nothing_is_lost_or_doubled_whatever_is_killed_or_restarted(
    tmp_path: Path, mosquitto: Service, shared_influxd: Service, postgres: Postgres
) -> None:
    gateways = [Gateway("g1", 300, "0"), Gateway("g2", 300, "1"), Gateway("g3", 300, "0")]
    state = postgres.database()
    store = influx_store(shared_influxd).replace('"shuichi"', f'"d{uuid.uuid4().hex}"')

    async def trouble(a: Cloud, b: Cloud, both: Cloud) -> AsyncIterator[None]:
        a.start()
        b.start()
        await a.listening()
        await b.listening()
        both.start()  # by mistake, as it were
        await until(lambda: both.log.read_text().count("waiting until it is free") >= 2)
        yield
        a.kill()
        await until(lambda: "shard 0: listening" in both.log.read_text())
        yield
        b.send(signal.SIGSTOP)
        await until(lambda: "shard 1: listening" in both.log.read_text())
        a.start()
        b.send(signal.SIGCONT)
        yield
        postgres.kill()
        yield
        postgres.start()
        yield
        both.kill()
        await a.listening()
        yield
        mosquitto.kill()
        mosquitto.start()
        yield

    with ExitStack() as stack:
        workers = [
            stack.enter_context(Cloud(tmp_path / name, mosquitto, store, sharing(state, shards)))
            for name, shards in (("a", "0"), ("b", "1"), ("both", "0-1"))
        ]
        await insisting(gateways, mosquitto, trouble(*workers))
        await assert_all_is_there_once(workers[0], gateways)


def test_a_second_process_on_one_file_ends_with_one_line(
    tmp_path: Path, shared_mosquitto: Service
) -> None:
    with Cloud(tmp_path, shared_mosquitto) as cloud:
        cloud.start()
        asyncio.run(cloud.listening())
        second = subprocess.run(
            [sys.executable, "-m", "shuichi", "cloud", "run", "--config", str(cloud.file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 2
        assert f"process {cloud.pid} writes it already" in second.stderr
        assert second.stderr.count("\n") == 1
