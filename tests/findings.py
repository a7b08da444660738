"""What rules find, written as they write it."""

import itertools

from sqlalchemy import Connection, insert

from cloud import tables
from cloud.alerts.hazard import Hazard
from wire.messages import Level


class Findings:
    """One database's worth: an episode for each rule and site."""

    def __init__(self) -> None:
        self._episodes: dict[tuple[str, str], int] = {}
        self._numbers = itertools.count(1)

    def add(
        self,
        connection: Connection,
        now_ms: int,
        level: Level | None,
        rule: str = "depth",
        site: str = "daping-underpass",
        hazard: Hazard = Hazard.UNDERPASS,
        value: float = 0.34,
        gateway: str = "gw",
    ) -> None:
        """A rule finds a level, None for none, at a site's ruler."""
        key = (rule, site)
        if key not in self._episodes:
            row = {"rule": rule, "part": "", "hazard": hazard, "gateway": gateway, "site": site}
            row |= {"sensor": "ruler-1", "quantity": "depth", "unit": "m", "level": "red"}
            made = insert(tables.alert).values(**row, raised_at_ms=now_ms, received_at_ms=now_ms)
            found = connection.execute(made.returning(tables.alert.c.id))
            self._episodes[key] = found.scalar_one()
        connection.execute(
            insert(tables.alert_change).values(
                alert=self._episodes[key],
                number=next(self._numbers),
                at_ms=now_ms,
                received_at_ms=now_ms,
                level=None if level is None else level.name.lower(),
                value=value,
                threshold=0.3,
                text=f"{value * 100:g} cm of water",
                text_zh=f"积水约{value * 100:g}厘米",
                parts="{}",
            )
        )
