"""Names that do something other than be read come through no entrance: not by the wire, not from
the quarantine, not by a copy, not by a config. The stores themselves: see `test_stores`."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from cloud import quarantine, service, storecli
from cloud.config import Config
from cloud.config import read as read_config
from cloud.store import Bucket, Points, Query
from configs import loader
from configs.loader import ConfigError
from tests.contract.test_stores import HOUR0, NOW, UNREADABLE, influx_v1, opened, reading
from tests.services import Service
from wire import codec, topics
from wire.codec import DecodeError
from wire.messages import Batch
from wire.reading import Quantity


@pytest.mark.parametrize("name", [*UNREADABLE, "a b", "A", "ä", "a\n", "a" * 64])
def test_the_wire_and_the_quarantine_take_no_such_name(name: str) -> None:
    for one in (reading(site=name), reading(sensor=name)):
        with pytest.raises(DecodeError):
            codec.decode_record("g", quarantine.record("g", one))
        whole = codec.encode_batch(Batch("g", "s", 1, (one, reading())))
        batch, faults = codec.decode_lenient(whole)
        assert [one.site for one in batch.readings] in ([], ["underpass"])
        assert faults
    with pytest.raises(DecodeError):
        codec.decode_record(name, quarantine.record(name, reading()))
    assert topics.parse(f"shuichi/v1/0/{name}/data") is None


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("key", ["bucket", "database", "org", "username"])
def test_a_config_has_no_such_name_for_a_store(key: str, name: str) -> None:
    if key in ("org", "username") and name == "":
        return  # none is one
    store: dict[str, Any] = {"kind": "influx", "api": "v2", "url": "http://h", "bucket": "b"}
    with pytest.raises(ConfigError) as refused:
        loader.parse({"store": store | {key: name}}, Config, "cloud.toml")
    assert f"store.{key}" in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a\tb", "a b", "a\n", "\u202ea", "A"])
def test_a_config_has_no_such_name_for_what_it_lists(name: str) -> None:
    tables: list[dict[str, Any]] = [
        {"gateway": {name: {}}},
        {"gateway": {"g": {"sites": [name]}}},
        {"web": {"token": {name: {"token_file": "t"}}}},
    ]
    for table in tables:
        with pytest.raises(ConfigError):
            loader.parse(table, Config, "cloud.toml")


def _foreign(server: Service, database: str, *lines: str) -> None:
    """What another program writes beside our readings."""
    where = {"db": database, "precision": "ms"}
    done = httpx.post(f"{server.url}/write", params=where, content="\n".join(lines).encode())
    assert done.status_code == 204, done.text


async def test_what_another_program_wrote_keeps_no_minute_from_its_rollups(
    shared_influxd: Service, tmp_path: Path
) -> None:
    config = influx_v1(shared_influxd)
    async with opened(config, tmp_path) as (_, store):
        await store.check()
        line = f"depth,gateway=g,sensor=a\tb,site=underpass value=9,quality=1i {HOUR0 + 1}"
        _foreign(shared_influxd, config["database"], line)
        await store.write([Points("g", [reading(at_ms=HOUR0)])], lambda _: None)
        await store.upkeep(NOW)
        (made,) = await store.rollups(Query(gateway="g"), Bucket.MINUTE)
        assert (made.sensor, made.counted) == ("ruler", 1)
        assert await store.faults() == []


def test_a_copy_leaves_them_out_and_says_so(shared_influxd: Service, tmp_path: Path) -> None:
    database = f"d{uuid.uuid4().hex}"
    place = f'kind = "influx"\napi = "v1"\nurl = "{shared_influxd.url}"\ndatabase = "{database}"'
    ends = [tmp_path / "from.toml", tmp_path / "to.toml"]
    ends[0].write_text(f'[state]\npath = "from.db"\n[store]\n{place}\n')
    ends[1].write_text('[state]\npath = "to.db"\n[store]\nkind = "sqlite"\n')

    async def fill() -> None:
        async with service.opened(read_config(ends[0])) as (_, store):
            await store.check()
            await store.write([Points("g", [reading(n) for n in range(3)])], lambda _: None)

    asyncio.run(fill())
    bad = ("gateway=g\x1b[2J,sensor=s,site=s", "gateway=g,sensor=\u202es,site=s")
    lines = [f"depth,{one} value=1,quality=1i {HOUR0 + n}" for n, one in enumerate(bad)]
    _foreign(shared_influxd, database, *lines)
    done = CliRunner().invoke(storecli.group, ["copy", *map(str, ends)])
    assert done.exit_code == 1
    assert "NOT COPIED: 2 readings of" in done.stderr
    assert "NOT EQUAL: 5 readings in" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()

    async def there() -> list[tuple[str, str, Quantity]]:
        async with service.opened(read_config(ends[1]), read_only=True) as (_, store):
            return [(one.gateway, one.sensor, one.quantity) for one in await store.read(Query())]

    assert asyncio.run(there()) == [("g", "ruler", Quantity.DEPTH)] * 3
