"""Reading from InfluxDB by InfluxQL, over `/query` (1.x, 2.x with a mapped bucket, 3.x)."""

from typing import Any, Final

import httpx
import msgspec

from cloud.errors import Unavailable
from cloud.http import ask
from cloud.store import Query, Row
from wire.reading import Quantity

_NO_DATABASE: Final = "database not found"


class _Series(msgspec.Struct):
    name: str
    values: list[list[Any]] = []


class _Result(msgspec.Struct):
    series: list[_Series] = []
    error: str = ""


class _Answer(msgspec.Struct):
    results: list[_Result] = []
    error: str = ""


class InfluxQL:
    """One database of a server. `creates`: whether it may be made if it is not there."""

    def __init__(self, http: httpx.AsyncClient, database: str, *, creates: bool) -> None:
        self._http = http
        self._database = database
        self._creates = creates

    async def check(self) -> None:
        """Raise Unavailable unless the database answers; make it first where we may."""
        answer = await self._ask(f"SELECT quality FROM {_name(Quantity.DEPTH)} LIMIT 1")
        if _NO_DATABASE not in _error(answer):
            return
        if not self._creates:
            raise Unavailable(f"{self._http.base_url} has no database {self._database!r}")
        await self.create()

    async def create(self) -> None:
        """Make the database; nothing happens if it is there."""
        answer = await self._ask(f"CREATE DATABASE {_name(self._database)}", method="POST")
        if error := _error(answer):
            raise Unavailable(f"{self._http.base_url} says: {error}")

    async def settle(self) -> None:
        """Nothing to do: InfluxDB has a write in its log on disk before it answers."""

    async def read(self, query: Query) -> list[Row]:
        order = "DESC" if query.newest_first else "ASC"
        limit = "" if query.limit is None else f" LIMIT {query.limit}"
        fields = "value, quality, gateway, site, sensor"
        series = await self._select(
            f"SELECT {fields} FROM {_from(query)}{_where(query)} ORDER BY time {order}{limit}"
        )
        return query.cut(
            [
                Row(at_ms, gateway, site, sensor, Quantity(one.name), value, quality)
                for one in series
                for at_ms, value, quality, gateway, site, sensor in one.values
            ]
        )

    async def count(self, query: Query) -> int:
        series = await self._select(f"SELECT COUNT(quality) FROM {_from(query)}{_where(query)}")
        return sum(one.values[0][1] for one in series)

    async def _select(self, statement: str) -> list[_Series]:
        answer = await self._ask(statement)
        error = _error(answer)
        if _NO_DATABASE in error:
            return []  # nothing has been written yet
        if error:
            raise Unavailable(f"{self._http.base_url} says: {error}")
        return [one for result in answer.results for one in result.series]

    async def _ask(self, statement: str, method: str = "GET") -> _Answer:
        asked = {"db": self._database, "epoch": "ms", "q": statement}
        response = await ask(self._http, method, "/query", params=asked, accept=(404,))
        try:
            return msgspec.json.decode(response.content, type=_Answer)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{self._http.base_url} does not speak InfluxQL: {error}") from error


def _error(answer: _Answer) -> str:
    return answer.error or next((one.error for one in answer.results if one.error), "")


def _from(query: Query) -> str:
    return ", ".join(map(_name, query.quantities))


def _where(query: Query) -> str:
    terms = [f"{_name(tag)} = {_text(value)}" for tag, value in query.tags.items()]
    if query.since_ms is not None:
        terms.append(f"time >= {query.since_ms}ms")
    if query.until_ms is not None:
        terms.append(f"time < {query.until_ms}ms")
    return f" WHERE {' AND '.join(terms)}" if terms else ""


def _name(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"
