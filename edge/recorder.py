"""What is measured and what happens: to the interlocks first, then to those who keep it."""

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from edge import quality
from edge.clock import Clock
from edge.config import Setup
from edge.dating import doubtful
from edge.eventlog import EventLog
from edge.poller import Heard
from edge.sealer import Sealer
from edge.signal import Tell
from edge.site import SiteInterlock
from edge.supervisor import Supervisor
from wire.messages import Event
from wire.reading import Quantity, Reading

log: Final = logging.getLogger("shuichi.edge")

ALARMING: Final = frozenset(
    {
        *("signal_unconfirmed", "ruler_lost", "rulers_disagree", "memory_unreadable"),
        *("outbox_damaged", "outbox_in_memory", "disk_full", "clock_jump"),
    }
)
"""Events that are warnings in the log."""


class Sensor(NamedTuple):
    """What must be known of a sensor when it has answered."""

    site: str
    ranges: Mapping[Quantity, quality.Range]


def sensors(setup: Setup, port: str) -> dict[str, Sensor]:
    """The sensors on a port, by name."""
    return {
        name: Sensor(
            setup.site(name),
            {m.quantity: m.valid_range_si for m in setup.profiles[name].measure},
        )
        for name, sensor in setup.config.sensor.items()
        if sensor.port == port
    }


class Recorder:
    """Belongs to the core as far as the interlocks hear through it. What it hands to the sealer and
    the event log cannot fail the core: `supervisor` guards it."""

    def __init__(
        self,
        supervisor: Supervisor,
        time: Clock,
        sealer: Sealer,
        events: EventLog,
        sites: Mapping[str, SiteInterlock],
    ) -> None:
        self._supervisor = supervisor
        self._time = time
        self._sealer = sealer
        self._events = events
        self._sites = sites

    def hear(self, heard: Heard, sensor: Sensor) -> None:
        """One read of a sensor. A quantity that the sensor does not have went with an old config,
        in the middle of the read."""
        at_ms, sure = self._time.stamp(heard.at), self._time.sure(heard.at)
        for value in heard.values:
            if (valid := sensor.ranges.get(value.quantity)) is None:
                continue
            flag, reason = quality.judge(value, valid)
            reading = Reading(
                sensor.site, heard.sensor, value.quantity, value.value, at_ms, flag, reason
            )
            for interlock in self._sites.values():
                interlock.hear(reading, heard.at)
            kept = reading if sure else doubtful(reading)
            self._supervisor.guard("sealer", self._sealer.add, kept)

    def teller(self, site: str) -> Tell:
        """Records events of `site`; what it gives never raises."""

        def tell(kind: str, text: str, detail: dict[str, str | int | float | bool | None]) -> None:
            level = logging.WARNING if kind in ALARMING else logging.INFO
            log.log(level, "%s: %s", site, text, extra={"site": site})
            self._supervisor.guard("sealer", self._note, site, kind, text, detail)

        return tell

    def _note(
        self,
        site: str,
        kind: str,
        text: str,
        detail: dict[str, str | int | float | bool | None],
    ) -> None:
        event = Event(self._time.best_utc_ms(), site, kind, text, detail)
        self._supervisor.guard("event log", self._events.add, event)
        self._sealer.tell(event if self._time.trusted else replace(event, at_ms=self._time.now()))
