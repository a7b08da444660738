"""One incident for each site: alerts that come together are one event, with one review. Pure.

An alert joins the incident of its site while that is open. An incident stays open as long as one of
its alerts is, and `window_ms` longer: the next wave of the same storm belongs to it.
"""

import msgspec

from wire.messages import Level

WINDOW_MS = 3_600_000


class Incident(msgspec.Struct, frozen=True, gc=False):
    """`alerts` has all that have joined, `active` those that are not over. Times in ms, UTC."""

    site: str
    opened_ms: int
    alerts: tuple[str, ...]
    active: frozenset[str]
    peak: Level
    quiet_since_ms: int | None = None
    exercise: bool = False

    @property
    def id(self) -> str:
        return f"{self.site}.{self.opened_ms}{'.exercise' * self.exercise}"


def join(
    incident: Incident | None,
    site: str,
    alert: str,
    level: Level,
    now_ms: int,
    window_ms: int = WINDOW_MS,
    *,
    exercise: bool = False,
) -> Incident:
    """The incident that an alert of a site belongs to: `incident` while it is open, else a new
    one. The same alert again, or at another level, is still the same one."""
    if incident is None or is_over(incident, now_ms, window_ms):
        return Incident(site, now_ms, (alert,), frozenset({alert}), level, exercise=exercise)
    if incident.site != site:
        raise ValueError(f"{alert} is at {site}, not at {incident.site}")
    known = alert in incident.alerts
    return msgspec.structs.replace(
        incident,
        alerts=incident.alerts if known else (*incident.alerts, alert),
        active=incident.active | {alert},
        peak=max(incident.peak, level),
        quiet_since_ms=None,
    )


def leave(incident: Incident, alert: str, now_ms: int) -> Incident:
    """An alert is over: normal again, with an answer."""
    active = incident.active - {alert}
    if active == incident.active:
        return incident
    return msgspec.structs.replace(
        incident, active=active, quiet_since_ms=None if active else now_ms
    )


def is_over(incident: Incident, now_ms: int, window_ms: int = WINDOW_MS) -> bool:
    """Whether nothing more can join."""
    quiet = incident.quiet_since_ms
    return quiet is not None and now_ms - quiet >= window_ms


def next_due_ms(incident: Incident, window_ms: int = WINDOW_MS) -> int | None:
    """When it will be over if nothing happens; None while an alert is active."""
    return None if incident.quiet_since_ms is None else incident.quiet_since_ms + window_ms
