"""Setting up InfluxDB 3.x: its databases, after the API reference of 3 Core and what 3.6.0 was seen
to answer. What is there stays.
"""

from collections.abc import Collection
from typing import Any, Final

import httpx
import msgspec

from cloud.errors import Rejected, Unavailable
from cloud.http import ask, origin, reason
from cloud.store import StoreConfig
from cloud.store.influx2 import places

_DATABASE: Final = "/api/v3/configure/database"
_IS_THERE: Final = 409
CORE_TAKES: Final = 5
"""Databases of a server of InfluxDB 3 Core."""


async def make(http: httpx.AsyncClient, database: str, config: StoreConfig) -> list[str]:
    """Make the databases of readings and rollups, or bring their retention up to the config. One
    line each. Raises Unavailable."""
    lines = []
    wanted = places(database, config)
    for name, days in wanted.items():
        body: dict[str, Any] = {"db": name}
        if days is not None:
            body["retention_period"] = f"{days}d"
        kept = "for ever" if days is None else f"{days} days"
        answer = await _send(http, "POST", body, range(400, 500))
        if answer.is_success:
            lines.append(f"database {name}: made, keeps {kept}")
            continue
        if answer.status_code != _IS_THERE:
            said = f"{answer.status_code}: {reason(answer)}"
            raise Unavailable(
                f"{origin(http.base_url)} makes no database {name}: {said} "
                f"(InfluxDB 3 Core has room for {CORE_TAKES}, we need {len(wanted)}; "
                "[store.days] keep = [] leaves days out)"
            )
        await _send(http, "PUT", body, ())  # without a period it keeps everything
        lines.append(f"database {name}: is there, keeps {kept}")
    return lines


async def _send(
    http: httpx.AsyncClient, method: str, body: dict[str, Any], accept: Collection[int]
) -> httpx.Response:
    content = msgspec.json.encode(body)
    headers = {"Content-Type": "application/json"}
    try:
        answer = await ask(http, method, _DATABASE, content=content, headers=headers, accept=accept)
    except Rejected as error:
        raise Unavailable(str(error)) from error
    if answer.is_success and "html" in answer.headers.get("Content-Type", "").lower():
        place = origin(http.base_url)
        raise Unavailable(f"{place} answers with a page, as no InfluxDB does: {reason(answer)}")
    return answer
