"""What is only looked at waits for nobody who writes, and holds nobody up."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloud import state
from tests import duty_room
from tests.contract.test_press import SETTINGS
from tests.duty_room import SITE, TOKEN, DutyRoom
from wire.messages import Level

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(params=["sqlite", "postgres"])
async def room(
    request: pytest.FixtureRequest, tmp_path: Any, shared_postgres: Any
) -> AsyncIterator[DutyRoom]:
    of_server = request.param == "postgres"
    place = shared_postgres.database(uuid.uuid4().hex) if of_server else None
    async with duty_room.opened(tmp_path, place=place, settings=SETTINGS) as opened:
        yield opened


@asynccontextmanager
async def dispatching(room: DutyRoom) -> AsyncIterator[None]:
    """Somebody else has the dispatch's turn: of a server by a connection of their own, of a file
    by the only one that writes."""
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(connection: Any) -> None:
        room.dispatch.begin(connection)
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(60)

    async def hold() -> None:
        if not room.database.shared:
            return await room.database.run(work)
        async with state.connected(room.database.place) as other:
            return await other.run(work)

    holding = asyncio.create_task(hold())
    try:
        await begun.wait()
        yield
        assert not holding.done()
    finally:
        may_end.set()
        await holding


async def test_pages_answer_while_somebody_dispatches(room: DutyRoom) -> None:
    await room.find(Level.RED)
    path = await room.path()
    async with dispatching(room):
        page = await room.http.get(path)
        assert (page.status_code, "button" in page.text) == (200, True)
        (one,) = (await room.http.get("/api/alerts", headers=BEARER)).json()
        assert one["site"] == SITE
        assert (await room.http.get(f"/api/alerts/{one['id']}", headers=BEARER)).json()
        assert (await room.http.get("/api/incidents", headers=BEARER)).json()
        assert one["id"] in (await room.http.get("/cap")).text


async def test_an_open_page_shows_what_was_committed_last(room: DutyRoom) -> None:
    await room.find(Level.ORANGE)
    path = await room.path()
    assert "橙色" in (await room.http.get(path)).text
    await room.find(Level.RED)
    assert (await room.http.get(path)).status_code == 409
    page = await room.http.post(await room.path(), data={"answer": "yes"})
    assert page.status_code == 200
    assert (await room.http.get(await room.path())).status_code in (200, 410)
    assert await room.phase() == "answered"
