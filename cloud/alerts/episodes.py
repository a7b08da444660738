"""What rules find, on disk: their states, and an episode for each time that a place is not normal.

An episode is a row of `alert`, from the first level to normal again; each change of its level is a
row of `alert_change`. Whoever records a change twice, because a transaction did not end, has
recorded it once: nothing is committed but together with the state that led to it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from cloud import state, tables
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import Finding, Place
from cloud.alerts.trend import Trend
from wire.messages import Level


class Key(NamedTuple):
    """One rule at one place. A kind that comes to several rules tells them apart by `part`."""

    rule: str
    place: Place
    part: str = ""


class Change(NamedTuple):
    """A rule finds another level."""

    key: Key
    hazard: Hazard
    finding: Finding


def save_states(connection: Connection, states: Mapping[Key, msgspec.Struct]) -> None:
    """Write what rules remember."""
    state.upsert(
        connection,
        tables.rule_state,
        [_names(key) | {"state": msgspec.json.encode(one).decode()} for key, one in states.items()],
    )


class Present(NamedTuple):
    """What a rule finds now, and how what it reads changes, None if that is not known."""

    finding: Finding
    trend: Trend | None


def save_present(connection: Connection, found: Mapping[Key, Present]) -> None:
    """Keep what rules find now, for messages that are composed later."""
    rows = [
        _names(key)
        | {
            "finding": msgspec.json.encode(one.finding).decode(),
            "trend": one.trend,
        }
        for key, one in found.items()
    ]
    state.upsert(connection, tables.finding_now, rows)


def present(connection: Connection, site: str) -> dict[str, Present]:
    """What rules find now at a site, or of a gateway without one, by source: see `source`."""
    table = tables.finding_now
    rows = connection.execute(
        select(table).where(
            (table.c.site == site) | ((table.c.site == "") & (table.c.gateway == site))
        )
    )
    return {
        source(row.rule, row.part, row.gateway, row.sensor): Present(
            msgspec.json.decode(row.finding, type=Finding),
            None if row.trend is None else Trend(row.trend),
        )
        for row in rows
    }


def measured(connection: Connection) -> list[Key]:
    """The places of which it is kept what rules find."""
    table = tables.finding_now
    rows = connection.execute(
        select(table.c.rule, table.c.part, table.c.gateway, table.c.site, table.c.sensor)
    )
    return [Key(row.rule, Place(row.gateway, row.site, row.sensor), row.part) for row in rows]


def forget_present(connection: Connection, keys: Iterable[Key]) -> None:
    """What rules found at these places is of no interest any more."""
    for key in keys:
        connection.execute(delete(tables.finding_now).filter_by(**_names(key)))


def source(rule: str, part: str, gateway: str, sensor: str) -> str:
    """The name of a rule at a place, among the sources of an alarm."""
    return ":".join((rule, part, gateway, sensor))


def drop(connection: Connection, key: Key, now_ms: int) -> None:
    """The rule is no more: forget what it remembers, and end what it found."""
    forget_present(connection, [key])
    gone = connection.execute(delete(tables.rule_state).filter_by(**_names(key)))
    if gone.rowcount:  # else another worker has done it
        over = Finding(now_ms, None, None, None, "", "", "the rule is no more", "规则已删除")
        record(connection, Change(key, Hazard.EQUIPMENT, over), now_ms)


def record(connection: Connection, change: Change, now_ms: int) -> None:
    """Write a change into its episode, which it may begin."""
    finding, alert = change.finding, tables.alert
    names = _names(change.key)
    found = connection.execute(
        select(alert.c.id).filter_by(**names, cleared_at_ms=None)
    ).one_or_none()
    if found is None and finding.level is None:
        return  # the rule was another one when it raised
    if found is None:
        raised = insert(alert).values(
            **names,
            hazard=change.hazard,
            level=_colour(finding.level),
            quantity=finding.quantity,
            unit=finding.unit,
            raised_at_ms=finding.at_ms,
            raised_value=finding.value,
            received_at_ms=now_ms,
        )
        episode = int(connection.execute(raised.returning(alert.c.id)).scalar_one())
    else:
        episode = found.id
        changed = update(alert).where(alert.c.id == episode)
        if finding.level is None:
            changed = changed.values(cleared_at_ms=finding.at_ms, cleared_value=finding.value)
        else:
            changed = changed.values(level=_colour(finding.level))
        connection.execute(changed)
    _append(connection, episode, finding, now_ms)


def _append(connection: Connection, episode: int, finding: Finding, now_ms: int) -> None:
    """A change of an episode; they count from 1 on."""
    table = tables.alert_change
    last = select(func.coalesce(func.max(table.c.number), 0)).where(table.c.alert == episode)
    number = int(connection.execute(last).scalar_one()) + 1
    connection.execute(
        insert(table).values(
            alert=episode,
            number=number,
            at_ms=finding.at_ms,
            received_at_ms=now_ms,
            level=_colour(finding.level),
            value=finding.value,
            threshold=finding.threshold,
            text=finding.text,
            text_zh=finding.text_zh,
            parts=msgspec.json.encode(finding.parts).decode(),
        )
    )


def _names(key: Key) -> dict[str, object]:
    return {"rule": key.rule, "part": key.part, **key.place._asdict()}


def _colour(level: Level | None) -> str | None:
    return None if level is None else level.name.lower()
