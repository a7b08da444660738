"""Of several sends about an alert, the one that is still worth sending."""

import pytest

from cloud.alerts.actions import Kind, Send, newest
from cloud.alerts.hazard import Hazard, Stage
from wire.messages import Level


def sends(*kinds, alert="a"):
    return [
        Send(alert, "s", Hazard.RIVER, Level.RED, Stage.NOW, 1, kind, "v", "c", number, number, ())
        for number, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("kinds", "best"),
    [
        ((Kind.RAISE, Kind.AGAIN), 1),
        ((Kind.RAISE, Kind.FALL), 0),  # the call asks for an answer, and says how it stands
        ((Kind.FALL, Kind.COPY), 1),
        ((Kind.RAISE, Kind.CLEAR), 1),
        ((Kind.CLEAR, Kind.RAISE), 1),
        ((Kind.FALL, Kind.RISE, Kind.ANSWERED), 1),
    ],
)
def test_the_last_call_counts_or_else_the_last_news(kinds, best):
    found = sends(*kinds)
    assert newest(found)["a"] is found[best]


def test_each_alert_has_its_own():
    one, two = sends(Kind.RAISE), sends(Kind.COPY, alert="b")
    assert newest([*one, *two]) == {"a": one[0], "b": two[0]}
