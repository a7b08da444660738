"""`[quota]`: how much one gateway may cost. On by default, and wide: for a gateway with hundreds of
sensors each second that makes up for days without a network."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from configs.loader import Model

_Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Quota(Model):
    """What one gateway may have. All gateways that the config does not name share one quota where
    they are not accepted.

    The rates are averages: after a quiet time a gateway may send what it would be allowed in
    `burst_minutes` at once. A message beyond them is not acknowledged: its gateway keeps it, and
    sends it again. So is one that begins a stream too many. A reading of a site, a sensor or a
    series (a sensor and what it measures) too many goes to quarantine. What has come of a stream
    may lie in so many `intervals`: an honest one has many while it makes up for days, when what is
    urgent comes first, and one in the end. At each of its sites a gateway may raise or worsen
    `findings_per_hour`; one more waits until it may.
    """

    mb_per_minute: Annotated[float, Field(gt=0, le=1e6)] = 60
    messages_per_minute: _Count = 12_000
    records_per_minute: _Count = 1_000_000
    events_per_minute: _Count = 600
    faults_per_minute: _Count = 6_000
    burst_minutes: Annotated[float, Field(ge=1, le=1440)] = 10
    streams_per_hour: _Count = 1_000
    streams: _Count = 10_000
    findings_per_hour: _Count = 2_000
    intervals: _Count = 500_000
    sites: _Count = 100
    sensors: _Count = 2_000
    series: _Count = 5_000
    quarantine_mb: Annotated[float, Field(gt=0, le=1e6)] = 32
    quarantine_cases: _Count = 50_000

    def changed(self, own: "Quota") -> "Quota":
        """The same but for what is set in `own`, the quota of one gateway."""
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def by_gateway(common: Quota, own: Mapping[str, Quota | None]) -> dict[str, Quota]:
    """The quota of each gateway that has one of its own."""
    return {name: common.changed(one) for name, one in own.items() if one is not None}
