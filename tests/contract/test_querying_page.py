"""The worked queries of docs/querying.md give the answers that stand there, on real servers."""

import asyncio
import csv
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from cloud import config, service
from cloud.store import Points
from cloud.store.lineprotocol import encode
from tests import influxservers
from tests.conftest import ROOT
from tests.influxservers import Place
from tests.services import Service
from wire.reading import Quality, Quantity, Reading

PAGE = (ROOT / "docs" / "querying.md").read_text("utf-8")
NOON = "2024-07-20T12:00:00Z"


class Worked(NamedTuple):
    """A query of the page, in its language, and the answer beneath it."""

    title: str
    language: str
    query: str
    answer: str


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return re.findall(r"```(\w+)\n(.*?)\n```", text, re.DOTALL)


def worked() -> Iterator[Worked]:
    for section in re.split(r"^### (?=\d+\. )", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        asked: list[tuple[str, str]] = []
        for language, words in blocks(text):
            if language != "text":
                asked.append((language, words))
                continue
            assert asked, f"{title}: an answer without a query"
            for one in asked:  # an answer is that of each query above it
                yield Worked(title, *one, words)
            asked = []
        assert not asked, f"{title}: a query without its answer"


QUERIES = list(worked())
TAGS = ("gateway", "sensor", "site")


def readings() -> list[Reading]:
    """The page's data."""
    made = []
    ((_, text),) = [block for block in blocks(PAGE) if block[0] == "lineprotocol"]
    for line in text.splitlines():
        key, fields, at_ms = line.split(" ")
        quantity, *tags = key.split(",")
        tag = dict(one.split("=") for one in tags)
        field = dict(one.split("=") for one in fields.split(","))
        assert tag["gateway"] == "gw-07"
        value = float(field["value"]) if "value" in field else None
        quality = Quality(int(field["quality"].removesuffix("i")))
        made.append(
            Reading(tag["site"], tag["sensor"], Quantity(quantity), value, int(at_ms), quality)
        )
    assert encode([Points("gw-07", made)]).decode() == text  # the page spells it as we do
    return made


def fill(folder: Path, store: str) -> None:
    """Write the page's data to this store, and let its rollups be made."""
    file = folder / "cloud.toml"
    file.write_text(f"[store]\n{store}\n")
    setup = config.read(file)

    async def write() -> None:
        async with service.opened(setup) as (_, store):
            await store.init()
            await store.write([Points("gw-07", readings())], lambda _: None)
            await store.upkeep(time.time_ns() // 1_000_000)

    asyncio.run(write())


@pytest.mark.parametrize("language", ["influxql", "flux", "sql"])
def test_each_stands_in_each_language(language: str) -> None:
    numbers = [int(one.title.partition(".")[0]) for one in QUERIES if one.language == language]
    assert numbers == list(range(1, 12))


def test_the_influxql_gives_what_the_page_says(tmp_path: Path, influx_place: Place) -> None:
    fill(tmp_path, influx_place.toml)
    for one in QUERIES:
        if one.language == "influxql":
            answer = {"results": [*influxql(influx_place, one.query)]}
            assert canonical(influx_text(answer)) == canonical(one.answer), one.title


def influxql(place: Place, query: str) -> Iterator[Any]:
    """The result of each statement. InfluxDB 3 takes them one by one, and has rollups in databases
    of their own."""
    if place.server.major != 3:
        yield from place.ask(query)["results"]
        return
    for statement in query.split(";\n"):
        level = re.search(r'"(\w+)"\.', statement)
        where = place if level is None else Place(place.server, f"{place.name}/{level[1]}")
        yield from where.ask(statement.replace(level[0], "") if level else statement)["results"]


@pytest.mark.parametrize("given_place", influxservers.only(2), indirect=True)
def test_the_flux_gives_what_the_page_says(tmp_path: Path, given_place: Place) -> None:
    fill(tmp_path, given_place.toml)
    for one in QUERIES:
        if one.language == "flux":
            asked = {
                "query": one.query.replace('bucket: "flood', f'bucket: "{given_place.name}'),
                "dialect": {"header": True, "annotations": []},
            }
            server = given_place.server
            path = "/api/v2/query"
            answer = server.send("POST", path, params={"org": server.org}, json=asked)
            assert answer.is_success, (one.title, answer.text)
            assert canonical(rows_text(flux_rows(answer.text))) == canonical(one.answer), one.title


@pytest.mark.parametrize("given_place", influxservers.only(3), indirect=True)
def test_the_sql_gives_what_the_page_says(tmp_path: Path, given_place: Place) -> None:
    fill(tmp_path, given_place.toml)
    for one in QUERIES:
        if one.language == "sql":
            comment = re.match(r"-- database flood(\S*)\n", one.query)
            database = given_place.name + (comment[1] if comment else "")
            asked = {"db": database, "q": one.query, "format": "json"}
            answer = given_place.server.send("GET", "/api/v3/query_sql", params=asked)
            assert answer.is_success, (one.title, answer.text)
            assert canonical(rows_text(answer.json())) == canonical(one.answer), one.title


def flux_rows(answer: str) -> Iterator[dict[str, Any]]:
    """The rows of CSV, of which each schema has a header. Numbers come as text there."""
    for part in re.split(r"\r?\n\r?\n", answer.strip()):
        for row in csv.DictReader(part.splitlines()):
            assert "error" not in row, row
            hidden = ("", "result", "table", "_start", "_stop")
            found: dict[str, Any] = {k: v for k, v in row.items() if k not in hidden}
            if "_time" in found:
                found["time"] = found.pop("_time")
            yield {k: v if k in (*TAGS, "time") else float(v) for k, v in found.items()}


def rows_text(rows: Iterable[dict[str, Any]]) -> str:
    """As `influx_text`. Times have a Z; the first of a row is its own."""
    series: dict[str, list[str]] = {}
    for row in rows:
        tags = " ".join(f"{name}={row[name]}" for name in TAGS if name in row)
        words: list[str] = []
        for name, value in sorted(row.items(), key=lambda item: item[0] != "time"):
            if isinstance(value, str) and name not in TAGS:
                moment = value.removesuffix("Z") + "Z"
                words.append(f"{name}={moment}" if words else moment)
            elif name not in TAGS:
                words.append(f"{name}={number(value)}")
        series.setdefault(tags, []).append("  ".join(["", *words]))
    lines = [line for tags, some in series.items() for line in [tags, *some]]
    return "\n".join(line for line in lines if line)


def test_rows_are_written_as_the_page_does() -> None:
    flux = (
        ",result,table,_start,_time,sensor,site,depth_m\r\n"
        ",_result,0,2024-07-20T00:00:00Z,2024-07-20T12:00:00Z,ruler-n,north-underpass,0.02\r\n"
        "\r\n"
        ",result,table,_time,readings\r\n"
        ",_result,1,2024-07-20T09:30:00Z,0\r\n\r\n"
    )
    assert rows_text(flux_rows(flux)).splitlines() == [
        "sensor=ruler-n site=north-underpass",
        "  2024-07-20T12:00:00Z  depth_m=0.02",
        "  2024-07-20T09:30:00Z  readings=0",
    ]
    sql = [{"after": "2024-07-20T10:00:00", "time": "2024-07-20T09:00:00", "n": 0.30000000000001}]
    assert rows_text(sql) == "  2024-07-20T09:00:00Z  after=2024-07-20T10:00:00Z  n=0.3"


def test_the_metricsql_gives_what_the_page_says(
    tmp_path: Path, shared_victoria_metrics: Service
) -> None:
    database = f"d{uuid.uuid4().hex}"
    place = f'kind = "influx"\napi = "v1"\nurl = "{shared_victoria_metrics.url}"\n'
    fill(tmp_path, f'{place}dialect = "metricsql"\ndatabase = "{database}"')
    for one in QUERIES:
        if one.language == "mql":
            # The server is shared with other tests, so the page's data is told by its database.
            asked = {"query": one.query, "time": NOON, "extra_label": f"db={database}"}
            url = f"{shared_victoria_metrics.url}/api/v1/query"
            answer = httpx.get(url, params=asked, verify=False).json()
            assert victoria_text(answer) == one.answer, one.title


def influx_text(answer: dict[str, Any]) -> str:
    """A line a series, with its tags; then a line a row: time, unless there is none, and values."""
    lines = []
    for result in answer["results"]:
        assert "error" not in result, result
        for series in result.get("series", []):
            tags = series.get("tags", {})
            lines.append(" ".join(f"{name}={value}" for name, value in sorted(tags.items())))
            for at, *values in series["values"]:
                moment = [] if at.startswith("1970") else [at]
                names = series["columns"][1:]
                lines.append(
                    "  ".join(
                        ["", *moment]
                        + [f"{n}={number(v)}" for n, v in zip(names, values, strict=True)]
                    )
                )
    return "\n".join(line for line in lines if line)


def canonical(answer: str) -> list[list[list[str]]]:
    """Its series, their rows, and the columns of these. Servers have them in different orders."""
    return sorted(
        sorted(sorted(row.split("  ")) for row in series.splitlines())
        for series in re.split(r"\n(?=\S)", answer)
    )


def victoria_text(answer: dict[str, Any]) -> str:
    """A line a series: its labels, and the value."""
    assert answer["status"] == "success", answer
    hidden = ("db", "__name__")
    lines = []
    for series in answer["data"]["result"]:
        labels = {name: value for name, value in series["metric"].items() if name not in hidden}
        words = [f"{name}={value}" for name, value in sorted(labels.items())]
        lines.append("  ".join([*words, number(float(series["value"][1]))]))
    return "\n".join(sorted(lines))


def number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("word", ["shuichi query", "shuichi cloud init", "shuichi store copy"])
def test_the_page_tells_of_the_commands(word: str) -> None:
    assert word in PAGE


def test_every_store_of_the_page_is_a_config(tmp_path: Path) -> None:
    tables = [text for language, text in blocks(PAGE) if language == "toml" and "[store]" in text]
    kinds = []
    for text in tables:
        file = tmp_path / "cloud.toml"
        file.write_text(text)
        store = config.read(file).config.store
        kinds.append((store.kind, getattr(store, "api", ""), getattr(store, "dialect", "")))
    assert kinds == [
        ("sqlite", "", ""),
        ("influx", "v1", "influxql"),
        ("influx", "v2", "influxql"),
        ("influx", "v2", "metricsql"),
    ]
