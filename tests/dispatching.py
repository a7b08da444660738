"""A dispatch with a clock of its own, in a database in memory."""

import weakref

import msgspec
from sqlalchemy import event, select, update

from cloud import tables
from cloud.alerts import holding, plan
from cloud.alerts.actions import Send
from cloud.alerts.alarm import Alarm
from cloud.alerts.dispatch import Dispatch, Settings
from cloud.alerts.hazard import Hazard
from cloud.alerts.records import AlarmKey
from cloud.alerts.tokens import Tokens
from cloud.channels import Message
from configs import loader
from tests import layout
from tests.findings import Findings
from wire.messages import Level

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
        self.channels_are_away = False
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
        """Let time pass, from deadline to deadline; channels take what is due."""
        end_ms = self.now_ms + minutes * MINUTE
        while (due_ms := self._next_ms()) is not None and due_ms <= end_ms:
            self.now_ms = max(due_ms, self.now_ms)
        self.now_ms = end_ms
        self.round()
        self.deliver()

    def _next_ms(self):
        due = [self.round()]
        self.deliver()
        if not self.channels_are_away:
            due += [row.not_before_ms for row in self._waiting()]
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    def _waiting(self):
        return self.rows(tables.outgoing, tables.outgoing.c.done_ms.is_(None))

    def deliver(self, refused=()):
        """The channels take all that is due, but those that refuse it."""
        while not self.channels_are_away and (
            due := [row for row in self._waiting() if row.not_before_ms <= self.now_ms]
        ):
            for channel, contact in dict.fromkeys((row.channel, row.contact) for row in due):
                self._hand_over(channel, contact, channel in refused)

    def _hand_over(self, channel, contact, refuses):
        desk = self.dispatch.hand_over
        message = self.work(lambda c, now_ms: desk.next(c, channel, contact, now_ms))
        if message is None:
            return
        outcome = "refused" if refuses else "delivered"
        out = tables.outgoing
        with self.connection.begin():
            ended = update(out).where(out.c.key == message.key)
            self.connection.execute(ended.values(done_ms=self.now_ms, outcome=outcome))
            if refuses:
                desk.refused(self.connection, message.key, self.now_ms)
            else:
                desk.delivered(self.connection, message.key)

    def rows(self, table, *where):
        with self.connection.begin():
            return self.connection.execute(select(table).where(*where)).all()

    def messages(self):
        """What was told until now, in order."""
        self.deliver()
        rows = [row for row in self.rows(tables.outgoing) if row.message]
        rows.sort(key=lambda row: (row.made_ms, row.not_before_ms))
        return [(row, msgspec.json.decode(row.message, type=Message)) for row in rows]

    def waiting(self):
        """Why whom is still to be told something, by which channel."""
        return [
            (send.kind, row.contact, row.channel)
            for row in self._waiting()
            for send in msgspec.json.decode(row.sends, type=list[Send])
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

    def hold(self, minutes=30, up_to=Level.RED, **more):
        """Hold back; the site and hazard of KEY unless it is said."""
        if not {"site", "area", "gateway", "hazard"} & more.keys():
            more |= {"site": SITE, "hazard": Hazard.UNDERPASS}
        minutes = None if "end" in more else minutes
        order = holding.Order("Li", "works", minutes=minutes, up_to=up_to, **more)
        return self.work(lambda c, n: holding.make(self.dispatch, c, order, "test", n))

    def release(self, number, by="Li"):
        given = holding.End(by, number, "done")
        return self.work(lambda c, n: holding.end(self.dispatch, c, given, n))

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
