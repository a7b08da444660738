"""Stores that are servers: what they answered is on their disk, what they refuse is told."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud import config, outside
from cloud.errors import Rejected, Unavailable
from cloud.store import Points, influx
from tests.contract.test_stores import SERVERS, T0, Kept, influx_v1, opened, reading
from tests.influxservers import Mortal
from tests.services import Service, influxd


@pytest.mark.parametrize("name", SERVERS)
async def test_what_a_server_has_answered_survives_its_death(name: str, tmp_path: Path) -> None:
    server = SERVERS[name]
    with server.start(tmp_path / "server") as running:
        await survives(server.config(running), tmp_path, running)


async def test_what_a_given_server_has_answered_survives_its_death(
    mortal_influx: Mortal, tmp_path: Path
) -> None:
    await survives(mortal_influx.place.config, tmp_path, mortal_influx)


async def survives(config: dict[str, Any], folder: Path, running: Service | Mortal) -> None:
    async with opened(config, folder) as (database, store):
        await store.init()
        kept = Kept(database, store, "g")
        committed: list[int] = []
        for n in range(20):
            await kept.write(reading(n))
        running.kill()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await store.write([Points("g", [reading(20)])], lambda _: committed.append(20))
        with pytest.raises(Unavailable, match="cannot be reached"):
            await store.check()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await kept.read()
        assert committed == []
        running.start()
        await store.check()
        assert [one.at_ms - T0 for one in await kept.read()] == list(range(20))
        await kept.write(reading(20))
        assert await kept.count() == 21


async def test_the_first_write_may_be_a_large_one(
    shared_influxd: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx, "MOST_BYTES", 6_000_000)
    config = influx_v1(shared_influxd)
    many = [reading(n) for n in range(150_000)]
    async with opened(config, tmp_path) as (database, store):
        kept = Kept(database, store, "g")
        await kept.write(*many)
        assert await kept.count() == len(many)
        drop = {"q": f'DROP DATABASE "{config["database"]}"'}
        async with httpx.AsyncClient(verify=False) as http:
            (await http.post(f"{shared_influxd.url}/query", params=drop)).raise_for_status()
        with pytest.raises(Unavailable):
            await kept.write(*many)
        await kept.write(*many)  # as the ingest does, again and again
        assert await kept.count() == len(many)


async def test_victoriametrics_is_not_taken_for_an_influxdb(tmp_path: Path) -> None:
    victoria = SERVERS["victoria-v2"]
    with victoria.start(tmp_path / "server") as running:
        wrong = victoria.config(running) | {"dialect": "influxql"}
        async with opened(wrong, tmp_path) as (_, store):
            with pytest.raises(Unavailable, match='needs dialect = "metricsql"'):
                await store.check()


async def test_what_influxdb_refuses_is_rejected_in_its_words(
    shared_influxd: Service, tmp_path: Path
) -> None:
    config = influx_v1(shared_influxd)
    async with (
        opened(config, tmp_path) as (database, store),
        httpx.AsyncClient(verify=False) as http,
    ):
        await store.check()
        where = {"db": config["database"], "precision": "ms"}
        line = f'depth,gateway=g,sensor=ruler,site=underpass quality="text" {T0}'
        taken = await http.post(f"{shared_influxd.url}/write", params=where, content=line)
        assert taken.status_code == 204
        with pytest.raises(Rejected, match="field type conflict"):
            await Kept(database, store, "g").write(reading())


async def test_init_gives_influxdb_1_its_retention(shared_influxd: Service, tmp_path: Path) -> None:
    config = influx_v1(shared_influxd)

    async def init(**days: int) -> list[str]:
        async with opened(config | {"retention": days}, tmp_path) as (_, store):
            lines = await store.init()
            assert [line.replace(config["database"], "d") for line in await store.init()] == [
                line
                if "keeps" not in line
                else line.replace(": created", ": is there").replace(": altered", ": is there")
                for line in ("database d: is there", *lines[1:])
            ]
            return lines[1:]

    assert await init(raw_days=30, minute_days=400) == [
        "retention policy autogen: altered, keeps 32 days",
        "retention policy minute: created, keeps 400 days",
        "retention policy hour: created, keeps for ever",
        "retention policy day: created, keeps for ever",
        "retention policy hydro_day: created, keeps for ever",
    ]
    assert await init(raw_days=2, minute_days=400, hour_days=900) == [
        "retention policy autogen: altered, keeps 4 days",
        "retention policy minute: is there, keeps 400 days",
        "retention policy hour: altered, keeps 900 days",
        "retention policy day: is there, keeps for ever",
        "retention policy hydro_day: is there, keeps for ever",
    ]
    assert "retention policy autogen: altered, keeps for ever" in await init()


async def test_a_check_makes_nothing_and_says_which_right_is_missing(tmp_path: Path) -> None:
    made = influxd(tmp_path / "server")
    conf = tmp_path / "server" / "influxdb.conf"
    conf.write_text(conf.read_text().replace("[http]\n", "[http]\nauth-enabled = true\n"))
    with made as server, httpx.Client(base_url=server.url, verify=False) as http:

        def ask(statement: str, user: str = "root") -> str:
            params = {"q": statement, "u": user, "p": "pw"}
            return http.post("/query", params=params).text

        ask("CREATE USER root WITH PASSWORD 'pw' WITH ALL PRIVILEGES")
        for user in ("nobody", "reader", "writer"):
            ask(f"CREATE USER {user} WITH PASSWORD 'pw'")
        ask("CREATE DATABASE there")
        ask("GRANT READ ON there TO reader")
        ask("GRANT ALL ON there TO writer")
        (tmp_path / "password").write_text("pw")

        def faults(database: str, user: str) -> list[str]:
            file = tmp_path / "cloud.toml"
            store = {"kind": "influx", "api": "v1", "url": server.url, "database": database}
            store |= {"username": user, "password_file": "password"}
            lines = [f'{key} = "{value}"' for key, value in store.items()]
            file.write_text("[store]\n" + "\n".join(lines) + "\n")
            found = asyncio.run(outside.faults(config.read(file)))
            text = "\n".join(one for one in found if "[store]" in one)
            return text.replace(server.url, "URL").splitlines()

        def all_faults() -> dict[tuple[str, str], list[str]]:
            return {
                (database, user): faults(database, user)
                for database in ("there", "typo")
                for user in ("root", "writer", "reader", "nobody")
            }

        found = await asyncio.to_thread(all_faults)
        assert found["there", "root"] == found["there", "writer"] == []
        (words,) = found["there", "reader"]
        assert "403" in words
        assert words.endswith("[store] username needs WRITE on 'there'")
        (words,) = found["there", "nobody"]
        assert "READ on there" in words
        assert found["typo", "root"] == [
            "[store] URL has no database 'typo'; is it spelt so? `shuichi cloud init` makes it, "
            "or else the first write"
        ]
        for user in ("writer", "nobody"):
            (words,) = found["typo", user]
            assert words.endswith("requires READ on typo; is database 'typo' spelt so?")
        assert "typo" not in ask("SHOW DATABASES")
    assert not (tmp_path / "cloud.db").exists()


def test_a_check_makes_no_state(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    for text, fault in (
        ('[store]\nkind = "sqlite"\n', ""),
        ('[state]\npath = "no/such.db"\n', "[state] "),
        ('[store]\nkind = "sqlite"\npath = "no/such.db"\n', "[store] "),
    ):
        file.write_text(text)
        found = asyncio.run(outside.faults(config.read(file)))
        about = [one for one in found if "broker" not in one]
        assert [one[: len(fault)] for one in about] == [fault] * bool(fault)
    assert [one.name for one in tmp_path.iterdir()] == ["cloud.toml"]
