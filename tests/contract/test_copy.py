"""`shuichi store copy`: the same readings on the other side, whatever stops it on the way."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloud import config, service, storecli, tables
from cloud.cli import cloud as cloud_cli
from cloud.copying import Copied, copy
from cloud.store import Bucket, Points, Query, Row, stream
from configs.loader import UserError
from tests.influxservers import Place
from tests.services import Service
from tests.waiting import PATIENCE_S
from wire.reading import Quality, Quantity, Reading

T0 = 1_705_305_600_000  # 2024-01-15T08:00:00Z

# Not -0.0: SQLite keeps it as 0.
NASTY = [0.1, 0.0, 5e-324, 1.7976931348623157e308, 1 / 3, -1e-7, 123456789.123456789, 7.0]


def readings(number: int) -> list[Reading]:
    """Of three sensors, with missing ones, values that are hard to write, and a gap of a month."""
    made = []
    for n in range(number):
        value = None if n % 13 == 0 else NASTY[n % len(NASTY)]
        quality = Quality.MISSING if value is None else Quality(n % 4 + 1)
        at_ms = T0 + n * 40 + (30 * 86_400_000 if n > number // 2 else 0)
        made.append(Reading("a b,c=d", f"r{n % 3}", Quantity.DEPTH, value, at_ms, quality))
    return made


def cloud(folder: Path, name: str, store: str) -> Path:
    file = folder / f"{name}.toml"
    file.write_text(f'[state]\npath = "{name}.db"\n[store]\n{store}\n')
    return file


def influx(server: Service) -> str:
    place = f'url = "{server.url}"\ndatabase = "d{uuid.uuid4().hex}"'
    return f'kind = "influx"\napi = "v1"\n{place}'


def fill(file: Path, written: list[Reading]) -> None:
    async def write() -> None:
        async with service.opened(config.read(file)) as (_, store):
            await store.write([Points("g1", written)], lambda _: None)

    asyncio.run(write())


def everything(file: Path) -> list[Row]:
    async def read() -> list[Row]:
        async with service.opened(config.read(file), read_only=True) as (_, store):
            return [row async for page in stream.rows(store, Query(), page=5000) for row in page]

    return asyncio.run(read())


def run(source: Path, target: Path, *words: str) -> str:
    done = CliRunner().invoke(storecli.group, ["copy", str(source), str(target), *words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_sqlite_to_influxdb_and_back_is_the_same_to_the_last_bit(
    tmp_path: Path, influx_place: Place
) -> None:
    source = cloud(tmp_path, "source", 'kind = "sqlite"')
    between = cloud(tmp_path, "between", influx_place.toml)
    assert CliRunner().invoke(cloud_cli, ["init", "--config", str(between)]).exit_code == 0
    back = cloud(tmp_path, "back", 'kind = "sqlite"')
    written = readings(5000)
    fill(source, written)
    assert run(source, between) == "5000 readings, the same number in both stores\n"
    run(between, back)
    wanted = [
        (r.at_ms, "g1", r.site, r.sensor, r.quantity, r.value, int(r.quality)) for r in written
    ]
    for file in (source, between, back):
        found = everything(file)
        assert [
            tuple(row) for row in found
        ] == wanted  # floats that are equal and not 0 are the same
    run(source, between)  # once more changes nothing
    assert everything(between) == everything(source)


def test_what_was_copied_has_its_rollups(tmp_path: Path) -> None:
    source = cloud(tmp_path, "source", 'kind = "sqlite"')
    target = cloud(tmp_path, "target", 'kind = "sqlite"')
    fill(source, readings(100))
    run(source, target)

    async def hours() -> int:
        async with service.opened(config.read(target), read_only=True) as (_, store):
            return sum(one.counted for one in await store.rollups(Query(), Bucket.HOUR))

    good = [one for one in readings(100) if one.quality not in (Quality.BAD, Quality.MISSING)]
    assert asyncio.run(hours()) == len(good)


def test_a_part_is_named_as_in_a_query(tmp_path: Path) -> None:
    source = cloud(tmp_path, "source", 'kind = "sqlite"')
    target = cloud(tmp_path, "target", 'kind = "sqlite"')
    fill(source, readings(100))
    words = ("--since", "2024-01-15T08:00:01Z", "--until", "2024-01-15T08:00:02Z")
    assert run(source, target, *words, "--gateway", "g1").startswith("25 readings")
    assert [row.at_ms - T0 for row in everything(target)] == list(range(1000, 2000, 40))


async def test_a_copy_that_was_stopped_goes_on_and_does_not_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream.rows, "__defaults__", (50,))
    source, target = (
        config.read(cloud(tmp_path, name, 'kind = "sqlite"')) for name in ("source", "target")
    )
    async with (
        service.opened(source) as (_, old),
        service.opened(target) as (database, new),
    ):
        await old.write([Points("g1", readings(1000))], lambda _: None)
        told: list[int] = []

        class Stopped(Exception):
            pass

        def stop(more: int) -> None:
            told.append(more)
            if sum(told) > 300:
                raise Stopped

        with pytest.raises(Stopped):
            await copy("it", old, new, database, Query(), stop)
        reached = await new.count(Query())
        assert 300 < reached == sum(told) < 1000
        told.clear()
        assert await copy("it", old, new, database, Query(), told.append) == Copied(1000, 1000)
        assert told[0] == reached
        assert sum(told) == 1000
        assert await new.read(Query()) == await old.read(Query())
        left = await database.run(lambda c: c.execute(tables.copy_position.select()).all())
        assert left == []


def test_it_survives_kill_9(tmp_path: Path, influxd: Service) -> None:
    source = cloud(tmp_path, "source", 'kind = "sqlite"')
    target = cloud(tmp_path, "target", influx(influxd))
    fill(source, readings(30_000))
    words = [sys.executable, "-m", "shuichi", "store", "copy", str(source), str(target)]

    def begun() -> bool:
        """Whether a first piece is committed."""
        with contextlib.suppress(sqlite3.OperationalError):  # it is not laid out yet
            place = f"file:{tmp_path / 'target.db'}?mode=ro"
            with contextlib.closing(sqlite3.connect(place, uri=True)) as database:
                return bool(database.execute("SELECT 1 FROM copy_position").fetchall())
        return False

    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not begun() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL  # it was not done yet
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=4 * PATIENCE_S, check=False
    )
    assert done.stdout == "30000 readings, the same number in both stores\n", done.stderr
    assert everything(target) == everything(source)


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    source = cloud(tmp_path, "source", 'kind = "sqlite"')
    other = cloud(tmp_path, "other", 'kind = "sqlite"')
    gone = cloud(
        tmp_path, "gone", 'kind = "influx"\nurl = "http://127.0.0.1:9"\napi = "v1"\ndatabase = "d"'
    )
    fill(source, readings(3))
    for ends, line in [
        ((source, source), "name the same store"),
        ((tmp_path / "none.toml", source), "there is no such file"),
        ((other, source), "other.db: there is no such file"),
        ((source, gone), "http://127.0.0.1:9 cannot be reached"),
    ]:
        done = CliRunner().invoke(storecli.group, ["copy", *map(str, ends)])
        assert isinstance(done.exception, UserError)
        assert line in str(done.exception)
        assert len(str(done.exception).splitlines()) == 1


def test_a_target_that_held_something_already_is_told(tmp_path: Path) -> None:
    source, target = (cloud(tmp_path, name, 'kind = "sqlite"') for name in ("source", "target"))
    fill(source, readings(3))
    fill(target, [Reading("x", "y", Quantity.LEVEL, 1.0, T0)])
    done = CliRunner().invoke(storecli.group, ["copy", str(source), str(target)])
    assert done.exit_code == 1
    assert "NOT EQUAL: 3 readings in" in done.stderr
