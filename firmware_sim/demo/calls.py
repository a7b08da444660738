"""Who was called, who answered, and whether that ended the calls: from the timeline that the cloud
keeps of each alert, and from what came to the phones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from firmware_sim.demo.screen import Clock, is_call

_Line = Mapping[str, Any]

_KINDS: Final[dict[str, Callable[[_Line, str], str]]] = {
    "rise": lambda line, _: f"{line['detail']['level']} alert",
    "opened": lambda _, area: f"{area} is called",
    "climbed": lambda _, area: f"no answer in time: {area} is called too",
    "top": lambda *_: "nobody has answered, up to the top",
    "answer": lambda line, _: (
        f"{line['who']} answers by {line['detail']['how']}: "
        f"{line['detail']['refused'] or 'the calls end'}"
    ),
    "fell": lambda line, _: f"down {line['text']}",
    "cleared": lambda *_: "over",
}
"""What is shown of a timeline, and in which words."""


class Step(msgspec.Struct, frozen=True):
    """One thing that happened in an alert, `after_s` after the first."""

    at_ms: int
    scenario_time: str
    after_s: float
    alert: str
    kind: str
    text: str


class Climb(NamedTuple):
    """An alert that climbed before it was answered. Times in s: from the first call to the climb,
    and from that to the answer; `later` calls came although it had been answered."""

    climbed_s: float
    answered_s: float
    later: int


def steps(timeline: Sequence[_Line], areas: Mapping[str, str], clock: Clock) -> Iterator[Step]:
    """What there is to tell of the alerts of a timeline, oldest first."""
    shown = [line for line in timeline if line["kind"] in _KINDS]
    for line in shown:
        yield Step(
            line["at_ms"],
            clock.label(line["at_ms"]),
            (line["at_ms"] - shown[0]["at_ms"]) / 1000,
            line["alert"],
            line["kind"],
            _KINDS[line["kind"]](line, areas.get(line["area"], line["area"])),
        )


def climbs(timeline: Sequence[_Line], messages: Sequence[Mapping[str, Any]]) -> Iterator[Climb]:
    """The climbs that an answer has ended; `messages` are all that came to the phones."""
    for alert in dict.fromkeys(line["alert"] for line in timeline):
        own = [line for line in timeline if line["alert"] == alert]
        # The key of a message that tells of one alert begins with it.
        called = [m["at_ms"] for m in messages if m["key"].startswith(f"{alert}/") and is_call(m)]
        opened = climbed = None
        for place, line in enumerate(own):
            match line["kind"]:
                case "opened":
                    opened, climbed = line["at_ms"], None
                case "climbed" if climbed is None:
                    climbed = line["at_ms"]
                case "answered" if opened is not None and climbed is not None:
                    answered = line["at_ms"]
                    rest = own[place + 1 :]
                    until = next((one["at_ms"] for one in rest if one["kind"] == "opened"), None)
                    later = sum(answered < at and (until is None or at < until) for at in called)
                    yield Climb((climbed - opened) / 1000, (answered - climbed) / 1000, later)
                    opened = climbed = None
