"""What is on record of an incident, for those who look back at it: read once, thinned to what a
page can bear."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, or_, select

from cloud import tables
from cloud.alerts import gatewaywords, views
from cloud.alerts import plan as plans
from cloud.alerts.actions import Send, foremost
from cloud.alerts.escalation import Escalation
from cloud.alerts.plan import Plan
from cloud.alerts.records import read_parts
from cloud.alerts.views import IncidentView, Line
from cloud.channels import Language, Message
from cloud.state import State
from cloud.store import Query, Store, stream
from configs.loader import UserError
from wire.reading import Quality, Quantity

COLUMNS: Final = 240
"""Of a series: each has the least and the greatest reading of its time."""

_LEAST_MARGIN_MS: Final = 60_000


class Told(NamedTuple):
    """A message on one channel. `areas` are those whose call it was, by alert; `call` names what
    it can be answered with, None if it asks for nothing. Times in UTC, ms."""

    contact: str
    channel: str
    message: Message
    areas: Mapping[str, str]
    made_ms: int
    not_before_ms: int
    done_ms: int | None
    outcome: str
    provider_id: str | None
    detail: str
    call: str | None
    answered_ms: int | None


class Change(NamedTuple):
    """What a rule found: `level` None for nothing any more. `value` and `threshold` in `unit`."""

    at_ms: int
    received_ms: int
    rule: str
    hazard: str
    gateway: str
    site: str
    sensor: str
    quantity: str
    unit: str
    level: str | None
    value: float | None
    threshold: float | None
    text: Mapping[Language, str]
    shift: float = 0.0
    """What the rule has added to the reading: a river stage is a height above another zero."""


class Seen(NamedTuple):
    """An event that a gateway has told."""

    at_ms: int
    kind: str
    text: Mapping[Language, str]


class Series(NamedTuple):
    """Readings of one sensor, in SI, with `shift` added, thinned; `total` before that."""

    sensor: str
    quantity: Quantity
    points: tuple[tuple[int, float], ...]
    total: int
    shift: float = 0.0


class Facts(NamedTuple):
    """Everything. `plan` is the one by which the first alert ran, None where it is not kept; times
    from `begin_ms` to `end_ms`. `now_ms`: when it was read, 0 where nobody asks."""

    incident: IncidentView
    plan: Plan | None
    lines: tuple[Line, ...]
    told: tuple[Told, ...]
    changes: tuple[Change, ...]
    seen: tuple[Seen, ...]
    series: tuple[Series, ...]
    begin_ms: int
    end_ms: int
    now_ms: int = 0


def standing(lines: Iterable[Line]) -> dict[str, bool]:
    """The alerts of a timeline, and whether each has not come to its end."""
    found: dict[str, bool] = {}
    for line in lines:
        if line.alert and line.kind in _BEGINS | _ENDS:
            found[line.alert] = line.kind in _BEGINS
    return found


def unanswered(lines: Iterable[Line]) -> bool:
    """Whether an alert that is over waits for an answer."""
    waits: dict[str, bool] = {}
    for line in lines:
        if line.kind == "return":
            waits[line.alert] = line.detail.get("status") == "returned-unacknowledged"
        elif line.kind == "answer" and not line.detail.get("refused"):
            waits[line.alert] = False
    return any(waits.values())


_BEGINS: Final = {"rise", "opened"}
_ENDS: Final = {"return", "cleared"}


def measured(quantity: str) -> Quantity | None:
    """What a sensor measures from which a rule has made `quantity`; None if no sensor does."""
    if quantity in _MADE_OF:
        return _MADE_OF[quantity]
    name = quantity.removesuffix("_rise")
    return Quantity(name) if name in [*Quantity] else None


_MADE_OF: Final = {
    "stage": Quantity.LEVEL,
    "rain_sum": Quantity.RAIN_TOTAL,
    "crack_speed": Quantity.DISPLACEMENT,
    "crack_acceleration": Quantity.DISPLACEMENT,
}


class _Source(NamedTuple):
    """Where a series is from; with `shift`, see Series."""

    gateway: str
    site: str
    sensor: str
    quantity: Quantity
    shift: float


async def read(database: State, store: Store, name: str, now_ms: int = 0) -> Facts:
    """The facts of the incident `name`. Raises UserError if there is none."""
    facts = await database.run(lambda connection: _of_state(connection, name, now_ms))
    sources = dict.fromkeys(
        _Source(one.gateway, one.site, one.sensor, quantity, one.shift)
        for one in facts.changes
        if one.sensor and (quantity := measured(one.quantity)) is not None
    )
    series = [await _series(store, facts, source) for source in sources]
    return facts._replace(series=tuple(one for one in series if one.points))


def thinned(
    points: Iterable[tuple[int, float]], begin_ms: int, end_ms: int
) -> list[tuple[int, float]]:
    """The least and the greatest of each of `COLUMNS` equal parts of the time, in order."""
    width = max((end_ms - begin_ms) / COLUMNS, 1.0)
    kept: dict[int, list[tuple[int, float]]] = {}
    for point in points:
        column = int((point[0] - begin_ms) / width)
        pair = kept.setdefault(column, [point, point])
        if point[1] < pair[0][1]:
            pair[0] = point
        if point[1] > pair[1][1]:
            pair[1] = point
    return sorted({point for pair in kept.values() for point in pair})


async def _series(store: Store, facts: Facts, source: _Source) -> Series:
    begin_ms, end_ms = facts.begin_ms, facts.end_ms
    query = Query(
        gateway=source.gateway,
        site=source.site or None,
        sensor=source.sensor,
        quantity=source.quantity,
        since_ms=begin_ms,
        until_ms=end_ms,
    )
    points: list[tuple[int, float]] = []
    total = 0
    async for rows in stream.rows(store, query):
        good = [
            (row.at_ms, row.value + source.shift)
            for row in rows
            if row.value is not None and row.quality != Quality.BAD and math.isfinite(row.value)
        ]
        total += len(good)
        points = thinned([*points, *good], begin_ms, end_ms)
    return Series(source.sensor, source.quantity, tuple(points), total, source.shift)


def _of_state(connection: Connection, name: str, now_ms: int = 0) -> Facts:
    incident = next((one for one in views.incidents(connection) if one.id == name), None)
    if incident is None:
        raise UserError(f"{name}: there is no such incident; `shuichi alert incidents`")
    lines = views.timeline(connection, incident=name)
    told = _told(connection, name)
    moments = [incident.opened_ms]
    moments += [line.at_ms for line in lines if line.kind != "closed"]
    moments += [one.done_ms for one in told if one.done_ms is not None]
    margin_ms = max((max(moments) - min(moments)) // 4, _LEAST_MARGIN_MS)
    begin_ms, end_ms = min(moments) - margin_ms, max(moments) + margin_ms
    if now_ms and any(standing(lines).values()):
        end_ms = max([*moments, now_ms])  # what is measured now belongs to it
    return Facts(
        incident,
        _plan(connection, name),
        tuple(lines),
        tuple(told),
        () if incident.exercise else tuple(_changes(connection, incident.site, begin_ms, end_ms)),
        () if incident.exercise else tuple(_seen(connection, incident.site, begin_ms, end_ms)),
        (),
        begin_ms,
        end_ms,
        now_ms,
    )


def _plan(connection: Connection, name: str) -> Plan | None:
    table = tables.escalation
    states = connection.execute(select(table.c.state).where(table.c.incident == name)).scalars()
    versions = [msgspec.json.decode(state, type=Escalation).plan for state in states]
    if not versions:
        return None
    wanted = select(tables.plan.c.content).filter_by(version=versions[0])
    content = connection.execute(wanted).scalar_one_or_none()
    return None if content is None else plans.parse(content)


def _message(row: Any) -> Message:
    """As it was composed when it was handed over; without a text where it never was."""
    if row.message:
        return msgspec.json.decode(row.message, type=Message)
    send = foremost(msgspec.json.decode(row.sends, type=list[Send]))
    return Message(
        key=row.key,
        title="",
        text="",
        kind=str(send.kind),
        at_ms=row.made_ms,
        level=send.level.name.lower(),
        site=send.site,
        exercise=send.exercise,
    )


def _told(connection: Connection, name: str) -> list[Told]:
    out, call = tables.outgoing, tables.call
    rows = connection.execute(
        select(out, call.c.answered_ms)
        .outerjoin(call, call.c.id == out.c.call)
        .where(out.c.incident == name)
        .order_by(out.c.made_ms, out.c.not_before_ms, out.c.key)
    )
    return [
        Told(
            row.contact,
            row.channel,
            _message(row),
            {part.alert: part.area for part in read_parts(row.parts) if part.asks},
            row.made_ms,
            row.not_before_ms,
            row.done_ms,
            row.outcome,
            row.provider_id,
            row.detail,
            row.call,
            row.answered_ms,
        )
        for row in rows
    ]


def _changes(connection: Connection, site: str, begin_ms: int, end_ms: int) -> list[Change]:
    change, alert = tables.alert_change, tables.alert
    rows: Iterable[Any] = connection.execute(
        select(change, *(c for c in alert.c if c.name not in change.c))
        .join(alert)
        .where(
            or_(alert.c.site == site, (alert.c.site == "") & (alert.c.gateway == site)),
            change.c.at_ms.between(begin_ms, end_ms),
        )
        .order_by(change.c.at_ms, change.c.number)
    )
    return [
        Change(
            row.at_ms,
            row.received_at_ms,
            row.rule,
            row.hazard,
            row.gateway,
            row.site,
            row.sensor,
            row.quantity,
            row.unit,
            row.level,
            row.value,
            row.threshold,
            {"en": row.text, "zh": row.text_zh},
            _shift(row),
        )
        for row in rows
    ]


def _shift(row: Any) -> float:
    found = msgspec.json.decode(row.parts).get("gauge_zero_m", 0.0) if row.parts else 0.0
    return float(found) if row.quantity == "stage" and isinstance(found, (int, float)) else 0.0


def _seen(connection: Connection, site: str, begin_ms: int, end_ms: int) -> list[Seen]:
    event = tables.event_log
    rows = connection.execute(
        select(event)
        .where(event.c.site == site, event.c.at_ms.between(begin_ms, end_ms))
        .order_by(event.c.at_ms)
    )
    return [
        Seen(
            row.at_ms,
            row.kind,
            {
                "en": row.text,
                "zh": gatewaywords.line(row.kind, msgspec.json.decode(row.detail)),
            },
        )
        for row in rows
    ]
