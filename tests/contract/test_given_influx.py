"""Setting up, rights and retention of each kind of InfluxDB, on Debian's and on those that the
environment names (`tests/influxservers.py`). The store contract, copying, the quarantine and the
querying page run on them in their own modules."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloud.cli import cloud
from cloud.errors import Unavailable
from cloud.store import DAY_MS, Bucket, Query, Store
from configs.loader import UserError
from tests import influxservers
from tests.contract.test_retention import opened as with_retention
from tests.contract.test_stores import Kept, opened
from tests.contract.test_stores import reading as of_now
from tests.influxservers import InfluxServer, Place


def init(folder: Path, place: Place, **days: int) -> list[str]:
    """What `cloud init` says, with this retention."""
    file = folder / "cloud.toml"
    kept = "".join(f"{level} = {number}\n" for level, number in days.items())
    file.write_text(f"[store]\n{place.toml}\n[store.retention]\n{kept}")
    done = CliRunner().invoke(cloud, ["init", "--config", str(file), "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    lines: list[str] = json.loads(done.stdout)["lines"]
    return lines


def test_init_makes_what_is_needed_and_does_nothing_a_second_time(
    influx_place: Place, tmp_path: Path
) -> None:
    first = init(tmp_path, influx_place, raw_days=90)
    assert any("keeps 92 days" in line for line in first)
    assert sum("keeps for ever" in line for line in first) == len(Bucket)
    assert not any("may not" in line for line in first)
    again = init(tmp_path, influx_place, raw_days=90)
    assert all("is there" in line or "set up already" in line for line in again)
    assert [line.rpartition(", ")[2] for line in again if "keeps" in line] == [
        line.rpartition(", ")[2] for line in first if "keeps" in line
    ]


async def test_what_is_older_than_retention_is_not_kept(
    influx_place: Place, tmp_path: Path
) -> None:
    now_ms = time.time_ns() // 1_000_000
    old, young = (of_now(at_ms=now_ms - days * DAY_MS) for days in (9, 4))
    async with with_retention(tmp_path, influx_place.config, raw_days=3) as (database, store):
        await store.init()  # the server keeps five days
        kept = Kept(database, store, "g")
        await kept.write(young)
        await kept.write(old)  # 1.x and 2.x do not take it, 3.x hides it
        assert [one.at_ms for one in await kept.read()] == [young.at_ms]
        assert await kept.count() == 1
    async with opened(influx_place.config, tmp_path) as (database, store):
        await store.init()  # now it keeps everything
        kept = Kept(database, store, "g")
        await kept.write(old)
        assert [one.at_ms for one in await kept.read()] == [old.at_ms, young.at_ms]


async def made(place: Place, folder: Path) -> None:
    """Let the server have what is needed, by a cloud with this folder."""
    async with opened(place.config, folder) as (_, store):
        await store.init()


async def test_a_check_passes_and_leaves_no_reading(influx_place: Place, tmp_path: Path) -> None:
    async with opened(influx_place.config, tmp_path) as (database, store):
        await store.init()
        assert await store.faults() == []
        assert await store.count(Query()) == 0
        await store.check()
        await Kept(database, store, "g").write(of_now())
        assert await store.faults() == []
        assert await store.count(Query()) == 1


async def test_a_wrong_secret_is_one_line(influx_place: Place, tmp_path: Path) -> None:
    if not influx_place.server.token:
        pytest.skip("this server asks for no secret")
    await made(influx_place, tmp_path)
    wrong = influx_place.server.secret("wrong", "wrong")
    key = "password_file" if influx_place.server.major == 1 else "token_file"
    async with opened(influx_place.config | {key: wrong}, tmp_path) as (database, store):
        try:
            (fault,) = await store.faults()
        except Unavailable as error:  # InfluxDB 3 does not even say what it is
            fault = str(error)
        assert "401" in fault
        assert "\n" not in fault
        with pytest.raises(Unavailable, match="401"):
            await Kept(database, store, "g").write(of_now())


async def test_rollups_of_an_hour_are_kept_on_the_server(
    influx_place: Place, tmp_path: Path
) -> None:
    """Another cloud, which has only the server, finds them."""
    at_ms = time.time_ns() // 1_000_000 // 3_600_000 * 3_600_000 - 7_200_000
    later = at_ms + 7_200_000

    async def hours(store: Store) -> list[tuple[int, float | None, int]]:
        found = await store.rollups(Query(), Bucket.HOUR)
        return [(one.at_ms, one.max, one.counted) for one in found]

    (tmp_path / "other").mkdir()
    await made(influx_place, tmp_path)
    async with opened(influx_place.config, tmp_path) as (database, store):
        kept = Kept(database, store, "g")
        await kept.write(*(of_now(n, n / 8, at_ms=at_ms + n * 60_000) for n in range(60)))
        await store.upkeep(later)
        assert await hours(store) == [(at_ms, 59 / 8, 60)]
    async with opened(influx_place.config, tmp_path / "other") as (_, store):
        assert await hours(store) == [(at_ms, 59 / 8, 60)]


@pytest.mark.parametrize("major", influxservers.only(2))
def test_a_new_server_of_2_gets_its_first_user(major: int, tmp_path: Path) -> None:
    release = influxservers.RELEASES[major - 1]
    if not release.program:
        pytest.skip("a server that runs already has its first user")
    with influxservers.program(major, tmp_path / "influxdb", release.program) as service:
        (tmp_path / "password").write_text("long enough")
        file = tmp_path / "cloud.toml"
        place = Place(InfluxServer(2, service.url, tmp_path, "a-token-of-ours", "city"), "flood")
        file.write_text(f"[store]\n{place.toml}\n")
        done = CliRunner().invoke(cloud, ["init", "--config", str(file)])
        assert isinstance(done.exception, UserError)
        assert "is new: [store] needs username, password_file" in str(done.exception)
        more = 'username = "ops"\npassword_file = "password"\n'
        file.write_text(f"[store]\n{place.toml}\n{more}")
        done = CliRunner().invoke(cloud, ["init", "--config", str(file)])
        assert done.exit_code == 0, (done.output, done.exception)
        assert "made the user ops, the organisation city, and the token" in done.stdout
        done = CliRunner().invoke(cloud, ["init", "--config", str(file)])
        assert all("is there" in line or "already" in line for line in done.stdout.splitlines())
