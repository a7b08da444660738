"""What Prometheus asks of the cloud: `/metrics`, with a token of the API."""

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from fastapi import Request, Response

from cloud.store import marks
from cloud.web.desk import HEADERS, Desk
from configs import exposition
from configs.exposition import Family

PATH: Final = "/metrics"


async def show(desk: Desk, _: Request) -> Response:
    refused, _why = await desk.reader.run(marks.aside)
    return Response(
        exposition.text(families(desk, refused)),
        headers=HEADERS,
        media_type=exposition.CONTENT_TYPE,
    )


def families(desk: Desk, rollups_refused: int = 0) -> Iterator[Family]:
    """All metrics of this process."""
    about = {"version": metadata.version("shuichi"), "python": platform.python_version()}
    yield Family("cloud_info", "gauge", "What runs here.", [(about, 1)])
    waits = "Rollups that the store refuses, and that are tried again each hour."
    yield Family("rollups_refused", "gauge", waits, [({}, rollups_refused)])
    if (server := desk.store_server) is None:
        return
    yield Family("store_answers", "gauge", "1 if the store answered last.", [({}, server.answers)])
    said = server.found
    yield Family(
        "store_server_info",
        "gauge",
        "What keeps the readings, as it says of itself.",
        [] if said is None else [({"kind": said.kind, "version": said.version}, 1)],
    )
