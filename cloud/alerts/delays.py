"""Who was called when, and how long it took until somebody answered: from a timeline and the
messages. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cloud.alerts.review import Told
from cloud.alerts.views import Line


class Call(NamedTuple):
    """An area that was called for an alert. Times in UTC, ms."""

    alert: str
    area: str
    called_ms: int
    delivered_ms: int | None
    ended_ms: int | None
    how: str
    to: str


def calls(lines: Sequence[Line], told: Sequence[Told]) -> Iterator[Call]:
    """Each area that was called, in each round, and how that ended."""
    for alert in dict.fromkeys(line.alert for line in lines if line.alert):
        own = [line for line in lines if line.alert == alert]
        by = ""
        for place, line in enumerate(own):
            if line.kind not in ("opened", "climbed"):
                continue
            how, to, ended_ms = "open", "", None
            for later in own[place + 1 :]:
                if later.kind == "climbed" and how == "open":
                    how, to, ended_ms = "climbed", later.area, later.at_ms
                elif later.kind == "answered":
                    by, who = answerer(own, later)
                    if how == "open":
                        how = "answered" if _is_of(told, alert, line.area, by) else "elsewhere"
                        to, ended_ms = who, later.at_ms
                    break
                elif later.kind in ("opened", "cleared", "held"):
                    if how == "open":
                        how, ended_ms = "over", later.at_ms
                    break
            yield Call(
                alert,
                line.area,
                line.at_ms,
                delivered(told, line.at_ms, alert, line.area),
                ended_ms,
                how,
                to,
            )


def answerer(own: Sequence[Line], answered: Line) -> tuple[str, str]:
    """Whose call was answered, and by whom."""
    for line in own:
        if line.kind == "answer" and line.at_ms == answered.at_ms and not line.detail["refused"]:
            return str(line.detail.get("contact", "")), line.who
    return "", answered.text


def _is_of(told: Sequence[Told], alert: str, area: str, contact: str) -> bool:
    return any(one.contact == contact and one.areas.get(alert) == area for one in told)


def delivered(
    told: Sequence[Told], since_ms: int, alert: str, area: str | None = None
) -> int | None:
    """When the first message of an alert's calls was delivered, from a moment on."""
    times = [
        one.done_ms
        for one in told
        if one.outcome == "delivered"
        and one.done_ms is not None
        and one.made_ms >= since_ms
        and alert in one.areas
        and area in (None, one.areas[alert])
    ]
    return min(times, default=None)
