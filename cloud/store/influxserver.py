"""Which server answers: asked of itself.

`GET /ping` answers with `X-Influxdb-Version` and `X-Influxdb-Build` (InfluxDB 1.x, 2.x and 3 Core).
VictoriaMetrics says nothing there (1.79) or imitates InfluxDB 1.8.0 (later ones); its own metrics
have its version, and where they are not shown, it is told apart by what it makes of nonsense.
"""

import re
from typing import Final

import httpx

from cloud.errors import Rejected, Unavailable
from cloud.http import ask, json_of, origin
from cloud.store import UNKNOWN, Server
from configs.text import clean_foreign

INFLUXDB: Final = "InfluxDB"
VICTORIA: Final = "VictoriaMetrics"

_VERSION: Final = re.compile(r"v?((\d{1,4})\.\d[\w.+~-]{0,59})", re.ASCII)
_BUILD: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,31}")
_OF_VICTORIA: Final = re.compile(rb"^vm_app_version\{(.*)\} ", re.MULTILINE)
_ITS_VERSION: Final = re.compile(r'\bshort_version="v?(\d[\w.+~-]{0,59})"', re.ASCII)
_IMITATED: Final = "1.8.0"
_MOST: Final = 60
NONSENSE: Final = "SELECT"

WANTED: Final = {
    1: 'api = "v1" and database',
    2: 'api = "v2", org, bucket and token_file',
    3: 'api = "v2", bucket (the name of the database) and token_file',
}
"""What `[store]` needs for a server, by its major version."""

APIS: Final = {"v1": (1,), "v2": (2, 3)}
"""Major versions that each api is for."""


async def recognized(http: httpx.AsyncClient) -> Server:
    """Ask the server what it is. Raises Unavailable where it cannot be reached."""
    answer = await ask(http, "GET", "/ping", accept=range(400, 500), refused=())
    found = _VERSION.fullmatch(answer.headers.get("X-Influxdb-Version", "").strip())
    if found is None or found[1] == _IMITATED:
        if (version := await _victoria(http)) is not None:
            return Server(VICTORIA, version)
        if found is not None and await takes_nonsense(http):
            return Server(VICTORIA)
    if found is None:
        return Server(UNKNOWN, clean_foreign(answer.headers.get("Server", "").strip(), _MOST))
    build = answer.headers.get("X-Influxdb-Build", "").strip()
    major = int(found[2])
    is_named = major >= 3 and _BUILD.fullmatch(build) is not None
    return Server(f"{INFLUXDB} {build}" if is_named else INFLUXDB, found[1], major)


async def _victoria(http: httpx.AsyncClient) -> str | None:
    """The version of a VictoriaMetrics, "" if it shows none; None if it is none, or hides it."""
    try:
        answer = await ask(http, "GET", "/metrics")
    except (Unavailable, Rejected):
        return None
    found = _OF_VICTORIA.search(answer.content)
    if found is None:
        return None
    version = _ITS_VERSION.search(found[1].decode("ascii", "replace"))
    return "" if version is None else version[1]


async def takes_nonsense(http: httpx.AsyncClient) -> bool:
    """Whether it takes nonsense for a statement: it then answers real ones with made-up results."""
    asked = {"db": "shuichi", "q": NONSENSE}
    try:
        said = json_of((await ask(http, "GET", "/query", params=asked, accept=(404,))).content)
    except (Unavailable, Rejected):
        return False
    results = said.get("results") if isinstance(said, dict) else None
    if not isinstance(results, list) or said.get("error"):
        return False
    return bool(results) and not any(isinstance(one, dict) and "error" in one for one in results)


def demand(http: httpx.AsyncClient, server: Server, api: str) -> None:
    """Raise Unavailable for a server that is of another kind than `[store]` says."""
    place = origin(http.base_url)
    if server.kind == VICTORIA:
        raise Unavailable(
            f'{place} is {server}, not an InfluxDB: [store] needs dialect = "metricsql"'
        )
    if server.major is not None and server.major not in APIS[api]:
        how = WANTED.get(server.major)
        mend = "this release knows InfluxDB 1, 2 and 3" if how is None else f"[store] needs {how}"
        raise Unavailable(f'{place} is {server}, not one for api = "{api}": {mend}')


def demand_victoria(http: httpx.AsyncClient, server: Server) -> None:
    """The same for `dialect = "metricsql"`."""
    if server.major is not None:
        how = WANTED.get(server.major, "another server")
        raise Unavailable(
            f"{origin(http.base_url)} is {server}, not a VictoriaMetrics: [store] needs {how}, and "
            'no dialect = "metricsql"'
        )
