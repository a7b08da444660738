"""The worked queries of docs/querying.md give the answers that stand there, on real servers."""

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from cloud import config, service
from cloud.store import Points
from cloud.store.lineprotocol import encode
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
        found = blocks(text)
        for (language, query), (answer_language, answer) in zip(
            found[::2], found[1::2], strict=True
        ):
            assert answer_language == "text", f"{title}: a query without its answer"
            yield Worked(title, language, query, answer)


QUERIES = list(worked())


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


def test_there_are_ten() -> None:
    numbers = [int(one.title.partition(".")[0]) for one in QUERIES if one.language == "influxql"]
    assert numbers == list(range(1, 11))


def test_the_influxql_gives_what_the_page_says(tmp_path: Path, influx_place: Place) -> None:
    fill(tmp_path, influx_place.toml)
    for one in QUERIES:
        if one.language == "influxql":
            answer = {"results": [*influxql(influx_place, one.query)]}
            assert series_of(influx_text(answer)) == series_of(one.answer), one.title


def influxql(place: Place, query: str) -> Iterator[Any]:
    """The result of each statement. InfluxDB 3 takes them one by one, and has rollups in databases
    of their own."""
    if place.server.major != 3:
        yield from place.ask(query)["results"]
        return
    for statement in query.split(";\n"):
        ours = '"hour".' in statement
        where = Place(place.server, f"{place.name}/hour") if ours else place
        yield from where.ask(statement.replace('"hour".', ""))["results"]


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


def series_of(answer: str) -> list[str]:
    """Its series with their rows. Servers give them in different orders."""
    return sorted(re.split(r"\n(?=\S)", answer))


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
