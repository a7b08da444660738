"""What somebody who was called says of the work."""

from collections.abc import Mapping
from typing import NamedTuple

from cloud.alerts.escalationstate import Outcome


class News(NamedTuple):
    """`kind` is "acting" or "result", and `detail` what was understood (`result`: closed,
    evacuated, false alarm or cannot act; `people`)."""

    kind: str
    how: str
    said: str
    detail: Mapping[str, object] = {}

    @property
    def outcome(self) -> Outcome:
        if self.kind == "acting":
            return Outcome.ACTING
        return Outcome(str(self.detail.get("result", "done")).replace(" ", "-"))

    @property
    def people(self) -> int | None:
        people = self.detail.get("people")
        return people if isinstance(people, int) else None
