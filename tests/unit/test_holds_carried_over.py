"""What an older release held back alarm by alarm becomes a hold."""

import importlib

import msgspec
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, insert, select

from cloud import tables
from cloud.alerts import holdrecords
from cloud.alerts.alarm import Status
from cloud.alerts.hazard import Hazard
from cloud.alerts.holds import Scope
from wire.messages import Level

STEP = importlib.import_module("cloud.migrations.versions.0011_holds")
NOW_MS = 1_800_000_000_000
UNTIL_MS = NOW_MS + 3_600_000


def alarm(site, **state):
    given = {"site": site, "hazard": "river", "exercise": False, "known": "{}", "due_ms": None}
    content = msgspec.json.encode({"site": site, "hazard": "river", **state}).decode()
    return given | {"state": content}


def test_what_was_held_back_stays_so_until_it_was_to_end_or_for_a_day(monkeypatch):
    monkeypatch.setattr(STEP.time, "time_ns", lambda: NOW_MS * 1_000_000)
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        tables.alarm.create(connection)
        tables.knowledge.create(connection)
        connection.exec_driver_sql("DROP INDEX ix_knowledge_alert")
        rows = [
            alarm("a", hold="shelved", shelved_until_ms=UNTIL_MS, shelved_up_to=3),
            alarm("b", hold="out-of-service", shelved_until_ms=None, shelved_up_to=4),
            alarm("c", hold=None),
            alarm("d") | {"state": "{"},
        ]
        connection.execute(insert(tables.alarm), rows)
        with Operations.context(MigrationContext.configure(connection)):
            STEP.upgrade()
        found = [holdrecords.read(one) for one in connection.execute(select(tables.hold))]
        dues = connection.execute(select(tables.alarm.c.due_ms)).scalars().all()
    assert [(one.scope, one.kind, one.end_ms, one.up_to) for one in found] == [
        (Scope("a", hazard=Hazard.RIVER), Status.SHELVED, UNTIL_MS, Level.ORANGE),
        (
            *(Scope("b", hazard=Hazard.RIVER), Status.OUT_OF_SERVICE),
            *(NOW_MS + 86_400_000, Level.RED),
        ),
    ]
    assert all(one.begun and one.reason for one in found)
    assert set(dues) == {0}
    engine.dispose()
