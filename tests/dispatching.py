"""A dispatch with a clock of its own, in a database in memory."""

import weakref

import msgspec
from sqlalchemy import event, select

from cloud import tables
from cloud.alerts import plan
from cloud.alerts.alarm import Alarm
from cloud.alerts.dispatch import Dispatch, Settings
from cloud.alerts.hazard import Hazard
from cloud.alerts.records import AlarmKey
from cloud.alerts.tokens import Tokens
from cloud.channels import Message
from configs import loader
from tests import layout
from tests.findings import Findings

PLAN = plan.read(loader.HERE / "plans" / "example-city.toml")
SITE = "daping-underpass"
KEY = AlarmKey(SITE, Hazard.UNDERPASS)
BEGIN_MS = 1_750_000_000_000
MINUTE = 60_000
SETTINGS = Settings(off_delay_ms=10 * MINUTE, answer_url="https://flood.example")


class Office:
    """A dispatch with a clock of its own; `restart` is what a kill leaves behind."""

    def __init__(self, the_plan=PLAN, settings=SETTINGS):
        self.engine = layout.in_memory()
        event.listen(self.engine, "connect", _no_autobegin)
        event.listen(self.engine, "begin", lambda c: c.exec_driver_sql("BEGIN"))
        self.connection = self.engine.connect()
        weakref.finalize(self, _close, self.connection, self.engine)
        self.now_ms = BEGIN_MS
        self.plan, self.settings = the_plan, settings
        self.tokens = Tokens(b"secret")
        self.restart()
        self._findings = Findings()

    def restart(self, the_plan=None):
        self.plan = the_plan or self.plan
        self.dispatch = Dispatch(self.plan, self.plan.channel, self.tokens, self.settings)

    def find(
        self, level, rule="depth", site=SITE, hazard=Hazard.UNDERPASS, value=0.34, at_once=True
    ):
        """A rule finds a level, None for none."""
        with self.connection.begin():
            self._findings.add(self.connection, self.now_ms, level, rule, site, hazard, value)
        return self.round() if at_once else None

    def round(self, after_ms=0):
        self.now_ms += after_ms
        return self.work(self.dispatch.round)

    def work(self, what, *arguments):
        with self.connection.begin():
            return what(self.connection, *arguments, self.now_ms)

    def run(self, minutes):
        """Let time pass, from deadline to deadline."""
        end_ms = self.now_ms + minutes * MINUTE
        while (due_ms := self.round()) is not None and due_ms <= end_ms:
            self.now_ms = max(due_ms, self.now_ms)
        self.now_ms = end_ms
        self.round()

    def rows(self, table, *where):
        with self.connection.begin():
            return self.connection.execute(select(table).where(*where)).all()

    def messages(self, *, waiting=False):
        """What was to be told, in order; with `waiting` only what still is."""
        rows = self.rows(tables.outgoing)
        rows.sort(key=lambda row: (row.made_ms, row.not_before_ms))
        return [
            (row, msgspec.json.decode(row.message, type=Message))
            for row in rows
            if not waiting or row.done_ms is None
        ]

    def called(self):
        """The areas that were called, in order."""
        notes = self.rows(tables.timeline, tables.timeline.c.kind.in_(("opened", "climbed")))
        return [row.area for row in notes]

    def kinds(self):
        return [row.kind for row in self.rows(tables.timeline)]

    def alarm(self, key=KEY):
        (row,) = self.rows(tables.alarm, tables.alarm.c.exercise == key.exercise)
        return msgspec.json.decode(row.state, type=Alarm)

    def acknowledge(self):
        alert = self.alarm().alert
        work = self.dispatch.acknowledge
        assert self.work(lambda c, now_ms: work(c, alert, "Li", "command", "", now_ms)).ok

    def last_call(self):
        return max(self.rows(tables.call), key=lambda row: row.made_ms)


def _close(connection, engine):
    connection.close()
    engine.dispose()


def _no_autobegin(connection, _):
    connection.isolation_level = None
