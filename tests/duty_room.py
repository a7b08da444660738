"""The room in which alerts are answered: a state on disk, a dispatch, and the HTTP server over it,
in this process."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
from sqlalchemy import Connection, select, update

from cloud import state, tables
from cloud.alerts import holding, plan
from cloud.alerts.alarm import Alarm
from cloud.alerts.dispatch import Dispatch, Outcome, Settings
from cloud.alerts.plan import Plan
from cloud.alerts.testsend import Line, Sender
from cloud.alerts.tokens import Tokens
from cloud.channels import Message
from cloud.database import Place
from cloud.state import State
from cloud.web import server
from cloud.web.desk import Desk
from cloud.web.settings import Hook, Web
from configs import loader
from tests.findings import Findings
from wire.messages import Level

_T = TypeVar("_T")

PLAN = plan.read(loader.HERE / "plans" / "example-city.toml")
SITE = "daping-underpass"
URL = "https://flood.example"
TOKEN = "a token of the API"
SECRET = "a secret of the hook"


class DutyRoom:
    """`http` asks the server; `find` is what a rule would find, now."""

    def __init__(self, database: State, dispatch: Dispatch, http: httpx.AsyncClient) -> None:
        self.database = database
        self.dispatch = dispatch
        self.http = http
        self.woken = 0
        self._findings = Findings()
        self._ahead_ms = 0

    @property
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms

    async def run(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        return await self.database.run(lambda c: work(c, *arguments, **named))

    async def find(self, level: Level | None, **where: Any) -> None:
        self._ahead_ms += 1  # a finding of the same instant would be an old one

        def work(connection: Connection) -> None:
            self._findings.add(connection, self.now_ms, level, **where)
            self.dispatch.round(connection, self.now_ms)

        await self.database.run(work)
        await self.deliver()

    async def hold(self, minutes: float = 30, up_to: Level = Level.RED, **where: Any) -> Outcome:
        """Hold back; the site unless it is said."""
        scope = where or {"site": SITE}
        order = holding.Order("Li", "works", minutes=minutes, up_to=up_to, **scope)
        return await self.database.run(
            lambda c: holding.make(self.dispatch, c, order, "test", self.now_ms)
        )

    async def release(self, number: int) -> Outcome:
        given = holding.End("Li", number, "done")
        return await self.database.run(lambda c: holding.end(self.dispatch, c, given, self.now_ms))

    async def pass_time(self, minutes: float) -> None:
        """Let the dispatch see a clock that is so much later."""
        self._ahead_ms += round(minutes * 60_000)
        await self.run(self.dispatch.round, self.now_ms)
        await self.deliver()

    async def deliver(self) -> None:
        """The channels take all that is due."""
        out = tables.outgoing

        def work(connection: Connection) -> bool:
            waiting = (out.c.done_ms.is_(None), out.c.not_before_ms <= self.now_ms)
            row = connection.execute(select(out).where(*waiting).limit(1)).one_or_none()
            if row is None:
                return False
            desk = self.dispatch.hand_over
            message = desk.next(connection, row.channel, row.contact, self.now_ms)
            if message is not None:
                taken = update(out).where(out.c.key == message.key)
                connection.execute(taken.values(done_ms=self.now_ms, outcome="delivered"))
                desk.delivered(connection, message.key)
            return True

        while await self.database.run(work):
            pass

    async def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        wanted = select(tables.metadata.tables[table]).filter_by(**where)
        found = await self.database.run(lambda c: c.execute(wanted).all())
        return [row._asdict() for row in found]

    async def messages(self) -> list[Message]:
        """What was to be told, in order."""
        rows = [row for row in await self.rows("outgoing") if row["message"]]
        rows.sort(key=lambda row: (row["made_ms"], row["not_before_ms"]))
        return [msgspec.json.decode(row["message"], type=Message) for row in rows]

    async def call(self, contact: str | None = None) -> Message:
        """The newest message that asks for an answer (of a contact)."""
        calls = {row["id"]: row for row in await self.rows("call")}
        asked = [
            (calls[row["call"]]["made_ms"], row)
            for row in await self.rows("outgoing")
            if row["call"] and row["message"] and contact in (None, row["contact"])
        ]
        row = max(asked, key=lambda one: one[0])[1]
        return msgspec.json.decode(row["message"], type=Message)

    async def path(self, contact: str | None = None) -> str:
        """Of the answer page that the newest call leads to."""
        link = (await self.call(contact)).link
        assert link is not None
        return link.removeprefix(URL)

    async def phase(self) -> str:
        """Of the newest alert's calls."""
        states = [row["state"] for row in await self.rows("escalation")]
        return str(msgspec.json.decode(states[-1]).get("phase", "idle"))  # left out by default

    async def alarm(self) -> Alarm:
        """The only one."""
        (row,) = await self.rows("alarm")
        return msgspec.json.decode(row["state"], type=Alarm)

    async def lines(self, kind: str) -> list[dict[str, Any]]:
        return await self.rows("timeline", kind=kind)


@asynccontextmanager
async def opened(
    folder: Path,
    the_plan: Plan = PLAN,
    hooks: dict[str, Hook] | None = None,
    token: str = TOKEN,
    settings: Settings | None = None,
    place: Place | None = None,
    tokens: dict[str, str] | None = None,
    lines: dict[str, Line] | None = None,
    calendar_token: str = "",
) -> AsyncIterator[DutyRoom]:
    settings = settings or Settings(answer_url=URL)
    dispatch = Dispatch(the_plan, the_plan.channel, Tokens(b"signing"), settings)
    with server.bound(Web(port=0)) as listening:
        host, port = listening.getsockname()
        async with (
            state.opened(place or folder / "cloud.db") as database,
            state.connected(database.place, read_only=True) as reader,
            httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=20, verify=False) as http,
        ):
            room = DutyRoom(database, dispatch, http)
            desk = Desk(
                database=database,
                reader=reader,
                dispatch=dispatch,
                wake=lambda: setattr(room, "woken", room.woken + 1),
                hooks={name: (hook, SECRET) for name, hook in (hooks or {}).items()},
                token=token,
                tokens=tokens or {},
                calendar_token=calendar_token,
                tests=None if lines is None else Sender(database, lines, dispatch),
                publisher=settings.publisher,
                url=URL,
            )
            serving = asyncio.create_task(server.serve(desk, listening), name="web")
            try:
                yield room
            finally:
                serving.cancel()
                await asyncio.wait([serving])
