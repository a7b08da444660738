"""Which InfluxDB a server is: asked of itself.

`GET /ping` answers with `X-Influxdb-Version` and `X-Influxdb-Build` (InfluxDB 1.x, 2.x and 3 Core).
VictoriaMetrics imitates InfluxDB 1.x there; it is told apart by what it makes of nonsense, see
`influxql`.
"""

import re
from typing import Final, NamedTuple

import httpx

from cloud.errors import Unavailable
from cloud.http import ask, origin

_NUMBER: Final = re.compile(r"v?(\d+)\.\d")
_MOST: Final = 80

WANTED: Final = {
    1: 'api = "v1" and database',
    2: 'api = "v2", org, bucket and token_file',
    3: 'api = "v2", bucket (the name of the database) and token_file',
}
"""What `[store]` needs for a server, by its major version."""

APIS: Final = {"v1": (1,), "v2": (2, 3)}
"""Major versions that each api is for."""


class Server(NamedTuple):
    """`major` is 1, 2 or 3, and None where the server does not say; `version` in its words."""

    major: int | None = None
    version: str = ""
    build: str = ""

    def __str__(self) -> str:
        if self.major is None:
            return "a server that does not say what it is"
        build = f" {self.build}" if self.build and self.major >= 3 else ""
        return f"InfluxDB{build} {self.version.removeprefix('v')}"


async def recognized(http: httpx.AsyncClient) -> Server:
    """Ask the server what it is. Raises Unavailable where it cannot be reached."""
    answer = await ask(http, "GET", "/ping", accept=range(400, 500), refused=())
    version = answer.headers.get("X-Influxdb-Version", "").strip()[:_MOST]
    build = answer.headers.get("X-Influxdb-Build", "").strip()[:_MOST]
    found = _NUMBER.match(version)
    if found is None or not version.isprintable() or not build.isprintable():
        return Server()
    return Server(int(found[1]), version, build)


def demand(http: httpx.AsyncClient, server: Server, api: str) -> None:
    """Raise Unavailable for a server that is of another kind than `[store]` says."""
    if server.major is not None and server.major not in APIS[api]:
        how = WANTED.get(server.major)
        mend = "this release knows InfluxDB 1, 2 and 3" if how is None else f"[store] needs {how}"
        raise Unavailable(f'{origin(http.base_url)} is {server}, not one for api = "{api}": {mend}')
