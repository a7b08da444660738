"""All rules over all sensors: what arrives is looked at once, and what follows from it is
committed together with the ledger."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from cloud import state
from cloud.alerts.rule import Rule, State, Transition, step
from wire.messages import Batch
from wire.reading import Reading


class Key(NamedTuple):
    """One rule over one sensor."""

    rule: str
    gateway: str
    site: str
    sensor: str


class Change(NamedTuple):
    """An alert that is raised or cleared by a reading."""

    key: Key
    rule: Rule
    transition: Transition
    reading: Reading


class Findings(NamedTuple):
    """What readings change: new states, and what is to be told, oldest first."""

    states: dict[Key, State]
    changes: list[Change]


class Watch:
    """The rules and how each stands for each sensor."""

    def __init__(self, rules: Iterable[Rule], channels: Collection[str]) -> None:
        self._rules = tuple(rules)
        self._quantities = {rule.quantity for rule in self._rules}
        self._channels = tuple(channels)
        self._states: dict[Key, State] = {}

    def load(self, connection: Connection) -> None:
        """Take up where the last process ended."""
        self._states = {
            Key(row.rule, row.gateway, row.site, row.sensor): State(row.newest_ms, bool(row.raised))
            for row in connection.execute(select(state.rule_state))
        }

    def examine(self, batches: Iterable[Batch], now_ms: int) -> Findings:
        """What the readings in `batches` change. Nothing is changed yet: see `adopt`."""
        findings = Findings({}, [])
        watched = [
            (batch.gateway, reading)
            for batch in batches
            for reading in batch.readings
            if reading.quantity in self._quantities
        ]
        for gateway, reading in sorted(watched, key=lambda one: one[1].at_ms):
            for rule in self._rules:
                if not rule.covers(reading):
                    continue
                key = Key(rule.name, gateway, reading.site, reading.sensor)
                before = findings.states.get(key) or self._states.get(key, State())
                after, transition = step(rule, before, reading, now_ms)
                if after != before:
                    findings.states[key] = after
                if transition:
                    findings.changes.append(Change(key, rule, transition, reading))
        return findings

    def adopt(self, findings: Findings) -> None:
        """The findings have been committed."""
        self._states |= findings.states

    def save(self, connection: Connection, findings: Findings, now_ms: int) -> None:
        """Write states and alerts, and for each channel a notification to be delivered."""
        state.upsert(connection, state.rule_state, _rows(findings.states))
        for change in findings.changes:
            alert = _record(connection, change, now_ms)
            for channel in self._channels:
                connection.execute(
                    insert(state.notification).values(
                        key=uuid.uuid4().hex,
                        alert=alert,
                        transition=change.transition,
                        channel=channel,
                        at_ms=change.reading.at_ms,
                    )
                )


def _rows(states: Mapping[Key, State]) -> list[dict[str, object]]:
    return [
        key._asdict() | {"newest_ms": one.newest_ms, "raised": int(one.raised)}
        for key, one in states.items()
    ]


def _record(connection: Connection, change: Change, now_ms: int) -> int:
    """The id of the alert that `change` raises, or clears."""
    key, rule, transition, reading = change
    alert = state.alert
    if transition is Transition.RAISED:
        raised = insert(alert).values(
            **key._asdict(),
            level=rule.level.name.lower(),
            quantity=rule.quantity,
            raised_at_ms=reading.at_ms,
            raised_value=reading.value,
            received_at_ms=now_ms,
        )
        return int(connection.execute(raised.returning(alert.c.id)).scalar_one())
    cleared = (
        update(alert)
        .filter_by(**key._asdict(), cleared_at_ms=None)
        .values(cleared_at_ms=reading.at_ms, cleared_value=reading.value)
    )
    return int(connection.execute(cleared.returning(alert.c.id)).scalar_one())
