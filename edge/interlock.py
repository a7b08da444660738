"""From depth to aspect: the rule that a signal above an underpass obeys. Pure.

    state, wanted, notices = step(rule, state, sample_or_tick, now)

`now` is monotonic time in s; no clock, no I/O, no configuration file in here.

The rule, as a traffic engineer would say it:

- Up: `rise_samples` readings in a row at or over a threshold raise the aspect at once. The highest
  healthy ruler decides.
- Down: all healthy rulers must stay lower than the threshold minus `fall_m` for `hold_s`, and red
  falls to amber before amber falls to green.
- No healthy ruler: the safe aspect, or the one shown before if that is more restrictive. So it is
  at the start, until `rise_samples` healthy readings have come.

The thresholds themselves are taken as reached when the water stands exactly at them: rulers read
whole centimetres, and in doubt the lamp shows the more restrictive aspect.
"""

from typing import NamedTuple

import msgspec

from wire.aspect import Aspect

_BANDS = (Aspect.GREEN, Aspect.AMBER, Aspect.RED)


class Rule(NamedTuple):
    """Thresholds in m, times in s."""

    amber_m: float
    red_m: float
    fall_m: float
    rise_samples: int
    hold_s: float
    stale_after_s: float
    safe: Aspect


class Sample(NamedTuple):
    """What a ruler said: depth in m, or None if it said nothing that can be believed."""

    ruler: str
    depth: float | None
    reason: str = ""


class Tick(NamedTuple):
    """Time has passed: look for rulers gone stale, and for a hold that has been served."""


class Notice(NamedTuple):
    """What the step has to tell. `kind`: over_threshold, aspect_wanted, ruler_lost, ruler_back."""

    kind: str
    text: str
    detail: dict[str, str | int | float | bool | None]


class Ruler(msgspec.Struct, frozen=True):
    """`seen_at` is when it last spoke well; `over` counts readings in a row at or over amber and
    over red; `healthy` counts good ones in a row, up to what the rule asks for."""

    depth: float | None = None
    seen_at: float = float("-inf")
    over: tuple[int, int] = (0, 0)
    healthy: int = 0
    lost: bool = True


class State(msgspec.Struct, frozen=True):
    """`band` is what the water demands (index into green, amber, red), None until it is known;
    `lower_since` is when the water was last found low enough for the next lower band."""

    rulers: dict[str, Ruler]
    wanted: Aspect
    band: int | None = None
    lower_since: float | None = None

    @property
    def depth(self) -> float | None:
        """Highest depth of a healthy ruler, m."""
        depths = [r.depth for r in self.rulers.values() if not r.lost and r.depth is not None]
        return max(depths, default=None)


def begin(rule: Rule, rulers: tuple[str, ...]) -> State:
    """The state before the first reading: the safe aspect."""
    return State({name: Ruler() for name in rulers}, wanted=rule.safe)


def step(
    rule: Rule, state: State, event: Sample | Tick, now: float
) -> tuple[State, Aspect, tuple[Notice, ...]]:
    """The next state, the aspect that the signal should show, and what there is to tell."""
    notices: list[Notice] = []
    rulers = dict(state.rulers)
    if isinstance(event, Sample):
        rulers[event.ruler] = _heard(rule, rulers[event.ruler], event, now, notices)
    for name, ruler in rulers.items():
        rulers[name] = _aged(rule, name, ruler, now, notices)

    healthy = [r for r in rulers.values() if not r.lost]
    known_before = not all(ruler.lost for ruler in state.rulers.values())
    band, lower_since = state.band, state.lower_since
    if not healthy:
        lower_since = None
    else:
        confirmed = max(_confirmed(rule, r) for r in healthy)
        if not known_before:
            # The safe aspect ends here: what follows it must fit the water as it stands now.
            confirmed = max(_reached(rule, r) for r in healthy)
        settled = max(_settled(rule, r) for r in healthy)
        if band is None or confirmed > band:
            band, lower_since = confirmed, None
        elif settled < band:
            lower_since = now if lower_since is None else lower_since
            if now - lower_since >= rule.hold_s:
                band, lower_since = band - 1, (now if settled < band - 1 else None)
        else:
            lower_since = None

    water = _BANDS[band] if band is not None else rule.safe
    wanted = water if healthy else max(water, rule.safe, key=lambda a: a.severity)
    after = State(rulers, wanted, band, lower_since)
    if wanted is not state.wanted:
        notices.append(_turned(state, after, bool(healthy), known_before))
    return after, wanted, tuple(notices)


def _heard(rule: Rule, ruler: Ruler, sample: Sample, now: float, out: list[Notice]) -> Ruler:
    depth = sample.depth
    if depth is None:
        # Nothing believable: the counts start again, but only time makes the ruler stale.
        return msgspec.structs.replace(ruler, over=(0, 0), healthy=0)
    thresholds = (rule.amber_m, rule.red_m)
    over = tuple(n + 1 if depth >= t else 0 for n, t in zip(ruler.over, thresholds, strict=True))
    for count, threshold, name in zip(over, thresholds, ("amber", "red"), strict=True):
        if count == 1:
            out.append(
                Notice(
                    "over_threshold",
                    f"{sample.ruler} reads {depth:.2f} m, at or over {name} ({threshold:.2f} m)",
                    {"ruler": sample.ruler, "threshold": name, "depth_m": depth},
                )
            )
    healthy = min(ruler.healthy + 1, rule.rise_samples)
    lost = ruler.lost and healthy < rule.rise_samples
    if ruler.lost and not lost:
        out.append(Notice("ruler_back", f"{sample.ruler} answers", {"ruler": sample.ruler}))
    return Ruler(depth, now, (over[0], over[1]), healthy, lost)


def _aged(rule: Rule, name: str, ruler: Ruler, now: float, out: list[Notice]) -> Ruler:
    if ruler.lost or now - ruler.seen_at <= rule.stale_after_s:
        return ruler
    out.append(
        Notice(
            "ruler_lost",
            f"{name} has given no believable reading for {now - ruler.seen_at:.1f} s",
            {"ruler": name, "silent_s": round(now - ruler.seen_at, 3)},
        )
    )
    return msgspec.structs.replace(ruler, lost=True, over=(0, 0), healthy=0)


def _confirmed(rule: Rule, ruler: Ruler) -> int:
    """The band that enough readings in a row demand."""
    return sum(count >= rule.rise_samples for count in ruler.over)


def _reached(rule: Rule, ruler: Ruler) -> int:
    """The band of the depth as last read, confirmed or not."""
    assert ruler.depth is not None
    return sum(ruler.depth >= t for t in (rule.amber_m, rule.red_m))


def _settled(rule: Rule, ruler: Ruler) -> int:
    """The band that the depth still holds, with the margin that the fall must clear."""
    assert ruler.depth is not None
    return sum(ruler.depth > t - rule.fall_m for t in (rule.amber_m, rule.red_m))


def _turned(before: State, after: State, healthy: bool, known_before: bool) -> Notice:
    if not healthy:
        cause = "no ruler answers"
    elif not known_before:
        cause = "rulers answer"
    else:
        rises = after.wanted.severity > before.wanted.severity
        cause = "water rises" if rises else "water falls"
    depth = after.depth
    shown = "" if depth is None else f", {depth:.2f} m"
    return Notice(
        "aspect_wanted",
        f"{before.wanted.value} to {after.wanted.value}: {cause}{shown}",
        {
            "from": before.wanted.value,
            "to": after.wanted.value,
            "cause": cause,
            "depth_m": depth,
        },
    )
