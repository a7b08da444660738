"""An exercise by script where the state is a file, and where it is a server that many share."""

import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from cloud import config, database
from cloud.alerts import drilldesk, drills, drillscore
from cloud.alerts.drilldesk import Start
from cloud.alerts.drillscript import Script
from cloud.desk import Clerk
from cloud.tables import lease
from configs import loader
from configs.loader import UserError
from tests import duty_room
from tests.duty_room import PLAN, SITE, DutyRoom

EXAMPLE = loader.HERE / "plans" / "example-city.toml"
SCRIPT = loader.parse(
    {
        "title": "one site",
        "off_duty": True,
        "step": [{"at_s": 0, "site": SITE, "hazard": "underpass", "level": "red"}],
    },
    Script,
    "drill.toml",
)


@pytest.fixture(params=["sqlite", "postgres"])
async def room(
    request: pytest.FixtureRequest, tmp_path: Any, shared_postgres: Any
) -> AsyncIterator[DutyRoom]:
    of_server = request.param == "postgres"
    place = shared_postgres.database(uuid.uuid4().hex) if of_server else None
    async with duty_room.opened(tmp_path, place=place) as opened:
        yield opened


async def test_it_runs_to_its_score(room: DutyRoom) -> None:
    start = partial(drills.start, room.dispatch, script=SCRIPT, by="Li", plan=PLAN.version)
    name = await room.run(start, now_ms=room.now_ms)
    with pytest.raises(UserError, match="is running"):
        await room.run(start, now_ms=room.now_ms)
    await room.deliver()
    path = await room.path()
    for answer in ("yes", "closed"):
        assert (await room.http.post(path, data={"answer": answer})).status_code == 200
    await room.pass_time(0)
    drill = await room.run(drills.of, name)
    assert drill is not None
    assert drill.ended_ms is not None
    score = await room.run(drillscore.of, drill, room.now_ms)
    assert (score.points, score.most) == (20, 20)


async def test_it_begins_only_where_somebody_dispatches(room: DutyRoom, tmp_path: Any) -> None:
    """Beside a server that is whoever has the lease, on whatever machine."""
    file = tmp_path / "cloud.toml"
    file.write_text(f"[alerts]\nplan = '{EXAMPLE}'\n")
    clerk = Clerk(config.read(file), room.database, None, "Li")  # type: ignore[arg-type]
    order = Start(SCRIPT.model_dump_json(), PLAN.version, "Li")
    with pytest.raises(UserError, match="no service runs"):
        await drilldesk.START.run(clerk, order)
    await room.run(leased)
    if room.database.shared:
        assert (await drilldesk.START.run(clerk, order)).ok
        assert (await drilldesk.STOP.run(clerk, drilldesk.Stop("Li"))).ok
    else:
        with pytest.raises(UserError, match="no service runs"):
            await drilldesk.START.run(clerk, order)


def leased(connection: Connection) -> None:
    """Somebody dispatches."""
    until = database.now_ms(connection) + 10_000
    row = {"name": "alerts", "owner": "another machine", "generation": 1, "until_ms": until}
    connection.execute(insert(lease).values(**row))
